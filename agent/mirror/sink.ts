/**
 * The sink: takes the frames of the stream in their order, applies each to this node's directories,
 * and says up to where it has come. What it cannot apply it never skips: it stops there and says so.
 */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import type { Channel } from "../cluster/channel.ts";
import { addRoot, clearInodes, keepingTimes } from "./backing.ts";
import { emptyDirectory, isStageName } from "./directory.ts";
import { beginFrame, checksum, F, frameProblem, headerSize, maxFrame, Op } from "./frames.ts";
import { opNames, pad8, seqOf } from "./frames.ts";
import { createInodes, type Inodes } from "./inodes.ts";
import { Stat } from "./stats.ts";
import type { Volume } from "./volume.ts";
import type { ZoneReader } from "./zones.ts";

const receiveSize = 8 << 20;
const answerSize = 1 << 20;
/** An acknowledgement leaves after so many bytes even while more frames wait. */
const ackEvery = 512 << 10;

export interface Sink {
  v: Volume;
  /** inodes by the source's numbers */
  t: Inodes;
  channel: Channel | undefined;
  in: Memory;
  inWords: Uint32Array;
  inStart: number;
  inEnd: number;
  out: Memory;
  outWords: Uint32Array;
  outStart: number;
  outEnd: number;
  /** up to where the frames were applied, and acknowledged */
  applied: number;
  acked: number;
  unackedBytes: number;
  /** the source's stream that `applied` belongs to; 0 where there is none */
  session: number;
  /** a resync is under way: what is here may be anything */
  syncing: boolean;
  /** nothing is applied until the agent has noted something durably */
  paused: boolean;
  checksums: boolean;
  /** what the agent has been told and not noted yet, in the order in which it will answer */
  awaited: { what: "outdated" | "in-sync"; session: number }[];
  /** the stream of which the agent has noted that this node is in sync; 0: none */
  notedSession: number;
  /** inodes that have a hidden name in their module directory: staged, or between two names */
  hidden: Set<number>;
  /** names of directories under comparison that the source has not confirmed yet */
  listings: Map<number, Set<string>>;
  /** the space that the source has just told to be reserved in a file, in effect at the file's end */
  reserved: { index: number; stretches: number[] };
  zones: ZoneReader;
  hashSeed: bigint;
  /** reports the end of a resync to the agent, which notes it durably */
  inSync: () => void;
  outdated: (reason: string) => void;
  /** a regular file's content changed: tells a kernel that shows it to somebody */
  changed: (index: number, offset: number, length: number) => void;
  /** an fsync for the source is done */
  fsyncDone: (ticket: number, seq: number, error: number) => void;
  /** fsyncs, by the slot that their completion names */
  fsyncs: SinkFsync[];
  apply: (s: Sink, op: number, at: number) => number;
}

/** An fsync under way for the source. */
export interface SinkFsync {
  busy: boolean;
  /** the stream and the frame that asked for it, and the source's own mark */
  session: number;
  seq: number;
  ticket: number;
  fd: number;
}

export function createSink(v: Volume, zones: ZoneReader, checksums: boolean): Sink {
  const input = allocate(receiveSize);
  const out = allocate(answerSize);
  return {
    v,
    t: createInodes(v.inodes.descriptorLimit),
    channel: undefined,
    in: input,
    inWords: new Uint32Array(input.bytes.buffer),
    inStart: 0,
    inEnd: 0,
    out,
    outWords: new Uint32Array(out.bytes.buffer),
    outStart: 0,
    outEnd: 0,
    applied: 0,
    acked: 0,
    unackedBytes: 0,
    session: 0,
    syncing: false,
    paused: false,
    checksums,
    awaited: [],
    notedSession: 0,
    hidden: new Set(),
    listings: new Map(),
    reserved: { index: 0, stretches: [] },
    zones,
    hashSeed: 0n,
    inSync: () => {},
    outdated: () => {},
    changed: () => {},
    fsyncDone: () => {},
    fsyncs: [],
    apply: () => -38,
  };
}

