/** Requests about names: lookup, create, remove, rename, link. */
import { AT, Errno, O, S } from "../platform/linux/constants.ts";
import {
  handleOf,
  handleOfFd,
  internInode,
  isExcluded,
  lookupName,
  statFd,
  statInode,
  statLinks,
  statName,
} from "../mirror/backing.ts";
import {
  adoptDescriptor,
  findInode,
  Flag,
  hasName,
  isUnused,
  letGo,
  loseName,
  openInode,
  pathOf,
  pinOpen,
  reachInode,
  setName,
} from "../mirror/inodes.ts";
import {
  dropUnused,
  ensureBound,
  isBound,
  isMirrored,
  markTimes,
  prepareLink,
  prepareRename,
  recordAttributes,
  recordExcluded,
  recordLink,
  recordMake,
  recordRename,
  recordTruncate,
  recordUnlink,
  type RenameEnds,
} from "../mirror/record.ts";
import { keepKnown, loseMirrored, publish, refreshExclusions } from "../mirror/publish.ts";
import { headerSize, Mask } from "../mirror/frames.ts";
import { roomForRequest } from "../mirror/stream.ts";
import type { Job, Volume } from "../mirror/volume.ts";
import { cacheFlags, putOpen } from "./data.ts";
import { entrySize, In, outHeader } from "./protocol.ts";
import {
  asCaller,
  nodeAt,
  nodeOf,
  putEntry,
  reply,
  replyAbsent,
  replyEntry,
  replyLater,
  replyResult,
  type Server,
} from "./server.ts";

/** RENAME_EXCHANGE and RENAME_WHITEOUT of linux/fs.h. */
const EXCHANGE = 2;
const WHITEOUT = 4;

function nameLength(f: Server, at: number): number {
  return f.request.bytes.indexOf(0, at) - at;
}

export function lookup(f: Server): void {
  const { v } = f;
  const index = lookupName(
    v,
    v.inodes,
    nodeOf(f),
    f.request.bytes,
    In.size,
    nameLength(f, In.size),
    f.request.address + In.size,
  );
  if (index === -Errno.ENOENT) return replyAbsent(f);
  if (index < 0) return replyResult(f, index);
  replyEntry(f, index);
}

/** Takes `count` lookups back; an inode that nobody refers to any more is forgotten. */
export function forget(f: Server, index: number, count: number): void {
  const t = f.v.inodes;
  t.lookups[index] = Math.max(0, t.lookups[index] - count);
  dropUnused(f.v, index);
}

/**
 * Many at once: tens of thousands when the kernel needs memory, so what is unused then goes as the stream has
 * room. The request stands where it was read to: 80 bytes in `request`, the rest in the ring.
 */
export function batchForget(f: Server): void {
  const { v } = f;
  const t = v.inodes;
  const ring = (v.stream.tail + headerSize) >>> 2;
  const count = f.words[10];
  for (let i = 0; i < count; i++) {
    const at = (48 + i * 16) >>> 2;
    const inRing = at - headerSize / 4;
    const [words, from] = inRing < 0 ? [f.words, at] : [v.stream.words, ring + inRing];
    const index = words[from] === 1 ? f.session.root : words[from];
    const n = words[from + 2] + words[from + 3] * 4294967296;
    t.lookups[index] = Math.max(0, t.lookups[index] - n);
    if (isUnused(t, index)) v.unused.push(index);
  }
  if (v.unused.length > 0 && v.unused.length <= count) v.jobs.push(dropping(v));
}

function* dropping(v: Volume): Job {
  while (v.unused.length > 0) {
    for (let i = 0; i < 256 && roomForRequest(v.stream); i++) {
      const index = v.unused.pop();
      if (index === undefined) return;
      dropUnused(v, index);
    }
    yield roomForRequest(v.stream);
  }
}

/** The common start of whatever makes a name: its directory's descriptor, or a negative reply sent. */
function directoryFor(f: Server): number {
  if (!f.v.serving) {
    replyResult(f, -Errno.EROFS);
    return -1;
  }
  const fd = openInode(f.v.inodes, f.v.libc, nodeOf(f), false);
  if (fd < 0) {
    replyResult(f, fd === -Errno.ESTALE ? -Errno.ENOENT : fd);
    return -1;
  }
  return fd;
}

