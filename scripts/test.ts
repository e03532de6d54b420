/**
 * Runs the project's checks and every test file, one file after the other, and counts.
 *
 * Each file is a `deno test` of its own: a crash or a file that never ends takes no other with it.
 * A file has a deadline; what it leaves running is ended, and counts as a failure.
 */
import { becomeReaper, describe, type Reaper } from "./processes.ts";
import { type Counts, readDeadline, readSkipped, readSummary } from "./test_report.ts";

const usage = `usage: scripts/test [WORD]... [--filter NAME] [--list]

  (nothing)       builds, checks format, lint and types, runs every test file
  WORD            only files whose path contains one of the words; no checks
  --filter NAME   only tests whose name contains NAME (or matches /NAME/); no checks
  --list          names the test files

A test file has 300 s unless it says otherwise (// test-deadline: 600s). With UNDERSTUDY_TEST_BUDGET
set to a number of seconds, files that would start later than that fail unrun.`;

const defaultDeadline = 300;
/** how long a process that a test file started may outlive it, in milliseconds */
const farewell = 3_000;

interface Run {
  reaper: Reaper;
  /** children that Deno itself waits for */
  own: Set<number>;
  /** the signal that ends the run early */
  interrupted: Deno.Signal | undefined;
  /** a killing under way: nothing new may be started before it is done */
  killing: Promise<unknown>;
  counts: Counts;
  skipped: string[];
  failures: string[];
}

const root = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const signalNumbers: Partial<Record<Deno.Signal, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  const words: string[] = [];
  let filter: string | undefined;
  let list = false;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--filter") filter = args[++i];
    else if (args[i].startsWith("--filter=")) filter = args[i].slice("--filter=".length);
    else if (args[i] === "--list") list = true;
    else if (args[i].startsWith("-")) {
      console.log(usage);
      return args[i] === "--help" || args[i] === "-h" ? 0 : 2;
    } else words.push(args[i].replace(/^\.\//, ""));
  }
  Deno.chdir(root);
  const files = testFiles().filter((f) => words.length === 0 || words.some((w) => f.includes(w)));
  if (list) {
    for (const file of files) console.log(file);
    return 0;
  }
  const own = new Set<number>();
  const run: Run = {
    own,
    reaper: becomeReaper(() => own),
    interrupted: undefined,
    killing: Promise.resolve(),
    counts: { passed: 0, failed: 0, skipped: 0 },
    skipped: [],
    failures: [],
  };
  for (const name of Object.keys(signalNumbers) as Deno.Signal[]) {
    Deno.addSignalListener(name, () => {
      if (run.interrupted) return; // the first one is being obeyed
      run.interrupted = name;
      console.log(`\n${name}: ending the tests and clearing up`);
      run.killing = run.reaper.killAll(5_000);
    });
  }
  try {
    await all(run, files, filter, words.length === 0 && filter === undefined);
  } catch (error) {
    fail(run, `the test runner itself: ${error instanceof Error ? error.stack : error}`);
  }
  await clearUp(run);
  return report(run);
}

async function all(run: Run, files: string[], filter: string | undefined, checks: boolean) {
  const started = performance.now();
  const budget = Number(Deno.env.get("UNDERSTUDY_TEST_BUDGET") ?? Infinity);
  await step(run, "build", ["run", "--no-lock", "--no-check", "-A", "scripts/build.ts"]);
  if (checks) {
    await step(run, "fmt", ["fmt", "--check"]);
    await step(run, "lint", ["lint"]);
    const folders = ["mod.ts", "agent/", "scripts/", "tests/"].filter(exists);
    await step(run, "check", ["check", "--frozen", ...folders]);
  }
  if (files.length === 0) fail(run, "no test file has such a name");
  for (const file of files) {
    if (run.interrupted) return;
    if ((performance.now() - started) / 1000 > budget) {
      fail(run, `${file}: not run, the time of ${budget} s was used up`);
    } else await testFile(run, file, filter);
  }
}

/** One of the checks before the tests; says nothing but its time where all is well. */
async function step(run: Run, name: string, args: string[]) {
  if (run.interrupted) return;
  const result = await deno(run, args, defaultDeadline, false);
  if (run.interrupted) return;
  console.log(`${result.ok ? "ok    " : "FAILED"} ${name} (${seconds(result.ms)})`);
  if (result.ok && name !== "build") return;
  console.log(result.output.trimEnd());
  if (!result.ok) fail(run, `${name}: see above`);
}

