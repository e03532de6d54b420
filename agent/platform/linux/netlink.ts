/** Questions to and orders for the kernel's network configuration, over one short-lived socket each. */

import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";
import type { Network } from "../ip.ts";
import {
  type AddressInfo,
  decodeReplies,
  encodeAddAddress,
  encodeGetAddresses,
  encodeGetLinks,
  encodeRemoveAddress,
  type LinkInfo,
  type Reply,
} from "./rtnetlink.ts";

// sys/socket.h, linux/netlink.h; NETLINK_ROUTE is protocol 0
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;

/** The kernel answers at once; this only keeps a mistake from hanging the agent. In seconds. */
const answerTimeout = 2;
const datagramMax = 64 * 1024;
/** A list that changes while it is read is read again, this often at most. */
const dumpAttempts = 5;

const advice = "The agent must run as root with CAP_NET_ADMIN";

/** Sends one request and takes replies until `end`. */
function exchange(libc: Libc, request: Uint8Array, what: string): Reply[] {
  const { sys } = libc;
  const fd = sys.socket(AF_NETLINK, SOCK_RAW | O.CLOEXEC, 0);
  if (fd < 0) throw new SystemError("open", libc.errno(), "a netlink socket", advice);
  try {
    const memory = allocate(datagramMax);
    memory.view.setBigInt64(0, BigInt(answerTimeout), true); // struct timeval
    sys.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, memory.address, 16);
    memory.bytes.set(request);
    if (sys.send(fd, memory.address, request.length, 0) < 0) {
      throw new SystemError("send", libc.errno(), "a netlink request", advice);
    }
    const replies: Reply[] = [];
    for (;;) {
      const length = sys.recv(fd, memory.address, datagramMax, 0);
      if (length < 0) {
        const cause = libc.errno();
        if (cause === Errno.EINTR) continue;
        throw new SystemError(what, cause, "over netlink", "The kernel did not answer");
      }
      // The decoded data copies what it keeps, so the buffer may be used again.
      for (const reply of decodeReplies(memory.bytes.subarray(0, length))) {
        replies.push(reply);
        if (reply.kind === "done" || reply.kind === "result") return replies;
      }
    }
  } finally {
    sys.close(fd);
  }
}

function dump(libc: Libc, request: Uint8Array, what: string): Reply[] {
  for (let attempt = 1;; attempt++) {
    const replies = exchange(libc, request, what);
    const last = replies[replies.length - 1];
    if (last.kind === "result" && last.errno !== 0) {
      throw new SystemError(what, last.errno, "over netlink", advice);
    }
    if (last.kind !== "done" || !last.interrupted || attempt === dumpAttempts) return replies;
  }
}

/** All interfaces of this network namespace. @throws {SystemError} */
export function listLinks(libc: Libc): LinkInfo[] {
  return dump(libc, encodeGetLinks(1), "list interfaces")
    .flatMap((reply) => reply.kind === "link" ? [reply.link] : []);
}

/** All addresses of this network namespace. @throws {SystemError} */
export function listAddresses(libc: Libc): AddressInfo[] {
  return dump(libc, encodeGetAddresses(1), "list addresses")
    .flatMap((reply) => reply.kind === "address" ? [reply.address] : []);
}

/** Carries out an order and returns the kernel's errno, 0 for success. */
function order(libc: Libc, request: Uint8Array, what: string): number {
  const replies = exchange(libc, request, what);
  const last = replies[replies.length - 1];
  return last.kind === "result" ? last.errno : 0;
}

/** Adds an address to an interface; returns 0 or a positive errno (EEXIST: it was there). */
export function addAddress(libc: Libc, network: Network, index: number): number {
  return order(libc, encodeAddAddress(1, network, index), "add an address");
}

/** Removes an address from an interface; returns 0 or a positive errno (EADDRNOTAVAIL: not there). */
export function removeAddress(libc: Libc, network: Network, index: number): number {
  return order(libc, encodeRemoveAddress(1, network, index), "remove an address");
}
