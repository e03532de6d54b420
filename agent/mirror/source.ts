/**
 * The source: gives the stream to a sink over a link, takes its acknowledgements, and runs a resync
 * where the sink does not continue where it left off.
 */
import type { Channel } from "../cluster/channel.ts";
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { checksum, F, frameProblem, headerSize, maxFrame, Op } from "./frames.ts";
import { clearHandles } from "./handle_set.ts";
import { Content, Flag } from "./inodes.ts";
import { dropUnused } from "./record.ts";
import { abandonResync, createResync, type Resync, resync, takeWant } from "./resync.ts";
import { Stat } from "./stats.ts";
import { acknowledge, begin, commit, resetStream, rewind, unacked, unsent } from "./stream.ts";
import type { Job, Volume } from "./volume.ts";
import type { ZoneReader } from "./zones.ts";

const receiveSize = 4 << 20;

export interface Source {
  v: Volume;
  channel: Channel | undefined;
  in: Memory;
  inWords: Uint32Array;
  inStart: number;
  inEnd: number;
  /** the sink has said where it stands on this link: frames may flow */
  attached: boolean;
  resync: Resync | undefined;
  walk: Job | undefined;
  zones: ZoneReader;
  /** performance.now() of the last acknowledgement that moved, or of the moment when one became due */
  progressAt: number;
  startRead: (fd: number, length: number, offset: number) => boolean;
  fsyncDone: (ticket: number, seq: number) => void;
  /** the stream of which the sink has noted that it is in sync; 0: none */
  notedSession: number;
  /** the sink has noted that it is in sync */
  noted: () => void;
  /** the link (re)joins the stream in the middle: fsyncs that wait must be asked for again */
  resumed: () => void;
}

export function createSource(v: Volume, zones: ZoneReader): Source {
  const input = allocate(receiveSize);
  return {
    v,
    channel: undefined,
    in: input,
    inWords: new Uint32Array(input.bytes.buffer),
    inStart: 0,
    inEnd: 0,
    attached: false,
    resync: undefined,
    walk: undefined,
    zones,
    progressAt: 0,
    startRead: () => false,
    fsyncDone: () => {},
    notedSession: 0,
    noted: () => {},
    resumed: () => {},
  };
}

/** Uses a fresh link; the sink speaks first. */
export function attachSource(s: Source, channel: Channel): void {
  s.channel = channel;
  s.inStart = s.inEnd = 0;
  s.attached = false;
  s.progressAt = performance.now();
}

/** A link is gone. What was sent and not acknowledged stays for a resume while `mustAck`. */
export function detachSource(s: Source): void {
  s.channel?.close();
  s.channel = undefined;
  s.attached = false;
  if (!s.v.stream.mustAck) endStream(s);
}

/** Gives up the stream: nothing is recorded any more, and a sink that comes starts from scratch. */
export function endStream(s: Source): void {
  const { v } = s;
  v.stream.active = false;
  v.stream.mustAck = false;
  v.complete = false;
  if (s.walk) {
    s.walk.return();
    s.walk = undefined;
  }
  if (s.resync) {
    abandonResync(s.resync);
    s.resync = undefined;
  }
  unpinAll(v);
  clearHandles(v.compared);
  for (const index of v.dirtyTimes) v.inodes.flags[index] &= ~16;
  v.dirtyTimes.length = 0;
  resetStream(v.stream, 0);
}

/** Nothing is kept for the stream's sake any more. */
function unpinAll(v: Volume): void {
  const t = v.inodes;
  for (let i = 1; i < t.top; i++) {
    if (!(t.flags[i] & Flag.pinned)) continue;
    t.flags[i] &= ~Flag.pinned;
    dropUnused(v, i);
  }
}

/** A number that no other stream has: the high half random, never 0. */
function newSession(): number {
  const [a, b] = crypto.getRandomValues(new Uint32Array(2));
  return (a & 0x1fffff) * 4294967296 + (b || 1);
}

function startStream(s: Source): void {
  const { v } = s;
  endStream(s);
  const session = newSession();
  resetStream(v.stream, session);
  v.inodes.content.fill(Content.unsynced);
  v.stream.active = true;
  s.resync = createResync(v, s.zones, s.startRead);
  const at = begin(v.stream, Op.start, 0, 0);
  const w = at >>> 2;
  v.stream.words[w + F.sessionLow / 4] = session >>> 0;
  v.stream.words[w + F.sessionHigh / 4] = Math.floor(session / 4294967296);
  v.stream.words[w + F.seed / 4] = Number(s.resync.seed);
  commit(v.stream, at);
  s.walk = resync(s.resync);
}

/** Sends what waits in the ring. Returns "" or why the link is broken. */
export function flushSource(s: Source): string {
  const { channel } = s;
  if (!channel || !s.attached) return "";
  const stream = s.v.stream;
  for (let n = unsent(stream); n > 0; n = unsent(stream)) {
    const sent = channel.send(stream.memory.address + stream.sendAt, n);
    if (sent < 0) return channel.reason();
    if (sent === 0) return "";
    stream.sendAt += sent;
    s.v.stats[Stat.linkBytesOut] += sent;
  }
  return "";
}

