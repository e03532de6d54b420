/**
 * The backing file system, reached by inode: what both the FUSE side and the stream do with it.
 * Functions return 0 or a value on success and -errno on failure; nothing here throws.
 */
import type { Libc } from "../platform/linux/libc.ts";
import { AT, Errno, O, S, Statx } from "../platform/linux/constants.ts";
import { takeHandle } from "./handle_set.ts";
import {
  addInode,
  closeDescriptors,
  Content,
  dropInode,
  findInode,
  Flag,
  hasName,
  type Inodes,
  letGo,
  openInode,
  pathOf,
  reachInode,
  setName,
} from "./inodes.ts";
import type { Volume } from "./volume.ts";

const maxHandle = 24;

/** Reads the attributes of a name in a directory (not following links) into `scratch.statx`. */
export function statName(v: Volume, dirFd: number, name: number): number {
  const r = v.libc.sys.statx(
    dirFd,
    name,
    AT.SYMLINK_NOFOLLOW,
    Statx.basic,
    v.scratch.statx.address,
  );
  return r < 0 ? -v.libc.errno() : 0;
}

/** Reads the attributes behind a descriptor into `scratch.statx`. */
export function statFd(v: Volume, fd: number): number {
  const empty = v.scratch.small.address + 64;
  const r = v.libc.sys.statx(fd, empty, AT.EMPTY_PATH, Statx.basic, v.scratch.statx.address);
  return r < 0 ? -v.libc.errno() : 0;
}

/** Reads the attributes of an inode into `scratch.statx`. */
export function statInode(v: Volume, t: Inodes, index: number): number {
  const fd = t.flags[index] & Flag.directory
    ? openInode(t, v.libc, index, false)
    : reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  const r = statFd(v, fd);
  letGo(t, v.libc, index, fd);
  return r;
}

/**
 * The identity of a name in a directory: its handle into `scratch.handle`; returns the index of its
 * device, or -errno. A mount below the directory is a device of its own.
 */
export function handleOf(v: Volume, t: Inodes, dirFd: number, name: number): number {
  const h = v.scratch.handleWords;
  for (let i = 0; i < 8; i++) h[i] = 0;
  h[0] = maxHandle;
  const mountId = v.scratch.small.address;
  const r = v.libc.sys.name_to_handle_at(dirFd, name, v.scratch.handle.address, mountId, 0);
  if (r < 0) return -v.libc.errno();
  return deviceOf(v, t, v.scratch.small.view.getInt32(0, true), dirFd, name);
}

/** The same for what a descriptor refers to. */
export function handleOfFd(v: Volume, t: Inodes, fd: number): number {
  const h = v.scratch.handleWords;
  for (let i = 0; i < 8; i++) h[i] = 0;
  h[0] = maxHandle;
  const s = v.scratch.small.address;
  const r = v.libc.sys.name_to_handle_at(fd, s + 64, v.scratch.handle.address, s, AT.EMPTY_PATH);
  if (r < 0) return -v.libc.errno();
  return deviceOf(v, t, v.scratch.small.view.getInt32(0, true), fd, s + 64);
}