/** Begins with a fresh link: says which stream this node has followed, and how far. */
export function attachSink(s: Sink, channel: Channel): void {
  s.channel = channel;
  s.inStart = s.inEnd = 0;
  s.outStart = s.outEnd = 0;
  s.unackedBytes = 0;
  const at = answer(s, Op.attach, 0, 0);
  putSeq(s, at, F.appliedLow, s.applied);
  putSeq(s, at, F.sessionLow, s.session);
  endAnswer(s, at);
  // The lost link may have taken the word with it.
  if (s.session !== 0 && s.notedSession === s.session) endAnswer(s, answer(s, Op.noted, 0, 0));
  flushSink(s);
}

/** This node's copy stops being usable: nothing goes on until the agent has noted it. */
export function pauseOutdated(s: Sink, reason: string): void {
  s.paused = true;
  s.notedSession = 0;
  s.awaited.push({ what: "outdated", session: s.session });
  s.outdated(reason);
}

/** The source has declared this node in sync. */
export function reachSync(s: Sink): void {
  s.syncing = false;
  s.listings.clear();
  s.awaited.push({ what: "in-sync", session: s.session });
  s.inSync();
}

/**
 * The agent has noted durably the oldest of what it was told. That may be an earlier stream's: only the
 * word about the present one counts.
 */
export function noted(s: Sink): void {
  const done = s.awaited.shift();
  if (!done) return;
  if (done.what === "outdated") s.paused = s.awaited.some(({ what }) => what === "outdated");
  else if (done.session === s.session && !s.syncing) {
    s.notedSession = s.session;
    sayNoted(s);
  }
}

/**
 * Nothing that comes later can make up for what failed: this node takes no further part in the stream, and
 * comes back by a resync.
 */
export function leaveStream(s: Sink): void {
  s.session = 0;
  s.notedSession = 0;
}

/** Removes what a sink keeps under hidden names: it is of no use without the stream. */
export function removeHidden(v: Volume): void {
  for (const { fd } of v.directories) {
    keepingTimes(v, fd, () => emptyDirectory(v, fd, isStageName));
  }
}

/** Forgets the stream: what comes next is a new one. */
export function resetSink(s: Sink): void {
  clearInodes(s.v, s.t);
  s.t = createInodes(s.v.inodes.descriptorLimit);
  for (const [i, d] of s.v.directories.entries()) addRoot(s.v, s.t, i, d.fd);
  s.listings.clear();
  s.hidden.clear();
  removeHidden(s.v);
}

function putSeq(s: Sink, at: number, field: number, value: number): void {
  s.outWords[(at + field) >>> 2] = value >>> 0;
  s.outWords[(at + field + 4) >>> 2] = Math.floor(value / 4294967296);
}

/** Begins a frame to the source and returns its position. */
export function answer(s: Sink, op: number, inode: number, payload: number): number {
  const length = pad8(headerSize + payload);
  if (answerSize - s.outEnd < length) {
    s.out.bytes.copyWithin(0, s.outStart, s.outEnd);
    s.outEnd -= s.outStart;
    s.outStart = 0;
    if (answerSize - s.outEnd < length) throw new Error("The source does not take answers");
  }
  beginFrame(s.out.view, s.outWords, s.outEnd, op, inode, payload);
  return s.outEnd;
}

/** Finishes the frame: it leaves with the next {@link flushSink}. */
export function endAnswer(s: Sink, at: number): void {
  const length = s.outWords[at >>> 2];
  if (s.checksums) s.outWords[(at + F.check) >>> 2] = checksum(s.outWords, at, length);
  s.outEnd = at + length;
}

/** Sends what waits. Returns "" or why the link is broken. */
export function flushSink(s: Sink): string {
  const { channel } = s;
  if (!channel) return "";
  while (s.outStart < s.outEnd) {
    const n = channel.send(s.out.address + s.outStart, s.outEnd - s.outStart);
    if (n < 0) return channel.reason();
    if (n === 0) return "";
    s.v.stats[Stat.linkBytesOut] += n;
    s.outStart += n;
  }
  s.outStart = s.outEnd = 0;
  return "";
}

/** True while answers wait for the socket. */
export function sinkWantsToSend(s: Sink): boolean {
  return s.outStart < s.outEnd || (s.channel?.wants() ?? 0) !== 0;
}

function acknowledge(s: Sink): void {
  if (s.acked === s.applied) return;
  const at = answer(s, Op.ack, 0, 0);
  putSeq(s, at, F.appliedLow, s.applied);
  endAnswer(s, at);
  s.acked = s.applied;
  s.unackedBytes = 0;
}

