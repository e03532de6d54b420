import assert from "node:assert/strict";
import { kernelProblem } from "./linux/platform.ts";
import { rootTest } from "./linux/testing.ts";
import { openPlatform, UnsupportedError } from "./platform.ts";

Deno.test("platform: Windows and macOS open, and refuse in a sentence what they cannot do", async () => {
  for (const [os, name] of [["windows", "Windows"], ["darwin", "macOS"]] as const) {
    const platform = openPlatform(os);
    const refusal = new RegExp(
      `^Understudy cannot mirror on this platform yet: ${name}\\. It runs`,
    );
    assert.ok(platform.system.startsWith(name));
    for (const { available, reason } of platform.capabilities()) {
      assert.equal(available, false);
      assert.match(reason, refusal);
    }
    const refused = { name: "UnsupportedError", message: refusal };
    assert.throws(() => platform.require("mirror"), refused);
    assert.throws(() => platform.lock("/x"), refused);
    assert.throws(() => platform.virtualAddress("10.0.0.1/24"), refused);
    await assert.rejects(platform.directoryUsers(["/x"]), refused);
    await assert.rejects(platform.clearDeadMounts("understudy:"), refused);
    assert.match(platform.raisePriority()!, refusal);
    assert.ok(platform.monotonic() >= 0);
  }
});

Deno.test({
  name: "platform: Linux has every capability or says why not",
  ignore: Deno.build.os !== "linux",
  sanitizeResources: false, // libc stays open
  fn() {
    const platform = openPlatform();
    assert.match(platform.system, /^Linux \d+\.\d+/);
    const states = platform.capabilities();
    assert.deepEqual(states.map(({ name }) => name), [
      "mirror",
      "virtual-ip",
      "realtime",
      "kernel-offload",
    ]);
    for (const { name, available, reason } of states) {
      assert.equal(reason === "", available, name);
      if (available) platform.require(name);
      else assert.throws(() => platform.require(name), UnsupportedError);
    }
  },
});

rootTest(
  "platform: without root it says what needs root",
  { programs: ["setpriv"], loose: true },
  async () => {
    const program = `
    import { openPlatform } from "${import.meta.resolve("./platform.ts")}";
    for (const { available, reason } of openPlatform().capabilities()) {
      if (!available) console.log(reason);
    }
  `;
    // root's user id without root's capabilities: what a container may be
    const ask = async (...args: string[]) => {
      const command = new Deno.Command("setpriv", {
        args: [...args, Deno.execPath(), "eval", program],
      });
      return new TextDecoder().decode((await command.output()).stdout);
    };
    const text = await ask("--bounding-set", "-sys_admin,-net_raw", "--inh-caps", "-all");
    assert.match(text, /Understudy lacks CAP_SYS_ADMIN: run it on the host/);
    assert.match(text, /Understudy lacks CAP_NET_RAW/);
  },
);

Deno.test({
  name: "platform: locks and clocks work through it",
  ignore: Deno.build.os !== "linux",
  sanitizeResources: false,
  async fn() {
    const platform = openPlatform();
    const path = `${await Deno.makeTempDir()}/lock`;
    const lock = platform.lock(path);
    assert.ok("release" in lock);
    assert.deepEqual(platform.lock(path), { heldBy: Deno.pid });
    lock.release();
    await Deno.remove(path.slice(0, -5), { recursive: true });
    const first = platform.monotonic();
    assert.ok(platform.monotonic() >= first);
    assert.ok(platform.openFileLimit() > 0);
  },
});

Deno.test("platform: kernels before 5.10 are refused by number", () => {
  for (const release of ["5.10.0", "5.15.3-foo", "6.1.0-28-amd64", "10.0", "unknown"]) {
    assert.equal(kernelProblem(release), undefined, release);
  }
  for (const release of ["5.9.16", "4.19.0-27-amd64", "3.10"]) {
    assert.equal(
      kernelProblem(release),
      `Linux ${release} is too old: Understudy needs 5.10 or later`,
    );
  }
});
