import assert from "node:assert/strict";
import { createRandom } from "../history/random.ts";
import { grow } from "./act.ts";
import { startLoad } from "./load.ts";
import { pause, withRig } from "./rig.ts";
const from = Number(Deno.args[0] ?? 1),
  to = Number(Deno.args[1] ?? 5),
  cuts = Number(Deno.args[2] ?? 10);
for (let seed = from; seed <= to; seed++) {
  const t0 = performance.now();
  try {
    let done = 0;
    await withRig({
      log: Deno.env.has("LOG"),
      directories: 2,
      before(a: string[], b: string[]) {
        grow(a, seed * 2, 600);
        grow(b, seed * 2 + 1, 600);
      },
      exclude: Deno.env.get("EXCLUDE")?.split(","),
      descriptorLimit: Number(Deno.env.get("FDS") ?? 0) || undefined,
    } as any, async (rig) => {
      const random = createRandom(seed);
      await rig.open();
      await rig.serve();
      const load = startLoad({
        seed,
        roots: rig.a,
        processes: 3,
        base: rig.base,
        noFlags: Deno.env.has("NOFLAGS"),
      });
      try {
        for (let i = 0; i < cuts; i++) {
          const n = rig.source.reports.length;
          rig.join();
          await pause(random.below(500));
          await rig.cut();
          const lost = rig.source.reports.slice(n).find((r) => r.kind === "link-lost") as any;
          if (lost.reason !== "cut by the test") {
            throw new Error(`lost: ${lost.reason}; ${rig.errors()}`);
          }
          if (lost.lagging) await rig.alone();
        }
        await rig.sync();
        await pause(500);
        done = await load.stop();
      } finally {
        load.kill();
      }
      const bad = [...rig.source.reports, ...rig.sink.reports].filter((r) =>
        (r.kind === "link-lost" && r.reason !== "cut by the test" && r.role === "source") ||
        (r.kind === "sink-outdated" && !r.paused)
      );
      assert.deepEqual(bad, []);
      await rig.finish();
    });
    console.log("seed", seed, "ok", done, Math.round(performance.now() - t0));
  } catch (e) {
    console.log("seed", seed, "FAIL", String((e as Error).message).slice(0, 2500));
  }
}
