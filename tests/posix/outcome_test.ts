import assert from "node:assert/strict";
import { absent, compareOutcomes, parseOutcomes } from "./outcome.ts";

Deno.test("Outcomes are read by check: fine, noted, failed", () => {
  const outcomes = parseOutcomes(
    "ok open/a file\nok open/limit = 5 EMLINK\nnot ok open/x: y: expected 1, seen 2\n# 2 ok, 1 not ok\n",
  );
  assert.deepEqual([...outcomes], [
    ["open/a file", "ok"],
    ["open/limit", "5 EMLINK"],
    ["open/x: y", "not ok: expected 1, seen 2"],
  ]);
});

Deno.test("A line of another kind and a name that comes twice are refused", () => {
  assert.throws(() => parseOutcomes("Segmentation fault\n"), /Not a line/);
  assert.throws(() => parseOutcomes("ok a\nok a\n"), /Two checks/);
});

Deno.test("Differences are outcomes that are not the same, and checks that ran on one side only", () => {
  const plain = parseOutcomes("ok a\nok b = 1\nok c\n");
  const mirror = parseOutcomes("ok a\nok b = 2\nnot ok d: expected x, seen y\n");
  assert.deepEqual(compareOutcomes(plain, mirror), [
    { check: "b", plain: "1", mirror: "2" },
    { check: "c", plain: "ok", mirror: absent },
    { check: "d", plain: absent, mirror: "not ok: expected x, seen y" },
  ]);
});