/** Looks the new name up, records it and returns its inode, or -errno. */
function made(
  f: Server,
  nameAt: number,
  requestMode: number,
  umask: number,
  target: Uint8Array | undefined,
): number {
  const { v } = f;
  const parent = nodeOf(f);
  const length = nameLength(f, nameAt);
  const name = f.request.address + nameAt;
  const index = lookupName(v, v.inodes, parent, f.request.bytes, nameAt, length, name);
  if (index < 0) return index;
  const uid = f.words[In.uid / 4];
  const gid = f.words[In.gid / 4];
  recordMake(
    v,
    parent,
    f.request.bytes,
    nameAt,
    length,
    index,
    requestMode,
    umask,
    uid,
    gid,
    target,
  );
  return index;
}

export function mkdir(f: Server): void {
  const fd = directoryFor(f);
  if (fd < 0) return;
  const mode = f.words[10];
  const umask = f.words[11];
  asCaller(f, umask);
  if (f.v.libc.sys.mkdirat(fd, f.request.address + 48, mode & 0o7777) < 0) {
    return replyResult(f, -f.v.libc.errno());
  }
  const index = made(f, 48, S.IFDIR | (mode & 0o7777), umask, undefined);
  if (index < 0) return replyResult(f, index);
  replyEntry(f, index);
}

export function mknod(f: Server): void {
  const fd = directoryFor(f);
  if (fd < 0) return;
  const mode = f.words[10];
  const umask = f.words[12];
  asCaller(f, umask);
  // The kernel's 32-bit device number is glibc's dev_t as long as majors are below 4096.
  if (f.v.libc.sys.mknodat(fd, f.request.address + 56, mode, f.words[11]) < 0) {
    return replyResult(f, -f.v.libc.errno());
  }
  const index = made(f, 56, mode, umask, undefined);
  if (index < 0) return replyResult(f, index);
  replyEntry(f, index);
}

export function symlink(f: Server): void {
  const fd = directoryFor(f);
  if (fd < 0) return;
  const targetAt = In.size + nameLength(f, In.size) + 1;
  asCaller(f, f.umask);
  const { sys } = f.v.libc;
  if (sys.symlinkat(f.request.address + targetAt, fd, f.request.address + In.size) < 0) {
    return replyResult(f, -f.v.libc.errno());
  }
  const target = f.request.bytes.slice(targetAt, targetAt + nameLength(f, targetAt));
  const index = made(f, In.size, S.IFLNK | 0o777, f.umask, target);
  if (index < 0) return replyResult(f, index);
  replyEntry(f, index);
}

export function readlink(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  const fd = reachInode(v.inodes, v.libc, index);
  if (fd < 0) return replyResult(f, fd);
  const empty = v.scratch.small.address + 64;
  const n = v.libc.sys.readlinkat(fd, empty, f.out.address + outHeader, 4096);
  const result = n < 0 ? -v.libc.errno() : n;
  letGo(v.inodes, v.libc, index, fd);
  if (result < 0) return replyResult(f, result);
  reply(f, result);
}

/** struct fuse_create_in: flags, mode, umask, open_flags; then the name. */
export function create(f: Server): void {
  const { v } = f;
  const dir = directoryFor(f);
  if (dir < 0) return;
  const flags = f.words[10];
  const mode = f.words[11];
  const umask = f.words[12];
  const name = f.request.address + 56;
  asCaller(f, umask);
  const fd = v.libc.sys.openat(
    dir,
    name,
    O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC,
    mode & 0o7777,
  );
  if (fd < 0) {
    const error = -v.libc.errno();
    if (error !== -Errno.EEXIST || flags & O.EXCL) return replyResult(f, error);
    return openExisting(f, dir, name, flags);
  }
  const index = made(f, 56, S.IFREG | (mode & 0o7777), umask, undefined);
  if (index < 0) {
    v.libc.sys.close(fd);
    return replyResult(f, index);
  }
  adoptDescriptor(v.inodes, v.libc, index, fd);
  replyOpened(f, index);
}

