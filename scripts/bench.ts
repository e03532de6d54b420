/**
 * Benchmarks: the same work on several systems in one run, told as ratios.
 *
 * `bench mirror` compares a mirrored directory with the file system below it, with libfuse's C
 * pass-through and with GlusterFS replica 2. Systems take turns within a round, so that what else
 * the machine does meets all of them.
 */

import { parseArgs } from "node:util";
import { type Case, cases, fullScale, type Plan, quickScale } from "./benchmark/cases.ts";
import { fileSystemOf, startExt4 } from "./benchmark/ext4.ts";
import { startGlusterFs } from "./benchmark/glusterfs.ts";
import { createCleanup, DeadlineError, needPackages, run, withDeadline } from "./benchmark/host.ts";
import { mountImage } from "./benchmark/image.ts";
import { startPassthrough } from "./benchmark/passthrough.ts";
import { type Outcome, record, renderReport, toJson } from "./benchmark/report.ts";
import type { Bench, System } from "./benchmark/system.ts";

const starters: { name: string; start: (bench: Bench) => Promise<System> }[] = [
  { name: "ext4", start: startExt4 },
  { name: "passthrough", start: (bench) => startPassthrough(bench, "one") },
  { name: "passthrough-mt", start: (bench) => startPassthrough(bench, "many") },
  { name: "glusterfs", start: startGlusterFs },
];

const usage = `usage: scripts/bench mirror [options]

Prints ratios from one run. Needs root, and installs the Debian packages that it compares with.

  --quick             one round, small files, short runs: about a minute
  --only CASE,...     ${cases.map((item) => item.name).join(", ")}
                      (${
  cases.filter((item) => !item.standard).map((item) => item.name).join(" and ")
} only when named)
  --systems NAME,...  ${starters.map((starter) => starter.name).join(", ")}
  --rounds N          3 unless told; --quick: 1
  --dir DIRECTORY     where every system keeps its data; unless told, a fresh ext4 in a file in /var/tmp
  --binary FILE       Understudy's binary; dist/understudy unless told
  --json              for programs`;

/** A mistake in the command line. */
class UsageError extends Error {}

function choose<T extends { name: string }>(all: T[], names: string | undefined): T[] | undefined {
  if (names === undefined) return undefined;
  const wanted = names.split(",");
  for (const name of wanted) {
    if (!all.some((item) => item.name === name)) {
      throw new UsageError(`"${name}" is not one of ${all.map((item) => item.name).join(", ")}`);
    }
  }
  return all.filter((item) => wanted.includes(item.name));
}

function readArguments(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      systems: { type: "string" },
      rounds: { type: "string" },
      dir: { type: "string" },
      binary: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  if (positionals.length !== 1 || positionals[0] !== "mirror") {
    throw new UsageError(
      `"mirror" is the benchmark that there is; found "${positionals.join(" ")}"`,
    );
  }
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new UsageError(`--rounds wants a whole number from 1; found "${values.rounds}"`);
  }
  return {
    rounds,
    cases: choose(cases, values.only) ??
      cases.filter((item) => item.standard && (item.quick || !values.quick)),
    starters: choose(starters, values.systems) ?? starters,
    scale: values.quick ? quickScale : fullScale,
    dir: values.dir,
    binary: values.binary ?? new URL("../dist/understudy", import.meta.url).pathname,
    json: values.json,
  };
}

type Settings = NonNullable<ReturnType<typeof readArguments>>;

/** Nothing that a case does takes this long, except for a system that hangs. */
const caseDeadline = 300_000;

const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error);

/** Starts the chosen systems, then runs every case in every round on each of them in turn. */
async function measure(settings: Settings, bench: Bench): Promise<Outcome> {
  const outcome: Outcome = { systems: [], results: new Map(), failures: [] };
  const excluded = new Set<string>();
  const plan: Plan = { scale: settings.scale, round: 0, scratch: `${bench.directory}/scratch` };

  function fail(failure: string) {
    if (bench.cleanup.begun) return;
    outcome.failures.push(failure);
    bench.say(failure);
  }

  /** What fails once is not tried again; a system that hangs takes no further part at all. */
  async function attempt(system: System, item: Case, work: () => Promise<void>): Promise<void> {
    const pair = `${system.name} ${item.name}`;
    if (excluded.has(system.name) || excluded.has(pair) || system.cannot.includes(item.name)) {
      return;
    }
    if (bench.cleanup.begun) return;
    try {
      await withDeadline(item.name, caseDeadline, work());
    } catch (error) {
      excluded.add(error instanceof DeadlineError ? system.name : pair);
      fail(`${system.title} failed at ${item.name}: ${messageOf(error)}`);
    }
  }

  for (const starter of settings.starters) {
    bench.say(`starting ${starter.name}`);
    try {
      outcome.systems.push(await starter.start(bench));
    } catch (error) {
      fail(`${starter.name} is left out: ${messageOf(error)}`);
    }
  }
  for (const item of settings.cases) {
    for (const system of outcome.systems) {
      bench.say(`preparing ${item.name} on ${system.name}`);
      await attempt(system, item, async () => {
        await item.prepare(system, plan);
        await system.settle();
      });
    }
  }
  for (plan.round = 0; plan.round < settings.rounds; plan.round++) {
    for (const item of settings.cases) {
      for (const system of outcome.systems) {
        await attempt(system, item, async () => {
          // What the one before left to be written must not slow this one down.
          await run(["sync", "--file-system", bench.directory]);
          const measurements = await item.run(system, plan);
          await system.settle();
          for (const measurement of measurements) record(outcome.results, system.name, measurement);
          const values = measurements.map(({ row, value }) => `${row} ${Math.round(value)}`);
          const progress = `round ${plan.round + 1}/${settings.rounds}`;
          bench.say(`${progress} ${system.name}: ${values.join(", ")}`);
        });
      }
    }
  }
  if (bench.cleanup.begun) throw new Error("Interrupted");
  return outcome;
}

