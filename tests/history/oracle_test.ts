import assert from "node:assert/strict";
import { testWith } from "../lib/requires.ts";
import { makeTempDir } from "../lib/temp.ts";
import { echoTop } from "./echo.ts";
import { generate, topOf } from "./generate.ts";
import { apply, createModel, type Mode, type Model } from "./model.ts";
import { markBytes } from "./payload.ts";
import type { Operation } from "./operation.ts";
import { glance, judge, readMark, type Verdict } from "./oracle.ts";
import { createPerformer, type Performer } from "./perform.ts";
import { createProgressLog } from "./progress.ts";
import { createRandom } from "./random.ts";
import type { TrafficOptions } from "./traffic.ts";

/** What a mirror does with the operations of a process: the tree that it leaves is judged. */
interface Mirrored {
  performer: Performer;
  model: Model;
  operation: Operation;
  index: number;
}

interface Scenario {
  seed: number;
  mode?: Mode;
  /** operations acknowledged to the process */
  acknowledged: number;
  /** another one in flight */
  inFlight?: boolean;
  /** performs operations on the copy; the default does so faithfully */
  mirror?: (step: Mirrored) => void;
  /** runs at the end, before the verdict */
  finish?: (directories: string[], options: TrafficOptions) => void;
}

const faithful = ({ performer, model, operation }: Mirrored) => {
  const failure = performer.perform(model, operation);
  assert.equal(failure, undefined, `${operation.kind} failed: ${JSON.stringify(failure)}`);
};

