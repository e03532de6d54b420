/**
 * Heartbeats: who is alive, over which networks, and what it says of itself. No sockets and no timers
 * here: packets and ticks come in, packets and events go out, and time is what the caller says it is.
 *
 * What is believed must be fresh, and clocks prove nothing. So every agent has a random instance, and
 * each side sets each instance of the other a random challenge. Only packets that return it count:
 * they were made by that instance after it heard this one. Within an instance the sequence numbers
 * only rise. A recording of packets can therefore not be played back: neither to an agent that has
 * heard them, nor to one that was started later.
 */

import type { ClusterEvent, RefusalCode } from "./events.ts";
import type { PeerStatus } from "./control.ts";
import { createMac } from "./mac.ts";
import { decodePacket, encodePacket, type HeartbeatPacket, nonceBytes, noNonce } from "./packet.ts";
import {
  type Contact,
  createPeer,
  heardWithin,
  type Link,
  maxAnswers,
  networkEvents,
  noteArrival,
  type Peer,
  peerStatus,
} from "./peer.ts";
import { decodeView, encodeView, type ModuleView, type PeerView } from "./view.ts";

export interface HeartbeatOptions {
  node: string;
  /** 32 hexadecimal digits */
  instance: string;
  key: Uint8Array;
  /** milliseconds */
  interval: number;
  timeout: number;
  peers: { node: string; networks: { network: number; local: string; remote: string }[] }[];
  view(): ModuleView[];
  transmit(peer: string, network: number, bytes: Uint8Array<ArrayBuffer>): void;
  onEvent(event: ClusterEvent): void;
  onView(peer: string, view: PeerView): void;
  /** monotonic milliseconds */
  now(): number;
  random(length: number): Uint8Array;
}

export interface Heartbeat {
  /** Takes a datagram that came from this peer's address on this network; says why it was refused. */
  receive(peer: string, network: number, bytes: Uint8Array): RefusalCode | undefined;
  /** Judges who is silent and sends a round. What has arrived must have been taken in before. */
  tick(): void;
  /** Sends a round out of turn. */
  announce(): void;
  peers(): PeerStatus[];
  peer(name: string): PeerStatus | undefined;
}

/** Instances that are being challenged at once: one is normal, replayed packets add more. */
const maxCandidates = 4;