/** Runs the whole and returns the exit status. */
async function main(args: string[]): Promise<number> {
  let settings: Settings | undefined;
  try {
    settings = readArguments(args);
  } catch (error) {
    console.error(`${messageOf(error)}\n\n${usage}`);
    return 2;
  }
  if (!settings) {
    console.log(usage);
    return 0;
  }
  if (Deno.uid() !== 0) {
    console.error("Benchmarks mount file systems and make network namespaces: run them as root");
    return 1;
  }

  const say = (text: string) => console.error(`bench: ${text}`);
  const cleanup = createCleanup(say);
  const interrupted = Promise.withResolvers<number>();
  const signals: [Deno.Signal, number][] = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]];
  for (const [signal, status] of signals) {
    Deno.addSignalListener(signal, () => interrupted.resolve(status));
  }

  const directories: string[] = [];
  async function benchmark(settings: Settings): Promise<number> {
    const packages = ["fio", "gcc", "libc6-dev", "iproute2"];
    if (settings.cases.some((item) => item.name === "pgbench")) packages.push("postgresql");
    await needPackages(packages);
    const parent = settings.dir ?? "/var/tmp";
    const top = await Deno.makeTempDir({ dir: parent, prefix: "understudy-bench-" });
    directories.push(top);
    await Deno.chmod(top, 0o755);
    const directory = settings.dir ? top : await mountImage(top);
    await Deno.mkdir(`${directory}/scratch`);
    const source = new URL("./benchmark/files.c", import.meta.url).pathname;
    await run(["gcc", "-O2", "-Wall", "-o", `${directory}/scratch/files`, source]);

    const bench: Bench = { directory, cleanup, say, binary: settings.binary };
    const started = performance.now();
    const load = Deno.loadavg()[0];
    const outcome = await measure(settings, bench);
    const status = outcome.failures.length ? 1 : 0;
    if (settings.json) {
      console.log(JSON.stringify(toJson(outcome), null, 2));
      return status;
    }
    const minutes = ((performance.now() - started) / 60_000).toFixed(1);
    const machine =
      `${navigator.hardwareConcurrency} processors, Linux ${Deno.osRelease()}, data on ` +
      `${await fileSystemOf(directory)}${settings.dir ? "" : " of its own"}; load before the run ${
        load.toFixed(1)
      }`;
    console.log(`\n${renderReport(outcome, settings.cases)}\n`);
    console.log(
      `${settings.rounds} rounds of ${settings.scale.seconds} s a case, ${machine}, ` +
        `${minutes} minutes. All nodes share this machine.`,
    );
    return status;
  }

  const finished = benchmark(settings).catch((error) => {
    if (!cleanup.begun) say(messageOf(error));
    return 1;
  });
  const status = await Promise.race([finished, interrupted.promise]);
  await cleanup.finish();
  await withDeadline("the run in progress", 10_000, finished).catch((error) =>
    say(messageOf(error))
  );
  for (const directory of directories) await removeTop(directory, say);
  return status;
}

/** Removes what a run left on the file system; its own ext4 goes first, where it had one. */
async function removeTop(directory: string, say: (text: string) => void): Promise<void> {
  try {
    const mount = `${directory}/data`;
    if (await run(["mountpoint", "-q", mount]).then(() => true, () => false)) {
      await run(["umount", mount]).catch(() => run(["umount", "--lazy", mount]));
    }
    await Deno.remove(directory, { recursive: true });
  } catch (error) {
    say(`could not remove ${directory}: ${messageOf(error)}`);
  }
}

Deno.exit(await main(Deno.args));
