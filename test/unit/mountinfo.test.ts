/** Reading the kernel's table of mounts: optional fields, escapes, lines that are none. */
import t from "tap";
import { readMountInfo } from "../../host/base/mountinfo.ts";

t.test("fields, whatever stands before the separator", (t) => {
  const text = [
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
    "40 22 0:50 / /mnt/a\\040b rw,nosuid shared:7 master:2 - fuse.dynamicfs my\\134pool ro,user_id=1000",
    "nothing of the kind",
    "",
  ].join("\n");
  t.strictSame(readMountInfo(text), [
    {
      device: "254:0",
      mountpoint: "/",
      type: "ext4",
      source: "/dev/vda",
      options: ["rw", "relatime", "rw"],
    },
    {
      device: "0:50",
      mountpoint: "/mnt/a b",
      type: "fuse.dynamicfs",
      source: "my\\pool",
      options: ["rw", "nosuid", "ro", "user_id=1000"],
    },
  ]);
  t.end();
});
