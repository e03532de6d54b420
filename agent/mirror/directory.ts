/** Reading a directory of the backing file system, entry by entry, names as bytes. */
import { allocate } from "../platform/linux/libc.ts";
import { AT, Errno, O, S, SEEK, Statx } from "../platform/linux/constants.ts";
import { type Inodes, openInode, pathOf } from "./inodes.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, lockingInodeFlags } from "./metadata.ts";
import type { Volume } from "./volume.ts";

/** struct linux_dirent64 (linux/dirent.h): u64 ino, s64 off, u16 reclen, u8 type, name. */
export const Dirent = { reclen: 16, type: 18, name: 19 } as const;

const listSize = 32 << 10;

/**
 * Calls `visit(bytes, at, length, type)` for every entry but "." and "..", as a generator that yields
 * after every entry so that its caller can stop and go on later. Entries that come and go meanwhile may
 * or may not be seen, as with readdir(3). Ends at once where the directory is gone.
 *
 * @throws {SystemError} where it cannot be read: what is missing must never pass for what is not there
 */
export function* readDirectory(
  v: Volume,
  t: Inodes,
  index: number,
): Generator<{ bytes: Uint8Array; at: number; length: number; address: number }, void, void> {
  const shared = openInode(t, v.libc, index, false);
  if (shared === -Errno.ESTALE) return;
  if (shared < 0) throw unreadable(t, index, "open", -shared);
  const dot = allocate(128);
  dot.bytes[0] = 0x2e;
  // A descriptor of its own: the shared one's position belongs to the kernel's requests.
  const flags = O.RDONLY | O.DIRECTORY | O.NOATIME | O.CLOEXEC;
  const fd = v.libc.sys.openat(shared, dot.address, flags, 0);
  if (fd < 0) {
    const e = v.libc.errno();
    if (e === Errno.ENOENT) return;
    throw unreadable(t, index, "open", e);
  }
  const list = allocate(listSize);
  try {
    const entry = { bytes: list.bytes as Uint8Array, at: 0, length: 0, address: 0 };
    for (;;) {
      const n = v.libc.sys.getdents64(fd, list.address, listSize);
      if (n === 0) return;
      if (n < 0) {
        const e = v.libc.errno();
        if (e === Errno.ENOENT) return; // removed meanwhile
        throw unreadable(t, index, "getdents64", e);
      }
      for (let at = 0; at < n;) {
        const reclen = list.view.getUint16(at + Dirent.reclen, true);
        const nameAt = at + Dirent.name;
        const length = list.bytes.indexOf(0, nameAt) - nameAt;
        at += reclen;
        if (isDots(list.bytes, nameAt, length)) continue;
        entry.at = nameAt;
        entry.length = length;
        entry.address = list.address + nameAt;
        yield entry;
      }
    }
  } finally {
    v.libc.sys.close(fd);
  }
}

function unreadable(t: Inodes, index: number, call: string, errno: number): SystemError {
  const path = pathOf(t, index) || ".";
  return new SystemError(call, errno, path, "The directory cannot be read: check the disk");
}

/** A name's bytes as a string with one character a byte, whatever they are: a key for sets. */
export function nameKey(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode.apply(null, bytes.subarray(at, at + length) as unknown as number[]);
}

/** True for "." and "..". */
export function isDots(bytes: Uint8Array, at: number, length: number): boolean {
  return length <= 2 && bytes[at] === 0x2e && (length === 1 || bytes[at + 1] === 0x2e);
}

const stagePrefix = new TextEncoder().encode(".understudy-stage-");

/** True for the names under which a sink keeps what is not published yet. */
export function isStageName(bytes: Uint8Array, at: number, length: number): boolean {
  if (length < stagePrefix.length) return false;
  for (let i = 0; i < stagePrefix.length; i++) if (bytes[at + i] !== stagePrefix[i]) return false;
  return true;
}

/** The hidden name of a staged inode. */
export function stageName(index: number): string {
  return `.understudy-stage-${index}`;
}

/**
 * Removes a name and everything below it, also what is immutable or append-only. Returns 0 or -errno of
 * the first failure; what is not there is no failure.
 */
export function removeTree(v: Volume, dirFd: number, name: number): number {
  const r = removeUnlocked(v, dirFd, name);
  if (r !== -Errno.EPERM) return r;
  unlockName(v, dirFd, name);
  return removeUnlocked(v, dirFd, name);
}

function removeUnlocked(v: Volume, dirFd: number, name: number): number {
  const { sys } = v.libc;
  if (sys.unlinkat(dirFd, name, 0) === 0) return 0;
  const e = v.libc.errno();
  if (e === Errno.ENOENT) return 0;
  if (e !== Errno.EISDIR && e !== Errno.EPERM) return -e;
  const flags = O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
  const fd = sys.openat(dirFd, name, flags, 0);
  if (fd < 0) return -e;
  let r = sys.unlinkat(dirFd, name, AT.REMOVEDIR) === 0 ? 0 : -v.libc.errno();
  if (r === -Errno.ENOTEMPTY) {
    r = emptyDirectory(v, fd, () => true);
    if (r === 0 && sys.unlinkat(dirFd, name, AT.REMOVEDIR) < 0) r = -v.libc.errno();
  }
  sys.close(fd);
  return r;
}

/** Takes the flags away that keep a file or directory from being removed. */
function unlockName(v: Volume, dirFd: number, name: number): void {
  const { sys } = v.libc;
  const { statx, small } = v.scratch;
  // Only files and directories have such flags, and nothing else may be opened just so.
  if (sys.statx(dirFd, name, AT.SYMLINK_NOFOLLOW, Statx.basic, statx.address) < 0) return;
  const type = v.scratch.statxWords[Statx.mode / 4] & S.IFMT;
  if (type !== S.IFREG && type !== S.IFDIR) return;
  const fd = sys.openat(dirFd, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC, 0);
  if (fd < 0) return;
  if (sys.ioctl(fd, FS_IOC_GETFLAGS, small.address + 16) === 0) {
    const flags = small.view.getUint32(16, true);
    small.view.setUint32(16, flags & ~lockingInodeFlags, true);
    sys.ioctl(fd, FS_IOC_SETFLAGS, small.address + 16);
  }
  sys.close(fd);
}

/** Removes those entries of a directory, with all below them, for which `which` says so. */
export function emptyDirectory(
  v: Volume,
  fd: number,
  which: (bytes: Uint8Array, at: number, length: number) => boolean,
): number {
  const list = allocate(listSize);
  let failed = 0;
  for (let removed = true; removed;) {
    removed = false;
    v.libc.sys.lseek(fd, 0, SEEK.SET);
    for (;;) {
      const n = v.libc.sys.getdents64(fd, list.address, listSize);
      if (n < 0) return -v.libc.errno();
      if (n === 0) break;
      for (let at = 0; at < n;) {
        const nameAt = at + Dirent.name;
        const reclen = list.view.getUint16(at + Dirent.reclen, true);
        const length = list.bytes.indexOf(0, nameAt) - nameAt;
        at += reclen;
        if (isDots(list.bytes, nameAt, length) || !which(list.bytes, nameAt, length)) continue;
        const r = removeTree(v, fd, list.address + nameAt);
        if (r < 0) failed = r;
        else removed = true;
      }
    }
    if (failed < 0) return failed;
  }
  return 0;
}