/** The name came into being behind the kernel's back (on the backing file system itself). */
function openExisting(f: Server, dir: number, name: number, flags: number): void {
  const { v } = f;
  const length = nameLength(f, 56);
  const index = lookupName(v, v.inodes, nodeOf(f), f.request.bytes, 56, length, name);
  if (index < 0) return replyResult(f, index);
  if (!(v.inodes.flags[index] & Flag.regular)) return replyResult(f, -Errno.EEXIST);
  const fd = openInode(v.inodes, v.libc, index, true);
  if (fd < 0) return replyResult(f, fd);
  if (flags & O.TRUNC) {
    if (v.libc.sys.ftruncate(fd, 0) < 0) return replyResult(f, -v.libc.errno());
    recordTruncate(v, index, 0);
  }
  if (statName(v, dir, name) < 0) return replyResult(f, -Errno.ENOENT);
  replyOpened(f, index);
}

function replyOpened(f: Server, index: number): void {
  f.v.inodes.opens[index]++;
  putEntry(f, outHeader, index);
  putOpen(f, outHeader + entrySize, cacheFlags(f, index));
  reply(f, entrySize + 16);
}

/** O_TMPFILE: a file without a name, unknown to the sink until it is given one. */
export function tmpfile(f: Server): void {
  const { v } = f;
  const dir = directoryFor(f);
  if (dir < 0) return;
  const mode = f.words[11];
  asCaller(f, f.words[12]);
  v.scratch.text.bytes.set([0x2e, 0]);
  const flags = O.RDWR | O.TMPFILE | O.CLOEXEC | (f.words[10] & O.EXCL);
  const fd = v.libc.sys.openat(dir, v.scratch.text.address, flags, mode & 0o7777);
  if (fd < 0) return replyResult(f, -v.libc.errno());
  const stat = statFd(v, fd);
  const device = stat < 0 ? stat : handleOfFd(v, v.inodes, fd);
  if (device < 0) {
    v.libc.sys.close(fd);
    return replyResult(f, device);
  }
  const parent = nodeOf(f);
  const index = internInode(v, v.inodes, device, parent, f.request.bytes, 0, 0);
  v.inodes.flags[index] |= Flag.unmirrored | Flag.orphan;
  adoptDescriptor(v.inodes, v.libc, index, fd);
  replyOpened(f, index);
}

export function unlink(f: Server): void {
  remove(f, false);
}

export function rmdir(f: Server): void {
  remove(f, true);
}

function remove(f: Server, directory: boolean): void {
  const { v } = f;
  const t = v.inodes;
  const dir = directoryFor(f);
  if (dir < 0) return;
  const parent = nodeOf(f);
  const bytes = f.request.bytes;
  const length = nameLength(f, In.size);
  const name = f.request.address + In.size;
  const excluded = isExcluded(v, t, parent, bytes, In.size, length);
  const stat = statName(v, dir, name);
  if (stat < 0) return replyResult(f, stat);
  const links = statLinks(v);
  const device = handleOf(v, t, dir, name);
  const index = device < 0 ? 0 : findInode(t, v.scratch.handleWords, 0, device);
  const left = directory ? 0 : links - 1;
  if (index > 0) beforeNameGoes(f, index, left);
  if (v.libc.sys.unlinkat(dir, name, directory ? AT.REMOVEDIR : 0) < 0) {
    return replyResult(f, -v.libc.errno());
  }
  if (excluded) recordExcluded(v, parent);
  else recordUnlink(v, parent, bytes, In.size, length, { index, links: left, directory });
  if (index > 0) nameGone(f, index, parent, bytes, In.size, length, left);
  reply(f, 0);
}

