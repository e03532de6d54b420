/**
 * The cluster link of one node as a process of its own, for tests: it takes commands from a named
 * pipe, one JSON value a line, and prints events and answers, one JSON value a line.
 *
 * The only argument is a {@link NodeSetup} as JSON.
 */

import { POLLIN } from "../../agent/platform/linux/constants.ts";
import { allocate, openLibc } from "../../agent/platform/linux/libc.ts";
import { type Channel, openChannel } from "../../agent/cluster/channel.ts";
import { createControl } from "../../agent/cluster/control.ts";
import { parseSecret } from "../../agent/cluster/keys.ts";
import { pollOne } from "../../agent/cluster/testing.ts";
import type { LinkHandle } from "../../agent/mirror/messages.ts";

export interface NodeSetup {
  node: string;
  nodes: { name: string; addresses: string[] }[];
  port: number;
  encryption: "on" | "off";
  secret: string;
  heartbeat: { interval: number; timeout: number; ack_timeout?: number };
  deadlineMs?: number;
  /** path of the named pipe */
  commands: string;
  /** what is done with accepted links: kept open, or read to their end and closed */
  links: "keep" | "drain";
}

/** `id` comes back in the answer. */
export type Command =
  | { id: number; kind: "peers" }
  | { id: number; kind: "dial"; peer: string; preferNetwork?: number }
  | { id: number; kind: "probe"; peer: string }
  /** Sends on the dialled link until it breaks; answers with the reason and the time it took. */
  | { id: number; kind: "send-until-broken" }
  /** Memory after a collection, descriptors, and the longest pause of the event loop since the last. */
  | { id: number; kind: "measure" }
  | { id: number; kind: "close" };

const setup: NodeSetup = JSON.parse(Deno.args[0]);
const libc = openLibc();
const encoder = new TextEncoder();
const print = (value: unknown) =>
  Deno.stdout.writeSync(encoder.encode(JSON.stringify(value) + "\n"));

const allocator = Deno.dlopen("libc.so.6", {
  malloc_trim: { parameters: ["usize"], result: "i32" },
});

let dialled: Channel | undefined;
const kept: Channel[] = [];

/** Reads whatever comes on an accepted link, as a data path that knows no such frames would. */
async function drain(link: LinkHandle): Promise<void> {
  const channel = openChannel(libc, link);
  const memory = allocate(65536);
  const end = performance.now() + 1000;
  while (performance.now() < end && channel.receive(memory.address, 65536) >= 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  channel.close();
}

const control = createControl({
  libc,
  node: setup.node,
  nodes: setup.nodes,
  port: setup.port,
  encryption: setup.encryption,
  secret: parseSecret(setup.secret, "the test's setup"),
  heartbeat: setup.heartbeat,
  ...(setup.deadlineMs === undefined ? {} : { deadlineMs: setup.deadlineMs }),
  view: () => [],
  onEvent: (event) => print({ event, at: performance.now() }),
  onView: () => {},
  onHello: () => ({ accept: true, record: {} }),
  onLink(link) {
    if (setup.links === "drain") drain(link);
    else kept.push(openChannel(libc, link));
  },
});

let longestPause = 0;
let seen = performance.now();
setInterval(() => {
  longestPause = Math.max(longestPause, performance.now() - seen - 10);
  seen = performance.now();
}, 10);

// Whoever kills the test does not leave this behind.
const parent = Deno.ppid;
setInterval(() => {
  if (Deno.ppid !== parent) Deno.exit(1);
}, 1000);

async function answer(command: Command): Promise<unknown> {
  switch (command.kind) {
    case "peers":
      return control.peers();
    case "dial": {
      const options = command.preferNetwork === undefined
        ? {}
        : { preferNetwork: command.preferNetwork };
      const started = performance.now();
      const hello = { digest: "d", role: "sink" as const, record: {} };
      const result = await control.dial(command.peer, "m", hello, options);
      if (result.kind === "linked") {
        dialled?.close();
        dialled = openChannel(libc, result.link);
      }
      return { ...result, ms: performance.now() - started };
    }
    case "probe":
      return await control.probe(command.peer);
    case "send-until-broken": {
      const memory = allocate(65536);
      const started = performance.now();
      for (;;) {
        if (dialled!.send(memory.address, 1000) < 0 || dialled!.receive(memory.address, 1000) < 0) {
          return { reason: dialled!.reason(), ms: performance.now() - started };
        }
        if (pollOne(libc, dialled!.fd, POLLIN, 0) === 0) {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    }
    case "measure": {
      (globalThis as { gc?: () => void }).gc?.();
      // Gives back what is free, so that what is left is what is held.
      allocator.symbols.malloc_trim(0n);
      const pause = longestPause;
      longestPause = 0;
      const { rss, heapUsed, external } = Deno.memoryUsage();
      const descriptors = [...Deno.readDirSync("/proc/self/fd")].length;
      return { rss, heap: heapUsed + external, descriptors, pause };
    }
    case "close":
      for (const channel of [...kept, ...(dialled ? [dialled] : [])]) channel.close();
      await control.close();
      return {};
  }
}

const pipe = await Deno.open(setup.commands, { read: true, write: true });
print({ ready: true });
const lines = pipe.readable.pipeThrough(new TextDecoderStream());
let rest = "";
for await (const text of lines) {
  const parts = (rest + text).split("\n");
  rest = parts.pop()!;
  for (const line of parts) {
    const command: Command = JSON.parse(line);
    // Not awaited: a probe and a dial may run at once.
    answer(command).then((result) => {
      print({ id: command.id, result });
      if (command.kind === "close") Deno.exit(0);
    });
  }
}
