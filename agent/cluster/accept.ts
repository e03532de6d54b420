/**
 * The accepting side: connections that nobody has proven anything about yet. Each has a deadline, all
 * of them together have a limit, and whoever is turned away is named in the events, at a bounded rate.
 */

import { Errno, POLLIN } from "../platform/linux/constants.ts";
import { errnoName } from "../platform/linux/errno.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import { openChannel } from "./channel.ts";
import type { HelloAnswer } from "./control.ts";
import type { RefusalCode } from "./events.ts";
import { establish, hearHello, type ProvenWire, sendReply } from "./handshake.ts";
import type { Hello } from "./hello.ts";
import type { LinkContext } from "./links.ts";
import { protocolVersion } from "./packet.ts";
import type { IpAddress } from "./sockets.ts";
import { HandshakeError, plainWire, type Wire } from "./wire.ts";

export interface Acceptor {
  /** unfinished connections */
  pending(): number;
  /** Resolves when every unfinished connection is closed. */
  close(): Promise<void>;
}

interface Pending {
  source: string;
  controller: AbortController;
  done: Promise<void>;
}

/** Unfinished connections at once, and from one source. */
export const maxPending = 64;
export const maxPendingPerSource = 16;
/** Connections taken from one listener before other descriptors have their turn. */
const acceptsPerTurn = 16;
/** Pause after the system had no descriptor or no memory for a connection, ms. */
const acceptPause = 200;

/** What people are told about a connection that was turned away. */
function sentence(source: string, code: RefusalCode, detail: string): string {
  const advice: Partial<Record<RefusalCode, string>> = {
    "wrong-secret": "if it is a node of this cluster, copy the cluster's secret file to it",
    garbage: "something else than a node of this cluster connects to the cluster port",
    silent: "it connected and did not finish the handshake in time",
    busy: "too many unfinished connections: see who connects to the cluster port",
  };
  const more = advice[code];
  return `A connection from ${source} was refused: ${detail}${more ? `; ${more}` : ""}.`;
}

/** The peer's hello, as far as the link itself can judge it. */
function judgeHello(hello: Hello, context: LinkContext): HandshakeError | undefined {
  const { node, peers } = context;
  if (hello.protocol !== protocolVersion) {
    return new HandshakeError("version", `its hello has protocol version ${hello.protocol}`);
  }
  if (hello.to !== node) {
    return new HandshakeError(
      "unknown-node",
      `it looks for node ${hello.to} and found ${node}: compare the addresses in the configurations`,
    );
  }
  if (!peers.has(hello.node)) {
    return new HandshakeError(
      "unknown-node",
      hello.node === node
        ? `it says that it is ${node} itself: give every node its own name`
        : `node ${hello.node} is not in this node's configuration`,
    );
  }
  return undefined;
}

