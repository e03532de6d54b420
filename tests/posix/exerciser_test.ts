/**
 * Random operations: on files against a model in memory, on names against a shadow directory. What a
 * run did follows from its seed: a failure prints the line that repeats it.
 * `EXERCISE_SEED` chooses another first seed, `EXERCISE_ROUNDS` more rounds.
 */
// test-deadline: 900s

import { labTest } from "../lab/lab.ts";
import { testWith } from "../lib/requires.ts";
import { withTempDir } from "../lib/temp.ts";
import { type CommandLine, run } from "../lab/process.ts";
import { startMirror } from "../workloads/mirrored.ts";
import { program } from "./programs.ts";

const seed = Number(Deno.env.get("EXERCISE_SEED") ?? 1);
const rounds = Number(Deno.env.get("EXERCISE_ROUNDS") ?? 1);
const timeout = 400_000;

const exercise = (exerciser: string, file: string, each: number, operations: number) => [
  exerciser,
  file,
  "--seed",
  String(each),
  "--operations",
  String(operations),
];

const exerciseNames = (namespace: string, target: string, shadow: string, each: number) => [
  namespace,
  target,
  shadow,
  "--seed",
  String(each),
  "--operations",
  "4000",
  "--keep",
];

/** Several processes, each on a file of its own. */
async function exerciseFiles(
  execute: (command: CommandLine) => Promise<unknown>,
  directory: string,
  operations: number,
  each: number,
): Promise<void> {
  const exerciser = await program("exerciser");
  await Promise.all([0, 1, 2].map((file) =>
    execute([
      ...exercise(exerciser, `${directory}/f${file}`, each * 100 + file, operations),
      "--keep",
    ])
  ));
}

testWith(["root", "command:cc"], "The exercisers agree with a plain file system", async () => {
  const namespace = await program("namespace");
  await withTempDir(async (directory) => {
    const [a, b] = [`${directory}/a`, `${directory}/b`];
    await Deno.mkdir(a);
    await Deno.mkdir(b);
    const execute = (command: CommandLine) => run([], command, { timeout });
    await exerciseFiles(execute, a, 5_000, seed);
    await execute(exerciseNames(namespace, a, b, seed));
  });
});

for (const sync of ["write", "fsync"] as const) {
  const options = { disk: { kind: "ext4", size: "2G" }, needs: ["command:cc" as const] } as const;

  labTest(
    `Random operations on files match a model, with sync = "${sync}"`,
    { ...options, needs: [...options.needs] },
    async (lab) => {
      const mirror = await startMirror(lab, { sync });
      const execute = (command: CommandLine) => mirror.primary.run(command, { timeout });
      for (let round = 0; round < rounds; round++) {
        await exerciseFiles(execute, mirror.directory, 8_000, seed + round);
        await mirror.assertIdentical();
      }
    },
  );

  labTest(
    `Random operations on names by several processes match a shadow, with sync = "${sync}"`,
    { ...options, needs: [...options.needs] },
    async (lab) => {
      const namespace = await program("namespace");
      const mirror = await startMirror(lab, { sync });
      await mirror.primary.run("mkdir -m 755 /srv/shadow");
      for (let round = 0; round < rounds; round++) {
        await mirror.primary.run(
          exerciseNames(namespace, mirror.directory, "/srv/shadow", seed + round),
          { timeout },
        );
        await mirror.assertIdentical();
      }
    },
  );
}
