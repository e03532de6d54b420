/**
 * Crash rounds in the lab: traffic on the primary, the primary's agent or host killed at a random
 * moment, the plain directories judged by the oracle; then the nodes find together again.
 *
 * As a program: `deno run -A tests/history/rounds.ts --rounds 300 --seed 1 [--mode write|fsync|both]
 * [--processes 3] [--break NAME]`. Ends with 0 where nothing was found. scripts/soak-history runs it.
 */

import { parseArgs } from "node:util";
import { compareTrees, formatDifferences } from "../lab/compare.ts";
import { createLab, type Host, type Lab } from "../lab/lab.ts";
import { waitFor } from "../lib/wait.ts";
import type { Mode } from "./model.ts";
import { glance, judge } from "./oracle.ts";
import { type RunningTraffic, startTraffic } from "./processes.ts";
import { createRandom, deriveSeed, type Random } from "./random.ts";

export interface RoundsOptions {
  rounds: number;
  seed: number;
  mode: Mode;
  /** writers; default 3 */
  processes?: number;
  /** UNDERSTUDY_BREAK of the agents: how a test build breaks its promises */
  sabotage?: string;
  /** stop after the first round with a violation; default true */
  stopAtViolation?: boolean;
  /** told a line about every round */
  say?: (line: string) => void;
}

export interface RoundsResult {
  rounds: number;
  acknowledged: number;
  /** looks at the secondary's trees while they changed */
  glances: number;
  violations: string[];
}

const module = "history";
const paths = ["/srv/one", "/srv/two"];

/** Milliseconds of traffic before the kill. */
const minTraffic = 200;
const maxTraffic = 1500;

/** Runs rounds in a lab of two nodes whose agents are not running. */
export async function runRounds(lab: Lab, options: RoundsOptions): Promise<RoundsResult> {
  const { rounds, seed, mode, stopAtViolation = true, say = () => {} } = options;
  const result: RoundsResult = { rounds: 0, acknowledged: 0, glances: 0, violations: [] };
  const progressDirectory = `${lab.directory}/progress-${mode}`;
  await Deno.mkdir(progressDirectory, { recursive: true });
  await lab.writeConfig({
    modules: [{ name: module, directories: paths, sync: mode }],
    heartbeat: { interval: "50ms", timeout: "1s", ack_timeout: "10s" },
  });
  for (const host of [lab.alpha, lab.beta]) {
    await host.run(`rm -rf ${paths.join(" ")} && mkdir -p ${paths.join(" ")}`);
  }
  let roles: Roles = { primary: lab.alpha, secondary: lab.beta };
  let takeOver = false;
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const random = createRandom(deriveSeed(seed, round));
    const context = { random, round, options, progressDirectory };
    roles = await bringUp(roles, context, takeOver);
    const resynced = await differencesOf(roles);
    takeOver = random.chance(0.5);
    const { how, ...found } = await crash(roles, context, takeOver);
    const violations = [...resynced, ...found.violations];
    result.rounds++;
    result.acknowledged += found.acknowledged;
    result.glances += found.glances;
    result.violations.push(...violations);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(
      `round ${round} (${mode}): ${roles.primary.name}'s ${how}, ${found.acknowledged} acknowledged, ` +
        `${found.glances} looks, ${violations.length} violations, ${seconds} s`,
    );
    if (violations.length > 0 && stopAtViolation) break;
  }
  return result;
}

interface Roles {
  primary: Host;
  secondary: Host;
}

interface Context {
  random: Random;
  round: number;
  options: RoundsOptions;
  progressDirectory: string;
}

/**
 * Starts the agents again after a crash and waits until the nodes are in sync. With `takeOver` the old
 * secondary, whose agent has run all the time, is told to serve before the old primary returns;
 * else both return and see themselves who serves. Returns the new roles.
 */
async function bringUp(
  before: Roles,
  { round, options }: Context,
  takeOver: boolean,
): Promise<Roles> {
  const { sabotage } = options;
  const agent = sabotage === undefined ? {} : { env: { UNDERSTUDY_BREAK: sabotage } };
  const start = async (host: Host) => {
    if (!host.up) await host.powerOn();
    await host.startAgent(agent);
  };
  let roles = before;
  if (takeOver) {
    roles = { primary: before.secondary, secondary: before.primary };
    await prim(roles.primary);
    await start(roles.secondary);
  } else {
    await start(before.primary);
    await start(before.secondary);
    if (round === 0) await prim(before.primary);
    else roles = await servingOf(before);
  }
  await roles.primary.waitState(module, "PRIM", { timeout: 60_000 });
  await roles.secondary.waitState(module, "SECOND", { timeout: 10_000 });
  await roles.primary.run(`rm -rf ${paths.map((path) => `${path}/r${round - 2}*`).join(" ")}`);
  return roles;
}

/** Tells a node that its data is the good one, as soon as it may. */
async function prim(host: Host): Promise<void> {
  await waitFor(`prim on ${host.name}`, async () => {
    const { code, stdout, stderr } = await host.tryCli("prim", module);
    if (code !== 0) throw new Error(stdout + stderr);
    return true;
  }, { timeout: 10_000, interval: 500 });
}

/** Who serves of two nodes that found each other again. */
async function servingOf({ primary, secondary }: Roles): Promise<Roles> {
  return await waitFor("one node to serve", async () => {
    for (const [one, other] of [[primary, secondary], [secondary, primary]]) {
      const { state } = await one.status(module);
      if (state === "PRIM" || state === "ALONE") return { primary: one, secondary: other };
    }
    return undefined;
  }, { timeout: 20_000, interval: 100 });
}

