import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectDirectories } from "./inspect.ts";
import { parseModule } from "./module.ts";
import { agentConfig } from "./testing.ts";
import type { AgentConfig } from "./types.ts";

const agent = agentConfig();

function module(paths: string[], exclude: string[] = [], config: AgentConfig = agent) {
  const text = `name = "m"\n` +
    paths.map((p) =>
      `[[mirror.directories]]\npath = ${JSON.stringify(p)}\nexclude = ${JSON.stringify(exclude)}\n`
    ).join("");
  const { module, findings } = parseModule(text, "/m.toml", "toml", config);
  assert.deepEqual(findings, []);
  return module!;
}

/** A directory of one's own on the disk, removed afterwards. */
function scratch(work: (dir: string) => void): void {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "understudy-inspect-")));
  try {
    work(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** What is found, without what the test machine's own file system adds. */
function inspect(...args: Parameters<typeof inspectDirectories>): string[] {
  return inspectDirectories(...args)
    .filter((f) => !/on (tmpfs|ramfs);/.test(f.message))
    .map((f) => `${f.severity} ${f.message}`);
}

Deno.test("a plain directory has no findings", () => {
  scratch((dir) => {
    writeFileSync(join(dir, "file"), "");
    symlinkSync("file", join(dir, "inner"));
    assert.deepEqual(inspect(module([dir]), agent), []);
  });
});

Deno.test("missing directories, files and links in the path are errors with a way out", () => {
  scratch((dir) => {
    mkdirSync(join(dir, "real"));
    writeFileSync(join(dir, "file"), "");
    symlinkSync("real", join(dir, "link"));
    symlinkSync("nowhere", join(dir, "dangling"));
    mkdirSync(join(dir, "real/sub"));
    const found = (name: string) => inspect(module([join(dir, name)]), agent).join("\n");
    assert.match(found("none"), /^error .*found nothing at ".*none"; create it/);
    assert.match(found("file"), /^error .*which is a file/);
    assert.match(found("file/x"), /^error .*part of which is a file/);
    assert.match(found("link"), /^error .*without symbolic links.*link" is a link; write ".*real"/);
    assert.match(found("link/sub"), /^error .*\/link" is a link; write ".*real\/sub"/);
    assert.match(found("dangling"), /^error .*a symbolic link that leads nowhere/);
  });
});

Deno.test("where that is asked for, a missing directory is only a warning", () => {
  const found = inspect(module(["/srv/none-of-this"]), agent, { missing: "warning" });
  assert.match(found.join(), /^warning mirror\.directories\[0\]\.path: .*found nothing at/);
});

Deno.test("links that lead out are named, those that stay inside or are mirrored too are not", () => {
  scratch((dir) => {
    for (const d of ["data/pg_tblspc", "data/a/b/c", "wal", "space"]) {
      mkdirSync(join(dir, d), { recursive: true });
    }
    symlinkSync(join(dir, "wal"), join(dir, "data/pg_wal"));
    symlinkSync(join(dir, "space"), join(dir, "data/pg_tblspc/16384"));
    symlinkSync("../../gone", join(dir, "data/a/dangling"));
    symlinkSync("../pg_tblspc", join(dir, "data/a/inside"));
    symlinkSync("/", join(dir, "data/a/b/c/too-deep"));
    symlinkSync("/", join(dir, "data/skipped"));
    const found = inspect(module([join(dir, "data"), join(dir, "wal")], ["skipped"]), agent);
    assert.deepEqual(found.map((f) => /found "(.*?)", which leads to "(.*?)"/.exec(f)?.slice(1)), [
      [join(dir, "data/pg_tblspc/16384"), join(dir, "space")],
      [join(dir, "data/a/dangling"), join(dir, "gone")],
    ]);
    assert.ok(found.every((f) => f.startsWith("warning ")));
  });
});

Deno.test("many links are summed up, and the scan is bounded", () => {
  scratch((dir) => {
    for (let i = 0; i < 30; i++) symlinkSync("/", join(dir, `link${i}`));
    const found = inspect(module([dir]), agent);
    assert.equal(found.length, 21);
    assert.match(found[20], /10 more/);
  });
});

Deno.test("links cannot hide that a directory holds the agent's own files", () => {
  scratch((dir) => {
    mkdirSync(join(dir, "data/state"), { recursive: true });
    symlinkSync(join(dir, "data/state"), join(dir, "state"));
    const config = { ...agent, state_dir: join(dir, "state/understudy") };
    assert.match(
      inspect(module([join(dir, "data")], [], config), config).join(),
      /^error .*which holds state_dir/,
    );
  });
});

Deno.test("memory and pseudo file systems are told from disks", {
  ignore: Deno.build.os !== "linux",
}, () => {
  const plain = module(["/srv/x"]);
  const at = (path: string) => ({
    ...plain,
    mirror: { ...plain.mirror, directories: [{ path, exclude: [] }] },
  });
  assert.match(inspect(at("/proc/self"), agent).join(), /^error /);
  assert.match(inspect(at("/sys/kernel"), agent).join(), /^error .*pseudo file system \/sys/);
});

/** Whether this process may mount; the mounts below are in a namespace of their own. */
const canUnshare = Deno.build.os === "linux" && Deno.uid() === 0 &&
  new Deno.Command("unshare", { args: ["-m", "true"], stdout: "null", stderr: "null" })
    .outputSync().success;

Deno.test({
  name: "mounts inside a directory, and one directory under two names, are found",
  ignore: !canUnshare, // needs root and unshare(1)
  fn: () => {
    scratch((dir) => {
      for (const d of ["data/sub", "again"]) mkdirSync(join(dir, d), { recursive: true });
      const program = `
        import { inspectDirectories } from ${JSON.stringify(import.meta.resolve("./inspect.ts"))};
        const [module, agent] = JSON.parse(Deno.args[0]);
        console.log(JSON.stringify(inspectDirectories(module, agent).map((f) => f.message)));
      `;
      writeFileSync(join(dir, "program.ts"), program);
      const wanted = JSON.stringify([module([join(dir, "data"), join(dir, "again")]), agent]);
      const script = 'mount -t tmpfs none "$0/data/sub" && mount --bind "$0/data" "$0/again" && ' +
        'exec "$1" run -A --config "$2" "$0/program.ts" "$3"';
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const { success, stdout, stderr } = new Deno.Command("unshare", {
        args: ["-m", "sh", "-c", script, dir, Deno.execPath(), config, wanted],
      }).outputSync();
      assert.ok(success, new TextDecoder().decode(stderr));
      const messages: string[] = JSON.parse(new TextDecoder().decode(stdout));
      assert.ok(
        messages.some((m) => m.includes(`a mount of tmpfs on "${dir}/data/sub"`)),
        messages.join(),
      );
      assert.ok(messages.some((m) => m.includes(`files of "${dir}/data" under`)), messages.join());
    });
  },
});