/** What must happen while the name is still there; `left` names will remain. */
function beforeNameGoes(f: Server, index: number, left: number): void {
  const { v } = f;
  const t = v.inodes;
  if (left === 0) {
    // A handle leads nowhere once the last name is gone: only a descriptor keeps the inode.
    if (t.lookups[index] > 0) pinOpen(t, v.libc, index);
  } else if (v.complete && isMirrored(v, index)) ensureBound(v, index); // it may become nameless
}

/** What follows for the inode when a name of it is gone and `left` remain. */
function nameGone(
  f: Server,
  index: number,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  left: number,
): void {
  const { v } = f;
  const t = v.inodes;
  if (left === 0) t.flags[index] = (t.flags[index] | Flag.orphan) & ~Flag.pinned;
  if (left === 0 || hasName(t, index, parent, bytes, at, length)) loseName(t, index);
  if (left === 0) t.bound[index] = 0;
  else if (left === 1 && t.flags[index] & Flag.pinned && isAtItsName(f, index)) {
    // The one name it still has is mirrored, and recorded: a lookup will know.
    t.flags[index] &= ~Flag.pinned;
  }
  dropUnused(v, index);
  dropUnused(v, parent);
}

/** True where the recorded name leads to the inode. */
function isAtItsName(f: Server, index: number): boolean {
  const { v } = f;
  const t = v.inodes;
  const length = t.nameLength[index];
  if (length === 0) return false;
  const dir = openInode(t, v.libc, t.parent[index], false);
  if (dir < 0) return false;
  const { text, handleWords } = v.scratch;
  text.bytes.set(t.names.subarray(t.nameAt[index], t.nameAt[index] + length));
  text.bytes[length] = 0;
  const device = handleOf(v, t, dir, text.address);
  return device >= 0 && findInode(t, handleWords, 0, device) === index;
}

export function link(f: Server): void {
  const { v } = f;
  const t = v.inodes;
  const dir = directoryFor(f);
  if (dir < 0) return;
  const index = nodeAt(f, In.size);
  const parent = nodeOf(f);
  const at = 48;
  const length = nameLength(f, at);
  const excluded = isExcluded(v, t, parent, f.request.bytes, at, length);
  const known = !(t.flags[index] & Flag.unmirrored) && prepareLink(v, index);
  if (!excluded && !known && isMirrored(v, parent)) {
    return publishByLink(f, index, parent, at, length);
  }
  const r = linkHere(f, index, dir, f.request.address + at);
  if (r < 0) return replyResult(f, r);
  linked(f, index, parent, f.request.bytes, at, length, excluded);
  if (excluded) recordExcluded(v, parent);
  else recordLink(v, index, parent, f.request.bytes, at, length);
  const stat = statInode(v, t, index);
  if (stat < 0) return replyResult(f, stat);
  replyEntry(f, index);
}

/** What follows in the table of inodes when one has got another name. */
function linked(
  f: Server,
  index: number,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  excluded: boolean,
): void {
  const { v } = f;
  const t = v.inodes;
  const temporary = (t.flags[index] & Flag.orphan) !== 0;
  const across = excluded !== ((t.flags[index] & Flag.unmirrored) !== 0);
  t.flags[index] &= ~Flag.orphan;
  if (!excluded) t.flags[index] &= ~Flag.unmirrored;
  // Of several names the recorded one is mirrored, where one is.
  if (!excluded || t.flags[index] & Flag.unmirrored) setName(t, index, parent, bytes, at, length);
  if (across && !temporary) keepKnown(v, index);
}

function linkHere(f: Server, index: number, dir: number, name: number): number {
  const { v } = f;
  const t = v.inodes;
  const empty = v.scratch.small.address + 64;
  const fd = reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  const r = v.libc.sys.linkat(fd, empty, dir, name, AT.EMPTY_PATH);
  const result = r < 0 ? -v.libc.errno() : 0;
  letGo(t, v.libc, index, fd);
  return result;
}

/** Keeps of a request what a multi-step operation needs to finish it later. */
function keepRequest(f: Server) {
  return {
    session: f.session,
    bytes: f.request.bytes.slice(0, f.length + 1),
    unique: [f.words[In.unique / 4], f.words[In.unique / 4 + 1]] as [number, number],
  };
}

