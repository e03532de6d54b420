import assert from "node:assert/strict";
import type { AgentConfig, ModuleConfig } from "../config/types.ts";
import type { DialHello, DialResult, Hello, HelloAnswer } from "../cluster/control.ts";
import type { Command, LinkHandle, Report } from "../mirror/messages.ts";
import { emptyRecord, type ModuleRecord } from "../state/record.ts";
import { createModule, inUseText, type Module, type ModuleHost } from "./module.ts";

function definition(digest = "one"): ModuleConfig {
  return {
    file: "/etc/understudy/modules/m.toml",
    name: "m",
    nodes: ["alpha", "beta"],
    mirror: { sync: "write", directories: [{ path: "/data", exclude: [] }] },
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

const agent = {
  heartbeat: { interval: 20, timeout: 200, ack_timeout: 1000 },
  cluster: { encryption: "on" },
} as AgentConfig;

interface Node {
  name: string;
  module: Module;
  host: ModuleHost;
  disk: ModuleRecord | undefined;
  commands: Command[];
  report(report: Report): void;
  events: string[];
  closed: LinkHandle[];
  ended: string[];
  obstacle: string | undefined;
  /** answers commands as a data path does; false: says nothing */
  obedient: boolean;
}

/** A node whose data path only says what a data path would say. */
function createNode(name: string, dial: (hello: DialHello) => Promise<DialResult>): Node {
  const node = {
    name,
    commands: [],
    events: [],
    closed: [],
    ended: [],
    obstacle: undefined,
    obedient: true,
    disk: undefined,
  } as unknown as Node;
  const obey = (command: Command) => {
    node.commands.push(command);
    if (!node.obedient) return;
    const said = ({
      open: { kind: "opened", warnings: ["the disk is slow"] },
      serve: { kind: "serving" },
      alone: { kind: "alone" },
      follow: { kind: "following" },
      close: { kind: "closed" },
    } as Record<string, Report>)[command.kind];
    if (said) queueMicrotask(() => node.report(said));
  };
  node.host = {
    agent,
    node: name,
    control: () => ({
      announce: () => {},
      dial: (_peer, _module, hello) => dial(hello),
      peer: () => undefined,
      encryption: "openssl",
    }),
    startDataPath(onReport) {
      node.report = onReport;
      return { send: obey, abort: () => node.commands.push({ kind: "close" }) };
    },
    writeRecord: (record) => {
      node.disk = record;
      return Promise.resolve();
    },
    reserveRecord: () => Promise.resolve(),
    isEmpty: () => Promise.resolve(true),
    findObstacle: () => Promise.resolve(node.obstacle),
    findWarnings: () => [],
    endMounts: (source) => {
      node.ended.push(source);
      return [];
    },
    closeLink: (link) => node.closed.push(link),
    owners: () => Promise.resolve({ users: { root: name === "alpha" ? 0 : 1 }, groups: {} }),
    surveyOwners: () => Promise.resolve({ users: new Set([0]), groups: new Set<number>() }),
    now: () => performance.now(),
    event: (level, module, text) => node.events.push(`${level} ${module} ${text}`),
    seed: `${name}-seed`,
    boot: "boot",
  };
  node.module = createModule(node.host, definition(), emptyRecord("m", name));
  return node;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const link = (role: "source" | "sink", fd: number): LinkHandle => ({
  fd,
  ssl: "0",
  peer: "x",
  address: "10.0.0.1",
  role,
});

/** Two modules of two nodes; what one dials arrives at the other. */
function createTwo(): { alpha: Node; beta: Node; talk(): void } {
  const connect =
    (to: () => Node, from: string) => async (hello: DialHello): Promise<DialResult> => {
      const { record, digest, role } = hello;
      const whole: Hello = {
        protocol: 1,
        node: from,
        to: to().name,
        instance: "i".repeat(32),
        module: "m",
        digest,
        role,
        record: JSON.parse(JSON.stringify(record)),
      };
      await Promise.resolve();
      const answer: HelloAnswer = to().module.onHello(whole);
      if (!answer.accept) {
        return { kind: "refused", code: "rejected", reason: answer.reason, answer: answer.code };
      }
      to().module.onLink(link("source", 10), whole);
      return {
        kind: "linked",
        link: link("sink", 11),
        reply: { node: to().name, instance: "", record: JSON.parse(JSON.stringify(answer.record)) },
      };
    };
  const alpha: Node = createNode("alpha", (hello) => connect(() => beta, "alpha")(hello));
  const beta: Node = createNode("beta", (hello) => connect(() => alpha, "beta")(hello));
  const talk = () => {
    for (const [from, to] of [[alpha, beta], [beta, alpha]]) {
      to.module.onPeerView({ node: from.name, instance: "", modules: [from.module.view()] });
    }
  };
  return { alpha, beta, talk };
}

async function mirrored(): Promise<ReturnType<typeof createTwo> & { stop(): Promise<void> }> {
  const two = createTwo();
  const { alpha, beta, talk } = two;
  alpha.module.load();
  beta.module.load();
  const beating = setInterval(talk, 10);
  const stop = async () => {
    clearInterval(beating);
    await Promise.all([alpha.module.leave(), beta.module.leave()]);
  };
  const { reason, ok } = await alpha.module.order("prim");
  assert.ok(ok, reason);
  await until("the link is there", () => beta.commands.some((c) => c.kind === "link"));
  beta.report({ kind: "sink-outdated", reason: "a resync has begun", paused: true });
  await until("it is noted", () => beta.commands.some((c) => c.kind === "sink-noted"));
  assert.equal(beta.disk?.copy, "partial");
  beta.report({ kind: "sink-in-sync" });
  await until(
    "it is noted",
    () => beta.commands.filter((c) => c.kind === "sink-noted").length === 2,
  );
  assert.equal(beta.disk?.copy, "good");
  alpha.report({ kind: "in-sync" });
  return { ...two, stop };
}

Deno.test("Two modules find each other: one serves, the other follows and is in sync", async () => {
  const { alpha, beta, stop } = await mirrored();
  try {
    const status = alpha.module.status();
    assert.equal(status.state, "PRIM");
    assert.equal(status.sync, "synced");
    assert.equal(status.generation, 1);
    assert.equal(beta.module.status().state, "SECOND");
    assert.ok(alpha.disk?.peerInSync, "that the peer may hold everything is on disk");
    const sent = alpha.commands.map((c) => c.kind);
    assert.deepEqual(sent, ["open", "serve", "link"]);
    assert.deepEqual(alpha.commands[2], { kind: "link", link: link("source", 10) });
    assert.ok(alpha.events.some((e) => e === "warning m the disk is slow"));
    assert.ok(
      alpha.events.some((e) => e.includes("User root is number 0 here and is number 1 on")),
    );
  } finally {
    await stop();
  }
  assert.equal(alpha.module.status().state, "STOP");
  assert.equal(alpha.disk?.clean, true);
  assert.equal(alpha.disk?.stopped, false, "the agent's end is no operator's stop");
});

Deno.test("The generation is on disk before the data path may go on alone", async () => {
  const { alpha, stop } = await mirrored();
  try {
    let release = () => {};
    const held = new Promise<void>((resolve) => release = resolve);
    const write = alpha.host.writeRecord;
    alpha.host.writeRecord = async (record) => {
      await held;
      await write(record);
    };
    alpha.report({ kind: "ack-stalled", owed: 1 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.ok(!alpha.commands.some((c) => c.kind === "alone"));
    release();
    await until("it goes on", () => alpha.commands.some((c) => c.kind === "alone"));
    assert.equal(alpha.disk?.generation, 2);
  } finally {
    await stop();
  }
});

Deno.test("A module whose directories are in use does not start, and says by whom", async () => {
  const { alpha } = createTwo();
  alpha.obstacle = inUseText([{
    pid: 42,
    command: "postgres",
    how: "open file",
    path: "/data/base",
    directory: "/data",
  }]);
  alpha.module.load();
  await until("it was refused", () => alpha.module.status().reason.includes("cannot start"));
  const status = alpha.module.status();
  assert.equal(status.state, "STOP");
  assert.match(status.reason, /in use by postgres \(process 42\): open file \/data\/base\. End/);
  assert.deepEqual(await alpha.module.order("prim"), { ok: false, reason: `m ${status.reason}` });
  const start = await alpha.module.order("start");
  assert.equal(start.ok, false);
  assert.match(start.reason, /postgres \(process 42\)/);
  assert.deepEqual(alpha.commands, []);
  await alpha.module.leave();
});

Deno.test("A stop before the data path was started touches nothing", async () => {
  const { alpha } = createTwo();
  let go = (_: string | undefined) => {};
  alpha.host.findObstacle = () => new Promise((resolve) => go = resolve);
  alpha.module.load();
  const stopped = alpha.module.order("stop");
  assert.equal((await stopped).ok, true);
  go(undefined);
  await Promise.resolve();
  assert.deepEqual(alpha.commands, []);
  assert.equal(alpha.module.status().state, "STOP");
});

Deno.test("A changed definition waits for a restart, and applies at once where nothing runs", async () => {
  const { alpha } = createTwo();
  alpha.module.load();
  await until("it runs", () => alpha.module.status().state === "WAIT");
  alpha.module.define(definition("two"));
  assert.equal(alpha.module.status().changed, true);
  assert.equal(alpha.module.view().digest, "one");
  assert.ok((await alpha.module.order("restart")).ok);
  assert.equal(alpha.module.status().changed, false);
  assert.equal(alpha.module.view().digest, "two");
  alpha.module.define(undefined);
  assert.match(alpha.module.status().warnings.join(), /its file is gone/);
  assert.equal((await alpha.module.order("restart")).ok, false);
  assert.ok((await alpha.module.order("stop")).ok);
  assert.ok(alpha.module.isGone() && alpha.module.isIdle());
  alpha.module.define(definition("three"));
  assert.equal(alpha.module.view().digest, "three");
  await alpha.module.leave();
});

Deno.test("A restarted primary serves again", async () => {
  const { alpha, stop } = await mirrored();
  try {
    const answer = await alpha.module.order("restart");
    assert.ok(answer.ok, answer.reason);
    assert.match(alpha.module.status().state, /ALONE|PRIM/);
  } finally {
    await stop();
  }
});

Deno.test("A connection that comes too late is closed", async () => {
  const { alpha, beta, stop } = await mirrored();
  try {
    const hello = { node: "beta", role: "sink", record: {} } as unknown as Hello;
    assert.equal(alpha.module.onHello(hello).accept, false);
    alpha.module.onLink(link("source", 99), hello);
    assert.equal(alpha.closed[0].fd, 99);
    const stranger = { ...hello, node: "gamma" };
    assert.equal(alpha.module.onHello(stranger).accept, false);
    assert.equal(beta.closed.length, 0);
  } finally {
    await stop();
  }
});

Deno.test("A data path that crashes is cleared away, and the module is tried again", async () => {
  const { alpha } = createTwo();
  let crash = (_: string) => {};
  const start = alpha.host.startDataPath;
  alpha.host.startDataPath = (onReport, onCrash) => {
    crash = onCrash;
    return start(onReport, onCrash);
  };
  alpha.module.load();
  await until("it runs", () => alpha.module.status().state === "WAIT");
  crash("out of memory");
  await until("it is cleared away", () => alpha.ended.length === 1);
  assert.deepEqual(alpha.ended, ["understudy:m"]);
  assert.match(alpha.module.status().reason, /its data path has crashed \(out of memory\)/);
  await alpha.module.leave();
});
