/** Linux error numbers that the core returns, positive as in host/base/errno.ts; functions return them negated. */
export const ENOENT: i32 = 2;
export const EAGAIN: i32 = 11;
export const ENOMEM: i32 = 12;
export const EBUSY: i32 = 16;
export const EEXIST: i32 = 17;
export const EINVAL: i32 = 22;
export const ENOSPC: i32 = 28;
export const EUCLEAN: i32 = 117;
