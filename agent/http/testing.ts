/** An agent that is none, for tests of what stands in front of it. */

import type { EventEntry, Facade, ModuleStatus, Outcome } from "./facade.ts";

/** A token as `init` makes them. */
export const token = "c2VjcmV0LXRva2VuLWZvci10ZXN0cw==";

/** A module in sync, with `changes`. */
export function moduleStatus(changes: Partial<ModuleStatus> = {}): ModuleStatus {
  return {
    name: "shop",
    state: "PRIM",
    ready: true,
    reason: "mirrored to beta",
    sync: "synced",
    generation: 7,
    vip: [],
    application: "none",
    peer: { node: "beta", state: "SECOND", ready: true, heartbeat_ms: 12 },
    replication: { ops: 1234, bytes: 5678, lag_ops: 0, ack_us_p50: 80, ack_us_p99: 400 },
    resync: null,
    checks: [],
    changed: false,
    warnings: [],
    ...changes,
  };
}

export interface FakeFacade extends Facade {
  modules: ModuleStatus[];
  entries: EventEntry[];
  /** orders that arrived */
  orders: { module: string; verb: string; force: boolean }[];
  /** what an order comes to */
  outcome: Outcome;
  /** how many listen */
  readonly listeners: number;
  add(text: string, module?: string, level?: EventEntry["level"]): EventEntry;
}

export function fakeFacade(modules: ModuleStatus[] = [moduleStatus()]): FakeFacade {
  const listeners = new Set<(entry: EventEntry) => void>();
  const fake: FakeFacade = {
    node: "alpha",
    version: "0.1.0",
    modules,
    entries: [],
    orders: [],
    outcome: { ok: true, text: "done as ordered" },
    get listeners() {
      return listeners.size;
    },
    status: () => ({ node: "alpha", version: "0.1.0", modules: fake.modules }),
    order(module, verb, { force }) {
      fake.orders.push({ module, verb, force });
      return Promise.resolve(fake.outcome);
    },
    events: (after, module) =>
      fake.entries.filter((e) => e.id > after && (module === undefined || e.module === module)),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    add(text, module, level = "info") {
      const id = fake.entries.length + 1;
      const entry = { id, time: `2026-01-02T03:04:0${id % 10}.000Z`, level, module, text };
      fake.entries.push(entry);
      for (const listener of listeners) listener(entry);
      return entry;
    },
  };
  return fake;
}
