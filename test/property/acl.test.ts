/** Access control lists against what acl(5) says of them. The seed is printed; TEST_SEED repeats a run. */
import t from "tap";
import { Prng } from "../../host/base/prng.ts";
import {
  ACL_GROUP,
  ACL_GROUP_OBJ,
  ACL_MASK,
  ACL_OTHER,
  ACL_USER,
  ACL_USER_OBJ,
  type AclEntry,
  aclWithMode,
  decodeAcl,
  encodeAcl,
  inheritedAcl,
  isMinimal,
  modeWithAcl,
} from "../../host/fs/acl.ts";

const SEED = Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 1e9));
const ROUNDS = 2000;
const KINDS = [ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER];
const NAMED = [ACL_USER, ACL_GROUP];
const NO_ID = 0xffffffff;

function randomAcl(prng: Prng): AclEntry[] {
  const users = prng.below(3);
  const groups = prng.below(3);
  const entries: AclEntry[] = [];
  const add = (tag: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      const id = NAMED.includes(tag) ? prng.below(5000) : NO_ID;
      entries.push({ tag, permissions: prng.below(8), id });
    }
  };
  add(ACL_USER_OBJ, 1);
  add(ACL_USER, users);
  add(ACL_GROUP_OBJ, 1);
  add(ACL_GROUP, groups);
  add(ACL_MASK, users + groups > 0 || prng.below(2) === 0 ? 1 : 0);
  add(ACL_OTHER, 1);
  return entries;
}

function rights(entries: readonly AclEntry[], tag: number): number | undefined {
  return entries.find((entry) => entry.tag === tag)?.permissions;
}

t.test(`ACLs: seed ${SEED}`, async (t) => {
  const prng = new Prng(SEED);
  let wrong = 0;
  const must = (holds: boolean, what: string, entries: readonly AclEntry[]): void => {
    if (holds) return;
    wrong++;
    t.fail(what, { entries: JSON.stringify(entries) });
  };
  for (let round = 0; round < ROUNDS && wrong < 5; round++) {
    const entries = randomAcl(prng);
    const mode = prng.below(0o1000);
    const encoded = encodeAcl(entries);
    must(JSON.stringify(decodeAcl(encoded)) === JSON.stringify(entries), "round trip", entries);

    const changed = aclWithMode(entries, mode);
    must(modeWithAcl(0o100000, changed) === (0o100000 | mode), "chmod sets the mode", changed);
    must(isMinimal(changed) === isMinimal(entries), "chmod keeps the entries", changed);
    for (const tag of NAMED)
      must(rights(changed, tag) === rights(entries, tag), "chmod leaves named entries", changed);
    if (rights(entries, ACL_MASK) !== undefined) {
      const group = rights(entries, ACL_GROUP_OBJ);
      must(rights(changed, ACL_GROUP_OBJ) === group, "under a mask the group stays", changed);
    }

    const inherited = inheritedAcl(entries, mode);
    const granted = modeWithAcl(0, inherited);
    must((granted & ~mode) === 0, "no right that creation did not ask for", inherited);
    must((granted & ~modeWithAcl(0, entries)) === 0, "and none that is not inherited", inherited);
    must(granted === (modeWithAcl(0, entries) & mode), "but all that are both", inherited);

    // Whatever is done to an encoded list, decoding gives a valid one or none.
    const broken = encoded.slice(0, prng.below(8) === 0 ? prng.below(encoded.length) : undefined);
    if (broken.length > 0) broken[prng.below(broken.length)] = prng.below(256);
    const decoded = decodeAcl(broken);
    if (decoded !== null && decoded.length > 0) {
      must(
        decoded.every(({ tag }) => KINDS.includes(tag)),
        "known kinds",
        decoded,
      );
      must(
        JSON.stringify(decodeAcl(encodeAcl(decoded))) === JSON.stringify(decoded),
        "valid",
        decoded,
      );
    }
  }
  t.equal(wrong, 0, `${ROUNDS} lists`);
});

t.test("ACLs: what is invalid", async (t) => {
  const entry = (tag: number, permissions: number, id = NO_ID): AclEntry => ({
    tag,
    permissions,
    id,
  });
  const basic = [entry(ACL_USER_OBJ, 7), entry(ACL_GROUP_OBJ, 5), entry(ACL_OTHER, 0)] as const;
  const invalid: Record<string, AclEntry[]> = {
    "a missing entry": basic.slice(0, 2),
    "the wrong order": [basic[1], basic[0], basic[2]],
    "an entry twice": [basic[0], basic[0], basic[1], basic[2]],
    "a named entry without a mask": [basic[0], entry(ACL_USER, 7, 5), basic[1], basic[2]],
    "a named entry without a name": [
      basic[0],
      entry(ACL_USER, 7),
      basic[1],
      entry(ACL_MASK, 7),
      basic[2],
    ],
    "rights that there are not": [entry(ACL_USER_OBJ, 8), basic[1], basic[2]],
    "an unknown kind": [...basic, entry(0x40, 7)],
  };
  t.same(decodeAcl(encodeAcl(basic)), basic);
  for (const [what, entries] of Object.entries(invalid))
    t.equal(decodeAcl(encodeAcl(entries)), null, what);
  t.equal(decodeAcl(new Uint8Array(3)), null, "too short");
  t.same(decodeAcl(encodeAcl([])), [], "an empty list is none");
});
