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
  // The worker sleeps in poll(2); a message alone does not wake it. eventfd(2) adds up what is written:
  // one for each message, so that the worker knows how many are under way.
  const count = allocate(128);
  let wakeFd = -1;
  let unannounced = 0;
  const announce = () => {
    if (wakeFd < 0 || unannounced === 0) return;
    count.view.setBigUint64(0, BigInt(unannounced), true);
    unannounced = 0;
    libc.sys.write(wakeFd, count.address, 8);
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
      announce();
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
      unannounced++;
      announce();
    },
    abort() {
      if (ended) return;
      // Its thread may stand in a system call and use the descriptor later: it stays open.
      ended = true;
      worker.terminate();
    },
  };
}
