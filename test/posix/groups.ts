/** All cases, by what they are about. */
import type { PosixCase } from "../support/posix_case.ts";
import { attributes } from "./attributes.ts";
import { data } from "./data.ts";
import { directories } from "./directories.ts";
import { flags } from "./flags.ts";
import { links } from "./links.ts";
import { names } from "./names.ts";
import { permissions } from "./permissions.ts";
import { rename } from "./rename.ts";
import { space } from "./space.ts";
import { special } from "./special.ts";
import { xattrs } from "./xattrs.ts";

/** Every case, by the files that hold them. */
export const GROUPS: Readonly<Record<string, readonly PosixCase[]>> = {
  names,
  links,
  rename,
  attributes,
  directories,
  space,
  data,
  xattrs,
  special,
  permissions,
  flags,
};
