/**
 * A connection during its handshake: exact reads and whole writes, as promises with a deadline. Both
 * ways of carrying bytes look the same here: plain TCP, and TLS by OpenSSL.
 */

import { Errno, POLLIN, POLLOUT } from "../platform/linux/constants.ts";
import { errnoName } from "../platform/linux/errno.ts";
import { allocate, type Libc } from "../platform/linux/libc.ts";
import type { RefusalCode } from "./events.ts";
import {
  createTls,
  shakeHands,
  SslError,
  takeFailure,
  type TlsContext,
  type TlsFailure,
} from "./openssl.ts";
import type { Poller } from "./poller.ts";

/** A handshake that ended badly: the code for the programs, the message for people. */
export class HandshakeError extends Error {
  override readonly name = "HandshakeError";
  constructor(
    readonly code: RefusalCode,
    message: string,
    /** the accepting agent's own code */
    readonly answer?: string | undefined,
  ) {
    super(message);
  }
}

export interface Wire {
  /** Reads up to `length` bytes, at least one. */
  readSome(length: number): Promise<Uint8Array<ArrayBuffer>>;
  write(bytes: Uint8Array): Promise<void>;
  /** What the next owner gets. The wire is of no use from here on; releasing it does nothing. */
  handOver(): { fd: number; ssl: string };
  /** Closes whatever the wire holds. */
  release(): void;
}

/** Where and how long a wire waits. */
export interface WireContext {
  libc: Libc;
  poller: Poller;
  /** aborted at the deadline, with a {@link HandshakeError} as its reason */
  signal: AbortSignal;
}

const MSG_NOSIGNAL = 0x4000;
/** One read of a handshake; nothing in it is much longer. */
const chunkBytes = 16384;

/** Reads exactly `length` bytes. */
export async function readExactly(wire: Wire, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let filled = 0; filled < length;) {
    const part = await wire.readSome(length - filled);
    bytes.set(part, filled);
    filled += part.length;
  }
  return bytes;
}

function lost(errno: number): HandshakeError {
  return new HandshakeError(
    "closed",
    errno === 0 || errno === Errno.ECONNRESET || errno === Errno.EPIPE
      ? "the other side closed the connection"
      : `the connection failed (${errnoName(errno)})`,
  );
}

/** Plain TCP over a connected, non-blocking socket, which the wire owns from now on. */
export function plainWire({ libc, poller, signal }: WireContext, fd: number): Wire {
  const { sys } = libc;
  let open = true;

  function mustWait(): boolean {
    const errno = libc.errno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return true;
    throw lost(errno);
  }

  return {
    async readSome(length) {
      const memory = allocate(Math.min(length, chunkBytes));
      const wanted = Math.min(length, chunkBytes);
      for (;;) {
        signal.throwIfAborted();
        const taken = sys.recv(fd, memory.address, wanted, 0);
        if (taken > 0) return memory.bytes.slice(0, taken);
        if (taken === 0) throw lost(0);
        if (mustWait()) await poller.wait(fd, POLLIN, signal);
      }
    },
    async write(bytes) {
      const memory = allocate(bytes.length);
      memory.bytes.set(bytes);
      for (let sent = 0; sent < bytes.length;) {
        signal.throwIfAborted();
        const left = bytes.length - sent;
        const taken = sys.send(fd, memory.address + sent, left, MSG_NOSIGNAL);
        if (taken >= 0) sent += taken;
        else if (mustWait()) await poller.wait(fd, POLLOUT, signal);
      }
      memory.bytes[0] = 0; // used once more, so that it outlives the calls
    },
    handOver() {
      open = false;
      return { fd, ssl: "0" };
    },
    release() {
      if (open) sys.close(fd);
      open = false;
    },
  };
}

function tlsError({ kind, text }: TlsFailure): HandshakeError {
  switch (kind) {
    case "other-key":
      return new HandshakeError("wrong-secret", `the cluster secrets differ (TLS: ${text})`);
    case "protocol":
      return new HandshakeError("garbage", `the other side does not speak TLS as agreed (${text})`);
    case "closed":
      return new HandshakeError("closed", `the connection ended (${text})`);
  }
}

/** TLS over a connected socket, which the wire owns from now on; resolves when both have proven. */
export async function opensslWire(
  { libc, poller, signal }: WireContext,
  tls: TlsContext,
  fd: number,
  side: "accept" | "dial",
): Promise<Wire> {
  const { ssl } = tls.openssl;
  let connection: number;
  try {
    connection = createTls(tls, fd, side);
  } catch (error) {
    libc.sys.close(fd);
    throw error;
  }
  let open = true;

  /** What to wait for before the same call is made again. */
  function eventsFor(result: number): number {
    const errno = libc.errno();
    const error = ssl.SSL_get_error(connection, result);
    if (error === SslError.wantRead) return POLLIN;
    if (error === SslError.wantWrite) return POLLOUT;
    const failure = takeFailure(tls.openssl);
    throw error === SslError.closed || error === SslError.syscall ? lost(errno) : tlsError(failure);
  }

  const wire: Wire = {
    async readSome(length) {
      const memory = allocate(Math.min(length, chunkBytes));
      const wanted = Math.min(length, chunkBytes);
      for (;;) {
        signal.throwIfAborted();
        const taken = ssl.SSL_read(connection, memory.address, wanted);
        if (taken > 0) return memory.bytes.slice(0, taken);
        await poller.wait(fd, eventsFor(taken), signal);
      }
    },
    async write(bytes) {
      const memory = allocate(bytes.length);
      memory.bytes.set(bytes);
      for (let sent = 0; sent < bytes.length;) {
        signal.throwIfAborted();
        const left = bytes.length - sent;
        const taken = ssl.SSL_write(connection, memory.address + sent, left);
        if (taken > 0) sent += taken;
        else await poller.wait(fd, eventsFor(taken), signal);
      }
      memory.bytes[0] = 0; // used once more, so that it outlives the calls
    },
    handOver() {
      open = false;
      return { fd, ssl: String(connection) };
    },
    release() {
      if (!open) return;
      open = false;
      ssl.SSL_free(connection);
      tls.openssl.crypto.ERR_clear_error();
      libc.sys.close(fd);
    },
  };

  try {
    for (;;) {
      signal.throwIfAborted();
      const step = shakeHands(tls, connection);
      if (step === "done") return wire;
      if (typeof step === "object") throw tlsError(step);
      await poller.wait(fd, step === "read" ? POLLIN : POLLOUT, signal);
    }
  } catch (error) {
    wire.release();
    throw error;
  }
}
