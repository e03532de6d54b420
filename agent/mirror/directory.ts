/** Reading a directory of the backing file system, entry by entry, names as bytes. */
import { allocate } from "../platform/linux/libc.ts";
import { AT, O, SEEK } from "../platform/linux/constants.ts";
import { type Inodes, openInode } from "./inodes.ts";
import type { Volume } from "./volume.ts";

/** struct linux_dirent64 (linux/dirent.h): u64 ino, s64 off, u16 reclen, u8 type, name. */
export const Dirent = { reclen: 16, type: 18, name: 19 } as const;

const listSize = 32 << 10;

/**
 * Calls `visit(bytes, at, length, type)` for every entry but "." and "..", as a generator that yields
 * after every entry so that its caller can stop and go on later. Entries that come and go meanwhile may
 * or may not be seen, as with readdir(3). Ends at once where the directory is gone.
 */
export function* readDirectory(
  v: Volume,
  t: Inodes,
  index: number,
): Generator<{ bytes: Uint8Array; at: number; length: number; address: number }, void, void> {
  const shared = openInode(t, v.libc, index, false);
  if (shared < 0) return;
  const dot = allocate(128);
  dot.bytes[0] = 0x2e;
  // A descriptor of its own: the shared one's position belongs to the kernel's requests.
  const flags = O.RDONLY | O.DIRECTORY | O.NOATIME | O.CLOEXEC;
  const fd = v.libc.sys.openat(shared, dot.address, flags, 0);
  if (fd < 0) return;
  const list = allocate(listSize);
  try {
    const entry = { bytes: list.bytes as Uint8Array, at: 0, length: 0, address: 0 };
    for (;;) {
      const n = v.libc.sys.getdents64(fd, list.address, listSize);
      if (n <= 0) return;
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
 * Removes a name and everything below it. Returns 0 or -errno of the first failure; what is not there
 * is no failure. Immutable files are the caller's business.
 */
export function removeTree(v: Volume, dirFd: number, name: number): number {
  const { sys } = v.libc;
  if (sys.unlinkat(dirFd, name, 0) === 0) return 0;
  const e = v.libc.errno();
  if (e === 2 /* ENOENT */) return 0;
  if (e !== 21 /* EISDIR */ && e !== 1 /* EPERM: a directory, or immutable */) return -e;
  if (sys.unlinkat(dirFd, name, AT.REMOVEDIR) === 0) return 0;
  const flags = O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
  const fd = sys.openat(dirFd, name, flags, 0);
  if (fd < 0) return -v.libc.errno();
  const r = emptyDirectory(v, fd, () => true);
  sys.close(fd);
  if (r < 0) return r;
  return sys.unlinkat(dirFd, name, AT.REMOVEDIR) === 0 ? 0 : -v.libc.errno();
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
      if (n <= 0) break;
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
