import assert from "node:assert/strict";
import { labNeeds, type Need, testWith } from "../lib/requires.ts";
import { waitFor } from "../lib/wait.ts";
import { createLab, type LabOptions, withLab } from "./lab.ts";
import { loopDevices, markedProcesses } from "./registry.ts";

// The lab itself needs no built agent.
const needs = labNeeds.filter((need) => need !== "binary");
const diskNeeds: Need[] = [...needs, "loop"];

function test(name: string, options: LabOptions, body: Parameters<typeof withLab>[1]): void {
  testWith(options.disk ? diskNeeds : needs, name, () => withLab(options, body).then(() => {}));
}

test("Hosts have their own name, processes, network and directories", {}, async (lab) => {
  for (const host of [lab.alpha, lab.beta]) {
    assert.equal((await host.run("hostname")).stdout.trim(), host.name);
    await host.run("mkdir -p /srv/data && hostname >/srv/data/name && hostname >/etc/understudy/x");
    assert.equal(await Deno.readTextFile(`${host.path("/srv/data")}/name`), `${host.name}\n`);
    assert.ok((await host.run("ls /proc | grep -c '^[0-9]'")).stdout.trim().length === 1);
    await host.run("echo 1 >/etc/own; echo 1 >/tmp/own; echo 1 >/run/own; test -c /dev/fuse");
  }
  assert.throws(() => Deno.statSync("/etc/own"));
  assert.throws(() => lab.alpha.path("/etc/own"), /not on the disk/);
  assert.equal((await lab.beta.run("cat /etc/understudy/x")).stdout, "beta\n");
});

async function reaches(lab: Parameters<Parameters<typeof withLab>[1]>[0], address: string) {
  // Every host listens on port 9; bash says whether a connection comes about.
  const script = `timeout 0.5 bash -c 'exec 3<>/dev/tcp/${address}/9'`;
  return (await lab.alpha.run(script, { check: false })).code === 0;
}

const listener = [
  Deno.execPath(),
  "eval",
  "--no-config",
  'for await (const c of Deno.listen({ hostname: "::", port: 9 })) c.close();',
];

test("Networks can be cut, dropped one way, rejected and limited", {}, async (lab) => {
  const { alpha, beta } = lab;
  await beta.spawn(listener, { env: { DENO_DIR: "/tmp/deno" } });
  const all = [...beta.addresses, ...beta.addresses6];
  for (const address of all) await waitFor(address, () => reaches(lab, address));

  await beta.cut("net0");
  assert.deepEqual(
    [await reaches(lab, beta.addresses[0]), await reaches(lab, beta.addresses[1])],
    [false, true],
  );
  assert.match((await beta.run("cat /sys/class/net/eth0/carrier")).stdout, /0/);
  await beta.heal();
  for (const address of all) await waitFor(address, () => reaches(lab, address));

  const drop = await lab.drop({ from: "alpha", to: "beta", network: "net1", port: 9 });
  assert.equal(await reaches(lab, beta.addresses[1]), false);
  assert.equal(await reaches(lab, beta.addresses6[1]), false);
  assert.equal(await reaches(lab, beta.addresses[0]), true);
  await drop.undo();
  const partition = await lab.partition("alpha", "beta");
  assert.equal(await reaches(lab, beta.addresses[0]), false);
  await partition.undo();
  await waitFor("the partition to end", () => reaches(lab, beta.addresses[0]));

  const rejection = await beta.reject(9);
  const started = performance.now();
  assert.equal(await reaches(lab, beta.addresses[0]), false);
  assert.ok(performance.now() - started < 450, "refused at once, not timed out");
  await rejection.undo();
  assert.equal(await reaches(lab, beta.addresses[0]), true);

  await beta.limitBandwidth("10mbit");
  assert.match((await beta.run("tc qdisc show dev eth1")).stdout, /tbf.*10Mbit/);
  await beta.heal();
  assert.doesNotMatch((await beta.run("tc qdisc show dev eth1")).stdout, /tbf/);
  await alpha.kill();
});

test("A killed host loses its processes and network at once and boots again", {}, async (lab) => {
  const { alpha, beta } = lab;
  const program = await alpha.spawn("echo here; trap '' TERM; sleep 1000 & sleep 1001");
  await waitFor("the program's children", async () => {
    return (await alpha.run("pgrep -c sleep", { check: false })).stdout.trim() === "3";
  });
  program.kill("SIGSTOP");
  await alpha.run("echo kept >/srv/file");
  await alpha.kill();
  assert.equal((await program.status).signal, "SIGKILL");
  assert.equal(program.kill("SIGTERM"), false);
  assert.equal(alpha.up, false);
  await assert.rejects(async () => await alpha.run("true"), /off/);
  assert.equal(
    (await beta.run("ping -c1 -W0.2 10.77.0.1 || echo lost", { check: false })).stdout.includes(
      "lost",
    ),
    true,
  );
  await alpha.powerOn();
  assert.equal((await alpha.run("cat /srv/file")).stdout, "kept\n");
});

const image = { disk: { kind: "ext4", size: "256M" } } as const;

