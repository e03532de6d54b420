/** Puts a module's status together, as `GET /status` shows it. */

import { ackBuckets, ackQuantile, Stat } from "../mirror/stats.ts";
import type { ModuleConfig } from "../config/types.ts";
import type { PeerStatus } from "../cluster/control.ts";
import type { ModuleStatus } from "../http/facade.ts";
import { describe } from "./describe.ts";
import type { ModuleState } from "./types.ts";

/** Readings of the statistics, for figures over the last minute. */
export interface StatHistory {
  /** takes a reading; call it every {@link sampleMs} */
  sample(stats: Float64Array, now: number): void;
  /** the reading of about a minute ago, or the oldest there is */
  minuteAgo(): { at: number; values: Float64Array } | undefined;
  clear(): void;
}

/** How a warning begins that the application does not see the mirror's mount. */
export const notProtected = "not protected: ";

export const sampleMs = 10_000;
const samplesKept = 6;

export function createStatHistory(): StatHistory {
  const samples: { at: number; values: Float64Array }[] = [];
  return {
    sample(stats, now) {
      // A copy: the original is written to by another thread.
      samples.push({ at: now, values: stats.slice(0, Stat.ackHistogram + ackBuckets) });
      if (samples.length > samplesKept) samples.shift();
    },
    minuteAgo: () => samples[0],
    clear: () => void samples.splice(0),
  };
}

export type Definition = "current" | "changed" | "removed";

export interface StatusSources {
  state: ModuleState;
  config: ModuleConfig;
  /** whether its file still is what it runs with */
  definition: Definition;
  warnings: string[];
  stats: Float64Array;
  history: StatHistory;
  peer: PeerStatus | undefined;
}

/** Puts a module's status together. */
export function moduleStatus(sources: StatusSources): ModuleStatus {
  const { state, config, definition, warnings, stats, history, peer } = sources;
  const description = describe(state);
  // What the application writes does not reach the mirror: nothing else is worth saying first.
  const unseen = state.serving && warnings.find((text) => text.startsWith(notProtected));
  const notes = [...warnings];
  if (definition === "changed") {
    notes.push(
      `its file has changed: \`understudy restart ${config.name}\` applies the new definition`,
    );
  } else if (definition === "removed") {
    notes.push(`its file is gone: it runs on as it was until it is stopped`);
  }
  const theirs = peer?.up ? peer.view?.modules.find((m) => m.name === config.name) : undefined;
  const before = history.minuteAgo()?.values;
  const linked = state.serving?.sink === "linked" || state.serving?.sink === "synced";
  return {
    name: config.name,
    state: description.state,
    ready: description.ready,
    reason: unseen ?? description.reason,
    sync: description.sync,
    generation: state.record.generation,
    // Addresses and applications are not managed by this version: see the module's warnings.
    vip: [],
    application: "none",
    peer: {
      node: state.settings.peer,
      state: theirs?.state,
      ready: theirs?.ready ?? false,
      heartbeat_ms: peer?.heardMs === undefined ? undefined : Math.round(peer.heardMs),
    },
    replication: {
      ops: stats[Stat.ops],
      bytes: stats[Stat.bytes],
      lag_ops: linked ? Math.max(0, stats[Stat.lastSeq] - stats[Stat.appliedSeq]) : 0,
      ack_us_p50: ackQuantile(0.5, stats, before),
      ack_us_p99: ackQuantile(0.99, stats, before),
    },
    resync: state.serving?.sink === "linked"
      ? {
        phase: state.serving.progress?.phase ?? "starting",
        files_done: stats[Stat.resyncFiles],
        bytes_compared: stats[Stat.resyncBytesCompared],
        bytes_sent: stats[Stat.resyncBytesSent],
      }
      : null,
    checks: [],
    changed: definition === "changed",
    warnings: notes,
  };
}