/**
 * Takes what the link brings and applies it, for one turn of the loop. Returns "" or why the link must
 * end; `failed` is set where the cause lies in this node's own file system.
 */
export function turnSink(s: Sink): { reason: string; failed: boolean } | undefined {
  const channel = s.channel;
  if (!channel || s.paused) return undefined;
  if (s.inStart === s.inEnd) s.inStart = s.inEnd = 0;
  if (receiveSize - s.inEnd < maxFrame) {
    s.in.bytes.copyWithin(0, s.inStart, s.inEnd);
    s.inEnd -= s.inStart;
    s.inStart = 0;
  }
  const n = channel.receive(s.in.address + s.inEnd, receiveSize - s.inEnd);
  if (n < 0) return { reason: channel.reason(), failed: false };
  s.v.stats[Stat.linkBytesIn] += n;
  s.inEnd += n;
  while (s.inEnd - s.inStart >= headerSize && !s.paused) {
    const at = s.inStart;
    const problem = frameProblem(s.inWords, at);
    if (problem) return { reason: `The source sent ${problem}`, failed: false };
    const length = s.inWords[at >>> 2];
    if (s.inEnd - at < length) break;
    const wrong = takeFrame(s, at, length);
    if (wrong) return wrong;
    s.inStart = at + length;
    s.unackedBytes += length;
    if (s.unackedBytes >= ackEvery) {
      acknowledge(s);
      const broken = flushSink(s);
      if (broken) return { reason: broken, failed: false };
    }
  }
  acknowledge(s);
  const broken = flushSink(s);
  return broken ? { reason: broken, failed: false } : undefined;
}

function takeFrame(
  s: Sink,
  at: number,
  length: number,
): { reason: string; failed: boolean } | undefined {
  const op = s.inWords[(at + F.op) >>> 2] & 0xffff;
  if (s.checksums) {
    const sum = s.inWords[(at + F.check) >>> 2];
    if (sum !== checksum(s.inWords, at, length)) {
      return { reason: "A frame arrived damaged (checksum)", failed: false };
    }
  }
  const seq = seqOf(s.inWords, at);
  if (op !== Op.start && op !== Op.resume && seq !== s.applied + 1) {
    return { reason: `Frame ${seq} follows ${s.applied}`, failed: false };
  }
  let result: number;
  try {
    result = s.apply(s, op, at);
  } catch (error) {
    s.v.note("error", `Applying ${opNames.get(op)}: ${(error as Error).stack ?? error}`);
    result = -5;
  }
  if (result < 0) {
    const reason = `Frame ${seq} (${opNames.get(op)}) cannot be applied here: error ${-result}`;
    acknowledge(s);
    const said = answer(s, Op.failed, s.inWords[(at + F.inode) >>> 2], 0);
    s.outWords[(said + F.error) >>> 2] = -result;
    putSeq(s, said, F.appliedLow, s.applied);
    endAnswer(s, said);
    flushSink(s);
    leaveStream(s);
    return { reason, failed: true };
  }
  s.applied = seq;
  s.v.stats[Stat.appliedSeq] = seq;
  return undefined;
}

/** The agent has noted durably that this node is in sync: the source may rely on it. */
function sayNoted(s: Sink): void {
  if (!s.channel) return;
  endAnswer(s, answer(s, Op.noted, 0, 0));
  flushSink(s);
}

/** An fsync has come back; one of an earlier stream means nothing any more. */
export function finishSinkFsync(s: Sink, slot: number, error: number): void {
  const f = s.fsyncs[slot];
  f.busy = false;
  s.v.libc.sys.close(f.fd);
  if (f.session !== s.session || s.session === 0) return;
  s.fsyncDone(f.ticket, f.seq, error);
}

/** An fsync that the source asked for is done. The kernel reports lost pages once: there is no again. */
export function sayFsyncDone(s: Sink, ticket: number, seq: number, error: number): void {
  if (error !== 0) {
    leaveStream(s);
    s.outdated(`fsync failed here: error ${error}`);
  }
  if (!s.channel) return;
  const at = answer(s, Op.fsyncDone, 0, 0);
  s.outWords[(at + F.ticket) >>> 2] = ticket;
  s.outWords[(at + F.error) >>> 2] = error;
  putSeq(s, at, F.request, seq);
  endAnswer(s, at);
  flushSink(s);
}