/** Puts a kept request back, so that the usual functions can reply to it. */
function restoreRequest(f: Server, kept: ReturnType<typeof keepRequest>): void {
  f.request.bytes.set(kept.bytes);
  f.session = kept.session;
  f.length = kept.bytes.length - 1;
}

/** A file that the sink does not have gets a mirrored name: content and name go as one operation. */
function publishByLink(
  f: Server,
  index: number,
  parent: number,
  at: number,
  length: number,
): void {
  const kept = keepRequest(f);
  const { v } = f;
  const t = v.inodes;
  publish(v, {
    index,
    parent,
    name: kept.bytes,
    nameAt: at,
    length,
    replaced: undefined,
    commit() {
      restoreRequest(f, kept);
      if (kept.session.fd < 0) return -Errno.EIO;
      const dir = openInode(t, v.libc, parent, false);
      return dir < 0 ? dir : linkHere(f, index, dir, f.request.address + at);
    },
    settle: () => {
      // publish() has cleared the flags: a temporary file has no name yet.
      const temporary = t.nameLength[index] === 0;
      setName(t, index, parent, kept.bytes, at, length);
      if (!temporary) keepKnown(v, index);
    },
    reply(error) {
      restoreRequest(f, kept);
      const stat = error < 0 ? error : statInode(v, t, index);
      if (stat < 0) replyLater(f, kept.session.index, kept.unique, stat);
      else replyEntry(f, index);
    },
  });
}

export function rename(f: Server): void {
  renameAs(f, 0, 48);
}

export function rename2(f: Server): void {
  renameAs(f, f.words[12], 56);
}

/** The inode at a name: its index (made where unknown), 0 where nothing is there, or -errno. */
function inodeAt(f: Server, parent: number, at: number, length: number): number {
  const { v } = f;
  const name = f.request.address + at;
  const index = lookupName(v, v.inodes, parent, f.request.bytes, at, length, name);
  return index === -Errno.ENOENT ? 0 : index;
}

function renameAs(f: Server, flags: number, at: number): void {
  const { v } = f;
  const t = v.inodes;
  const dir = directoryFor(f);
  if (dir < 0) return;
  const parent = nodeOf(f);
  const newParent = nodeAt(f, In.size);
  const newDir = openInode(t, v.libc, newParent, false);
  if (newDir < 0) return replyResult(f, newDir);
  const nameLen = nameLength(f, at);
  const newAt = at + nameLen + 1;
  const newLen = nameLength(f, newAt);
  const bytes = f.request.bytes;
  const ends: RenameEnds = {
    parent,
    name: bytes,
    nameAt: at,
    nameLength: nameLen,
    newParent,
    newName: bytes,
    newNameAt: newAt,
    newNameLength: newLen,
  };
  const other = inodeAt(f, newParent, newAt, newLen);
  if (other < 0) return replyResult(f, other);
  const otherLeft = other > 0 && !(t.flags[other] & Flag.directory) ? statLinks(v) - 1 : 0;
  const index = inodeAt(f, parent, at, nameLen);
  if (index <= 0) return replyResult(f, index === 0 ? -Errno.ENOENT : index);
  const move: Move = {
    f,
    ends,
    flags,
    index,
    left: t.flags[index] & Flag.directory ? 0 : statLinks(v) - 1,
    other,
    otherLeft,
    fromExcluded: isExcluded(v, t, parent, bytes, at, nameLen),
    toExcluded: isExcluded(v, t, newParent, bytes, newAt, newLen),
  };
  const intoMirror = (move.fromExcluded && !move.toExcluded) ||
    (flags & EXCHANGE && move.toExcluded && !move.fromExcluded);
  if (intoMirror && v.stream.active && index !== other) return renameIntoMirror(move);
  const r = changesBelow(move) ? -Errno.EXDEV : renameHere(move, dir, newDir);
  if (r < 0) return replyResult(f, r);
  reply(f, 0);
}

