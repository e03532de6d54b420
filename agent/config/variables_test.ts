import assert from "node:assert/strict";
import fc from "fast-check";
import { formatPath } from "./finding.ts";
import { expandVariables } from "./variables.ts";

const none = new Set<string>();

function expand(document: unknown) {
  return expandVariables(document, none).value as Record<string, unknown>;
}

/** What is wrong, as `key: expected | found | hint`. */
function wrong(document: unknown): string[] {
  return expandVariables(document, none).mistakes.map((m) =>
    `${formatPath(m.path)}: ${m.expected} | ${m.found}` + (m.hint ? ` | ${m.hint}` : "")
  );
}

Deno.test("references are replaced in every string, also in other variables", () => {
  const document = {
    vars: { version: "15", path: "/srv/${vars.version}" },
    list: [{ deep: "${vars.path}/a-${vars.version}" }],
    number: 3,
  };
  assert.deepEqual(expand(document), {
    vars: { version: "15", path: "/srv/15" },
    list: [{ deep: "/srv/15/a-15" }],
    number: 3,
  });
});

Deno.test("what is meant for a shell stays as it is", () => {
  const script = 'for i in ${LIST}; do echo $i ${i%.x} $(x) ${1} "${env.HOME}"; done';
  assert.equal(expand({ vars: {}, script }).script, script);
});

Deno.test("a replaced text is not searched again for references", () => {
  assert.equal(expand({ vars: { d: "$", v: "x" }, a: "${vars.d}{vars.v}" }).a, "${vars.v}");
});

Deno.test("unknown variables are refused with the nearest known one", () => {
  assert.deepEqual(wrong({ vars: { version: "1", path: "p" }, a: "${vars.versoin}" }), [
    "a: one of the variables ${vars.version}, ${vars.path} | ${vars.versoin} | " +
    'did you mean "${vars.version}"?',
  ]);
  assert.deepEqual(wrong({ a: "${vars.x}" }), [
    "a: no variable, as [vars] has none | ${vars.x}",
  ]);
});

Deno.test("slips in a reference are refused", () => {
  assert.deepEqual(wrong({ vars: { x: "1" }, a: "${var.x}" }), [
    'a: a reference such as ${vars.x} | ${var.x} | did you mean "${vars.x}"?',
  ]);
  assert.deepEqual(wrong({ vars: { x: "1" }, a: "b ${vars.x" }), [
    'a: a } after ${vars. | "${vars.x"',
  ]);
});

Deno.test("variables that lead back to themselves are refused once, with the way", () => {
  assert.deepEqual(wrong({ vars: { a: "x${vars.a}" }, b: "${vars.a}" }), [
    "vars.a: a value that does not lead back to itself | ${vars.a} → ${vars.a}",
  ]);
  assert.deepEqual(wrong({ vars: { a: "${vars.b}", b: "${vars.c}", c: "${vars.a}" } }), [
    "vars.a: a value that does not lead back to itself | " +
    "${vars.a} → ${vars.b} → ${vars.c} → ${vars.a}",
  ]);
});

Deno.test("variables without a usable value are not complained of at every use", () => {
  const { mistakes, failed } = expandVariables({ vars: { a: 1 }, b: "${vars.a}" }, none);
  assert.deepEqual([mistakes.length, [...failed]], [0, ["b"]]);
  assert.deepEqual(wrong({ vars: ["a"], b: "${vars.a}" }), []);
});

Deno.test("variables that double each other, and long chains, are refused", () => {
  const doubling = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`v${i}`, i ? `\${vars.v${i - 1}}`.repeat(2) : "x"]),
  );
  assert.match(wrong({ vars: doubling }).join(), /at most 65536 characters/);
  const chain = Object.fromEntries(
    Array.from({ length: 5000 }, (_, i) => [`v${i}`, `\${vars.v${i + 1}}`]),
  );
  assert.match(wrong({ vars: { ...chain, v5000: "x" } }).join(), /at most 100 steps/);
  const many = { vars: { long: "x".repeat(60000) }, a: "${vars.long}".repeat(50000) };
  assert.match(wrong(many).join(), /at most 65536 characters/);
});

Deno.test("a key of whole numbers takes one from a variable", () => {
  const document = { vars: { n: "5", s: "x" }, failures: "${vars.n}", name: "${vars.n}" };
  const { value } = expandVariables(document, new Set(["failures"]));
  assert.deepEqual(value, { vars: { n: "5", s: "x" }, failures: 5, name: "5" });
});

Deno.test("what stood in the file is kept for messages", () => {
  const { originals } = expandVariables({ vars: { x: "1" }, a: ["${vars.x}", "b"] }, none);
  assert.deepEqual([...originals], [["a[0]", "${vars.x}"]]);
});

Deno.test("documents without references come back as they were, whatever they are", () => {
  fc.assert(fc.property(fc.jsonValue(), (document) => {
    fc.pre(!JSON.stringify(document).includes("${"));
    assert.deepEqual(expandVariables(document, none).value, document);
  }));
});
