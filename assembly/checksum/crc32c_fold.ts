/**
 * Shortens a long input to an equivalent one of 3,344 bytes by exclusive or alone, as Wasm has no carry-less
 * multiplication.
 *
 * With y = x^128, the shift by one vector of 16 bytes, the polynomial divides
 *
 *   y^209 + y^144 + y^54 + y^39 + y^14 + 1
 *
 * so a vector may be taken out of the message if it is added to those 65, 155, 170, 195 and 209 places after it. All
 * but the last 209 vectors go that way. The other way round, which needs no more than a window of what was taken out:
 * each vector is the sum of itself and of the five taken out at these distances before it.
 */

const WINDOW_VECTORS: u32 = 209;
const STRIP_VECTORS: u32 = 512;
const WINDOW_BYTES: u32 = 16 * WINDOW_VECTORS;
const STRIP_BYTES: u32 = 16 * STRIP_VECTORS;

/** Where the shortened input is left. */
export const FOLDED: usize = memory.data(11536, 16); // a window, then a strip
export const FOLDED_BYTES: u32 = WINDOW_BYTES;

/**
 * Leaves at FOLDED what has the same remainder as the input, `state` included: go on from there with state 0.
 *
 * @param byteLength A multiple of 16, at least FOLDED_BYTES.
 */
export function foldCrc(state: u32, address: usize, byteLength: u32): void {
  memory.fill(FOLDED, 0, WINDOW_BYTES);
  // 209 vectors before the first one: it is added to that alone.
  store<u32>(FOLDED, state);
  let left = byteLength - WINDOW_BYTES;
  while (left > 0) {
    const strip = min(left, STRIP_BYTES);
    addWindow(FOLDED + WINDOW_BYTES, address, strip);
    memory.copy(FOLDED, FOLDED + strip, WINDOW_BYTES);
    address += strip;
    left -= strip;
  }
  // The last vectors stay: nothing of them is added to those after them.
  memory.fill(FOLDED + WINDOW_BYTES, 0, WINDOW_BYTES);
  addWindow(FOLDED, address, WINDOW_BYTES);
}

/** Vector i of the input plus those of the window at the five distances, stored at `out`. */
function addWindow(out: usize, address: usize, byteLength: u32): void {
  const end = address + byteLength;
  let window = FOLDED;
  while (address != end) {
    const near = v128.xor(
      v128.load(window, 16 * (WINDOW_VECTORS - 65)),
      v128.load(window, 16 * (WINDOW_VECTORS - 155)),
    );
    const far = v128.xor(
      v128.load(window, 16 * (WINDOW_VECTORS - 170)),
      v128.load(window, 16 * (WINDOW_VECTORS - 195)),
    );
    const own = v128.xor(v128.load(window), v128.load(address));
    v128.store(out, v128.xor(v128.xor(near, far), own));
    window += 16;
    address += 16;
    out += 16;
  }
}
