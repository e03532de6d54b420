/**
 * The processes that descend from this one, also those that a test left behind.
 *
 * As a "child subreaper" (prctl(2), PR_SET_CHILD_SUBREAPER) this process becomes the parent of
 * whatever below it loses its own, so that a daemon which a test started cannot get out of sight.
 */

const PR_SET_CHILD_SUBREAPER = 36; // linux/prctl.h
const WNOHANG = 1; // linux/wait.h, like the next three
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const P_ALL = 0;
/** where siginfo_t holds si_pid on 64-bit Linux: after si_signo, si_errno, si_code and padding */
const siPidOffset = 16;

export interface Child {
  pid: number;
  parent: number;
  /** one letter as in proc_pid_stat(5): Z is a zombie */
  state: string;
  /** the command line, or the name where it has none */
  command: string;
}

export interface Reaper {
  /** every descendant but zombies */
  descendants(): Child[];
  /** Kills every descendant; true when none is left, false where some survive `patienceMs` (stuck in the kernel). */
  killAll(patienceMs: number): Promise<boolean>;
}

/** Makes this process the reaper of its descendants. Linux only. `own` are children awaited by others. */
export function becomeReaper(own: () => Set<number>): Reaper {
  const libc = Deno.dlopen("libc.so.6", {
    prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
    waitpid: { parameters: ["i32", "pointer", "i32"], result: "i32" },
    waitid: { parameters: ["i32", "u32", "buffer", "i32"], result: "i32" },
  });
  libc.symbols.prctl(PR_SET_CHILD_SUBREAPER, 1n, 0n, 0n, 0n);

  // Orphans must not stay zombies: a test may wait for the process id to be gone.
  const info = new Uint8Array(128);
  const pidOf = new DataView(info.buffer);
  function reap() {
    for (;;) {
      info.fill(0);
      if (libc.symbols.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
      const pid = pidOf.getInt32(siPidOffset, true);
      if (pid === 0 || own().has(pid)) return;
      libc.symbols.waitpid(pid, null, WNOHANG);
    }
  }
  Deno.unrefTimer(setInterval(reap, 100));

  function descendants(): Child[] {
    reap();
    const living = below(Deno.pid, readProcesses()).filter((child) => child.state !== "Z");
    return living;
  }

  async function killAll(patienceMs: number): Promise<boolean> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const living = descendants();
      if (living.length === 0) return true;
      if (Date.now() > deadline) return false;
      for (const { pid } of living) {
        try {
          Deno.kill(pid, "SIGKILL");
        } catch { /* it ended in between */ }
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  return { descendants, killAll };
}

/** Those of `all` that descend from `ancestor`, parents before children. */
export function below(ancestor: number, all: Child[]): Child[] {
  const found: Child[] = [];
  const ancestors = new Set([ancestor]);
  // a child may have a lower number than its parent: repeat until nothing is added
  for (let added = true; added;) {
    added = false;
    for (const child of all) {
      if (!ancestors.has(child.parent) || ancestors.has(child.pid)) continue;
      ancestors.add(child.pid);
      found.push(child);
      added = true;
    }
  }
  return found;
}

function readProcesses(): Child[] {
  const all: Child[] = [];
  for (const entry of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    try {
      const child = parseStat(Deno.readTextFileSync(`/proc/${entry.name}/stat`));
      all.push(child);
    } catch { /* it ended in between */ }
  }
  return all;
}

/** Reads the fields that matter here from a line of /proc/PID/stat, proc_pid_stat(5). */
export function parseStat(line: string): Child {
  const open = line.indexOf("(");
  const close = line.lastIndexOf(")"); // the name itself may hold parentheses
  const [state, parent] = line.slice(close + 2).split(" ");
  return {
    pid: Number(line.slice(0, open)),
    parent: Number(parent),
    state,
    command: line.slice(open + 1, close),
  };
}

/** The command line of a process, as far as it is still there. */
export function describe(child: Child): string {
  try {
    const text = Deno.readTextFileSync(`/proc/${child.pid}/cmdline`).replaceAll("\0", " ").trim();
    return `${child.pid} ${(text || child.command).slice(0, 120)}`;
  } catch {
    return `${child.pid} ${child.command}`;
  }
}
