/**
 * The loop of a module's data path: one thread, one order. It polls the kernel's mounts, the peer's
 * socket, the offload and the wake-up descriptor, does what each brings, and sends what has gathered.
 */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { POLLIN, POLLOUT } from "../platform/linux/constants.ts";
import { acknowledgeFsync, finishFsync, finishRead } from "../fuse/data.ts";
import { dispatch } from "../fuse/dispatch.ts";
import { drainInvalidations, invalidationDone } from "../fuse/invalidate.ts";
import { closeMount } from "../fuse/mount.ts";
import { type Server, Tag, takeRequest } from "../fuse/server.ts";
import { sinkFsyncTag } from "./apply.ts";
import { headerSize } from "./frames.ts";
import type { Report } from "./messages.ts";
import { flushTimes, recordFsync } from "./record.ts";
import { finishSinkFsync, flushSink, type Sink, sinkWantsToSend, turnSink } from "./sink.ts";
import {
  detachSource,
  flushSource,
  type Source,
  sourceWantsToSend,
  turnSource,
  turnWalk,
} from "./source.ts";
import { Stat } from "./stats.ts";
import { oldestHeld, release, roomForRequest, unacked } from "./stream.ts";
import type { Volume } from "./volume.ts";

/** Requests taken from one mount before the others have their turn. */
const burst = 64;
/** Times travel when they have been different for so long, in milliseconds. */
const timesDelay = 40;
const resyncReadTag = 1 << 21;

export interface Loop {
  v: Volume;
  f: Server;
  source: Source;
  sink: Sink;
  wakeFd: number;
  polls: Memory;
  ackTimeoutMs: number;
  stalledReported: boolean;
  timesAt: number;
  progressAt: number;
  report: (r: Report) => void;
  /** requests taken in the last turn */
  taken: number;
  /** mounts are being taken away: their ends are expected */
  closing: boolean;
  /** a mount went away behind our back */
  lostMount: string;
}

export function createLoop(
  v: Volume,
  f: Server,
  source: Source,
  sink: Sink,
  wakeFd: number,
  ackTimeoutMs: number,
  report: (r: Report) => void,
): Loop {
  const loop: Loop = {
    v,
    f,
    source,
    sink,
    wakeFd,
    polls: allocate(8 * 64),
    ackTimeoutMs,
    stalledReported: false,
    timesAt: 0,
    progressAt: 0,
    report,
    taken: 0,
    closing: false,
    lostMount: "",
  };
  source.fsyncDone = (ticket, seq) => acknowledgeFsync(f, ticket, seq);
  source.noted = () => report({ kind: "in-sync" });
  source.resumed = () => {
    askFsyncsAgain(f);
    report({ kind: "resumed" });
  };
  source.startRead = (fd, length, offset) => {
    const { zones } = source;
    zones.busy = v.offload.read(resyncReadTag, fd, zones.data.address, length, offset);
    return zones.busy;
  };
  return loop;
}

/**
 * After a resume: what the lost link took with it is asked for once more. What the sink has not applied yet
 * is still in the stream.
 */
function askFsyncsAgain(f: Server): void {
  for (const [ticket, p] of f.fsyncs.entries()) {
    if (!p.busy || p.remoteDone || p.seq > f.v.stream.ackedSeq) continue;
    p.seq = recordFsync(f.v, p.index, p.dataOnly, ticket);
    // Its last name has gone meanwhile: there is nothing that the sink could flush.
    if (p.seq === 0) acknowledgeFsync(f, ticket, 0);
  }
}

/**
 * One turn: waits for something to do, at most until the next deadline, and does it. Returns how many
 * messages the agent has announced meanwhile: they are to be taken.
 */
export function turn(loop: Loop, mayWait: boolean): number {
  const { v, f } = loop;
  const walking = runJobs(loop);
  flushOut(loop);
  const woken = waitForEvents(loop, mayWait && !walking ? patience(loop) : 0);
  v.stats[Stat.turns]++;
  v.offload.reap((tag, result) => completed(loop, tag, result));
  turnLink(loop);
  turnMounts(loop);
  if (f.invalidations.size > 0) drainInvalidations(f);
  housekeeping(loop);
  flushOut(loop);
  return woken;
}

