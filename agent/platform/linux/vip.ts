/** Virtual IP addresses on Linux: taking, giving up, announcing them, and asking who else has them. */

import {
  contains,
  formatAddress,
  formatMac,
  formatNetwork,
  type Network,
  parseNetwork,
  sameAddress,
} from "../ip.ts";
import { arpClaimant, arpProbe, broadcastMac, ETH_P_ARP, gratuitousArp } from "./arp.ts";
import { Errno } from "./constants.ts";
import { errnoName } from "./errno.ts";
import type { Libc } from "./libc.ts";
import {
  claimsAddress,
  duplicateProbe,
  ETH_P_IPV6,
  neighbourFilter,
  unsolicitedAdvertisement,
} from "./ndp.ts";
import { addAddress, listAddresses, listLinks, removeAddress } from "./netlink.ts";
import { openPacketSocket } from "./packets.ts";
import { type AddressInfo, etherType, IFF, type LinkInfo } from "./rtnetlink.ts";

/** A virtual address that cannot be placed, taken or announced; the message says what to do. */
export class VipError extends Error {
  override readonly name = "VipError";
}

/** A virtual address and the interface it belongs on. */
export interface Vip {
  network: Network;
  link: LinkInfo;
}

/**
 * Chooses the interface for an address: the one that is named, or the one that has another address in
 * the same network (the narrowest such network wins).
 *
 * @throws {VipError}
 */
export function placeVip(
  network: Network,
  interfaceName: string | undefined,
  links: readonly LinkInfo[],
  addresses: readonly AddressInfo[],
): Vip {
  const text = formatNetwork(network);
  if (interfaceName !== undefined) {
    const link = links.find(({ name }) => name === interfaceName);
    if (link) return { network, link };
    const names = links.map(({ name }) => name).join(", ");
    throw new VipError(`No interface "${interfaceName}" for ${text}: this node has ${names}`);
  }
  let best: AddressInfo | undefined;
  for (const address of addresses) {
    const link = links.find(({ index }) => index === address.index);
    if (!link || (link.flags & IFF.LOOPBACK) !== 0) continue;
    if (sameAddress(address.bytes, network.bytes) || !contains(address, network.bytes)) continue;
    if (!best || address.prefix > best.prefix) best = address;
  }
  const index = best?.index ??
    // Nobody else is in its network: where it is already, it stays.
    addresses.find(({ bytes }) => sameAddress(bytes, network.bytes))?.index;
  const link = links.find((link) => link.index === index);
  if (link) return { network, link };
  throw new VipError(
    `No interface has an address in the network of ${text}: name one with \`interface\``,
  );
}

/**
 * Finds the interface for an address such as `10.77.0.100/24` on this machine.
 *
 * @throws {VipError}
 */
export function findVip(libc: Libc, address: string, interfaceName?: string): Vip {
  const network = parseNetwork(address);
  if (!network) throw new VipError(`Not an address: "${address}"; expected e.g. 10.77.0.100/24`);
  return placeVip(network, interfaceName, listLinks(libc), listAddresses(libc));
}

/** Whether this machine has the address, on any interface. */
export function hasVip(libc: Libc, network: Network): boolean {
  return listAddresses(libc).some(({ bytes }) => sameAddress(bytes, network.bytes));
}

/**
 * Takes the address. False where the interface had it already.
 *
 * @throws {VipError}
 */
export function addVip(libc: Libc, { network, link }: Vip): boolean {
  const result = addAddress(libc, network, link.index);
  if (result === Errno.EEXIST) return false;
  if (result === 0) return true;
  const advice = result === Errno.EPERM
    ? "run the agent as root with CAP_NET_ADMIN"
    : result === Errno.ENODEV
    ? "the interface is gone"
    : (result === Errno.EACCES || result === Errno.EOPNOTSUPP) && network.family === 6
    ? "IPv6 is disabled on the interface"
    : "check the address and the interface";
  throw new VipError(
    `Cannot add ${formatNetwork(network)} to ${link.name}: ${errnoName(result)}; ${advice}`,
  );
}

/**
 * Gives the address up, wherever it is and with whatever prefix. False where it was nowhere.
 *
 * @throws {VipError}
 */
