/**
 * A module's data path as a Worker: takes the agent's commands, keeps the mounts, and runs the loop.
 * See `messages.ts` for what is said.
 */
import { openChannel } from "../cluster/channel.ts";
import { findInode } from "./inodes.ts";
import { invalidate, invalidating } from "../fuse/invalidate.ts";
import { closeMount, openMount } from "../fuse/mount.ts";
import { become, createServer, type Server } from "../fuse/server.ts";
import { replyLater } from "../fuse/server.ts";
import { settleFsync } from "../fuse/data.ts";
import { Errno, O } from "../platform/linux/constants.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { supportsHandles } from "../platform/linux/handles.ts";
import { allocate, type Libc, openLibc, withStrings } from "../platform/linux/libc.ts";
import { openOffload } from "../platform/linux/offload.ts";
import { openFileLimit, setIoFlusher } from "../platform/linux/process.ts";
import { applyFrame } from "./apply.ts";
import { addRoot, clearInodes } from "./backing.ts";
import { compileExcludes } from "./exclude.ts";
import { createHandleSet } from "./handle_set.ts";
import { createInodes } from "./inodes.ts";
import { createLoop, type Loop, loseLink, turn } from "./loop.ts";
import type { Command, Report } from "./messages.ts";
import { sabotageApply } from "./sabotage.ts";
import { attachSink, createSink, noted, removeHidden, sayFsyncDone } from "./sink.ts";
import { attachSource, createSource, detachSource, endStream } from "./source.ts";
import { createStream, failHeld, release } from "./stream.ts";
import { createScratch, type Volume } from "./volume.ts";
import { createZoneReader } from "./zones.ts";

/** The stream's ring: enough for the largest requests of many writers, and for a short outage. */
const ringSize = 16 << 20;
/** PR_SET_SECUREBITS and SECBIT_NO_SETUID_FIXUP of linux/prctl.h and linux/securebits.h. */
const PR_SET_SECUREBITS = 28;
const SECBIT_NO_SETUID_FIXUP = 1 << 2;
/** unshare(2): umask and working directory of this thread alone. */
const CLONE_FS = 0x200;

/** The global of a Worker, as far as it is used here. */
const scope = self as unknown as {
  postMessage(r: Report): void;
  onmessage: (e: MessageEvent<Command>) => void;
  close(): void;
};
const report = (r: Report) => scope.postMessage(r);
const queue: Command[] = [];
/** Messages announced through the wake-up descriptor, and those that have arrived. */
let announced = 0;
let received = 0;
scope.onmessage = (e) => {
  received++;
  queue.push(e.data);
};

/** Lets messages and promises of this thread run. */
const turnEventLoop = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

async function main(): Promise<void> {
  const libc = openLibc();
  const wakeFd = libc.sys.eventfd(0, O.CLOEXEC | O.NONBLOCK);
  report({ kind: "ready", wakeFd });
  const first = await firstCommand(libc, wakeFd);
  if (first.kind !== "open") {
    report({ kind: "closed" });
    return scope.close();
  }
  let state: State;
  try {
    state = await open(libc, wakeFd, first);
  } catch (error) {
    report({ kind: "failed", reason: (error as Error).message });
    return scope.close();
  }
  await run(state);
  scope.close();
}

async function firstCommand(libc: Libc, wakeFd: number): Promise<Command> {
  const memory = allocate(128);
  while (queue.length === 0) {
    await turnEventLoop();
    if (queue.length > 0) break;
    memory.view.setInt32(0, wakeFd, true);
    memory.view.setInt32(4, 1, true);
    libc.sys.poll(memory.address, 1, 200);
  }
  if (libc.sys.read(wakeFd, memory.address, 8) === 8) announced = memory.view.getUint32(0, true);
  return queue.shift()!;
}

interface State {
  loop: Loop;
  v: Volume;
  f: Server;
  sourceName: string;
  /** promoted, but pages of the follower's time are still being dropped */
  promoting: boolean;
  ended: boolean;
}

