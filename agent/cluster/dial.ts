/** The dialling side: connections to a peer, address by address, and probes of its port. */

import { Errno, POLLOUT } from "../platform/linux/constants.ts";
import { errnoName, SystemError } from "../platform/linux/errno.ts";
import type { DialHello, DialOptions, DialResult, ProbeResult } from "./control.ts";
import type { RefusalCode } from "./events.ts";
import { establish, sayHello } from "./handshake.ts";
import type { LinkContext, Network } from "./links.ts";
import { protocolVersion } from "./packet.ts";
import { endpoint } from "./sockets.ts";
import { HandshakeError, plainWire, type Wire } from "./wire.ts";

/** Another address may do better after these; after all others the peer has said its word. */
const addressFailures: ReadonlySet<RefusalCode> = new Set([
  "unreachable",
  "connection-refused",
  "silent",
  "closed",
]);

/** These say that somebody must change something, so they are events as well as results. */
const worthAnEvent: ReadonlySet<RefusalCode> = new Set([
  "garbage",
  "version",
  "encryption",
  "wrong-secret",
  "oversized",
  "malformed",
  "unknown-node",
]);

/** What a failed connect says (connect(2)). */
function connectError(errno: number, local: string): HandshakeError {
  switch (errno) {
    case Errno.ECONNREFUSED:
      return new HandshakeError("connection-refused", "nobody listens there: no agent is running");
    case Errno.EADDRNOTAVAIL:
      return new HandshakeError("unreachable", `this host does not have its address ${local}`);
    default:
      return new HandshakeError("unreachable", `it cannot be reached (${errnoName(errno)})`);
  }
}

/** A TCP connection; the descriptor is the caller's. */
async function connect(
  context: LinkContext,
  { local, remote }: Network,
  signal: AbortSignal,
): Promise<number> {
  const { sockets, poller } = context;
  let fd: number;
  try {
    fd = sockets.connect(local, remote, context.port);
  } catch (error) {
    throw error instanceof SystemError ? connectError(error.errno, local.text) : error;
  }
  try {
    await poller.wait(fd, POLLOUT, signal);
    const errno = sockets.connectError(fd);
    if (errno !== 0) throw connectError(errno, local.text);
    return fd;
  } catch (error) {
    sockets.close(fd);
    const silent = error instanceof HandshakeError && error.code === "silent";
    throw silent ? new HandshakeError("unreachable", error.message) : error;
  }
}

async function attempt(
  context: LinkContext,
  peer: string,
  network: Network,
  module: string,
  hello: DialHello,
  signal: AbortSignal,
): Promise<DialResult> {
  const { libc, poller, node, instance } = context;
  const fd = await connect(context, network, signal);
  let wire: Wire = plainWire({ libc, poller, signal }, fd);
  try {
    const proven = await establish(wire, "dial", context.handshake({ libc, poller, signal }));
    wire = proven.wire;
    const reply = await sayHello(proven, {
      protocol: protocolVersion,
      node,
      to: peer,
      instance,
      module,
      ...hello,
    });
    if (reply.node !== peer) {
      throw new HandshakeError("unknown-node", `node ${reply.node} answers at this address`);
    }
    if (!reply.ok) {
      throw new HandshakeError(reply.link ?? "rejected", reply.reason, reply.code);
    }
    context.sockets.tune(fd, context.failAfterMs);
    return {
      kind: "linked",
      link: { ...wire.handOver(), peer, address: network.local.text, role: hello.role },
      reply: { node: reply.node, instance: reply.instance, record: reply.record },
    };
  } finally {
    wire.release();
  }
}

/** Aborts after a time, or with another signal. */
function deadline(
  context: LinkContext,
  ms: number,
  reason: () => HandshakeError,
  outer?: AbortSignal,
): { signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const timer = context.clock.setTimeout(() => controller.abort(reason()), ms);
  const cancel = () => controller.abort(new HandshakeError("local", "the attempt was given up"));
  if (outer?.aborted) cancel();
  outer?.addEventListener("abort", cancel);
  return {
    signal: controller.signal,
    clear() {
      context.clock.clearTimeout(timer);
      outer?.removeEventListener("abort", cancel);
    },
  };
}

/** The preferred network first, then those that work by the heartbeats, each in the file's order. */
function inOrder(
  networks: readonly Network[],
  works: (network: number) => boolean,
  prefer: number | undefined,
): Network[] {
  const rank = ({ network }: Network) => network === prefer ? 0 : works(network) ? 1 : 2;
  return [...networks].sort((a, b) => rank(a) - rank(b) || a.network - b.network);
}

/** Connects to a peer for a module, over the first network that does it. Does not throw. */
export async function dial(
  context: LinkContext,
  peer: string,
  module: string,
  hello: DialHello,
  works: (network: number) => boolean,
  options: DialOptions = {},
): Promise<DialResult> {
  const networks = context.peers.get(peer);
  if (!networks) {
    const reason = `${peer} is no other node of this cluster's configuration`;
    return { kind: "refused", code: "unknown-node", reason, answer: undefined };
  }
  const { clock } = context;
  const end = clock.now() + (options.deadlineMs ?? context.deadlineMs);
  const order = inOrder(networks, works, options.preferNetwork);
  let failure = new HandshakeError("silent", "there was no time to try");
  let at = "";
  for (const [i, network] of order.entries()) {
    const left = end - clock.now();
    if (left <= 0) break;
    at = endpoint(network.remote.text, context.port);
    // A dead network must not use up the time of those after it.
    const share = left / (order.length - i);
    const silence = () => new HandshakeError("silent", "it does not answer");
    const limit = deadline(context, share, silence, options.signal);
    try {
      return await attempt(context, peer, network, module, hello, limit.signal);
    } catch (error) {
      failure = error instanceof HandshakeError
        ? error
        : new HandshakeError("local", error instanceof Error ? error.message : String(error));
      if (!addressFailures.has(failure.code)) break;
    } finally {
      limit.clear();
    }
  }
  const { code, message, answer } = failure;
  const reason = code === "rejected"
    ? `${peer} refused: ${message}`
    : `The connection to ${peer}${at === "" ? "" : ` at ${at}`} failed: ${message}`;
  if (worthAnEvent.has(code) && !context.closing()) {
    context.throttle.note(peer, `dial ${code}`, (count) =>
      context.onEvent({
        kind: "link-refused",
        level: "warning",
        side: "dial",
        code,
        address: at,
        peer,
        count,
        text: `${reason}.` + (count > 1 ? ` (${count} times)` : ""),
      }));
  }
  return { kind: "refused", code, reason, answer };
}

/** Asks whether the peer's addresses accept connections, all networks at once. Does not throw. */
export async function probe(
  context: LinkContext,
  peer: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const networks = context.peers.get(peer) ?? [];
  const silence = () => new HandshakeError("silent", "it does not answer");
  const limit = deadline(context, timeoutMs, silence, signal);
  const results = await Promise.all(networks.map(async (network): Promise<ProbeResult> => {
    try {
      context.sockets.close(await connect(context, network, limit.signal));
      return "open";
    } catch (error) {
      const refused = error instanceof HandshakeError && error.code === "connection-refused";
      return refused ? "refused" : "silent";
    }
  }));
  limit.clear();
  return (["open", "refused"] as const).find((result) => results.includes(result)) ?? "silent";
}
