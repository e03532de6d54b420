/** Extended attributes and inode flags of an inode, read and set on the backing file system. */
import { cstring } from "../platform/linux/libc.ts";
import { AT, Errno } from "../platform/linux/constants.ts";
import { Flag, type Inodes, letGo, openInode, reachInode } from "./inodes.ts";
import type { Volume } from "./volume.ts";

/** ioctl numbers of linux/fs.h, for 64-bit machines. */
export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IOC_GETVERSION = 0x80087601;
export const FS_IOC_FSGETXATTR = 0x801c581f;
export const FS_IOC_FSSETXATTR = 0x401c5820;

/**
 * The inode flags that are the user's (chattr(1)) and mean the same everywhere: secure deletion, undelete,
 * sync, immutable, append, nodump, noatime, journalled data, no tail, dirsync, top directory, no copy
 * on write. Others describe how a file is stored.
 */
export const mirroredInodeFlags = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x4000 | 0x8000 |
  0x10000 | 0x20000 | 0x800000;
/** Flags that keep even the superuser from changing a file: immutable, append-only. */
export const lockingInodeFlags = 0x10 | 0x20;

/** Where {@link loadXattrs} leaves the names in `scratch.list`. */
export const xattrNamesAt = 8192;

/** Writes "/proc/self/fd/N" to `scratch.text` and returns its address: a path for calls without *at. */
export function procPath(v: Volume, fd: number): number {
  return cstring(v.scratch.text, `/proc/self/fd/${fd}`);
}

/**
 * Runs a call that wants either a real descriptor (regular files and directories) or, for everything
 * else, a path that leads to the inode without opening it.
 */
export function withInode(
  v: Volume,
  t: Inodes,
  index: number,
  byFd: (fd: number) => number,
  byPath: (path: number) => number,
): number {
  if (t.flags[index] & (Flag.directory | Flag.regular)) {
    const fd = openInode(t, v.libc, index, false);
    if (fd < 0) return fd;
    const r = byFd(fd);
    return r < 0 ? -v.libc.errno() : r;
  }
  const fd = reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  const r = byPath(procPath(v, fd));
  const result = r < 0 ? -v.libc.errno() : r;
  letGo(t, v.libc, index, fd);
  return result;
}

/**
 * Reads the names of an inode's extended attributes to `scratch.list` at {@link xattrNamesAt}, each
 * ending in NUL; returns their length, 0 where there are none or the file system has none.
 */
export function loadXattrs(v: Volume, index: number, t = v.inodes): number {
  const at = v.scratch.list.address + xattrNamesAt;
  const room = v.scratch.list.bytes.length - xattrNamesAt;
  const n = withInode(
    v,
    t,
    index,
    (fd) => v.libc.sys.flistxattr(fd, at, room),
    (path) => v.libc.sys.listxattr(path, at, room),
  );
  return n < 0 ? 0 : n;
}

/** Reads one attribute's value; `name` is the address of its name. Returns its length or -errno. */
export function readXattr(
  v: Volume,
  t: Inodes,
  index: number,
  name: number,
  to: number,
  room: number,
): number {
  return withInode(
    v,
    t,
    index,
    (fd) => v.libc.sys.fgetxattr(fd, name, to, room),
    (path) => v.libc.sys.getxattr(path, name, to, room),
  );
}

/** Sets one attribute; returns 0 or -errno. */
export function writeXattr(
  v: Volume,
  t: Inodes,
  index: number,
  name: number,
  value: number,
  length: number,
  flags: number,
): number {
  return withInode(
    v,
    t,
    index,
    (fd) => v.libc.sys.fsetxattr(fd, name, value, length, flags),
    (path) => v.libc.sys.setxattr(path, name, value, length, flags),
  );
}

/** Removes one attribute; returns 0 or -errno. */
export function dropXattr(v: Volume, t: Inodes, index: number, name: number): number {
  return withInode(
    v,
    t,
    index,
    (fd) => v.libc.sys.fremovexattr(fd, name),
    (path) => v.libc.sys.removexattr(path, name),
  );
}

