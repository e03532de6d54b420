/** The comparison of mirrored directories: starts the systems and lets them take turns. */

import type { Case, Plan, Scale } from "./cases.ts";
import { startExt4 } from "./ext4.ts";
import { startGlusterFs } from "./glusterfs.ts";
import { DeadlineError, messageOf, output, withDeadline } from "./host.ts";
import { startPassthrough } from "./passthrough.ts";
import { type Outcome, record } from "./report.ts";
import type { Bench, System, SystemName } from "./system.ts";
import { startUnderstudy } from "./understudy.ts";

const starters: Record<SystemName, (bench: Bench) => Promise<System>> = {
  "ext4": startExt4,
  "passthrough": (bench) => startPassthrough(bench, "one"),
  "passthrough-mt": (bench) => startPassthrough(bench, "many"),
  "glusterfs": startGlusterFs,
  "understudy": (bench) => startUnderstudy(bench, "understudy"),
  "understudy-plain": (bench) => startUnderstudy(bench, "understudy-plain"),
  "understudy-fsync": (bench) => startUnderstudy(bench, "understudy-fsync"),
};

export interface Choice {
  systems: SystemName[];
  cases: Case[];
  scale: Scale;
  rounds: number;
}

/** Nothing that a case does takes this long, except on a system that hangs. */
const caseDeadline = 330_000;

/** Starts the chosen systems, then runs every case in every round on each of them in turn. */
export async function compareMirrors(choice: Choice, bench: Bench): Promise<Outcome> {
  const outcome: Outcome = { systems: [], results: new Map(), failures: [] };
  const excluded = new Set<string>();
  const plan: Plan = { scale: choice.scale, round: 0, scratch: `${bench.directory}/scratch` };

  function fail(failure: string) {
    if (bench.cleanup.begun) return;
    outcome.failures.push(failure);
    bench.say(failure);
  }

  /** What fails once is not tried again; a system that hangs takes no further part at all. */
  async function attempt(system: System, item: Case, work: () => Promise<void>): Promise<void> {
    const pair = `${system.name} ${item.name}`;
    if (system.cannot.includes(item.name)) return;
    if (bench.cleanup.begun || excluded.has(system.name) || excluded.has(pair)) return;
    try {
      await withDeadline(item.name, caseDeadline, work());
    } catch (error) {
      excluded.add(error instanceof DeadlineError ? system.name : pair);
      fail(`${system.name} failed at ${item.name}: ${messageOf(error)}`);
    }
  }

  for (const name of choice.systems) {
    bench.say(`starting ${name}`);
    try {
      outcome.systems.push(await starters[name](bench));
    } catch (error) {
      fail(`${name} is left out: ${messageOf(error)}`);
    }
  }
  for (const item of choice.cases) {
    for (const system of outcome.systems) {
      await attempt(system, item, async () => {
        bench.say(`preparing ${item.name} on ${system.name}`);
        await item.prepare(system, plan);
        await system.settle();
      });
    }
  }
  for (plan.round = 0; plan.round < choice.rounds; plan.round++) {
    for (const item of choice.cases) {
      for (const system of outcome.systems) {
        await attempt(system, item, async () => {
          // What the one before left to be written must not slow this one down.
          await output([], ["sync", "--file-system", bench.directory]);
          const measurements = await item.run(system, plan);
          await system.settle();
          for (const measurement of measurements) record(outcome.results, system.name, measurement);
          const values = measurements.map(({ row, value }) => `${row} ${Math.round(value)}`);
          const progress = `round ${plan.round + 1}/${choice.rounds}`;
          bench.say(`${progress} ${system.name}: ${values.join(", ")}`);
        });
      }
    }
  }
  if (bench.cleanup.begun) throw new Error("Interrupted");
  return outcome;
}