async function testFile(run: Run, file: string, filter: string | undefined) {
  const limit = readDeadline(Deno.readTextFileSync(file)) ?? defaultDeadline;
  const junit = Deno.makeTempFileSync({ prefix: "understudy-test-", suffix: ".xml" });
  try {
    console.log(`------ ${file}`);
    const args = ["test", "--allow-all", "--no-check", `--junit-path=${junit}`];
    if (filter !== undefined) args.push("--filter", filter);
    const result = await deno(run, [...args, file], limit, true);
    const left = await leftBehind(run);
    if (run.interrupted) {
      fail(run, `${file}: interrupted by ${run.interrupted}`);
      return;
    }
    const counts = readSummary(result.output) ?? { passed: 0, failed: 0, skipped: 0 };
    run.counts.passed += counts.passed;
    run.counts.skipped += counts.skipped;
    let why: string | undefined;
    if (counts.failed > 0) why = `${counts.failed} failed`;
    else if (result.late) why = `not finished after its deadline of ${limit} s`;
    else if (!result.ok) why = `ended with ${result.ending}`;
    if (why) fail(run, `${file}: ${why}`, Math.max(1, counts.failed));
    if (left.length > 0) fail(run, `${file}: left processes behind: ${left.join("; ")}`);
    run.skipped.push(...readSkipped(Deno.readTextFileSync(junit)).map((n) => `${file}: ${n}`));
    const { passed, failed, skipped } = counts;
    const said = `${passed} passed, ${failed} failed, ${skipped} skipped (${seconds(result.ms)})`;
    if (!why && left.length > 0) why = "left processes behind";
    console.log(why ? `FAILED ${file}: ${why}; ${said}` : `ok     ${file}: ${said}`);
  } finally {
    Deno.removeSync(junit);
  }
}

/** Ends what a finished file left running; returns what did not go by itself in time. */
async function leftBehind(run: Run): Promise<string[]> {
  const deadline = Date.now() + farewell;
  while (run.reaper.descendants().length > 0 && Date.now() < deadline) await pause(50);
  const names = run.reaper.descendants().map(describe);
  if (names.length > 0) await run.reaper.killAll(5_000);
  return names;
}

interface Ended {
  ok: boolean;
  late: boolean;
  ending: string;
  output: string;
  ms: number;
}

/** Runs Deno with a wall-time limit in seconds, in a session of its own so that Ctrl-C reaches only us. */
async function deno(run: Run, args: string[], limit: number, show: boolean): Promise<Ended> {
  const started = performance.now();
  const env: Record<string, string> = { NO_COLOR: "1", RUST_BACKTRACE: "0" };
  const child = new Deno.Command(Deno.execPath(), {
    args,
    env,
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  run.own.add(child.pid);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    console.log(`deadline of ${limit} s passed; ending:`);
    for (const one of run.reaper.descendants()) console.log(`  ${describe(one)}`);
    run.killing = run.reaper.killAll(5_000);
  }, limit * 1000);
  const chunks: string[] = [];
  const readers = [child.stdout, child.stderr].map((stream) => follow(stream, chunks, show));
  const status = await child.status;
  clearTimeout(timer);
  run.own.delete(child.pid);
  await run.killing;
  // A process that was left behind may hold the pipes open: what it says later is not waited for.
  await Promise.race([Promise.all(readers.map((r) => r.done)), pause(500)]);
  for (const reader of readers) reader.cancel();
  const ending = status.signal ? `signal ${status.signal}` : `exit code ${status.code}`;
  const ms = performance.now() - started;
  return { ok: status.success && !late, late, ending, output: chunks.join(""), ms };
}

function follow(stream: ReadableStream<Uint8Array>, chunks: string[], show: boolean) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  const done = (async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      chunks.push(text);
      if (show) Deno.stdout.writeSync(value);
    }
  })().catch(() => {});
  return { done, cancel: () => reader.cancel().catch(() => {}) };
}

/** Hosts, mounts and devices of the lab outlive processes that were killed: its own cleanup ends them. */
async function clearUp(run: Run) {
  await run.killing;
  if (!await run.reaper.killAll(5_000)) {
    const stuck = run.reaper.descendants().map(describe).join("; ");
    console.log(`processes that cannot be ended (waiting in the kernel?): ${stuck}`);
  }
  if (!exists("tests/lab/cleanup.ts")) return;
  const result = await deno(run, ["run", "--no-lock", "-A", "tests/lab/cleanup.ts"], 60, true);
  if (!result.ok) fail(run, `tests/lab/cleanup.ts: ended with ${result.ending}`);
  if (!await run.reaper.killAll(5_000)) fail(run, "some processes could not be ended");
}

function report(run: Run): number {
  const { counts } = run;
  if (run.skipped.length > 0) console.log(`\nskipped:\n  ${run.skipped.join("\n  ")}`);
  if (run.failures.length > 0) console.log(`\nfailed:\n  ${run.failures.join("\n  ")}`);
  console.log(
    `\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`,
  );
  if (run.interrupted) return 128 + (signalNumbers[run.interrupted] ?? 0);
  return counts.failed > 0 ? 1 : 0;
}

function fail(run: Run, what: string, count = 1) {
  run.failures.push(what);
  run.counts.failed += count;
}

/** Unit tests beside their sources first, then those that need a lab. */
function testFiles(): string[] {
  return ["agent", "scripts", "tests"].filter(exists).flatMap(walk);
}

function walk(folder: string): string[] {
  const found: string[] = [];
  const entries = [...Deno.readDirSync(folder)].sort((a, b) => a.name < b.name ? -1 : 1);
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory && !entry.name.startsWith(".")) found.push(...walk(path));
    else if (entry.isFile && entry.name.endsWith("_test.ts")) found.push(path);
  }
  return found;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
