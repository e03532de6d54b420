/** What heartbeats know of a peer and of each network to it, and what that means. */

import type { NetworkStatus, PeerStatus } from "./control.ts";
import type { ClusterEvent } from "./events.ts";
import type { HeartbeatPacket } from "./packet.ts";
import type { PeerView } from "./view.ts";

/** An instance of the peer, with the challenges both sides have set. */
export interface Contact {
  instance: string;
  /** ours, which it must return */
  challenge: string;
  /** its own, which we return */
  theirs: string;
}

/** One network to the peer. */
export interface Link {
  network: number;
  local: string;
  remote: string;
  sequence: number;
  lastSequence: number;
  heardAt: number | undefined;
  /** the peer's clock in the last packet */
  peerClock: number;
  rttMs: number | undefined;
  /** the last heartbeats, newest last: true = arrived */
  arrivals: boolean[];
  /** the peer says that it hears us here */
  outgoing: boolean;
  reported: "up" | "down" | undefined;
}

export interface Peer {
  node: string;
  links: Link[];
  contact: Contact | undefined;
  candidates: Contact[];
  /** the instance before the present one */
  retired: string | undefined;
  up: boolean;
  /** since when both sides have had the time to hear each other */
  upSince: number;
  /** since when this agent listens */
  listenedSince: number;
  heardAt: number | undefined;
  silentSaid: boolean;
  lastRound: number;
  viewBytes: Uint8Array | undefined;
  view: PeerView | undefined;
  viewAt: number | undefined;
  /** answers out of turn that may still be sent before the next tick */
  answers: number;
}

/** Heartbeats that the loss is computed from. */
const lossWindow = 50;
/** Answers out of turn between two ticks: a handshake takes two. */
export const maxAnswers = 4;
/** Share of a new round trip in the smoothed one. */
const smoothing = 1 / 8;

/** A peer that nothing is known of yet. */
export function createPeer(
  node: string,
  networks: { network: number; local: string; remote: string }[],
  now: number,
): Peer {
  return {
    node,
    links: networks.map((network) => ({
      ...network,
      sequence: 0,
      lastSequence: 0,
      heardAt: undefined,
      peerClock: 0,
      rttMs: undefined,
      arrivals: [],
      outgoing: false,
      reported: undefined,
    })),
    contact: undefined,
    candidates: [],
    retired: undefined,
    up: false,
    upSince: now,
    listenedSince: now,
    heardAt: undefined,
    silentSaid: false,
    lastRound: -1,
    viewBytes: undefined,
    view: undefined,
    viewAt: undefined,
    answers: maxAnswers,
  };
}

export function heardWithin(at: number | undefined, now: number, timeout: number): boolean {
  return at !== undefined && now - at < timeout;
}

/** Takes a fresh packet into account: loss, round trip, the peer's clock. */
export function noteArrival(link: Link, packet: HeartbeatPacket, now: number): void {
  if (link.lastSequence > 0) {
    const missed = Math.min(packet.sequence - link.lastSequence - 1, lossWindow);
    for (let i = 0; i < missed; i++) link.arrivals.push(false);
  }
  link.arrivals.push(true);
  link.arrivals.splice(0, link.arrivals.length - lossWindow);
  link.lastSequence = packet.sequence;
  link.heardAt = now;
  link.peerClock = packet.sentAt;
  if (packet.echo > 0) {
    const rtt = Math.max(0, now - packet.echo - packet.heldMs);
    link.rttMs = link.rttMs === undefined ? rtt : link.rttMs + smoothing * (rtt - link.rttMs);
  }
}

/** What has changed on the networks of a peer that is up; remembers that it was said. */
export function networkEvents(
  peer: Peer,
  now: number,
  interval: number,
  timeout: number,
): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  // Until both sides have heard each other for a while, nothing is known of a network.
  const settled = now - peer.upSince >= timeout + 2 * interval;
  for (const link of peer.links) {
    const incoming = heardWithin(link.heardAt, now, timeout);
    const base = {
      peer: peer.node,
      network: link.network,
      local: link.local,
      remote: link.remote,
    };
    const name = `Network ${link.network + 1} (${link.local} to ${link.remote})`;
    if (incoming && link.outgoing) {
      if (link.reported === "down") {
        events.push({
          kind: "network-up",
          level: "info",
          ...base,
          text: `${name} to ${peer.node} works again.`,
        });
      }
      link.reported = "up";
    } else if (settled && link.reported !== "down") {
      link.reported = "down";
      const direction = incoming ? "outgoing" : link.outgoing ? "incoming" : "both";
      const what = {
        incoming: `nothing arrives from ${peer.node}, which hears this node`,
        outgoing: `${peer.node} does not hear this node, which hears it`,
        both: `nothing gets through in either direction`,
      }[direction];
      events.push({
        kind: "network-down",
        level: "warning",
        ...base,
        direction,
        text: `${name} to ${peer.node} has failed: ${what}.`,
      });
    }
  }
  return events;
}

function networkStatus(
  peer: Peer,
  link: Link,
  now: number,
  interval: number,
  timeout: number,
): NetworkStatus {
  const incoming = heardWithin(link.heardAt, now, timeout);
  const outgoing = link.outgoing && heardWithin(peer.heardAt, now, timeout);
  const heardMs = link.heardAt === undefined ? undefined : now - link.heardAt;
  // What should have come since the last one counts as lost too.
  const overdue = heardMs === undefined
    ? 0
    : Math.min(lossWindow, Math.max(0, Math.floor(heardMs / interval - 0.5)));
  const counted = link.arrivals.length + overdue;
  const lost = link.arrivals.filter((arrived) => !arrived).length + overdue;
  return {
    network: link.network,
    local: link.local,
    remote: link.remote,
    up: incoming && outgoing,
    incoming,
    outgoing,
    heardMs,
    rttMs: link.rttMs,
    loss: heardMs === undefined ? 1 : counted === 0 ? 0 : lost / counted,
  };
}

/** The peer as the agent is told of it. */
export function peerStatus(
  peer: Peer,
  now: number,
  interval: number,
  timeout: number,
): PeerStatus {
  return {
    node: peer.node,
    up: peer.up,
    heardMs: peer.heardAt === undefined ? undefined : now - peer.heardAt,
    instance: peer.contact?.instance,
    view: peer.view,
    viewMs: peer.viewAt === undefined ? undefined : now - peer.viewAt,
    networks: peer.links.map((link) => networkStatus(peer, link, now, interval, timeout)),
  };
}
