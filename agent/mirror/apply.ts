/** Applying operations on the sink: each function returns 0 or -errno. */
import { AT, Errno, O, S, Statx } from "../platform/linux/constants.ts";
import { cstring } from "../platform/linux/libc.ts";
import {
  handleOf,
  handleOfFd,
  keepingTimes,
  kindFlags,
  statFd,
  statInode,
  writePieces,
} from "./backing.ts";
import { statLinks } from "./backing.ts";
import { statMode, statName } from "./backing.ts";
import { emptyDirectory, nameKey, removeTree, stageName } from "./directory.ts";
import { F, FrameFlag, headerSize, Mask, Op, seqOf } from "./frames.ts";
import {
  addInode,
  adoptDescriptor,
  dropInode,
  findInode,
  Flag,
  isLive,
  letGo,
  openInode,
  pathOf,
  reachInode,
  setName,
} from "./inodes.ts";
import {
  dropXattr,
  loadInodeFlags,
  lockingInodeFlags,
  storeInodeFlags,
  storeMode,
  storeOwner,
  storeTimes,
  writeXattr,
} from "./metadata.ts";
import { applyResync } from "./sink_resync.ts";
import type { Sink } from "./sink.ts";

/** Where offloaded fsyncs of the sink are told from others. */
export const sinkFsyncTag = 1 << 18;
/** fcntl.h */
const F_DUPFD_CLOEXEC = 1030;
const maxFsyncs = 1 << 16;

/** Creation as the caller on the source: shared with the FUSE side, which uses the same thread. */
export interface Identity {
  become(uid: number, gid: number, umask: number): void;
}

export function u32(s: Sink, at: number, field: number): number {
  return s.inWords[(at + field) >>> 2];
}

export function u16(s: Sink, at: number, field: number): number {
  return s.in.view.getUint16(at + field, true);
}

export function f64(s: Sink, at: number, field: number): number {
  return s.in.view.getFloat64(at + field, true);
}

/** The source has spoken about this name: a comparison of its directory need not remove it. */
export function confirmName(s: Sink, parent: number, at: number, length: number): void {
  const listing = s.listings.get(parent);
  if (listing) listing.delete(nameKey(s.in.bytes, at, length));
}

/** The inode's file is gone here; what is still said of it means nothing. */
export function markGone(s: Sink, index: number): void {
  dropHidden(s, index);
  dropInode(s.t, s.v.libc, index, false);
  s.t.flags[index] = Flag.orphan;
}

/** True where operations on the inode are void because its last name was removed. */
function isGone(s: Sink, index: number): boolean {
  return index < s.t.top && !isLive(s.t, index) && (s.t.flags[index] & Flag.orphan) !== 0;
}

/** A descriptor of a directory, or -errno. */
export function directoryFd(s: Sink, index: number): number {
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  return openInode(s.t, s.v.libc, index, false);
}

export function applyFrame(identity: Identity) {
  return (s: Sink, op: number, at: number): number => {
    const r = applyOperation(s, identity, op, at);
    return r === -Errno.EPERM ? applyUnlocked(s, identity, op, at) : r;
  };
}

/**
 * Applies a frame once more with the locking flags taken off the inodes that it is about: what travels
 * later than the change (times, zones of a comparison), or goes through a descriptor from before, meets flags
 * here that it did not meet on the source.
 */
function applyUnlocked(s: Sink, identity: Identity, op: number, at: number): number {
  const about = [u32(s, at, F.inode)];
  if (namesSomething.has(op)) about.push(u32(s, at, F.parent));
  if (op === Op.rename) about.push(u32(s, at, F.newParent), u32(s, at, F.other));
  const locked = about.flatMap((index) => {
    if (!isLive(s.t, index)) return [];
    const flags = loadInodeFlags(s.v, index, s.t);
    if (!(flags & lockingInodeFlags)) return [];
    storeInodeFlags(s.v, s.t, index, flags & ~lockingInodeFlags);
    return [{ index, flags }];
  });
  if (locked.length === 0) return -Errno.EPERM;
  const r = applyOperation(s, identity, op, at);
  for (const { index, flags } of locked) {
    // The end of a comparison has set the flags itself.
    const settled = op === Op.fileEnd || op === Op.directoryEnd;
    if (!isLive(s.t, index) || (settled && index === about[0])) continue;
    const back = storeInodeFlags(s.v, s.t, index, flags);
    if (back < 0) return back;
  }
  return r;
}

