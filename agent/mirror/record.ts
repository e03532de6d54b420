/**
 * Records what the application changed: each function is called right after the change was made on
 * this node, in the order of the changes, and puts a frame into the stream where the sink needs it.
 * Where the reply to the application must wait, `stream.waitFor` is the frame it waits for.
 */
import { FALLOC, Statx } from "../platform/linux/constants.ts";
import { statBlocks, statInode, statSize } from "./backing.ts";
import { addHandle } from "./handle_set.ts";
import { reservedStretches } from "./layout.ts";
import { F, FrameFlag, headerSize, Mask, Op } from "./frames.ts";
import {
  Content,
  dropInode,
  Flag,
  type Inodes,
  isUnused,
  letGo,
  openInode,
  pathOf,
  reachInode,
} from "./inodes.ts";
import {
  loadInodeFlags,
  loadXattrs,
  lockingInodeFlags,
  readXattr,
  xattrNamesAt,
} from "./metadata.ts";
import { Stat } from "./stats.ts";
import { begin, commit, reserve } from "./stream.ts";
import type { Volume } from "./volume.ts";

/** True where changes of this inode concern the sink at all. */
export function isMirrored(v: Volume, index: number): boolean {
  return v.stream.active && (v.inodes.flags[index] & (Flag.unmirrored | Flag.orphan)) === 0;
}

/** True where the sink knows the inode by its number. */
export function isBound(v: Volume, index: number): boolean {
  return v.inodes.bound[index] === v.stream.epoch;
}

/** True where a resync under way has compared the inode: the sink has it, known by its number or not. */
function isCompared(v: Volume, index: number): boolean {
  const t = v.inodes;
  return t.content[index] === Content.synced && !(t.flags[index] & (Flag.unmirrored | Flag.orphan));
}

/** True where the sink has, or is being given, the content: changes of it must follow. */
function contentFollows(v: Volume, index: number): boolean {
  return isBound(v, index) && (v.complete || v.inodes.content[index] !== Content.unsynced);
}

/** Finishes the frame of an application's change; its reply waits for it where `wait`. */
function finish(v: Volume, at: number, bytes: number, wait: boolean): void {
  const seq = commit(v.stream, at);
  v.stats[Stat.ops]++;
  v.stats[Stat.bytes] += bytes;
  if (wait && v.stream.mustAck && v.sabotage !== "ack-early") v.stream.waitFor = seq;
}

function putName(v: Volume, at: number, to: number, bytes: Uint8Array, from: number, n: number) {
  const out = v.stream.memory.bytes;
  for (let i = 0; i < n; i++) out[at + to + i] = bytes[from + i];
  out[at + to + n] = 0;
}

/**
 * Makes the sink know the inode by its number, its directories first. While a resync is under way an
 * `ensure` also brings it into being there; so does a `make` in a tree that is still being published. False
 * where the sink cannot know it: no mirrored name of it is known, or it is gone.
 */
export function ensureBound(v: Volume, index: number): boolean {
  const t = v.inodes;
  if (isBound(v, index)) return true;
  if (index <= t.roots) {
    t.bound[index] = v.stream.epoch;
    return true;
  }
  if (t.flags[index] & (Flag.nameless | Flag.unmirrored) || t.nameLength[index] === 0) return false;
  const parent = t.parent[index];
  if (!ensureBound(v, parent)) return false;
  const { names } = t;
  const nameAt = t.nameAt[index];
  const length = t.nameLength[index];
  if (!v.complete && !isCompared(v, index)) {
    if (!emitEnsure(v, index, names, nameAt, length)) return false;
    scheduleContent(v, index);
  } else if (v.complete && t.content[parent] === Content.syncing) {
    if (!emitMake(v, index, parent, names, nameAt, length)) return false;
    markTimes(v, parent);
    t.pins[index]++;
    v.lateStaged.push(index);
  } else {
    const at = begin(v.stream, Op.bind, index, length + 1);
    v.stream.words[(at + F.parent) >>> 2] = parent;
    v.stream.memory.view.setUint16(at + F.nameLength, length, true);
    putName(v, at, headerSize, names, nameAt, length);
    commit(v.stream, at);
    t.bound[index] = v.stream.epoch;
    t.content[index] = Content.synced;
  }
  return true;
}

