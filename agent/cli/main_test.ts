import assert from "node:assert/strict";
import { version } from "../version.ts";
import { repository } from "../../tests/lib/paths.ts";
import { agentArguments } from "./main.ts";
import { run, withSite } from "./testing.ts";

const commands = [
  "agent",
  "status",
  "start",
  "stop",
  "restart",
  "second",
  "prim",
  "wait",
  "events",
  "check-config",
  "init",
  "module",
  "install",
  "completions",
  "version",
];

Deno.test("help names every command, and every command has a help of its own", async () => {
  const { code, out, err } = await run(["--help"]);
  assert.deepEqual([code, err], [0, ""]);
  for (const command of commands) {
    assert.ok(out.includes(`\n  ${command} `), command);
    const help = await run([command, "--help"]);
    assert.equal(help.code, 0, command);
    assert.ok(help.out.startsWith(`Usage: understudy ${command}`), help.out);
    assert.ok(help.out.includes("--config <file>"), command);
  }
  for (const later of ["swap", "pause", "resume", "verify", "witness"]) {
    assert.ok(!out.includes(`\n  ${later}`), later);
  }
  assert.equal((await run(["help", "wait"])).code, 0);
});

Deno.test("wrong usage ends with 2 and says what was meant", async () => {
  const table: [args: string[], says: RegExp][] = [
    [[], /Usage: understudy/],
    [["statsu"], /unknown command 'statsu'\n\(Did you mean status\?\)/],
    [["status", "--jsno"], /unknown option '--jsno'\n\(Did you mean --json\?\)/],
    [["status", "a", "b"], /too many arguments/],
    [["start"], /missing required argument 'module'/],
    [["wait", "shop"], /wait needs --state or --ready/],
    [["wait", "shop", "--state", "PRIMM"], /"PRIMM" is no state, perhaps PRIM/],
    [["wait", "shop", "--state", "PRIM", "--timeout", "soon"], /--timeout: expected a duration/],
    [["wait", "shop", "--state"], /argument missing/],
    [["events", "--last", "x"], /A whole number is expected/],
    [["module"], /Usage: understudy module/],
    [["module", "lst"], /Did you mean list\?/],
    [["completions", "tcsh"], /There are bash, zsh and fish/],
    [["check-config", "--schema", "modul"], /Allowed choices are agent, module/],
    [["status", "--url", "http://"], /Expected such as/],
    [["init", "--nodes", "alpha"], /expected NAME=ADDRESS/],
    [["agent", "--conifg", "x"], /Did you mean --config\?/],
  ];
  for (const [args, says] of table) {
    const { code, out, err } = await run(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(err, says, args.join(" "));
    assert.equal(out, "", args.join(" "));
  }
});

Deno.test("the version is told in a line or as JSON", async () => {
  const { code, out } = await run(["version"]);
  assert.equal(code, 0);
  assert.ok(out.startsWith(`understudy ${version} (commit `), out);
  assert.equal(JSON.parse((await run(["version", "--json"])).out).version, version);
  assert.deepEqual(await run(["--version"]), { code: 0, out: `understudy ${version}\n`, err: "" });
});

Deno.test("a plain agent command is understood without the rest of the command line", () => {
  const parse = (line: string, env: Record<string, string> = {}) =>
    agentArguments(line.split(" "), (name) => env[name]);
  const config = "/etc/understudy/config.toml";
  assert.deepEqual(parse("agent"), { config });
  assert.deepEqual(parse("agent --config a --node b"), { config: "a", node: "b" });
  assert.deepEqual(parse("--node=b agent --config=a"), { config: "a", node: "b" });
  assert.deepEqual(parse("agent", { UNDERSTUDY_CONFIG: "c" }), { config: "c" });
  assert.deepEqual(parse("agent --config a", { UNDERSTUDY_CONFIG: "c" }), { config: "a" });
  for (const other of ["agent --help", "agent x", "agent --config", "status", "agent --node"]) {
    assert.equal(parse(other), undefined, other);
  }
});

Deno.test("UNDERSTUDY_CONFIG and --config name the configuration, before or after the command", async () => {
  await withSite(undefined, async ({ config }) => {
    for (const args of [["--config", config, "status"], ["status", "--config", config]]) {
      assert.equal((await run(args)).code, 0, args.join(" "));
    }
    Deno.env.set("UNDERSTUDY_CONFIG", config);
    try {
      assert.equal((await run(["status"])).code, 0);
    } finally {
      Deno.env.delete("UNDERSTUDY_CONFIG");
    }
  });
});

Deno.test("a missing or wrong configuration is told with file and reason", async () => {
  const missing = await run(["status", "--config", "/nowhere/config.toml"]);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /\/nowhere\/config\.toml: error: .*no such file/);
  assert.match(missing.err, /`understudy init` makes one/);
  await withSite(undefined, async ({ config, run }) => {
    await Deno.writeTextFile(config, "state_dri = 1\n");
    const { code, err } = await run(["status"]);
    assert.equal(code, 1);
    assert.match(err, /config\.toml:1: error: .*state_dir/);
  });
});

Deno.test("a reader that leaves early is no error", async () => {
  const source = `${repository}/mod.ts`;
  const line =
    `set -o pipefail; "$0" run -A --no-check "${source}" check-config --schema | head -1`;
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", line, Deno.execPath()],
  }).output();
  const text = new TextDecoder();
  assert.ok(success, text.decode(stderr));
  assert.equal(text.decode(stdout), "{\n");
});
