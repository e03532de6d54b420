import assert from "node:assert/strict";
import { describe, finding, formatFinding, formatPath } from "./finding.ts";
import { editDistance, nearest } from "./nearest.ts";

const f = finding({
  severity: "error",
  file: "/etc/understudy/config.toml",
  line: 14,
  key: "heartbeat.timeout",
  expected: "a duration",
  found: '"x\u001b[31m"',
  hint: "write it\nso",
});

Deno.test("a finding is one line that names file, line, key, what was expected and found", () => {
  assert.equal(
    formatFinding(f, false),
    "/etc/understudy/config.toml:14: error: heartbeat.timeout: expected a duration, found " +
      '"x\\u001b[31m"; write it\\u000aso',
  );
});

Deno.test("colour marks the place and the severity and changes no word", () => {
  const colored = formatFinding({ ...f, severity: "warning" }, true);
  assert.ok(colored.includes("\u001b["));
  // deno-lint-ignore no-control-regex
  const plain = colored.replace(/\u001b\[\d+m/g, "");
  assert.equal(plain, formatFinding({ ...f, severity: "warning" }, false));
});

Deno.test("a finding without a line names the file alone", () => {
  assert.match(
    formatFinding({ ...f, line: undefined }, false),
    /^\/etc\/understudy\/config.toml: /,
  );
});

Deno.test("paths are written as people write them", () => {
  assert.equal(formatPath(["nodes", 1, "addresses", 0]), "nodes[1].addresses[0]");
  assert.equal(formatPath(["a b", "c.d", ""]), '"a b"."c.d".""');
});

Deno.test("values are described shortly", () => {
  assert.equal(describe("x".repeat(200)).length < 120, true);
  assert.deepEqual(
    [undefined, null, 1.5, true, [], [{}], [{}, {}], [1], {}, new Date()].map(describe),
    [
      "nothing",
      "null",
      "1.5",
      "true",
      "an empty array",
      "an array of 1 table",
      "an array of 2 tables",
      "an array",
      "a table",
      "a date",
    ],
  );
});

Deno.test("the nearest word is the one with the fewest changes", () => {
  assert.equal(editDistance("kitten", "sitting"), 3);
  assert.equal(editDistance("tpc", "tcp"), 1);
  assert.equal(editDistance("", "abc"), 3);
  const keys = ["interval", "timeout", "ack_timeout"];
  assert.equal(nearest("tmeout", keys), "timeout");
  assert.equal(nearest("TIMEOUT", keys), "timeout");
  assert.equal(nearest("ackTimeout", keys), "ack_timeout");
  assert.equal(nearest("intervall", keys), "interval");
  assert.equal(nearest("dir", ["directories", "sync"]), "directories");
  assert.equal(nearest("colour", keys), undefined);
  assert.equal(nearest("", keys), undefined);
  assert.equal(nearest("x".repeat(100_000), keys), undefined);
});