export function removeVip(libc: Libc, network: Network): boolean {
  let found = false;
  for (const address of listAddresses(libc)) {
    if (!sameAddress(address.bytes, network.bytes)) continue;
    const result = removeAddress(libc, address, address.index);
    if (result === 0) found = true;
    else if (result !== Errno.EADDRNOTAVAIL && result !== Errno.ENODEV) {
      throw new VipError(
        `Cannot remove ${formatNetwork(address)}: ${errnoName(result)}; ` +
          "remove it with `ip address del`",
      );
    }
  }
  return found;
}

/** Whether neighbours can be told and asked on this interface. */
function speaksEthernet(link: LinkInfo): boolean {
  return link.type === etherType && link.mac.length === 6 &&
    (link.flags & (IFF.LOOPBACK | IFF.NOARP)) === 0;
}

/**
 * Tells the neighbours, once, that the address is here: gratuitous ARP or an unsolicited neighbour
 * advertisement. To be repeated for some seconds, because a packet may be lost and a switch may still
 * be learning. False where the interface has no neighbours to tell.
 *
 * @throws {SystemError} when the packets cannot be sent, e.g. the interface is down.
 */
export function announceVip(libc: Libc, { network, link }: Vip): boolean {
  if (!speaksEthernet(link)) return false;
  if (network.family === 4) {
    const socket = openPacketSocket(libc, ETH_P_ARP, link.index);
    try {
      for (const packet of gratuitousArp(link.mac, network.bytes)) {
        socket.send(packet, broadcastMac);
      }
    } finally {
      socket.close();
    }
  } else {
    const { packet, mac } = unsolicitedAdvertisement(link.mac, network.bytes, isRouter(link.name));
    const socket = openPacketSocket(libc, ETH_P_IPV6, link.index);
    try {
      socket.send(packet, mac);
    } finally {
      socket.close();
    }
  }
  return true;
}

/** A router's advertisement must say so, or its neighbours stop routing through it. */
function isRouter(name: string): boolean {
  try {
    return Deno.readTextFileSync(`/proc/sys/net/ipv6/conf/${name}/forwarding`).trim() !== "0";
  } catch {
    return false;
  }
}

/** When to repeat {@link announceVip} after taking an address, in milliseconds from then. */
export const announceTimes: readonly number[] = [0, 200, 500, 1000, 2000, 5000, 10_000];

export interface ProbeOptions {
  /** default 3 */
  probes?: number;
  /** milliseconds between two probes, and of listening after the last; default 200 */
  interval?: number;
  signal?: AbortSignal;
}

/** How often the socket is looked at meanwhile, in milliseconds. */
const lookMs = 10;

/**
 * Asks the network who has the address and returns the hardware addresses (`02:00:...`) that answered,
 * usually none. Call it before {@link addVip}. Where the interface has no neighbours nobody answers.
 *
 * @throws {SystemError} when nobody can be asked, e.g. the interface is down.
 */
export async function probeVip(
  libc: Libc,
  { network, link }: Vip,
  options: ProbeOptions = {},
): Promise<string[]> {
  if (!speaksEthernet(link)) return [];
  const { probes = 3, interval = 200, signal } = options;
  const v6 = network.family === 6;
  const probe = v6
    ? duplicateProbe(network.bytes)
    : { packet: arpProbe(link.mac, network.bytes), mac: broadcastMac };
  const socket = openPacketSocket(
    libc,
    v6 ? ETH_P_IPV6 : ETH_P_ARP,
    link.index,
    v6 ? { filter: neighbourFilter(), group: probe.mac } : {},
  );
  const claimants = new Set<string>();
  const own = formatMac(link.mac);
  const listen = () => {
    for (let got = socket.receive(); got; got = socket.receive()) {
      if (v6) {
        const from = formatMac(got.from);
        if (from !== own && claimsAddress(got.bytes, network.bytes)) claimants.add(from);
      } else {
        const mac = arpClaimant(got.bytes, network.bytes, link.mac);
        if (mac) claimants.add(formatMac(mac));
      }
    }
  };
  try {
    for (let i = 0; i < probes; i++) {
      socket.send(probe.packet, probe.mac);
      const until = performance.now() + interval;
      while (performance.now() < until) {
        signal?.throwIfAborted();
        await new Promise((next) => setTimeout(next, Math.min(lookMs, interval)));
        listen();
      }
    }
    return [...claimants];
  } finally {
    socket.close();
  }
}

/** `10.77.0.100 on eth0`, for messages. */
export function describeVip({ network, link }: Vip): string {
  return `${formatAddress(network.bytes)} on ${link.name}`;
}
