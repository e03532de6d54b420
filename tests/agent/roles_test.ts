/** Parts given by hand, with real agents: who serves, who follows, and what is refused. */
// test-deadline: 600s

import assert from "node:assert/strict";
import { compareTrees, formatDifferences } from "../lab/compare.ts";
import { configDirectory } from "../lab/config.ts";
import type { Host, Lab } from "../lab/lab.ts";
import { labTest } from "../lab/lab.ts";
import { waitFor } from "../lib/wait.ts";

const module = "roles";
const directory = "/srv/data";
const heartbeat = { interval: "100ms", timeout: "1500ms" };

async function startBoth(lab: Lab): Promise<{ alpha: Host; beta: Host }> {
  const { alpha, beta } = lab;
  await lab.writeConfig({ modules: [{ name: module, directories: [directory] }], heartbeat });
  for (const host of [alpha, beta]) {
    await host.run(["mkdir", "-p", directory]);
    await host.startAgent();
    await host.waitState(module, "WAIT", { ready: false });
  }
  return { alpha, beta };
}

async function startMirrored(lab: Lab): Promise<{ alpha: Host; beta: Host }> {
  const hosts = await startBoth(lab);
  await hosts.alpha.cli("prim", module);
  await inSync(hosts.alpha, hosts.beta);
  return hosts;
}

async function inSync(primary: Host, secondary: Host): Promise<void> {
  await primary.waitState(module, "PRIM");
  await secondary.waitState(module, "SECOND");
}

async function reason(host: Host, pattern: RegExp): Promise<void> {
  await waitFor(`${host.name} says ${pattern}`, async () => {
    return pattern.test((await host.status(module)).reason);
  });
}

async function assertEqualTrees(lab: Lab): Promise<void> {
  await waitFor("the trees are equal", async () => {
    const differences = await compareTrees(lab.alpha.path(directory), lab.beta.path(directory));
    assert.equal(formatDifferences(differences), "");
    return true;
  });
}

labTest(
  "A fresh pair waits for prim, and the empty node follows the other one's files",
  {},
  async (lab) => {
    const { alpha, beta } = lab;
    await lab.writeConfig({ modules: [{ name: module, directories: [directory] }], heartbeat });
    await alpha.run(`mkdir -p ${directory}/below && echo data >${directory}/below/file`);
    await beta.run(["mkdir", "-p", directory]);
    for (const host of [alpha, beta]) await host.startAgent();
    for (const host of [alpha, beta]) {
      await reason(host, /no node was ever told to hold the good data: `understudy prim roles`/);
      const write = await host.run(["touch", `${directory}/too-early`], { check: false });
      assert.match(write.stderr, /Read-only/);
    }
    const served = await alpha.cli("prim", module);
    assert.match(served.stdout, /serves here, generation 1/);
    await inSync(alpha, beta);
    assert.equal((await beta.run(["cat", `${directory}/below/file`])).stdout, "data\n");
    const write = await beta.run(["touch", `${directory}/not-here`], { check: false });
    assert.match(write.stderr, /Read-only/);
    assert.equal((await alpha.http(`/ready/${module}`)).status, 200);
    assert.equal((await beta.http(`/ready/${module}`)).status, 503);
    await alpha.run(`echo more >${directory}/more`);
    await assertEqualTrees(lab);
  },
);

labTest(
  "Files that were never mirrored stay until second lets them be replaced",
  {},
  async (lab) => {
    const { alpha, beta } = lab;
    await lab.writeConfig({ modules: [{ name: module, directories: [directory] }], heartbeat });
    await alpha.run(`mkdir -p ${directory} && echo good >${directory}/file`);
    await beta.run(`mkdir -p ${directory} && echo other >${directory}/file`);
    for (const host of [alpha, beta]) await host.startAgent();
    await alpha.waitState(module, "WAIT", { ready: false });
    await alpha.cli("prim", module);
    await reason(beta, /hold files that were never mirrored: `understudy second roles` here/);
    assert.equal((await alpha.status(module)).state, "ALONE");
    assert.match((await alpha.status(module)).reason, /not protected/);
    assert.equal((await beta.run(["cat", `${directory}/file`])).stdout, "other\n");
    await beta.cli("second", module);
    await inSync(alpha, beta);
    assert.equal((await beta.run(["cat", `${directory}/file`])).stdout, "good\n");
  },
);

labTest("Nodes whose definitions differ do not mirror until they agree", {}, async (lab) => {
  const { alpha, beta } = await startMirrored(lab);
  const file = `${configDirectory}/modules/${module}.toml`;
  await beta.run(`sed -i 's/sync = "write"/sync = "fsync"/' ${file}`);
  await waitFor("the change is noticed", async () => (await beta.status(module)).changed);
  assert.equal((await alpha.status(module)).state, "PRIM", "what runs is not disturbed");
  await beta.cli("restart", module);
  await reason(beta, /alpha has another definition of roles/);
  await reason(alpha, /not protected.*beta has another definition of roles/);
  await alpha.run(`sed -i 's/sync = "write"/sync = "fsync"/' ${file}`);
  await waitFor("the change is noticed", async () => (await alpha.status(module)).changed);
  await alpha.cli("restart", module);
  await inSync(alpha, beta);
});

labTest("prim is refused while the other one serves, also with force", {}, async (lab) => {
  const { beta } = await startMirrored(lab);
  const refused = await beta.tryCli("prim", module);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /alpha serves roles: stop it there first/);
  const forced = await beta.http(`/modules/${module}/prim`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: '{"force":true}',
  });
  assert.equal(forced.status, 409);
  assert.equal((await beta.status(module)).state, "SECOND");
});

