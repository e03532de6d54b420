/**
 * The vocabulary of the decisions: what is known of one module on one node, what may happen, and
 * what is to be done about it. Plain data, so that a simulation can drive it.
 */

import type { ModuleRecord } from "../state/record.ts";
import type { Hello as HelloRecord, View } from "./view.ts";

export type State = "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND";
export type Sync = "synced" | "syncing" | "outdated" | "none";
export type Level = "info" | "warning" | "error";

/** What does not change while the module is loaded. Times in milliseconds. */
export interface Settings {
  module: string;
  self: string;
  peer: string;
  /** digest of the module's definition */
  digest: string;
  mode: "auto" | "manual";
  preferred: string | undefined;
  heartbeatTimeout: number;
  ackTimeout: number;
  /** random, new at every start of the agent: names of generations and sessions are made from it */
  seed: string;
  /** the kernel's boot id */
  boot: string;
}

/**
 * Where the module stands on this node:
 * - `stopped`: no data path; the directories are plain
 * - `opening`: the data path mounts over the directories
 * - `waiting`: mounted read-only, no part taken yet
 * - `following`: connected, or connecting again, to a peer that serves
 * - `claiming`: about to serve; the peer is asked to stand back
 * - `raising`: the new generation is being written to disk
 * - `starting`: the data path changes to serving
 * - `serving`: read-write
 * - `yielding`: the data path changes from serving to read-only
 * - `closing`: the data path ends
 */
export type Phase =
  | "stopped"
  | "opening"
  | "waiting"
  | "following"
  | "claiming"
  | "raising"
  | "starting"
  | "serving"
  | "yielding"
  | "closing";

/** What is known of the other node. */
export interface PeerKnowledge {
  /** `unknown` from the agent's start until it was heard, or was silent for the heartbeat timeout */
  contact: "unknown" | "alive" | "silent";
  /** when it was heard last, as far as this was needed */
  heardAt: number;
  /** its account of this module; undefined: never heard, or it does not know the module */
  view: View | undefined;
}

/** A wish to serve, as the peer hears it. */
export interface Claim {
  /** name of the generation to be */
  id: string;
  generation: number;
  /** the operator accepted a loss: the peer stands back even if its data is newer */
  force: boolean;
}

/** How the peer stands in the mirror while this node serves. */
export interface Serving {
  /**
   * - `none`: no peer; changes are acknowledged alone
   * - `admitted`: a hello was accepted, its connection is awaited
   * - `joining`: connected; that the peer may come to hold everything is being written to disk
   * - `linked`: resync
   * - `dropping`: resync, and the data path was told to drop the connection
   * - `synced`: every acknowledgement needs the peer
   * - `resuming`: connected again, changes are held until the data path goes on where it was
   * - `lost`: changes are held until the peer's fate is known
   * - `parting`: changes are held until the next generation is on disk
   * - `releasing`: the data path was told to go on alone
   */
  sink:
    | "none"
    | "admitted"
    | "joining"
    | "linked"
    | "dropping"
    | "synced"
    | "resuming"
    | "lost"
    | "parting"
    | "releasing";
  /** names the connection to the peer; it says "outdated" with reference to this */
  session: string;
  connection: number;
  /** the record that `joining` and `parting` wait for */
  revision: number;
  /** `lost`: when to go on alone whatever the peer does; `admitted`: when to forget it */
  deadline: number;
  /** the data path was told to drop a connection that was in sync, and has not reported that yet */
  dropped: boolean;
  /** `lost`: the peer may connect again and go on where it was */
  resumable: boolean;
  /** `lost`: when to ask the peer to say that it is outdated, where it has not come back */
  askAt: number;
  /** why the peer is not in the mirror, a clause for the status; "" where it never was */
  why: string;
  progress: Progress | undefined;
}

export interface Progress {
  phase: string;
  filesDone: number;
  bytesCompared: number;
  bytesSent: number;
}

/** How this node stands in the mirror while it follows. */
export interface Following {
  /**
   * - `idle`: no connection; `retryAt` says when to dial
   * - `dialing`
   * - `syncing`: connected, not in sync
   * - `marking`: a resync begins; "partial" is being written to disk before anything changes
   * - `noting`: "in sync" is being written to disk
   * - `synced`
   * - `confessing`: "outdated" is being written to disk, then it is said
   */
  link: "idle" | "dialing" | "syncing" | "marking" | "noting" | "synced" | "confessing";
  /** names the connection in use, as the source gave it */
  session: string;
  /** the source's history, as its answer to the hello gave it */
  history: { generation: number; id: string; ancestors: string[] };
  /** the record that `marking`, `noting` and `confessing` wait for */
  revision: number;
  retryAt: number;
  /** when the connection was lost over which this copy was in sync; undefined: it was not */
  lostAt: number | undefined;
  /** when to look next whether the source lives all the same */
  checkAt: number;
  /** current pause between attempts */
  pause: number;
  /** why there is no connection, a clause for the status; "" where that is not known */
  why: string;
}

export type OrderKind = "start" | "stop" | "restart" | "prim" | "second";

/** An operator's command that has not been answered yet. */
export interface Order {
  kind: OrderKind;
  request: number;
  force: boolean;
  since: number;
  /** carried out once this record is on disk; undefined: not that far yet */
  revision: number | undefined;
}