const namesSomething: ReadonlySet<number> = new Set([
  Op.make,
  Op.link,
  Op.rename,
  Op.unlink,
  Op.ensure,
  Op.publish,
]);

function applyOperation(s: Sink, identity: Identity, op: number, at: number): number {
  const index = u32(s, at, F.inode);
  switch (op) {
    case Op.write:
      return applyWrite(s, index, at);
    case Op.truncate:
      return applyTruncate(s, index, at);
    case Op.allocate:
      return applyAllocate(s, index, at);
    case Op.make:
      return applyMake(s, identity, index, at);
    case Op.link:
      return applyLink(s, index, at);
    case Op.rename:
      return applyRename(s, index, at);
    case Op.unlink:
      return applyUnlink(s, index, at);
    case Op.attributes:
      return isGone(s, index) ? 0 : applyAttributes(s, index, at, u32(s, at, F.mask));
    case Op.setXattr:
      return isGone(s, index) ? 0 : applySetXattr(s, index, at);
    case Op.removeXattr: {
      if (isGone(s, index)) return 0;
      const r = dropXattr(s.v, s.t, index, s.in.address + at + headerSize);
      return r === -Errno.ENODATA ? 0 : r;
    }
    case Op.inodeFlags:
      return isGone(s, index) ? 0 : storeInodeFlags(s.v, s.t, index, u32(s, at, F.inodeFlags));
    case Op.fsync:
      return applyFsync(s, index, at);
    case Op.bind:
      return applyBind(s, index, at);
    case Op.unbind:
      return applyUnbind(s, index);
    case Op.stage:
      return applyStage(s, identity, index, at);
    case Op.publish:
      return applyPublish(s, index, at);
    case Op.ping:
      return 0;
    default:
      return applyResync(s, identity, op, index, at);
  }
}

/** The source speaks of the inode no longer. */
function applyUnbind(s: Sink, index: number): number {
  dropHidden(s, index);
  if (isLive(s.t, index) && index > s.t.roots) dropInode(s.t, s.v.libc, index, false);
  return 0;
}

function applyWrite(s: Sink, index: number, at: number): number {
  if (isGone(s, index)) return 0;
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const count = u32(s, at, F.count);
  const offset = f64(s, at, F.offset);
  if (headerSize + count > u32(s, at, F.length)) return -Errno.EPROTO;
  const fd = openInode(s.t, s.v.libc, index, true);
  if (fd < 0) return fd;
  for (let done = 0; done < count;) {
    const data = s.in.address + at + headerSize + done;
    const n = writePieces(s.v.libc, fd, data, count - done, offset + done);
    if (n < 0) return n;
    if (n === 0) return -Errno.EIO;
    done += n;
  }
  s.changed(index, offset, count);
  return 0;
}

function applyTruncate(s: Sink, index: number, at: number): number {
  if (isGone(s, index)) return 0;
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const fd = openInode(s.t, s.v.libc, index, true);
  if (fd < 0) return fd;
  if (s.v.libc.sys.ftruncate(fd, f64(s, at, F.size)) < 0) return -s.v.libc.errno();
  s.changed(index, 0, 0);
  return 0;
}

function applyAllocate(s: Sink, index: number, at: number): number {
  if (isGone(s, index)) return 0;
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const fd = openInode(s.t, s.v.libc, index, true);
  if (fd < 0) return fd;
  const mode = u32(s, at, F.allocateMode);
  const offset = f64(s, at, F.offset);
  const length = f64(s, at, F.allocateLength);
  if (s.v.libc.sys.fallocate(fd, mode, offset, length) < 0) return -s.v.libc.errno();
  s.changed(index, 0, 0);
  return 0;
}

