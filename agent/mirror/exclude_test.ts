import assert from "node:assert/strict";
import fc from "fast-check";
import { compileExcludes, excludeMistake, ExcludePatternError } from "./exclude.ts";

const table: [pattern: string, path: string, excluded: boolean][] = [
  ["*.tmp", "a.tmp", true],
  ["*.tmp", ".tmp", true],
  ["*.tmp", "a/b/c.tmp", true],
  ["*.tmp", "a.tmp.new", false],
  ["*.tmp", "x.tmp/inside", true],
  ["postmaster.pid", "postmaster.pid", true],
  ["postmaster.pid", "sub/postmaster.pid", true],
  ["postmaster.pid", "postmaster.pid2", false],
  ["core*", "sub/core.123", true],
  ["core*", "score", false],
  ["a/b", "a/b", true],
  ["a/b", "x/a/b", false],
  ["a/b", "a/b/c/d", true],
  ["a/b", "a", false],
  ["a/*", "a/b", true],
  ["a/*", "a", false],
  ["a/*/c", "a/b/c", true],
  ["a/*/c", "a/b/b/c", false],
  ["dir/**", "dir", false],
  ["dir/**", "dir/x", true],
  ["dir/**", "dir/x/y", true],
  ["dir/**", "dir2/x", false],
  ["dir/**", "sub/dir/x", false],
  ["**/cache", "cache", true],
  ["**/cache", "a/b/cache", true],
  ["**/cache", "a/cachet", false],
  ["**/cache/**", "a/cache", false],
  ["**/cache/**", "a/cache/x/y", true],
  ["a/**/z", "a/z", true],
  ["a/**/z", "a/b/c/z", true],
  ["a/**/z", "b/z", false],
  ["a/**/b/**/c", "a/b/b/x/c", true],
  ["?.log", "a.log", true],
  ["?.log", "ab.log", false],
  ["?.log", "😀.log", true],
  ["??.log", "😀.log", false],
  ["[abc]x", "bx", true],
  ["[!abc]x", "bx", false],
  ["[^abc]x", "dx", true],
  ["[a-c]x", "bx", true],
  ["[]]x", "]x", true],
  ["[a-]x", "-x", true],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["\\!a", "!a", true],
  ["[\\]]x", "]x", true],
  ["a**b", "axxb", true],
  ["a**b", "a/b", false],
  ["#x#", "#x#", true],
  ["ü*", "d/über", true],
  ["*.tmp", "a\ufffdb.tmp", true],
];

Deno.test("every rule of the pattern language holds", () => {
  for (const [pattern, path, excluded] of table) {
    assert.equal(compileExcludes([pattern])(path), excluded, `${pattern} on ${path}`);
  }
});

Deno.test("no pattern excludes the root, and no patterns exclude nothing", () => {
  const none = compileExcludes([]);
  assert.ok(none.isEmpty && none.namesOnly && !none("a/b") && !none.matchName("", "a"));
  assert.equal(compileExcludes(["?*"])(""), false);
});

Deno.test("namesOnly says whether the parent's path is looked at", () => {
  assert.equal(compileExcludes(["*.tmp", "x"]).namesOnly, true);
  assert.equal(compileExcludes(["*.tmp", "a/x"]).namesOnly, false);
});

Deno.test("matchName decides a name in a parent that is not excluded", () => {
  const excludes = compileExcludes(["*.tmp", "pgsql_tmp/**", "base/*/t_*", "**/log/old"]);
  assert.ok(excludes.matchName("a/b", "x.tmp"));
  assert.ok(excludes.matchName("pgsql_tmp", "x"));
  assert.ok(!excludes.matchName("", "pgsql_tmp"));
  assert.ok(excludes.matchName("base/1", "t_2"));
  assert.ok(!excludes.matchName("base", "t_2"));
  assert.ok(excludes.matchName("log", "old"));
  assert.ok(excludes.matchName("a/b/log", "old"));
});

