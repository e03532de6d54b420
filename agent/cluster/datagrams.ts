/** The heartbeats' sockets: one for each own address, so that each network is probed on its own. */

import { POLLIN } from "../platform/linux/constants.ts";
import { allocate } from "../platform/linux/libc.ts";
import type { RefusalCode } from "./events.ts";
import type { LinkContext } from "./links.ts";
import { maxPacketBytes } from "./packet.ts";
import {
  type IpAddress,
  readSockaddr,
  sockaddrBytes,
  sockaddrIs,
  writeSockaddr,
} from "./sockets.ts";

export interface Datagrams {
  /** Sends to a peer over a network; what cannot be sent is lost, as it might be on the way. */
  send(peer: string, network: number, bytes: Uint8Array): void;
  /** Takes in what has arrived. */
  receive(): void;
  close(): void;
}

/**
 * Datagrams taken from one socket in one turn. A backlog of many intervals fits; a flood leaves time
 * for everything else.
 */
const datagramsPerTurn = 256;

const advice: Partial<Record<RefusalCode, string>> = {
  "unknown-node": "no node of the configuration has this address on this network, or another name",
  "wrong-secret": "the secret differs: copy the cluster's secret file to all nodes",
  version: "another protocol version: run the same version of Understudy on all nodes",
  garbage: "not a heartbeat",
  malformed: "its content makes no sense: run the same version of Understudy on all nodes",
};

/**
 * Opens the sockets.
 *
 * @param heard takes what comes from a peer's own address; returns why it was refused
 */
export function openDatagrams(
  context: LinkContext,
  own: readonly IpAddress[],
  heard: (peer: string, network: number, bytes: Uint8Array) => RefusalCode | undefined,
): Datagrams {
  const { libc, poller, sockets, port } = context;
  const outgoing = allocate(maxPacketBytes + sockaddrBytes);
  // One byte more than allowed: a longer datagram is cut there, and seen to be too long.
  const incoming = allocate(maxPacketBytes + 1);
  const source = allocate(64);
  const lengthAt = 32;

  const fds: number[] = [];
  try {
    for (const address of own) fds.push(sockets.udp(address, port));
  } catch (error) {
    for (const fd of fds) sockets.close(fd);
    throw error;
  }
  // A peer sends on all networks at once: what wakes this thread on one is followed by the others.
  const watches = fds.map((fd) => poller.watch(fd, POLLIN, receive));

  function refuse(code: RefusalCode): void {
    const address = readSockaddr(source, 0);
    context.throttle.note(address, `heartbeat ${code}`, (count) =>
      context.onEvent({
        kind: "heartbeat-refused",
        level: "warning",
        code,
        address,
        count,
        text: `A heartbeat from ${address} was refused: ${advice[code] ?? code}.` +
          (count > 1 ? ` (${count} times)` : ""),
      }));
  }

  function take(network: number): void {
    for (let taken = 0; taken < datagramsPerTurn; taken++) {
      source.view.setUint32(lengthAt, sockaddrBytes, true);
      const length = libc.sys.recvfrom(
        fds[network],
        incoming.address,
        maxPacketBytes + 1,
        0,
        source.address,
        source.address + lengthAt,
      );
      // An error is one datagram's (an ICMP answer to it); the next poll shows whether more is there.
      if (length < 0) return;
      let peer: string | undefined;
      for (const [name, networks] of context.peers) {
        const remote = networks[network]?.remote;
        if (remote && sockaddrIs(source, 0, remote)) peer = name;
      }
      const refusal = peer === undefined
        ? "unknown-node"
        : heard(peer, network, incoming.bytes.subarray(0, length));
      if (refusal !== undefined) refuse(refusal);
    }
  }

  function receive(): void {
    for (let network = 0; network < fds.length; network++) take(network);
  }

  return {
    send(peer, network, bytes) {
      const remote = context.peers.get(peer)?.[network]?.remote;
      if (!remote) return;
      outgoing.bytes.set(bytes, sockaddrBytes);
      const length = writeSockaddr(outgoing, 0, remote, port);
      const at = outgoing.address;
      libc.sys.sendto(fds[network], at + sockaddrBytes, bytes.length, 0, at, length);
    },
    receive,
    close() {
      for (const watch of watches) watch.remove();
      for (const fd of fds) sockets.close(fd);
    },
  };
}