async function open(
  libc: Libc,
  wakeFd: number,
  c: Extract<Command, { kind: "open" }>,
): Promise<State> {
  const warnings = prepareThread(libc);
  const stats = new Float64Array(c.stats);
  const v: Volume = {
    libc,
    offload: openOffload(libc),
    inodes: createInodes(c.descriptorLimit ?? descriptorLimit(libc)),
    stream: createStream(ringSize, c.checksums, stats),
    stats,
    directories: [],
    sync: c.sync,
    serving: false,
    period: 1,
    complete: false,
    scratch: createScratch(),
    dirtyTimes: [],
    lateContent: [],
    lateDirectories: [],
    lateStaged: [],
    compared: createHandleSet(),
    unused: [],
    jobs: [],
    publishing: 0,
    sabotage: Deno.env.get("UNDERSTUDY_BREAK") ?? "",
    note: (level, text) => report({ kind: "note", level, text }),
  };
  if (v.sabotage !== "") {
    v.note("error", `UNDERSTUDY_BREAK=${v.sabotage}: this mirror breaks its promises, for a test`);
  }
  const f = createServer(v);
  const zones = await createZoneReader();
  const sink = createSink(v, zones, c.checksums);
  const identity = {
    become: (uid: number, gid: number, umask: number) => become(f, uid, gid, umask),
  };
  sink.apply = sabotageApply(v.sabotage, applyFrame(identity));
  sink.inSync = () => report({ kind: "sink-in-sync" });
  sink.outdated = (reason) => report({ kind: "sink-outdated", reason, paused: sink.paused });
  sink.fsyncDone = (ticket, seq, error) => sayFsyncDone(sink, ticket, seq, error);
  sink.changed = (index) => {
    if (v.serving || v.inodes.live <= v.inodes.roots) return;
    const local = findInode(v.inodes, sink.t.handleWords, index * 8, sink.t.device[index]);
    if (local > 0 && v.inodes.opens[local] > 0) invalidate(f, local);
  };
  const loop = createLoop(v, f, createSource(v, zones), sink, wakeFd, c.ackTimeoutMs, report);
  const state: State = {
    loop,
    v,
    f,
    sourceName: c.sourceName,
    promoting: false,
    ended: false,
  };
  try {
    for (const d of c.directories) {
      v.directories.push({
        path: d.path,
        excludes: compileExcludes(d.exclude),
        fd: openDirectory(libc, d.path),
      });
    }
    mountAll(state);
  } catch (error) {
    await unmountAll(state);
    for (const d of v.directories) libc.sys.close(d.fd);
    throw error;
  }
  report({ kind: "opened", warnings });
  return state;
}

/** What this thread needs of the kernel. Returns what was refused and may be done without. */
function prepareThread(libc: Libc): string[] {
  const warnings: string[] = [];
  if (libc.sys.unshare(CLONE_FS) < 0) {
    throw new SystemError("unshare", libc.errno(), "CLONE_FS", "The agent must run as root");
  }
  libc.sys.umask(0);
  if (libc.sys.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0) {
    throw new SystemError(
      "prctl",
      libc.errno(),
      "PR_SET_SECUREBITS",
      "The agent needs CAP_SETPCAP, to create files as their owners",
    );
  }
  const flusher = setIoFlusher(libc);
  if (!flusher.granted) warnings.push(flusher.reason);
  return warnings;
}

/** Half of what the process may have open goes to inodes, shared by the two tables of a module. */
function descriptorLimit(libc: Libc): number {
  return Math.max(256, Math.min(4096, Math.floor(openFileLimit(libc).soft / 4)));
}

function openDirectory(libc: Libc, path: string): number {
  const fd = withStrings(
    [path],
    ([p]) => libc.sys.open(p, O.RDONLY | O.DIRECTORY | O.NOATIME | O.CLOEXEC, 0),
  );
  if (fd < 0) throw new SystemError("open", libc.errno(), path, "Create the directory first");
  const refusal = supportsHandles(libc, fd, 24);
  if (!refusal.supported) {
    libc.sys.close(fd);
    throw new Error(`${path}: ${refusal.reason}`);
  }
  return fd;
}

function mountAll(state: State): void {
  const { v, f } = state;
  v.period++;
  f.sessions.length = 0;
  v.inodes = createInodes(v.inodes.descriptorLimit);
  for (const [i, d] of v.directories.entries()) {
    const r = addRoot(v, v.inodes, i, d.fd);
    if (r < 0) throw new SystemError("open", -r, d.path, "The directory cannot be used");
  }
  for (const [i] of v.directories.entries()) openMount(f, i, state.sourceName);
  v.stats[6] = 1;
}

const unmountLibrary = {
  umount2: { parameters: ["buffer", "i32"], result: "i32", nonblocking: true },
} as const;
const MNT_DETACH = 2;
/** How long the kernel may take to let go of a mount before its connection is ended all the same. */
const unmountMs = 3000;

/**
 * Takes the mounts away. The kernel may write to them while it does, so another thread asks for it
 * while this one serves; whoever still uses a mount after that gets ENOTCONN.
 */
async function unmountAll(state: State): Promise<void> {
  const { v, f, loop } = state;
  const library = Deno.dlopen("libc.so.6", unmountLibrary);
  loop.closing = true;
  let left = f.sessions.length;
  for (const session of f.sessions) {
    const path = new TextEncoder().encode(`${v.directories[session.root - 1].path}\0`);
    if (session.fd < 0) {
      left--;
      continue;
    }
    library.symbols.umount2(path, MNT_DETACH).then(() => left--, () => left--);
  }
  const until = performance.now() + unmountMs;
  while (left > 0 && performance.now() < until) {
    announced += turn(loop, false);
    await turnEventLoop();
  }
  for (const session of f.sessions) closeMount(f, session);
  f.sessions.length = 0;
  // An unmount still under way ends with the connection.
  while (left > 0 && performance.now() < until + unmountMs) await turnEventLoop();
  if (left === 0) library.close();
  else v.note("warning", "A mount is still being taken away by the kernel");
  loop.closing = false;
  v.stats[6] = 0;
}

