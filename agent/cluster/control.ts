/**
 * The cluster link of one node, on the agent's main thread: heartbeats with every peer over every
 * network, and the connections that the data paths use.
 */

import type { Libc } from "../platform/linux/libc.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import type { NodeConfig } from "../config/types.ts";
import type { ClusterEvent, RefusalCode } from "./events.ts";
import type { ModuleView, PeerView } from "./view.ts";

/** What the dialling node says of itself and of the module. */
export interface Hello {
  /** protocol version of the link */
  protocol: number;
  /** name of the dialling node */
  node: string;
  /** name of the node it means to reach */
  to: string;
  /** the dialling agent's instance: 32 hexadecimal digits */
  instance: string;
  module: string;
  /** sha-256 of the module's definition on the dialling node */
  digest: string;
  /** the part the dialling node plays; the other side plays the other one */
  role: "source" | "sink";
  /** generation record and whatever else the agents compare: JSON, at most 60 KiB in all */
  record: Record<string, unknown>;
}

/** The parts of a {@link Hello} that the dialling agent fills in. */
export type DialHello = Pick<Hello, "digest" | "role" | "record">;

/** The accepting node's answer, as the dialling node sees it. */
export interface HelloReply {
  node: string;
  instance: string;
  record: Record<string, unknown>;
}

/** The accepting agent's decision. `code` travels to the dialling agent for its own use. */
export type HelloAnswer =
  | { accept: true; record: Record<string, unknown> }
  | { accept: false; reason: string; code?: string };

/** A dialled connection that did not come about. */
export interface Refusal {
  kind: "refused";
  code: RefusalCode;
  /** a sentence for people */
  reason: string;
  /** the accepting agent's own code, where it gave one */
  answer: string | undefined;
}

export type DialResult = { kind: "linked"; link: LinkHandle; reply: HelloReply } | Refusal;

/** One network between this node and a peer. */
export interface NetworkStatus {
  /** position in the nodes' `addresses` */
  network: number;
  local: string;
  remote: string;
  /** heard within `heartbeat.timeout`, and so says the peer of us */
  up: boolean;
  /** the peer is heard */
  incoming: boolean;
  /** the peer says that it hears this node */
  outgoing: boolean;
  /** milliseconds since the last heartbeat; undefined = never heard */
  heardMs: number | undefined;
  /** smoothed round trip in milliseconds, without the time the peer held the packet */
  rttMs: number | undefined;
  /** share of the last heartbeats that did not arrive, 0 to 1 */
  loss: number;
}

/** What is known of a peer. */
export interface PeerStatus {
  node: string;
  /** heard on some network within `heartbeat.timeout` */
  up: boolean;
  /** milliseconds since it was last heard on any network; undefined = never */
  heardMs: number | undefined;
  /** the running agent's instance, undefined before it was first heard */
  instance: string | undefined;
  /** its latest view; it stays when the peer falls silent (`up` says so) */
  view: PeerView | undefined;
  /** milliseconds since that view was confirmed by a heartbeat */
  viewMs: number | undefined;
  networks: NetworkStatus[];
}

/** A monotonic clock with timers; milliseconds. Replaced in tests. */
export interface Clock {
  now(): number;
  setTimeout(callback: () => void, ms: number): number;
  clearTimeout(id: number): void;
}

export interface ControlOptions {
  /** opened on the thread that calls {@link createControl} */
  libc: Libc;
  /** this node's name, one of `nodes` */
  node: string;
  nodes: NodeConfig[];
  port: number;
  encryption: "on" | "off";
  /** the cluster secret: see `parseSecret` in keys.ts */
  secret: Uint8Array;
  /** milliseconds */
  heartbeat: { interval: number; timeout: number };
  /** This node's modules as they are now; asked once for every heartbeat. */
  view(): ModuleView[];
  onEvent(event: ClusterEvent): void;
  /** A peer's view, when it differs from the one before. Never goes back to an older one. */
  onView(peer: string, view: PeerView): void;
  /** Decides on a connection. The peer has proven that it knows the secret. */
  onHello(hello: Hello): HelloAnswer | Promise<HelloAnswer>;
  /** Takes an accepted connection over. */
  onLink(link: LinkHandle, hello: Hello): void;
  clock?: Clock;
  /** random bytes; for tests that must replay */
  random?: (length: number) => Uint8Array<ArrayBuffer>;
}

export interface DialOptions {
  /** network to try first */
  preferNetwork?: number;
  /** for everything together; default 5,000 */
  deadlineMs?: number;
  signal?: AbortSignal;
}

/**
 * "open": a peer's address accepts connections. "refused": at least one of them says that nobody
 * listens, and none accepts. "silent": none says anything.
 */
export type ProbeResult = "refused" | "open" | "silent";

export interface Control {
  /** this agent's instance: 32 random hexadecimal digits */
  readonly instance: string;
  /** who encrypts: OpenSSL in the data path's loop, Deno's TLS as a relay, or nobody */
  readonly encryption: "openssl" | "relay" | "off";
  peers(): PeerStatus[];
  /** undefined for a name that is no peer of this node */
  peer(name: string): PeerStatus | undefined;
  /** Sends heartbeats now: this node's view has changed in a way that others wait for. */
  announce(): void;
  /** Connects to a peer for a module. Does not throw: whatever fails is a {@link Refusal}. */
  dial(
    peer: string,
    module: string,
    hello: DialHello,
    options?: DialOptions,
  ): Promise<DialResult>;
  /** Asks whether the peer's addresses accept connections, all networks at once. */
  probe(peer: string, timeoutMs?: number): Promise<ProbeResult>;
  /** Ends everything; links that were handed over stay with their owners. */
  close(): Promise<void>;
}

/** Starts the cluster link. Throws {@link ClusterError} where the port or the keys cannot be had. */
export function createControl(_options: ControlOptions): Control {
  throw new Error("The interface is published ahead of its implementation");
}
