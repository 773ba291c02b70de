/** Whether two regions hold the same bytes. Regions may overlap. */
export function equalBytes(a: usize, b: usize, byteLength: u32): bool {
  let left = byteLength;
  while (left >= 64) {
    const first = v128.or(
      v128.xor(v128.load(a), v128.load(b)),
      v128.xor(v128.load(a, 16), v128.load(b, 16)),
    );
    const second = v128.or(
      v128.xor(v128.load(a, 32), v128.load(b, 32)),
      v128.xor(v128.load(a, 48), v128.load(b, 48)),
    );
    if (v128.any_true(v128.or(first, second))) return false;
    a += 64;
    b += 64;
    left -= 64;
  }
  while (left >= 8) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    left -= 8;
  }
  while (left > 0) {
    if (load<u8>(a) != load<u8>(b)) return false;
    a++;
    b++;
    left--;
  }
  return true;
}
