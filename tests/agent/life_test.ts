/** The agent's life on its node: how it starts, what it refuses, and what it leaves behind. */
// test-deadline: 600s

import assert from "node:assert/strict";
import { configDirectory, configFile, stateDirectory } from "../lab/config.ts";
import type { Agent, Host, Lab, LabOptions } from "../lab/lab.ts";
import { labTest } from "../lab/lab.ts";
import { binary } from "../lib/paths.ts";
import { waitFor } from "../lib/wait.ts";

const module = "life";
const directory = "/srv/data";
const alone: LabOptions = { nodes: { alpha: {}, beta: {} } };
const heartbeat = { interval: "100ms", timeout: "1500ms" };

async function configure(lab: Lab): Promise<Host> {
  await lab.writeConfig({ modules: [{ name: module, directories: [directory] }], heartbeat });
  for (const host of [lab.alpha, lab.beta]) await host.run(["mkdir", "-p", directory]);
  return lab.alpha;
}

/** Starts a lone agent that serves. */
async function serveAlone(lab: Lab): Promise<{ host: Host; agent: Agent }> {
  const host = await configure(lab);
  const agent = await host.startAgent();
  await host.cli("prim", module);
  await host.waitState(module, "ALONE");
  return { host, agent };
}

/** Mounts of the agents on this host; other tests of the machine have theirs. */
async function fuseMounts(host: Host): Promise<string> {
  const { stdout } = await host.run("grep ' /srv/.*fuse.understudy' /proc/self/mountinfo || true");
  return stdout;
}

async function events(host: Host): Promise<string> {
  return (await host.cli("events")).stdout;
}

labTest(
  "SIGTERM and SIGINT leave plain directories, and the agent ends with 0",
  alone,
  async (lab) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { host, agent } = await serveAlone(lab);
      await host.run(`echo ${signal} >${directory}/file`);
      assert.notEqual(await fuseMounts(host), "");
      agent.kill(signal);
      assert.deepEqual(await agent.status, { code: 0, signal: null });
      assert.equal(await fuseMounts(host), "");
      const { stdout } = await host.run(["cat", `${directory}/file`]);
      assert.equal(stdout, `${signal}\n`);
      await host.run(["touch", `${directory}/plain`]);
    }
  },
);

labTest(
  "A second agent on the node is refused with the first one's process id",
  alone,
  async (lab) => {
    const host = await configure(lab);
    await host.startAgent();
    const pid = (await host.run(["cat", `${stateDirectory}/agent.lock`])).stdout.trim();
    const { code, stderr } = await host.tryCli("agent", "--config", configFile);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`the agent with process id ${pid} runs on this node already`));
    // The first one is not disturbed.
    assert.equal((await host.http("/healthz")).status, 200);
  },
);

labTest(
  "Another agent with a state of its own cannot take a module that is served",
  alone,
  async (lab) => {
    const { host } = await serveAlone(lab);
    const other = "/etc/other.toml";
    const text = (await host.run(["cat", configFile])).stdout
      .replace(stateDirectory, "/var/other")
      .replace("[cluster]", "[cluster]\nport = 9800")
      .replace("[http]", '[http]\nlisten = "127.0.0.1:9011"');
    await host.run(["tee", other], { stdin: text });
    const second = await host.startAgent({ config: other, wait: false });
    const status = await waitFor("the second agent refuses the module", async () => {
      const answer = await host.http("/status", { address: "127.0.0.1:9011" });
      const [found] = answer.json().modules;
      return found?.state === "STOP" && found.reason.includes("cannot start") ? found : undefined;
    });
    assert.match(status.reason, /another agent serves it: stop that one first/);
    await host.run(["touch", `${directory}/still-served`]);
    assert.equal((await host.status(module)).state, "ALONE");
    await second.stop();
  },
);

labTest("The mounts of a killed agent are cleared when it starts again", alone, async (lab) => {
  const { host, agent } = await serveAlone(lab);
  await host.run(`echo kept >${directory}/file`);
  const generation = (await host.status(module)).generation;
  agent.kill("SIGKILL");
  await agent.status;
  const dead = await host.run(["ls", directory], { check: false });
  assert.match(dead.stderr, /not connected/);
  await host.startAgent();
  await host.waitState(module, "WAIT", { ready: false });
  assert.equal((await host.run(["cat", `${directory}/file`])).stdout, "kept\n");
  assert.equal((await fuseMounts(host)).trim().split("\n").length, 1);
  assert.match(
    await events(host),
    /the dead mount of an agent that was killed is gone from \/srv\/data/,
  );
  // It was alone: nobody else can have served since, and prim needs no force.
  await host.waitState(module, "WAIT", { ready: false });
  await host.cli("prim", module);
  assert.ok((await host.waitState(module, "ALONE")).generation > generation);
});

