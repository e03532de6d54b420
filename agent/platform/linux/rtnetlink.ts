/**
 * rtnetlink messages as data (rtnetlink(7)): what asks for links and addresses, what adds and removes
 * an address, and what comes back. Sockets are elsewhere. Numbers are in host order, little-endian on
 * every machine Understudy runs on.
 */

import type { Network } from "../ip.ts";

// linux/netlink.h
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const NLM_F_DUMP = 0x300;
const NLM_F_DUMP_INTR = 0x10;
const headerSize = 16;

// linux/rtnetlink.h
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

// linux/if_link.h, linux/if_addr.h
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const foreverSeconds = 0xffffffff; // INFINITY_LIFE_TIME

/** Interface flags (linux/if.h). */
export const IFF = { UP: 0x1, LOOPBACK: 0x8, NOARP: 0x80, LOWER_UP: 0x10000 } as const;
/** Address flags (linux/if_addr.h). */
export const IFA_F = { SECONDARY: 0x1, DADFAILED: 0x8, TENTATIVE: 0x40 } as const;
/** ARPHRD_ETHER (linux/if_arp.h) */
export const etherType = 1;

const families = { 4: 2, 6: 10 } as const; // AF_INET, AF_INET6

export interface LinkInfo {
  index: number;
  name: string;
  /** hardware address; empty where it has none */
  mac: Uint8Array;
  /** ARPHRD_*, 1 for Ethernet */
  type: number;
  flags: number;
  mtu: number;
}

export interface AddressInfo extends Network {
  /** index of the interface */
  index: number;
  /** IFA_F_* */
  flags: number;
}

export type Reply =
  | { kind: "link"; seq: number; link: LinkInfo }
  | { kind: "address"; seq: number; address: AddressInfo }
  /** `errno` 0 is an acknowledgement, else positive */
  | { kind: "result"; seq: number; errno: number }
  /** the end of a list; interrupted: it changed meanwhile and must be asked for again */
  | { kind: "done"; seq: number; interrupted: boolean }
  | { kind: "other"; seq: number };

function message(type: number, flags: number, seq: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerSize + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, NLM_F_REQUEST | flags, true);
  view.setUint32(8, seq, true);
  bytes.set(body, headerSize);
  return bytes;
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}

function attribute(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(aligned(4 + data.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + data.length, true);
  view.setUint16(2, type, true);
  bytes.set(data, 4);
  return bytes;
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function concat(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Asks for all interfaces. */
export function encodeGetLinks(seq: number): Uint8Array {
  return message(RTM_GETLINK, NLM_F_DUMP, seq, new Uint8Array(16)); // struct ifinfomsg
}

/** Asks for all addresses. */
export function encodeGetAddresses(seq: number): Uint8Array {
  return message(RTM_GETADDR, NLM_F_DUMP, seq, new Uint8Array(8)); // struct ifaddrmsg
}

function addressBody(network: Network, index: number): Uint8Array {
  const body = new Uint8Array(8); // struct ifaddrmsg
  body[0] = families[network.family];
  body[1] = network.prefix;
  new DataView(body.buffer).setUint32(4, index, true);
  return concat(
    body,
    attribute(IFA_LOCAL, network.bytes),
    attribute(IFA_ADDRESS, network.bytes),
  );
}

/** The broadcast address of an IPv4 network; undefined where it has none. */
export function broadcastOf(network: Network): Uint8Array | undefined {
  if (network.family !== 4 || network.prefix > 30) return undefined;
  return network.bytes.map((byte, i) =>
    byte | 0xff >> Math.min(8, Math.max(0, network.prefix - 8 * i))
  );
}

/**
 * Adds an address. An IPv6 one is usable at once, because whoever adds it has looked for duplicates,
 * and deprecated, so that connections going out never choose an address that may move away.
 */
export function encodeAddAddress(seq: number, network: Network, index: number): Uint8Array {
  const broadcast = broadcastOf(network);
  const extra = network.family === 6
    ? [
      attribute(IFA_FLAGS, words(IFA_F_NODAD)),
      attribute(IFA_CACHEINFO, words(0, foreverSeconds, 0, 0)), // preferred, valid, two stamps
    ]
    : broadcast
    ? [attribute(IFA_BROADCAST, broadcast)]
    : [];
  const flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  return message(RTM_NEWADDR, flags, seq, concat(addressBody(network, index), ...extra));
}

/** Removes an address. */
export function encodeRemoveAddress(seq: number, network: Network, index: number): Uint8Array {
  return message(RTM_DELADDR, NLM_F_ACK, seq, addressBody(network, index));
}

/** The messages of one datagram; what is cut short is left out. */
export function decodeReplies(datagram: Uint8Array): Reply[] {
  const replies: Reply[] = [];
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  for (let at = 0; at + headerSize <= datagram.length;) {
    const length = view.getUint32(at, true);
    if (length < headerSize || at + length > datagram.length) break;
    const body = datagram.subarray(at + headerSize, at + length);
    replies.push(
      decode(
        view.getUint16(at + 4, true),
        view.getUint16(at + 6, true),
        view.getUint32(at + 8, true),
        body,
      ),
    );
    at += aligned(length);
  }
  return replies;
}

function decode(type: number, flags: number, seq: number, body: Uint8Array): Reply {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  switch (type) {
    case NLMSG_ERROR:
      return { kind: "result", seq, errno: body.length < 4 ? 0 : -view.getInt32(0, true) };
    case NLMSG_DONE:
      return { kind: "done", seq, interrupted: (flags & NLM_F_DUMP_INTR) !== 0 };
    case RTM_NEWLINK: {
      if (body.length < 16) break;
      const attributes = decodeAttributes(body.subarray(16));
      const mtu = attributes.get(IFLA_MTU);
      const link = {
        index: view.getInt32(4, true),
        name: text(attributes.get(IFLA_IFNAME)),
        mac: attributes.get(IFLA_ADDRESS)?.slice() ?? new Uint8Array(),
        type: view.getUint16(2, true),
        flags: view.getUint32(8, true),
        mtu: mtu ? word(mtu) : 0,
      };
      return { kind: "link", seq, link };
    }
    case RTM_NEWADDR: {
      if (body.length < 8) break;
      const family = body[0] === families[4] ? 4 : body[0] === families[6] ? 6 : undefined;
      const attributes = decodeAttributes(body.subarray(8));
      // On a point-to-point link IFA_ADDRESS is the other end's.
      const bytes = (attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS))?.slice();
      if (!family || bytes?.length !== (family === 4 ? 4 : 16)) break;
      const wide = attributes.get(IFA_FLAGS);
      const address = {
        family,
        bytes,
        prefix: body[1],
        index: view.getUint32(4, true),
        flags: wide ? word(wide) : body[2],
      } as AddressInfo;
      return { kind: "address", seq, address };
    }
  }
  return { kind: "other", seq };
}

function decodeAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    attributes.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return attributes;
}

function word(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
}

function text(bytes: Uint8Array | undefined): string {
  return bytes ? new TextDecoder().decode(bytes).replace(/\0.*$/s, "") : "";
}
