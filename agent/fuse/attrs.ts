/** Requests about attributes: owner, mode, times, size, extended attributes, inode flags. */
import { AT, Errno, S, Statx, UTIME_NOW, UTIME_OMIT } from "../platform/linux/constants.ts";
import { statInode, statMode } from "../mirror/backing.ts";
import { Mask } from "../mirror/frames.ts";
import { closeDescriptors, Flag, letGo, openInode, reachInode } from "../mirror/inodes.ts";
import {
  dropXattr,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_GETVERSION,
  FS_IOC_SETFLAGS,
  loadXattrs,
  readXattr,
  storeMode,
  storeOwner,
  storeTimes,
  writeXattr,
  xattrNamesAt,
} from "../mirror/metadata.ts";
import {
  recordAttributes,
  recordInodeFlags,
  recordTruncate,
  recordXattr,
} from "../mirror/record.ts";
import { dropSetId, maxOffset, wide } from "./data.ts";
import { refreshAttributes } from "./invalidate.ts";
import { FATTR, In, outHeader, SETXATTR_ACL_KILL_SGID } from "./protocol.ts";
import { nodeOf, reply, replyAttributes, replyResult, type Server, trusted } from "./server.ts";

export function getattr(f: Server): void {
  const r = statInode(f.v, f.v.inodes, nodeOf(f));
  if (r < 0) return replyResult(f, r);
  replyAttributes(f);
}

/**
 * STATX (7.39): struct fuse_statx_out is 32 bytes of validity, then what statx(2) itself gives. The
 * kernel asks so for the time of birth.
 */
export function statx(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  const fd = reachInode(v.inodes, v.libc, index);
  if (fd < 0) return replyResult(f, fd);
  const to = outHeader + 32;
  const mask = Statx.basic | Statx.birth;
  const empty = v.scratch.small.address + 64;
  const r = v.libc.sys.statx(fd, empty, AT.EMPTY_PATH, mask, f.out.address + to);
  const result = r < 0 ? -v.libc.errno() : 0;
  letGo(v.inodes, v.libc, index, fd);
  if (result < 0) return replyResult(f, result);
  f.outWords.fill(0, outHeader / 4, to / 4);
  f.outWords[outHeader / 4] = v.serving ? trusted : 0;
  reply(f, 32 + 256);
}

/** struct fuse_setattr_in; the parts are applied in the order in which the kernel itself would. */
export function setattr(f: Server): void {
  const { v } = f;
  const t = v.inodes;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const valid = f.words[10];
  let mask = 0;
  // chown(2) to nobody new: the set-id bits go all the same.
  const idleChown = (valid & ~(FATTR.FH | FATTR.LOCKOWNER | FATTR.KILL_SUIDGID)) === 0;

  if (valid & FATTR.SIZE) {
    const size = wide(f, 56);
    if (size > maxOffset) return replyResult(f, -Errno.EFBIG);
    const fd = openInode(t, v.libc, index, true);
    if (fd < 0) return replyResult(f, fd);
    if (v.libc.sys.ftruncate(fd, size) < 0) return replyResult(f, -v.libc.errno());
    recordTruncate(v, index, size);
  }
  if (valid & FATTR.KILL_SUIDGID) {
    // With a new owner the kernel asks for this whatever the caller may do.
    const chown = idleChown || (valid & (FATTR.UID | FATTR.GID)) !== 0;
    dropSetId(f, index, chown && f.words[In.uid / 4] === 0);
  }
  if (valid & (FATTR.UID | FATTR.GID) || idleChown) {
    const uid = valid & FATTR.UID ? f.words[29] : 0xffffffff;
    const gid = valid & FATTR.GID ? f.words[30] : 0xffffffff;
    const r = storeOwner(v, t, index, uid, gid);
    if (r < 0) return replyResult(f, r);
    mask |= Mask.owner | Mask.mode;
  }
  if (valid & FATTR.MODE) {
    const r = storeMode(v, t, index, f.words[27]);
    if (r < 0) return replyResult(f, r);
    mask |= Mask.mode;
  }
  if (valid & (FATTR.ATIME | FATTR.MTIME)) {
    putTime(f, 0, valid & FATTR.ATIME, valid & FATTR.ATIME_NOW, 72, 96);
    putTime(f, 16, valid & FATTR.MTIME, valid & FATTR.MTIME_NOW, 80, 100);
    const r = storeTimes(v, t, index);
    if (r < 0) return replyResult(f, r);
    mask |= Mask.times;
  }
  if (mask !== 0) recordAttributes(v, index, mask);
  const r = statInode(v, t, index);
  if (r < 0) return replyResult(f, r);
  replyAttributes(f);
}

/** One struct timespec at `to` of `scratch.times`, from the request's seconds and nanoseconds. */
function putTime(
  f: Server,
  to: number,
  set: number,
  now: number,
  seconds: number,
  nanos: number,
): void {
  const view = f.v.scratch.times.view;
  view.setUint32(to, set && !now ? f.words[seconds >>> 2] : 0, true);
  view.setUint32(to + 4, set && !now ? f.words[(seconds >>> 2) + 1] : 0, true);
  view.setUint32(to + 8, !set ? UTIME_OMIT : now ? UTIME_NOW : f.words[nanos >>> 2], true);
  view.setUint32(to + 12, 0, true);
}

/** The length of the NUL-terminated name at `at` of the request. */
function nameLengthAt(f: Server, at: number): number {
  return f.request.bytes.indexOf(0, at) - at;
}

const aclName = "system.posix_acl_access";

