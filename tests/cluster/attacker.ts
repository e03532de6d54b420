/**
 * Whoever sends bytes to the cluster port that should not be sent: strangers with random bytes, and
 * holders of the secret whose messages have been changed at any place.
 */

import { createHmac } from "node:crypto";
import { POLLOUT } from "../../agent/platform/linux/constants.ts";
import { allocate, type Libc } from "../../agent/platform/linux/libc.ts";
import { establish, preambleBytes } from "../../agent/cluster/handshake.ts";
import type { ClusterKeys } from "../../agent/cluster/keys.ts";
import type { TlsContext } from "../../agent/cluster/openssl.ts";
import { createMac } from "../../agent/cluster/mac.ts";
import { encodePacket, noNonce } from "../../agent/cluster/packet.ts";
import type { Poller } from "../../agent/cluster/poller.ts";
import { createSockets, parseAddress, writeSockaddr } from "../../agent/cluster/sockets.ts";
import {
  HandshakeError,
  opensslWire,
  plainWire,
  type Wire,
  type WireContext,
} from "../../agent/cluster/wire.ts";
import type { Generator } from "./generator.ts";

export interface Target {
  address: string;
  port: number;
  encryption: "on" | "off";
}

export interface Attacker {
  /** One stream or one volley of datagrams. Settles when it is over. */
  stream(generator: Generator): Promise<void>;
  /** how many of each kind, and how many reached what */
  readonly counts: Record<string, number>;
  close(): void;
}

const kinds = [
  "random",
  "preamble",
  "preamble-changed",
  "tls-changed",
  "proof-changed",
  "hello-changed",
  "after-hello",
  "datagrams",
] as const;

/** Longest that one stream lasts, ms. */
const patience = 600;

const goodHello = {
  protocol: 1,
  node: "beta",
  to: "alpha",
  instance: "b".repeat(32),
  module: "m",
  digest: "d",
  role: "sink",
  record: { generation: 1, nested: { list: [1, 2, 3] } },
};

