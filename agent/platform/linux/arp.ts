/** ARP packets as data (RFC 826, RFC 5227): announcements, probes, and who answers. Ethernet and IPv4. */

/** EtherType of ARP (linux/if_ether.h). */
export const ETH_P_ARP = 0x0806;
export const broadcastMac: Uint8Array = new Uint8Array(6).fill(0xff);

const packetSize = 28;
const request = 1;
const reply = 2;

export interface ArpPacket {
  operation: number;
  senderMac: Uint8Array;
  senderAddress: Uint8Array;
  targetMac: Uint8Array;
  targetAddress: Uint8Array;
}

export function encodeArp(packet: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(packetSize);
  bytes.set([0, 1, 0x08, 0x00, 6, 4, 0, packet.operation]); // Ethernet, IPv4, lengths
  bytes.set(packet.senderMac, 8);
  bytes.set(packet.senderAddress, 14);
  bytes.set(packet.targetMac, 18);
  bytes.set(packet.targetAddress, 24);
  return bytes;
}

/** Undefined for anything but ARP over Ethernet for IPv4. */
export function decodeArp(bytes: Uint8Array): ArpPacket | undefined {
  const header = [0, 1, 0x08, 0x00, 6, 4, 0];
  if (bytes.length < packetSize || header.some((byte, i) => bytes[i] !== byte)) return undefined;
  return {
    operation: bytes[7],
    senderMac: bytes.slice(8, 14),
    senderAddress: bytes.slice(14, 18),
    targetMac: bytes.slice(18, 24),
    targetAddress: bytes.slice(24, 28),
  };
}

/**
 * What tells everybody that `address` is at `mac` now. Two forms, because some stacks update their
 * table only from requests and others only from replies.
 */
export function gratuitousArp(mac: Uint8Array, address: Uint8Array): Uint8Array[] {
  const common = { senderMac: mac, senderAddress: address, targetAddress: address };
  return [
    encodeArp({ ...common, operation: request, targetMac: new Uint8Array(6) }),
    encodeArp({ ...common, operation: reply, targetMac: broadcastMac }),
  ];
}

/** Asks whether anybody has `address`, without claiming it (RFC 5227, 2.1.1). */
export function arpProbe(mac: Uint8Array, address: Uint8Array): Uint8Array {
  return encodeArp({
    operation: request,
    senderMac: mac,
    senderAddress: new Uint8Array(4),
    targetMac: new Uint8Array(6),
    targetAddress: address,
  });
}

/**
 * The hardware address of whoever uses or claims `address` according to a packet: its sender, or one
 * that probes for it at the same time. Undefined for our own packets and all others.
 */
export function arpClaimant(
  bytes: Uint8Array,
  address: Uint8Array,
  ownMac: Uint8Array,
): Uint8Array | undefined {
  const packet = decodeArp(bytes);
  if (!packet || equal(packet.senderMac, ownMac)) return undefined;
  const uses = equal(packet.senderAddress, address);
  const probes = packet.operation === request && equal(packet.targetAddress, address) &&
    packet.senderAddress.every((byte) => byte === 0);
  return uses || probes ? packet.senderMac : undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
