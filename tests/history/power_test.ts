import assert from "node:assert/strict";
import { labTest } from "../lab/lab.ts";
import { pause, waitFor } from "../lib/wait.ts";
import { readMark } from "./oracle.ts";
import { startTraffic } from "./processes.ts";
import { readProgress } from "./progress.ts";

const module = "power";
const directories = ["/srv/one", "/srv/two"];

for (const sync of ["write", "fsync"] as const) {
  labTest(
    `After both nodes lost power, each disk holds every mark that was fsynced (${sync})`,
    { disk: { kind: "ext4", size: "1G" } },
    async (lab) => {
      const { alpha, beta } = lab;
      await lab.writeConfig({ modules: [{ name: module, directories, sync }] });
      for (const host of [alpha, beta]) {
        await host.run(`mkdir -p ${directories.join(" ")}`);
        await host.startAgent();
      }
      await waitFor("prim", async () => (await alpha.tryCli("prim", module)).code === 0);
      await alpha.waitState(module, "PRIM");
      // The workload of mode `fsync` fsyncs marks, and notes only those: right for either mirror.
      const traffic = await startTraffic({
        spawn: (command, options) => alpha.spawn(command, options),
        seed: 1,
        round: 0,
        mode: "fsync",
        processes: 3,
        directories,
        progressDirectory: lab.directory,
      });
      await waitFor("some traffic", () => traffic.acknowledged() > 1500, { timeout: 60_000 });
      await pause(Math.random() * 200);
      await Promise.all([alpha.powerLoss(), beta.powerLoss()]);
      await traffic.ended;
      let checked = 0;
      for (const host of [alpha, beta]) {
        await host.powerOn();
        const copies = directories.map((path) => host.path(path));
        for (const { process, progress, round } of traffic.history.traffic) {
          const promised = readProgress(progress)!.marks;
          for (const [i] of directories.entries()) {
            const mark = readMark(copies, i, round, process);
            const what = `${host.name}: directory ${i}, process ${process}`;
            assert.ok(mark >= promised[i], `${what}: ${mark}, fsynced was ${promised[i]}`);
            checked += promised[i] > 0 ? 1 : 0;
          }
        }
      }
      assert.ok(checked > 0, "nothing had been fsynced");
    },
  );
}
