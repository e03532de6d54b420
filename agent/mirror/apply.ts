/** Applying operations on the sink: each function returns 0 or -errno. */
import { AT, Errno, O, S, Statx } from "../platform/linux/constants.ts";
import { cstring } from "../platform/linux/libc.ts";
import { handleOf, kindFlags, statInode, statMode, statName } from "./backing.ts";
import { emptyDirectory, removeTree, stageName } from "./directory.ts";
import { F, headerSize, Mask, Op } from "./frames.ts";
import {
  addInode,
  adoptDescriptor,
  dropInode,
  findInode,
  Flag,
  isLive,
  openInode,
  openPath,
  pathOf,
  setName,
} from "./inodes.ts";
import {
  dropXattr,
  procPath,
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

const latin1 = new TextDecoder("latin1");

/** A name in a frame as a key for `listings`: one character a byte. */
export function nameKey(s: Sink, at: number, length: number): string {
  return latin1.decode(s.in.bytes.subarray(at, at + length));
}

/** The source has spoken about this name: a comparison of its directory need not remove it. */
export function confirmName(s: Sink, parent: number, at: number, length: number): void {
  const listing = s.listings.get(parent);
  if (listing) listing.delete(nameKey(s, at, length));
}

/** The inode's file is gone here; what is still said of it means nothing. */
export function markGone(s: Sink, index: number): void {
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
        if (isLive(s.t, index) && index > s.t.roots) dropInode(s.t, s.v.libc, index, false);
        return 0;
      case Op.stage:
        return applyStage(s, identity, index, at);
      case Op.publish:
        return applyPublish(s, index, at);
      case Op.ping:
        return 0;
      default:
        return applyResync(s, identity, op, index, at);
    }
  };
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
    const n = s.v.libc.sys.pwrite(fd, data, count - done, offset + done);
    if (n < 0) return -s.v.libc.errno();
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
  let r = linkInode(s, index, dir, name);
  if (r === -Errno.EEXIST && s.syncing) {
    if (sameInode(s, index, dir, name)) return 0;
    const removed = removeTree(s.v, dir, name);
    if (removed < 0) return removed;
    r = linkInode(s, index, dir, name);
  }
  return r;
}

/** Gives the inode one more name. */
export function linkInode(s: Sink, index: number, dir: number, name: number): number {
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const regular = (s.t.flags[index] & Flag.regular) !== 0;
  const fd = regular ? openInode(s.t, s.v.libc, index, false) : openPath(s.t, s.v.libc, index);
  if (fd < 0) return fd;
  const empty = s.v.scratch.small.address + 64;
  const r = s.v.libc.sys.linkat(fd, empty, dir, name, AT.EMPTY_PATH);
  const result = r < 0 ? -s.v.libc.errno() : 0;
  if (!regular) s.v.libc.sys.close(fd);
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
  const attempt = () => {
    const r = s.v.libc.sys.renameat2(from, name, to, newName, flags);
    return r < 0 ? -s.v.libc.errno() : 0;
  };
  let r = attempt();
  if (r < 0 && s.syncing && !(flags & EXCHANGE)) {
    r = renameWhileSyncing(s, r, index, to, newName, attempt);
  } else if (r === -Errno.ENOTEMPTY && other > 0) {
    // Only excluded leftovers can be there: the source's directory is empty.
    r = removeLeftovers(s, other);
    if (r === 0) r = attempt();
  }
  if (r < 0) return r;
  if (other > 0 && !(flags & EXCHANGE)) dropIfGone(s, other);
  if (index > 0 && isLive(s.t, index)) {
    setName(s.t, index, newParent, s.in.bytes, newAt, newLength);
  }
  if (flags & EXCHANGE && other > 0 && isLive(s.t, other)) {
    setName(s.t, other, parent, s.in.bytes, nameAt, length);
  }
  return 0;
}

/** Amid a resync the target may be something else, and the old name may not have been made yet. */
function renameWhileSyncing(
  s: Sink,
  error: number,
  index: number,
  to: number,
  newName: number,
  attempt: () => number,
): number {
  if (error === -Errno.ENOENT && index > 0 && isLive(s.t, index)) {
    if (sameInode(s, index, to, newName)) return 0;
    const removed = removeTree(s.v, to, newName);
    return removed < 0 ? removed : linkInode(s, index, to, newName);
  }
  const removed = removeTree(s.v, to, newName);
  return removed < 0 ? removed : attempt();
}