/** True where a change of the inode is to be recorded: the sink knows it, as far as it should. */
export function follows(v: Volume, index: number): boolean {
  if (!isMirrored(v, index)) return false;
  if (isBound(v, index)) return true;
  return v.complete || isCompared(v, index) ? ensureBound(v, index) : false;
}

/** Entries of a mirrored directory changed that do not concern the sink: its times do. */
function touchParent(v: Volume, parent: number): void {
  if (follows(v, parent)) markTimes(v, parent);
}

/** Leaves the inode to the walk under way: its content or its entries still have to be compared. */
export function scheduleContent(v: Volume, index: number): void {
  const t = v.inodes;
  if (v.complete || t.content[index] !== Content.unsynced) return;
  t.lookups[index]++;
  if (t.flags[index] & Flag.directory) v.lateDirectories.push(index);
  else if (t.flags[index] & Flag.regular) v.lateContent.push(index);
  else {
    t.lookups[index]--;
    t.content[index] = Content.synced;
  }
}

/**
 * The frame that makes name and inode be there as they are here, attributes included. Its parent is
 * bound. Returns false where the inode is gone meanwhile.
 */
export function emitEnsure(
  v: Volume,
  index: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  parent = v.inodes.parent[index],
): boolean {
  const t = v.inodes;
  if (statInode(v, t, index) < 0) return false;
  const symlink = (t.flags[index] & Flag.symlink) !== 0;
  const target = symlink ? readTarget(v, t, index) : 0;
  if (target < 0) return false;
  const hasXattrs = loadXattrs(v, index);
  const flags = loadInodeFlags(v, index);
  // loadXattrs may have used the buffer of the attributes' reader, not the attributes.
  const at = begin(v.stream, Op.ensure, index, length + 1 + target + 1);
  putMake(v, at, parent, length, target);
  v.stream.words[(at + F.inodeFlags) >>> 2] = flags;
  if (hasXattrs > 0) v.stream.memory.view.setUint16(at + F.flags, FrameFlag.hasXattrs, true);
  putName(v, at, headerSize, name, nameAt, length);
  if (symlink) putName(v, at, headerSize + length + 1, v.scratch.list.bytes, 0, target);
  commit(v.stream, at);
  t.bound[index] = v.stream.epoch;
  if (hasXattrs > 0) emitXattrs(v, index, hasXattrs);
  if (!(t.flags[index] & (Flag.directory | Flag.regular))) {
    t.content[index] = Content.synced;
    markTimes(v, index);
  }
  return true;
}

/** Fields of `make` and `ensure` from `scratch.statx`. */
function putMake(v: Volume, at: number, parent: number, name: number, target: number): void {
  const w = v.stream.words;
  const x = v.scratch.statxWords;
  const i = at >>> 2;
  w[i + F.parent / 4] = parent;
  v.stream.memory.view.setUint16(at + F.nameLength, name, true);
  v.stream.memory.view.setUint16(at + F.targetLength, target, true);
  w[i + F.mode / 4] = x[Statx.mode / 4] & 0xffff;
  w[i + F.finalUid / 4] = x[Statx.uid / 4];
  w[i + F.finalGid / 4] = x[Statx.gid / 4];
  w[i + F.rdevMajor / 4] = x[Statx.rdevMajor / 4];
  w[i + F.rdevMinor / 4] = x[Statx.rdevMinor / 4];
  w[i + F.links / 4] = x[Statx.nlink / 4];
}

/** Reads a symbolic link's target into `scratch.list`; its length or -errno. */
export function readTarget(v: Volume, t: Inodes, index: number): number {
  const fd = reachInode(t, v.libc, index);
  if (fd < 0) return fd;
  const n = v.libc.sys.readlinkat(
    fd,
    v.scratch.small.address + 64,
    v.scratch.list.address,
    4096,
  );
  const r = n < 0 ? -v.libc.errno() : n;
  letGo(t, v.libc, index, fd);
  return r;
}

