/**
 * Encryption where OpenSSL is missing: Deno's own TLS on the main thread, as a relay.
 *
 * Deno encrypts only sockets of its own, so the bytes take a detour. Ciphertext goes between the
 * network's socket and a loopback connection whose other end is Deno's; plaintext between Deno and a
 * pair of local sockets, of which the data path gets one and sees a plain link:
 *
 *     network == loopback == Deno's TLS == socket pair == data path
 *
 * It speaks the same protocol as the other way: a node with OpenSSL and one without understand each
 * other. What is weaker: Deno's server does not ask for a client's certificate, so the accepting side
 * relies on the proof that follows inside the encrypted connection. The dialling side checks the
 * certificate, so that nobody can stand between the two and pass the proof on.
 */

import { Errno, POLLIN, POLLOUT } from "../platform/linux/constants.ts";
import { errnoName, SystemError } from "../platform/linux/errno.ts";
import { allocate, type Memory } from "../platform/linux/libc.ts";
import type { Identity } from "./certificate.ts";
import { parseAddress, type Sockets } from "./sockets.ts";
import { HandshakeError, type Wire, type WireContext } from "./wire.ts";

export interface Relay {
  /** TLS over a connected socket, which the wire owns from now on. */
  wire(context: WireContext, fd: number, side: "accept" | "dial"): Promise<Wire>;
  /** Ends all connections, also those that were handed over. */
  close(): Promise<void>;
}

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_WR = 1;
const MSG_NOSIGNAL = 0x4000;
const loopback = parseAddress("127.0.0.1");
/** Bytes in flight in each direction of each stage. */
const bufferBytes = 256 * 1024;
/** Time for the last words of a handshake that has failed. */
const lingerMs = 500;

export function createRelay(sockets: Sockets, identity: Identity): Relay {
  const { certificatePem: cert, privateKeyPem: key } = identity;
  const listener = Deno.listenTls({ hostname: loopback.text, port: 0, cert, key });
  listener.unref();
  const internalPort = (listener.addr as Deno.NetAddr).port;
  /** connections of our own to the listener, by their local port */
  const expected = new Map<number, (conn: Deno.TlsConn) => void>();
  const closer = new AbortController();
  const running = new Set<Promise<void>>();

  const accepting = (async () => {
    for (;;) {
      try {
        const conn = await listener.accept();
        const take = expected.get((conn.remoteAddr as Deno.NetAddr).port);
        if (take) take(conn);
        else conn.close();
      } catch {
        if (closer.signal.aborted) return;
      }
    }
  })();

  /** A loopback connection between a socket of ours and one of Deno's, which is to speak TLS. */
  async function loop(
    context: WireContext,
    side: "accept" | "dial",
  ): Promise<{ fd: number; conn: Deno.TlsConn }> {
    const { poller, signal } = context;
    if (side === "accept") {
      const fd = sockets.connect(loopback, loopback, internalPort);
      const port = sockets.localPort(fd);
      try {
        const conn = await new Promise<Deno.TlsConn>((resolve, reject) => {
          expected.set(port, resolve);
          signal.addEventListener("abort", () => reject(signal.reason));
        });
        return { fd, conn };
      } catch (error) {
        sockets.close(fd);
        throw error;
      } finally {
        expected.delete(port);
      }
    }
    const listening = sockets.listen(loopback, 0, 1);
    try {
      // The certificate holds this address: Deno compares it, and no public authority certifies it.
      const conn = await Deno.connectTls({
        hostname: loopback.text,
        port: sockets.localPort(listening),
        caCerts: [cert],
        cert,
        key,
      });
      try {
        for (;;) {
          await poller.wait(listening, POLLIN, signal);
          const peer = sockets.accept(listening);
          if (peer?.port === (conn.localAddr as Deno.NetAddr).port) return { fd: peer.fd, conn };
          if (peer) sockets.close(peer.fd);
        }
      } catch (error) {
        conn.close();
        throw error;
      }
    } finally {
      sockets.close(listening);
    }
  }

  return {
    async wire(context, network, side) {
      let inner: { fd: number; conn: Deno.TlsConn };
      try {
        inner = await loop(context, side);
      } catch (error) {
        sockets.close(network);
        throw error;
      }
      const { fd, conn } = inner;
      const life = new AbortController();
      const end = () => life.abort(new Error("The relayed connection has ended"));
      closer.signal.addEventListener("abort", end);
      context.signal.addEventListener("abort", end);
      const pumping: WireContext = { ...context, signal: life.signal };
      let pair: [number, number] | undefined;
      let lingering: number | undefined;
      let closed = false;
      const closeTls = () => {
        if (!closed) conn.close();
        closed = true;
      };
      life.signal.addEventListener("abort", closeTls);
      const inward = pump(pumping, network, fd).catch(end);
      const outward = pump(pumping, fd, network).then(end, end);
      const done = Promise.all([inward, outward]).then(() => {
        closer.signal.removeEventListener("abort", end);
        clearTimeout(lingering);
        for (const each of [network, fd]) sockets.close(each);
      });
      track(done);

      function track(promise: Promise<void>): void {
        running.add(promise);
        promise.finally(() => running.delete(promise));
      }

      const wire: Wire = {
        async readSome(length) {
          const bytes = new Uint8Array(length);
          const taken = await conn.read(bytes).catch((error) => {
            throw tlsError(context, error);
          });
          if (taken === null) throw new HandshakeError("closed", "the other side closed TLS");
          return bytes.slice(0, taken);
        },
        async write(bytes) {
          for (let sent = 0; sent < bytes.length;) {
            sent += await conn.write(bytes.subarray(sent)).catch((error) => {
              throw tlsError(context, error);
            });
          }
        },
        handOver() {
          context.signal.removeEventListener("abort", end);
          pair = socketPair(context);
          const [own, theirs] = pair;
          const from = fromTls(pumping, conn, own).then(end, end);
          const to = toTls(pumping, own, conn).catch(end);
          track(Promise.all([from, to]).then(() => sockets.close(own)));
          return { fd: theirs, ssl: "0" };
        },
        release() {
          if (pair === undefined) end();
        },
      };
      try {
        await conn.handshake();
        return wire;
      } catch (error) {
        // What Deno said last, an alert, still has to reach the other side.
        closeTls();
        lingering = setTimeout(end, lingerMs);
        throw tlsError(context, error);
      }
    },
    async close() {
      if (closer.signal.aborted) return;
      closer.abort();
      listener.close();
      await accepting;
      await Promise.all(running);
    },
  };
}