Deno.test("bad patterns are refused with a reason", () => {
  const bad: [string, RegExp][] = [
    ["", /empty/],
    ["/abs", /relative/],
    ["a/../b", /"\.\."/],
    ["./a", /"\."/],
    ["a//b", /empty component/],
    ["a/", /write "a" .* "a\/\*\*"/],
    ["!a", /negated/],
    ["a\0b", /NUL/],
    ["[abc", /without its \]/],
    ["[a/b]", /without its \]/],
    ["[b-a]", /backwards/],
    ["[[:alpha:]]", /not supported/],
    ["x\\", /lone/],
    ["*", /everything/],
    ["**", /everything/],
    ["**/*", /everything/],
    ["x".repeat(4097), /longer/],
  ];
  for (const [pattern, reason] of bad) {
    assert.match(excludeMistake(pattern) ?? "", reason, pattern);
    assert.throws(() => compileExcludes(["ok", pattern]), ExcludePatternError);
  }
});

Deno.test("a pattern of many stars is decided without trying every combination", () => {
  const name = "a".repeat(255);
  const deep = Array(500).fill("a").join("/");
  const excludes = compileExcludes(["*a".repeat(100) + "*b", "**/a/".repeat(50) + "b"]);
  for (let i = 0; i < 20; i++) {
    assert.ok(!excludes.matchName(deep, name) && !excludes("a/b" + deep));
  }
});

// --- against an oracle that follows the documented rules word by word, without any cleverness ---

function oracleName(pattern: string, name: string): boolean {
  if (pattern === "") return name === "";
  const rest = pattern.slice(1);
  if (pattern[0] === "*") {
    for (let i = 0; i <= name.length; i++) if (oracleName(rest, name.slice(i))) return true;
    return false;
  }
  if (name === "") return false;
  if (pattern[0] === "?") return oracleName(rest, name.slice(1));
  if (pattern[0] === "[") {
    const end = pattern.indexOf("]");
    const negated = pattern[1] === "!";
    const inside = pattern.slice(negated ? 2 : 1, end).includes(name[0]);
    return inside !== negated && oracleName(pattern.slice(end + 1), name.slice(1));
  }
  return pattern[0] === name[0] && oracleName(rest, name.slice(1));
}

function oraclePath(pattern: string[], path: string[]): boolean {
  if (pattern.length === 0) return path.length === 0;
  if (pattern[0] === "**") {
    const last = pattern.length === 1;
    for (let i = last ? 1 : 0; i <= path.length; i++) {
      if (oraclePath(pattern.slice(1), path.slice(i))) return true;
    }
    return false;
  }
  return path.length > 0 && oracleName(pattern[0], path[0]) &&
    oraclePath(pattern.slice(1), path.slice(1));
}

function oracle(patterns: string[], path: string): boolean {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const prefix = names.slice(0, depth);
    for (const pattern of patterns) {
      const hit = pattern.includes("/")
        ? oraclePath(pattern.split("/"), prefix)
        : oracleName(pattern, prefix[depth - 1]);
      if (hit) return true;
    }
  }
  return false;
}

const name = fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 4 })
  .filter((s) => s !== "." && s !== "..");
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((a) => a.join("/"));
const component = fc.oneof(
  fc.constant("**"),
  fc.string({
    unit: fc.constantFrom("a", "b", ".", "*", "?", "[ab]", "[!a]"),
    minLength: 1,
    maxLength: 4,
  }),
);
const pattern = fc.array(component, { minLength: 1, maxLength: 4 }).map((a) => a.join("/"))
  .filter((p) => excludeMistake(p) === undefined);

Deno.test("the compiled patterns agree with a naive oracle", () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 3 }), path, (patterns, path) => {
      assert.equal(compileExcludes(patterns)(path), oracle(patterns, path));
    }),
    { numRuns: 5000 },
  );
});

Deno.test("matchName agrees with the whole path where the parent is not excluded", () => {
  fc.assert(
    fc.property(
      fc.array(pattern, { minLength: 1, maxLength: 3 }),
      path,
      name,
      (patterns, parent, name) => {
        const excludes = compileExcludes(patterns);
        fc.pre(!excludes(parent));
        assert.equal(excludes.matchName(parent, name), excludes(`${parent}/${name}`));
      },
    ),
    { numRuns: 3000 },
  );
});

Deno.test("whatever text a pattern is, it is refused or compiled, and matching never throws", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (pattern, path) => {
      if (excludeMistake(pattern) === undefined) compileExcludes([pattern])(path);
    }),
    { numRuns: 3000 },
  );
});