labTest(
  "A directory in use is refused with the names and ids of who uses it",
  alone,
  async (lab) => {
    const host = await configure(lab);
    const holder = await host.spawn(["tail", "-f", "/dev/null"], { cwd: directory });
    await host.startAgent();
    const { reason } = await waitFor("the module is refused", async () => {
      const status = await host.status(module);
      return status.reason.includes("in use") ? status : undefined;
    });
    const pid = (await host.run(["pgrep", "-x", "tail"])).stdout.trim();
    assert.match(
      reason,
      new RegExp(`in use by tail \\(process ${pid}\\): working directory /srv/data`),
    );
    assert.equal((await host.status(module)).state, "STOP");
    const refused = await host.tryCli("start", module);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, new RegExp(`tail \\(process ${pid}\\)`));
    assert.equal(await fuseMounts(host), "");
    holder.kill("SIGKILL");
    await host.waitState(module, "WAIT", { ready: false });
  },
);

labTest("A stop ends although a process waits for an answer of the mount", alone, async (lab) => {
  const host = await configure(lab);
  await lab.writeConfig({
    modules: [{ name: module, directories: [directory] }],
    heartbeat: { interval: "100ms", timeout: "60s" },
  });
  for (const each of [lab.alpha, lab.beta]) await each.startAgent();
  await host.cli("prim", module);
  await host.waitState(module, "PRIM");
  // The secondary stands still, and for a minute the primary waits for it.
  lab.beta.agent!.kill("SIGSTOP");
  const writer = await host.spawn(`echo held >${directory}/held`);
  await waitFor("the write is held", async () => {
    const { stdout } = await host.run("ps -eo wchan:40,args | grep '[e]cho held'");
    return stdout.startsWith("request_wait_answer");
  });
  const sitting = await host.spawn(["sleep", "300"], { cwd: directory });
  const began = performance.now();
  await host.cli("stop", module);
  assert.ok(performance.now() - began < 15_000);
  assert.equal((await host.status(module)).state, "STOP");
  const { code } = await writer.status;
  assert.notEqual(code, 0, "a write that was not acknowledged is no success");
  assert.equal(await fuseMounts(host), "");
  await host.run(["touch", `${directory}/plain`]);
  sitting.kill("SIGKILL");
  lab.beta.agent!.kill("SIGCONT");
});

labTest(
  "A module that an operator stopped stays stopped when the agent starts again",
  alone,
  async (lab) => {
    const { host, agent } = await serveAlone(lab);
    await host.cli("stop", module);
    await agent.stop();
    const again = await host.startAgent();
    assert.match(
      (await host.status(module)).reason,
      /stopped by an operator: `understudy start life`/,
    );
    assert.equal(await fuseMounts(host), "");
    await host.cli("start", module);
    await host.waitState(module, "WAIT", { ready: false });
    await again.stop();
    await host.startAgent();
    await host.waitState(module, "WAIT", { ready: false });
  },
);

labTest(
  "Module files that come, change and go are noticed; what runs waits for a restart",
  alone,
  async (lab) => {
    const { host } = await serveAlone(lab);
    const modules = `${configDirectory}/modules`;
    const statusOf = async (name: string) =>
      (await host.http("/status")).json().modules.find((m: { name: string }) => m.name === name);
    // One is dropped in.
    await host.run(
      `mkdir -p /srv/more && printf 'name = "more"\\n[[mirror.directories]]\\npath = "/srv/more"\\n' ` +
        `>${modules}/more.toml`,
    );
    await host.waitState("more", "WAIT", { ready: false });
    // One is changed: it runs on as it was until it is restarted.
    await host.run(`sed -i 's/sync = "write"/sync = "fsync"/' ${modules}/${module}.toml`);
    await waitFor("the change is noticed", async () => (await statusOf(module)).changed);
    assert.equal((await host.status(module)).state, "ALONE");
    await host.cli("restart", module);
    const restarted = await host.waitState(module, "ALONE");
    assert.equal(restarted.changed, false);
    // A mistake in a file is said, and takes nothing away.
    await host.run(`echo 'nonsense = 1' >>${modules}/more.toml`);
    await waitFor("the mistake is said", async () => (await events(host)).includes("nonsense"));
    assert.equal((await statusOf("more")).state, "WAIT");
    // One is removed: it runs on until it is stopped, then it is gone.
    await host.run(["rm", `${modules}/more.toml`]);
    await waitFor(
      "the removal is noticed",
      async () =>
        (await statusOf("more")).warnings.some((w: string) => w.includes("its file is gone")),
    );
    await host.cli("stop", "more");
    await waitFor("it is gone", async () => (await statusOf("more")) === undefined);
    await host.run(["touch", "/srv/more/plain"]);
  },
);

