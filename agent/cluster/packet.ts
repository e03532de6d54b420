/**
 * The heartbeat's datagram: a fixed header, the sender's name, its view, and an HMAC over all of it.
 * Numbers are big-endian.
 *
 * | at | bytes | |
 * | --- | --- | --- |
 * | 0 | 4 | `UNDY` |
 * | 4 | 1 | version |
 * | 5 | 1 | network: position of both addresses in the nodes' lists |
 * | 6 | 1 | length of the sender's name |
 * | 7 | 1 | 1 = a view follows, 0 = none |
 * | 8 | 16 | the sending agent's instance |
 * | 24 | 16 | challenge: the receiver proves with it that it is alive now |
 * | 40 | 16 | response: the receiver's own challenge, returned |
 * | 56 | 8 | sequence number on this network |
 * | 64 | 8 | round: the same on all networks; orders the views |
 * | 72 | 8 | sender's clock, ms (double) |
 * | 80 | 8 | receiver's clock in the last packet that the sender had from it here; 0 = none |
 * | 88 | 8 | ms the sender held that packet before this one |
 * | 96 | 4 | networks on which the sender hears the receiver, one bit each |
 * | 100 | 2 | length of the view |
 */

import type { RefusalCode } from "./events.ts";
import { type Mac, macBytes } from "./mac.ts";
import { maxViewBytes } from "./view.ts";

/** First bytes of everything that Understudy sends to another node. */
export const magic: readonly number[] = [0x55, 0x4e, 0x44, 0x59];
/** Version of the heartbeats and of the link; nodes of different versions refuse each other. */
export const protocolVersion = 1;
/** Bytes of instances, challenges and responses. */
export const nonceBytes = 16;
/** Networks that fit into the mask of those that are heard. */
export const maxNetworks = 32;

const headerBytes = 102;
const maxNameBytes = 64;
export const maxPacketBytes = headerBytes + maxNameBytes + maxViewBytes + macBytes;

export interface HeartbeatPacket {
  network: number;
  node: string;
  /** 32 hexadecimal digits, as are challenge and response; all zero = none yet */
  instance: string;
  challenge: string;
  response: string;
  sequence: number;
  round: number;
  sentAt: number;
  echo: number;
  heldMs: number;
  heard: number;
  /** JSON of the sender's view; undefined where it sends none */
  view: Uint8Array | undefined;
}

export const noNonce = "0".repeat(2 * nonceBytes);

export function encodePacket(
  packet: HeartbeatPacket,
  mac: Mac,
): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(packet.node);
  const body = packet.view ?? new Uint8Array(0);
  if (name.length > maxNameBytes || body.length > maxViewBytes) {
    throw new RangeError(`Heartbeat too long: name ${name.length}, view ${body.length} bytes`);
  }
  const bytes = new Uint8Array(headerBytes + name.length + body.length + macBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(magic);
  bytes[4] = protocolVersion;
  bytes[5] = packet.network;
  bytes[6] = name.length;
  bytes[7] = packet.view === undefined ? 0 : 1;
  bytes.set(Uint8Array.fromHex(packet.instance), 8);
  bytes.set(Uint8Array.fromHex(packet.challenge), 24);
  bytes.set(Uint8Array.fromHex(packet.response), 40);
  view.setBigUint64(56, BigInt(packet.sequence));
  view.setBigUint64(64, BigInt(packet.round));
  view.setFloat64(72, packet.sentAt);
  view.setFloat64(80, packet.echo);
  view.setFloat64(88, packet.heldMs);
  view.setUint32(96, packet.heard);
  view.setUint16(100, body.length);
  bytes.set(name, headerBytes);
  bytes.set(body, headerBytes + name.length);
  const end = bytes.length - macBytes;
  bytes.set(mac.tag(bytes.subarray(0, end)), end);
  return bytes;
}

/** The packet, or why it is refused. What is cheap to see is looked at before the HMAC is computed. */
export function decodePacket(bytes: Uint8Array, mac: Mac): HeartbeatPacket | RefusalCode {
  if (bytes.length < 5 || magic.some((byte, i) => bytes[i] !== byte)) return "garbage";
  if (bytes[4] !== protocolVersion) return "version";
  if (bytes.length < headerBytes + macBytes || bytes.length > maxPacketBytes) return "garbage";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const nameEnd = headerBytes + bytes[6];
  const end = bytes.length - macBytes;
  if (nameEnd + view.getUint16(100) !== end) return "garbage";
  if (!mac.verify(bytes.subarray(0, end), bytes.subarray(end))) return "wrong-secret";
  const packet: HeartbeatPacket = {
    network: bytes[5],
    node: new TextDecoder().decode(bytes.subarray(headerBytes, nameEnd)),
    instance: bytes.subarray(8, 24).toHex(),
    challenge: bytes.subarray(24, 40).toHex(),
    response: bytes.subarray(40, 56).toHex(),
    sequence: Number(view.getBigUint64(56)),
    round: Number(view.getBigUint64(64)),
    sentAt: view.getFloat64(72),
    echo: view.getFloat64(80),
    heldMs: view.getFloat64(88),
    heard: view.getUint32(96),
    view: bytes[7] === 1 ? bytes.slice(nameEnd, end) : undefined,
  };
  const numbers = [packet.sequence, packet.round, packet.sentAt, packet.echo, packet.heldMs];
  const sane = numbers.every((n) => Number.isFinite(n) && n >= 0 && n <= Number.MAX_SAFE_INTEGER);
  return sane && packet.instance !== noNonce ? packet : "malformed";
}
