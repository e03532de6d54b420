/** Requests about the content of files: open, read, write, truncate's kin, fsync. */
import { AT, Errno, O, RWF_NOWAIT, S, SEEK, Statx } from "../platform/linux/constants.ts";
import { allocate } from "../platform/linux/libc.ts";
import { statFd, statInode, statMode, statSize } from "../mirror/backing.ts";
import { writePieces } from "../mirror/backing.ts";
import { headerSize, Mask, maxPayload } from "../mirror/frames.ts";
import { Flag, openInode } from "../mirror/inodes.ts";
import { despiteLocks, procPath, storeMode } from "../mirror/metadata.ts";
import {
  ensureBound,
  isMirrored,
  recordAllocate,
  recordAttributes,
  recordFsync,
  recordTruncate,
  recordWrite,
} from "../mirror/record.ts";
import { Stat } from "../mirror/stats.ts";
import { FOPEN, In, OPEN_KILL_SUIDGID, outHeader, WRITE_CACHE } from "./protocol.ts";
import { WRITE_KILL_SUIDGID } from "./protocol.ts";
import { refreshAttributes } from "./invalidate.ts";
import {
  type ColdRead,
  nodeOf,
  type PendingFsync,
  reply,
  replyLater,
  replyResult,
  type Server,
  Tag,
} from "./server.ts";

/** Beyond this a number is not exact; no file system of Linux that we know goes so far. */
export const maxOffset = Number.MAX_SAFE_INTEGER;

/** A 64-bit field of the request as a number. */
export function wide(f: Server, at: number): number {
  return f.words[at >>> 2] + f.words[(at >>> 2) + 1] * 4294967296;
}

/** Flags for the kernel's page cache of a file that is being opened. */
export function cacheFlags(f: Server, index: number): number {
  const t = f.v.inodes;
  if (!f.v.serving) {
    t.period[index] = 0;
    return FOPEN.DIRECT_IO;
  }
  // Pages from before this role period show an older history: the first open of a period drops them.
  const keep = t.period[index] === f.v.period;
  t.period[index] = f.v.period;
  t.flags[index] |= Flag.cached;
  return keep ? FOPEN.KEEP_CACHE : 0;
}

/** Puts a struct fuse_open_out at `at` in `out`. */
export function putOpen(f: Server, at: number, flags: number): void {
  const i = at >>> 2;
  f.outWords[i] = 0;
  f.outWords[i + 1] = 0;
  f.outWords[i + 2] = flags;
  f.outWords[i + 3] = 0;
}

export function open(f: Server): void {
  const { v } = f;
  const t = v.inodes;
  const index = nodeOf(f);
  const flags = f.words[10];
  const write = (flags & O.ACCMODE) !== O.RDONLY;
  const truncate = (flags & O.TRUNC) !== 0;
  if (!v.serving && (write || truncate)) return replyResult(f, -Errno.EROFS);
  const fd = openForCaller(f, index, write || truncate, (flags & O.APPEND) !== 0);
  if (fd < 0) return replyResult(f, fd);
  if ((write || truncate) && isMirrored(v, index) && v.complete) ensureBound(v, index);
  if (truncate) {
    if (v.libc.sys.ftruncate(fd, 0) < 0) return replyResult(f, -v.libc.errno());
    recordTruncate(v, index, 0);
    if (f.words[11] & OPEN_KILL_SUIDGID) dropSetId(f, index);
  }
  t.opens[index]++;
  putOpen(f, outHeader, cacheFlags(f, index));
  reply(f, 16);
}

/** A descriptor for what the caller may do; an append-only file opens for appending only. */
function openForCaller(f: Server, index: number, write: boolean, append: boolean): number {
  const t = f.v.inodes;
  if (write && !append && t.flags[index] & Flag.appends) return -Errno.EPERM;
  const fd = openInode(t, f.v.libc, index, write);
  if (fd !== -Errno.EPERM || !append) return fd;
  const at = f.v.libc.sys.open_by_handle_at(
    t.deviceFds[t.device[index]],
    t.handles.address + index * 32,
    O.RDWR | O.APPEND | O.NOFOLLOW | O.CLOEXEC,
  );
  if (at < 0) return -f.v.libc.errno();
  t.descriptors++;
  t.writeFd[index] = at;
  t.flags[index] |= Flag.appends;
  return at;
}

