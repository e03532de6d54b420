/** From the kernel's `struct statx` to the structures that FUSE replies carry. */
import { Statx } from "../platform/linux/constants.ts";

/**
 * Writes a struct fuse_attr (88 bytes) at `to` (a multiple of 4) from the struct statx at `from`, both
 * as 32-bit words of their buffers.
 */
export function writeAttributes(
  out: Uint32Array,
  to: number,
  x: Uint32Array,
  from: number,
): void {
  const o = to >>> 2;
  const i = from >>> 2;
  out[o] = x[i + Statx.ino / 4];
  out[o + 1] = x[i + Statx.ino / 4 + 1];
  out[o + 2] = x[i + Statx.fileSize / 4];
  out[o + 3] = x[i + Statx.fileSize / 4 + 1];
  out[o + 4] = x[i + Statx.blocks / 4];
  out[o + 5] = x[i + Statx.blocks / 4 + 1];
  out[o + 6] = x[i + Statx.atime / 4];
  out[o + 7] = x[i + Statx.atime / 4 + 1];
  out[o + 8] = x[i + Statx.mtime / 4];
  out[o + 9] = x[i + Statx.mtime / 4 + 1];
  out[o + 10] = x[i + Statx.ctime / 4];
  out[o + 11] = x[i + Statx.ctime / 4 + 1];
  out[o + 12] = x[i + Statx.atime / 4 + 2];
  out[o + 13] = x[i + Statx.mtime / 4 + 2];
  out[o + 14] = x[i + Statx.ctime / 4 + 2];
  out[o + 15] = x[i + Statx.mode / 4] & 0xffff;
  out[o + 16] = x[i + Statx.nlink / 4];
  out[o + 17] = x[i + Statx.uid / 4];
  out[o + 18] = x[i + Statx.gid / 4];
  out[o + 19] = encodeDevice(x[i + Statx.rdevMajor / 4], x[i + Statx.rdevMinor / 4]);
  out[o + 20] = x[i + Statx.blksize / 4];
  out[o + 21] = 0;
}

/** The 32-bit device number of the kernel's new_encode_dev (linux/kdev_t.h). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** The inverse of {@link encodeDevice}. */
export function decodeDevice(device: number): { major: number; minor: number } {
  return {
    major: (device & 0xfff00) >>> 8,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
  };
}
