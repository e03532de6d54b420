/**
 * The source's half of the stream: a ring of frames, in the total order of the operations.
 *
 * Frames are made in the ring, sent from it, and stay until the sink has acknowledged them, so that a
 * link that broke can be resumed over another network. Replies to the application that wait for the
 * sink stand in a queue beside it, each with the sequence number that it waits for.
 */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { beginFrame, checksum, F, headerSize, maxFrame, pad8, seqOf } from "./frames.ts";
import { ackBucket, Stat } from "./stats.ts";

/** Bytes of one held reply: the largest is CREATE's, 16 + 128 + 16. */
export const replySize = 256;
const heldCapacity = 4096;

export interface Stream {
  memory: Memory;
  words: Uint32Array;
  size: number;
  /** oldest byte that is kept, next byte to send, next byte to fill */
  head: number;
  sendAt: number;
  tail: number;
  /** where the filled part ends before it goes on at 0; -1 where it does not wrap */
  wrap: number;
  lastSeq: number;
  ackedSeq: number;
  /** names the stream: a link can be resumed only within it */
  session: number;
  /** counts streams: what the sink was told of in an earlier one it does not know */
  epoch: number;
  /** frames are recorded: a sink is attached or may come back */
  active: boolean;
  /** every reply needs the sink (PRIM, and from the moment it is told that it is in sync) */
  mustAck: boolean;
  checksums: boolean;
  /** sequence number of the last frame of the request at hand that its reply must wait for; 0: none */
  waitFor: number;

  heldHead: number;
  heldTail: number;
  heldSeq: Float64Array;
  heldTime: Float64Array;
  heldSession: Uint8Array;
  heldLength: Uint16Array;
  replies: Memory;
  stats: Float64Array;
}

export function createStream(size: number, checksums: boolean, stats: Float64Array): Stream {
  const memory = allocate(size);
  return {
    memory,
    words: new Uint32Array(memory.bytes.buffer),
    size,
    head: 0,
    sendAt: 0,
    tail: 0,
    wrap: -1,
    lastSeq: 0,
    ackedSeq: 0,
    session: 0,
    epoch: 1,
    active: false,
    mustAck: false,
    checksums,
    waitFor: 0,
    heldHead: 0,
    heldTail: 0,
    heldSeq: new Float64Array(heldCapacity),
    heldTime: new Float64Array(heldCapacity),
    heldSession: new Uint8Array(heldCapacity),
    heldLength: new Uint16Array(heldCapacity),
    replies: allocate(heldCapacity * replySize),
    stats,
  };
}

/** Starts a new stream: nothing of the old one can be resumed. Sequence numbers go on. */
export function resetStream(s: Stream, session: number): void {
  s.head = s.sendAt = s.tail = 0;
  s.wrap = -1;
  s.ackedSeq = s.lastSeq;
  s.session = session;
  s.epoch++;
}

/** Bytes in the ring that the sink has not acknowledged. */
export function unacked(s: Stream): number {
  return s.wrap < 0 ? s.tail - s.head : s.wrap - s.head + s.tail;
}

/**
 * Makes room for `bytes` in one piece at `tail`. False where the ring is full: the caller takes no
 * further request until acknowledgements have made room.
 */
export function reserve(s: Stream, bytes: number): boolean {
  if (s.wrap < 0) {
    if (s.head === s.tail) s.head = s.tail = s.sendAt = 0;
    if (s.size - s.tail >= bytes) return true;
    if (s.head <= bytes) return false;
    s.wrap = s.tail;
    if (s.sendAt === s.tail) s.sendAt = 0;
    s.tail = 0;
  }
  return s.head - s.tail > bytes;
}

/** Room for one more request of any size, and for the frames that it may need beside its own. */
export function roomForRequest(s: Stream): boolean {
  return reserve(s, maxFrame + 65536) && (s.heldTail + 1) % heldCapacity !== s.heldHead;
}

/**
 * Begins a frame at `tail` and returns its position. Room was reserved before; a frame of at most
 * 64 KiB beside a request's own is covered by {@link roomForRequest}.
 */
export function begin(s: Stream, op: number, inode: number, payload: number): number {
  const length = pad8(headerSize + payload);
  if (!reserve(s, length)) throw new Error("Replication ring overflow: a frame was not reserved");
  const at = s.tail;
  beginFrame(s.memory.view, s.words, at, op, inode, payload);
  const used = headerSize + payload;
  for (let i = used; i < length; i++) s.memory.bytes[at + i] = 0;
  return at;
}

