/**
 * Ten thousand random and mutated byte streams against the cluster port of agents that go on with
 * their work meanwhile. `UNDERSTUDY_FUZZ_SEED` repeats a run; `UNDERSTUDY_FUZZ_STREAMS` sets how many.
 */

import assert from "node:assert/strict";
import { openLibc } from "../../agent/platform/linux/libc.ts";
import { createControl } from "../../agent/cluster/control.ts";
import { openChannel } from "../../agent/cluster/channel.ts";
import { deriveKeys, parseSecret } from "../../agent/cluster/keys.ts";
import { createPoller } from "../../agent/cluster/poller.ts";
import { freeTlsContext, openTlsContext } from "../../agent/cluster/openssl.ts";
import { withTempDir } from "../lib/temp.ts";
import { waitFor } from "../lib/wait.ts";
import { createAttacker, type Target } from "./attacker.ts";
import { createGenerator } from "./generator.ts";
import { type RemoteNode, startRemoteNode } from "./remote.ts";

const seed = Number(
  Deno.env.get("UNDERSTUDY_FUZZ_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0],
);
const streams = Number(Deno.env.get("UNDERSTUDY_FUZZ_STREAMS") ?? 10_000);
/** Streams at once: fewer than a source may have unfinished, so that each is listened to. */
const concurrency = 12;
const secretText = "9".repeat(64);
const libc = openLibc();

interface Measurement {
  rss: number;
  /** objects and buffers that JavaScript holds */
  heap: number;
  descriptors: number;
  pause: number;
}

async function measure(node: RemoteNode): Promise<Measurement> {
  return await node.ask({ kind: "measure" }, 30_000);
}

for (const encryption of ["on", "off"] as const) {
  Deno.test(`random and mutated bytes neither crash, hang nor grow an agent, encryption ${encryption}`, async () => {
    console.log(`seed ${seed}, ${streams / 2} streams`);
    await withTempDir(async (directory) => {
      const port = encryption === "on" ? 29870 : 29871;
      const nodes = [
        { name: "alpha", addresses: ["127.82.0.1"] },
        { name: "beta", addresses: ["127.82.0.2"] },
      ];
      const heartbeat = { interval: 100, timeout: 5000 };
      const common = { nodes, port, encryption, heartbeat };
      let process: Deno.ChildProcess | undefined;
      const alpha = await startRemoteNode(directory, "alpha", {
        ...common,
        node: "alpha",
        secret: secretText,
        deadlineMs: 400,
        links: "drain",
      }, (command, log) => {
        process = new Deno.Command("sh", {
          args: ["-c", 'exec >"$1" 2>&1 && shift && exec "$@"', "sh", log, ...command],
          stdin: "null",
        }).spawn();
        return Promise.resolve();
      });
      const secret = parseSecret(secretText, "test");
      const keys = deriveKeys(secret);
      const poller = createPoller(libc);
      const tls = openTlsContext(keys.identity);
      const beta = createControl({
        ...common,
        libc,
        node: "beta",
        secret,
        view: () => [],
        onEvent: () => {},
        onView: () => {},
        onHello: () => ({ accept: true, record: {} }),
        onLink: () => {},
      });
      const target: Target = { address: "127.82.0.1", port, encryption };
      const attacker = createAttacker({
        libc,
        poller,
        tls,
        keys,
        target,
        from: "127.82.0.9",
        peer: "127.82.0.2",
      });

      /** A real node gets through, whatever else goes on. */
      async function linkWorks(): Promise<void> {
        await waitFor("a link between real nodes", async () => {
          const result = await beta.dial("alpha", "m", { digest: "", role: "sink", record: {} });
          if (result.kind === "linked") openChannel(libc, result.link).close();
          return result.kind === "linked";
        }, { interval: 50 });
      }

      async function attack(from: number, to: number): Promise<void> {
        let next = from;
        let ended = false;
        process!.status.then(() => ended = true);
        await Promise.all(Array.from({ length: concurrency }, async () => {
          while (next < to) {
            assert(!ended, `the agent has ended after stream ${next - 1}`);
            const number = next++;
            // Each stream has a seed of its own: it does not depend on the order in which they end.
            await attacker.stream(createGenerator(seed + number));
            if (number % 1000 === 999) await linkWorks();
          }
        }));
      }

      try {
        await waitFor("both nodes to hear each other", () => beta.peers()[0].networks[0].up);
        const warmUp = streams / 10;
        await attack(0, warmUp);
        const before = await measure(alpha);
        await attack(warmUp, streams / 2);
        await linkWorks();
        await waitFor("unfinished connections to end", async () => {
          return (await measure(alpha)).descriptors <= before.descriptors + 2;
        }, { interval: 100 });
        const after = await measure(alpha);
        console.log(
          `resident ${(before.rss / 1e6).toFixed(1)} to ${(after.rss / 1e6).toFixed(1)} MB, heap ` +
            `${(before.heap / 1e6).toFixed(1)} to ${(after.heap / 1e6).toFixed(1)} MB, ` +
            `longest pause ${after.pause.toFixed(0)} ms, ${alpha.events().length} events, ` +
            JSON.stringify(attacker.counts),
        );
        // V8's own reserves come in steps of 12 MB; 60 MB would be 13 KB a stream.
        assert(after.rss < before.rss + 60e6, "the process has grown");
        assert(after.heap < before.heap + 5e6, "the heap has grown");
        assert(alpha.events().length < 200, "the events were flooded");
        const kinds = alpha.events().map(({ event }) => event.kind);
        assert(!kinds.includes("peer-silent") && !kinds.includes("instance-changed"), `${kinds}`);
        await alpha.ask({ kind: "close" });
        assert.equal((await process!.status).code, 0);
      } finally {
        try {
          process?.kill("SIGKILL");
        } catch {
          // It has ended.
        }
        await process?.status;
        attacker.close();
        await beta.close();
        await poller.close();
        freeTlsContext(tls);
      }
    });
  });
}
