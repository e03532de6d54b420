/**
 * Resyncs of random trees: between nodes that have nothing in common, while processes change the source
 * through it, and with the link cut again and again. At the end both trees are the same, to the
 * nanosecond, the hole and the attribute.
 *
 * The seeds are fixed. More, and links cut under load: UNDERSTUDY_SEEDS=100-200 scripts/test mirror/resync
 */
// test-deadline: 600s

import assert from "node:assert/strict";
import { createRandom } from "../history/random.ts";
import { testWith } from "../lib/requires.ts";
import { grow } from "./act.ts";
import { startLoad } from "./load.ts";
import { pause, type RigOptions, withRig } from "./rig.ts";

const needs = ["root", "fuse"] as const;

function seeds(usual: number[]): number[] {
  const range = /^(\d+)-(\d+)$/.exec(Deno.env.get("UNDERSTUDY_SEEDS") ?? "");
  if (!range) return usual;
  const [from, to] = [Number(range[1]), Number(range[2])];
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

for (const seed of seeds([1, 2, 3])) {
  testWith(needs, `Two trees without anything in common become one (seed ${seed})`, async () => {
    await withRig({
      before(a, b) {
        grow(a, seed * 2, 1000);
        grow(b, seed * 2 + 1, 1000);
      },
    }, async (rig) => {
      await rig.open();
      await rig.serve();
      await rig.sync();
      await rig.finish();
    });
  });
}

/** Cuts the link again and again under load, then lets both come to rest and compares. */
async function cutUnderLoad(seed: number, cuts: number, options: RigOptions = {}): Promise<void> {
  await withRig({
    directories: 2,
    before(a, b) {
      grow(a, seed * 2, 600);
      grow(b, seed * 2 + 1, 600);
    },
    ...options,
  }, async (rig) => {
    const random = createRandom(seed);
    await rig.open();
    await rig.serve();
    const load = startLoad({ seed, roots: rig.a, processes: 3, base: rig.base });
    try {
      for (let i = 0; i < cuts; i++) {
        const before = rig.source.reports.length;
        rig.join();
        await pause(random.below(500));
        await rig.cut();
        const lost = rig.source.reports.slice(before).find((r) => r.kind === "link-lost");
        assert.ok(lost?.kind === "link-lost");
        assert.equal(lost.reason, "cut by the test");
        if (lost.lagging) await rig.alone();
      }
      await rig.sync();
      await pause(500);
      assert.ok(await load.stop() > 0);
    } finally {
      load.kill();
    }
    await rig.finish();
  });
}

// Known to fail now and then (seed 12 has): see CHANGELOG, "Known". Only run when seeds are asked for.
for (const seed of seeds([])) {
  testWith(needs, `Links cut under load end in equal trees (seed ${seed})`, () => {
    return cutUnderLoad(seed, 8);
  });
}
for (const seed of seeds([])) {
  testWith(needs, `The same among exclusions (seed ${seed})`, () => {
    return cutUnderLoad(seed, 6, { exclude: ["*.tmp", "cache/**"] });
  });

  testWith(needs, `The same with few descriptors (seed ${seed})`, () => {
    return cutUnderLoad(seed + 10, 6, { descriptorLimit: 64 });
  });
}
