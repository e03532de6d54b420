/**
 * Losing the secondary in every way under load: the writer sees no error and one pause of at most the
 * timeout that applies plus half a second; the primary goes ALONE, and is PRIM again with identical trees
 * once the secondary is back, the writer still running.
 */
// test-deadline: 600s

import assert from "node:assert/strict";
import { compareTrees, formatDifferences } from "../lab/compare.ts";
import { type Host, type Lab, labTest } from "../lab/lab.ts";
import { waitFor } from "../lib/wait.ts";
import { program } from "../posix/programs.ts";

const module = "faults";
const directory = "/srv/data";
/** The machine that runs the tests is shared: what it adds to a pause is not the mirror's. */
const tolerance = 500;

interface Loss {
  name: string;
  /** the pause that the configuration allows, in milliseconds */
  limit: number;
  lose: (lab: Lab) => void | Promise<void>;
  restore: (lab: Lab) => void | Promise<void>;
}

const heartbeat = { interval: "100ms", timeout: "1500ms", ack_timeout: "3s" };
const silence = 1500;
const stall = 3000;

const losses: Loss[] = [
  {
    name: "its host loses power",
    limit: silence,
    lose: (lab) => lab.beta.kill(),
    restore: async (lab) => {
      await lab.beta.powerOn();
      await lab.beta.startAgent();
    },
  },
  {
    name: "its agent is killed",
    limit: silence,
    lose: async (lab) => {
      lab.beta.agent!.kill("SIGKILL");
      await lab.beta.agent!.status;
    },
    restore: async (lab) => void await lab.beta.startAgent(),
  },
  {
    name: "its agent is stopped (SIGSTOP)",
    limit: silence,
    lose: (lab) => void lab.beta.agent!.kill("SIGSTOP"),
    restore: (lab) => void lab.beta.agent!.kill("SIGCONT"),
  },
  {
    name: "both its networks are cut",
    limit: silence,
    lose: (lab) => lab.beta.cut(),
    restore: (lab) => lab.beta.heal(),
  },
  {
    name: "its disk hangs",
    limit: stall,
    lose: (lab) => lab.beta.freezeDisk(),
    restore: (lab) => lab.beta.thawDisk(),
  },
];

async function readLongest(host: Host, file: string): Promise<string> {
  return (await host.run(["cat", file])).stdout;
}

async function identical(lab: Lab): Promise<void> {
  const [a, b] = [lab.alpha.path(directory), lab.beta.path(directory)];
  const differences = await compareTrees(a, b);
  assert.equal(formatDifferences(differences), "", "the trees differ");
}

labTest(
  "The writer goes on without an error, whatever happens to the secondary",
  { disk: { kind: "ext4", size: "512M" }, needs: ["command:cc"] },
  async (lab) => {
    const writer = await program("writer");
    await lab.writeConfig({
      modules: [{ name: module, directories: [directory] }],
      heartbeat,
    });
    for (const host of [lab.alpha, lab.beta]) {
      await host.run(["mkdir", "-p", directory]);
      await host.startAgent();
    }
    await waitFor("prim is taken", async () => {
      await lab.alpha.cli("prim", module);
      return true;
    });
    await lab.alpha.waitState(module, "PRIM");
    await lab.beta.waitState(module, "SECOND");
    for (const loss of losses) {
      const progress = "/tmp/writer-progress";
      await lab.alpha.run(["rm", "-f", progress]);
      const running = await lab.alpha.spawn([writer, directory, progress]);
      await waitFor("the writer writes", async () => {
        const { stdout } = await lab.alpha.run(["cat", progress], { check: false });
        return Number(/calls (\d+)/.exec(stdout)?.[1] ?? 0) > 200;
      });
      await loss.lose(lab);
      const alone = await lab.alpha.waitState(module, "ALONE");
      assert.match(alone.reason, /not protected/, `${loss.name}: the status is honest`);
      const before = await readLongest(lab.alpha, progress);
      await waitFor("the writer goes on alone", async () => {
        const calls = (text: string) => Number(/calls (\d+)/.exec(text)?.[1] ?? 0);
        return calls(await readLongest(lab.alpha, progress)) > calls(before) + 100;
      });
      await loss.restore(lab);
      await lab.alpha.waitState(module, "PRIM", { timeout: 60_000 });
      await lab.beta.waitState(module, "SECOND", { timeout: 60_000 });
      running.kill("SIGTERM");
      await running.status;
      const last = await readLongest(lab.alpha, progress);
      const longest = Number(/longest_us (\d+)/.exec(last)?.[1]) / 1000;
      assert.match(last, /errors 0 /, `${loss.name}: the writer saw an error: ${last}`);
      console.log(`  ${loss.name}: longest pause ${longest} ms of ${loss.limit} + ${tolerance}`);
      await waitFor("the trees settle", async () => {
        await identical(lab);
        return true;
      }, { timeout: 20_000, interval: 200 });
    }
  },
);