interface Move {
  f: Server;
  ends: RenameEnds;
  flags: number;
  index: number;
  /** names that the inode has besides this one; 0 for a directory */
  left: number;
  /** what stands at the target: replaced, or exchanged; 0 where nothing does */
  other: number;
  /** names that `other` has besides this one */
  otherLeft: number;
  fromExcluded: boolean;
  toExcluded: boolean;
}

/**
 * True where a mirrored directory would move so that an anchored pattern excludes other names below it than
 * before. Part of the tree would have to appear on the sink and part to vanish, in one step, so this is
 * refused as between two file systems, and mv(1) copies.
 */
function changesBelow(m: Move): boolean {
  const { f, ends, index, other } = m;
  const t = f.v.inodes;
  if (m.fromExcluded || m.toExcluded || index === other) return false;
  const directory = t.flags[index] | (m.flags & EXCHANGE && other > 0 ? t.flags[other] : 0);
  const { excludes } = f.v.directories[t.root[index]];
  if (!(directory & Flag.directory) || excludes.namesOnly) return false;
  const decoder = new TextDecoder();
  const path = (parent: number, bytes: Uint8Array, at: number, length: number) => {
    const up = pathOf(t, parent);
    const name = decoder.decode(bytes.subarray(at, at + length));
    return up === "" ? name : `${up}/${name}`;
  };
  return !excludes.sameBelow(
    path(ends.parent, ends.name, ends.nameAt, ends.nameLength),
    path(ends.newParent, ends.newName, ends.newNameAt, ends.newNameLength),
  );
}

/** Everything but excluded → mirrored: renames here and records what it means for the sink. */
function renameHere(m: Move, dir: number, newDir: number): number {
  const { f, ends, index, other } = m;
  const { v } = f;
  const replaces = other > 0 && !(m.flags & EXCHANGE) && other !== index;
  const mirrored = !m.fromExcluded && !m.toExcluded;
  if (mirrored) prepareRename(v, ends, index, other);
  if (replaces) beforeNameGoes(f, other, m.otherLeft);
  if (m.left > 0) beforeNameGoes(f, index, m.left);
  if (m.flags & WHITEOUT) asCaller(f, f.umask); // whose the whiteout will be
  const r = v.libc.sys.renameat2(
    dir,
    f.request.address + ends.nameAt,
    newDir,
    f.request.address + ends.newNameAt,
    m.flags,
  );
  if (r < 0) return -v.libc.errno();
  if (index === other) return 0; // two names of one file: rename(2) has done nothing
  if (mirrored) recordRename(v, ends, m.flags, index, other, m.otherLeft);
  else {
    // mirrored → excluded: for the sink it is a removal. A file with other names stays known.
    if (!m.fromExcluded) {
      const directory = (v.inodes.flags[index] & Flag.directory) !== 0;
      const what = { index, links: m.left, directory, tree: directory };
      recordUnlink(v, ends.parent, ends.name, ends.nameAt, ends.nameLength, what);
    }
    recordExcluded(v, ends.parent);
    recordExcluded(v, ends.newParent);
  }
  renamed(m);
  if (m.flags & WHITEOUT && !m.fromExcluded) recordWhiteout(m);
  return 0;
}

/** RENAME_WHITEOUT leaves a device node at the old name. */
function recordWhiteout(m: Move): void {
  const { f, ends } = m;
  const { v } = f;
  const { parent, nameAt, nameLength } = ends;
  const { bytes, address } = f.request;
  const made = lookupName(v, v.inodes, parent, bytes, nameAt, nameLength, address + nameAt);
  if (made <= 0 || !isBound(v, parent)) return;
  if (!m.toExcluded) {
    // The sink's rename has made it, too, but not as the caller's.
    ensureBound(v, made);
    recordAttributes(v, made, Mask.owner | Mask.mode);
    markTimes(v, made);
  } else recordMake(v, parent, bytes, nameAt, nameLength, made, S.IFCHR, 0, 0, 0, undefined);
}