/** How long nothing may happen, in milliseconds. */
function patience(loop: Loop): number {
  if (loop.v.dirtyTimes.length > 0) return timesDelay / 2;
  if (oldestHeld(loop.v.stream) !== Infinity || unacked(loop.v.stream) > 0) return 50;
  return 1000;
}

function link(loop: Loop) {
  return loop.source.channel ?? loop.sink.channel;
}

function waitForEvents(loop: Loop, timeout: number): number {
  const { v, f, polls } = loop;
  const view = polls.view;
  let n = 0;
  const add = (fd: number, events: number) => {
    view.setInt32(n * 8, fd, true);
    view.setInt32(n * 8 + 4, events, true);
    return n++;
  };
  add(loop.wakeFd, POLLIN);
  add(v.offload.fd, POLLIN);
  const channel = link(loop);
  if (channel) {
    const wants = loop.source.channel ? sourceWantsToSend(loop.source) : sinkWantsToSend(loop.sink);
    const reading = loop.source.channel || !loop.sink.paused ? POLLIN : 0;
    add(channel.fd, reading | (wants ? POLLOUT : 0) | channel.wants());
    if (reading && (channel.pending() || waiting(loop.sink))) timeout = 0;
  } else add(-1, 0);
  const open = roomForRequest(v.stream);
  for (const session of f.sessions) add(open ? session.fd : -1, POLLIN);
  v.libc.sys.poll(polls.address, n, timeout);
  if ((view.getInt16(6, true) & POLLIN) === 0) return 0;
  // An eventfd counts: the agent adds one for each message.
  const read = v.libc.sys.read(loop.wakeFd, v.scratch.small.address, 8);
  return read === 8 ? v.scratch.small.view.getUint32(0, true) : 0;
}

function completed(loop: Loop, tag: number, result: number): void {
  const { f, sink } = loop;
  if (tag === resyncReadTag) {
    loop.source.zones.busy = false;
    loop.source.zones.result = result;
  } else if (tag >= Tag.notify) invalidationDone(f, tag - Tag.notify);
  else if (tag >= sinkFsyncTag) {
    finishSinkFsync(sink, tag - sinkFsyncTag, result < 0 ? -result : 0);
  } else if (tag >= Tag.fsync) finishFsync(f, tag - Tag.fsync, result);
  else finishRead(f, tag - Tag.read, result);
}

/** Positions in the poll set; the mounts follow. */
const linkAt = 2;
const mountsAt = 3;

/** What poll said about the descriptor at a position. */
function happened(loop: Loop, position: number): number {
  return loop.polls.view.getInt16(position * 8 + 6, true);
}

function turnLink(loop: Loop): void {
  const { source, sink } = loop;
  const channel = source.channel ?? sink.channel;
  // A sink that was paused has whole frames left to apply, and TLS may hold decrypted ones.
  if (!channel || (happened(loop, linkAt) === 0 && !channel.pending() && !waiting(sink))) return;
  if (source.channel) {
    const broken = turnSource(source);
    if (broken) return loseLink(loop, broken);
    releaseAcknowledged(loop);
  } else if (sink.channel) {
    const ended = turnSink(sink);
    if (ended) {
      if (ended.failed) {
        loop.report({ kind: "sink-outdated", reason: ended.reason, paused: false });
      }
      loseLink(loop, ended.reason);
    }
  }
}

/** True while a whole frame stands in the sink's buffer. */
function waiting(sink: Sink): boolean {
  const have = sink.inEnd - sink.inStart;
  return sink.channel !== undefined && !sink.paused && have >= headerSize &&
    have >= sink.inWords[sink.inStart >>> 2];
}

/** Replies that the sink's acknowledgement has freed. */
function releaseAcknowledged(loop: Loop): void {
  const { v, f } = loop;
  release(v.stream, v.stream.ackedSeq, (session, address, length) => {
    const target = f.sessions[session];
    if (target && target.fd >= 0) v.libc.sys.write(target.fd, address, length);
  });
}

/** The link is gone, or has to go. */
export function loseLink(loop: Loop, reason: string): void {
  const { source, sink, v } = loop;
  if (source.channel) {
    const lagging = v.stream.mustAck;
    detachSource(source);
    loop.report({ kind: "link-lost", role: "source", reason, lagging });
  } else if (sink.channel) {
    sink.channel.close();
    sink.channel = undefined;
    loop.report({ kind: "link-lost", role: "sink", reason, lagging: false });
  }
}

