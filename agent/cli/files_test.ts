import assert from "node:assert/strict";
import { withTempDir } from "../../tests/lib/temp.ts";
import { run, withSite } from "./testing.ts";

Deno.test("init writes a configuration that check-config finds usable", async () => {
  await withTempDir(async (directory) => {
    const config = `${directory}/etc/config.toml`;
    const nodes = ["--nodes", "alpha=10.77.0.1,10.78.0.1", "--nodes", "beta=10.77.0.2,10.78.0.2"];
    const { code, out, err } = await run(["init", "--config", config, ...nodes]);
    assert.deepEqual([code, err], [0, ""]);
    for (const name of ["config.toml", "cluster.key", "http.token"]) {
      assert.ok(out.includes(`wrote ${directory}/etc/${name}\n`), out);
    }
    assert.match(out, /understudy module new NAME/);
    const check = await run(["check-config", "--config", config, "--node", "beta"]);
    assert.deepEqual(check, {
      code: 0,
      out: `${config}: usable; this machine is beta\n`,
      err: "",
    });
    const again = await run(["init", "--config", config, ...nodes]);
    assert.equal(again.code, 1);
    assert.match(again.err, /would be overwritten/);
  });
});

Deno.test("init without nodes writes an example and says what to change in it", async () => {
  await withTempDir(async (directory) => {
    const config = `${directory}/config.toml`;
    const { code, out } = await run(["init", "--config", config, "--state-dir", "/srv/state"]);
    assert.equal(code, 0);
    assert.match(out, /1\. put the names and addresses of your nodes into/);
    assert.match(await Deno.readTextFile(config), /state_dir = "\/srv\/state"/);
  });
});

Deno.test("init refuses nodes that are wrong, and writes nothing", async () => {
  await withTempDir(async (directory) => {
    const config = `${directory}/config.toml`;
    for (const nodes of [["a=10.0.0.1"], ["a=10.0.0.1", "a=10.0.0.2"], ["a=x", "b=10.0.0.2"]]) {
      const args = nodes.flatMap((node) => ["--nodes", node]);
      const { code, err } = await run(["init", "--config", config, ...args]);
      assert.equal(code, 1, nodes.join(" "));
      assert.match(err, /expected/, nodes.join(" "));
    }
    assert.deepEqual([...Deno.readDirSync(directory)], []);
  });
});

Deno.test("check-config ends with 1 on errors, 0 on warnings, and names both", async () => {
  await withSite(undefined, async ({ run, directory, config }) => {
    const warned = await run(["check-config"]); // no modules yet, no secret
    assert.equal(warned.code, 0, warned.err);
    assert.match(warned.err, /warning:/);
    assert.match(warned.out, /usable, with \d warnings/);
    await Deno.mkdir(`${directory}/modules`);
    await Deno.writeTextFile(`${directory}/modules/shop.toml`, 'nmae = "shop"\n[mirror]\n');
    const failed = await run(["check-config"]);
    assert.equal(failed.code, 1);
    assert.equal(failed.out, "");
    assert.match(failed.err, /shop\.toml:1: error: .*perhaps|shop\.toml:1: error: .*"?name"?/);
    const findings = JSON.parse((await run(["check-config", "--json"])).out);
    assert.ok(findings.some((f: { file: string }) => f.file === `${directory}/modules/shop.toml`));
    await Deno.writeTextFile(config, "not toml at all");
    assert.equal((await run(["check-config"])).code, 1);
  });
});

Deno.test("check-config --schema prints the schema of either file", async () => {
  const agent = JSON.parse((await run(["check-config", "--schema"])).out);
  assert.ok(agent.properties.nodes);
  const module = JSON.parse((await run(["check-config", "--schema", "module"])).out);
  assert.ok(module.properties.mirror);
});

Deno.test("module new writes definitions that load, and list and show find them", async () => {
  await withSite(undefined, async ({ run, directory }) => {
    const file = `${directory}/modules/shop.toml`;
    const made = await run([
      ...["module", "new", "shop", "--directory", "/srv/shop", "--directory", "/srv/wal"],
    ]);
    assert.deepEqual([made.code, made.err], [0, ""]);
    assert.ok(made.out.startsWith(`wrote ${file}\n`), made.out);
    const copy = await run(["module", "new", "mail", "--from", "generic"]);
    assert.match(copy.out, /Edit it/);
    const { out } = await run(["module", "list"]);
    assert.deepEqual(out.split("\n"), [
      `mail ${directory}/modules/mail.toml /srv/generic/main`,
      `shop ${file} /srv/shop, /srv/wal`,
      "",
    ]);
    assert.match((await run(["module", "list"], { terminal: true })).out, /^MODULE +FILE/);
    assert.deepEqual(
      JSON.parse((await run(["module", "list", "--json"])).out).map((m: any) => m.directories),
      [["/srv/generic/main"], ["/srv/shop", "/srv/wal"]],
    );
    assert.equal((await run(["module", "show", "shop"])).out, await Deno.readTextFile(file));
    const again = await run(["module", "new", "shop", "--directory", "/srv/other"]);
    assert.equal(again.code, 1);
    assert.match(again.err, /There is a module shop already/);
  });
});

Deno.test("module new writes nothing that is wrong", async () => {
  await withSite(undefined, async ({ run, directory }) => {
    for (const args of [["a/b", "--directory", "/srv/a"], ["a", "--directory", "srv"]]) {
      const { code, err } = await run(["module", "new", ...args]);
      assert.equal(code, 1);
      assert.match(err, /expected/);
    }
    const unknown = await run(["module", "new", "a", "--from", "genric"]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /perhaps generic/);
    const both = await run(["module", "new", "a", "--from", "generic", "--directory", "/srv/a"]);
    assert.equal(both.code, 2);
    assert.ok(![...Deno.readDirSync(directory)].some((entry) => entry.name === "modules"));
  });
});

Deno.test("module list names files that are refused, and ends with 1", async () => {
  await withSite(undefined, async ({ run, directory }) => {
    await run(["module", "new", "shop", "--directory", "/srv/shop"]);
    await Deno.writeTextFile(`${directory}/modules/bad.toml`, "x = 1\n");
    const { code, out, err } = await run(["module", "list"]);
    assert.equal(code, 1);
    assert.match(out, /^shop /);
    assert.match(err, /bad\.toml:1: error:/);
  });
});

Deno.test("ready-made definitions can be seen without a configuration", async () => {
  const { code, out } = await run(["module", "list", "--ready-made"]);
  assert.equal(code, 0);
  assert.ok(out.split("\n").includes("generic"), out);
  const shown = await run(["module", "show", "generic", "--config", "/nowhere"]);
  assert.equal(shown.code, 0);
  assert.match(shown.out, /^name = "generic"$/m);
  const printed = await run(["module", "new", "shop", "--print", "--config", "/nowhere"]);
  assert.match(printed.out, /^name = "shop"$/m);
});