/** What follows in the table of inodes. */
function renamed(m: Move): void {
  const { f, ends, index, other } = m;
  const { v } = f;
  const t = v.inodes;
  const exchange = (m.flags & EXCHANGE) !== 0;
  const { newParent, newName, newNameAt, newNameLength } = ends;
  if (other > 0 && !exchange) {
    nameGone(f, other, newParent, newName, newNameAt, newNameLength, m.otherLeft);
  }
  const { parent, name, nameAt, nameLength } = ends;
  const from = { parent, name, at: nameAt, length: nameLength, excluded: m.fromExcluded };
  const to = {
    parent: newParent,
    name: newName,
    at: newNameAt,
    length: newNameLength,
    excluded: m.toExcluded,
  };
  moved(v, index, from, to, m.left);
  if (exchange && other > 0) moved(v, other, to, from, m.otherLeft);
  const directory = t.flags[index] | (exchange && other > 0 ? t.flags[other] : 0);
  if (directory & Flag.directory && m.toExcluded !== m.fromExcluded) refreshExclusions(v);
}

interface Place {
  parent: number;
  name: Uint8Array;
  at: number;
  length: number;
  excluded: boolean;
}

/** Records an inode's new name, and what it means that it is, or was, excluded; `left`: its other names. */
function moved(v: Volume, index: number, from: Place, to: Place, left: number): void {
  const t = v.inodes;
  if (!to.excluded) {
    setName(t, index, to.parent, to.name, to.at, to.length);
    t.flags[index] &= ~Flag.unmirrored;
    if (from.excluded && left > 0) keepKnown(v, index);
    return;
  }
  if (!from.excluded) loseMirrored(v, index);
  // Of several names the recorded one is mirrored, where one is.
  if (t.flags[index] & Flag.unmirrored) setName(t, index, to.parent, to.name, to.at, to.length);
  else if (hasName(t, index, from.parent, from.name, from.at, from.length)) loseName(t, index);
}

/** Excluded → mirrored: the usual atomic replacement of a file by a temporary one. */
function renameIntoMirror(m: Move): void {
  const { f, ends } = m;
  const { v } = f;
  const t = v.inodes;
  const kept = keepRequest(f);
  ends.name = ends.newName = kept.bytes;
  const forward = m.fromExcluded;
  const [comes, goes] = forward ? [m.index, m.other] : [m.other, m.index];
  const directory = goes > 0 && (t.flags[goes] & Flag.directory) !== 0;
  const links = forward ? m.otherLeft : m.left;
  const exchange = (m.flags & EXCHANGE) !== 0;
  t.lookups[m.index]++;
  if (m.other > 0) t.lookups[m.other]++;
  const release = () => {
    forget(f, m.index, 1);
    if (m.other > 0) forget(f, m.other, 1);
  };
  publish(v, {
    index: comes,
    parent: forward ? ends.newParent : ends.parent,
    name: kept.bytes,
    nameAt: forward ? ends.newNameAt : ends.nameAt,
    length: forward ? ends.newNameLength : ends.nameLength,
    replaced: goes > 0 ? { index: goes, links, directory, tree: exchange && directory } : undefined,
    commit() {
      restoreRequest(f, kept);
      if (kept.session.fd < 0) return -Errno.EIO;
      const from = openInode(t, v.libc, ends.parent, false);
      const to = openInode(t, v.libc, ends.newParent, false);
      if (from < 0 || to < 0) return Math.min(from, to);
      if (goes > 0) beforeNameGoes(f, goes, exchange ? Math.max(links, 1) : links);
      if (m.flags & WHITEOUT) asCaller(f, f.umask);
      const r = v.libc.sys.renameat2(
        from,
        f.request.address + ends.nameAt,
        to,
        f.request.address + ends.newNameAt,
        m.flags,
      );
      return r < 0 ? -v.libc.errno() : 0;
    },
    settle() {
      recordExcluded(v, forward ? ends.parent : ends.newParent);
      renamed(m);
      if (m.flags & WHITEOUT && !forward) recordWhiteout(m);
    },
    reply(error) {
      restoreRequest(f, kept);
      if (error < 0) replyLater(f, kept.session.index, kept.unique, error);
      else reply(f, 0);
      release();
    },
  });
}
