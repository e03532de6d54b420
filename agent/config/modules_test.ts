import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModules } from "./modules.ts";
import { agentConfig, show } from "./testing.ts";

const agent = agentConfig();

/** Loads a directory of these files. */
function load(files: Record<string, string>) {
  const dir = mkdtempSync(join(tmpdir(), "understudy-modules-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    const { modules, findings } = loadModules(dir, agent);
    return {
      names: modules.map((m) => m.name),
      errors: findings.filter((f) => f.severity === "error")
        .map((f) => `${f.file.slice(dir.length + 1)}:${f.line} ${f.message.replaceAll(dir, "")}`),
      warnings: findings.filter((f) => f.severity === "warning").map((f) => f.message),
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const module = (name: string, path: string, more = "") =>
  `name = "${name}"\n[[mirror.directories]]\npath = "${path}"\n${more}`;

Deno.test("TOML and YAML files load in the order of their names", () => {
  const { names, errors } = load({
    "b.toml": module("b", "/srv/b"),
    "c.yml": "name: c\nmirror: {directories: [{path: /srv/c}]}",
    "a.yaml": "name: a\nmirror: {directories: [{path: /srv/a}]}",
  });
  assert.deepEqual([names, errors], [["a", "b", "c"], []]);
});

Deno.test("a wrong file is refused whole, the right ones still load", () => {
  const { names, errors } = load({
    "a.toml": module("a", "/srv/a"),
    "b.toml": module("b", "srv"),
    "c.toml": "name = ",
    "d.toml": "",
  });
  assert.deepEqual(names, ["a"]);
  assert.deepEqual(errors.map((e) => e.split(" ")[0]), [
    "b.toml:3",
    "c.toml:1",
    "d.toml:undefined",
  ]);
});

Deno.test("two files of one name are both refused, each naming the other", () => {
  const { names, errors } = load({
    "a.toml": module("same", "/srv/a"),
    "b.toml": `\n${module("same", "/srv/b")}`,
    "c.toml": module("other", "/srv/c"),
  });
  assert.deepEqual(names, ["other"]);
  assert.match(errors[0], /^a\.toml:1 name: .*"same", as in \/b\.toml:2; neither/);
  assert.match(errors[1], /^b\.toml:2 name: .*"same", as in \/a\.toml:1; neither/);
});

Deno.test("overlapping directories of two modules refuse both", () => {
  const { names, errors } = load({
    "a.toml": module("a", "/srv/data"),
    "b.toml": module("b", "/srv/data/inner"),
    "c.toml": module("c", "/srv/database"),
  });
  assert.deepEqual(names, ["c"]);
  assert.match(
    errors[0],
    /^a\.toml:3 .*overlaps with "\/srv\/data\/inner" of module b, as in \/b\.toml:3/,
  );
  assert.match(errors[1], /^b\.toml:3 .*overlaps with "\/srv\/data" of module a/);
});

Deno.test("one virtual address in two modules refuses both", () => {
  const { names, errors } = load({
    "a.toml": module("a", "/srv/a", '[[vip]]\naddress = "10.77.0.100/24"'),
    "b.toml": module("b", "/srv/b", '[[vip]]\naddress = "10.77.0.100/16"'),
  });
  assert.deepEqual(names, []);
  assert.match(errors[0], /^a\.toml:5 vip\[0\]\.address: .*"10\.77\.0\.100"/);
  assert.equal(errors.length, 2);
});

Deno.test("hidden files, backups and notes are passed over; near misses are warned of", () => {
  const { names, errors, warnings } = load({
    ".hidden.toml": "x",
    "a.toml~": "x",
    "README": "x",
    "b.toml.bak": "x",
    "c.tml": "x",
  });
  assert.deepEqual([names, errors], [[], []]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /found the ending \.tml; the file is not read/);
});

Deno.test("a check on a module that does not exist is warned of", () => {
  const check = '[[checks]]\nname = "m"\nkind = "module"\ntarget = "a"\naction = "none"';
  assert.deepEqual(load({ "b.toml": module("b", "/srv/b", check) }).warnings.length, 1);
  const both = load({ "a.toml": module("a", "/srv/a"), "b.toml": module("b", "/srv/b", check) });
  assert.deepEqual(both.warnings, []);
});

Deno.test("a directory under a module's name, and a missing directory, are said", () => {
  const dir = mkdtempSync(join(tmpdir(), "understudy-modules-"));
  mkdirSync(join(dir, "x.toml"));
  assert.match(show(loadModules(dir, agent).findings), /found a directory/);
  assert.match(show(loadModules(join(dir, "none"), agent).findings), /warning .*no such directory/);
  writeFileSync(join(dir, "file"), "");
  assert.match(show(loadModules(join(dir, "file"), agent).findings), /error .*found a file/);
  rmSync(dir, { recursive: true });
});
