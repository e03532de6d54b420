/**
 * One kernel mount and what a module's mounts share: taking requests, sending replies.
 *
 * A request is read with two buffers: its first 80 bytes go to `request`, the rest into the stream's
 * ring behind the place of a frame header. For a write that is exactly the split between headers and
 * data, so its frame is made where the data lies; the few further bytes of any other request are
 * copied behind the first.
 */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { Errno } from "../platform/linux/constants.ts";
import { headerSize, maxPayload } from "../mirror/frames.ts";
import { hold } from "../mirror/stream.ts";
import { Stat } from "../mirror/stats.ts";
import type { Volume } from "../mirror/volume.ts";
import { writeAttributes } from "./attributes.ts";
import { createNotifySlots, type NotifySlots } from "./invalidate.ts";
import { attrSize, entrySize, In, outHeader } from "./protocol.ts";

export interface Session {
  /** position in `Server.sessions`, kept with held replies */
  index: number;
  /** /dev/fuse; -1 after the end */
  fd: number;
  /** index of the root inode; also the directory's index plus one */
  root: number;
  ready: boolean;
  /** negotiated minor version of the protocol */
  minor: number;
  /** requests that set an extended attribute carry flags of their own (FUSE_SETXATTR_EXT) */
  setxattrExt: boolean;
}

/** A read that waits for the disk, in a buffer of its own. */
export interface ColdRead {
  memory: Memory | undefined;
  busy: boolean;
  session: number;
  unique: [number, number];
  /** bytes that were already in memory */
  have: number;
  index: number;
}

/** An fsync under way here and, where it concerns the sink, there. */
export interface PendingFsync {
  busy: boolean;
  session: number;
  unique: [number, number];
  localDone: boolean;
  remoteDone: boolean;
  /** the frame that asks the sink for it; 0: it does not concern the sink */
  seq: number;
  error: number;
  index: number;
  dataOnly: boolean;
}

export interface Server {
  v: Volume;
  sessions: Session[];
  request: Memory;
  words: Uint32Array;
  /** two struct iovec */
  iov: Memory;
  iovWords: Uint32Array;
  out: Memory;
  outWords: Uint32Array;
  /** getdents64 output of one request */
  list: Memory;
  /** the request at hand */
  session: Session;
  length: number;
  opcode: number;
  /** credentials that the thread creates files with at the moment */
  fsuid: number;
  fsgid: number;
  umask: number;
  reads: ColdRead[];
  fsyncs: PendingFsync[];
  /** the backing file system reads without waiting (RWF_NOWAIT) */
  nowait: boolean;
  /** inodes whose cached pages the kernel is to drop, and the notifications under way */
  invalidations: Set<number>;
  notify: NotifySlots;
  /** a local disk said EIO: reported once */
  failing: string;
}

/** Tags of offloaded calls: which table a completion belongs to. */
export const Tag = { read: 0, fsync: 1 << 16, notify: 1 << 20 } as const;

const noSession: Session = {
  index: -1,
  fd: -1,
  root: 0,
  ready: false,
  minor: 0,
  setxattrExt: false,
};

export function createServer(v: Volume): Server {
  const request = allocate(256 << 10);
  const iov = allocate(128);
  const out = allocate(outHeader + maxPayload + 4096);
  return {
    v,
    sessions: [],
    request,
    words: new Uint32Array(request.bytes.buffer),
    iov,
    iovWords: new Uint32Array(iov.bytes.buffer),
    out,
    outWords: new Uint32Array(out.bytes.buffer),
    list: allocate(32 << 10),
    session: noSession,
    length: 0,
    opcode: 0,
    fsuid: 0,
    fsgid: 0,
    umask: 0,
    reads: Array.from({ length: 24 }, () => ({
      memory: undefined,
      busy: false,
      session: 0,
      unique: [0, 0],
      have: 0,
      index: 0,
    })),
    fsyncs: [],
    nowait: true,
    invalidations: new Set(),
    notify: createNotifySlots(),
    failing: "",
  };
}

/**
 * Takes one request. 1: one was taken; 0: none waits; -1: the mount is gone (unmounted or aborted).
 * The stream has room for a request: see `roomForRequest`.
 */
export function takeRequest(f: Server, session: Session): number {
  const s = f.v.stream;
  const payload = s.memory.address + s.tail + headerSize;
  setIov(f, 0, f.request.address, headerSize);
  setIov(f, 1, payload, maxPayload + 4096);
  const n = f.v.libc.sys.readv(session.fd, f.iov.address, 2);
  if (n < 0) {
    const e = f.v.libc.errno();
    // ENOENT: the request was interrupted before it could be read.
    if (e === Errno.EAGAIN || e === Errno.EINTR || e === Errno.ENOENT) return 0;
    return -1;
  }
  f.session = session;
  f.length = n;
  f.opcode = f.words[In.opcode / 4];
  return 1;
}

/** Brings a request that is no write together in `request`. */
export function gatherRequest(f: Server): void {
  if (f.length <= headerSize) return;
  const s = f.v.stream;
  const from = s.tail + headerSize;
  const extra = f.length - headerSize;
  f.request.bytes.set(s.memory.bytes.subarray(from, from + extra), headerSize);
  f.request.bytes[f.length] = 0;
}

