import assert from "node:assert/strict";
import { openLibc } from "./libc.ts";
import {
  bootId,
  hasCapability,
  hasRealtimePriority,
  isIoFlusher,
  openClock,
  openFileLimit,
  setIoFlusher,
  setNormalPriority,
  setOomScore,
  setParentDeathSignal,
  setRealtimePriority,
} from "./process.ts";
import { rootTest } from "./testing.ts";

const libc = openLibc();

rootTest("process: real-time priority is taken and given back, and children do not inherit it", {
  programs: ["cat"],
}, async () => {
  assert.equal(hasRealtimePriority(libc), false);
  assert.deepEqual(setRealtimePriority(libc, 10), { granted: true });
  try {
    assert.equal(hasRealtimePriority(libc), true);
    const { stdout } = await new Deno.Command("cat", { args: ["/proc/self/stat"] }).output();
    const fields = new TextDecoder().decode(stdout).replace(/^.*\) /, "").split(" ");
    assert.equal(fields[41 - 3], "0", "the child's policy is SCHED_OTHER"); // field 41: policy
  } finally {
    assert.deepEqual(setNormalPriority(libc), { granted: true });
  }
  assert.equal(hasRealtimePriority(libc), false);
  const refused = setRealtimePriority(libc, 1000);
  assert.ok(!refused.granted && refused.reason.startsWith("No real-time priority: EINVAL"));
});

rootTest("process: the calling thread becomes an IO flusher", {
  capabilities: ["CAP_SYS_RESOURCE"],
}, () => {
  assert.deepEqual(setIoFlusher(libc), { granted: true });
  assert.equal(isIoFlusher(libc), true);
  libc.sys.prctl(57, 0, 0, 0, 0);
});

rootTest("process: the out-of-memory score is set", { capabilities: ["CAP_SYS_RESOURCE"] }, () => {
  const before = Number(Deno.readTextFileSync("/proc/self/oom_score_adj"));
  assert.deepEqual(setOomScore(-500), { granted: true });
  assert.equal(Deno.readTextFileSync("/proc/self/oom_score_adj").trim(), "-500");
  assert.deepEqual(setOomScore(before), { granted: true });
  assert.equal(setOomScore(0, 0x7ffffffe).granted, false);
});

Deno.test("process: a child dies with its parent when it asked to", async () => {
  const child = `
    import { openLibc } from "${import.meta.resolve("./libc.ts")}";
    import { setParentDeathSignal } from "${import.meta.resolve("./process.ts")}";
    setParentDeathSignal(openLibc(), 9);
    console.log(Deno.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = `
    new Deno.Command(Deno.execPath(), { args: ["eval", ${JSON.stringify(child)}] }).spawn();
    setInterval(() => {}, 1000);
  `;
  const process = new Deno.Command(Deno.execPath(), { args: ["eval", parent], stdout: "piped" })
    .spawn();
  const reader = process.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  assert.ok(pid > 0);
  process.kill("SIGKILL");
  await process.status;
  // The pipe ends when its last writer, the grandchild, has ended.
  assert.equal((await reader.read()).done, true);
  assert.deepEqual(setParentDeathSignal(libc, 0), { granted: true });
});

Deno.test("process: the limit of open files is read", () => {
  const { soft, hard } = openFileLimit(libc);
  assert.ok(soft >= 64 && hard >= soft, `${soft} ${hard}`);
  const line = Deno.readTextFileSync("/proc/self/limits").match(/Max open files\s+(\S+)/)!;
  assert.equal(String(soft), line[1].replace("unlimited", "Infinity"));
});

Deno.test("process: clocks run in milliseconds", () => {
  const now = openClock(libc, "realtime")();
  assert.ok(Math.abs(now - Date.now()) < 1000);
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]) * 1000;
  assert.ok(Math.abs(openClock(libc, "boottime")() - uptime) < 1000);
  const monotonic = openClock(libc, "monotonic");
  let last = monotonic();
  for (let i = 0; i < 1000; i++) {
    const next = monotonic();
    assert.ok(next >= last && next - last < 1000);
    last = next;
  }
});

rootTest(
  "process: what a container forbids is refused with the capability that it takes",
  {},
  () => {
    const wishes = [setIoFlusher(libc), setOomScore(-1)];
    if (hasCapability("CAP_SYS_RESOURCE")) {
      libc.sys.prctl(57, 0, 0, 0, 0);
      setOomScore(0);
    } else {
      for (const wish of wishes) {
        assert.ok(!wish.granted && wish.reason.endsWith("It takes CAP_SYS_RESOURCE"));
      }
    }
  },
);

Deno.test("process: the boot has an id", () => assert.match(bootId(), /^[0-9a-f-]{36}$/));