/** Finishes the frame at `at`: numbers it and makes it part of what is sent. */
export function commit(s: Stream, at: number): number {
  const seq = ++s.lastSeq;
  const w = at >>> 2;
  const length = s.words[w];
  s.words[w + F.seqLow / 4] = seq >>> 0;
  s.words[w + F.seqHigh / 4] = Math.floor(seq / 4294967296);
  if (s.checksums) s.words[w + F.check / 4] = checksum(s.words, at, length);
  s.tail = at + length;
  s.stats[Stat.lastSeq] = seq;
  return seq;
}

/** The next contiguous piece to send, as [position, length]; length 0 where all was sent. */
export function unsent(s: Stream): number {
  if (s.wrap >= 0 && s.sendAt >= s.head) {
    if (s.sendAt < s.wrap) return s.wrap - s.sendAt;
    s.sendAt = 0;
  }
  return s.tail - s.sendAt;
}

/** Notes an acknowledgement up to `seq` and frees the ring up to there. */
export function acknowledge(s: Stream, seq: number): void {
  if (seq > s.lastSeq) throw new Error(`Peer acknowledges ${seq}, sent was ${s.lastSeq}`);
  if (seq <= s.ackedSeq) return;
  s.ackedSeq = seq;
  for (;;) {
    if (s.head === s.wrap) unwrap(s);
    if (s.wrap < 0 && s.head === s.tail) break;
    if (seqOf(s.words, s.head) > seq) break;
    s.head += s.words[s.head >>> 2];
  }
  if (s.head === s.wrap) unwrap(s);
}

function unwrap(s: Stream): void {
  if (s.sendAt === s.wrap) s.sendAt = 0;
  s.head = 0;
  s.wrap = -1;
}

/** Goes back to the frame after `seq`, to send again from there. False where it is not kept any more. */
export function rewind(s: Stream, seq: number): boolean {
  if (seq < s.ackedSeq || seq > s.lastSeq) return false;
  acknowledge(s, seq);
  s.sendAt = s.head;
  return true;
}

/** Puts a finished reply into the queue until `seq` is acknowledged. */
export function hold(
  s: Stream,
  fuseSession: number,
  reply: Uint8Array,
  length: number,
  seq: number,
): void {
  const i = s.heldTail;
  const next = (i + 1) % heldCapacity;
  if (next === s.heldHead) throw new Error("Too many held replies");
  const at = i * replySize;
  const out = s.replies.bytes;
  for (let b = 0; b < length; b++) out[at + b] = reply[b];
  s.heldLength[i] = length;
  s.heldSession[i] = fuseSession;
  s.heldSeq[i] = seq;
  s.heldTime[i] = performance.now();
  s.heldTail = next;
  s.stats[Stat.held]++;
}

/** Releases the replies that wait for nothing after `seq`: `send(session, address, length)` each. */
export function release(
  s: Stream,
  seq: number,
  send: (session: number, address: number, length: number) => void,
): void {
  let now = 0;
  while (s.heldHead !== s.heldTail) {
    const i = s.heldHead;
    if (s.heldSeq[i] > seq) break;
    send(s.heldSession[i], s.replies.address + i * replySize, s.heldLength[i]);
    if (now === 0) now = performance.now();
    s.stats[Stat.ackHistogram + ackBucket((now - s.heldTime[i]) * 1000)]++;
    s.heldHead = (i + 1) % heldCapacity;
    s.stats[Stat.held]--;
  }
}

export function heldCount(s: Stream): number {
  return (s.heldTail - s.heldHead + heldCapacity) % heldCapacity;
}

/** When the oldest held reply began to wait, in performance.now() milliseconds; Infinity: none. */
export function oldestHeld(s: Stream): number {
  return s.heldHead === s.heldTail ? Infinity : s.heldTime[s.heldHead];
}

/** Replaces every held reply by an error (negative errno) and releases it: a stop. */
export function failHeld(
  s: Stream,
  errno: number,
  send: (session: number, address: number, length: number) => void,
): void {
  while (s.heldHead !== s.heldTail) {
    const i = s.heldHead;
    const at = i * replySize;
    s.replies.view.setUint32(at, 16, true);
    s.replies.view.setInt32(at + 4, -errno, true);
    send(s.heldSession[i], s.replies.address + at, 16);
    s.heldHead = (i + 1) % heldCapacity;
  }
  s.stats[Stat.held] = 0;
}
