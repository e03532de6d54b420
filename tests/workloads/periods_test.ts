/** Role changes: what one node's kernel cached in one period is never shown for the next. */
// test-deadline: 600s

import assert from "node:assert/strict";
import type { Host } from "../lab/host.ts";
import { labTest } from "../lab/lab.ts";
import { program } from "../posix/programs.ts";
import { order, startMirror } from "./mirrored.ts";

const timeout = 120_000;

for (const sync of ["write", "fsync"] as const) {
  labTest(
    `No node shows a stale byte over role changes A, B, A, B, with sync = "${sync}"`,
    { needs: ["command:cc"] },
    async (lab) => {
      const mapped = await program("mapped");
      const mirror = await startMirror(lab, { sync });
      const { directory } = mirror;
      const look = async (host: Host, period: number, when: string) => {
        const { stdout, code } = await host.run([mapped, "check", directory, String(period)], {
          check: false,
          timeout,
        });
        assert.equal(stdout, "", `${host.name} in period ${period}, ${when}`);
        assert.equal(code, 0);
      };
      let period = 0;
      for (let turn = 0; turn < 4; turn++) {
        // Two periods' worth of writes in each role, read on both sides after each.
        for (let write = 0; write < 2; write++) {
          period++;
          await mirror.primary.run([mapped, "write", directory, String(period)], { timeout });
          await look(mirror.primary, period, "on the primary that wrote it");
          await look(mirror.secondary, period, "on the secondary");
          await look(mirror.secondary, period, "on the secondary again");
        }
        await mirror.swap();
        await look(mirror.primary, period, "on the new primary");
        await look(mirror.secondary, period, "on the old primary");
      }
      await mirror.assertIdentical();
    },
  );
}

labTest(
  "A mapping made on a secondary shows what the primary writes, also after the secondary takes over",
  { needs: ["command:cc"] },
  async (lab) => {
    const mapped = await program("mapped");
    const mirror = await startMirror(lab);
    const { directory } = mirror;
    const [first, second] = [mirror.primary, mirror.secondary];
    await first.run([mapped, "write", directory, "1"], { timeout });
    // A reader on the secondary holds its mappings over the change of roles.
    const dialogue = `${directory}-dialogue`;
    await second.run(`mkdir ${dialogue} && mkfifo ${dialogue}/in`);
    const answers = `${dialogue}/out`;
    await second.spawn(`exec 3<>${dialogue}/in; ${mapped} hold ${directory} <&3 >${answers}`);
    let lines = 0;
    const answer = async (word?: string) => {
      if (word !== undefined) await second.run(`echo ${word} >${dialogue}/in`);
      lines++;
      const { stdout } = await second.run(
        `timeout 60 bash -c 'until [ $(wc -l <${answers}) -ge ${lines} ]; do sleep 0.02; done'; ` +
          `sed -n ${lines}p ${answers}`,
        { timeout },
      );
      return stdout.trim();
    };
    assert.equal(await answer(), "mapped");
    assert.equal(await answer("1"), "fresh");
    await first.run([mapped, "write", directory, "2"], { timeout });
    assert.equal(await answer("2"), "fresh", "while following");
    await order(first, "stop");
    const { state } = await second.status(mirror.module);
    if (state !== "ALONE") await order(second, "prim");
    await second.waitState(mirror.module, "ALONE");
    assert.equal(await answer("2"), "fresh", "after taking over");
    await second.run([mapped, "write", directory, "3"], { timeout });
    assert.equal(await answer("3"), "fresh", "while serving");
  },
);