function turnMounts(loop: Loop): void {
  const { v, f } = loop;
  // A lone caller asks again only after its answer: looking for more would cost it a system call.
  const several = oldestHeld(v.stream) !== Infinity || loop.taken > 1 ||
    v.stats[Stat.turns] % 8 === 0;
  const most = several ? burst : 1;
  loop.taken = 0;
  for (let m = 0; m < f.sessions.length; m++) {
    const session = f.sessions[m];
    if (session.fd < 0 || happened(loop, mountsAt + m) === 0) continue;
    for (let i = 0; i < most; i++) {
      if (!roomForRequest(v.stream)) return;
      const taken = takeRequest(f, session);
      if (taken === 0) break;
      if (taken < 0) {
        if (!loop.closing) loop.lostMount = v.directories[session.root - 1].path;
        closeMount(f, session);
        break;
      }
      dispatch(f);
      loop.taken++;
      // The peer starts on these while more are taken.
      if ((i & 7) === 7) flushOut(loop);
    }
  }
}

/** Multi-step work, a piece of each. True where some of it could go on at once. */
function runJobs(loop: Loop): boolean {
  const { v } = loop;
  let more = turnWalk(loop.source);
  for (let i = 0; i < v.jobs.length; i++) {
    const step = v.jobs[i].next();
    if (step.done) v.jobs.splice(i--, 1);
    else if (step.value) more = true;
  }
  return more;
}

function flushOut(loop: Loop): void {
  // What the channel took earlier and the socket did not: nothing else may follow to push it out.
  const channel = link(loop);
  if (channel && channel.wants() !== 0) channel.flush();
  if (loop.source.channel) {
    const broken = flushSource(loop.source);
    if (broken) loseLink(loop, broken);
  } else if (loop.sink.channel) {
    const broken = flushSink(loop.sink);
    if (broken) loseLink(loop, broken);
  }
}

/** What time brings: times to be sent, a sink that stands still, figures. */
function housekeeping(loop: Loop): void {
  const { v, source } = loop;
  const now = performance.now();
  if (v.dirtyTimes.length > 0) {
    if (!v.stream.active) {
      for (const index of v.dirtyTimes) v.inodes.flags[index] &= ~16;
      v.dirtyTimes.length = 0;
    } else if (now - loop.timesAt >= timesDelay) {
      loop.timesAt = now;
      flushTimes(v, () => roomForRequest(v.stream));
    }
  } else loop.timesAt = now;
  v.stats[Stat.unackedBytes] = unacked(v.stream);
  v.stats[Stat.dirtyTimes] = v.dirtyTimes.length;
  v.stats[Stat.nodes] = v.inodes.live;
  v.stats[Stat.descriptors] = v.inodes.descriptors + loop.sink.t.descriptors;
  watchSink(loop, now);
  if (source.resync && now - loop.progressAt > 1000) {
    loop.progressAt = now;
    loop.report({
      kind: "progress",
      filesDone: v.stats[Stat.resyncFiles],
      bytesCompared: v.stats[Stat.resyncBytesCompared],
      bytesSent: v.stats[Stat.resyncBytesSent],
      phase: source.resync.phase,
    });
  }
}

/** Reports a sink that owes acknowledgements and gives none for `ackTimeoutMs`. */
function watchSink(loop: Loop, now: number): void {
  const { v, source } = loop;
  const owed = unacked(v.stream);
  if (!source.channel || (owed === 0 && !waitsForFsync(loop.f))) {
    source.progressAt = now;
    loop.stalledReported = false;
    return;
  }
  if (now - source.progressAt < loop.ackTimeoutMs) {
    loop.stalledReported = false;
    return;
  }
  if (loop.stalledReported) return;
  loop.stalledReported = true;
  if (v.stream.mustAck) loop.report({ kind: "ack-stalled", owed });
  else loseLink(loop, `The sink has applied nothing for ${loop.ackTimeoutMs} ms`);
}

function waitsForFsync(f: Server): boolean {
  for (const p of f.fsyncs) if (p.busy && p.localDone && !p.remoteDone) return true;
  return false;
}
