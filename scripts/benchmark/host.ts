/** What a benchmark needs of the machine it runs on: packages, deadlines, an orderly end. */

import { run } from "../../tests/lab/process.ts";

/** What a program printed; nothing that a case does takes longer than five minutes. */
export async function output(enter: string[], command: string[]): Promise<string> {
  return (await run(enter, command, { timeout: 300_000 })).stdout;
}

/** Installs the Debian packages that are missing, without starting their services. */
export async function needPackages(names: string[]): Promise<void> {
  const library = new URL("../lib.sh", import.meta.url).pathname;
  const script = 'names=("$@"); . "$0"; ensure_packages "${names[@]}"';
  // With the environment of this process: it may name a proxy.
  const install = new Deno.Command("bash", {
    args: ["-c", script, library, ...names],
    stdin: "null",
    stdout: "null",
  });
  const { success } = await install.spawn().status;
  if (!success) throw new Error(`Cannot install ${names.join(", ")}`);
}

/** Something that did not end in time. */
export class DeadlineError extends Error {}

/** `work`, or a DeadlineError that says what has not ended; `work` itself is left alone. */
export async function withDeadline<T>(
  what: string,
  milliseconds: number,
  work: Promise<T>,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new DeadlineError(`${what} has not ended after ${milliseconds / 1000} s`)),
    milliseconds,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Things to undo, the newest first. */
export interface Cleanup {
  /** Adds a step; one that is added too late, when the undoing has begun, is done at once. */
  add(what: string, undo: () => Promise<void> | void): Promise<void>;
  /** Undoes everything once; later calls wait for the first. What fails is said, and the rest goes on. */
  finish(): Promise<void>;
  readonly begun: boolean;
}

export function createCleanup(say: (text: string) => void): Cleanup {
  type Step = { what: string; undo: () => Promise<void> | void };
  const steps: Step[] = [];
  let finishing: Promise<void> | undefined;
  async function perform({ what, undo }: Step) {
    try {
      await undo();
    } catch (error) {
      say(`could not ${what}: ${messageOf(error)}`);
    }
  }
  async function unwind() {
    for (let step = steps.pop(); step; step = steps.pop()) await perform(step);
  }
  return {
    async add(what, undo) {
      if (!finishing) return void steps.push({ what, undo });
      await perform({ what, undo });
      throw new Error("The benchmark is ending");
    },
    finish: () => finishing ??= unwind(),
    get begun() {
      return finishing !== undefined;
    },
  };
}

/** An error's message with that of its cause. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message + (error.cause ? `: ${messageOf(error.cause)}` : "");
}
