/** Requests about attributes: owner, mode, times, size, extended attributes, inode flags. */
import { Errno, S, UTIME_NOW, UTIME_OMIT } from "../platform/linux/constants.ts";
import { statInode, statMode } from "../mirror/backing.ts";
import { Mask } from "../mirror/frames.ts";
import { openInode } from "../mirror/inodes.ts";
import {
  dropXattr,
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
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
import { dropSetId, wide } from "./data.ts";
import { FATTR, outHeader, SETXATTR_ACL_KILL_SGID } from "./protocol.ts";
import { nodeOf, reply, replyAttributes, replyResult, type Server } from "./server.ts";

export function getattr(f: Server): void {
  const r = statInode(f.v, f.v.inodes, nodeOf(f));
  if (r < 0) return replyResult(f, r);
  replyAttributes(f);
}

/** struct fuse_setattr_in; the parts are applied in the order in which the kernel itself would. */
export function setattr(f: Server): void {
  const { v } = f;
  const t = v.inodes;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const valid = f.words[10];
  let mask = 0;

  if (valid & FATTR.SIZE) {
    const size = wide(f, 56);
    const fd = openInode(t, v.libc, index, true);
    if (fd < 0) return replyResult(f, fd);
    if (v.libc.sys.ftruncate(fd, size) < 0) return replyResult(f, -v.libc.errno());
    recordTruncate(v, index, size);
  }
  if (valid & FATTR.KILL_SUIDGID) dropSetId(f, index);
  if (valid & (FATTR.UID | FATTR.GID)) {
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
  const n = loadXattrs(v, nodeOf(f));
  if (size > 0 && n <= size) {
    f.out.bytes.set(v.scratch.list.bytes.subarray(xattrNamesAt, xattrNamesAt + n), outHeader);
  }
  replySized(f, size > 0 && n > size ? -Errno.ERANGE : n, size);
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
  if (!set && command !== FS_IOC_GETFLAGS && command !== FS_IOC_FSGETXATTR) {
    return replyResult(f, -Errno.ENOTTY);
  }
  if (set && !v.serving) return replyResult(f, -Errno.EROFS);
  const fd = openInode(v.inodes, v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  const outSize = set ? 0 : Math.min(f.words[17], 64);
  const data = outHeader + 16;
  const argument = set ? f.request.address + 72 : f.out.address + data;
  if (v.libc.sys.ioctl(fd, command, argument) < 0) return replyResult(f, -v.libc.errno());
  if (set) recordInodeFlags(v, index);
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