/**
 * Clears the set-id bits as a write by an ordinary user does. `keepsGroup`: the caller may keep
 * set-group-id where it means no execution (CAP_FSETID).
 */
export function dropSetId(f: Server, index: number, keepsGroup = false): void {
  const { v } = f;
  if (statInode(v, v.inodes, index) < 0) return;
  const mode = statMode(v);
  if ((mode & S.IFMT) !== S.IFREG) return;
  // Set-group-id without group execute goes only where the caller is not of the group
  // (setattr_should_drop_sgid, fs/attr.c).
  const group = v.scratch.statxWords[Statx.gid / 4];
  const dropGroup = (mode & S.ISGID) !== 0 &&
    ((mode & S.IXGRP) !== 0 || !(keepsGroup || isOfGroup(f, group)));
  const drop = (mode & S.ISUID) | (dropGroup ? S.ISGID : 0);
  if (drop === 0) return;
  if (storeMode(v, v.inodes, index, mode & ~drop) !== 0) return;
  recordAttributes(v, index, Mask.mode);
  refreshAttributes(f, index);
}

/** Whether the caller of the request is of a group, by its own or by a further one (proc(5)). */
function isOfGroup(f: Server, group: number): boolean {
  if (f.words[In.gid / 4] === group) return true;
  try {
    const status = Deno.readTextFileSync(`/proc/${f.words[In.pid / 4]}/status`);
    const groups = /^Groups:\s*(.*)$/m.exec(status)?.[1] ?? "";
    return groups.split(/\s+/).includes(String(group));
  } catch {
    return false; // it has ended
  }
}

export function release(f: Server): void {
  const t = f.v.inodes;
  const index = nodeOf(f);
  if (t.opens[index] > 0) t.opens[index]--;
  reply(f, 0);
}