function applyUnlink(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const how = u32(s, at, F.removeDirectory);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  let r = s.v.libc.sys.unlinkat(dir, name, how === 0 ? 0 : AT.REMOVEDIR) < 0
    ? -s.v.libc.errno()
    : 0;
  if (r < 0 && (s.syncing || how === 2)) r = removeTree(s.v, dir, name);
  else if (r === -Errno.ENOTEMPTY && how === 1) {
    // Excluded leftovers go with their directory; anything else would be a difference.
    const child = index > 0 && isLive(s.t, index) ? index : 0;
    if (child > 0) r = removeLeftovers(s, child);
    else r = removeLeftoversAt(s, parent, dir, name, at + headerSize, length);
    if (r === 0 && s.v.libc.sys.unlinkat(dir, name, AT.REMOVEDIR) < 0) r = -s.v.libc.errno();
  }
  if (r < 0) return r;
  if (index > 0) {
    if (how > 0) {
      if (isLive(s.t, index)) markGone(s, index);
    } else dropIfGone(s, index);
  }
  return 0;
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

/** Forgets an inode whose last name has gone. */
export function dropIfGone(s: Sink, index: number): void {
  if (!isLive(s.t, index)) return;
  const r = statInode(s.v, s.t, index);
  if (r < 0 || s.v.scratch.statxWords[Statx.nlink / 4] === 0) markGone(s, index);
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
  if (ticket >= 1 << 16) return -Errno.EPROTO;
  const fd = isLive(s.t, index) ? openInode(s.t, s.v.libc, index, false) : -Errno.ESTALE;
  if (fd < 0) {
    // Nothing to flush: its last name went before the flush was asked for.
    if (!isGone(s, index) && fd !== -Errno.ESTALE) return fd;
    s.fsyncDone(ticket, 0);
    return 0;
  }
  const dataOnly = u32(s, at, F.dataOnly) === 1;
  s.t.pins[index]++;
  s.fsyncInodes[ticket] = index;
  if (!s.v.offload.fsync(sinkFsyncTag + ticket, fd, dataOnly)) {
    s.t.pins[index]--;
    const r = dataOnly ? s.v.libc.sys.fdatasync(fd) : s.v.libc.sys.fsync(fd);
    if (r < 0) return -s.v.libc.errno();
    s.fsyncDone(ticket, 0);
  }
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
  identity.become(0, 0, 0);
  const name = cstring(s.v.scratch.text, stageName(index));
  const removed = removeTree(s.v, dir, name);
  if (removed < 0) return removed;
  const mode = u32(s, at, F.mode);
  const target = s.in.address + at + headerSize + 1;
  const r = makeObject(s, dir, name, (mode & S.IFMT) | 0o600, at, target);
  if (r < 0) return r;
  const bound = bindName(s, index, root, 0, 0, dir, name);
  if (bound < 0) return bound;
  if (r > 0) {
    adoptDescriptor(s.t, s.v.libc, index, r);
    // An unnamed file needs no cleaning up should this node end here.
    const flags = O.RDWR | O.TMPFILE | O.CLOEXEC;
    const fd = s.v.libc.sys.openat(dir, cstring(s.v.scratch.text, "."), flags, 0o600);
    if (fd >= 0) replaceByUnnamed(s, index, root, dir, fd);
  }
  statInode(s.v, s.t, index);
  return fixAttributes(s, index, at);
}

function replaceByUnnamed(s: Sink, index: number, root: number, dir: number, fd: number): void {
  const { sys } = s.v.libc;
  sys.unlinkat(dir, cstring(s.v.scratch.text, stageName(index)), 0);
  dropInode(s.t, s.v.libc, index, false);
  const h = s.v.scratch.handleWords;
  h.fill(0, 0, 8);
  h[0] = 24;
  const small = s.v.scratch.small.address;
  sys.name_to_handle_at(fd, small + 64, s.v.scratch.handle.address, small, AT.EMPTY_PATH);
  const flags = Flag.regular | Flag.orphan;
  addInode(s.t, h, 0, s.t.device[root], s.t.root[root], flags, index);
  adoptDescriptor(s.t, s.v.libc, index, fd);
}

/** Puts a staged inode at its name, in place of whatever stands there. */
function applyPublish(s: Sink, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  confirmName(s, parent, at + headerSize, length);
  const name = s.in.address + at + headerSize;
  const root = s.t.root[index] + 1;
  const rootFd = directoryFd(s, root);
  const hidden = cstring(s.v.scratch.text, stageName(index), 4096);
  const { sys } = s.v.libc;
  if (s.t.flags[index] & Flag.regular) {
    const r = linkUnnamed(s, index, dir, name);
    if (r !== -Errno.EEXIST) return published(s, r, index, parent, at, length);
    const second = linkUnnamed(s, index, rootFd, hidden);
    if (second < 0) return second;
  }
  let r = sys.renameat2(rootFd, hidden, dir, name, 0) < 0 ? -s.v.libc.errno() : 0;
  if (r < 0) {
    const removed = removeTree(s.v, dir, name);
    if (removed < 0) return removed;
    r = sys.renameat2(rootFd, hidden, dir, name, 0) < 0 ? -s.v.libc.errno() : 0;
  }
  return published(s, r, index, parent, at, length);
}

function linkUnnamed(s: Sink, index: number, dir: number, name: number): number {
  const fd = openInode(s.t, s.v.libc, index, true);
  if (fd < 0) return fd;
  const path = procPath(s.v, fd);
  const r = s.v.libc.sys.linkat(AT.FDCWD, path, dir, name, AT.SYMLINK_FOLLOW);
  return r < 0 ? -s.v.libc.errno() : 0;
}

function published(
  s: Sink,
  r: number,
  index: number,
  parent: number,
  at: number,
  length: number,
): number {
  if (r < 0) return r;
  s.t.flags[index] &= ~Flag.orphan;
  setName(s.t, index, parent, s.in.bytes, at + headerSize, length);
  return 0;
}
