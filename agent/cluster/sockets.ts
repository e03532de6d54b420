/**
 * Sockets of the cluster link through libc: addresses in the kernel's form, and TCP and UDP sockets
 * with the options the link needs. All of them are non-blocking and close-on-exec.
 *
 * Numbers are from the kernel's asm-generic/socket.h, linux/in.h, linux/in6.h and linux/tcp.h.
 */

import { isIP } from "node:net";
import { allocate, type Libc, type Memory } from "../platform/linux/libc.ts";
import { Errno } from "../platform/linux/constants.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { ClusterError } from "./events.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_FREEBIND = 15;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const IPV6_FREEBIND = 78;
/** IP_PMTUDISC_DONT, IPV6_PMTUDISC_DONT */
const pathMtuDont = 0;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;

const MSG_NOSIGNAL = 0x4000;

/** Room for either family's `sockaddr`. */
export const sockaddrBytes = 28;

/** An IP address in the kernel's form. */
export interface IpAddress {
  readonly text: string;
  readonly family: 4 | 6;
  readonly bytes: Uint8Array;
}

/** Reads an IPv4 or IPv6 address. Throws {@link ClusterError} where it is none. */
export function parseAddress(text: string): IpAddress {
  const family = isIP(text);
  if (family === 4) {
    return { text, family, bytes: Uint8Array.from(text.split("."), Number) };
  }
  if (family !== 6 || text.includes("%")) {
    throw new ClusterError(
      `"${text}" is no IP address that a node can have: write it like 10.77.0.1 or fd00::1`,
    );
  }
  // The URL parser writes every spelling in one way: no embedded IPv4, shortest zeros.
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head, tail] = canonical.split("::").map((half) => half === "" ? [] : half.split(":"));
  const groups = tail === undefined
    ? head
    : [...head, ...Array<string>(8 - head.length - tail.length).fill("0"), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => new DataView(bytes.buffer).setUint16(i * 2, parseInt(group, 16)));
  return { text: canonical, family, bytes };
}

/** Writes a `sockaddr` and returns its length. */
export function writeSockaddr(
  { bytes, view }: Memory,
  offset: number,
  address: IpAddress,
  port: number,
): number {
  bytes.fill(0, offset, offset + sockaddrBytes);
  view.setUint16(offset, address.family === 4 ? AF_INET : AF_INET6, true);
  view.setUint16(offset + 2, port);
  bytes.set(address.bytes, offset + (address.family === 4 ? 4 : 8));
  return address.family === 4 ? 16 : 28;
}