labTest("prim typed on both nodes at once ends with one that serves", {}, async (lab) => {
  const { alpha, beta } = await startBoth(lab);
  const answers = await Promise.all([
    alpha.tryCli("prim", module),
    beta.tryCli("prim", module),
  ]);
  assert.deepEqual(answers.map((a) => a.code).sort(), [0, 1], JSON.stringify(answers));
  const [primary, secondary] = answers[0].code === 0 ? [alpha, beta] : [beta, alpha];
  await inSync(primary, secondary);
});

labTest(
  "The secondary of a dead primary serves on prim; the returning one follows",
  {},
  async (lab) => {
    const { alpha, beta } = await startMirrored(lab);
    await alpha.run(`echo acknowledged >${directory}/file`);
    await alpha.kill();
    await reason(
      beta,
      /alpha is silent .*this node's data is good: `understudy prim roles` here is safe/,
    );
    await beta.cli("prim", module);
    const { generation } = await beta.waitState(module, "ALONE");
    assert.equal(generation, 2);
    assert.equal((await beta.run(["cat", `${directory}/file`])).stdout, "acknowledged\n");
    await beta.run(`echo later >${directory}/later`);
    await alpha.powerOn();
    await alpha.startAgent();
    await inSync(beta, alpha);
    await assertEqualTrees(lab);
  },
);

labTest(
  "An outdated node serves with force only, and then the newer one must give up",
  {},
  async (lab) => {
    const { alpha, beta } = await startMirrored(lab);
    await beta.cli("stop", module);
    await alpha.waitState(module, "ALONE");
    await alpha.run(`echo newer >${directory}/newer`);
    await alpha.kill();
    await beta.cli("start", module);
    await reason(beta, /alpha is silent.*outdated/);
    const refused = await beta.tryCli("prim", module);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /outdated/);
    const forced = await beta.http(`/modules/${module}/prim`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: '{"force":true}',
    });
    assert.equal(forced.status, 200, forced.body);
    await alpha.powerOn();
    await alpha.startAgent();
    await reason(alpha, /both nodes were told to hold the good data.*`understudy second roles`/);
    assert.equal((await alpha.run(["cat", `${directory}/newer`])).stdout, "newer\n");
    await alpha.cli("second", module);
    await inSync(beta, alpha);
    await assertEqualTrees(lab);
  },
);

labTest(
  "Both told to serve while cut off from each other do not mirror until one gives up",
  {},
  async (lab) => {
    const { alpha, beta } = await startMirrored(lab);
    await beta.cut();
    await alpha.waitState(module, "ALONE");
    await reason(beta, /alpha is silent/);
    await beta.cli("prim", module);
    await alpha.run(`echo alpha >${directory}/alpha`);
    await beta.run(`echo beta >${directory}/beta`);
    await beta.heal();
    await reason(alpha, /beta serves too, both nodes were told to hold the good data/);
    await reason(beta, /alpha serves too, both nodes were told to hold the good data/);
    await beta.cli("second", module);
    await inSync(alpha, beta);
    await assertEqualTrees(lab);
  },
);

labTest("A restarted agent of the primary serves again, and the mirror stands", {}, async (lab) => {
  const { alpha, beta } = await startMirrored(lab);
  await alpha.run(`echo kept >${directory}/kept`);
  await alpha.agent!.stop();
  await alpha.startAgent();
  await inSync(alpha, beta);
  alpha.agent!.kill("SIGKILL");
  await alpha.agent!.status;
  await alpha.startAgent();
  await inSync(alpha, beta);
  assert.equal((await alpha.run(["cat", `${directory}/kept`])).stdout, "kept\n");
  await assertEqualTrees(lab);
});

labTest("A stopped secondary costs the writer no timeout", {}, async (lab) => {
  const { alpha, beta } = await startMirrored(lab);
  const began = performance.now();
  await beta.cli("stop", module);
  await alpha.run(`echo goes-on >${directory}/file`);
  await alpha.waitState(module, "ALONE");
  assert.ok(performance.now() - began < 5000);
  await reason(alpha, /roles is stopped on beta/);
  await beta.cli("start", module);
  await inSync(alpha, beta);
  await assertEqualTrees(lab);
});

labTest("second on the primary and prim on the other one exchange the parts", {}, async (lab) => {
  const { alpha, beta } = await startMirrored(lab);
  for (const [from, to] of [[alpha, beta], [beta, alpha]]) {
    await from.cli("second", module);
    await to.cli("prim", module);
    await inSync(to, from);
    await to.run(`echo ${to.name} >>${directory}/file`);
  }
  await assertEqualTrees(lab);
  assert.equal((await beta.run(["cat", `${directory}/file`])).stdout, "beta\nalpha\n");
});

labTest("Users whose numbers differ between the nodes are warned of", {}, async (lab) => {
  const { alpha, beta } = lab;
  await lab.writeConfig({ modules: [{ name: module, directories: [directory] }], heartbeat });
  await alpha.run("echo 'shop:x:2001:2001::/:/bin/false' >>/etc/passwd");
  await beta.run("echo 'shop:x:2002:2002::/:/bin/false' >>/etc/passwd");
  await alpha.run(
    `mkdir -p ${directory} && touch ${directory}/file && chown 2001 ${directory}/file`,
  );
  await beta.run(["mkdir", "-p", directory]);
  for (const host of [alpha, beta]) await host.startAgent();
  await alpha.waitState(module, "WAIT", { ready: false });
  await alpha.cli("prim", module);
  await inSync(alpha, beta);
  const { stdout } = await alpha.cli("events", module);
  assert.match(stdout, /User shop is number 2001 here and is number 2002 on beta/);
});