/** Both nodes' plain directories are the same while nobody writes; times may follow a little later. */
async function differencesOf({ primary, secondary }: Roles): Promise<string[]> {
  const violations: string[] = [];
  for (const path of paths) {
    let found = "";
    await waitFor("the trees to be equal", async () => {
      found = formatDifferences(await compareTrees(primary.path(path), secondary.path(path)));
      return found === "";
    }, { timeout: 3000, interval: 200 }).catch(() => {
      violations.push(
        `In sync, but ${path} differs (${primary.name} | ${secondary.name}):\n${found}`,
      );
    });
  }
  return violations;
}

/** Traffic, a kill, the verdict. Leaves both agents ended, or with `takeOver` the secondary's running. */
async function crash({ primary, secondary }: Roles, context: Context, takeOver: boolean) {
  const { random, round, options, progressDirectory } = context;
  const violations = new Set<string>();
  const traffic = await startTraffic({
    spawn: (command, spawnOptions) => primary.spawn(command, spawnOptions),
    seed: options.seed,
    round,
    mode: options.mode,
    processes: options.processes ?? 3,
    directories: paths,
    progressDirectory,
  });
  const copies = paths.map((path) => secondary.path(path));
  await waitFor("the traffic to begin", () => !traffic.running || traffic.acknowledged() > 100, {
    timeout: 30_000,
  });
  const glances = await watch(
    traffic,
    copies,
    violations,
    minTraffic + random.below(maxTraffic - minTraffic),
  );
  if (!traffic.running) {
    // Nothing was killed yet: whatever ended them was an error that the application should not see.
    traffic.kill();
    for (const error of (await traffic.ended).errors) violations.add(`${error} before any kill`);
  }
  const dropped = await outOfSync(primary, secondary);
  if (dropped !== undefined) {
    // Rightly or not, the primary went on alone: nothing is promised of the secondary.
    violations.clear();
    violations.add(dropped);
  }
  const how = random.chance(0.5) ? "agent killed" : "host killed";
  const agent = primary.agent!;
  if (how === "agent killed") agent.kill("SIGKILL");
  else await primary.kill();
  await agent.status;
  // Without the agent every call fails; who is between two calls only notices at the next.
  await traffic.ended;
  await missPrimary(secondary);
  if (!takeOver) await secondary.agent!.stop();
  const verdict = judge(traffic.history, copies);
  if (dropped === undefined) {
    for (const violation of verdict.violations) violations.add(violation);
  }
  // What it acknowledged the primary must have itself; its disk lost nothing in these crashes.
  const own = judge(traffic.history, paths.map((path) => primary.path(path)));
  for (const violation of own.violations) {
    violations.add(`On the killed primary itself: ${violation}`);
  }
  return { how, acknowledged: verdict.acknowledged, glances, violations: [...violations] };
}

/** A sentence where the mirror fell out of sync without any fault. */
async function outOfSync(primary: Host, secondary: Host): Promise<string | undefined> {
  for (const [host, expected] of [[primary, "PRIM"], [secondary, "SECOND"]] as const) {
    const { state, ready, reason } = await host.status(module);
    if (state !== expected || !ready) {
      return `Out of sync without a fault: ${host.name} is ${state}, ${reason}`;
    }
  }
  return undefined;
}

/** Looks at the secondary's trees again and again for a while; returns how often. */
async function watch(
  traffic: RunningTraffic,
  copies: string[],
  violations: Set<string>,
  milliseconds: number,
): Promise<number> {
  const end = performance.now() + milliseconds;
  let glances = 0;
  while (performance.now() < end && traffic.running && violations.size < 10) {
    for (const violation of glance(traffic.history, copies)) violations.add(violation);
    glances++;
    await new Promise((resolve) => setTimeout(resolve, random(1, 5)));
  }
  return glances;
}

function random(from: number, to: number): number {
  return from + Math.random() * (to - from);
}

/** Waits until the secondary has seen that its primary is gone: then it has applied what it received. */
async function missPrimary(secondary: Host): Promise<void> {
  await waitFor(`${secondary.name} to miss its primary`, async () => {
    const { state, ready } = await secondary.status(module);
    return state !== "SECOND" || !ready;
  }, { timeout: 20_000 });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      rounds: { type: "string", default: "300" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      mode: { type: "string", default: "both" },
      processes: { type: "string", default: "3" },
      break: { type: "string" },
    },
  });
  const modes: Mode[] = values.mode === "both" ? ["write", "fsync"] : [values.mode as Mode];
  const total = Number(values.rounds);
  console.log(`seed ${values.seed}`);
  let failed = false;
  for (const [i, mode] of modes.entries()) {
    // With both modes each gets its share of the rounds.
    const rounds = Math.floor((total + i) / modes.length);
    const lab = await createLab();
    try {
      const result = await runRounds(lab, {
        rounds,
        seed: Number(values.seed),
        mode,
        processes: Number(values.processes),
        ...(values.break === undefined ? {} : { sabotage: values.break }),
        say: (line) => console.log(line),
      });
      for (const violation of result.violations) console.log(violation);
      console.log(
        `${mode}: ${result.rounds} rounds, ${result.acknowledged} operations acknowledged, ` +
          `${result.glances} looks, ${result.violations.length} violations`,
      );
      if (result.violations.length > 0) {
        failed = true;
        console.log(await lab.logTails());
      }
    } catch (error) {
      console.log(await lab.logTails());
      throw error;
    } finally {
      await lab.close();
    }
  }
  return failed ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
