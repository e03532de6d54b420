/** Packet sockets (packet(7)): whole ARP and IPv6 packets on one Ethernet interface. Never block. */

import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";

// sys/socket.h, linux/if_packet.h
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_MULTICAST = 0;
const PACKET_OUTGOING = 4;
const sockaddrSize = 20;
const packetMax = 2048;

export interface ReceivedPacket {
  /** from the network layer's header on; valid until the next call */
  bytes: Uint8Array;
  /** hardware address of the sender */
  from: Uint8Array;
}

export interface PacketSocket {
  /** @throws {SystemError} */
  send(packet: Uint8Array, mac: Uint8Array): void;
  /** The next packet that others sent; undefined when none waits. */
  receive(): ReceivedPacket | undefined;
  close(): void;
}

export interface PacketOptions {
  /** classic BPF, an array of struct sock_filter */
  filter?: Uint8Array;
  /** an Ethernet multicast address to listen to */
  group?: Uint8Array;
}

/**
 * Opens a socket for one EtherType on one interface.
 *
 * @throws {SystemError}
 */
export function openPacketSocket(
  libc: Libc,
  protocol: number,
  index: number,
  options: PacketOptions = {},
): PacketSocket {
  const { sys } = libc;
  const memory = allocate(1024 + packetMax);
  const { bytes, view, address } = memory;
  const packetAt = 1024;
  // Protocol 0 receives nothing until the filter stands and the interface is bound.
  const fd = sys.socket(AF_PACKET, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, 0);
  const fail = (call: string): never => {
    const cause = libc.errno();
    if (fd >= 0) sys.close(fd);
    const advice = "The agent must run as root with CAP_NET_RAW";
    throw new SystemError(call, cause, `a packet socket on interface ${index}`, advice);
  };
  if (fd < 0) fail("open");
  if (options.filter) {
    bytes.set(options.filter, packetAt);
    view.setUint16(0, options.filter.length / 8, true); // struct sock_fprog
    view.setBigUint64(8, BigInt(address + packetAt), true);
    if (sys.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, address, 16) < 0) fail("filter");
  }
  if (options.group) {
    view.setInt32(0, index, true); // struct packet_mreq
    view.setUint16(4, PACKET_MR_MULTICAST, true);
    view.setUint16(6, options.group.length, true);
    bytes.set(options.group, 8);
    if (sys.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, address, 16) < 0) fail("join on");
  }
  const writeSockaddr = (mac: Uint8Array) => { // struct sockaddr_ll
    bytes.fill(0, 0, sockaddrSize);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, protocol); // network order
    view.setInt32(4, index, true);
    bytes[11] = mac.length;
    bytes.set(mac, 12);
  };
  writeSockaddr(new Uint8Array());
  if (sys.bind(fd, address, sockaddrSize) < 0) fail("bind");
  return {
    send(packet, mac) {
      writeSockaddr(mac);
      bytes.set(packet, packetAt);
      if (sys.sendto(fd, address + packetAt, packet.length, 0, address, sockaddrSize) < 0) {
        const cause = libc.errno();
        const advice = cause === Errno.ENETDOWN ? "Set the interface up" : "";
        throw new SystemError("send on", cause, `interface ${index}`, advice);
      }
    },
    receive() {
      for (;;) {
        view.setUint32(64, sockaddrSize, true);
        const room = packetMax;
        const length = sys.recvfrom(fd, address + packetAt, room, 0, address, address + 64);
        if (length < 0) {
          const cause = libc.errno();
          // ENETDOWN is told once and then packets may come again.
          if (cause === Errno.EINTR || cause === Errno.ENETDOWN) continue;
          return undefined;
        }
        if (bytes[10] === PACKET_OUTGOING) continue;
        return {
          bytes: bytes.subarray(packetAt, packetAt + length),
          from: bytes.slice(12, 12 + Math.min(bytes[11], 8)),
        };
      }
    },
    close: () => void sys.close(fd),
  };
}