/** True while frames wait for the socket. */
export function sourceWantsToSend(s: Source): boolean {
  if (!s.channel) return false;
  return (s.attached && unsent(s.v.stream) > 0) || s.channel.wants() !== 0;
}

/** Takes what the sink says. Returns "" or why the link must end. */
export function turnSource(s: Source): string {
  const { channel } = s;
  if (!channel) return "";
  if (s.resync?.problem) return s.resync.problem;
  for (;;) {
    if (s.inStart === s.inEnd) s.inStart = s.inEnd = 0;
    if (receiveSize - s.inEnd < maxFrame) {
      s.in.bytes.copyWithin(0, s.inStart, s.inEnd);
      s.inEnd -= s.inStart;
      s.inStart = 0;
    }
    const n = channel.receive(s.in.address + s.inEnd, receiveSize - s.inEnd);
    if (n < 0) return channel.reason();
    if (n === 0) return "";
    s.v.stats[Stat.linkBytesIn] += n;
    s.inEnd += n;
    while (s.inEnd - s.inStart >= headerSize) {
      const problem = frameProblem(s.inWords, s.inStart);
      if (problem) return `The sink sent ${problem}`;
      const length = s.inWords[s.inStart >>> 2];
      if (s.inEnd - s.inStart < length) break;
      const wrong = takeAnswer(s, s.inStart, length);
      if (wrong) return wrong;
      s.inStart += length;
    }
    if (!channel.pending()) return "";
  }
}

function takeAnswer(s: Source, at: number, length: number): string {
  const w = at >>> 2;
  const word = (field: number) => s.inWords[w + field / 4];
  const op = word(F.op) & 0xffff;
  const stream = s.v.stream;
  if (stream.checksums && word(F.check) !== checksum(s.inWords, at, length)) {
    return "An answer arrived damaged (checksum)";
  }
  if (!s.attached && op !== Op.attach) return "The sink did not say where it stands";
  switch (op) {
    case Op.attach:
      return attach(
        s,
        word(F.sessionLow) + word(F.sessionHigh) * 4294967296,
        word(F.appliedLow) + word(F.appliedHigh) * 4294967296,
      );
    case Op.ack: {
      const seq = word(F.appliedLow) + word(F.appliedHigh) * 4294967296;
      if (seq > stream.lastSeq) {
        return `The sink acknowledges ${seq}, the last was ${stream.lastSeq}`;
      }
      if (seq > stream.ackedSeq) s.progressAt = performance.now();
      acknowledge(stream, seq);
      s.v.stats[Stat.appliedSeq] = seq;
      return "";
    }
    case Op.fsyncDone:
      if (word(F.error) !== 0) return `fsync failed on the sink: error ${word(F.error)}`;
      s.fsyncDone(word(F.ticket), word(F.request) + word(F.request + 4) * 4294967296);
      s.progressAt = performance.now();
      return "";
    case Op.want:
      if (s.resync && !s.resync.done) {
        takeWant(s.resync, {
          index: word(F.inode),
          offset: s.in.view.getFloat64(at + F.offset, true),
          count: Math.min(64, word(F.count)),
          low: word(F.wantLow),
          high: word(F.wantHigh),
        });
      }
      return "";
    case Op.noted:
      // Said again over every link of the stream, and of no meaning before its end is declared.
      if (stream.mustAck && s.notedSession !== stream.session) {
        s.notedSession = stream.session;
        s.noted();
      }
      return "";
    case Op.failed:
      return `The sink cannot apply frame ${
        word(F.appliedLow) + word(F.appliedHigh) * 4294967296 + 1
      }: error ${word(F.error)}`;
    default:
      return `The sink sent operation ${op}, which is not its to send`;
  }
}

/** Goes on where the sink stands, or starts a new stream with a resync. */
function attach(s: Source, session: number, applied: number): string {
  s.attached = true;
  s.progressAt = performance.now();
  const stream = s.v.stream;
  if (stream.active && session === stream.session && session !== 0 && rewind(stream, applied)) {
    s.v.note("info", `The link goes on after operation ${applied}`);
    s.resumed();
    return "";
  }
  if (stream.mustAck) return "The sink comes without its place in the stream";
  startStream(s);
  return "";
}

/** Runs the resync for a while. True where it could go on at once. */
export function turnWalk(s: Source): boolean {
  if (!s.walk) return false;
  const start = unacked(s.v.stream);
  for (let i = 0; i < 512; i++) {
    const step = s.walk.next();
    if (step.done) {
      s.walk = undefined;
      if (!s.resync?.problem) s.resync = undefined;
      return false;
    }
    if (!step.value) return false;
    if (unacked(s.v.stream) - start > 512 << 10) return true;
  }
  return true;
}