export function read(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  const offset = wide(f, 48);
  const size = Math.min(f.words[14], maxPayload);
  if (misaligned(f, offset, size)) return replyResult(f, -Errno.EINVAL);
  const fd = openInode(v.inodes, v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  const target = f.out.address + outHeader;
  const n = f.nowait ? readNow(f, fd, target, size, offset) : -Errno.EAGAIN;
  if (n >= 0 && (n === size || atEnd(f, fd, offset + n))) return reply(f, n);
  if (n < 0 && n !== -Errno.EAGAIN) return failedRead(f, index, n);
  const have = Math.max(n, 0);
  const slot = f.reads.findIndex((r) => !r.busy);
  if (slot >= 0 && readCold(f, slot, index, fd, offset, size, have)) return;
  const rest = v.libc.sys.pread(fd, target + have, size - have, offset + have);
  if (rest < 0) return failedRead(f, index, -v.libc.errno());
  reply(f, have + rest);
}

/**
 * O_DIRECT off the disk's sectors, which FUSE lets through but ext4 does not. Pages that the kernel
 * writes back (FUSE_WRITE_CACHE) may end anywhere.
 */
function misaligned(f: Server, offset: number, size: number): boolean {
  if ((f.words[18] & O.DIRECT) === 0 || f.words[15] & 1) return false;
  return offset % 512 !== 0 || size % 512 !== 0;
}

function failedRead(f: Server, index: number, error: number): void {
  if (error === -Errno.EIO) f.failing = `reading inode ${index}: Input/output error`;
  replyResult(f, error);
}

/** preadv2 with RWF_NOWAIT: what is in memory, -EAGAIN where nothing is. */
function readNow(f: Server, fd: number, address: number, size: number, offset: number): number {
  const w = f.iovWords;
  w[0] = address >>> 0;
  w[1] = Math.floor(address / 4294967296);
  w[2] = size;
  w[3] = 0;
  const n = f.v.libc.sys.preadv2(fd, f.iov.address, 1, offset, RWF_NOWAIT);
  if (n >= 0) return n;
  const e = f.v.libc.errno();
  if (e === Errno.EOPNOTSUPP) {
    f.nowait = false;
    return -Errno.EAGAIN;
  }
  return -e;
}

function atEnd(f: Server, fd: number, position: number): boolean {
  return statFd(f.v, fd) === 0 && position >= statSize(f.v);
}

/** Leaves a read to the offload; the loop goes on. */
function readCold(
  f: Server,
  slot: number,
  index: number,
  fd: number,
  offset: number,
  size: number,
  have: number,
): boolean {
  const r = f.reads[slot];
  r.memory ??= allocate(outHeader + maxPayload);
  if (have > 0) {
    r.memory.bytes.set(f.out.bytes.subarray(outHeader, outHeader + have), outHeader);
  }
  const address = r.memory.address + outHeader + have;
  if (!f.v.offload.read(Tag.read + slot, fd, address, size - have, offset + have)) return false;
  r.busy = true;
  r.session = f.session.index;
  r.unique[0] = f.words[2];
  r.unique[1] = f.words[3];
  r.have = have;
  // The descriptor must not be closed by an eviction while the kernel reads from it.
  f.v.inodes.pins[index]++;
  r.index = index;
  return true;
}

/** A cold read has come back. */
export function finishRead(f: Server, slot: number, result: number): void {
  const r: ColdRead = f.reads[slot];
  r.busy = false;
  f.v.inodes.pins[r.index]--;
  const session = f.sessions[r.session];
  if (!session || session.fd < 0) return;
  if (result < 0) {
    if (result === -Errno.EIO) f.failing = `reading: Input/output error`;
    replyLater(f, r.session, r.unique, result);
    return;
  }
  const view = r.memory!.view;
  const length = outHeader + r.have + result;
  view.setUint32(0, length, true);
  view.setUint32(4, 0, true);
  view.setUint32(8, r.unique[0], true);
  view.setUint32(12, r.unique[1], true);
  f.v.libc.sys.write(session.fd, r.memory!.address, length);
}

/** The data of the request stands in the ring, behind the place of a frame header. */
export function write(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const offset = wide(f, 48);
  const size = f.words[14];
  const flags = f.words[15];
  if (offset > maxOffset) return replyResult(f, -Errno.EFBIG);
  if (misaligned(f, offset, size)) return replyResult(f, -Errno.EINVAL);
  // Pages that were written to before the file was locked reach the disk all the same, in their place.
  const paged = (flags & WRITE_CACHE) !== 0;
  let n = paged && v.inodes.flags[index] & Flag.appends
    ? -Errno.EPERM
    : writeHere(f, index, size, offset);
  if (n === -Errno.EPERM && paged) {
    n = despiteLocks(v, v.inodes, index, () => {
      const fd = openAnywhere(f, index);
      return fd < 0 ? fd : writeHere(f, index, size, offset);
    });
  }
  if (n < 0) {
    if (n === -Errno.EIO) f.failing = `writing inode ${index}: Input/output error`;
    return replyResult(f, n);
  }
  if (v.sabotage !== "" && sabotageWrite(f)) n = size;
  else recordWrite(v, index, offset, n);
  if (flags & WRITE_KILL_SUIDGID) dropSetId(f, index);
  const i = outHeader / 4;
  f.outWords[i] = n;
  f.outWords[i + 1] = 0;
  reply(f, 8);
}

/** A descriptor that writes where it is told to, in place of one that only appends. */
function openAnywhere(f: Server, index: number): number {
  const { v } = f;
  const t = v.inodes;
  if (!(t.flags[index] & Flag.appends)) return openInode(t, v.libc, index, true);
  const again = v.libc.sys.openat(AT.FDCWD, procPath(v, t.writeFd[index]), O.RDWR | O.CLOEXEC, 0);
  if (again < 0) return -v.libc.errno();
  v.libc.sys.close(t.writeFd[index]);
  t.writeFd[index] = again;
  t.flags[index] &= ~Flag.appends;
  return again;
}

/** Writes what stands in the ring; the number of bytes, or -errno. */
function writeHere(f: Server, index: number, size: number, offset: number): number {
  const { v } = f;
  const fd = openInode(v.inodes, v.libc, index, true);
  if (fd < 0) return fd;
  const data = v.stream.memory.address + v.stream.tail + headerSize;
  return writePieces(v.libc, fd, data, size, offset);
}

/** Test builds: leaves a write out of the stream now and then. */
function sabotageWrite(f: Server): boolean {
  return f.v.sabotage === "skip-operation" && f.v.stats[Stat.requests] % 20 === 0;
}

export function fallocate(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  if (!v.serving) return replyResult(f, -Errno.EROFS);
  const offset = wide(f, 48);
  const length = wide(f, 56);
  const mode = f.words[16];
  const fd = openInode(v.inodes, v.libc, index, true);
  if (fd < 0) return replyResult(f, fd);
  if (v.libc.sys.fallocate(fd, mode, offset, length) < 0) {
    return replyResult(f, -v.libc.errno());
  }
  recordAllocate(v, index, mode, offset, length);
  // The kernel leaves the set-id bits to us and does not say whether the caller may keep them.
  if (f.words[In.uid / 4] !== 0) dropSetId(f, index);
  reply(f, 0);
}

export function lseek(f: Server): void {
  const { v } = f;
  const whence = f.words[14];
  const from = wide(f, 48);
  if (from > maxOffset) return replyResult(f, -Errno.ENXIO); // negative, or beyond every file
  const fd = openInode(v.inodes, v.libc, nodeOf(f), false);
  if (fd < 0) return replyResult(f, fd);
  if (whence !== SEEK.DATA && whence !== SEEK.HOLE) return replyResult(f, -Errno.EINVAL);
  const at = Number(v.libc.sys.lseek(fd, from, whence));
  if (at < 0) return replyResult(f, -v.libc.errno());
  const i = outHeader / 4;
  f.outWords[i] = at >>> 0;
  f.outWords[i + 1] = Math.floor(at / 4294967296);
  reply(f, 8);
}

/** fsync and fdatasync: here and on the sink at the same time, off the loop. */
export function fsync(f: Server): void {
  const { v } = f;
  const index = nodeOf(f);
  const dataOnly = (f.words[12] & 1) !== 0;
  const fd = openInode(v.inodes, v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  let ticket = f.fsyncs.findIndex((p) => !p.busy);
  if (ticket < 0) {
    ticket = f.fsyncs.length;
    f.fsyncs.push({
      busy: false,
      session: 0,
      unique: [0, 0],
      localDone: false,
      remoteDone: false,
      seq: 0,
      error: 0,
      index: 0,
      dataOnly: false,
    });
  }
  const p = f.fsyncs[ticket];
  p.session = f.session.index;
  p.unique[0] = f.words[In.unique / 4];
  p.unique[1] = f.words[In.unique / 4 + 1];
  p.error = 0;
  p.index = index;
  p.dataOnly = dataOnly;
  p.seq = recordFsync(v, index, dataOnly, ticket);
  p.remoteDone = p.seq === 0;
  p.localDone = !v.offload.fsync(Tag.fsync + ticket, fd, dataOnly);
  if (p.localDone) {
    // The queue is full: better slow than not at all.
    const r = dataOnly ? v.libc.sys.fdatasync(fd) : v.libc.sys.fsync(fd);
    if (r < 0) p.error = -v.libc.errno();
  } else v.inodes.pins[index]++;
  p.busy = true;
  settleFsync(f, p);
}

/** The local half has come back. */
export function finishFsync(f: Server, ticket: number, result: number): void {
  const p = f.fsyncs[ticket];
  f.v.inodes.pins[p.index]--;
  p.localDone = true;
  if (result < 0) {
    p.error = result;
    f.failing = `fsync of inode ${p.index}: error ${-result}`;
  }
  settleFsync(f, p);
}

/** The sink's half has come back. */
export function acknowledgeFsync(f: Server, ticket: number, seq: number): void {
  const p = f.fsyncs[ticket];
  // A late answer, from before a link was replaced, is about an earlier use of the ticket.
  if (!p?.busy || p.seq !== seq) return;
  p.remoteDone = true;
  settleFsync(f, p);
}

export function settleFsync(f: Server, p: PendingFsync): void {
  if (!p.busy || !p.localDone || !p.remoteDone) return;
  p.busy = false;
  replyLater(f, p.session, p.unique, p.error);
}