/**
 * Makes an object under a name, as the caller on the source made it, and binds the inode. Attributes
 * that came out otherwise (another umask of ACLs, other mount options) are set as they are there.
 */
function applyMake(s: Sink, identity: Identity, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  identity.become(u32(s, at, F.uid), u32(s, at, F.gid), u32(s, at, F.umask));
  let r = makeObject(s, dir, name, u32(s, at, F.requestMode), at, name + length + 1);
  if (r === -Errno.EEXIST && s.syncing) {
    const removed = removeTree(s.v, dir, name);
    if (removed < 0) return removed;
    r = makeObject(s, dir, name, u32(s, at, F.requestMode), at, name + length + 1);
  }
  if (r < 0) return r;
  const bound = bindName(s, index, parent, at + headerSize, length, dir, name);
  if (bound < 0) return bound;
  if (r > 0) adoptDescriptor(s.t, s.v.libc, index, r);
  return fixAttributes(s, index, at);
}

/** Makes one object; returns its descriptor for a regular file, 0 for others, or -errno. */
export function makeObject(
  s: Sink,
  dir: number,
  name: number,
  mode: number,
  at: number,
  target: number,
): number {
  const { sys } = s.v.libc;
  const type = mode & S.IFMT;
  let r: number;
  if (type === S.IFREG) {
    const flags = O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC;
    r = sys.openat(dir, name, flags, mode & 0o7777);
    return r < 0 ? -s.v.libc.errno() : r;
  }
  if (type === S.IFDIR) r = sys.mkdirat(dir, name, mode & 0o7777);
  else if (type === S.IFLNK) r = sys.symlinkat(target, dir, name);
  else {
    const major = u32(s, at, F.rdevMajor);
    const minor = u32(s, at, F.rdevMinor);
    const device = major * 256 + (minor & 0xff) + (minor >>> 8) * 1048576;
    r = sys.mknodat(dir, name, mode, device);
  }
  return r < 0 ? -s.v.libc.errno() : 0;
}

/** Binds the source's number to what stands at the name. */
export function bindName(
  s: Sink,
  index: number,
  parent: number,
  nameAt: number,
  length: number,
  dir: number,
  name: number,
): number {
  const stat = statName(s.v, dir, name);
  if (stat < 0) return stat;
  const device = handleOf(s.v, s.t, dir, name);
  if (device < 0) return device;
  if (isLive(s.t, index)) dropInode(s.t, s.v.libc, index, false);
  const stale = findInode(s.t, s.v.scratch.handleWords, 0, device);
  if (stale > 0 && stale !== index) dropInode(s.t, s.v.libc, stale, false);
  const root = s.t.root[parent];
  addInode(s.t, s.v.scratch.handleWords, 0, device, root, kindFlags(statMode(s.v)), index);
  setName(s.t, index, parent, s.in.bytes, nameAt, length);
  return 0;
}

/** Sets owner and mode where `scratch.statx` shows others than the frame's final ones. */
export function fixAttributes(s: Sink, index: number, at: number): number {
  const x = s.v.scratch.statxWords;
  const uid = u32(s, at, F.finalUid);
  const gid = u32(s, at, F.finalGid);
  const mode = u32(s, at, F.mode);
  const now = x[Statx.mode / 4] & 0o7777;
  let changed = false;
  if (x[Statx.uid / 4] !== uid || x[Statx.gid / 4] !== gid) {
    const r = storeOwner(s.v, s.t, index, uid, gid);
    if (r < 0) return r;
    changed = true;
  }
  if (((mode & 0o7777) !== now || changed) && !(s.t.flags[index] & Flag.symlink)) {
    return storeMode(s.v, s.t, index, mode);
  }
  return 0;
}

function applyLink(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  let r = giveName(s, index, dir, name);
  if (r === -Errno.EEXIST) {
    // A tree that is copied while it changes may bring a name twice.
    if (sameInode(s, index, dir, name)) return 0;
    if (!s.syncing) return r;
    const removed = removeTree(s.v, dir, name);
    if (removed < 0) return removed;
    r = giveName(s, index, dir, name);
  }
  return r;
}

