/** Excluded names: the usual way to replace a file whole loses nothing, and nobody falls behind. */
// test-deadline: 600s

import assert from "node:assert/strict";
import { labTest } from "../lab/lab.ts";
import { startMirror } from "./mirrored.ts";

const timeout = 200_000;

/** Several processes write a temporary file, flush it at times, and rename it over the real one. */
const writers = `
cd "$1"
for writer in 1 2 3 4; do
  (
    for round in $(seq 150); do
      name=w$writer-$((round % 12))
      head -c $((round * 97 % 20000)) /dev/zero | tr '\\0' "$writer" >$name.tmp
      echo "$writer $round" >>$name.tmp
      if [ $((round % 5)) = 0 ]; then sync $name.tmp; fi
      mv $name.tmp $name
    done
  ) &
done
wait
`;

for (const sync of ["write", "fsync"] as const) {
  labTest(
    `Files written under an excluded name and renamed are whole on both sides, sync = "${sync}"`,
    {},
    async (lab) => {
      const mirror = await startMirror(lab, { sync, exclude: ["*.tmp", "**/*.tmp"] });
      const { primary, secondary, directory } = mirror;
      await primary.run(["bash", "-ec", writers, "bash", directory], { timeout });
      await mirror.assertIdentical();
      const list = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();
      assert.equal(list(secondary.path(directory)).length, 4 * 12);
      for (let writer = 1; writer <= 4; writer++) {
        const text = await Deno.readTextFile(`${secondary.path(directory)}/w${writer}-6`);
        assert.match(text, new RegExp(`^${writer}*${writer} 150\\n$`));
      }
    },
  );
}

labTest(
  "Renames, links and removals across the exclusion are the same as names that come and go",
  {},
  async (lab) => {
    const mirror = await startMirror(lab, { exclude: ["*.tmp", "**/*.tmp"] });
    const { primary, secondary, directory } = mirror;
    const shown = () =>
      [...Deno.readDirSync(secondary.path(directory))].map(({ name }) => name).sort();
    const step = async (script: string, names: string[]) => {
      await primary.run(["bash", "-ec", `cd ${directory}\n${script}`]);
      assert.deepEqual(shown(), names, script);
      await mirror.assertIdentical();
    };
    await step("echo a >a; echo b >b.tmp", ["a"]);
    await step("mv a a.tmp", []);
    await step("chmod 640 a.tmp; setfattr -n user.x -v 1 a.tmp 2>/dev/null; mv a.tmp a", ["a"]);
    await step("ln a a2.tmp; echo more >>a2.tmp", ["a"]);
    await step("ln a2.tmp a3; ln b.tmp b", ["a", "a3", "b"]);
    await step("mv a2.tmp a4; rm a3", ["a", "a4", "b"]);
    // The two names are one file still: what is written by one is read by the other.
    await step("echo later >>a4; grep -q later a", ["a", "a4", "b"]);
    await step("mv b.tmp a; echo later >>a; grep -q later b", ["a", "a4", "b"]);
    // A file that is open under the excluded name goes on being written after the rename.
    await step(
      "exec 3>c.tmp; echo one >&3; mv c.tmp c; echo two >&3; exec 3>&-; grep -q two c",
      ["a", "a4", "b", "c"],
    );
    await step("mv -T c d.tmp; truncate -s 100000 d.tmp; mv d.tmp d", ["a", "a4", "b", "d"]);
    // Exchanged with an excluded name.
    await step(
      "echo e1 >e; echo e2 >e.tmp; (mv --exchange e e.tmp 2>/dev/null || (mv e x.tmp; mv e.tmp e; mv x.tmp e.tmp)); " +
        "grep -q e2 e",
      ["a", "a4", "b", "d", "e"],
    );
    // Directories: with excluded files inside, and under an excluded name themselves.
    await step(
      "mkdir dir; echo x >dir/x; echo y >dir/y.tmp; mkdir dir/sub.tmp; echo z >dir/sub.tmp/z",
      ["a", "a4", "b", "d", "dir", "e"],
    );
    await step("mv dir dir.tmp", ["a", "a4", "b", "d", "e"]);
    await step("mv dir.tmp dir; grep -q x dir/x", ["a", "a4", "b", "d", "dir", "e"]);
    await step("mv dir/sub.tmp dir/sub; grep -q z dir/sub/z", ["a", "a4", "b", "d", "dir", "e"]);
    await step("rm -r dir", ["a", "a4", "b", "d", "e"]);
  },
);
