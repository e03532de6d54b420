/** What the tests of the cluster link share: agents on loopback addresses, and waiting for things. */

import type { LinkHandle } from "../mirror/messages.ts";
import { allocate, type Libc } from "../platform/linux/libc.ts";
import { openChannel } from "./channel.ts";
import { type Control, type ControlOptions, createControl, type Hello } from "./control.ts";
import type { ClusterEvent } from "./events.ts";
import { parseSecret } from "./keys.ts";
import type { PeerView } from "./view.ts";

/** A control with everything it has reported. */
export interface TestNode {
  control: Control;
  events: ClusterEvent[];
  views: PeerView[];
  hellos: Hello[];
  links: LinkHandle[];
  /** Waits until an event of this kind (and code) is there, and returns it. */
  event(kind: ClusterEvent["kind"], code?: string): Promise<ClusterEvent>;
  close(): Promise<void>;
}

export const testSecret: Uint8Array = parseSecret("0123456789abcdef".repeat(4), "test");

/** Addresses of the nodes: any address of 127/8 is this host's, so both networks are on loopback. */
export const testNodes = [
  { name: "alpha", addresses: ["127.81.1.1", "127.81.2.1"] },
  { name: "beta", addresses: ["127.81.1.2", "127.81.2.2"] },
  { name: "gamma", addresses: ["127.81.1.3", "127.81.2.3"] },
];

/** Waits for a condition, with a deadline. */
export async function until(
  condition: () => boolean,
  what: string,
  timeoutMs = 5_000,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Starts a node on loopback. */
export function startNode(
  libc: Libc,
  node: string,
  port: number,
  options: Partial<ControlOptions> = {},
): TestNode {
  const events: ClusterEvent[] = [];
  const views: PeerView[] = [];
  const hellos: Hello[] = [];
  const links: LinkHandle[] = [];
  const control = createControl({
    libc,
    node,
    nodes: testNodes.slice(0, 2),
    port,
    encryption: "on",
    secret: testSecret,
    heartbeat: { interval: 50, timeout: 500 },
    view: () => [],
    onEvent: (event) => events.push(event),
    onView: (_, view) => views.push(view),
    onHello: (hello) => {
      hellos.push(hello);
      return { accept: true, record: { seen: hello.record } };
    },
    onLink: (link) => links.push(link),
    ...options,
  });
  return {
    control,
    events,
    views,
    hellos,
    links,
    async event(kind, code) {
      const find = () =>
        events.find((event) =>
          event.kind === kind && (code === undefined || ("code" in event && event.code === code))
        );
      await until(() => find() !== undefined, `${node}: ${kind} ${code ?? ""}`);
      return find()!;
    },
    async close() {
      for (const link of links) openChannel(libc, link).close();
      await control.close();
    },
  };
}

/** Two ends of a connection, by a handshake over loopback. */
export async function connectPair(
  libc: Libc,
  port: number,
  encryption: "on" | "off",
): Promise<[LinkHandle, LinkHandle]> {
  const alpha = startNode(libc, "alpha", port, { encryption });
  const beta = startNode(libc, "beta", port, { encryption });
  try {
    const result = await beta.control.dial("alpha", "m", { digest: "", role: "sink", record: {} });
    if (result.kind === "refused") throw new Error(result.reason);
    await until(() => alpha.links.length === 1, "the accepted link");
    return [alpha.links.pop()!, result.link];
  } finally {
    await alpha.close();
    await beta.close();
  }
}

/** Number of this process's open descriptors. */
export function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Waits for events on one descriptor, blocking the thread. */
export function pollOne(libc: Libc, fd: number, events: number, timeoutMs: number): number {
  const set = allocate(128);
  set.view.setInt32(0, fd, true);
  set.view.setInt16(4, events, true);
  return libc.sys.poll(set.address, 1, timeoutMs);
}