test("Power loss loses exactly what was not flushed", image, async (lab) => {
  const { alpha } = lab;
  await alpha.run(`
    cd /srv
    echo old >overwritten; echo old >renamed; echo flushed >flushed; sync overwritten renamed flushed
    echo new 1<>overwritten
    echo new >renamed.tmp; mv renamed.tmp renamed
    echo lost >unflushed
    dd if=/dev/zero of=large bs=1M count=20 status=none
    dd if=/dev/urandom of=durable bs=1M count=3 conv=fsync status=none
    sha256sum durable >/etc/understudy/sum; sync -d /etc/understudy/sum
    echo new 1<>overwritten; echo lost >after`);
  const appender = await alpha.spawn("while :; do echo more >>/srv/appended; done");
  await waitFor("the appender", () => Deno.stat(`${alpha.path("/srv")}/appended`));
  await alpha.powerLoss();
  await appender.status;
  await alpha.powerOn();
  const { stdout } = await alpha.run(
    "cd /srv; sha256sum -c /etc/understudy/sum; for f in *; do stat -c '%n %s' $f; done; cat overwritten",
  );
  const sizes = new Map(stdout.split("\n").map((line) => line.split(" ") as [string, string]));
  assert.match(stdout, /durable: OK/);
  assert.match(stdout, /\nold\n$/, "an overwrite without fsync is lost");
  assert.equal(sizes.get("flushed"), "8");
  assert.equal(sizes.get("durable"), String(3 * 1024 * 1024));
  for (const name of ["after", "appended"]) assert.equal(sizes.get(name), undefined, name);
  // Their names came with the journal commit of the fsync of another file, their data did not.
  for (const name of ["unflushed", "large", "renamed"]) {
    assert.ok(["0", undefined].includes(sizes.get(name)), `${name}: ${sizes.get(name)}`);
  }
});

test("A killed host with an image keeps what it had written", image, async ({ alpha }) => {
  await alpha.run("echo kept >/srv/file");
  await alpha.kill();
  await alpha.powerOn();
  assert.equal((await alpha.run("cat /srv/file")).stdout, "kept\n");
});

test("Disks fill up, hang and fail", image, async ({ alpha }) => {
  await alpha.fillDisk();
  const full = await alpha.run("dd if=/dev/zero of=/srv/x bs=64k count=4", { check: false });
  assert.match(full.stderr, /No space left/);
  await alpha.emptyDisk();
  await alpha.run("dd if=/dev/zero of=/srv/x bs=64k count=4 conv=fsync");

  await alpha.freezeDisk();
  const writer = await alpha.spawn("echo thawed >/srv/late");
  let ended = false;
  writer.status.then(() => ended = true);
  await waitFor("the writer to hang", async () => {
    return (await Deno.readTextFile(`/proc/${writer.pid}/stat`)).includes(") D ");
  });
  assert.equal(ended, false);
  await alpha.thawDisk();
  assert.equal((await writer.status).code, 0);

  await alpha.freezeDisk();
  const stuck = await alpha.spawn("echo 1 >/srv/stuck");
  await waitFor("the writer to hang", async () => {
    return (await Deno.readTextFile(`/proc/${stuck.pid}/stat`)).includes(") D ");
  });
  await alpha.kill();
  await stuck.status;
  await alpha.powerOn();

  alpha.failDisk();
  const failed = await alpha.run("cat /srv/x", { check: false });
  assert.match(failed.stderr, /Input\/output error/);
});

for (const signal of ["SIGKILL", "SIGINT"] as const) {
  testWith(diskNeeds, `A lab leaves nothing behind when its owner gets ${signal}`, () => {
    return abandon(signal);
  });
}

async function abandon(signal: Deno.Signal): Promise<void> {
  const script = `
    import { createLab } from ${JSON.stringify(new URL("./lab.ts", import.meta.url).href)};
    const lab = await createLab({ disk: { kind: "ext4", size: "64M" } });
    await lab.alpha.spawn("sleep 1000");
    const stopped = await lab.alpha.spawn("sleep 1001");
    stopped.kill("SIGSTOP");
    await lab.beta.freezeDisk();
    await lab.beta.spawn("echo 1 >/srv/stuck");
    console.log(lab.directory);
    await new Promise((resolve) => setTimeout(resolve, 100_000));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--ext=ts", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const directory = ((await reader.read()).value ?? "").trim();
  assert.ok(markedProcesses(directory).length >= 6);
  assert.equal(loopDevices(directory).length, 2);
  child.kill(signal);
  await child.status;
  await reader.cancel();
  await waitFor("the watchdog to clean up", () => {
    try {
      Deno.statSync(directory);
      return false;
    } catch {
      return true;
    }
  }, { timeout: 30_000 });
  assert.deepEqual(markedProcesses(directory), []);
  assert.deepEqual(loopDevices(directory), []);
}

testWith(needs, "Two labs run side by side", async () => {
  const labs = await Promise.all([createLab(), createLab()]);
  try {
    for (const [i, lab] of labs.entries()) await lab.alpha.run(`echo ${i} >/srv/which`);
    for (const [i, lab] of labs.entries()) {
      assert.equal((await lab.alpha.run("cat /srv/which")).stdout, `${i}\n`);
    }
  } finally {
    for (const lab of labs) await lab.close();
  }
});