export function setxattr(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const size = f.words[10];
  const flags = f.words[11];
  const kill = f.session.setxattrExt && f.words[12] & SETXATTR_ACL_KILL_SGID;
  const nameAt = f.session.setxattrExt ? 56 : 48;
  const length = nameLengthAt(f, nameAt);
  const valueAt = nameAt + length + 1;
  const name = f.request.address + nameAt;
  const r = writeXattr(v, v.inodes, index, name, f.request.address + valueAt, size, flags);
  if (r < 0) return replyResult(f, r);
  const value = f.request.bytes.subarray(valueAt, valueAt + size);
  recordXattr(v, index, f.request.bytes, nameAt, length, value);
  if (isName(f, nameAt, length, aclName)) {
    // An access ACL is the mode, too.
    if (kill && statInode(v, v.inodes, index) === 0 && statMode(v) & S.ISGID) {
      storeMode(v, v.inodes, index, statMode(v) & ~S.ISGID);
    }
    recordAttributes(v, index, Mask.mode);
  }
  reply(f, 0);
}

function isName(f: Server, at: number, length: number, name: string): boolean {
  if (length !== name.length) return false;
  for (let i = 0; i < length; i++) {
    if (f.request.bytes[at + i] !== name.charCodeAt(i)) return false;
  }
  return true;
}

export function getxattr(f: Server): void {
  const { v } = f;
  const size = Math.min(f.words[10], 65536);
  const to = f.out.address + outHeader;
  const r = readXattr(v, v.inodes, nodeOf(f), f.request.address + 48, to, size);
  replySized(f, r, size);
}

export function listxattr(f: Server): void {
  const { v } = f;
  const size = Math.min(f.words[10], 65536);
  let n = loadXattrs(v, nodeOf(f));
  // Without CAP_SYS_ADMIN the names of trusted attributes are not shown (xattr(7)).
  if (n > 0 && f.words[In.uid / 4] !== 0) n = hideTrusted(f, n);
  if (size > 0 && n <= size) {
    f.out.bytes.set(v.scratch.list.bytes.subarray(xattrNamesAt, xattrNamesAt + n), outHeader);
  }
  replySized(f, size > 0 && n > size ? -Errno.ERANGE : n, size);
}

/** Takes the trusted names out of `scratch.list`; returns what is left of its length. */
function hideTrusted(f: Server, length: number): number {
  const { bytes } = f.v.scratch.list;
  const prefix = new TextEncoder().encode("trusted.");
  let to = xattrNamesAt;
  for (let at = xattrNamesAt; at < xattrNamesAt + length;) {
    const end = bytes.indexOf(0, at) + 1;
    if (!prefix.every((byte, i) => bytes[at + i] === byte)) {
      bytes.copyWithin(to, at, end);
      to += end - at;
    }
    at = end;
  }
  return to - xattrNamesAt;
}

/** A size of 0 asks how large the answer would be. */
function replySized(f: Server, result: number, size: number): void {
  if (result < 0) return replyResult(f, result);
  if (size > 0) return reply(f, result);
  f.outWords[outHeader / 4] = result;
  f.outWords[outHeader / 4 + 1] = 0;
  reply(f, 8);
}

export function removexattr(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const length = nameLengthAt(f, 40);
  const r = dropXattr(v, v.inodes, index, f.request.address + 40);
  if (r < 0) return replyResult(f, r);
  recordXattr(v, index, f.request.bytes, 40, length, undefined);
  if (isName(f, 40, length, aclName)) recordAttributes(v, index, Mask.mode);
  reply(f, 0);
}

/** The inode flags that chattr(1) and xfs_io(8) set; no other ioctl means anything to a mirror. */
export function ioctl(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  const command = f.words[13];
  const set = command === FS_IOC_SETFLAGS || command === FS_IOC_FSSETXATTR;
  const get = command === FS_IOC_GETFLAGS || command === FS_IOC_FSGETXATTR ||
    command === FS_IOC_GETVERSION;
  if (!set && !get) return replyResult(f, -Errno.ENOTTY);
  if (set && !v.serving) return replyResult(f, -Errno.EROFS);
  const fd = openInode(v.inodes, v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  const outSize = set ? 0 : Math.min(f.words[17], 64);
  const data = outHeader + 16;
  const argument = set ? f.request.address + 72 : f.out.address + data;
  if (v.libc.sys.ioctl(fd, command, argument) < 0) return replyResult(f, -v.libc.errno());
  if (set) {
    // What was opened before must not outlive a flag that forbids it.
    if (!(v.inodes.flags[index] & Flag.orphan) && v.inodes.pins[index] === 0) {
      closeDescriptors(v.inodes, v.libc, index);
    }
    recordInodeFlags(v, index);
    refreshAttributes(f, index);
  }
  const i = outHeader / 4;
  f.outWords[i] = 0;
  f.outWords[i + 1] = 0;
  f.outWords[i + 2] = 0;
  f.outWords[i + 3] = 0;
  reply(f, 16 + outSize);
}

export function statfs(f: Server): void {
  const { v } = f;
  const at = v.scratch.list;
  if (v.libc.sys.fstatfs(v.directories[f.session.root - 1].fd, at.address) < 0) {
    return replyResult(f, -v.libc.errno());
  }
  // struct statfs (asm-generic, 64-bit) to struct fuse_kstatfs.
  const from = new Uint32Array(at.bytes.buffer, 0, 30);
  const i = outHeader / 4;
  for (let k = 0; k < 10; k++) f.outWords[i + k] = from[4 + k];
  f.outWords[i + 10] = from[2];
  f.outWords[i + 11] = from[16];
  f.outWords[i + 12] = from[18] || from[2];
  for (let k = 13; k < 20; k++) f.outWords[i + k] = 0;
  reply(f, 80);
}
