/**
 * The cluster link of one node, on the agent's main thread: heartbeats with every peer over every
 * network, and the connections that the data paths use.
 */

import type { Libc } from "../platform/linux/libc.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import type { NodeConfig } from "../config/types.ts";
import { watchAddresses } from "./addresses.ts";
import { startAccepting } from "./accept.ts";
import { openDatagrams } from "./datagrams.ts";
import { dial, probe } from "./dial.ts";
import { ClusterError, type ClusterEvent, type RefusalCode } from "./events.ts";
import { createHeartbeat } from "./heartbeat.ts";
import type { Hello } from "./hello.ts";
import type { Side } from "./handshake.ts";
import { type ClusterKeys, deriveKeys } from "./keys.ts";
import type { LinkContext, Network } from "./links.ts";
import { freeTlsContext, openTlsContext } from "./openssl.ts";
import { maxNetworks, nonceBytes } from "./packet.ts";
import { createPoller } from "./poller.ts";
import { createRelay } from "./relay.ts";
import { createSockets, parseAddress, type Sockets } from "./sockets.ts";
import { createThrottle } from "./throttle.ts";
import { opensslWire, type Wire, type WireContext } from "./wire.ts";
import type { ModuleView, PeerView } from "./view.ts";

export type { Hello } from "./hello.ts";

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
  /**
   * Milliseconds. `ack_timeout` (default 10,000): sent bytes may stay unacknowledged by the peer's
   * kernel for that long and `timeout` on top before the kernel gives a link up.
   */
  heartbeat: { interval: number; timeout: number; ack_timeout?: number };
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
  /** for a whole handshake, either side, ms; default 5,000 */
  deadlineMs?: number;
  /** who encrypts; default: OpenSSL, and the relay where OpenSSL is missing */
  tls?: "openssl" | "relay";
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
  /**
   * Ends everything. Links that were handed over stay with their owners, except relayed ones: they
   * end, for this thread carries them.
   */
  close(): Promise<void>;
}

const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (id) => clearTimeout(id),
};

/** One report of the same refusal of the same source in this time, ms. */
const reportWindow = 10_000;
/** Default of `deadlineMs`. */
const handshakeDeadline = 5_000;
/** Default time of a probe, ms. */
const probeTimeout = 1_000;

/** Between two looks at the host's own addresses, ms. */
const addressInterval = 5_000;

/** The networks between this node and each of the others. */
function pairUp(options: ControlOptions): Map<string, Network[]> {
  const self = options.nodes.find((node) => node.name === options.node);
  if (!self) {
    throw new ClusterError(
      `Node ${options.node} is not in the configuration: add it to [[nodes]], or name this node ` +
        `with --node`,
    );
  }
  const peers = new Map<string, Network[]>();
  for (const { name, addresses } of options.nodes) {
    if (name === self.name) continue;
    const count = Math.min(self.addresses.length, addresses.length, maxNetworks);
    const networks = Array.from({ length: count }, (_, network): Network => {
      const local = parseAddress(self.addresses[network]);
      const remote = parseAddress(addresses[network]);
      if (local.family !== remote.family) {
        throw new ClusterError(
          `Network ${network + 1} joins ${local.text} of ${self.name} and ${remote.text} of ` +
            `${name}: both addresses of a network must be IPv4, or both IPv6`,
        );
      }
      return { network, local, remote };
    });
    peers.set(name, networks);
  }
  return peers;
}

/** Who puts TLS over a connection. */
interface TlsDriver {
  name: "openssl" | "relay";
  /** what people should know about it */
  warning: ClusterEvent | undefined;
  secure(context: WireContext, fd: number, side: Side): Promise<Wire>;
  close(): Promise<void> | void;
}

function chooseTls(
  { tls }: ControlOptions,
  sockets: Sockets,
  { identity }: ClusterKeys,
): TlsDriver {
  let why = "it was not asked for";
  if (tls !== "relay") {
    try {
      const context = openTlsContext(identity);
      return {
        name: "openssl",
        warning: undefined,
        secure: (wireContext, fd, side) => opensslWire(wireContext, context, fd, side),
        close: () => freeTlsContext(context),
      };
    } catch (error) {
      if (!(error instanceof ClusterError) || tls === "openssl") throw error;
      why = error.message;
    }
  }
  const relay = createRelay(sockets, identity);
  return {
    name: "relay",
    warning: {
      kind: "encryption-relayed",
      level: "warning",
      text: `Replication is encrypted by the agent's main thread instead of OpenSSL, and slower ` +
        `for it: ${why}.`,
    },
    secure: (wireContext, fd, side) => relay.wire(wireContext, fd, side),
    close: () => relay.close(),
  };
}

