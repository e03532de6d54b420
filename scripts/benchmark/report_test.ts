import assert from "node:assert/strict";
import { cases } from "./cases.ts";
import { median, type Outcome, record, renderReport, toJson } from "./report.ts";
import type { System, SystemName } from "./system.ts";

function system(name: SystemName): System {
  return {
    name,
    title: name,
    settings: `settings of ${name}`,
    directory: "/srv",
    cannot: [],
    run: () => Promise.resolve(""),
    settle: () => Promise.resolve(),
  };
}

function outcome(rates: Partial<Record<SystemName, number[]>>): Outcome {
  const systems = Object.keys(rates).map((name) => system(name as SystemName));
  const result: Outcome = { systems, results: new Map(), failures: [] };
  for (const [name, values] of Object.entries(rates)) {
    for (const value of values) record(result.results, name, { row: "write1", value });
  }
  return result;
}

/** The cells of the first line that begins so. */
function line(report: string, start: string, after: string): string[] {
  const lines = report.slice(report.indexOf(after)).split("\n");
  return lines.find((each) => each.startsWith(start))?.split(/ {2,}/).slice(1) ?? [];
}

Deno.test("the median of an even number of rounds lies between the two in the middle", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});

Deno.test("medians and their ratios to GlusterFS and to ext4 are told for every system", () => {
  const rates = { ext4: [100_000, 90_000], glusterfs: [3000, 2000, 2500], understudy: [5000] };
  const report = renderReport(outcome(rates), cases);
  const row = "8 KiB random write, 1 writer";
  assert.deepEqual(line(report, row, "median"), ["95,000 ±5%", "2,500 ±20%", "5,000"]);
  assert.deepEqual(line(report, row, "ratio to glusterfs"), ["38.0x", "1.0x", "2.0x"]);
  assert.deepEqual(line(report, row, "ratio to ext4"), ["1.0x", "0.026x", "0.053x"]);
});

Deno.test("a floor is met or missed by each mirror, in the table and in the JSON", () => {
  const result = outcome({ glusterfs: [2000], understudy: [3000], "understudy-plain": [2980] });
  const row = line(renderReport(result, cases), "8 KiB random write, 1 writer", "floor,");
  assert.deepEqual(row, ["1.5x", "1.50x met", "1.49x MISSED"]);
  const { floors } = toJson(result) as { floors: { row: string; reached: unknown }[] };
  const reached = floors.find((floor) => floor.row === "write1")?.reached;
  assert.deepEqual(reached, { "understudy": 1.5, "understudy-plain": 1.49 });
});

Deno.test("what could not be measured leaves a dash, and is named", () => {
  const result = outcome({ glusterfs: [2000], understudy: [] });
  result.failures.push("understudy failed at write1: no space");
  const report = renderReport(result, cases);
  assert.deepEqual(line(report, "8 KiB random write", "median"), ["2,000", "-"]);
  assert.match(report, /understudy failed at write1: no space/);
});
