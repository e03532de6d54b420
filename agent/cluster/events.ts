/** What the cluster link reports: each event with its facts, and a sentence for people. */

/** Why a connection or a heartbeat was turned away, by whichever side did it. */
export const refusalCodes = [
  /** nothing answered: no route, no host, or the network is down */
  "unreachable",
  /** the host answered that nobody listens there */
  "connection-refused",
  /** connected, then silence until the deadline */
  "silent",
  /** the other side closed before the handshake was through */
  "closed",
  /** not Understudy: a scanner, another protocol, garbage */
  "garbage",
  /** another protocol version */
  "version",
  /** one node has `encryption = "on"`, the other "off" */
  "encryption",
  /** the other side holds another cluster secret */
  "wrong-secret",
  /** a hello beyond its limit */
  "oversized",
  /** a hello or a view that cannot be read although the secret is right */
  "malformed",
  /** a node name that the configuration does not hold, or not at this address */
  "unknown-node",
  /** too many unfinished connections at once */
  "busy",
  /** understood and turned down by the agent: another definition, wrong state and so on */
  "rejected",
  /** this node itself cannot: OpenSSL refuses, out of descriptors, closing */
  "local",
] as const;

export type RefusalCode = (typeof refusalCodes)[number];

interface Base {
  level: "info" | "warning" | "error";
  /** one sentence, with what to do about it where something can be done */
  text: string;
}

export type ClusterEvent =
  & Base
  & (
    | { kind: "peer-up"; peer: string; instance: string }
    /** Nothing was heard on any network for `heartbeat.timeout`. */
    | { kind: "peer-silent"; peer: string; silentMs: number }
    | { kind: "network-up"; peer: string; network: number; local: string; remote: string }
    | {
      kind: "network-down";
      peer: string;
      network: number;
      local: string;
      remote: string;
      /** what fails: the peer is not heard, it does not hear this node, or both */
      direction: "incoming" | "outgoing" | "both";
    }
    /** The peer's agent is another process than before. */
    | { kind: "instance-changed"; peer: string; before: string; after: string }
    /** Two agents on the network carry the same node name. */
    | { kind: "duplicate-node"; node: string; address: string }
    /** An own address of the configuration is not on this host (yet). */
    | { kind: "address-missing"; address: string }
    /** OpenSSL is missing: the main thread encrypts, slower. */
    | { kind: "encryption-relayed" }
    /** The view is too large or malformed: heartbeats go out without it. */
    | { kind: "view-unsent" }
    /** A connection was turned away. Rate limited by source: `count` of them since the last event. */
    | {
      kind: "link-refused";
      side: "accept" | "dial";
      code: RefusalCode;
      address: string;
      peer: string | undefined;
      count: number;
    }
    /** Heartbeats were turned away. Rate limited by source, as above. */
    | { kind: "heartbeat-refused"; code: RefusalCode; address: string; count: number }
  );

/** An error of the cluster link that ends what the caller asked for. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
}
