/** Owners and permissions as they are shown: Shown alone, and a dispatcher with it. */
import t from "tap";
import { EPERM } from "../../host/base/errno.ts";
import {
  AttributeChange,
  Attributes,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_UID,
} from "../../host/fs/file_system.ts";
import { Shown, type ShownChoices } from "../../host/fuse/shown.ts";

const NOTHING: ShownChoices = { uid: null, gid: null, fileMask: 0, directoryMask: 0 };
const FILE = 0o100000;
const DIRECTORY = 0o040000;
const LINK = 0o120000;

function stored(mode: number, uid = 1, gid = 2): Attributes {
  return Object.assign(new Attributes(), { mode, uid, gid });
}

function show(choices: Partial<ShownChoices>, attributes: Attributes): [number, number, string] {
  const shown = new Shown({ ...NOTHING, ...choices });
  return [shown.uid(attributes), shown.gid(attributes), shown.mode(attributes).toString(8)];
}

/** The status, and what is left to be stored. */
function admit(
  choices: Partial<ShownChoices>,
  current: Attributes,
  wish: Partial<AttributeChange>,
): { status: number; set: number; mode: string } {
  const change = Object.assign(new AttributeChange(), wish);
  const status = new Shown({ ...NOTHING, ...choices }).admit(change, current);
  return { status, set: change.set, mode: change.mode.toString(8) };
}

t.test("what is shown", async (t) => {
  t.equal(Shown.of(NOTHING), null);
  t.ok(Shown.of({ ...NOTHING, uid: 0 }), "root's id is one, too");
  t.same(show({ uid: 0 }, stored(FILE | 0o644)), [0, 2, "100644"]);
  t.same(show({ gid: 9 }, stored(DIRECTORY | 0o2775)), [1, 9, "42775"]);
  t.same(show({ fileMask: 0o133 }, stored(FILE | 0o777)), [1, 2, "100644"]);
  t.same(show({ fileMask: 0o133 }, stored(DIRECTORY | 0o777)), [1, 2, "40777"]);
  t.same(show({ directoryMask: 0o27 }, stored(DIRECTORY | 0o1777)), [1, 2, "41750"]);
  t.same(show({ fileMask: 0o777, directoryMask: 0o777 }, stored(LINK | 0o777))[2], "120777");
});

t.test("nobody's program runs as the owner who is shown", async (t) => {
  const program = stored(FILE | 0o6755);
  t.equal(show({ uid: 0 }, program)[2], "102755");
  t.equal(show({ gid: 0 }, program)[2], "104755");
  t.equal(show({ uid: 0, gid: 0 }, program)[2], "100755");
  t.equal(show({ fileMask: 0o22 }, program)[2], "106755", "the owner is its own");
});

t.test("owners: only what is shown already", async (t) => {
  const current = stored(FILE | 0o644);
  t.match(admit({ uid: 7 }, current, { set: SET_UID, uid: 7 }), { status: 0, set: 0 });
  t.match(admit({ uid: 7 }, current, { set: SET_UID, uid: 1 }), { status: -EPERM });
  t.match(admit({ gid: 7 }, current, { set: SET_GID, gid: 2 }), { status: -EPERM });
  t.match(
    admit({ uid: 7 }, current, { set: SET_UID | SET_GID, uid: 7, gid: 3 }),
    { status: 0, set: SET_GID },
    "the group is stored",
  );
  t.match(admit({ uid: 7 }, current, { set: SET_MTIME }), { status: 0, set: SET_MTIME });
});

t.test("modes: vfat's rule", async (t) => {
  const current = stored(FILE | 0o664);
  const masked = { fileMask: 0o22 };
  const chmod = (mode: number) => admit(masked, current, { set: SET_MODE, mode });
  t.match(chmod(0o600), { status: 0, set: SET_MODE, mode: "600" }, "can be shown, so is stored");
  t.match(chmod(0o644), { status: 0, set: 0 }, "it is shown like that: the hidden bit stays");
  t.match(chmod(0o666), { status: 0, set: 0 }, "nothing visible would change");
  t.match(chmod(0o777), { status: -EPERM }, "the group cannot be shown to write");
  t.match(chmod(0o4644), { status: 0, set: SET_MODE, mode: "4644" }, "with owners as they are");
  t.match(admit({ uid: 7 }, current, { set: SET_MODE, mode: 0o4664 }), { status: -EPERM });
  const folder = stored(DIRECTORY | 0o775);
  t.match(admit(masked, folder, { set: SET_MODE, mode: 0o777 }), { status: 0, set: SET_MODE });
});
