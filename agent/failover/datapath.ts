/** A module's data path as the control thread sees it: commands in, reports out, and its end. */

import type { Command, Report } from "../mirror/messages.ts";
import { allocate, type Libc } from "../platform/linux/libc.ts";

export interface DataPath {
  send(command: Command): void;
  /** Ends the thread whatever it is doing. Its descriptors stay open: end the mounts as well. */
  abort(): void;
}

export interface DataPathOptions {
  libc: Libc;
  onReport(report: Report): void;
  /** The thread has died of an error of its own. */
  onCrash(reason: string): void;
}

/** Longer than a data path that has failed takes to end. */
const lingerMs = 30_000;

/**
 * Starts a data path in a Worker of its own. It ends by itself after it has reported `closed` or
 * `failed`.
 */
export function startDataPath(options: DataPathOptions): DataPath {
  const { libc, onReport, onCrash } = options;
  const worker = new Worker(new URL("../mirror/worker.ts", import.meta.url).href, {
    type: "module",
  });
  // The worker sleeps in poll(2); a message alone does not wake it. eventfd(2) adds what is written.
  const one = allocate(128);
  one.view.setBigUint64(0, 1n, true);
  let wakeFd = -1;
  const wake = () => {
    if (wakeFd >= 0) libc.sys.write(wakeFd, one.address, 8);
  };
  let ended = false;
  const closeWake = () => {
    if (wakeFd >= 0) libc.sys.close(wakeFd);
    wakeFd = -1;
  };
  worker.onmessage = (message: MessageEvent<Report>) => {
    if (ended) return;
    const report = message.data;
    if (report.kind === "ready") {
      wakeFd = report.wakeFd;
      wake();
      return;
    }
    if (report.kind === "closed") {
      ended = true;
      closeWake();
    } else if (report.kind === "failed") {
      ended = true;
      // It may still be taking its mounts away, with this descriptor in its poll.
      Deno.unrefTimer(setTimeout(closeWake, lingerMs));
    }
    onReport(report);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    if (ended) return;
    ended = true;
    worker.terminate();
    onCrash(event.message);
  };
  return {
    send(command) {
      if (ended) return;
      worker.postMessage(command);
      wake();
    },
    abort() {
      if (ended) return;
      // Its thread may stand in a system call and use the descriptor later: it stays open.
      ended = true;
      worker.terminate();
    },
  };
}
