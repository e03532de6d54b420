import { createActor } from "./act.ts";
import { withRig } from "./rig.ts";
const from = Number(Deno.args[0] ?? 1),
  to = Number(Deno.args[1] ?? 5),
  n = Number(Deno.args[2] ?? 600);
for (let seed = from; seed <= to; seed++) {
  try {
    await withRig({
      log: Deno.env.has("LOG"),
      before(a, b) {
        for (const [i, r] of [a, b].entries()) {
          const actor = createActor({ seed: seed * 2 + i, roots: r });
          const stat = new Map<string, number>();
          for (let k = 0; k < n; k++) {
            const x = actor.act();
            const key = `${x.name}${x.result < 0 ? x.result : ""}`;
            stat.set(key, (stat.get(key) ?? 0) + 1);
          }
          actor.close();
          if (Deno.env.has("STAT")) console.log(stat);
        }
      },
    }, async (rig) => {
      await rig.open();
      await rig.serve();
      await rig.sync();
      await rig.finish();
    });
    console.log("seed", seed, "ok");
  } catch (e) {
    console.log("seed", seed, String((e as Error).message).slice(0, 1500));
  }
}