export function createAttacker({ libc, poller, tls, keys, target, from, peer }: {
  libc: Libc;
  poller: Poller;
  tls: TlsContext;
  keys: ClusterKeys;
  target: Target;
  /** a stranger's address, and that of a node of the configuration */
  from: string;
  peer: string;
}): Attacker {
  const sockets = createSockets(libc);
  const remote = parseAddress(target.address);
  const local = parseAddress(from);
  // Datagrams that pretend to be a node's get further than a stranger's.
  const udp = [sockets.udp(local, 0), sockets.udp(parseAddress(peer), 0)];
  const datagram = allocate(16384);
  const counts: Record<string, number> = {};
  const count = (what: string) => counts[what] = (counts[what] ?? 0) + 1;
  const mode = target.encryption === "on" ? 1 : 2;
  const preamble = Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 1, mode, 0, 0);

  /** A connection with a deadline; `run` may throw whatever the other side's refusal makes it throw. */
  async function connected(
    run: (context: WireContext, wire: Wire, end: () => void) => Promise<void>,
  ): Promise<void> {
    const controller = new AbortController();
    const timer = setTimeout(
      () => controller.abort(new HandshakeError("silent", "patience is over")),
      patience,
    );
    const context = { libc, poller, signal: controller.signal };
    const fd = sockets.connect(local, remote, target.port);
    const wire = plainWire(context, fd);
    try {
      await poller.wait(fd, POLLOUT, controller.signal);
      await run(context, wire, () => controller.abort(new HandshakeError("local", "it is over")));
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
      count(`ended: ${error.code}`);
    } finally {
      clearTimeout(timer);
      wire.release();
    }
  }

  /** Reads until the other side closes, or patience ends. */
  async function untilClosed(wire: Wire): Promise<void> {
    for (;;) await wire.readSome(4096);
  }

  /** A wire on which one write (counted from 0) is changed. */
  function changing(wire: Wire, generator: Generator, which: number): Wire {
    let writes = 0;
    return {
      ...wire,
      write: (bytes) => wire.write(writes++ === which ? generator.mutate(bytes) : bytes),
    };
  }

  /**
   * TLS by OpenSSL over a pair of local sockets; what it sends is changed at some byte on its way to
   * the target, whatever that byte is: of the handshake, or of a record after it.
   */
  async function changedTls(
    context: WireContext,
    outer: Wire,
    generator: Generator,
    end: () => void,
  ): Promise<void> {
    const pair = allocate(128);
    if (libc.sys.socketpair(1, 1 | 0o4000 | 0o2000000, 0, pair.address) !== 0) {
      throw new Error("pair");
    }
    const [ours, theirs] = [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    const inner = plainWire(context, theirs);
    let left = generator.below(1200);
    const outward = (async () => {
      for (;;) {
        const bytes = await inner.readSome(4096);
        left -= bytes.length;
        const hit = left < 0 && left >= -bytes.length;
        await outer.write(hit ? generator.mutate(bytes) : bytes);
      }
    })();
    const inward = (async () => {
      for (;;) await inner.write(await outer.readSome(4096));
    })();
    const talking = (async () => {
      const wire = await opensslWire(context, tls, ours, "dial");
      try {
        await speak(wire, generator, -1);
      } finally {
        wire.release();
      }
    })();
    try {
      await Promise.race([outward, inward, talking]);
    } finally {
      // Whichever ends first ends the stream; what the others say then is of no interest. They have
      // to stop before their descriptors are closed, and the numbers given to another stream.
      end();
      await Promise.allSettled([outward, inward, talking]);
      inner.release();
    }
  }

  /** A node's part of the proof and the hello, with the write number `changed` changed. */
  async function speak(wire: Wire, generator: Generator, changed: number): Promise<void> {
    const proven = await prove(changing(wire, generator, changed));
    count("proven");
    await proven.wire.write(
      message(proven.key, new TextEncoder().encode(JSON.stringify(goodHello))),
    );
    await untilClosed(wire);
  }

  /** The proof alone: preamble and TLS are done already. */
  async function prove(wire: Wire): Promise<{ wire: Wire; key: Uint8Array }> {
    // The preambles have been exchanged; establish is given a wire that plays the other side's.
    let skipped = false;
    const answer = preamble.slice();
    const replayed: Wire = {
      ...wire,
      readSome: (length) => {
        if (skipped) return wire.readSome(length);
        skipped = true;
        return Promise.resolve(answer.slice(0, Math.min(length, preambleBytes)));
      },
      write: (bytes) => skipped ? wire.write(bytes) : Promise.resolve(),
    };
    return await establish(replayed, "dial", {
      encryption: target.encryption,
      key: keys.link,
      random: (length) => crypto.getRandomValues(new Uint8Array(length)),
      secure: (each) => Promise.resolve(each),
    });
  }

  /** A message with its length and a valid tag. */
  function message(key: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, body.length);
    const tag = createHmac("sha256", key).update("understudy 1 message dial\0")
      .update(head).update(body).digest();
    return Uint8Array.of(...head, ...body, ...tag);
  }

  /** Preamble and TLS done, as by a node. */
  async function secured(
    run: (wire: Wire) => Promise<void>,
  ): Promise<void> {
    await connected(async (context, plain) => {
      await plain.write(preamble);
      for (let read = 0; read < preambleBytes;) {
        read += (await plain.readSome(preambleBytes - read)).length;
      }
      if (target.encryption === "off") return await run(plain);
      const wire = await opensslWire(context, tls, plain.handOver().fd, "dial");
      try {
        await run(wire);
      } finally {
        wire.release();
      }
    });
  }

  function changedHello(generator: Generator): Uint8Array {
    const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    switch (generator.below(5)) {
      case 0:
        return generator.mutate(text(goodHello));
      case 1: {
        const key = generator.pick(Object.keys(goodHello));
        const value = generator.pick([
          null,
          0,
          -1,
          1e308,
          "",
          "x".repeat(5000),
          [],
          {},
          true,
          "\u0000",
        ]);
        return text({ ...goodHello, [key]: value });
      }
      case 2:
        return new TextEncoder().encode("[".repeat(generator.below(60_000)));
      case 3:
        return new TextEncoder().encode(`{"__proto__":{"node":"x"},"a":${"1".repeat(500)}}`);
      default:
        return generator.bytes(generator.below(3000));
    }
  }

  function sendDatagram(fd: number, bytes: Uint8Array): void {
    datagram.bytes.set(bytes, 32);
    const length = writeSockaddr(datagram, 0, remote, target.port);
    libc.sys.sendto(fd, datagram.address + 32, bytes.length, 0, datagram.address, length);
  }

  function heartbeat(generator: Generator): Uint8Array<ArrayBuffer> {
    const nonce = () => generator.bytes(16).toHex();
    const view = generator.chance(0.5)
      ? new TextEncoder().encode(JSON.stringify({ node: "beta", instance: nonce(), modules: [] }))
      : generator.bytes(generator.below(500));
    return encodePacket({
      network: generator.below(3),
      node: generator.pick(["beta", "alpha", "gamma", "", "x".repeat(64)]),
      instance: nonce(),
      challenge: generator.pick([noNonce, nonce()]),
      response: generator.pick([noNonce, nonce()]),
      sequence: generator.below(1e9),
      round: generator.below(1e9),
      sentAt: generator.pick([0, 1e300, -1, generator.below(1e9)]),
      echo: generator.below(1e9),
      heldMs: generator.below(1e5),
      heard: generator.below(2 ** 32),
      view: generator.chance(0.8) ? view : undefined,
    }, createMac(generator.chance(0.7) ? keys.heartbeat : generator.bytes(32)));
  }

  const streams: Record<typeof kinds[number], (generator: Generator) => Promise<void>> = {
    random: (generator) =>
      connected(async (_, wire) => {
        await wire.write(generator.bytes(1 + generator.below(2000)));
        if (generator.chance(0.9)) await untilClosed(wire);
      }),
    preamble: (generator) =>
      connected(async (_, wire) => {
        await wire.write(preamble);
        if (generator.chance(0.5)) await wire.readSome(8);
        await wire.write(generator.bytes(1 + generator.below(3000)));
        if (generator.chance(0.9)) await untilClosed(wire);
      }),
    "preamble-changed": (generator) =>
      connected(async (_, wire) => {
        await wire.write(Uint8Array.of(...generator.mutate(preamble), 0));
        if (generator.chance(0.9)) await untilClosed(wire);
      }),
    "tls-changed": (generator) =>
      target.encryption === "off" ? streams["proof-changed"](generator) : connected(
        async (context, wire, end) => {
          await wire.write(preamble);
          for (let read = 0; read < preambleBytes;) {
            read += (await wire.readSome(preambleBytes - read)).length;
          }
          await changedTls(context, wire, generator, end);
        },
      ),
    "proof-changed": (generator) => secured((wire) => speak(wire, generator, generator.below(2))),
    "hello-changed": (generator) =>
      secured(async (wire) => {
        const proven = await prove(wire);
        count("proven");
        const body = message(proven.key, changedHello(generator));
        if (generator.chance(0.1)) {
          // A length that is not the message's.
          const length = generator.pick([0, 1, 65_536, 65_537, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]);
          new DataView(body.buffer).setUint32(0, length);
        }
        await wire.write(generator.chance(0.7) ? body : generator.mutate(body));
        await untilClosed(wire);
      }),
    "after-hello": (generator) =>
      secured(async (wire) => {
        const proven = await prove(wire);
        const hello = new TextEncoder().encode(JSON.stringify(goodHello));
        await wire.write(message(proven.key, hello));
        await wire.readSome(4096);
        count("linked");
        for (let i = generator.below(4); i >= 0; i--) {
          await wire.write(generator.bytes(1 + generator.below(20_000)));
        }
      }),
    async datagrams(generator) {
      for (let i = 0; i < 10; i++) {
        const bytes = generator.pick([
          () => generator.bytes(generator.below(1500)),
          () => generator.mutate(heartbeat(generator)),
          () => heartbeat(generator),
          () => generator.bytes(9000),
        ])();
        sendDatagram(generator.pick(udp), bytes);
      }
      await Promise.resolve();
    },
  };

  return {
    counts,
    async stream(generator) {
      const kind = generator.pick(kinds);
      count(kind);
      await streams[kind](generator);
    },
    close() {
      for (const fd of udp) sockets.close(fd);
    },
  };
}
