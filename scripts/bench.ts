/**
 * Benchmarks: the same work on several systems in one run, told as ratios.
 *
 * `bench mirror` compares a mirrored directory with the file system below it, with libfuse's C
 * pass-through and with GlusterFS replica 2. Systems take turns within a round, so that what else
 * the machine does meets all of them.
 */

import { parseArgs } from "node:util";
import { type Case, cases, fullScale, quickScale } from "./benchmark/cases.ts";
import { fileSystemOf } from "./benchmark/ext4.ts";
import { createCleanup, messageOf, needPackages, output, withDeadline } from "./benchmark/host.ts";
import { mountImage } from "./benchmark/image.ts";
import { renderReport, toJson } from "./benchmark/report.ts";
import { systemNames } from "./benchmark/system.ts";

const optional = cases.filter((item) => !item.standard).map((item) => item.name);

const usage = `usage: scripts/bench mirror [options]

Prints ratios from one run. Needs root, and installs the Debian packages that it compares with.

  --quick             one round, small files, short runs: about a minute
  --only CASE,...     ${cases.map((item) => item.name).join(", ")}
                      (${optional.join(", ")}: only when named)
  --systems NAME,...  ${systemNames.join(", ")}
  --rounds N          3 unless told; --quick: 1
  --dir DIRECTORY     where every system keeps its data; unless told, a fresh ext4 in /var/tmp
  --binary FILE       Understudy's binary; unless told, what scripts/build makes
  --json              for programs`;

/** A mistake in the command line. */
class UsageError extends Error {}

/** The names in a comma-separated option, each of which must be one of `known`. */
function namesIn<Name extends string>(
  text: string | undefined,
  known: readonly Name[],
): Name[] | undefined {
  const names = text?.split(",");
  const unknown = names?.find((name) => !known.some((each) => each === name));
  if (unknown !== undefined) {
    throw new UsageError(`"${unknown}" is not one of ${known.join(", ")}`);
  }
  return names && known.filter((name) => names.includes(name));
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
  const named = namesIn(values.only, cases.map((item) => item.name));
  const standard = (item: Case) => item.standard && (item.quick || !values.quick);
  return {
    rounds,
    cases: cases.filter((item) => named ? named.includes(item.name) : standard(item)),
    systems: namesIn(values.systems, systemNames) ?? [...systemNames],
    scale: values.quick ? quickScale : fullScale,
    dir: values.dir,
    binary: values.binary,
    json: values.json,
  };
}

type Settings = NonNullable<ReturnType<typeof readArguments>>;

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

  let top: string | undefined;
  async function benchmark({ cases, systems, scale, rounds, dir, binary, json }: Settings) {
    await needPackages([
      ...["fio", "gcc", "libc6-dev", "iproute2", "nftables", "e2fsprogs"],
      ...(cases.some((item) => item.name === "pgbench") ? ["postgresql"] : []),
    ]);
    top = await Deno.makeTempDir({ dir: dir ?? "/var/tmp", prefix: "understudy-bench-" });
    await Deno.chmod(top, 0o755);
    const directory = dir ? top : await mountImage(top);
    await Deno.mkdir(`${directory}/scratch`);
    const source = new URL("./benchmark/files.c", import.meta.url).pathname;
    await output([], ["gcc", "-O2", "-Wall", "-o", `${directory}/scratch/files`, source]);

    // The lab's hosts keep their disks here. It reads these when it is loaded, so it is loaded now.
    Deno.env.set("UNDERSTUDY_TEST_DIR", directory);
    if (systems.some((name) => name.startsWith("understudy"))) {
      if (!binary) await build();
      // A copy: the same binary throughout, whatever is built meanwhile.
      await Deno.copyFile(binary ?? builtBinary, `${directory}/scratch/understudy`);
      Deno.env.set("UNDERSTUDY_BIN", `${directory}/scratch/understudy`);
    }
    const { compareMirrors } = await import("./benchmark/mirror.ts");

    const started = performance.now();
    const load = Deno.loadavg()[0];
    const choice = { systems, cases, scale, rounds };
    const outcome = await compareMirrors(choice, { directory, cleanup, say });
    if (json) console.log(JSON.stringify(toJson(outcome), null, 2));
    else {
      const minutes = ((performance.now() - started) / 60_000).toFixed(1);
      console.log(`\n${renderReport(outcome, cases)}\n`);
      console.log(
        `${rounds} ${
          rounds === 1 ? "round" : "rounds"
        }, ${scale.seconds} s a run where it is timed; ` +
          `${navigator.hardwareConcurrency} processors, shared by both hosts and the workload; ` +
          `Linux ${Deno.osRelease()}; data on ${await fileSystemOf(directory)}` +
          `${dir ? "" : " of its own"}; load before the run ${load.toFixed(1)}; ${minutes} minutes`,
      );
    }
    return outcome.failures.length ? 1 : 0;
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
  if (top) await removeTop(top, say);
  return status;
}

const builtBinary = new URL("../dist/understudy", import.meta.url).pathname;

/** Has the binary made from the sources as they are. */
async function build(): Promise<void> {
  const script = new URL("./build", import.meta.url).pathname;
  const { success } = await new Deno.Command(script, { args: ["--quiet"], stdin: "null" })
    .spawn().status;
  if (!success) throw new Error("scripts/build failed");
}

/** Removes what a run left on the file system; its own ext4 goes first, where it had one. */
async function removeTop(directory: string, say: (text: string) => void): Promise<void> {
  try {
    const mount = `${directory}/data`;
    if (await output([], ["mountpoint", "-q", mount]).then(() => true, () => false)) {
      await output([], ["umount", mount]).catch(() => output([], ["umount", "--lazy", mount]));
    }
    await Deno.remove(directory, { recursive: true });
  } catch (error) {
    say(`could not remove ${directory}: ${messageOf(error)}`);
  }
}

Deno.exit(await main(Deno.args));