export function createHeartbeat(options: HeartbeatOptions): Heartbeat {
  const mac = createMac(options.key);
  const { node, instance, interval, timeout, now, onEvent } = options;
  const startedAt = now();
  const peers = new Map(
    options.peers.map((peer) => [peer.node, createPeer(peer.node, peer.networks, startedAt)]),
  );

  let round = 0;
  let ticked = startedAt;
  let viewProblem = "";

  /** Mostly nothing has changed since the last time. */
  let viewText = "";
  let viewBytes: Uint8Array | undefined;

  function ownView(): Uint8Array | undefined {
    const view = { node, instance, modules: options.view() };
    const text = JSON.stringify(view);
    if (text === viewText) return viewBytes;
    viewText = text;
    const bytes = encodeView(view);
    const problem = typeof bytes === "string" ? bytes : "";
    if (problem !== "" && problem !== viewProblem) {
      onEvent({ kind: "view-unsent", level: "error", text: `${problem}.` });
    }
    viewProblem = problem;
    return viewBytes = typeof bytes === "string" ? undefined : bytes;
  }

  function send(
    peer: Peer,
    link: Link,
    to: Contact | undefined,
    view: Uint8Array | undefined,
  ): void {
    const time = now();
    const heard = peer.links.reduce(
      (mask, each) => heardWithin(each.heardAt, time, timeout) ? mask | (1 << each.network) : mask,
      0,
    );
    const packet = encodePacket({
      network: link.network,
      node,
      instance,
      challenge: to?.challenge ?? noNonce,
      response: to?.theirs ?? noNonce,
      sequence: ++link.sequence,
      round,
      sentAt: time,
      echo: link.peerClock,
      heldMs: link.heardAt === undefined ? 0 : time - link.heardAt,
      heard: heard >>> 0,
      view,
    }, mac);
    options.transmit(peer.node, link.network, packet);
  }

  function sendRound(): void {
    round++;
    const view = ownView();
    for (const peer of peers.values()) {
      for (const link of peer.links) {
        send(peer, link, peer.contact ?? peer.candidates.at(-1), view);
      }
    }
  }

  /** Lets the peer go on with the handshake without waiting for the next tick. */
  function answer(peer: Peer, link: Link, contact: Contact): void {
    if (peer.answers <= 0) return;
    peer.answers--;
    round++;
    send(peer, link, contact, ownView());
  }

  function adopt(peer: Peer, contact: Contact): void {
    const before = peer.contact?.instance;
    peer.candidates = peer.candidates.filter((each) => each !== contact);
    if (contact.instance === peer.retired) {
      onEvent({
        kind: "duplicate-node",
        level: "error",
        node: peer.node,
        address: peer.links[0]?.remote ?? "",
        text: `Two running agents say that they are ${peer.node}: stop one of them, or give it a ` +
          `name and addresses of its own.`,
      });
    } else if (before !== undefined) {
      onEvent({
        kind: "instance-changed",
        level: "info",
        peer: peer.node,
        before,
        after: contact.instance,
        text: `The agent on ${peer.node} was started again.`,
      });
    }
    peer.retired = before;
    peer.contact = contact;
    peer.lastRound = -1;
    peer.viewBytes = peer.view = peer.viewAt = undefined;
    for (const link of peer.links) {
      link.lastSequence = link.peerClock = 0;
      link.arrivals = [];
      link.outgoing = false;
    }
  }

  function takeView(peer: Peer, bytes: Uint8Array): RefusalCode | undefined {
    const known = peer.viewBytes;
    if (known?.length === bytes.length && known.every((byte, i) => byte === bytes[i])) {
      peer.viewAt = now();
      return undefined;
    }
    const view = decodeView(bytes);
    if (view?.node !== peer.node || view.instance !== peer.contact?.instance) return "malformed";
    peer.viewAt = now();
    peer.viewBytes = bytes;
    peer.view = view;
    options.onView(peer.node, view);
    return undefined;
  }

  function accept(
    peer: Peer,
    link: Link,
    packet: HeartbeatPacket,
  ): RefusalCode | undefined {
    if (packet.sequence <= link.lastSequence) return undefined;
    const time = now();
    noteArrival(link, packet, time);
    peer.heardAt = time;
    if (packet.challenge !== noNonce && peer.contact) peer.contact.theirs = packet.challenge;
    if (!peer.up) {
      peer.up = true;
      peer.upSince = time;
      peer.silentSaid = false;
      onEvent({
        kind: "peer-up",
        level: "info",
        peer: peer.node,
        instance: packet.instance,
        text: `${peer.node} is heard.`,
      });
    }
    // The slower network's copy, or an older packet than what is known.
    if (packet.round <= peer.lastRound) return undefined;
    peer.lastRound = packet.round;
    for (const each of peer.links) each.outgoing = (packet.heard & (1 << each.network)) !== 0;
    return packet.view === undefined ? undefined : takeView(peer, packet.view);
  }

  function judge(time: number): void {
    // Time in which this process stood still (stopped, swapped out, starved) is nobody's silence.
    const stoodStill = Math.max(0, time - ticked - 2 * interval);
    ticked = time;
    const later = (at: number) => Math.min(time, at + stoodStill);
    for (const peer of peers.values()) {
      peer.answers = maxAnswers;
      if (stoodStill > 0) {
        // The peer missed us meanwhile, and will say so until it has heard us again.
        peer.upSince = time;
        peer.listenedSince = later(peer.listenedSince);
        if (peer.heardAt !== undefined) peer.heardAt = later(peer.heardAt);
        for (const link of peer.links) {
          if (link.heardAt !== undefined) link.heardAt = later(link.heardAt);
        }
      }
      const silentMs = time - (peer.heardAt ?? peer.listenedSince);
      if (!peer.silentSaid && silentMs >= timeout) {
        peer.silentSaid = true;
        peer.up = false;
        onEvent({
          kind: "peer-silent",
          level: "warning",
          peer: peer.node,
          silentMs,
          text: peer.heardAt === undefined
            ? `${peer.node} has not been heard since this agent started.`
            : `${peer.node} has been silent on every network for ${
              (silentMs / 1000).toFixed(1)
            } s.`,
        });
      }
      if (!peer.up) continue;
      for (const event of networkEvents(peer, time, interval, timeout)) onEvent(event);
    }
  }

  return {
    receive(name, network, bytes) {
      const peer = peers.get(name);
      const link = peer?.links.find((each) => each.network === network);
      if (!peer || !link) return "unknown-node";
      const packet = decodePacket(bytes, mac);
      if (typeof packet === "string") return packet;
      if (packet.node !== peer.node || packet.instance === instance) return "unknown-node";
      if (packet.network !== network) return "malformed";

      if (packet.instance === peer.contact?.instance) {
        if (packet.response === peer.contact.challenge) return accept(peer, link, packet);
        // It does not know our challenge yet. Its own is not kept: the packet may be an old one.
        answer(peer, link, { ...peer.contact, theirs: packet.challenge });
        return undefined;
      }
      let candidate = peer.candidates.find((each) => each.instance === packet.instance);
      if (candidate && packet.response === candidate.challenge) {
        adopt(peer, candidate);
        const refusal = accept(peer, link, packet);
        answer(peer, link, candidate);
        return refusal;
      }
      if (!candidate) {
        const challenge = options.random(nonceBytes).toHex();
        candidate = { instance: packet.instance, challenge, theirs: noNonce };
        peer.candidates.push(candidate);
        peer.candidates.splice(0, peer.candidates.length - maxCandidates);
      }
      candidate.theirs = packet.challenge;
      answer(peer, link, candidate);
      return undefined;
    },
    tick() {
      judge(now());
      sendRound();
    },
    announce: sendRound,
    peers: () => [...peers.values()].map((peer) => peerStatus(peer, now(), interval, timeout)),
    peer(name) {
      const peer = peers.get(name);
      return peer && peerStatus(peer, now(), interval, timeout);
    },
  };
}