/** Gives the inode one more name; a hidden one is not needed then. */
export function giveName(s: Sink, index: number, dir: number, name: number): number {
  const r = linkInode(s, index, dir, name);
  if (r === 0) dropHidden(s, index);
  return r;
}

function linkInode(s: Sink, index: number, dir: number, name: number): number {
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const fd = reachInode(s.t, s.v.libc, index);
  if (fd < 0) return fd;
  const empty = s.v.scratch.small.address + 64;
  const r = s.v.libc.sys.linkat(fd, empty, dir, name, AT.EMPTY_PATH);
  const result = r < 0 ? -s.v.libc.errno() : 0;
  letGo(s.t, s.v.libc, index, fd);
  return result;
}

/** True where the name leads to the inode already. */
export function sameInode(s: Sink, index: number, dir: number, name: number): boolean {
  const device = handleOf(s.v, s.t, dir, name);
  return device >= 0 && findInode(s.t, s.v.scratch.handleWords, 0, device) === index;
}

const EXCHANGE = 2;

function applyRename(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const newParent = u32(s, at, F.newParent);
  const flags = u32(s, at, F.renameFlags);
  const length = u16(s, at, F.nameLength);
  const newLength = u16(s, at, F.targetLength);
  const nameAt = at + headerSize;
  const newAt = nameAt + length + 1;
  const from = directoryFd(s, parent);
  const to = directoryFd(s, newParent);
  if (from < 0) return from;
  if (to < 0) return to;
  confirmName(s, parent, nameAt, length);
  confirmName(s, newParent, newAt, newLength);
  const name = s.in.address + nameAt;
  const newName = s.in.address + newAt;
  const other = u32(s, at, F.other);
  const exchange = (flags & EXCHANGE) !== 0;
  let r = exchange ? 0 : keepReachable(s, other, u32(s, at, F.links));
  if (r === 0 && s.syncing) {
    r = placeName(s, index, from, name);
    if (r === 0 && exchange) r = placeName(s, other, to, newName);
    if (r === 0 && !exchange && index > 0 && sameInode(s, index, to, newName)) {
      // Two names of one file here, not there: a rename between them would do nothing.
      r = removeTree(s.v, from, name);
      return r < 0 ? r : renamed(s, at, index, other);
    }
  }
  if (r < 0) return r;
  const attempt = () => {
    const result = s.v.libc.sys.renameat2(from, name, to, newName, flags);
    return result < 0 ? -s.v.libc.errno() : 0;
  };
  r = attempt();
  if (r < 0 && s.syncing && !exchange) {
    r = removeTree(s.v, to, newName);
    if (r === 0) r = attempt();
  } else if (r === -Errno.ENOTEMPTY && other > 0) {
    // Only excluded leftovers can be there: the source's directory is empty.
    r = removeLeftovers(s, other);
    if (r === 0) r = attempt();
  }
  return r < 0 ? r : renamed(s, at, index, other);
}

/** What follows from a rename in the table of inodes. */
function renamed(s: Sink, at: number, index: number, other: number): number {
  const nameAt = at + headerSize;
  const length = u16(s, at, F.nameLength);
  const newAt = nameAt + length + 1;
  const newLength = u16(s, at, F.targetLength);
  const exchange = (u32(s, at, F.renameFlags) & EXCHANGE) !== 0;
  if (!exchange) nameWentFrom(s, other, u32(s, at, F.links));
  if (index > 0 && isLive(s.t, index)) {
    setName(s.t, index, u32(s, at, F.newParent), s.in.bytes, newAt, newLength);
  }
  if (exchange && other > 0 && isLive(s.t, other)) {
    setName(s.t, other, u32(s, at, F.parent), s.in.bytes, nameAt, length);
  }
  return 0;
}

/**
 * Amid a resync a name may lead to something else than the source's inode that is known here already by
 * another name: puts that there.
 */
