import assert from "node:assert/strict";
import { readDeadline, readSkipped, readSummary } from "./test_report.ts";
import { below, parseStat } from "./processes.ts";

Deno.test("the summary counts tests, not their steps, but counts ignored steps as skipped", () => {
  assert.deepEqual(readSummary("ok | 5 passed (3 steps) | 0 failed (12ms)"), {
    passed: 5,
    failed: 0,
    skipped: 0,
  });
  assert.deepEqual(
    readSummary(
      "\x1b[31mFAILED\x1b[0m | 2 passed (1 step) | 1 failed (1 step) | 1 ignored (2 steps) | 3 filtered out (9ms)\n\nerror: Test failed\n",
    ),
    { passed: 2, failed: 1, skipped: 3 },
  );
});

Deno.test("the last summary counts, and output without one has none", () => {
  const output = "ok | 9 passed | 0 failed (1ms)\nnoise\nFAILED | 0 passed | 1 failed (0ms)\n";
  assert.deepEqual(readSummary(output), { passed: 0, failed: 1, skipped: 0 });
  assert.equal(readSummary("Segmentation fault\n"), undefined);
});

Deno.test("skipped tests and steps are named as they were written", () => {
  const xml = `<testcase name="fine" time="0"></testcase>
    <testcase name="needs &lt;root&gt; &amp; more" classname="x" time="0.000" line="2" col="6">
            <skipped/>
        </testcase>
    <testcase name="a &gt; b"><failure message="x">y</failure></testcase>`;
  assert.deepEqual(readSkipped(xml), ["needs <root> & more"]);
});

Deno.test("a file may ask for a deadline of its own", () => {
  assert.equal(readDeadline("/** doc */\n// test-deadline: 600s\nimport x;"), 600);
  assert.equal(readDeadline("const s = '// test-deadline: 600s'"), undefined);
});

Deno.test("a process whose name holds parentheses is read correctly", () => {
  assert.deepEqual(parseStat("42 (a) (b c) S 7 42 42 0 -1"), {
    pid: 42,
    parent: 7,
    state: "S",
    command: "a) (b c",
  });
});

Deno.test("descendants are found in whatever order the numbers come", () => {
  const child = (pid: number, parent: number) => ({ pid, parent, state: "S", command: "x" });
  const all = [child(5, 9), child(9, 1), child(3, 5), child(4, 2)];
  assert.deepEqual(below(1, all).map((c) => c.pid), [9, 5, 3]);
});
