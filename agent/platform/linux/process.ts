/** What a process asks of the kernel for itself: priority, memory, limits, clocks, its parent's death. */

import { errnoName } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";

// linux/sched.h
const SCHED_OTHER = 0;
const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x40000000;
// linux/prctl.h
const PR_SET_PDEATHSIG = 1;
const PR_SET_IO_FLUSHER = 57;
const PR_GET_IO_FLUSHER = 58;
// asm-generic/resource.h
const RLIMIT_NOFILE = 7;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;
// linux/time.h
const clocks = { realtime: 0, monotonic: 1, boottime: 7 } as const;

/** The wish was granted, or `reason` (a sentence) says why not. None of these wishes is vital. */
export type Granted = { granted: true } | { granted: false; reason: string };

function granted(result: number, libc: Libc, what: string, advice: string): Granted {
  if (result >= 0) return { granted: true };
  return { granted: false, reason: `${what}: ${errnoName(libc.errno())}. ${advice}` };
}

/**
 * Gives the calling thread real-time priority (SCHED_RR, 1 to 99), so that a busy machine does not
 * delay its heartbeats. Threads and processes that it starts do not inherit it.
 */
export function setRealtimePriority(libc: Libc, priority: number): Granted {
  const param = allocate(128); // struct sched_param: one int
  param.view.setInt32(0, priority, true);
  const result = libc.sys.sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, param.address);
  const advice = "Run the agent as root, outside cgroups without a real-time budget";
  return granted(result, libc, "No real-time priority", advice);
}

/** Takes {@link setRealtimePriority} back. */
export function setNormalPriority(libc: Libc): Granted {
  const param = allocate(128);
  const result = libc.sys.sched_setscheduler(0, SCHED_OTHER, param.address);
  return granted(result, libc, "No normal priority", "");
}

/** The calling thread's policy: true for SCHED_RR. */
export function hasRealtimePriority(libc: Libc): boolean {
  return (libc.sys.sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) === SCHED_RR;
}

/**
 * Marks the calling thread as one that serves a file system (Linux 5.6): its own allocations never
 * wait for memory to be written back through itself.
 */
export function setIoFlusher(libc: Libc): Granted {
  const result = libc.sys.prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  return granted(result, libc, "The thread is no IO flusher", "It takes CAP_SYS_RESOURCE");
}

/** Whether {@link setIoFlusher} holds for the calling thread. */
export function isIoFlusher(libc: Libc): boolean {
  return libc.sys.prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) === 1;
}

/**
 * Asks for a signal when the parent *thread* ends (prctl(2)): a child of a supervisor does not outlive
 * it. Compare the parent's pid before and after: it may have ended already.
 */
export function setParentDeathSignal(libc: Libc, signal: number): Granted {
  const result = libc.sys.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
  return granted(result, libc, "No signal at the parent's death", "");
}

/**
 * Sets how readily the kernel ends this process when memory runs out: -1000 (never) to 1000. Children
 * inherit it: an application must be given 0 again, see {@link resetOomScore}.
 */
export function setOomScore(score: number, pid: number | "self" = "self"): Granted {
  try {
    Deno.writeTextFileSync(`/proc/${pid}/oom_score_adj`, String(score), { create: false });
    return { granted: true };
  } catch (error) {
    const reason = `No oom_score_adj of ${score}: ${
      (error as Error).message
    }. It takes CAP_SYS_RESOURCE`;
    return { granted: false, reason };
  }
}

/** Gives a child process the ordinary score. */
export function resetOomScore(pid: number): Granted {
  return setOomScore(0, pid);
}

/** How many descriptors this process may have open; `Infinity` where there is no limit. */
export function openFileLimit(libc: Libc): { soft: number; hard: number } {
  const memory = allocate(128); // struct rlimit: two u64
  if (libc.sys.getrlimit(RLIMIT_NOFILE, memory.address) < 0) return { soft: 1024, hard: 1024 };
  const read = (offset: number) => {
    const value = memory.view.getBigUint64(offset, true);
    return value === RLIM_INFINITY ? Infinity : Number(value);
  };
  return { soft: read(0), hard: read(8) };
}

/**
 * A clock in milliseconds (clock_gettime(2)), without allocation: `monotonic` stands still while the
 * machine sleeps, `boottime` does not, `realtime` is the time of day and may jump. Only differences of
 * the first two mean anything, and only on one machine since it booted.
 */
export function openClock(libc: Libc, kind: keyof typeof clocks): () => number {
  const memory = allocate(128); // struct timespec: two i64
  const words = new Int32Array(memory.bytes.buffer);
  const id = clocks[kind];
  return () => {
    libc.sys.clock_gettime(id, memory.address);
    return (words[1] * 0x1_0000_0000 + (words[0] >>> 0)) * 1000 + words[2] / 1e6;
  };
}

/** An id that changes at every boot of this machine. */
export function bootId(): string {
  return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
}

/** Capabilities that Understudy's work takes (linux/capability.h). */
export const capabilities = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
  CAP_SYS_RESOURCE: 24,
} as const;

export type Capability = keyof typeof capabilities;

/** Whether this process has a capability in effect; root in a container may lack it. */
export function hasCapability(name: Capability): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(Deno.readTextFileSync("/proc/self/status"));
  return effective !== null &&
    (BigInt(`0x${effective[1]}`) >> BigInt(capabilities[name]) & 1n) === 1n;
}

/** The agent must be root: says so where it is not. */
export class NotRootError extends Error {
  override readonly name = "NotRootError";
  constructor(what: string) {
    super(`${what} needs root: run it with sudo, or as a system service`);
  }
}

/** @throws {NotRootError} */
export function requireRoot(what: string): void {
  if (Deno.uid() !== 0) throw new NotRootError(what);
}
