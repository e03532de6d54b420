/** Networks that fail while the nodes still hear each other: the mirror moves, or goes on alone. */
// test-deadline: 300s

import assert from "node:assert/strict";
import { compareTrees, formatDifferences } from "../lab/compare.ts";
import type { Host, Lab } from "../lab/lab.ts";
import { labTest } from "../lab/lab.ts";
import { waitFor } from "../lib/wait.ts";
import { program } from "../posix/programs.ts";

const module = "networks";
const directory = "/srv/data";
const timeout = 1500;
/** What a shared machine may add to a pause. */
const tolerance = 500;
const progress = "/tmp/writer-progress";

interface Written {
  calls: number;
  errors: number;
  longest: number;
}

async function read(host: Host): Promise<Written> {
  const { stdout } = await host.run(["cat", progress], { check: false });
  const number = (name: string) => Number(new RegExp(`${name} (\\d+)`).exec(stdout)?.[1] ?? 0);
  return { calls: number("calls"), errors: number("errors"), longest: number("longest_us") / 1000 };
}

/** Runs `body` while a writer writes on alpha; returns what the writer saw. */
async function whileWriting(lab: Lab, body: () => Promise<void>): Promise<Written> {
  const writer = await program("writer");
  await lab.alpha.run(["rm", "-f", progress]);
  const running = await lab.alpha.spawn([writer, directory, progress]);
  const goesOn = async () => {
    const { calls } = await read(lab.alpha);
    await waitFor("the writer writes", async () => (await read(lab.alpha)).calls > calls + 100);
  };
  await goesOn();
  await body();
  await goesOn();
  running.kill("SIGTERM");
  await running.status;
  return await read(lab.alpha);
}

async function startMirrored(lab: Lab): Promise<void> {
  await lab.writeConfig({
    modules: [{ name: module, directories: [directory] }],
    heartbeat: { interval: "100ms", timeout: `${timeout}ms` },
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
  await lab.alpha.waitState(module, "PRIM");
  await lab.beta.waitState(module, "SECOND");
}

async function assertEqualTrees(lab: Lab): Promise<void> {
  await waitFor("the trees are equal", async () => {
    const differences = await compareTrees(lab.alpha.path(directory), lab.beta.path(directory));
    assert.equal(formatDifferences(differences), "");
    return true;
  }, { timeout: 20_000, interval: 200 });
}

async function events(host: Host, pattern: RegExp): Promise<void> {
  await waitFor(`${host.name} says ${pattern}`, async () => {
    return pattern.test((await host.cli("events")).stdout);
  });
}

labTest(
  "When a network fails, the mirror moves to the next one and never goes alone",
  { needs: ["command:cc"] },
  async (lab) => {
    await startMirrored(lab);
    const written = await whileWriting(lab, async () => {
      await lab.beta.cut("net0");
      await events(lab.alpha, /mirrored to beta over a new link/);
      await inSync(lab);
      await lab.beta.heal();
      await events(lab.beta, /Network 1 .* works again/);
      await lab.beta.cut("net1");
      await waitFor("it moves back", async () => {
        const { stdout } = await lab.alpha.cli("events");
        return stdout.split("over a new link").length === 3;
      });
      await inSync(lab);
    });
    assert.equal(written.errors, 0);
    assert.ok(written.longest <= timeout + tolerance, `a pause of ${written.longest} ms`);
    assert.equal((await lab.alpha.status(module)).generation, 1, "it never acknowledged alone");
    await assertEqualTrees(lab);
  },
);

labTest(
  "Where replication's port is refused, the primary goes on alone, and comes back by itself",
  { needs: ["command:cc"] },
  async (lab) => {
    await startMirrored(lab);
    const written = await whileWriting(lab, async () => {
      const refusal = await lab.alpha.reject(9700, "tcp");
      await lab.alpha.waitState(module, "ALONE");
      const { reason } = await lab.alpha.status(module);
      assert.match(reason, /not protected/);
      await waitFor("beta says why", async () => {
        const status = await lab.beta.status(module);
        return status.sync === "outdated" && status.state === "SECOND" && !status.ready;
      });
      await refusal.undo();
      await inSync(lab);
    });
    assert.equal(written.errors, 0);
    assert.ok(written.longest <= timeout + tolerance, `a pause of ${written.longest} ms`);
    await assertEqualTrees(lab);
  },
);
