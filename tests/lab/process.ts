/** Starting programs, in the machine or in a host's namespaces. */

import { waitFor } from "../lib/wait.ts";

export interface Output {
  code: number;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  /** added to a minimal environment: nothing is inherited */
  env?: Record<string, string>;
  stdin?: string | Uint8Array<ArrayBuffer>;
  /** milliseconds until the program is ended with SIGKILL and the call fails; default 60,000 */
  timeout?: number;
  /** false: return whatever the exit code is; default true: another code than 0 fails */
  check?: boolean;
}

export interface SpawnOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** file on the machine that takes standard output and error; default: discarded */
  log?: string;
}

/** A program that was started and runs on. */
export interface Process {
  /** the program's id on the machine */
  readonly pid: number;
  /** settles when the program has ended */
  readonly status: Promise<{ code: number; signal: string | null }>;
  /** Sends a signal; false where the program has ended. */
  kill(signal: Deno.Signal): boolean;
}

/** A program and its arguments, or a line for bash. */
export type CommandLine = string | string[];

const environment = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};

/** Shell text that changes directory and becomes the program. */
const enterDirectory = 'cd "$1" && shift && exec "$@"';

function commandLine(enter: string[], command: CommandLine, cwd: string | undefined): string[] {
  const program = typeof command === "string" ? ["bash", "-c", command] : command;
  if (cwd === undefined) return [...enter, ...program];
  return [...enter, "sh", "-c", enterDirectory, "sh", cwd, ...program];
}

/** Runs a program to its end. `enter` is what to put in front of it, e.g. nsenter and its options. */
export async function run(
  enter: string[],
  command: CommandLine,
  options: RunOptions = {},
): Promise<Output> {
  const { stdin, timeout = 60_000, check = true } = options;
  const [program, ...args] = commandLine(enter, command, options.cwd);
  const child = new Deno.Command(program, {
    args,
    clearEnv: true,
    env: { ...environment, ...options.env },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    for (const pid of [...childrenOf(child.pid), child.pid]) signalProcess(pid, "SIGKILL");
  }, timeout);
  try {
    if (stdin !== undefined) {
      const writer = child.stdin.getWriter();
      const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
      // A program that does not read its input to the end is no failure of ours.
      await writer.write(bytes).then(() => writer.close()).catch(() => writer.abort());
    }
    const { code, signal, stdout, stderr } = await child.output();
    const output: Output = { code, signal, stdout: decode(stdout), stderr: decode(stderr) };
    const shown = typeof command === "string" ? command : command.join(" ");
    if (late) throw new Error(`Not finished after ${timeout} ms: ${shown}\n${output.stderr}`);
    if (check && code !== 0) {
      throw new Error(`Exit ${signal ?? code}: ${shown}\n${output.stdout}${output.stderr}`);
    }
    return output;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts a program that runs on, in a session of its own (so that Ctrl-C in the terminal reaches only
 * the tests). With `nested`, `enter` forks before it becomes the program, as nsenter does for
 * process namespaces.
 */
export async function spawn(
  enter: string[],
  command: CommandLine,
  options: SpawnOptions = {},
  nested = false,
): Promise<Process> {
  const redirect = 'exec >>"$1" 2>&1 && shift && exec "$@"';
  const log = options.log ?? "/dev/null";
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", redirect, "sh", log, ...commandLine(enter, command, options.cwd)],
    clearEnv: true,
    env: { ...environment, ...options.env },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const status = child.status.then(({ code, signal }) => {
    ended = true;
    return { code, signal };
  });
  const pid = nested
    ? await waitFor("the program to start", () => ended ? child.pid : childrenOf(child.pid)[0], {
      interval: 1,
    })
    : child.pid;
  return {
    pid,
    status,
    kill(signal) {
      const sent = !ended && signalProcess(pid, signal);
      // nsenter stops itself when its program is stopped, and would then never see it end.
      if (!ended && nested && (signal === "SIGCONT" || signal === "SIGKILL")) {
        signalProcess(child.pid, "SIGCONT");
      }
      return sent;
    },
  };
}

/** Process ids of a process's children. */
export function childrenOf(pid: number): number[] {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
    return text === "" ? [] : text.split(" ").map(Number);
  } catch {
    return [];
  }
}

/** A process and everything below it, parents first. */
export function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(familyOf)];
}

/** Sends a signal; false where no such process exists. */
export function signalProcess(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    // Deno reports ESRCH as a TypeError in some versions.
    if (error instanceof Error && error.message.includes("ESRCH")) return false;
    throw error;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
