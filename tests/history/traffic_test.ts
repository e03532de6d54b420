import assert from "node:assert/strict";
import { spawn } from "../lab/process.ts";
import { testWith } from "../lib/requires.ts";
import { withTempDir } from "../lib/temp.ts";
import { waitFor } from "../lib/wait.ts";
import { glance, judge } from "./oracle.ts";
import { type RunningTraffic, startTraffic } from "./processes.ts";

testWith(
  ["root"],
  "Processes killed at any moment on a plain directory leave an allowed state",
  () =>
    withTempDir(async (base) => {
      const directories = [`${base}/one`, `${base}/two`];
      for (const directory of directories) await Deno.mkdir(directory);
      const total = { acknowledged: 0, glances: 0 };
      for (let round = 0; round < 6; round++) {
        const traffic: RunningTraffic = await startTraffic({
          spawn: (command, options) => spawn([], command, options),
          seed: 7,
          round,
          mode: round % 2 === 0 ? "write" : "fsync",
          processes: 2,
          directories,
          progressDirectory: base,
        });
        await waitFor("both processes to be under way", () => traffic.acknowledged() > 300 * round);
        assert.deepEqual(glance(traffic.history, directories), []);
        total.glances++;
        traffic.kill();
        const { errors } = await traffic.ended;
        assert.deepEqual(errors, []);
        const verdict = judge(traffic.history, directories);
        assert.deepEqual(verdict.violations, []);
        total.acknowledged += verdict.acknowledged;
      }
      assert.ok(total.acknowledged > 3000);
    }),
);
