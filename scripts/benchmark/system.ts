/** What every system under comparison offers to the cases. */

import type { Cleanup } from "./host.ts";

/** In the order of the columns, as given to `--systems`. */
export const systemNames = [
  "ext4",
  "passthrough",
  "passthrough-mt",
  "glusterfs",
  "understudy",
  "understudy-plain",
  "understudy-fsync",
] as const;

export type SystemName = typeof systemNames[number];

export interface System {
  name: SystemName;
  /** heading of its column */
  title: string;
  /** one line on version and settings, printed under the table */
  settings: string;
  /** the directory that the workload uses, as seen by `run` */
  directory: string;
  /** names of cases that it cannot run, as `settings` explains */
  cannot: string[];
  /** Runs a program where the directory is visible, and returns what it printed. */
  run(command: string[]): Promise<string>;
  /** Waits until the system has settled after a case; throws where it is not what it was at the start. */
  settle(): Promise<void>;
}

/** Where a system may put things, and how it says what it does. */
export interface Bench {
  /** on the file system under test; removed after everything has ended */
  directory: string;
  cleanup: Cleanup;
  say(text: string): void;
}