/** A new object. `scratch.statx` holds its attributes as they came out. */
export function recordMake(
  v: Volume,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  index: number,
  requestMode: number,
  umask: number,
  uid: number,
  gid: number,
  target: Uint8Array | undefined,
): void {
  const t = v.inodes;
  if (t.flags[index] & Flag.unmirrored) return touchParent(v, parent);
  const targetLength = target?.length ?? 0;
  const known = isBound(v, parent);
  if (!follows(v, parent)) return; // or the walk will find it
  if (!known) statInode(v, t, index); // what has told the sink of the parent may have used the buffer
  const at = begin(v.stream, Op.make, index, length + 1 + targetLength + 1);
  putMake(v, at, parent, length, targetLength);
  const i = at >>> 2;
  v.stream.words[i + F.requestMode / 4] = requestMode;
  v.stream.words[i + F.umask / 4] = umask;
  v.stream.words[i + F.uid / 4] = uid;
  v.stream.words[i + F.gid / 4] = gid;
  putName(v, at, headerSize, name, nameAt, length);
  if (target) putName(v, at, headerSize + length + 1, target, 0, targetLength);
  t.bound[index] = v.stream.epoch;
  t.content[index] = Content.synced;
  finish(v, at, 0, true);
  markTimes(v, index);
  markTimes(v, parent);
}

/**
 * Called BEFORE an inode gets another mirrored name. False where the sink does not have the inode, so that
 * it must be published; always true during a resync and without a sink.
 */
export function prepareLink(v: Volume, index: number): boolean {
  if (!v.stream.active) return true;
  if (v.complete) return ensureBound(v, index);
  // The walk may come to the new name when the old one is long compared: it must be the same inode then.
  v.inodes.flags[index] |= Flag.pinned;
  follows(v, index);
  return true;
}

/** Another name of an inode that the sink has. */
export function recordLink(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
): void {
  if (!isMirrored(v, index) || !follows(v, parent) || !ensureBound(v, index)) return;
  const at = begin(v.stream, Op.link, index, length + 1);
  v.stream.words[(at + F.parent) >>> 2] = parent;
  v.stream.memory.view.setUint16(at + F.nameLength, length, true);
  putName(v, at, headerSize, name, nameAt, length);
  finish(v, at, 0, true);
  markTimes(v, parent);
}

/** What a name that went away stood for. */
export interface Removed {
  /** its inode, 0 where unknown */
  index: number;
  /** names that the inode still has */
  links: number;
  directory: boolean;
  /** for the sink everything below goes with it: a directory that moved to an excluded name */
  tree?: boolean;
}

/** A name that went away. */
export function recordUnlink(
  v: Volume,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  what: Removed,
): void {
  if (!follows(v, parent)) return;
  markTimes(v, parent);
  const known = what.index > 0 && isBound(v, what.index);
  const copying = v.complete && v.inodes.content[parent] === Content.syncing;
  if (copying && !known) return; // it has not been copied, and will not be
  const at = begin(v.stream, Op.unlink, known ? what.index : 0, length + 1);
  const i = at >>> 2;
  v.stream.words[i + F.parent / 4] = parent;
  v.stream.words[i + F.removeDirectory / 4] = what.tree ? 2 : what.directory ? 1 : 0;
  v.stream.words[i + F.links / 4] = what.links;
  v.stream.memory.view.setUint16(at + F.nameLength, length, true);
  if (copying) v.stream.memory.view.setUint16(at + F.flags, FrameFlag.mayBeAbsent, true);
  putName(v, at, headerSize, name, nameAt, length);
  finish(v, at, 0, true);
}

/** A name that is not mirrored came or went: only the directory's times concern the sink. */
export function recordExcluded(v: Volume, parent: number): void {
  touchParent(v, parent);
}

/** What stands at the two ends of a rename. */
export interface RenameEnds {
  parent: number;
  name: Uint8Array;
  nameAt: number;
  nameLength: number;
  newParent: number;
  newName: Uint8Array;
  newNameAt: number;
  newNameLength: number;
}

/**
 * Called BEFORE a rename within the mirrored names: during a resync the sink must have the inode under
 * its old name first.
 */
export function prepareRename(v: Volume, ends: RenameEnds, index: number, other: number): void {
  if (!v.stream.active || index === 0) return;
  if (!follows(v, ends.parent) && !follows(v, ends.newParent)) return;
  if (!ensureBound(v, ends.parent) || !ensureBound(v, ends.newParent)) return;
  bindAt(v, index, ends.parent, ends.name, ends.nameAt, ends.nameLength);
  if (other === 0) return;
  bindAt(v, other, ends.newParent, ends.newName, ends.newNameAt, ends.newNameLength);
}