labTest(
  "What cannot work is refused at the start, with exit code 1; a wrong call with 2",
  alone,
  async (lab) => {
    const host = await configure(lab);
    const start = (...args: string[]) =>
      host.run([binary, "agent", "--config", configFile, ...args], {
        check: false,
        timeout: 20_000,
      });
    const wrongNode = await start("--node", "gamma");
    assert.equal(wrongNode.code, 1);
    assert.match(wrongNode.stderr, /"gamma", which is no node of .*alpha, beta/);
    await host.run(["chmod", "644", `${configDirectory}/cluster.key`]);
    const openSecret = await start();
    assert.equal(openSecret.code, 1);
    assert.match(openSecret.stderr, /mode 0644.*chmod 600/);
    await host.run(["chmod", "600", `${configDirectory}/cluster.key`]);
    for (const [port, what] of [[9700, /9700/], [9010, /127\.0\.0\.1:9010.*taken/]] as const) {
      const script = `import socket, time; s = socket.socket(); s.bind(("0.0.0.0", ${port})); ` +
        `s.listen(); time.sleep(60)`;
      const listener = await host.spawn(["python3", "-c", script]);
      await waitFor("the port is taken", async () => {
        return (await host.run(["ss", "-ltn"])).stdout.includes(`:${port} `);
      });
      const taken = await start("--node", "alpha");
      assert.equal(taken.code, 1);
      assert.match(taken.stderr, what);
      assert.equal(await fuseMounts(host), "");
      listener.kill("SIGKILL");
      await listener.status;
    }
    await host.run(`sed -i 's/^addresses/adresses/' ${configFile}`);
    const wrongKey = await start();
    assert.equal(wrongKey.code, 1);
    assert.match(wrongKey.stderr, /config\.toml:\d+: error: .*adresses/);
    assert.equal((await start("--nod", "alpha")).code, 2);
  },
);

labTest(
  "Without its token file the agent runs, and changes nothing over HTTP",
  alone,
  async (lab) => {
    const host = await configure(lab);
    await host.run(["rm", `${configDirectory}/http.token`]);
    await host.startAgent();
    await host.waitState(module, "WAIT", { ready: false });
    const { status } = await host.http(`/modules/${module}/prim`, { method: "POST" });
    assert.ok(status === 401 || status === 403, String(status));
    assert.equal((await host.status(module)).generation, 0);
  },
);

labTest("A state directory of another node is recognised", alone, async (lab) => {
  const { host, agent } = await serveAlone(lab);
  await agent.stop();
  const record = `${stateDirectory}/modules/${module}/record.json`;
  const text = await Deno.readTextFile(host.path(record));
  await lab.beta.run(["mkdir", "-p", `${stateDirectory}/modules/${module}`]);
  await Deno.writeTextFile(lab.beta.path(record), text);
  await lab.beta.startAgent();
  const said = await events(lab.beta);
  assert.match(said, /it was written by node "alpha": a state directory belongs to one node only/);
  assert.equal(await fuseMounts(lab.beta), "");
});

labTest(
  "An agent whose mounts are not seen outside says first that nothing is protected",
  alone,
  async (lab) => {
    const host = await configure(lab);
    // As a hardened service would have it: its mount namespace receives, and sends nothing back.
    await host.run(["mount", "--make-rshared", "/"]);
    const slave = ["unshare", "--mount", "--propagation", "slave"];
    await host.spawn([...slave, binary, "agent", "--config", configFile, "--node", "alpha"]);
    await waitFor("the agent answers", async () => (await host.http("/healthz")).status === 200);
    await host.waitState(module, "WAIT", { ready: false });
    await host.cli("prim", module);
    const { reason } = await host.waitState(module, "ALONE");
    assert.match(reason, /^not protected: The agent runs in a mount namespace of its own/);
  },
);
