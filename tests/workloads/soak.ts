/**
 * Workloads that take too long for every run of the tests: see `scripts/soak-workloads --help`.
 */

import assert from "node:assert/strict";
import { type Lab, withLab } from "../lab/lab.ts";
import { program } from "../posix/programs.ts";
import { type Mirror, startMirror } from "./mirrored.ts";
import { startPostgres } from "./postgresql.ts";
import { prepareRegression, runRegression } from "./regression.ts";

const usage = `usage: scripts/soak-workloads [NAME]... [--rounds N] [--seed N]

  regression   PostgreSQL's own regression tests, on a mirrored cluster
  pgbench      minutes of pgbench with eight clients, and the secondary's copy recovered
  files        random operations on files against a model, from N seeds
  names        random operations on names by several processes against a shadow, from N seeds

Without a name: all of them. Each runs with sync = "write" and with sync = "fsync"; afterwards both
nodes' trees must be the same. N is 20 unless given.`;

const minutes = 60_000;

interface Plan {
  rounds: number;
  seed: number;
}

type Workload = (lab: Lab, mirror: Mirror, plan: Plan) => Promise<string>;

const workloads: Record<string, Workload> = { regression, pgbench, files, names };

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  const plan: Plan = { rounds: 20, seed: 1 };
  const chosen: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--rounds") plan.rounds = Number(args[++i]);
    else if (args[i] === "--seed") plan.seed = Number(args[++i]);
    else if (args[i] in workloads) chosen.push(args[i]);
    else {
      console.log(usage);
      return args[i] === "--help" ? 0 : 2;
    }
  }
  let [passed, failed] = [0, 0];
  for (const name of chosen.length > 0 ? chosen : Object.keys(workloads)) {
    for (const sync of ["write", "fsync"] as const) {
      const started = performance.now();
      const seconds = () => ((performance.now() - started) / 1_000).toFixed(0);
      try {
        const line = await withLab({ disk: { kind: "ext4", size: "6G" } }, async (lab) => {
          const mirror = await startMirror(lab, { sync });
          const line = await workloads[name](lab, mirror, plan);
          await mirror.assertIdentical();
          return line;
        });
        passed++;
        console.log(`ok     ${name}, sync = "${sync}", ${seconds()} s: ${line}`);
      } catch (error) {
        failed++;
        console.log(
          `FAILED ${name}, sync = "${sync}", ${seconds()} s: ${(error as Error).message}`,
        );
      }
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

async function regression(_: Lab, mirror: Mirror): Promise<string> {
  const suite = await prepareRegression();
  const postgres = await startPostgres(mirror.primary, `${mirror.directory}/cluster`);
  const line = await runRegression(suite, postgres, `${mirror.directory}/regression`);
  assert.match(line, /All \d+ tests passed/);
  await postgres.stop();
  return line;
}

async function pgbench(_: Lab, mirror: Mirror, plan: Plan): Promise<string> {
  const postgres = await startPostgres(mirror.primary, `${mirror.directory}/cluster`);
  const duration = String(plan.rounds * 6);
  await postgres.run(["pgbench", "-i", "-q", "-s", "10", "bench"], 5 * minutes);
  const result = await postgres.run(
    ["pgbench", "-n", "-c", "8", "-j", "2", "-T", duration, "bench"],
    Number(duration) * 1_000 + minutes,
  );
  const sums = "SELECT sum(abalance) FROM pgbench_accounts; SELECT sum(delta), count(*) " +
    "FROM pgbench_history;";
  const wanted = await postgres.sql("bench", sums);
  const copy = ["cp", "--archive", `${mirror.directory}/cluster`, "/srv/copy"];
  await mirror.secondary.run(copy, { timeout: 5 * minutes });
  await mirror.secondary.run("rm -f /srv/copy/postmaster.pid");
  const recovered = await startPostgres(mirror.secondary, "/srv/copy", { make: false });
  assert.equal(await recovered.sql("bench", sums), wanted, "the secondary's copy has other sums");
  await recovered.stop();
  await postgres.stop();
  return /tps = [\d.]+/.exec(result.stdout)?.[0] ?? "";
}

async function files(_: Lab, mirror: Mirror, plan: Plan): Promise<string> {
  const exerciser = await program("exerciser");
  for (let round = 0; round < plan.rounds; round++) {
    await Promise.all([0, 1, 2].map((file) => {
      const each = String((plan.seed + round) * 100 + file);
      const path = `${mirror.directory}/f${file}`;
      const command = [exerciser, path, "--seed", each, "--operations", "20000", "--keep"];
      return mirror.primary.run(command, { timeout: 10 * minutes });
    }));
    await mirror.assertIdentical();
  }
  return `${plan.rounds} rounds of 3 files, 20,000 operations each`;
}

async function names(_: Lab, mirror: Mirror, plan: Plan): Promise<string> {
  const namespace = await program("namespace");
  await mirror.primary.run("mkdir -m 755 /srv/shadow");
  for (let round = 0; round < plan.rounds; round++) {
    const each = String(plan.seed + round);
    const command = [namespace, mirror.directory, "/srv/shadow", "--seed", each, "--keep"];
    await mirror.primary.run([...command, "--operations", "10000"], { timeout: 10 * minutes });
    await mirror.assertIdentical();
  }
  return `${plan.rounds} rounds of 4 processes, 10,000 operations each`;
}