/** Makes the sink know the inode, under this very name. */
function bindAt(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
): void {
  const known = isBound(v, index);
  if (!ensureBound(v, index)) return;
  // In a tree that is still being copied it may be known by another name only.
  const copying = v.complete && v.inodes.content[parent] === Content.syncing;
  if (known && copying && !(v.inodes.flags[index] & Flag.directory)) {
    recordLink(v, index, parent, name, nameAt, length);
  }
}

/**
 * A rename within the mirrored names. `other` is the inode at the target (exchanged or replaced), `links`
 * the names that a replaced one keeps.
 */
export function recordRename(
  v: Volume,
  ends: RenameEnds,
  flags: number,
  index: number,
  other: number,
  links: number,
): void {
  // Two names of one file: rename(2) has done nothing.
  if (index === other) return;
  if (!isMirrored(v, ends.parent) || !isMirrored(v, ends.newParent)) return;
  if (!isBound(v, ends.parent)) return; // neither end is bound: the walk comes to both
  const at = begin(v.stream, Op.rename, index, ends.nameLength + 1 + ends.newNameLength + 1);
  const i = at >>> 2;
  v.stream.words[i + F.parent / 4] = ends.parent;
  v.stream.words[i + F.newParent / 4] = ends.newParent;
  v.stream.words[i + F.renameFlags / 4] = flags;
  v.stream.words[i + F.other / 4] = other;
  v.stream.words[i + F.links / 4] = links;
  v.stream.memory.view.setUint16(at + F.nameLength, ends.nameLength, true);
  v.stream.memory.view.setUint16(at + F.targetLength, ends.newNameLength, true);
  putName(v, at, headerSize, ends.name, ends.nameAt, ends.nameLength);
  const second = headerSize + ends.nameLength + 1;
  putName(v, at, second, ends.newName, ends.newNameAt, ends.newNameLength);
  finish(v, at, 0, true);
  markTimes(v, ends.parent);
  if (ends.newParent !== ends.parent) markTimes(v, ends.newParent);
}

/**
 * Data written. The payload stands in the ring at `stream.tail + headerSize`, where the kernel
 * delivered it; the frame is made around it.
 */
export function recordWrite(v: Volume, index: number, offset: number, count: number): void {
  v.inodes.version[index]++;
  if (!isMirrored(v, index)) return;
  const s = v.stream;
  if (!isBound(v, index) && (v.complete || isCompared(v, index))) {
    bindBehindPayload(v, index, count);
  }
  if (!contentFollows(v, index)) return;
  const at = s.tail;
  const length = (headerSize + count + 7) & ~7;
  const w = at >>> 2;
  for (let i = 0; i < headerSize / 4; i++) s.words[w + i] = 0;
  s.words[w] = length;
  s.words[w + 1] = Op.write;
  s.words[w + F.inode / 4] = index;
  s.memory.view.setFloat64(at + F.offset, offset, true);
  s.words[w + F.count / 4] = count;
  for (let i = at + headerSize + count; i < at + length; i++) s.memory.bytes[i] = 0;
  finish(v, at, count, v.sync === "write");
  markTimes(v, index);
}

/**
 * Sends a piece of a file as it is now: the payload was read to the ring at `stream.tail + headerSize`.
 * Part of a resync or of publishing, no operation of the application.
 */
export function emitData(v: Volume, index: number, offset: number, count: number): void {
  const at = begin(v.stream, Op.write, index, count);
  v.stream.memory.view.setUint16(at + F.flags, FrameFlag.resync, true);
  v.stream.memory.view.setFloat64(at + F.offset, offset, true);
  v.stream.words[(at + F.count) >>> 2] = count;
  commit(v.stream, at);
}

/** Sends that a piece of a file is a hole. */
export function emitHole(v: Volume, index: number, offset: number, length: number): void {
  const at = begin(v.stream, Op.allocate, index, 0);
  v.stream.memory.view.setUint16(at + F.flags, FrameFlag.resync, true);
  v.stream.memory.view.setFloat64(at + F.offset, offset, true);
  v.stream.memory.view.setFloat64(at + F.allocateLength, length, true);
  v.stream.words[(at + F.allocateMode) >>> 2] = FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE;
  commit(v.stream, at);
}