/** Lets a mirror work, and judges the copy. */
async function verdictOf(scenario: Scenario): Promise<{ verdict: Verdict; last: Operation }> {
  const { seed, mode = "write", acknowledged, inFlight = false, mirror = faithful } = scenario;
  const base = await makeTempDir("history");
  try {
    const directories = [`${base}/one`, `${base}/two`];
    for (const directory of directories) await Deno.mkdir(directory);
    const progress = `${base}/progress`;
    const options: TrafficOptions = { seed, process: 1, round: 0, mode, directories, progress };
    const random = createRandom(seed);
    const model = createModel(1, mode);
    const performer = createPerformer(directories);
    const log = createProgressLog(progress);
    let last: Operation | undefined;
    for (let index = 0; index < acknowledged + (inFlight ? 1 : 0); index++) {
      last = generate(model, random, topOf(0, 1));
      log.begin();
      mirror({ performer, model, operation: last, index });
      apply(model, last);
      if (index < acknowledged) log.acknowledge();
    }
    log.close();
    scenario.finish?.(directories, options);
    const verdict = judge({ traffic: [options] }, directories);
    performer.close();
    return { verdict, last: last! };
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

const needs = ["root"] as const;

for (const mode of ["write", "fsync"] as const) {
  testWith(needs, `The state after any number of operations is allowed (${mode})`, async () => {
    for (let seed = 0; seed < 25; seed++) {
      for (const inFlight of [false, true]) {
        const scenario = { seed, mode, acknowledged: 20 + seed * 30, inFlight };
        const { verdict } = await verdictOf(scenario);
        assert.deepEqual(verdict.violations, []);
      }
    }
  });
}

testWith(needs, "An operation in flight may be missing", async () => {
  for (let seed = 100; seed < 130; seed++) {
    const acknowledged = 40 + seed;
    const { verdict } = await verdictOf({
      seed,
      acknowledged,
      inFlight: true,
      mirror: (step) => {
        if (step.index < acknowledged) faithful(step);
      },
    });
    assert.deepEqual(verdict.violations, []);
  }
});

testWith(
  needs,
  "A write in flight may end anywhere, but is not half there after its end",
  async () => {
    let judged = 0;
    for (let seed = 0; judged < 20; seed++) {
      const acknowledged = 60 + seed;
      let cut: number | undefined;
      const mirrorOf = (middle: boolean) => (step: Mirrored) => {
        const { operation, index } = step;
        if (index < acknowledged || operation.kind !== "write") return faithful(step);
        // A file without a name shows nothing.
        if (step.model.handles[operation.handle]!.node.links === 0) return;
        cut = Math.floor(operation.length / 2);
        const part = { ...operation, length: cut };
        if (middle) {
          part.offset += operation.length - cut;
        }
        if (cut > 16) faithful({ ...step, operation: part });
      };
      const scenario = { seed, acknowledged, inFlight: true };
      const front = await verdictOf({ ...scenario, mirror: mirrorOf(false) });
      if (cut === undefined || cut <= 16) continue;
      judged++;
      assert.deepEqual(front.verdict.violations, []);
      const back = await verdictOf({ ...scenario, mirror: mirrorOf(true) });
      assert.equal(back.verdict.violations.length, 1, "the end of a write without its beginning");
    }
  },
);

testWith(needs, "A skipped operation is caught, whatever its kind", async () => {
  const missing = new Set(
    ["attribute", "append", "create", "link", "mark", "mkdir", "mode", "owner", "rename", "rmdir"]
      .concat(["symlink", "temporary", "times", "truncate", "unlink", "write"]),
  );
  for (let seed = 0; missing.size > 0; seed++) {
    assert.ok(seed < 1500, `never seen: ${[...missing]}`);
    const acknowledged = 60 + seed % 60;
    const { verdict, last } = await verdictOf({
      seed,
      acknowledged,
      mirror: (step) => {
        if (step.index < acknowledged - 1) faithful(step);
      },
    });
    if (verdict.violations.length === 1) missing.delete(last.kind);
    // What concerns a file without a name, or changes nothing, cannot be seen.
    else assert.ok(!["mark", "create", "mkdir", "unlink", "rmdir"].includes(last.kind), last.kind);
  }
});

testWith(needs, "An operation skipped long ago is caught", async () => {
  let caught = 0;
  for (let seed = 0; seed < 20; seed++) {
    const { verdict } = await verdictOf({
      seed,
      acknowledged: 300,
      // A sloppy mirror: what then fails is skipped too.
      mirror: ({ performer, model, operation, index }) => {
        if (index !== 280) performer.perform(model, operation);
      },
    });
    caught += verdict.violations.length;
  }
  assert.ok(caught >= 8, `${caught} of 20: the others were invisible or written over`);
});

testWith(needs, "Early acknowledgement is caught in both modes", async () => {
  for (const mode of ["write", "fsync"] as const) {
    let caught = 0;
    for (let seed = 0; seed < 20; seed++) {
      const acknowledged = 200 + seed;
      const { verdict } = await verdictOf({
        seed,
        mode,
        acknowledged,
        mirror: (step) => {
          if (step.index < acknowledged - 10) faithful(step);
        },
      });
      caught += verdict.violations.length;
    }
    // With `fsync`, ten operations may all be writes that were not promised yet.
    assert.ok(caught >= (mode === "write" ? 20 : 14), `${mode}: ${caught} of 20`);
  }
});

testWith(needs, "A directory that runs ahead of the other is caught", async () => {
  let caught = 0;
  let glimpsed = 0;
  for (let seed = 0; seed < 20; seed++) {
    const delayed: (() => void)[] = [];
    const { verdict } = await verdictOf({
      seed,
      acknowledged: 150,
      // Marks of directory 0 are late by a few operations.
      mirror: (step) => {
        const { operation } = step;
        if (operation.kind === "mark" && operation.at.directory === 0 && step.index > 100) {
          delayed.push(() => step.performer.perform(step.model, operation));
        } else faithful(step);
      },
      finish: (directories, options) => {
        glimpsed += glance({ traffic: [options] }, directories).length > 0 ? 1 : 0;
        for (const late of delayed.slice(0, -1)) late();
      },
    });
    caught += verdict.violations.length > 0 ? 1 : 0;
  }
  assert.equal(caught, 20);
  assert.equal(glimpsed, 20);
});

testWith(needs, "An echo without its mark is caught", async () => {
  const base = await makeTempDir("echo");
  try {
    const directories = [`${base}/one`, `${base}/two`];
    const progress = `${base}/progress`;
    const mark = `${directories[0]}/${topOf(0, 1)}`;
    const echo = `${directories[1]}/${echoTop(0)}`;
    for (const directory of [mark, echo]) await Deno.mkdir(directory, { recursive: true });
    const traffic: TrafficOptions[] = [
      { seed: 1, process: 1, round: 0, mode: "fsync", directories, progress },
    ];
    await Deno.writeFile(`${mark}/mark`, markBytes(6));
    await Deno.writeFile(`${echo}/1`, markBytes(6));
    assert.equal(readMark(directories, 0, 0, 1), 6);
    assert.deepEqual(judge({ traffic, echo: `${base}/none` }, directories).violations, []);
    await Deno.writeFile(`${echo}/1`, markBytes(7));
    const { violations } = judge({ traffic, echo: `${base}/none` }, directories);
    assert.match(violations.join(), /overtook/);
    assert.match(glance({ traffic, echo: `${base}/none` }, directories).join(), /overtook/);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
});
