import assert from "node:assert/strict";
import { moduleStatus } from "../http/testing.ts";
import { withSite } from "./testing.ts";
import { parseStates, parseTimeout } from "./wait.ts";

Deno.test("wait ends at once where the module is in the state", async () => {
  await withSite(undefined, async ({ run }) => {
    const expected = { code: 0, out: "shop is PRIM: mirrored to beta\n", err: "" };
    for (const args of [["--state", "PRIM"], ["--state", "alone,prim"], ["--ready"]]) {
      assert.deepEqual(await run(["wait", "shop", ...args, "--timeout", "0s"]), expected);
    }
  });
});

Deno.test("wait ends when the state comes, ready where that is asked", async () => {
  await withSite([moduleStatus({ state: "WAIT", ready: false })], async ({ run, facade }) => {
    const status = facade.status;
    const states = [
      moduleStatus({ state: "ALONE", ready: false }),
      moduleStatus({ state: "PRIM", ready: false }),
      moduleStatus({ state: "PRIM" }),
    ];
    let looks = 0;
    facade.status = () => {
      if (looks++ > 0) facade.modules = [states[Math.min(looks - 2, 2)]];
      return status();
    };
    const { code, out } = await run(["wait", "shop", "--state", "PRIM", "--ready"]);
    assert.deepEqual([code, out, looks], [0, "shop is PRIM: mirrored to beta\n", 4]);
  });
});

Deno.test("wait in vain ends with 1 and says what is so instead", async () => {
  const module = moduleStatus({ state: "WAIT", ready: false, reason: "waits for beta" });
  await withSite([module], async ({ run }) => {
    const { code, out, err } = await run(["wait", "shop", "--state", "PRIM", "--timeout", "150ms"]);
    assert.deepEqual([code, out], [1, ""]);
    assert.equal(
      err,
      "understudy: shop did not become PRIM within 0.15 s: it is WAIT, not ready: waits for beta\n",
    );
  });
});

Deno.test("wait for a module that is none does not wait", async () => {
  await withSite(undefined, async ({ run }) => {
    const { code, err } = await run(["wait", "shpo", "--state", "PRIM", "--timeout", "1h"]);
    assert.equal(code, 1);
    assert.match(err, /There is no module "shpo"/);
  });
});

Deno.test("wait outlives a restart of the agent, but not its own time", async () => {
  await withSite([moduleStatus({ state: "WAIT" })], async (site) => {
    await site.stopAgent();
    const gone = await site.run(["wait", "shop", "--state", "PRIM", "--timeout", "0.2s"]);
    assert.equal(gone.code, 1);
    assert.match(gone.err, /No agent answers/);
    const waiting = site.run(["wait", "shop", "--state", "PRIM", "--timeout", "20s"]);
    site.facade.modules = [moduleStatus()];
    site.startAgent();
    assert.equal((await waiting).code, 0);
  });
});

Deno.test("times are seconds, or have a unit", () => {
  const table: [string, number][] = [
    ["10", 10_000],
    ["1.5s", 1_500],
    ["500ms", 500],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["0", 0],
  ];
  for (const [text, expected] of table) assert.equal(parseTimeout(text), expected, text);
  for (const wrong of ["", "s", "-1s", "1d", "1 s", "Infinity", "1e9"]) {
    assert.throws(() => parseTimeout(wrong), /expected a duration/, wrong);
  }
});

Deno.test("states are known by name, in any case", () => {
  assert.deepEqual(parseStates("alone, PRIM"), ["ALONE", "PRIM"]);
  assert.throws(() => parseStates("SECONDARY"), /perhaps SECOND/);
  assert.throws(() => parseStates(""), /is no state/);
});