/** Rare: the sink must be told of the inode first, with frames where the payload stands. */
function bindBehindPayload(v: Volume, index: number, count: number): void {
  const s = v.stream;
  const from = s.tail + headerSize;
  const payload = s.memory.bytes.slice(from, from + count);
  ensureBound(v, index);
  if (!reserve(s, headerSize + count + 8)) throw new Error("Replication ring overflow");
  s.memory.bytes.set(payload, s.tail + headerSize);
}

/** The size was set. */
export function recordTruncate(v: Volume, index: number, size: number): void {
  v.inodes.version[index]++;
  if (!follows(v, index) || !contentFollows(v, index)) return;
  const at = begin(v.stream, Op.truncate, index, 0);
  v.stream.memory.view.setFloat64(at + F.size, size, true);
  finish(v, at, 0, true);
  markTimes(v, index);
}

/** Space was allocated or given back (fallocate). */
export function recordAllocate(
  v: Volume,
  index: number,
  mode: number,
  offset: number,
  length: number,
): void {
  v.inodes.version[index]++;
  if (!follows(v, index) || !contentFollows(v, index)) return;
  const at = begin(v.stream, Op.allocate, index, 0);
  v.stream.memory.view.setFloat64(at + F.offset, offset, true);
  v.stream.memory.view.setFloat64(at + F.allocateLength, length, true);
  v.stream.words[(at + F.allocateMode) >>> 2] = mode;
  if (!v.complete && mode & (FALLOC.COLLAPSE_RANGE | FALLOC.INSERT_RANGE)) {
    if (v.inodes.content[index] === Content.syncing) v.inodes.flags[index] |= Flag.shifted;
  }
  finish(v, at, 0, true);
  markTimes(v, index);
}

/** Attributes of an inode changed; those of `mask` are sent as they are now. */
export function recordAttributes(v: Volume, index: number, mask: number, wait = true): void {
  if (!follows(v, index)) return;
  if (statInode(v, v.inodes, index) < 0) return;
  const at = begin(v.stream, Op.attributes, index, 0);
  putAttributes(v, at, mask);
  if (wait) finish(v, at, 0, true);
  else commit(v.stream, at);
}

/** Fields of `attributes`, `fileEnd` and `directoryEnd` from `scratch.statx`. */
export function putAttributes(v: Volume, at: number, mask: number): void {
  const w = v.stream.words;
  const x = v.scratch.statxWords;
  const i = at >>> 2;
  w[i + F.mask / 4] = mask;
  w[i + F.attrMode / 4] = x[Statx.mode / 4] & 0xffff;
  w[i + F.attrUid / 4] = x[Statx.uid / 4];
  w[i + F.attrGid / 4] = x[Statx.gid / 4];
  const seconds = (field: number) => x[field / 4] + (x[field / 4 + 1] | 0) * 4294967296;
  v.stream.memory.view.setFloat64(at + F.atime, seconds(Statx.atime), true);
  v.stream.memory.view.setFloat64(at + F.mtime, seconds(Statx.mtime), true);
  w[i + F.atimeNs / 4] = x[Statx.atime / 4 + 2];
  w[i + F.mtimeNs / 4] = x[Statx.mtime / 4 + 2];
}

/** Sends the inode's size with the fields of {@link putAttributes}: the end of its resync. */
export function emitFileEnd(v: Volume, index: number): void {
  if (statInode(v, v.inodes, index) < 0) return;
  const flags = loadInodeFlags(v, index);
  const at = begin(v.stream, Op.fileEnd, index, 0);
  putAttributes(v, at, Mask.times | Mask.flags);
  v.stream.words[(at + F.occupied) >>> 2] = Math.ceil(statBlocks(v) / 8);
  v.stream.memory.view.setFloat64(at + F.size, statSize(v), true);
  v.stream.words[(at + F.inodeFlags) >>> 2] = flags;
  commit(v.stream, at);
}

/** Sends where space is reserved in a file without data in it. */
export function emitReserved(v: Volume, index: number): void {
  const t = v.inodes;
  if (!(t.flags[index] & Flag.regular) || statInode(v, t, index) < 0) return;
  if (statBlocks(v) === 0) return;
  const fd = openInode(t, v.libc, index, false);
  const stretches = fd < 0 ? [] : reservedStretches(v, fd);
  if (stretches.length === 0) return;
  const at = begin(v.stream, Op.reserved, index, stretches.length * 8);
  v.stream.words[(at + F.count) >>> 2] = stretches.length / 2;
  for (const [i, number] of stretches.entries()) {
    v.stream.memory.view.setFloat64(at + headerSize + i * 8, number, true);
  }
  commit(v.stream, at);
}

