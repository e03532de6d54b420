/** IPv6 neighbour discovery packets as data (RFC 4861, RFC 4862), from the IPv6 header on. */

/** EtherType of IPv6 (linux/if_ether.h). */
export const ETH_P_IPV6 = 0x86dd;

const icmpv6 = 58;
const solicitation = 135;
const advertisement = 136;
const ipHeader = 40;
const router = 0x80;
const override = 0x20;
const targetLinkLayerOption = 2;
/** ff02::1 */
const allNodes = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** A packet and the Ethernet multicast address it goes to. */
export interface Outgoing {
  packet: Uint8Array;
  mac: Uint8Array;
}

/** ff02::1:ffXX:XXXX, where the owner of an address listens. */
export function solicitedNode(address: Uint8Array): Uint8Array {
  const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0);
  group.set(address.subarray(13), 13);
  return group;
}

/** The Ethernet address of an IPv6 multicast group (RFC 2464, 7). */
export function multicastMac(group: Uint8Array): Uint8Array {
  return Uint8Array.of(0x33, 0x33, ...group.subarray(12));
}

function encode(source: Uint8Array, group: Uint8Array, icmp: Uint8Array): Outgoing {
  const packet = new Uint8Array(ipHeader + icmp.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x60; // version 6
  view.setUint16(4, icmp.length);
  packet[6] = icmpv6;
  packet[7] = 255; // hop limit: proof that no router has passed it on
  packet.set(source, 8);
  packet.set(group, 24);
  packet.set(icmp, ipHeader);
  view.setUint16(ipHeader + 2, checksum(packet));
  return { packet, mac: multicastMac(group) };
}

/** The ICMPv6 checksum of a packet whose checksum field is zero (RFC 4443, 2.3). */
export function checksum(packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  let sum = packet.length - ipHeader + icmpv6; // the pseudo header's length and next header
  for (let at = 8; at < packet.length; at += 2) {
    sum += at + 1 < packet.length ? view.getUint16(at) : packet[at] << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Tells all nodes that `address` is at `mac` now. A router must say that it is one. */
export function unsolicitedAdvertisement(
  mac: Uint8Array,
  address: Uint8Array,
  isRouter: boolean,
): Outgoing {
  const icmp = new Uint8Array(24 + 8);
  icmp[0] = advertisement;
  icmp[4] = override | (isRouter ? router : 0);
  icmp.set(address, 8);
  icmp.set([targetLinkLayerOption, 1], 24);
  icmp.set(mac, 26);
  return encode(address, allNodes, icmp);
}

/** Asks whether anybody has `address`, as duplicate address detection does (RFC 4862, 5.4.2). */
export function duplicateProbe(address: Uint8Array): Outgoing {
  const icmp = new Uint8Array(24);
  icmp[0] = solicitation;
  icmp.set(address, 8);
  return encode(new Uint8Array(16), solicitedNode(address), icmp);
}

/**
 * Whether a packet shows that its sender uses `address` (an advertisement of it) or is about to (its
 * own probe).
 */
export function claimsAddress(packet: Uint8Array, address: Uint8Array): boolean {
  if (packet.length < ipHeader + 24 || packet[0] >> 4 !== 6 || packet[6] !== icmpv6) return false;
  if (packet[7] !== 255) return false;
  const type = packet[ipHeader];
  const about = packet.subarray(ipHeader + 8, ipHeader + 24);
  if (!about.every((byte, i) => byte === address[i])) return false;
  if (type === advertisement) return true;
  return type === solicitation && packet.subarray(8, 24).every((byte) => byte === 0);
}

/** Classic BPF (linux/filter.h) that lets through solicitations and advertisements only. */
export function neighbourFilter(): Uint8Array {
  const [ldb, jeq, ret] = [0x30, 0x15, 0x06]; // BPF_LD|B|ABS, BPF_JMP|JEQ|K, BPF_RET|K
  const program: [code: number, jt: number, jf: number, k: number][] = [
    [ldb, 0, 0, 6],
    [jeq, 0, 4, icmpv6],
    [ldb, 0, 0, ipHeader],
    [jeq, 1, 0, solicitation],
    [jeq, 0, 1, advertisement],
    [ret, 0, 0, 0xffff],
    [ret, 0, 0, 0],
  ];
  const bytes = new Uint8Array(program.length * 8); // struct sock_filter
  const view = new DataView(bytes.buffer);
  program.forEach(([code, jt, jf, k], i) => {
    view.setUint16(8 * i, code, true);
    bytes[8 * i + 2] = jt;
    bytes[8 * i + 3] = jf;
    view.setUint32(8 * i + 4, k, true);
  });
  return bytes;
}