/**
 * Starts the cluster link. Throws {@link ClusterError} or SystemError where the port, the addresses
 * or the encryption cannot be had.
 */
export function createControl(options: ControlOptions): Control {
  const { libc, node, port, onEvent } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? ((length) => crypto.getRandomValues(new Uint8Array(length)));
  const now = () => clock.now();
  const keys = deriveKeys(options.secret);
  const instance = random(nonceBytes).toHex();
  const peers = pairUp(options);
  const own = options.nodes.find((each) => each.name === node)!.addresses.map(parseAddress);
  const sockets = createSockets(libc);
  const throttle = createThrottle(reportWindow, now);
  const closer = new AbortController();
  const dials = new Set<Promise<unknown>>();

  const encryption = options.encryption === "off" ? undefined : chooseTls(options, sockets, keys);
  const poller = createPoller(libc);

  const links: LinkContext = {
    libc,
    poller,
    sockets,
    clock,
    node,
    instance,
    port,
    peers,
    deadlineMs: options.deadlineMs ?? handshakeDeadline,
    failAfterMs: (options.heartbeat.ack_timeout ?? 10_000) + options.heartbeat.timeout,
    handshake: (wireContext) => ({
      encryption: options.encryption,
      key: keys.link,
      random,
      secure: (wire, side) => encryption!.secure(wireContext, wire.handOver().fd, side),
    }),
    throttle,
    onEvent,
    onHello: options.onHello,
    onLink: options.onLink,
    closing: () => closer.signal.aborted,
  };

  const undo: (() => void | Promise<void>)[] = [];
  async function close(): Promise<void> {
    if (closer.signal.aborted) return;
    closer.abort();
    await Promise.all(undo.map((step) => step()));
    await Promise.all(dials);
    await encryption?.close();
    await poller.close();
  }

  try {
    const datagrams = openDatagrams(links, own, (peer, network, bytes) => {
      return heartbeat.receive(peer, network, bytes);
    });
    undo.push(() => datagrams.close());
    const heartbeat = createHeartbeat({
      node,
      instance,
      key: keys.heartbeat,
      interval: options.heartbeat.interval,
      timeout: options.heartbeat.timeout,
      peers: [...peers].map(([name, networks]) => ({
        node: name,
        networks: networks.map(({ network, local, remote }) => ({
          network,
          local: local.text,
          remote: remote.text,
        })),
      })),
      view: options.view,
      transmit: datagrams.send,
      onEvent,
      onView: options.onView,
      now,
      random,
    });
    const acceptor = startAccepting(links, own);
    undo.push(() => acceptor.close());

    const addresses = watchAddresses(own, onEvent);
    let looked = -Infinity;
    let due = now();
    const beat = () => {
      due = Math.max(due + options.heartbeat.interval, now());
      timer = clock.setTimeout(beat, due - now());
      // What waits in the sockets is heard before anybody is judged silent.
      datagrams.receive();
      heartbeat.tick();
      throttle.flush();
      if (now() - looked >= addressInterval) {
        looked = now();
        addresses.look();
      }
    };
    let timer = clock.setTimeout(() => {
      beat();
      if (encryption?.warning) onEvent(encryption.warning);
    }, 0);
    undo.push(() => clock.clearTimeout(timer));

    return {
      instance,
      encryption: encryption?.name ?? "off",
      peers: () => heartbeat.peers(),
      peer: (name) => heartbeat.peer(name),
      announce() {
        if (!closer.signal.aborted) heartbeat.announce();
      },
      async dial(peer, module, hello, dialOptions = {}) {
        const { signal } = dialOptions;
        const either = signal ? AbortSignal.any([signal, closer.signal]) : closer.signal;
        const works = (network: number) => heartbeat.peer(peer)?.networks[network]?.up ?? false;
        const running = dial(links, peer, module, hello, works, { ...dialOptions, signal: either });
        dials.add(running);
        try {
          return await running;
        } finally {
          dials.delete(running);
        }
      },
      async probe(peer, timeoutMs = probeTimeout) {
        const running = probe(links, peer, timeoutMs, closer.signal);
        dials.add(running);
        try {
          return await running;
        } finally {
          dials.delete(running);
        }
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
