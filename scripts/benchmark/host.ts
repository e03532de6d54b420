/** What a benchmark needs of the machine it runs on: commands, packages, an orderly end. */

/** A command that ended with another status than 0. */
export class CommandError extends Error {
  constructor(
    readonly command: string[],
    readonly code: number,
    readonly stdout: string,
    readonly stderr: string,
  ) {
    const said = (stderr.trim() || stdout.trim()).split("\n").slice(-8).join("\n");
    super(`"${command.join(" ")}" ended with status ${code}: ${said || "no output"}`);
  }
}

/** Runs a command to its end and returns what it printed; throws CommandError where it fails. */
export async function run(
  command: string[],
  options: { env?: Record<string, string>; cwd?: string; signal?: AbortSignal } = {},
): Promise<string> {
  const [program, ...args] = command;
  const output = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!output.success) {
    throw new CommandError(command, output.code, text(output.stdout), text(output.stderr));
  }
  return text(output.stdout);
}

/**
 * Waits until `condition` holds, asking every 50 ms. Throws with `what` after `milliseconds`, and
 * once the undoing has begun.
 */
export async function waitUntil(
  what: string,
  milliseconds: number,
  cleanup: Cleanup,
  condition: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (!await condition()) {
    if (cleanup.begun) throw new EndingError();
    if (performance.now() > deadline) {
      throw new Error(`Waited ${milliseconds / 1000} s in vain: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Installs the Debian packages that are missing, without starting their services. */
export async function needPackages(names: string[]): Promise<void> {
  const library = new URL("../lib.sh", import.meta.url).pathname;
  await run([
    "bash",
    "-c",
    'names=("$@"); . "$0"; ensure_packages "${names[@]}"',
    library,
    ...names,
  ]);
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

/** Nothing more is to be started: the undoing has begun. */
class EndingError extends Error {
  override message = "The benchmark is ending";
}

/** Things to undo, the newest first. */
export interface Cleanup {
  /** Throws once the undoing has begun, so that what is half started starts nothing more. */
  add(what: string, undo: () => Promise<void> | void): void;
  /** Undoes everything once; later calls wait for the first. What fails is said, and the rest goes on. */
  finish(): Promise<void>;
  readonly begun: boolean;
}

export function createCleanup(say: (text: string) => void): Cleanup {
  const steps: { what: string; undo: () => Promise<void> | void }[] = [];
  let finishing: Promise<void> | undefined;
  async function unwind() {
    for (let step = steps.pop(); step; step = steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        say(`could not ${step.what}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
  return {
    add(what, undo) {
      if (finishing) throw new EndingError();
      steps.push({ what, undo });
    },
    finish: () => finishing ??= unwind(),
    get begun() {
      return finishing !== undefined;
    },
  };
}