/** Everything that decides about one module on one node. */
export interface ModuleState {
  settings: Settings;
  /** as last handed to the disk */
  record: ModuleRecord;
  /** revision of the record that is known to be on disk */
  stored: number;
  /** the disk refused the record: when to try again, and why it did */
  storing: { retryAt: number; reason: string } | undefined;
  phase: Phase;
  peer: PeerKnowledge;
  serving: Serving | undefined;
  following: Following | undefined;
  claim:
    | (Claim & {
      deadline: number;
      revision: number;
      /** the record as it was, once the claimed generation is being written */
      before: ModuleRecord | undefined;
    })
    | undefined;
  /** claim of the peer that this node stands back for */
  granted: { id: string; revision: number } | undefined;
  /**
   * This node has served or been in sync in this run of the agent, and nothing is known to have been
   * acknowledged without it since.
   */
  unbroken: boolean;
  /** the session with respect to which this node's copy is outdated, and the record that says so */
  outdated: { session: string; revision: number } | undefined;
  /** the session whose peer this node has lost and asks to say "outdated", "" for none */
  lost: string;
  /** the directories hold no files of their own; undefined: not looked at yet */
  empty: boolean | undefined;
  orders: Order[];
  /** what keeps the module from starting or following, a clause for the status */
  trouble: string;
  /** `stopped` after a failure: when to try again */
  retryAt: number | undefined;
  /** `closing`, `yielding`: when to end the data path by force */
  deadline: number | undefined;
  /** the agent ends: the module is closed, but stays wanted */
  leaving: boolean;
  /** both nodes serve, and this was said */
  split: boolean;
  /** counts names and requests made here */
  counter: number;
  /** when to be asked again at the latest, whatever happens */
  wakeAt: number | undefined;
}

export type Event =
  /** The agent has loaded the module. */
  | { kind: "load" }
  /** Time has come to look again, as `wakeAt` asked. `heardAt`: when the peer was heard last. */
  | { kind: "tick"; heardAt: number | undefined }
  /** What kept the module from starting may be over. */
  | { kind: "retry" }
  /** The agent ends. */
  | { kind: "leave" }
  | { kind: "order"; order: OrderKind; request: number; force: boolean }
  /** A heartbeat was heard; `view` undefined: the peer does not know the module. */
  | { kind: "peer"; view: View | undefined }
  | { kind: "peer-silent" }
  | { kind: "stored"; revision: number }
  | { kind: "store-failed"; reason: string }
  | { kind: "inspected"; empty: boolean }
  /** The peer has dialled; answered by an `admit` action with the same request. */
  | { kind: "hello"; request: number; digest: string; hello: HelloRecord }
  /** An accepted connection; `source`: the peer's hello was admitted under `session`. */
  | { kind: "link"; connection: number; role: "source"; session: string }
  /** A dialled connection, with the source's answer. */
  | {
    kind: "link";
    connection: number;
    role: "sink";
    session: string;
    history: Following["history"];
  }
  | { kind: "refused"; code: string; reason: string }
  | { kind: "opened" }
  | { kind: "served" }
  | { kind: "alone" }
  | { kind: "follows" }
  | { kind: "closed" }
  | { kind: "failed"; reason: string }
  | { kind: "link-lost"; role: "source" | "sink"; reason: string; lagging: boolean }
  | { kind: "ack-stalled"; owed: number }
  /** The network that the connection runs over has failed by its heartbeats; another one works. */
  | { kind: "network-down" }
  | { kind: "in-sync" }
  /** Source: the stream goes on over a new connection where the lost one broke off. */
  | { kind: "resumed" }
  | { kind: "sink-in-sync" }
  /** `paused`: a resync begins, nothing is applied until `noted`; else an operation failed here. */
  | { kind: "sink-outdated"; reason: string; paused: boolean }
  | { kind: "progress"; progress: Progress };

/** What a refused connection is refused for, where the dialling node acts on it. */
export type RefusalWord =
  /** not now: dial again at once */
  | "busy"
  /** say durably that this copy is outdated, then dial again */
  | "confess"
  /** the source does not serve */
  | "not-serving"
  /** the definitions differ */
  | "definition"
  /** the sink's history is not part of the source's */
  | "forked"
  /** the sink holds files that were never mirrored */
  | "unmirrored";

export type Action =
  /** Starts the data path and mounts. */
  | { kind: "open" }
  | { kind: "serve" }
  | { kind: "release" }
  | { kind: "yield" }
  | { kind: "close" }
  /** Ends a data path that does not end by itself, and detaches its mounts. */
  | { kind: "abort"; reason: string }
  | { kind: "attach"; connection: number }
  | { kind: "detach"; reason: string }
  | { kind: "noted" }
  /** Closes a connection that is not wanted after all. */
  | { kind: "discard"; connection: number }
  | { kind: "dial"; hello: HelloRecord }
  | {
    kind: "admit";
    request: number;
    answer:
      | { accept: true; session: string; history: Following["history"] }
      | { accept: false; word: RefusalWord; reason: string };
  }
  | { kind: "store"; record: ModuleRecord }
  /** Looks whether the directories hold anything. */
  | { kind: "inspect" }
  /** Tells the peer now, not at the next heartbeat. */
  | { kind: "announce" }
  | { kind: "answer"; request: number; ok: boolean; reason: string }
  | { kind: "event"; level: Level; text: string };
