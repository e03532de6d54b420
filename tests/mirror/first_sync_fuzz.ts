import { grow } from "./act.ts";
import { withRig } from "./rig.ts";
const from = Number(Deno.args[0] ?? 1),
  to = Number(Deno.args[1] ?? 5),
  n = Number(Deno.args[2] ?? 1000);
for (let seed = from; seed <= to; seed++) {
  try {
    await withRig({
      log: Deno.env.has("LOG"),
      before(a, b) {
        grow(a, seed * 2, n);
        grow(b, seed * 2 + 1, n);
      },
    }, async (rig) => {
      await rig.open();
      await rig.serve();
      await rig.sync();
      await rig.finish();
    });
    console.log("seed", seed, "ok");
  } catch (e) {
    console.log("seed", seed, String((e as Error).message).slice(0, 900));
  }
}
