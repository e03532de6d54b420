import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkConfig } from "./check.ts";
import { writeInit } from "./init.ts";

const nodes = [{ name: "a", addresses: ["10.0.0.1"] }, { name: "b", addresses: ["10.0.0.2"] }];

/** What check-config finds in a directory made by init and changed by `prepare`. */
function check(prepare: (dir: string) => void): string[] {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "understudy-check-")));
  try {
    writeInit({ config: join(dir, "config.toml"), nodes, stateDir: join(dir, "state") });
    prepare(dir);
    return checkConfig(join(dir, "config.toml"))
      .filter((f) => !/on (tmpfs|ramfs);/.test(f.message))
      .map((f) =>
        `${f.severity} ${f.file.slice(dir.length + 1)}:${f.line} ${f.message.replaceAll(dir, "")}`
      );
  } finally {
    rmSync(dir, { recursive: true });
  }
}

Deno.test("a fresh configuration has no findings", () => {
  assert.deepEqual(check(() => {}), []);
});

Deno.test("what is not there yet is warned of, what is wrong is an error, with its line", () => {
  const found = check((dir) => {
    rmSync(join(dir, "http.token"));
    chmodSync(join(dir, "cluster.key"), 0o644);
    writeFileSync(join(dir, "state"), "");
    mkdirSync(join(dir, "data"));
    const module = (name: string, path: string) =>
      `name = "${name}"\n\n[[mirror.directories]]\npath = "${dir}/${path}"\n`;
    writeFileSync(join(dir, "modules/a.toml"), module("a", "data"));
    writeFileSync(join(dir, "modules/b.toml"), module("b", "none"));
    writeFileSync(join(dir, "modules/c.toml"), module("c", "state/x"));
  });
  assert.match(found[0], /^error cluster\.key:undefined .*chmod 600/);
  assert.match(found[1], /^error config\.toml:undefined state_dir: .*no directory$/);
  assert.match(found[2], /^warning http\.token:undefined .*is missing/);
  assert.match(found[3], /^warning modules\/b\.toml:4 .*nothing at "\/none"/);
  assert.match(found[4], /^error modules\/c\.toml:4 .*lies in state_dir/);
  assert.equal(found.length, 5);
});

Deno.test("a wrong configuration is reported without looking further", () => {
  const found = check((dir) => writeFileSync(join(dir, "config.toml"), "nodes = 3\n"));
  assert.equal(found.length, 1);
  assert.match(found[0], /^error config\.toml:1 nodes: .*found 3/);
});
