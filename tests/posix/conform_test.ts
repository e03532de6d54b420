/**
 * The mirror behaves as the ext4 behind it: the conformance program gives the same line for every
 * check on a plain directory and on a mirrored one, except for what ./differences.ts lists, and both
 * nodes' trees are the same afterwards.
 */
// test-deadline: 900s

import assert from "node:assert/strict";
import { labTest } from "../lab/lab.ts";
import { testWith } from "../lib/requires.ts";
import { withTempDir } from "../lib/temp.ts";
import { run } from "../lab/process.ts";
import { type MirrorOptions, startMirror } from "../workloads/mirrored.ts";
import { type Condition, forcedDifferences } from "./differences.ts";
import { compareOutcomes, formatOutcomes, parseOutcomes } from "./outcome.ts";
import { program } from "./programs.ts";

const timeout = 400_000;

testWith(["root", "command:cc"], "Every check holds on a plain directory", async () => {
  const conform = await program("conform");
  await withTempDir(async (directory) => {
    await Deno.chmod(directory, 0o755);
    const { stdout, code } = await run([], [conform, directory], { check: false, timeout });
    const failed = stdout.split("\n").filter((line) => line.startsWith("not ok"));
    assert.deepEqual(failed, [], "a check that fails on a plain file system is wrong");
    assert.equal(code, 0);
    parseOutcomes(stdout);
  });
});

const cases: { name: string; condition: Condition; options: MirrorOptions }[] = [
  { name: "mirrored", condition: "write", options: { sync: "write" } },
  { name: 'mirrored with sync = "fsync"', condition: "fsync", options: { sync: "fsync" } },
  { name: "served alone", condition: "write", options: { sync: "write", peer: false } },
];

for (const { name, condition, options } of cases) {
  labTest(
    `A directory ${name} gives the same results as the ext4 behind it`,
    { disk: { kind: "ext4", size: "4G" }, needs: ["command:cc"] },
    async (lab) => {
      const conform = await program("conform");
      const mirror = await startMirror(lab, options);
      const { primary, directory } = mirror;
      await primary.run("mkdir -m 755 /srv/plain");
      const plain = await primary.run([conform, "/srv/plain"], { check: false, timeout });
      const seen = await primary.run([conform, directory, "--keep"], { check: false, timeout });
      const differences = compareOutcomes(parseOutcomes(plain.stdout), parseOutcomes(seen.stdout));
      const forced = forcedDifferences(condition);
      const unexpected = differences.filter((each) =>
        forced.every(({ check, plain, mirror }) =>
          check !== each.check || plain !== each.plain || mirror !== each.mirror
        )
      );
      const gone = forced.filter(({ check }) => differences.every((each) => each.check !== check));
      assert.equal(formatOutcomes(unexpected), "", `${unexpected.length} checks differ`);
      assert.deepEqual(
        gone.map(({ check }) => check),
        [],
        "no longer different: take these out of differences.ts",
      );
      if (options.peer !== false) await mirror.assertIdentical();
    },
  );
}
