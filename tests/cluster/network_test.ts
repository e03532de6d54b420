/** The cluster link between two hosts and over two networks, with the networks' faults. */

import assert from "node:assert/strict";
import { labNeeds, testWith } from "../lib/requires.ts";
import { waitFor } from "../lib/wait.ts";
import { type Host, type Lab, type Process, withLab } from "../lab/lab.ts";
import type { NodeSetup } from "./node.ts";
import { type RemoteNode, startRemoteNode } from "./remote.ts";

// The agent itself is not needed.
const needs = labNeeds.filter((need) => need !== "binary");
const interval = 100;
const timeout = 1000;
const port = 9700;
/** Where the modules of node.ts are cached; hosts have an environment of their own. */
const denoDirectory = Deno.env.get("DENO_DIR") ??
  `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;

interface Running extends RemoteNode {
  process: Process;
}

async function start(
  lab: Lab,
  host: Host,
  { family = 4, name = host.name, ...more }: Partial<NodeSetup> & {
    family?: 4 | 6;
    name?: string;
  } = {},
): Promise<Running> {
  const nodes = [lab.alpha, lab.beta].map((each) => ({
    name: each.name,
    addresses: family === 4 ? each.addresses : each.addresses6,
  }));
  let process: Process | undefined;
  const setup: Omit<NodeSetup, "commands"> = {
    node: host.name,
    nodes,
    port,
    encryption: "on",
    secret: "5".repeat(64),
    heartbeat: { interval, timeout, ack_timeout: 1000 },
    links: "keep",
    ...more,
  };
  const remote = await startRemoteNode(
    lab.directory,
    name,
    setup,
    async (command, log) =>
      process = await host.spawn(command, { log, env: { DENO_DIR: denoDirectory } }),
  );
  return { ...remote, process: process! };
}

async function startBoth(lab: Lab, options: Parameters<typeof start>[2] = {}) {
  const alpha = await start(lab, lab.alpha, options);
  const beta = await start(lab, lab.beta, options);
  for (const node of [alpha, beta]) {
    await node.event("peer-up");
    await waitFor("both networks", async () => {
      const [peer] = await node.ask({ kind: "peers" });
      return peer.networks.every((network: { up: boolean }) => network.up);
    });
  }
  return { alpha, beta };
}

testWith(
  needs,
  "a cut network is noticed by both nodes, and replication finds the other one",
  () =>
    withLab({}, async (lab) => {
      const { alpha, beta } = await startBoth(lab);
      await lab.beta.cut("net0");
      for (const node of [alpha, beta]) {
        const event = await node.event("network-down");
        assert(event.kind === "network-down");
        assert.equal(event.network, 0);
        assert.equal(event.direction, "both");
      }
      const linked = await beta.ask({ kind: "dial", peer: "alpha" });
      assert.equal(linked.kind, "linked", linked.reason);
      assert.equal(linked.link.address, lab.beta.addresses[1]);
      assert(linked.ms < 1000, `the dead network cost ${linked.ms} ms`);
      await lab.beta.heal();
      for (const node of [alpha, beta]) await node.event("network-up");
      for (const node of [alpha, beta]) {
        assert(!node.events().some(({ event }) => event.kind === "peer-silent"));
      }
      const back = await beta.ask({ kind: "dial", peer: "alpha" });
      assert.equal(back.link.address, lab.beta.addresses[0]);
      const preferred = await beta.ask({ kind: "dial", peer: "alpha", preferNetwork: 1 });
      assert.equal(preferred.link.address, lab.beta.addresses[1]);
    }).then(() => {}),
);

testWith(
  needs,
  "packets lost one way are seen by both nodes, with the direction",
  () =>
    withLab({}, async (lab) => {
      const { alpha, beta } = await startBoth(lab);
      const drop = await lab.drop({ from: "alpha", to: "beta", network: "net1" });
      const [sender, receiver] = [
        await alpha.event("network-down"),
        await beta.event("network-down"),
      ];
      assert(sender.kind === "network-down" && receiver.kind === "network-down");
      assert.deepEqual([sender.network, sender.direction], [1, "outgoing"]);
      assert.deepEqual([receiver.network, receiver.direction], [1, "incoming"]);
      await drop.undo();
      for (const node of [alpha, beta]) await node.event("network-up");
    }).then(() => {}),
);

testWith(
  needs,
  "a partition is silence on both sides, and a silent port proves nothing",
  () =>
    withLab({}, async (lab) => {
      const { alpha, beta } = await startBoth(lab);
      const partition = await lab.partition("alpha", "beta");
      for (const node of [alpha, beta]) {
        const event = await node.event("peer-silent");
        assert(event.kind === "peer-silent");
        assert(event.silentMs >= timeout && event.silentMs < timeout + 5 * interval);
      }
      assert.equal(await alpha.ask({ kind: "probe", peer: "beta" }), "silent");
      const refused = await alpha.ask({ kind: "dial", peer: "beta" });
      assert.equal(refused.code, "unreachable", refused.reason);
      const before = alpha.events().length;
      await partition.undo();
      await alpha.event("peer-up", before);
      assert(!alpha.events().some(({ event }) => event.kind === "instance-changed"));
    }).then(() => {}),
);

testWith(
  needs,
  "a dead agent refuses, a stopped one accepts, a started one is another instance",
  () =>
    withLab({}, async (lab) => {
      const { alpha, beta } = await startBoth(lab);
      beta.process.kill("SIGSTOP");
      await alpha.event("peer-silent");
      assert.equal(await alpha.ask({ kind: "probe", peer: "beta" }), "open");
      const silent = await alpha.ask({ kind: "dial", peer: "beta" });
      assert.equal(silent.code, "silent", silent.reason);
      const [stopped, heard] = [alpha.events().length, beta.events().length];
      beta.process.kill("SIGCONT");
      await alpha.event("peer-up", stopped);
      // The one that stood still has missed nothing but its own time.
      await waitFor("heartbeats to be heard again", async () => {
        const [peer] = await beta.ask({ kind: "peers" });
        return peer.networks.every((network: { up: boolean }) => network.up);
      });
      const since = beta.events().slice(heard).map(({ event }) => event.kind);
      assert(!since.includes("peer-silent") && !since.includes("network-down"), `${since}`);

      beta.process.kill("SIGKILL");
      const killed = alpha.events().length;
      await alpha.event("peer-silent", killed);
      assert.equal(await alpha.ask({ kind: "probe", peer: "beta" }), "refused");
      await start(lab, lab.beta, { name: "beta-again" });
      await alpha.event("instance-changed", killed);
      await alpha.event("peer-up", killed);
    }).then(() => {}),
);

testWith(
  needs,
  "a link whose network dies breaks, with a reason",
  () =>
    withLab({}, async (lab) => {
      const { beta } = await startBoth(lab);
      const linked = await beta.ask({ kind: "dial", peer: "alpha" });
      assert.equal(linked.kind, "linked", linked.reason);
      const breaking = beta.ask({ kind: "send-until-broken" }, 20_000);
      await lab.partition("alpha", "beta");
      const { reason, ms } = await breaking;
      assert.match(reason, /stopped answering|EHOSTUNREACH/);
      assert(ms < 10_000, `${ms} ms`);
    }).then(() => {}),
);

testWith(
  needs,
  "an own address that is not there is named, and used when it comes",
  () =>
    withLab({}, async (lab) => {
      await lab.alpha.run(`ip addr del ${lab.alpha.addresses[1]}/24 dev eth1`);
      const alpha = await start(lab, lab.alpha);
      await start(lab, lab.beta);
      await alpha.event("peer-up");
      const missing = await alpha.event("address-missing");
      assert(missing.kind === "address-missing" && missing.address === lab.alpha.addresses[1]);
      await alpha.event("network-down");
      await lab.alpha.run(`ip addr add ${lab.alpha.addresses[1]}/24 dev eth1`);
      await alpha.event("network-up");
    }).then(() => {}),
);

testWith(needs, "everything works over IPv6 as well", () =>
  withLab({}, async (lab) => {
    const { alpha, beta } = await startBoth(lab, { family: 6, encryption: "off" });
    const linked = await beta.ask({ kind: "dial", peer: "alpha" });
    assert.equal(linked.kind, "linked", linked.reason);
    assert.equal(linked.link.address, lab.beta.addresses6[0]);
    assert.equal(await alpha.ask({ kind: "probe", peer: "beta" }), "open");
    await lab.beta.kill();
    await alpha.event("peer-silent");
  }).then(() => {}));