/** An extended attribute was set (`value`) or removed (undefined). */
export function recordXattr(
  v: Volume,
  index: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  value: Uint8Array | undefined,
): void {
  if (!follows(v, index)) return;
  const size = value?.length ?? 0;
  const op = value ? Op.setXattr : Op.removeXattr;
  const at = begin(v.stream, op, index, length + 1 + size);
  v.stream.words[(at + F.valueLength) >>> 2] = size;
  v.stream.memory.view.setUint16(at + F.nameLength, length, true);
  putName(v, at, headerSize, name, nameAt, length);
  if (value) v.stream.memory.bytes.set(value, at + headerSize + length + 1);
  finish(v, at, 0, true);
}

/** Inode flags (immutable, append-only, …) changed: they are sent as they are now. */
export function recordInodeFlags(v: Volume, index: number): void {
  if (!follows(v, index)) return;
  const flags = loadInodeFlags(v, index);
  const at = begin(v.stream, Op.inodeFlags, index, 0);
  v.stream.words[(at + F.inodeFlags) >>> 2] = flags;
  finish(v, at, 0, true);
}

/** Sends the inode flags that new entries of a directory inherit. */
export function emitInheritedFlags(v: Volume, index: number): void {
  const flags = loadInodeFlags(v, index) & ~lockingInodeFlags;
  const at = begin(v.stream, Op.inodeFlags, index, 0);
  v.stream.words[(at + F.inodeFlags) >>> 2] = flags;
  commit(v.stream, at);
}

/**
 * An fsync that the sink carries out too. Returns its sequence number, by which the sink's answer is known;
 * 0 where it does not concern the sink.
 */
export function recordFsync(v: Volume, index: number, dataOnly: boolean, ticket: number): number {
  if (!v.stream.mustAck || !follows(v, index)) return 0;
  flushTimesOf(v, index);
  const at = begin(v.stream, Op.fsync, index, 0);
  v.stream.words[(at + F.ticket) >>> 2] = ticket;
  v.stream.words[(at + F.dataOnly) >>> 2] = dataOnly ? 1 : 0;
  return commit(v.stream, at);
}

/** The sink need not know the inode any longer. */
export function recordForget(v: Volume, index: number): void {
  if (!v.stream.active || !isBound(v, index) || index <= v.inodes.roots) return;
  flushTimesOf(v, index); // the last moment at which the sink knows it
  commit(v.stream, begin(v.stream, Op.unbind, index, 0));
}

/**
 * An object that the sink makes under a name of its own, unseen, until {@link recordPublish} puts it at its
 * place. `scratch.statx` holds its attributes.
 */
export function emitStage(v: Volume, index: number, root: number, target: number): void {
  const t = v.inodes;
  const at = begin(v.stream, Op.stage, index, 1 + target + 1);
  putMake(v, at, root, 0, target);
  putName(v, at, headerSize + 1, v.scratch.list.bytes, 0, target);
  commit(v.stream, at);
  t.bound[index] = v.stream.epoch;
  t.content[index] = Content.syncing;
}

/**
 * A child of a directory that is being published; its content follows. Returns false where it is gone
 * meanwhile.
 */
export function emitMake(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
): boolean {
  const t = v.inodes;
  const target = t.flags[index] & Flag.symlink ? readTarget(v, t, index) : 0;
  if (target < 0 || statInode(v, t, index) < 0) return false;
  const at = begin(v.stream, Op.make, index, length + 1 + target + 1);
  putMake(v, at, parent, length, target);
  v.stream.words[(at + F.requestMode) >>> 2] = v.stream.words[(at + F.mode) >>> 2];
  v.stream.words[(at + F.uid) >>> 2] = v.stream.words[(at + F.finalUid) >>> 2];
  v.stream.words[(at + F.gid) >>> 2] = v.stream.words[(at + F.finalGid) >>> 2];
  putName(v, at, headerSize, name, nameAt, length);
  putName(v, at, headerSize + length + 1, v.scratch.list.bytes, 0, target);
  commit(v.stream, at);
  t.bound[index] = v.stream.epoch;
  t.content[index] = Content.syncing;
  return true;
}

