import assert from "node:assert/strict";
import { agentConfig } from "./config/testing.ts";
import type { AgentConfig, Finding, ModuleConfig } from "./config/types.ts";
import { createEventLog } from "./events.ts";
import { createFacade } from "./facade.ts";
import type { ModuleHost } from "./failover/module.ts";
import { createRegistry, type Registry } from "./registry.ts";
import { writeRecord } from "./state/store.ts";
import { emptyRecord } from "./state/record.ts";

interface Rig {
  registry: Registry;
  config: AgentConfig;
  /** what is in modules_dir */
  files: { modules: ModuleConfig[]; findings: Finding[] };
  opened: string[];
  events(): string[];
}

function definition(name: string, digest = "one"): ModuleConfig {
  return {
    file: `/etc/understudy/modules/${name}.toml`,
    name,
    nodes: ["alpha", "beta"],
    mirror: { sync: "write", directories: [{ path: `/srv/${name}`, exclude: [] }] },
    vip: [],
    application: { start: undefined, stop: undefined, start_timeout: 0, stop_timeout: 0 },
    checks: [],
    failover: {
      mode: "auto",
      preferred: undefined,
      failback: "manual",
      max_restarts: 3,
      window: 0,
    },
    digest,
  };
}

async function withRig(body: (rig: Rig) => Promise<void>): Promise<void> {
  const stateDir = await Deno.makeTempDir({ prefix: "understudy-registry-" });
  const config = { ...agentConfig(), state_dir: stateDir };
  const log = createEventLog({ level: "info", format: "text", write: () => {} });
  const files: Rig["files"] = { modules: [], findings: [] };
  const opened: string[] = [];
  const host = {
    agent: config,
    node: "alpha",
    control: () => undefined,
    findObstacle: (module: ModuleConfig) => {
      opened.push(module.name);
      return Promise.resolve("this test mounts nothing");
    },
    writeRecord: () => Promise.resolve(),
    reserveRecord: () => Promise.resolve(),
    endMounts: () => [],
    now: () => performance.now(),
    event: log.add,
    seed: "seed",
    boot: "boot",
  } as unknown as ModuleHost;
  const registry = createRegistry({ config, node: "alpha", host, events: log, load: () => files });
  try {
    const events = () => log.since(0).map((e) => `${e.level} ${e.module} ${e.text}`);
    await body({ registry, config, files, opened, events });
  } finally {
    registry.close();
    await Promise.all(registry.list().map((module) => module.leave()));
    await Deno.remove(stateDir, { recursive: true });
  }
}

Deno.test("Modules are made first and touched only when they are started", () =>
  withRig(async ({ registry, files, opened }) => {
    files.modules = [definition("b"), definition("a")];
    await registry.reload();
    assert.deepEqual(registry.list().map((m) => m.name), ["a", "b"]);
    assert.equal(opened.length, 0);
    registry.start();
    await Promise.resolve();
    assert.deepEqual(opened, ["b", "a"]);
    files.modules.push(definition("c"));
    await registry.reload();
    assert.ok(opened.includes("c"));
  }));

Deno.test("A mistake in a file is said and takes nothing away; a file that is gone does", () =>
  withRig(async ({ registry, files, events }) => {
    files.modules = [definition("a")];
    await registry.reload();
    const mistake: Finding = {
      severity: "error",
      file: definition("a").file,
      line: 3,
      key: "sync",
      expected: "",
      found: "",
      message: "sync is wrong",
    };
    files.modules = [];
    files.findings = [mistake];
    await registry.reload();
    assert.equal(registry.find("a")?.isGone(), false);
    assert.deepEqual(registry.problems(), [{
      file: "/etc/understudy/modules/a.toml:3",
      message: "sync is wrong",
    }]);
    assert.ok(events().includes("error  /etc/understudy/modules/a.toml:3: sync is wrong"));
    files.findings = [];
    await registry.reload();
    assert.equal(registry.find("a")?.isGone(), true);
    assert.deepEqual(registry.problems(), []);
  }));

Deno.test("A module of other nodes is not this node's", () =>
  withRig(async ({ registry, files }) => {
    files.modules = [{ ...definition("a"), nodes: ["gamma", "delta"] }];
    await registry.reload();
    assert.deepEqual(registry.list(), []);
  }));

Deno.test("A record that cannot be used keeps its module out, and orders say why", () =>
  withRig(async ({ registry, files, config, events }) => {
    await writeRecord(config.state_dir, emptyRecord("a", "beta"));
    files.modules = [definition("a")];
    await registry.reload();
    await registry.reload();
    assert.equal(registry.find("a"), undefined);
    assert.equal(events().filter((e) => e.includes('written by node "beta"')).length, 1);
    const log = createEventLog({ level: "info", format: "text", write: () => {} });
    const facade = createFacade({ node: "alpha", registry, events: log, control: () => undefined });
    const outcome = await facade.order("a", "start", { force: false });
    assert.ok(!outcome.ok && outcome.error === "unknown");
    assert.match(outcome.reason, /there is no module "a" here: .*written by node "beta"/);
  }));

Deno.test("Orders and their refusals are events; what is logged for debugging is none", () =>
  withRig(async ({ registry, files }) => {
    files.modules = [definition("a")];
    await registry.reload();
    const log = createEventLog({ level: "debug", format: "text", write: () => {} });
    const facade = createFacade({ node: "alpha", registry, events: log, control: () => undefined });
    const heard: string[] = [];
    const leave = facade.subscribe((entry) => heard.push(entry.text));
    log.add("debug", "", "noise");
    const outcome = await facade.order("a", "prim", { force: true });
    assert.deepEqual([outcome.ok, facade.status().modules[0].state], [false, "STOP"]);
    leave();
    assert.deepEqual(facade.events(0, "a").map((e) => e.text), heard);
    assert.equal(heard[0], "an operator asks for prim --force");
    assert.match(heard[1], /^prim was refused: a is about to start/);
  }));