function placeName(s: Sink, index: number, dir: number, name: number): number {
  if (index === 0 || !isLive(s.t, index) || s.t.flags[index] & Flag.directory) return 0;
  if (sameInode(s, index, dir, name)) return 0;
  const removed = removeTree(s.v, dir, name);
  return removed < 0 ? removed : giveName(s, index, dir, name);
}

function applyUnlink(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const how = u32(s, at, F.removeDirectory);
  const remaining = u32(s, at, F.links);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  if (how === 0) {
    const kept = keepReachable(s, index, remaining);
    if (kept < 0) return kept;
  }
  let r = s.v.libc.sys.unlinkat(dir, name, how === 0 ? 0 : AT.REMOVEDIR) < 0
    ? -s.v.libc.errno()
    : 0;
  if (r === -Errno.ENOENT && u16(s, at, F.flags) & FrameFlag.mayBeAbsent) r = 0;
  else if (r < 0 && (s.syncing || how === 2)) r = removeTree(s.v, dir, name);
  else if (r === -Errno.ENOTEMPTY && how === 1) {
    // Excluded leftovers go with their directory; anything else would be a difference.
    const child = index > 0 && isLive(s.t, index) ? index : 0;
    if (child > 0) r = removeLeftovers(s, child);
    else r = removeLeftoversAt(s, parent, dir, name, at + headerSize, length);
    if (r === 0 && s.v.libc.sys.unlinkat(dir, name, AT.REMOVEDIR) < 0) r = -s.v.libc.errno();
  }
  if (r < 0) return r;
  if (how === 0) nameWentFrom(s, index, remaining);
  else if (index > 0 && isLive(s.t, index)) markGone(s, index);
  return 0;
}

/**
 * Before a name of an inode goes, of which the source has `remaining` others: where it is the last one here (a
 * comparison has not come to the others yet, or they are excluded), a hidden one keeps the inode.
 */
function keepReachable(s: Sink, index: number, remaining: number): number {
  if (index === 0 || remaining === 0 || !isLive(s.t, index)) return 0;
  if (s.t.flags[index] & Flag.directory || s.hidden.has(index)) return 0;
  const stat = statInode(s.v, s.t, index);
  if (stat < 0) return stat === -Errno.ESTALE ? 0 : stat;
  if (statLinks(s.v) > 1) return 0;
  const r = hide(s, s.t.root[index] + 1, index, (root, name) => linkInode(s, index, root, name));
  return r === -Errno.EXDEV ? 0 : r;
}

/** A name of the inode has gone; the source has `remaining` others. */
function nameWentFrom(s: Sink, index: number, remaining: number): void {
  if (index === 0 || !isLive(s.t, index)) return;
  if (remaining === 0) return markGone(s, index);
  const r = statInode(s.v, s.t, index);
  if (r < 0 || statLinks(s.v) === 0) markGone(s, index);
}

/**
 * Makes something under the inode's hidden name in the module's directory `root`, where nobody sees it;
 * returns what `make` does.
 */
function hide(
  s: Sink,
  root: number,
  index: number,
  make: (root: number, name: number) => number,
): number {
  return quietly(s, root, (fd) => {
    const name = cstring(s.v.scratch.text, stageName(index), 4096);
    const removed = removeTree(s.v, fd, name);
    if (removed < 0) return removed;
    const r = make(fd, name);
    if (r >= 0) s.hidden.add(index);
    return r;
  });
}

/** Removes the inode's hidden name, and what is below it. */
export function dropHidden(s: Sink, index: number): void {
  if (!s.hidden.delete(index)) return;
  quietly(
    s,
    s.t.root[index] + 1,
    (fd) => removeTree(s.v, fd, cstring(s.v.scratch.text, stageName(index), 4096)),
  );
}

/** Changes entries of a module's directory without a trace in its times. */
function quietly(s: Sink, root: number, change: (fd: number) => number): number {
  const fd = directoryFd(s, root);
  return fd < 0 ? fd : keepingTimes(s.v, fd, () => change(fd));
}

