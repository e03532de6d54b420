/** Disks that fill up: the application is told where it is its own node's, and never sees the other's. */
// test-deadline: 300s

import assert from "node:assert/strict";
import { compareTrees, formatDifferences } from "../lab/compare.ts";
import { type Lab, labTest } from "../lab/lab.ts";
import { waitFor } from "../lib/wait.ts";

const module = "disk";
const directory = "/srv/data";
const small = { kind: "ext4", size: "192M" } as const;

async function startMirrored(lab: Lab): Promise<void> {
  await lab.writeConfig({
    modules: [{ name: module, directories: [directory] }],
    heartbeat: { interval: "100ms", timeout: "1500ms" },
  });
  for (const host of [lab.alpha, lab.beta]) {
    await host.run(["mkdir", "-p", directory]);
    await host.startAgent();
  }
  await lab.alpha.waitState(module, "WAIT", { ready: false });
  await lab.alpha.cli("prim", module);
  await inSync(lab);
}

async function inSync(lab: Lab): Promise<void> {
  await lab.alpha.waitState(module, "PRIM", { timeout: 60_000 });
  await lab.beta.waitState(module, "SECOND", { timeout: 60_000 });
}

async function assertEqualTrees(lab: Lab): Promise<void> {
  await waitFor("the trees are equal", async () => {
    const differences = await compareTrees(lab.alpha.path(directory), lab.beta.path(directory));
    assert.equal(formatDifferences(differences), "");
    return true;
  }, { timeout: 20_000, interval: 200 });
}

labTest("A secondary whose disk is full leaves the mirror, and returns when there is room", {
  disk: small,
}, async (lab) => {
  const { alpha, beta } = lab;
  await startMirrored(lab);
  await beta.fillDisk();
  await alpha.run(`dd if=/dev/urandom of=${directory}/big bs=1M count=20 conv=fsync status=none`);
  const { reason } = await alpha.waitState(module, "ALONE");
  assert.match(reason, /not protected/);
  await waitFor("beta says that its disk is full", async () => {
    const { stdout } = await beta.cli("events", module);
    return /outdated from now on: .*(28|ENOSPC|space)/.test(stdout);
  });
  await alpha.run(`echo goes-on >${directory}/small`);
  await beta.emptyDisk();
  await inSync(lab);
  await assertEqualTrees(lab);
});

labTest("A primary whose disk is full tells its application, and the copies stay the same", {
  disk: small,
}, async (lab) => {
  const { alpha } = lab;
  await startMirrored(lab);
  await alpha.fillDisk(1 << 20);
  const full = await alpha.run(
    `dd if=/dev/urandom of=${directory}/big bs=64k count=400 conv=fsync status=none`,
    { check: false },
  );
  assert.match(full.stderr, /No space left on device/);
  await alpha.emptyDisk();
  await alpha.run(`echo goes-on >${directory}/small`);
  await inSync(lab);
  await assertEqualTrees(lab);
});

labTest(
  "Where the state directory's disk is full, parts are still given and changed",
  { disk: small },
  async (lab) => {
    const { alpha, beta } = lab;
    await lab.writeConfig({
      modules: [{ name: module, directories: [directory] }],
      heartbeat: { interval: "100ms", timeout: "1500ms" },
    });
    for (const host of [alpha, beta]) {
      await host.run(["mkdir", "-p", directory]);
      await host.startAgent();
      await host.waitState(module, "WAIT", { ready: false });
    }
    await alpha.fillDisk();
    await alpha.cli("prim", module);
    await inSync(lab);
    await beta.kill();
    const { generation } = await alpha.waitState(module, "ALONE");
    assert.equal(generation, 2, "the next generation is on the full disk");
    assert.match((await alpha.run("df --output=avail /srv | tail -1")).stdout, /^ *0$/m);
  },
);