/**
 * A staged object, or one more name of a known one, appears at its name, in place of `replaced` where
 * something stood there.
 */
export function recordPublish(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  replaced: Removed | undefined,
): void {
  const at = begin(v.stream, Op.publish, index, length + 1);
  const i = at >>> 2;
  v.stream.words[i + F.parent / 4] = parent;
  v.stream.words[i + F.other / 4] = replaced && isBound(v, replaced.index) ? replaced.index : 0;
  v.stream.words[i + F.links / 4] = replaced?.links ?? 0;
  v.stream.memory.view.setUint16(at + F.nameLength, length, true);
  putName(v, at, headerSize, name, nameAt, length);
  v.inodes.content[index] = Content.synced;
  finish(v, at, 0, true);
  markTimes(v, parent);
}

/** Sends attributes, inode flags and extended attributes as they are now. */
export function emitMetadata(v: Volume, index: number): void {
  // Also where there are none: what the sink made may have inherited an ACL.
  emitXattrs(v, index, loadXattrs(v, index));
  emitFileEnd(v, index);
}

/** Forgets the inode where nobody refers to it, and its directories after it. */
export function dropUnused(v: Volume, index: number): void {
  const t = v.inodes;
  let at = index;
  while (isUnused(t, at)) {
    const parent = t.nameLength[at] > 0 ? t.parent[at] : 0;
    recordForget(v, at);
    if (v.stream.active && !v.complete && isCompared(v, at)) {
      addHandle(v.compared, t.handleWords, at * 8, t.device[at]);
    }
    dropInode(t, v.libc, at, true);
    if (parent === 0) return;
    at = parent;
  }
}

/** Notes that the sink's times of this inode differ until {@link flushTimes}. */
export function markTimes(v: Volume, index: number): void {
  const t = v.inodes;
  if (t.flags[index] & Flag.timesDirty) return;
  t.flags[index] |= Flag.timesDirty;
  v.dirtyTimes.push(index);
}

/** Sends the times of the inodes whose times differ on the sink, as far as there is room. */
export function flushTimes(v: Volume, room: () => boolean): void {
  while (v.dirtyTimes.length > 0 && room()) {
    const index = v.dirtyTimes.pop()!;
    flushTimesOf(v, index);
  }
}

function flushTimesOf(v: Volume, index: number): void {
  const t = v.inodes;
  if (t.handleWords[index * 8] === 0 || !(t.flags[index] & Flag.timesDirty)) return;
  t.flags[index] &= ~Flag.timesDirty;
  if (!isMirrored(v, index) || !isBound(v, index)) return;
  recordAttributes(v, index, Mask.times, false);
}

/**
 * The names of an inode's extended attributes (`scratch.list`, see {@link loadXattrs}), by which the sink
 * removes others, then each with its value.
 */
export function emitXattrs(v: Volume, index: number, length: number): void {
  const names = v.scratch.list.bytes.slice(xattrNamesAt, xattrNamesAt + length);
  const at = begin(v.stream, Op.xattrs, index, length);
  v.stream.memory.bytes.set(names, at + headerSize);
  v.stream.words[(at + F.count) >>> 2] = length;
  commit(v.stream, at);
  const list = v.scratch.list;
  for (let from = 0; from < length;) {
    const end = names.indexOf(0, from);
    const name = list.address + xattrNamesAt + from;
    // The names stay where they are: values go behind them.
    const room = list.bytes.length - xattrNamesAt - length;
    const n = readXattr(v, v.inodes, index, name, name - from + length, room);
    if (n >= 0) {
      const frame = begin(v.stream, Op.setXattr, index, end - from + 1 + n);
      v.stream.words[(frame + F.valueLength) >>> 2] = n;
      v.stream.memory.view.setUint16(frame + F.nameLength, end - from, true);
      putName(v, frame, headerSize, names, from, end - from);
      const value = list.bytes.subarray(xattrNamesAt + length, xattrNamesAt + length + n);
      v.stream.memory.bytes.set(value, frame + headerSize + end - from + 1);
      commit(v.stream, frame);
    }
    from = end + 1;
  }
}

/** Where an inode is, for messages. */
export function describe(v: Volume, index: number): string {
  const directory = v.directories[v.inodes.root[index]]?.path ?? "?";
  const path = pathOf(v.inodes, index);
  return path === "" ? directory : `${directory}/${path}`;
}
