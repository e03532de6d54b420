/**
 * What the HTTP side asks of the agent. The agent (agent.ts) implements it over its modules; nothing
 * in `http/` knows how.
 */

export interface ModuleStatus {
  name: string;
  state: "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND";
  ready: boolean;
  reason: string;
  sync: "synced" | "syncing" | "outdated" | "none";
  generation: number;
  /** addresses that this node holds now */
  vip: string[];
  /** "none": the module has no application */
  application: "none" | "stopped" | "starting" | "running" | "stopping" | "failed";
  peer: {
    node: string;
    /** undefined: not heard */
    state: string | undefined;
    ready: boolean;
    /** milliseconds since it was last heard, over any network */
    heartbeat_ms: number | undefined;
  };
  replication: {
    ops: number;
    bytes: number;
    lag_ops: number;
    ack_us_p50: number | undefined;
    ack_us_p99: number | undefined;
  };
  resync: {
    phase: string;
    files_done: number;
    bytes_compared: number;
    bytes_sent: number;
  } | null;
  checks: { name: string; ok: boolean }[];
  /** the definition on disk is another one than the one that runs: a restart applies it */
  changed: boolean;
  /** findings that stand, sentences */
  warnings: string[];
}

export interface AgentStatus {
  node: string;
  version: string;
  modules: ModuleStatus[];
}

export interface EventEntry {
  /** rises by one with each event of this agent run */
  id: number;
  /** ISO 8601, UTC */
  time: string;
  level: "info" | "warning" | "error";
  /** undefined: the agent itself */
  module: string | undefined;
  text: string;
}

export type Verb = "start" | "stop" | "restart" | "prim" | "second";

export type Outcome =
  | { ok: true; text: string }
  /** `unknown`: no such module; `refused`: it would break a promise; `failed`: it was tried */
  | { ok: false; error: "unknown" | "refused" | "failed"; reason: string };

export interface Facade {
  node: string;
  version: string;
  status(): AgentStatus;
  /** carries an operator's order out; settles when it is done or refused */
  order(module: string, verb: Verb, options: { force: boolean }): Promise<Outcome>;
  /** events with an id above `after`, oldest first, of one module or of all */
  events(after: number, module?: string): EventEntry[];
  /** calls `listener` with every new event until the returned function is called */
  subscribe(listener: (entry: EventEntry) => void): () => void;
}