/** Deno's words for what went wrong (rustls' alerts and verification errors). */
function tlsError({ signal }: WireContext, error: unknown): HandshakeError {
  if (signal.aborted && signal.reason instanceof HandshakeError) return signal.reason;
  const text = error instanceof Error ? error.message : String(error);
  if (/certificate|UnknownCA|UnknownIssuer|BadSignature|DecryptError|AccessDenied/i.test(text)) {
    return new HandshakeError("wrong-secret", `the cluster secrets differ (TLS: ${text})`);
  }
  return /InvalidMessage|corrupt|unexpected message/i.test(text)
    ? new HandshakeError("garbage", `the other side does not speak TLS as agreed (${text})`)
    : new HandshakeError("closed", `the connection ended (${text})`);
}

function socketPair({ libc }: WireContext): [number, number] {
  const memory = allocate(128);
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (libc.sys.socketpair(AF_UNIX, type, 0, memory.address) !== 0) {
    throw new SystemError("make", libc.errno(), "a pair of sockets");
  }
  return [memory.view.getInt32(0, true), memory.view.getInt32(4, true)];
}

/** Reads what there is: the number of bytes, 0 at the end. */
async function take({ libc, poller, signal }: WireContext, fd: number, to: Memory) {
  for (;;) {
    signal.throwIfAborted();
    const taken = libc.sys.recv(fd, to.address, to.bytes.length, 0);
    if (taken >= 0) return taken;
    const errno = libc.errno();
    if (errno !== Errno.EAGAIN && errno !== Errno.EINTR) throw new Error(errnoName(errno));
    await poller.wait(fd, POLLIN, signal);
  }
}

async function put(
  { libc, poller, signal }: WireContext,
  fd: number,
  from: Memory,
  length: number,
): Promise<void> {
  for (let sent = 0; sent < length;) {
    signal.throwIfAborted();
    const taken = libc.sys.send(fd, from.address + sent, length - sent, MSG_NOSIGNAL);
    if (taken >= 0) {
      sent += taken;
      continue;
    }
    const errno = libc.errno();
    if (errno !== Errno.EAGAIN && errno !== Errno.EINTR) throw new Error(errnoName(errno));
    await poller.wait(fd, POLLOUT, signal);
  }
}

/** Ciphertext between the network and Deno's end; the end of the stream is passed on. */
async function pump(context: WireContext, from: number, to: number): Promise<void> {
  const memory = allocate(bufferBytes);
  for (;;) {
    const taken = await take(context, from, memory);
    if (taken === 0) break;
    await put(context, to, memory, taken);
  }
  context.libc.sys.shutdown(to, SHUT_WR);
}

async function fromTls(context: WireContext, conn: Deno.TlsConn, to: number): Promise<void> {
  const memory = allocate(bufferBytes);
  for (;;) {
    const taken = await conn.read(memory.bytes);
    if (taken === null) return;
    await put(context, to, memory, taken);
  }
}

async function toTls(context: WireContext, from: number, conn: Deno.TlsConn): Promise<void> {
  const memory = allocate(bufferBytes);
  for (;;) {
    const taken = await take(context, from, memory);
    if (taken === 0) break;
    for (let sent = 0; sent < taken;) {
      sent += await conn.write(memory.bytes.subarray(sent, taken));
    }
  }
  await conn.closeWrite();
}