/** The address in a `sockaddr`, as text in its one spelling. */
export function readSockaddr({ bytes, view }: Memory, offset: number): string {
  if (view.getUint16(offset, true) === AF_INET) {
    return bytes.subarray(offset + 4, offset + 8).join(".");
  }
  const groups = Array.from(
    { length: 8 },
    (_, i) => view.getUint16(offset + 8 + i * 2).toString(16),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** True where a received `sockaddr` holds this address; no allocation. */
export function sockaddrIs({ bytes, view }: Memory, offset: number, address: IpAddress): boolean {
  if (view.getUint16(offset, true) !== (address.family === 4 ? AF_INET : AF_INET6)) return false;
  const at = offset + (address.family === 4 ? 4 : 8);
  for (let i = 0; i < address.bytes.length; i++) {
    if (bytes[at + i] !== address.bytes[i]) return false;
  }
  return true;
}

/** `10.77.0.1:9700`, `[fd00::1]:9700`. */
export function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The calls below with their scratch memory; one per control. */
export interface Sockets {
  /** A TCP socket that listens on an address, also one that this host does not have yet. */
  listen(address: IpAddress, port: number, backlog: number): number;
  /** A UDP socket bound to an address, also one that this host does not have yet. */
  udp(address: IpAddress, port: number): number;
  /** Begins to connect from `local`. Throws {@link SystemError} where that fails at once. */
  connect(local: IpAddress, remote: IpAddress, port: number): number;
  /** `SO_ERROR`: how a connect ended; 0 = connected. */
  connectError(fd: number): number;
  /** The next waiting connection and its source; undefined where there is none (see errno). */
  accept(listener: number): { fd: number; source: string; port: number } | undefined;
  /** The port a socket is bound to. */
  localPort(fd: number): number;
  /** Makes an authenticated connection notice that the other host is gone. */
  tune(fd: number, failAfterMs: number): void;
  /** Sends all bytes or nothing is said: true where the kernel took them. For small messages. */
  sendAll(fd: number, bytes: Uint8Array): boolean;
  close(fd: number): void;
}

/** Buffers of the heartbeat socket: room for the backlog of a thread that stood still for a while. */
const heartbeatBufferBytes = 512 * 1024;

export function createSockets(libc: Libc): Sockets {
  const { sys } = libc;
  const scratch = allocate(256);
  const addressAt = 0;
  const valueAt = 32;
  const lengthAt = 40;

  function set(fd: number, level: number, option: number, value: number): number {
    scratch.view.setInt32(valueAt, value, true);
    return sys.setsockopt(fd, level, option, scratch.address + valueAt, 4);
  }

  function open(address: IpAddress, type: number): number {
    const family = address.family === 4 ? AF_INET : AF_INET6;
    const fd = sys.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw new SystemError("open a socket for", libc.errno(), address.text);
    if (address.family === 6) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return fd;
  }

  /** Closes `fd` before it reports the last call's errno. */
  function fail(fd: number, call: string, subject: string, advice?: string): never {
    const errno = libc.errno();
    sys.close(fd);
    throw new SystemError(call, errno, subject, advice);
  }

  /** An agent may start before its network: the address is bound whether it is there or not. */
  function freeBind(fd: number, address: IpAddress, port: number): void {
    if (address.family === 4) set(fd, IPPROTO_IP, IP_FREEBIND, 1);
    else set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
    const length = writeSockaddr(scratch, addressAt, address, port);
    if (sys.bind(fd, scratch.address + addressAt, length) !== 0) {
      fail(
        fd,
        "bind",
        endpoint(address.text, port),
        "Is another agent running on this host, or does another program use the port?",
      );
    }
  }

  return {
    listen(address, port, backlog) {
      const fd = open(address, SOCK_STREAM);
      set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      freeBind(fd, address, port);
      if (sys.listen(fd, backlog) !== 0) fail(fd, "listen on", endpoint(address.text, port));
      return fd;
    },
    udp(address, port) {
      const fd = open(address, SOCK_DGRAM);
      // A view may be larger than a packet: let it be fragmented on the way, whatever the path's MTU.
      if (address.family === 4) set(fd, IPPROTO_IP, IP_MTU_DISCOVER, pathMtuDont);
      else set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, pathMtuDont);
      if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, heartbeatBufferBytes) !== 0) {
        set(fd, SOL_SOCKET, SO_RCVBUF, heartbeatBufferBytes);
      }
      freeBind(fd, address, port);
      return fd;
    },
    connect(local, remote, port) {
      const fd = open(remote, SOCK_STREAM);
      set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      let length = writeSockaddr(scratch, addressAt, local, 0);
      if (sys.bind(fd, scratch.address + addressAt, length) !== 0) {
        fail(fd, "bind", local.text, "The address must be on this host");
      }
      length = writeSockaddr(scratch, addressAt, remote, port);
      const begun = sys.connect(fd, scratch.address + addressAt, length) === 0 ||
        libc.errno() === Errno.EINPROGRESS;
      if (!begun) {
        fail(fd, "connect to", endpoint(remote.text, port));
      }
      return fd;
    },
    connectError(fd) {
      scratch.view.setUint32(lengthAt, 4, true);
      const status = sys.getsockopt(
        fd,
        SOL_SOCKET,
        SO_ERROR,
        scratch.address + valueAt,
        scratch.address + lengthAt,
      );
      return status === 0 ? scratch.view.getInt32(valueAt, true) : libc.errno();
    },
    accept(listener) {
      scratch.view.setUint32(lengthAt, sockaddrBytes, true);
      const fd = sys.accept4(
        listener,
        scratch.address + addressAt,
        scratch.address + lengthAt,
        SOCK_NONBLOCK | SOCK_CLOEXEC,
      );
      if (fd < 0) return undefined;
      set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      const port = scratch.view.getUint16(addressAt + 2);
      return { fd, source: readSockaddr(scratch, addressAt), port };
    },
    localPort(fd) {
      scratch.view.setUint32(lengthAt, sockaddrBytes, true);
      const at = scratch.address;
      if (sys.getsockname(fd, at + addressAt, at + lengthAt) !== 0) {
        throw new SystemError("ask for the address of", libc.errno(), `descriptor ${fd}`);
      }
      return scratch.view.getUint16(addressAt + 2);
    },
    tune(fd, failAfterMs) {
      // Buffer sizes are left to the kernel, which fits them to the path, up to 4 and 6 MiB: a fixed
      // 4 MiB was no faster over loopback, and a fixed size would be too small for some path.
      const probe = Math.max(1, Math.round(failAfterMs / 4000));
      set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      set(fd, IPPROTO_TCP, TCP_KEEPIDLE, probe);
      set(fd, IPPROTO_TCP, TCP_KEEPINTVL, probe);
      set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
      set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, failAfterMs);
    },
    sendAll(fd, bytes) {
      const memory = allocate(bytes.length);
      memory.bytes.set(bytes);
      const taken = sys.send(fd, memory.address, bytes.length, MSG_NOSIGNAL);
      memory.bytes[0] = 0; // used once more, so that it outlives the call
      return taken === bytes.length;
    },
    close(fd) {
      sys.close(fd);
    },
  };
}
