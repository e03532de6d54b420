// test-deadline: 600s
import assert from "node:assert/strict";
import { labTest } from "../lab/lab.ts";
import type { Mode } from "./model.ts";
import { runRounds } from "./rounds.ts";

/** A few rounds; many are run by scripts/soak-history. A failure names the seed to repeat it with. */
const rounds = 4;

for (const mode of ["write", "fsync"] as const) {
  labTest(
    `A killed primary leaves a prefix with everything acknowledged (${mode})`,
    {},
    async (lab) => {
      const seed = Date.now() % 1_000_000;
      const { violations } = await runRounds(lab, { rounds, seed, mode });
      assert.equal(violations.join("\n"), "", `seed ${seed}`);
    },
  );
}

const sabotages: [string, Mode][] = [
  ["ack-early", "write"],
  ["reorder-directories", "write"],
  ["skip-operation", "write"],
  ["reorder-directories", "fsync"],
  ["skip-operation", "fsync"],
];

for (const [sabotage, mode] of sabotages) {
  labTest(
    `A mirror that breaks its promise by ${sabotage} is caught (${mode})`,
    {},
    async (lab) => {
      const { violations } = await runRounds(lab, { rounds: 10, seed: 1, mode, sabotage });
      // Not just a mirror that stumbled over it: promises that were not kept.
      assert.match(violations.join("\n"), /acknowledged|overtook/);
    },
  );
}