/** Removes what the exclusions keep from the source's view of this directory. */
function removeLeftovers(s: Sink, index: number): number {
  const fd = directoryFd(s, index);
  if (fd < 0) return fd;
  return emptyExcluded(s, fd, index, pathOf(s.t, index));
}

function removeLeftoversAt(
  s: Sink,
  parent: number,
  dir: number,
  name: number,
  nameAt: number,
  length: number,
): number {
  const flags = O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
  const fd = s.v.libc.sys.openat(dir, name, flags, 0);
  if (fd < 0) return -s.v.libc.errno();
  const up = pathOf(s.t, parent);
  const text = new TextDecoder().decode(s.in.bytes.subarray(nameAt, nameAt + length));
  const r = emptyExcluded(s, fd, parent, up === "" ? text : `${up}/${text}`);
  s.v.libc.sys.close(fd);
  return r;
}

function emptyExcluded(s: Sink, fd: number, index: number, path: string): number {
  const { excludes } = s.v.directories[s.t.root[index]];
  const decoder = new TextDecoder();
  return emptyDirectory(s.v, fd, (bytes, at, length) =>
    !excludes.isEmpty &&
    excludes.matchName(path, decoder.decode(bytes.subarray(at, at + length))));
}

/** Puts the frame's times into `scratch.times`. */
export function loadTimes(s: Sink, at: number): void {
  const view = s.v.scratch.times.view;
  const put = (to: number, seconds: number, nanos: number) => {
    view.setBigInt64(to, BigInt(seconds), true);
    view.setUint32(to + 8, nanos, true);
    view.setUint32(to + 12, 0, true);
  };
  put(0, f64(s, at, F.atime), u32(s, at, F.atimeNs));
  put(16, f64(s, at, F.mtime), u32(s, at, F.mtimeNs));
}

export function applyAttributes(s: Sink, index: number, at: number, mask: number): number {
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  if (mask & Mask.owner) {
    const r = storeOwner(s.v, s.t, index, u32(s, at, F.attrUid), u32(s, at, F.attrGid));
    if (r < 0) return r;
  }
  if (mask & Mask.mode && !(s.t.flags[index] & Flag.symlink)) {
    const r = storeMode(s.v, s.t, index, u32(s, at, F.attrMode));
    if (r < 0) return r;
  }
  if (mask & Mask.times) {
    loadTimes(s, at);
    const r = storeTimes(s.v, s.t, index);
    if (r < 0) return r;
  }
  return 0;
}

function applySetXattr(s: Sink, index: number, at: number): number {
  const name = s.in.address + at + headerSize;
  const value = name + u16(s, at, F.nameLength) + 1;
  return writeXattr(s.v, s.t, index, name, value, u32(s, at, F.valueLength), 0);
}

function applyFsync(s: Sink, index: number, at: number): number {
  const ticket = u32(s, at, F.ticket);
  const seq = seqOf(s.inWords, at);
  const fd = isLive(s.t, index) ? openInode(s.t, s.v.libc, index, false) : -Errno.ESTALE;
  if (fd < 0) {
    // Nothing to flush: its last name went before the flush was asked for.
    if (!isGone(s, index) && fd !== -Errno.ESTALE) return fd;
    s.fsyncDone(ticket, seq, 0);
    return 0;
  }
  const dataOnly = u32(s, at, F.dataOnly) === 1;
  let slot = s.fsyncs.findIndex(({ busy }) => !busy);
  if (slot < 0) slot = s.fsyncs.length;
  // Of its own: the inode's may be closed, its number used anew, before the kernel comes to it.
  const own = s.v.libc.sys.fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own >= 0 && slot < maxFsyncs && s.v.offload.fsync(sinkFsyncTag + slot, own, dataOnly)) {
    s.fsyncs[slot] = { busy: true, session: s.session, seq, ticket, fd: own };
    return 0;
  }
  if (own >= 0) s.v.libc.sys.close(own);
  const r = dataOnly ? s.v.libc.sys.fdatasync(fd) : s.v.libc.sys.fsync(fd);
  s.fsyncDone(ticket, seq, r < 0 ? s.v.libc.errno() : 0);
  return 0;
}