/** Listens on own addresses, from now on. */
export function startAccepting(context: LinkContext, addresses: readonly IpAddress[]): Acceptor {
  const { libc, poller, sockets, clock } = context;
  const pending = new Set<Pending>();

  function report(source: string, code: RefusalCode, detail: string, peer?: string): void {
    context.throttle.note(source, `accept ${code}`, (count) =>
      context.onEvent({
        kind: "link-refused",
        level: code === "closed" ? "info" : "warning",
        side: "accept",
        code,
        address: source,
        peer,
        count,
        text: sentence(source, code, detail) + (count > 1 ? ` (${count} times)` : ""),
      }));
  }

  async function answer(proven: ProvenWire, hello: Hello): Promise<boolean> {
    const { node } = context;
    const refusal = judgeHello(hello, context);
    if (refusal) {
      const { code, message } = refusal;
      await sendReply(proven, { ok: false, node, reason: message, link: code });
      throw refusal;
    }
    const decision: HelloAnswer = await context.onHello(hello);
    if (decision.accept) {
      const { record } = decision;
      await sendReply(proven, { ok: true, node, instance: context.instance, record });
      return true;
    }
    const { reason, code } = decision;
    await sendReply(proven, { ok: false, node, reason: reason.slice(0, 2000), code });
    return false;
  }

  async function serve(
    fd: number,
    source: string,
    local: string,
    controller: AbortController,
  ): Promise<void> {
    const { signal } = controller;
    const timer = clock.setTimeout(() => {
      controller.abort(new HandshakeError("silent", "it did not finish the handshake"));
    }, context.deadlineMs);
    let spoke = false;
    let hello: Hello | undefined;
    let wire: Wire = spying(plainWire({ libc, poller, signal }, fd), () => spoke = true);
    try {
      const proven = await establish(wire, "accept", context.handshake({ libc, poller, signal }));
      wire = proven.wire;
      hello = await hearHello(proven);
      const accepted = await Promise.race([answer(proven, hello), aborted(signal)]);
      if (accepted) {
        sockets.tune(fd, context.failAfterMs);
        const role: LinkHandle["role"] = hello.role === "sink" ? "source" : "sink";
        const link = { ...wire.handOver(), peer: hello.node, address: local, role };
        try {
          context.onLink(link, hello);
        } catch (error) {
          openChannel(libc, link).close();
          throw error;
        }
      }
    } catch (error) {
      const { code, message } = error instanceof HandshakeError
        ? error
        : new HandshakeError("local", String(error));
      // Who closes without a word is a probe, or a load balancer's check: nothing to report.
      if (!context.closing() && (spoke || code !== "closed")) {
        report(source, code, message, hello?.node);
      }
    } finally {
      clock.clearTimeout(timer);
      wire.release();
    }
  }

  function begin(fd: number, source: string, local: string): void {
    makeRoom(source);
    const controller = new AbortController();
    const done = serve(fd, source, local, controller).catch(reportError)
      .finally(() => pending.delete(entry));
    const entry: Pending = { source, controller, done };
    pending.add(entry);
  }

  /** Makes room for one more connection from this source: the oldest of the greediest goes. */
  function makeRoom(source: string): void {
    const sources = new Map<string, number>();
    for (const entry of pending) {
      if (!entry.controller.signal.aborted) {
        sources.set(entry.source, (sources.get(entry.source) ?? 0) + 1);
      }
    }
    const total = [...sources.values()].reduce((sum, count) => sum + count, 0);
    let victim: string | undefined;
    if ((sources.get(source) ?? 0) >= maxPendingPerSource) victim = source;
    else if (total >= maxPending) {
      victim = [...sources].reduce((most, each) => each[1] > most[1] ? each : most)[0];
    }
    if (victim === undefined) return;
    for (const entry of pending) {
      if (entry.source !== victim || entry.controller.signal.aborted) continue;
      entry.controller.abort(new HandshakeError("busy", "it has to make room for newer ones"));
      return;
    }
  }

  const opened = listenOnAll(context, addresses);
  const listeners = addresses.map((address, i) => {
    const fd = opened[i];
    let timer: number | undefined;
    const watch = poller.watch(fd, POLLIN, () => {
      for (let taken = 0; taken < acceptsPerTurn; taken++) {
        const connection = sockets.accept(fd);
        if (connection) {
          begin(connection.fd, connection.source, address.text);
          continue;
        }
        const errno = libc.errno();
        if (errno === Errno.EAGAIN) return;
        if (errno === Errno.EMFILE || errno === Errno.ENFILE || errno === Errno.ENOMEM) {
          report(
            address.text,
            "local",
            `this node cannot take connections at the moment (${errnoName(errno)})`,
          );
          watch.change(0);
          timer = clock.setTimeout(() => watch.change(POLLIN), acceptPause);
          return;
        }
        // ECONNABORTED and the like concern that one connection (accept(2)).
      }
    });
    return () => {
      if (timer !== undefined) clock.clearTimeout(timer);
      watch.remove();
      sockets.close(fd);
    };
  });

  return {
    pending: () => pending.size,
    async close() {
      for (const stop of listeners) stop();
      const reason = new HandshakeError("local", "this agent is stopping");
      for (const entry of pending) entry.controller.abort(reason);
      await Promise.all([...pending].map((entry) => entry.done));
    },
  };
}

/** All listening sockets, or an error and none. */
function listenOnAll(context: LinkContext, addresses: readonly IpAddress[]): number[] {
  const { sockets, port } = context;
  const opened: number[] = [];
  try {
    for (const address of addresses) opened.push(sockets.listen(address, port, maxPending));
    return opened;
  } catch (error) {
    for (const fd of opened) sockets.close(fd);
    throw error;
  }
}

/** Notices the first byte. */
function spying(wire: Wire, spoke: () => void): Wire {
  return {
    ...wire,
    async readSome(length) {
      const bytes = await wire.readSome(length);
      spoke();
      return bytes;
    },
  };
}

/** Rejects when the signal is aborted, and never resolves. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
