/** What every system under comparison offers to the cases. */

import type { Cleanup } from "./host.ts";

export interface System {
  /** short name, as given to `--systems` */
  name: string;
  /** heading of its column */
  title: string;
  /** one line on version and settings, printed under the table */
  settings: string;
  /** put before a command, runs it where the system's directory is visible */
  enter: string[];
  /** the directory that the workload uses, as seen there */
  directory: string;
  /** names of cases that it cannot run, as `settings` explains */
  cannot: string[];
  /** Waits until the system has settled after a case, e.g. the second copy has caught up. */
  settle(): Promise<void>;
}

/** Where a system may put things, and how it says what it does. */
export interface Bench {
  /** on the file system under test; removed after everything has ended */
  directory: string;
  cleanup: Cleanup;
  say(text: string): void;
  /** Understudy's binary */
  binary: string;
}