function applyBind(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  const length = u16(s, at, F.nameLength);
  const name = s.in.address + at + headerSize;
  return bindName(s, index, parent, at + headerSize, length, dir, name);
}

/** A file without a name, or anything else under a hidden one. */
function applyStage(s: Sink, identity: Identity, index: number, at: number): number {
  const root = u32(s, at, F.parent);
  const dir = directoryFd(s, root);
  if (dir < 0) return dir;
  dropHidden(s, index);
  identity.become(0, 0, 0);
  const mode = u32(s, at, F.mode);
  if ((mode & S.IFMT) === S.IFREG) {
    // Needs no cleaning up should this node end here.
    const flags = O.RDWR | O.TMPFILE | O.CLOEXEC;
    const fd = s.v.libc.sys.openat(dir, cstring(s.v.scratch.text, "."), flags, 0o600);
    if (fd >= 0) {
      const bound = bindUnnamed(s, index, root, fd);
      return bound < 0 ? bound : fixAttributes(s, index, at);
    }
  }
  const target = s.in.address + at + headerSize + 1;
  let bound = 0;
  const r = hide(s, root, index, (fd, name) => {
    const made = makeObject(s, fd, name, (mode & S.IFMT) | 0o700, at, target);
    if (made < 0) return made;
    bound = bindName(s, index, root, 0, 0, fd, name);
    if (made > 0 && bound === 0) adoptDescriptor(s.t, s.v.libc, index, made);
    return made;
  });
  if (r < 0 || bound < 0) return Math.min(r, bound);
  const stat = statInode(s.v, s.t, index);
  return stat < 0 ? stat : fixAttributes(s, index, at);
}

/** Binds the source's number to an unnamed file; `scratch.statx` holds its attributes then. */
function bindUnnamed(s: Sink, index: number, root: number, fd: number): number {
  const device = handleOfFd(s.v, s.t, fd);
  const stat = device < 0 ? device : statFd(s.v, fd);
  if (stat < 0) {
    s.v.libc.sys.close(fd);
    return stat;
  }
  if (isLive(s.t, index)) dropInode(s.t, s.v.libc, index, false);
  const flags = Flag.regular | Flag.orphan;
  addInode(s.t, s.v.scratch.handleWords, 0, device, s.t.root[root], flags, index);
  adoptDescriptor(s.t, s.v.libc, index, fd);
  return 0;
}

/**
 * Puts a staged inode, or one more name of a known one, at its name, in place of whatever stands there.
 */
function applyPublish(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const other = u32(s, at, F.other);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  if (!sameInode(s, index, dir, name)) {
    let r = keepReachable(s, other, u32(s, at, F.links));
    if (r === 0 && !s.hidden.has(index)) {
      r = giveName(s, index, dir, name);
      // A name is replaced in one step only by a rename, so it gets a hidden name first.
      if (r === -Errno.EEXIST) {
        const root = s.t.root[index] + 1;
        r = hide(s, root, index, (fd, hidden) => linkInode(s, index, fd, hidden));
      }
    }
    if (r < 0) return r;
    r = s.hidden.has(index) ? unhide(s, index, dir, name) : 0;
    if (r < 0) return r;
    if (other !== index) nameWentFrom(s, other, u32(s, at, F.links));
  }
  s.t.flags[index] &= ~Flag.orphan;
  setName(s.t, index, parent, s.in.bytes, at + headerSize, length);
  return 0;
}

/** Moves what has a hidden name to its place. */
function unhide(s: Sink, index: number, dir: number, name: number): number {
  const r = quietly(s, s.t.root[index] + 1, (root) => {
    const hidden = cstring(s.v.scratch.text, stageName(index), 4096);
    const attempt = () =>
      s.v.libc.sys.renameat2(root, hidden, dir, name, 0) < 0 ? -s.v.libc.errno() : 0;
    const first = attempt();
    if (first === 0) return 0;
    const removed = removeTree(s.v, dir, name);
    return removed < 0 ? removed : attempt();
  });
  if (r === 0) s.hidden.delete(index);
  return r;
}
