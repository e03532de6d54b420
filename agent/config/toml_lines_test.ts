import assert from "node:assert/strict";
import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { formatPath } from "./finding.ts";
import { tomlLines } from "./toml_lines.ts";

Deno.test("keys, headers, arrays and inline tables have the lines they stand on", () => {
  const text = `# comment with [brackets] and "quotes"
title = "a # no comment" # a comment
list = [
  1, # one
  [2,
   3],
  { a = 1, b.c = [
    "]",
  ] },
]
"quoted.key" = 'it''s'
'literal key' = 1979-05-27 07:32:00
long = """
[not.a.table]
key = "\\"\\"" """"
raw = '''
[[x]]''''
after.dotted.key = true
[table]
x = 1
[table.inner."with space"]
y = { }
[[nodes]]
name = "a"
  [[nodes.sub]]
  z = 1
  [[nodes.sub]]
  z = 2
[[nodes]]
name = "b"
  [nodes.opts]
  w = -1_000
  [[nodes.sub]]
  z = 3
[implied.by.header]
[implied]
late = 1
`.replace("it''s", "its");
  parse(text);
  const lines = Object.fromEntries(tomlLines(text));
  const expected: Record<string, number> = {
    title: 2,
    list: 3,
    "list[0]": 4,
    "list[1]": 5,
    "list[1][0]": 5,
    "list[1][1]": 6,
    "list[2]": 7,
    "list[2].a": 7,
    "list[2].b": 7,
    "list[2].b.c": 7,
    "list[2].b.c[0]": 8,
    '"quoted.key"': 11,
    '"literal key"': 12,
    long: 13,
    raw: 16,
    after: 18,
    "after.dotted": 18,
    "after.dotted.key": 18,
    table: 19,
    "table.x": 20,
    "table.inner": 21,
    'table.inner."with space"': 21,
    'table.inner."with space".y': 22,
    nodes: 23,
    "nodes[0]": 23,
    "nodes[0].name": 24,
    "nodes[0].sub": 25,
    "nodes[0].sub[0]": 25,
    "nodes[0].sub[0].z": 26,
    "nodes[0].sub[1]": 27,
    "nodes[0].sub[1].z": 28,
    "nodes[1]": 29,
    "nodes[1].name": 30,
    "nodes[1].opts": 31,
    "nodes[1].opts.w": 32,
    "nodes[1].sub": 33,
    "nodes[1].sub[0]": 33,
    "nodes[1].sub[0].z": 34,
    implied: 36,
    "implied.by": 35,
    "implied.by.header": 35,
    "implied.late": 37,
  };
  assert.deepEqual(lines, expected);
});

Deno.test("escaped keys and Windows line ends are understood", () => {
  const lines = tomlLines('a = 1\r\n"\\u0062\\tc" = 2\r\n[d]\r\ne = 3\r\n');
  assert.deepEqual([...lines], [["a", 1], ['"b\\tc"', 2], ["d", 3], ["d.e", 4]]);
});

/** Documents whose leaves are numbers of their own, between strings that look like syntax. */
const tricky = fc.string({
  unit: fc.constantFrom("a", "#", "[", "]", "{", "}", '"', "'", "=", ",", "\n", "\\", "."),
  maxLength: 8,
});
const { table } = fc.letrec((tie) => ({
  table: fc.dictionary(
    fc.oneof(fc.stringMatching(/^[a-z]{1,3}$/), tricky.filter((s) => s !== "")),
    fc.oneof(
      { depthSize: "small" },
      fc.constant(0),
      tricky,
      tie("table"),
      fc.array(tie("table"), { maxLength: 3 }),
      fc.array(fc.oneof(fc.constant(0), tricky), { maxLength: 3 }),
    ),
    { maxKeys: 4 },
  ),
}));

Deno.test("every number in any document is found on the line where it stands", () => {
  fc.assert(
    fc.property(table, (document) => {
      let next = 100_000;
      const numbered = JSON.parse(JSON.stringify(document), (_, v) => v === 0 ? next++ : v);
      const text = stringify(numbered);
      const lines = tomlLines(text);
      const rows = text.split("\n");
      const walk = (value: unknown, path: (string | number)[]) => {
        if (typeof value === "number") {
          const line = rows.findIndex((row) => row.includes(String(value))) + 1;
          assert.equal(lines.get(formatPath(path)), line, `${formatPath(path)} in\n${text}`);
        } else if (Array.isArray(value)) value.forEach((v, i) => walk(v, [...path, i]));
        else if (typeof value === "object" && value !== null) {
          for (const [k, v] of Object.entries(value)) walk(v, [...path, k]);
        }
      };
      walk(parse(text), []);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("the walk ends on any text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void tomlLines(text)));
});
