/** Starts the processes of a history. */

import type { Process, SpawnOptions } from "../lab/process.ts";
import type { EchoOptions } from "./echo.ts";
import type { Mode } from "./model.ts";
import type { History } from "./oracle.ts";
import { readProgress } from "./progress.ts";
import { deriveSeed } from "./random.ts";
import type { TrafficOptions } from "./traffic.ts";

export interface StartOptions {
  /** starts a program where the directories are, e.g. a host's `spawn` */
  spawn(command: string[], options: SpawnOptions): Promise<Process>;
  seed: number;
  round: number;
  mode: Mode;
  /** writers; the echo process comes on top */
  processes: number;
  /** the mirrored directories, as the processes see them */
  directories: string[];
  /** outside of the mirror, at the same path here and there */
  progressDirectory: string;
}

export interface RunningTraffic {
  history: History;
  /** operations acknowledged so far, over all writers */
  acknowledged(): number;
  /** True while every process runs. */
  readonly running: boolean;
  /** Ends all processes with SIGKILL. */
  kill(): void;
  /** settles when all have ended, with a sentence for each that met an error */
  ended: Promise<{ errors: string[] }>;
}

/** Starts writers and the echo process. */
export async function startTraffic(options: StartOptions): Promise<RunningTraffic> {
  const { seed, round, mode, directories, progressDirectory } = options;
  const program = (name: string, argument: unknown): Promise<Process> => {
    const path = new URL(`./${name}`, import.meta.url).pathname;
    const flags = ["run", "--allow-all", "--no-config", "--no-lock", "--no-remote", "--no-npm"];
    const command = [Deno.execPath(), ...flags, path, JSON.stringify(argument)];
    const log = `${progressDirectory}/r${round}.log`;
    return options.spawn(command, { log, env: { DENO_NO_UPDATE_CHECK: "1" } });
  };
  const traffic = Array.from({ length: options.processes }, (_, process): TrafficOptions => ({
    seed: deriveSeed(seed, round, process),
    process,
    round,
    mode,
    directories,
    progress: `${progressDirectory}/r${round}p${process}`,
  }));
  const echo = `${progressDirectory}/r${round}echo`;
  const echoOptions: EchoOptions = {
    round,
    mode,
    directories,
    processes: options.processes,
    progress: echo,
  };
  const running = await Promise.all([
    ...traffic.map((each) => program("traffic.ts", each)),
    program("echo.ts", echoOptions),
  ]);
  const logs = [...traffic.map(({ progress }) => progress), echo];
  let live = true;
  for (const { status } of running) status.then(() => live = false);
  const ended = Promise.all(running.map(({ status }) => status)).then((statuses) => {
    const errors = statuses.flatMap(({ code, signal }, i) => {
      const who = i < traffic.length ? `Process ${i}` : "The echo process";
      const error = readProgress(logs[i])?.error;
      if (error === 0) return [`${who} of round ${round} had a write cut short`];
      if (error !== undefined) return [`${who} of round ${round} met errno ${error}`];
      if (signal === "SIGKILL" || code === 0) return [];
      return [`${who} of round ${round} ended with ${signal ?? code}: see ${logs[i]}.log`];
    });
    return { errors };
  });
  return {
    history: { traffic, echo },
    acknowledged() {
      return traffic.reduce(
        (sum, each) => sum + (readProgress(each.progress)?.acknowledged ?? 0),
        0,
      );
    },
    get running() {
      return live;
    },
    kill() {
      for (const process of running) process.kill("SIGKILL");
    },
    ended,
  };
}