/** How long an announced message may take to arrive. */
const messageMs = 2000;

async function run(state: State): Promise<void> {
  const { loop } = state;
  let until = 0;
  while (!state.ended) {
    const awaited = received < announced;
    const news = turn(loop, !awaited && queue.length === 0 && !state.promoting);
    if (news > 0) {
      announced += news;
      until = performance.now() + messageMs;
    }
    // A message arrives some turns of the event loop after its announcement: it is waited for, while
    // the data path goes on.
    if (received < announced) {
      await turnEventLoop();
      if (performance.now() > until) announced = received;
    }
    while (queue.length > 0) await obey(state, queue.shift()!);
    if (state.promoting && !invalidating(state.f)) {
      state.promoting = false;
      report({ kind: "serving" });
    }
    if (loop.lostMount !== "") {
      report({
        kind: "failed",
        reason: `The mount over ${loop.lostMount} was taken away by somebody else`,
      });
      await close(state);
    }
    if (state.f.failing !== "") {
      report({ kind: "note", level: "error", text: `This node's disk: ${state.f.failing}` });
      state.f.failing = "";
    }
  }
}

async function obey(state: State, c: Command): Promise<void> {
  const { loop, v } = state;
  switch (c.kind) {
    case "serve":
      return serve(state);
    case "link":
      return attach(state, c);
    case "unlink":
      return loseLink(loop, c.reason);
    case "alone":
      return goAlone(state);
    case "sink-noted":
      return noted(loop.sink);
    case "follow":
      await stopServing(state);
      mountAll(state);
      return report({ kind: "following" });
    case "close":
      await close(state);
      return report({ kind: "closed" });
    case "open":
      return v.note("error", "The data path is open already");
  }
}

/** Promotion: the same mounts, from here on read-write; what the kernel cached while following goes. */
function serve(state: State): void {
  const { loop, v, f } = state;
  if (loop.sink.channel) loseLink(loop, "This node serves from now on");
  clearInodes(v, loop.sink.t);
  removeHidden(v);
  loop.sink.session = 0;
  loop.sink.applied = 0;
  loop.sink.syncing = false;
  loop.sink.paused = false;
  v.serving = true;
  v.period++;
  const t = v.inodes;
  for (let i = 1; i < t.top; i++) if (t.opens[i] > 0) invalidate(f, i);
  state.promoting = true;
}

function attach(state: State, c: Extract<Command, { kind: "link" }>): void {
  const { loop, v } = state;
  if (loop.source.channel || loop.sink.channel) loseLink(loop, "A newer link replaces it");
  const channel = openChannel(v.libc, c.link);
  if (c.link.role === "source") attachSource(loop.source, channel);
  else attachSink(loop.sink, channel);
}

/** No sink any more: what was held for it is acknowledged, nothing is recorded for it. */
function goAlone(state: State): void {
  const { loop, v, f } = state;
  detachSource(loop.source);
  release(v.stream, Infinity, (session, address, length) => {
    const target = f.sessions[session];
    if (target && target.fd >= 0) v.libc.sys.write(target.fd, address, length);
  });
  endStream(loop.source);
  for (const p of f.fsyncs) {
    if (!p.busy) continue;
    p.remoteDone = true;
    settleFsync(f, p);
  }
  report({ kind: "alone" });
}

/** Ends the service: nothing that waits is ever acknowledged, the mounts go. */
async function stopServing(state: State): Promise<void> {
  const { loop, v, f } = state;
  v.serving = false;
  failHeld(v.stream, Errno.EIO, (session, address, length) => {
    const target = f.sessions[session];
    if (target && target.fd >= 0) v.libc.sys.write(target.fd, address, length);
  });
  for (const p of f.fsyncs) {
    if (!p.busy || p.remoteDone) continue;
    p.busy = false;
    replyLater(f, p.session, p.unique, -Errno.EIO);
  }
  loop.source.channel?.close();
  loop.source.channel = undefined;
  // What was being published must not be carried out any more: its callers get ENOTCONN.
  for (const job of v.jobs) job.return();
  v.jobs.length = 0;
  v.publishing = 0;
  endStream(loop.source);
  await unmountAll(state);
  clearInodes(v, v.inodes);
}

async function close(state: State): Promise<void> {
  const { loop, v } = state;
  if (loop.sink.channel) {
    loop.sink.channel.close();
    loop.sink.channel = undefined;
  }
  await stopServing(state);
  clearInodes(v, loop.sink.t);
  removeHidden(v);
  for (const d of v.directories) v.libc.sys.close(d.fd);
  v.offload.close();
  state.ended = true;
}

await main();