function setIov(f: Server, i: number, address: number, length: number): void {
  const w = i * 4;
  f.iovWords[w] = address >>> 0;
  f.iovWords[w + 1] = Math.floor(address / 4294967296);
  f.iovWords[w + 2] = length;
  f.iovWords[w + 3] = 0;
}

/** The inode that the request is about. */
export function nodeOf(f: Server): number {
  return nodeAt(f, In.nodeid);
}

/** The inode whose kernel number stands at `at` in the request: 1 is this mount's root. */
export function nodeAt(f: Server, at: number): number {
  const id = f.words[at >>> 2];
  return id === 1 ? f.session.root : id;
}

/** The number under which the kernel knows an inode. */
export function kernelId(f: Server, index: number): number {
  return index === f.session.root ? 1 : index;
}

/**
 * Replies with what stands in `out` behind the header. Where the request's change must reach the sink
 * first, the reply waits.
 */
export function reply(f: Server, payload: number): void {
  const w = f.outWords;
  const length = outHeader + payload;
  w[0] = length;
  w[1] = 0;
  w[2] = f.words[In.unique / 4];
  w[3] = f.words[In.unique / 4 + 1];
  const wait = f.v.stream.waitFor;
  if (wait > 0) hold(f.v.stream, f.session.index, f.out.bytes, length, wait);
  else f.v.libc.sys.write(f.session.fd, f.out.address, length);
}

/** Replies with success or, for a negative number, with that -errno. */
export function replyResult(f: Server, result: number): void {
  if (result >= 0) {
    reply(f, 0);
    return;
  }
  f.outWords[0] = outHeader;
  f.outWords[1] = result;
  f.outWords[2] = f.words[In.unique / 4];
  f.outWords[3] = f.words[In.unique / 4 + 1];
  f.v.libc.sys.write(f.session.fd, f.out.address, outHeader);
}

/** Replies to an earlier request, whose number was kept, with an empty success or an error. */
export function replyLater(
  f: Server,
  session: number,
  unique: readonly [number, number],
  result: number,
): void {
  const target = f.sessions[session];
  if (!target || target.fd < 0) return;
  f.outWords[0] = outHeader;
  f.outWords[1] = Math.min(result, 0);
  f.outWords[2] = unique[0];
  f.outWords[3] = unique[1];
  f.v.libc.sys.write(target.fd, f.out.address, outHeader);
}

/** Seconds for which the kernel may trust names and attributes: the serving node changes them alone. */
export const trusted = 86400;

/** Puts a struct fuse_entry_out at `at` in `out`, from `scratch.statx`; counts the lookup. */
export function putEntry(f: Server, at: number, index: number): void {
  const w = f.outWords;
  const i = at >>> 2;
  const valid = f.v.serving ? trusted : 0;
  w[i] = kernelId(f, index);
  w[i + 1] = 0;
  w[i + 2] = 0; // generation: nothing exports this file system
  w[i + 3] = 0;
  w[i + 4] = valid;
  w[i + 5] = 0;
  w[i + 6] = valid;
  w[i + 7] = 0;
  w[i + 8] = 0;
  w[i + 9] = 0;
  writeAttributes(w, at + 40, f.v.scratch.statxWords, 0);
  f.v.inodes.lookups[index]++;
}

/** Replies with an entry made from `scratch.statx`. */
export function replyEntry(f: Server, index: number): void {
  putEntry(f, outHeader, index);
  reply(f, entrySize);
}

/** Replies that a name is not there, which the kernel may remember while this node serves. */
export function replyAbsent(f: Server): void {
  if (!f.v.serving) {
    replyResult(f, -Errno.ENOENT);
    return;
  }
  const i = outHeader / 4;
  f.outWords.fill(0, i, i + entrySize / 4);
  f.outWords[i + 4] = trusted;
  reply(f, entrySize);
}

/** Replies with attributes from `scratch.statx`. */
export function replyAttributes(f: Server): void {
  const i = outHeader / 4;
  f.outWords[i] = f.v.serving ? trusted : 0;
  f.outWords[i + 1] = 0;
  f.outWords[i + 2] = 0;
  f.outWords[i + 3] = 0;
  writeAttributes(f.outWords, outHeader + 16, f.v.scratch.statxWords, 0);
  reply(f, 16 + attrSize);
}

/** Creates files from here on as the caller of the request would: owner, group, umask. */
export function asCaller(f: Server, umask: number): void {
  become(f, f.words[In.uid / 4], f.words[In.gid / 4], umask);
}

/** See {@link asCaller}. The thread keeps its capabilities (SECBIT_NO_SETUID_FIXUP). */
export function become(f: Server, uid: number, gid: number, umask: number): void {
  const { sys } = f.v.libc;
  if (f.fsgid !== gid) {
    sys.setfsgid(gid);
    f.fsgid = gid;
  }
  if (f.fsuid !== uid) {
    sys.setfsuid(uid);
    f.fsuid = uid;
  }
  if (f.umask !== umask) {
    sys.umask(umask);
    f.umask = umask;
  }
}

export function countRequest(f: Server): void {
  f.v.stats[Stat.requests]++;
}