/** The mirrored inode flags of a regular file or directory; 0 where there are none. */
export function loadInodeFlags(v: Volume, index: number, t = v.inodes): number {
  if (!(t.flags[index] & (Flag.directory | Flag.regular))) return 0;
  const fd = openInode(t, v.libc, index, false);
  if (fd < 0) return 0;
  const s = v.scratch.small;
  s.view.setUint32(16, 0, true);
  if (v.libc.sys.ioctl(fd, FS_IOC_GETFLAGS, s.address + 16) < 0) return 0;
  return s.view.getUint32(16, true) & mirroredInodeFlags;
}

/** Sets the mirrored inode flags where they differ; returns 0 or -errno. */
export function storeInodeFlags(v: Volume, t: Inodes, index: number, wanted: number): number {
  if (!(t.flags[index] & (Flag.directory | Flag.regular))) return 0;
  const fd = openInode(t, v.libc, index, false);
  if (fd < 0) return fd;
  const s = v.scratch.small;
  s.view.setUint32(16, 0, true);
  if (v.libc.sys.ioctl(fd, FS_IOC_GETFLAGS, s.address + 16) < 0) {
    return wanted === 0 ? 0 : -v.libc.errno();
  }
  const now = s.view.getUint32(16, true);
  if ((now & mirroredInodeFlags) === wanted) return 0;
  s.view.setUint32(16, ((now & ~mirroredInodeFlags) | wanted) >>> 0, true);
  return v.libc.sys.ioctl(fd, FS_IOC_SETFLAGS, s.address + 16) < 0 ? -v.libc.errno() : 0;
}

/**
 * Makes a change that the inode's locking flags may forbid here although the source could make it: before
 * it set them, or through a descriptor from before. Takes 0 or a value, and -errno where it fails.
 */
export function despiteLocks(v: Volume, t: Inodes, index: number, change: () => number): number {
  const r = change();
  if (r !== -Errno.EPERM) return r;
  const flags = loadInodeFlags(v, index, t);
  if (!(flags & lockingInodeFlags)) return r;
  const unlocked = storeInodeFlags(v, t, index, flags & ~lockingInodeFlags);
  if (unlocked < 0) return unlocked;
  const again = change();
  const locked = storeInodeFlags(v, t, index, flags);
  return again < 0 ? again : locked < 0 ? locked : again;
}

/** Sets access and modification time; `scratch.times` holds two struct timespec. 0 or -errno. */
export function storeTimes(v: Volume, t: Inodes, index: number): number {
  const fd = reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  // utimensat on a path descriptor needs AT_EMPTY_PATH (Linux 5.8).
  const empty = v.scratch.small.address + 64;
  const r = v.libc.sys.utimensat(fd, empty, v.scratch.times.address, AT.EMPTY_PATH);
  const result = r < 0 ? -v.libc.errno() : 0;
  letGo(t, v.libc, index, fd);
  return result;
}

/** Sets owner and group (0xffffffff leaves one); 0 or -errno. */
export function storeOwner(v: Volume, t: Inodes, index: number, uid: number, gid: number): number {
  const fd = reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  const empty = v.scratch.small.address + 64;
  const r = v.libc.sys.fchownat(fd, empty, uid, gid, AT.EMPTY_PATH);
  const result = r < 0 ? -v.libc.errno() : 0;
  letGo(t, v.libc, index, fd);
  return result;
}

/** Sets the permission bits; 0 or -errno. A symbolic link has none to set. */
export function storeMode(v: Volume, t: Inodes, index: number, mode: number): number {
  if (t.flags[index] & Flag.symlink) return -Errno.EOPNOTSUPP;
  return withInode(
    v,
    t,
    index,
    (fd) => v.libc.sys.fchmod(fd, mode & 0o7777),
    (path) => v.libc.sys.fchmodat(AT.FDCWD, path, mode & 0o7777, 0),
  );
}
