/** Many files: unpacked, cloned, installed, held open by the thousands. */
// test-deadline: 900s

import assert from "node:assert/strict";
import { repository } from "../lib/paths.ts";
import { withTempDir } from "../lib/temp.ts";
import { labTest } from "../lab/lab.ts";
import { run } from "../lab/process.ts";
import { program } from "../posix/programs.ts";
import { makeArchive } from "./archive.ts";
import { startMirror } from "./mirrored.ts";

const timeout = 400_000;
const disk = { kind: "ext4", size: "3G" } as const;

labTest(
  "50,000 small files are unpacked on the mirror, renamed and removed again",
  { disk, needs: ["command:tar"] },
  async (lab) => {
    const mirror = await startMirror(lab);
    await withTempDir(async (directory) => {
      const archive = `${directory}/files.tar`;
      await Deno.writeFile(
        archive,
        makeArchive({ files: 50_000, perDirectory: 1_000, seed: 50 }),
      );
      const unpack = ["tar", "-xpf", archive, "-C", mirror.directory];
      await mirror.primary.run(unpack, { timeout });
      await mirror.assertIdentical();
      // A part of the archive again replaces files that are there.
      await mirror.primary.run([...unpack, "--overwrite", "d4", "d5", "d6"], { timeout });
      const { stdout } = await mirror.primary.run(
        `cd ${mirror.directory} && mv d1 moved && rm -r d2 d3 && find . | wc -l`,
        { timeout },
      );
      const links = (50_000 / 100) * 2;
      const [removed, perDirectory] = [2, 1_000 + (1_000 / 100) * 2];
      assert.equal(Number(stdout), 1 + 50 + 50_000 + links - removed * (1 + perDirectory));
      await mirror.assertIdentical();
    });
  },
);

labTest(
  "30,000 descriptors of 5,000 files are open at once, in six processes",
  { disk, needs: ["command:cc"] },
  async (lab) => {
    const mirror = await startMirror(lab);
    const opener = await program("opener");
    const { directory, primary } = mirror;
    await primary.run([opener, "make", directory, "5000"], { timeout });
    const output = await primary.run([opener, "open", directory, "5000", "6"], {
      timeout,
      check: false,
    });
    assert.equal(`${output.stdout}${output.stderr}`, "");
    assert.equal(output.code, 0);
    await mirror.assertIdentical();
  },
);

labTest(
  "This repository is cloned onto the mirror and back",
  { disk, needs: ["command:git"] },
  async (lab) => {
    const mirror = await startMirror(lab);
    const clone = `${mirror.directory}/clone`;
    const trust = {
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
    };
    const git = (command: string) => mirror.primary.run(command, { env: trust, timeout });
    await git(`git clone --no-local --quiet '${repository}' ${clone}`);
    await git(`cd ${clone} && git checkout --quiet -b work && git gc --quiet && git fsck --strict`);
    await git(`
      cd ${clone} && git config user.name Test && git config user.email test@example.org
      git mv README.md README-moved.md 2>/dev/null || touch README-moved.md
      git add -A && git commit --quiet --allow-empty -m "Moved" && git status --porcelain
    `);
    await mirror.assertIdentical();
    // What the secondary holds is a whole repository by itself.
    const check = ["git", "-C", clone, "fsck", "--strict"];
    await mirror.secondary.run(check, { env: trust, timeout });
  },
);

/** npm's own settings, which say where its registry is. */
function npmEnvironment(): Record<string, string> {
  const own = (name: string) =>
    /^npm_config_/i.test(name) || /^(HOME|NODE_EXTRA_CA_CERTS)$/.test(name);
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => own(name)));
}

/** Some thousand files: a bundler, a compiler, and a library of many small modules. */
const packages = { webpack: "5.99.9", typescript: "5.8.3", "date-fns": "4.1.0", lodash: "4.17.21" };

labTest(
  "A large tree of npm packages is installed on the mirror",
  { disk, needs: ["command:npm"] },
  async (lab) => {
    await withTempDir(async (directory) => {
      const manifest = JSON.stringify({ private: true, dependencies: packages });
      const cache = `${directory}/cache`;
      const install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"];
      // The lab's hosts have no way out: the packages come from a cache that is filled outside.
      await Deno.mkdir(`${directory}/outside`);
      await Deno.writeTextFile(`${directory}/outside/package.json`, manifest);
      const environment = npmEnvironment();
      await run([], [...install, cache, "--omit-lockfile-registry-resolved=false"], {
        cwd: `${directory}/outside`,
        env: environment,
        timeout,
      });
      const mirror = await startMirror(lab);
      const project = `${mirror.directory}/project`;
      await mirror.primary.run(`mkdir ${project}`);
      for (const file of ["package.json", "package-lock.json"]) {
        await mirror.primary.run(["cp", `${directory}/outside/${file}`, project]);
      }
      await mirror.primary.run([...install, cache, "--offline"], {
        cwd: project,
        env: environment,
        timeout,
      });
      const [outside, inside] = [`${directory}/outside/node_modules`, `${project}/node_modules`];
      const compare = ["diff", "-r", "--exclude=.package-lock.json", outside, inside];
      await mirror.primary.run(compare, { timeout });
      await mirror.primary.run(
        "echo 'console.log(require(\"lodash\").chunk([1,2,3],2).length)' | node -",
        { cwd: project },
      );
      await mirror.assertIdentical();
    });
  },
);