function deviceOf(v: Volume, t: Inodes, mountId: number, dirFd: number, name: number): number {
  const known = t.deviceIds.indexOf(mountId);
  if (known >= 0) return known;
  const empty = v.libc.sys.fcntl(dirFd, 1, /* F_GETFD */ 0) >= 0 &&
    name === v.scratch.small.address + 64;
  // open_by_handle_at wants a descriptor of the mount that is not an O_PATH one (before Linux 6.x).
  const fd = empty
    ? v.libc.sys.fcntl(dirFd, 1030, /* F_DUPFD_CLOEXEC */ 0)
    : v.libc.sys.openat(dirFd, name, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
  if (fd < 0) return -v.libc.errno();
  t.deviceIds.push(mountId);
  t.deviceFds.push(fd);
  return t.deviceIds.length - 1;
}

/** Changes entries of a directory without a trace in its times. Returns what `change` does, or -errno. */
export function keepingTimes(v: Volume, fd: number, change: () => number): number {
  const before = statFd(v, fd);
  if (before < 0) return before;
  const x = v.scratch.statxWords;
  const times = [Statx.atime, Statx.mtime].flatMap((at) => [0, 1, 2].map((i) => x[at / 4 + i]));
  const r = change();
  const { view, address } = v.scratch.times;
  // struct timespec: seconds and nanoseconds of 64 bits each
  for (let i = 0; i < 2; i++) {
    for (let k = 0; k < 3; k++) view.setUint32(i * 16 + k * 4, times[i * 3 + k], true);
    view.setUint32(i * 16 + 12, 0, true);
  }
  v.libc.sys.futimens(fd, address);
  return r;
}

/** Flags of an inode that follow from its mode. */
export function kindFlags(mode: number): number {
  const type = mode & S.IFMT;
  if (type === S.IFDIR) return Flag.directory;
  if (type === S.IFREG) return Flag.regular;
  if (type === S.IFLNK) return Flag.symlink;
  return 0;
}

/**
 * Data goes to a file in pieces of this size: what is written at once becomes one large folio in the page
 * cache, and every later small write within it has all its buffers to look at.
 */
const pieceSize = 128 << 10;

/** pwrite(2) in pieces; the bytes written, fewer than asked where a later piece failed, or -errno. */
export function writePieces(
  libc: Libc,
  fd: number,
  address: number,
  length: number,
  offset: number,
): number {
  if (length <= pieceSize) {
    const n = libc.sys.pwrite(fd, address, length, offset);
    return n < 0 ? -libc.errno() : n;
  }
  let done = 0;
  while (done < length) {
    const piece = Math.min(pieceSize, length - done);
    const n = libc.sys.pwrite(fd, address + done, piece, offset + done);
    if (n < 0) return done > 0 ? done : -libc.errno();
    done += n;
    if (n < piece) break;
  }
  return done;
}

/** The mode in `scratch.statx`. */
export function statMode(v: Volume): number {
  return v.scratch.statxWords[Statx.mode / 4] & 0xffff;
}

/** The size in `scratch.statx`, in bytes. */
export function statSize(v: Volume): number {
  const w = v.scratch.statxWords;
  return w[Statx.fileSize / 4] + w[Statx.fileSize / 4 + 1] * 4294967296;
}

/** What the file in `scratch.statx` occupies, in units of 512 bytes. */
export function statBlocks(v: Volume): number {
  const w = v.scratch.statxWords;
  return w[Statx.blocks / 4] + w[Statx.blocks / 4 + 1] * 4294967296;
}

/** The number of names in `scratch.statx`. */
export function statLinks(v: Volume): number {
  return v.scratch.statxWords[Statx.nlink / 4];
}

const utf8 = new TextDecoder();

/** True where a name in a directory is not mirrored. */
export function isExcluded(
  v: Volume,
  t: Inodes,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): boolean {
  if (t.flags[parent] & Flag.unmirrored) return true;
  const excludes = v.directories[t.root[parent]].excludes;
  if (excludes.isEmpty) return false;
  return excludes.matchName(pathOf(t, parent), utf8.decode(bytes.subarray(at, at + length)));
}

/**
 * Finds a name of a directory: `scratch.statx` then holds its attributes, and the result is the index
 * of its inode, made where it was unknown, or -errno. The name is NUL-terminated at `bytes[at]`, whose
 * address is `name`.
 */
export function lookupName(
  v: Volume,
  t: Inodes,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  name: number,
): number {
  const dirFd = openInode(t, v.libc, parent, false);
  if (dirFd < 0) return dirFd === -Errno.ESTALE ? -Errno.ENOENT : dirFd;
  const stat = statName(v, dirFd, name);
  if (stat < 0) return stat;
  const device = handleOf(v, t, dirFd, name);
  if (device < 0) return device;
  return internInode(v, t, device, parent, bytes, at, length);
}

/** The inode of `scratch.handle` and `scratch.statx`, under this name; made where it was unknown. */
export function internInode(
  v: Volume,
  t: Inodes,
  device: number,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  wanted = 0,
): number {
  let index = findInode(t, v.scratch.handleWords, 0, device);
  if (index === 0) {
    const excluded = isExcluded(v, t, parent, bytes, at, length);
    index = addInode(
      t,
      v.scratch.handleWords,
      0,
      device,
      t.root[parent],
      kindFlags(statMode(v)) | (excluded ? Flag.unmirrored : 0),
      wanted,
    );
    setName(t, index, parent, bytes, at, length);
    // The sink has what has been compared, whether it is known here all the time or not.
    if (takeHandle(v.compared, v.scratch.handleWords, 0, device)) t.content[index] = Content.synced;
  } else if (!hasName(t, index, parent, bytes, at, length)) {
    // Of several names the recorded one should be mirrored: the peer knows no other.
    if (!isExcluded(v, t, parent, bytes, at, length)) {
      setName(t, index, parent, bytes, at, length);
      t.flags[index] &= ~Flag.unmirrored;
    } else if (t.flags[index] & Flag.unmirrored) {
      setName(t, index, parent, bytes, at, length);
    }
  }
  return index;
}

/** Registers the root of a directory as inode `index + 1`. Returns 0 or -errno. */
export function addRoot(v: Volume, t: Inodes, index: number, fd: number): number {
  const device = handleOfFd(v, t, fd);
  if (device < 0) return device;
  const at = addInode(t, v.scratch.handleWords, 0, device, index, Flag.directory, index + 1);
  t.roots = Math.max(t.roots, index + 1);
  t.lookups[at] = 1;
  t.readFd[at] = v.libc.sys.fcntl(fd, 1030, /* F_DUPFD_CLOEXEC */ 0);
  return t.readFd[at] < 0 ? -v.libc.errno() : 0;
}

/** Forgets all inodes and closes all descriptors but those of the directories themselves. */
export function clearInodes(v: Volume, t: Inodes): void {
  for (let i = 1; i < t.top; i++) {
    if (t.handleWords[i * 8] === 0) continue;
    if (i <= t.roots) closeDescriptors(t, v.libc, i);
    else dropInode(t, v.libc, i, false);
  }
  for (const fd of t.deviceFds) v.libc.sys.close(fd);
  t.deviceFds.length = 0;
  t.deviceIds.length = 0;
}
