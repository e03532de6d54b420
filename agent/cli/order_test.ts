import assert from "node:assert/strict";
import { moduleStatus } from "../http/testing.ts";
import { whatIsLost } from "./order.ts";
import { run, withSite } from "./testing.ts";

Deno.test("orders reach the agent, and what it did is told", async () => {
  await withSite(undefined, async ({ run, facade }) => {
    for (const verb of ["start", "stop", "restart", "second", "prim"]) {
      assert.deepEqual(await run([verb, "shop"]), { code: 0, out: "done as ordered\n", err: "" });
      assert.deepEqual(facade.orders.pop(), { module: "shop", verb, force: false });
    }
  });
});

Deno.test("a refused, failed or unknown order ends with 1 and the agent's reason", async () => {
  await withSite(undefined, async ({ run, facade }) => {
    for (const error of ["refused", "failed", "unknown"] as const) {
      facade.outcome = { ok: false, error, reason: "beta has newer data\u0007" };
      assert.deepEqual(await run(["prim", "shop"]), {
        code: 1,
        out: "",
        err: "understudy: beta has newer data\\u0007\n",
      });
    }
  });
});

Deno.test("an order without a usable token says which file is meant", async () => {
  await withSite(undefined, async ({ run, directory, facade }) => {
    const file = `${directory}/http.token`;
    await Deno.writeTextFile(`${directory}/other.token`, "another-token-of-another-agent\n", {
      mode: 0o600,
    });
    const wrong = await run(["stop", "shop", "--token-file", `${directory}/other.token`]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /not the token/);
    await Deno.remove(file);
    const missing = await run(["stop", "shop"]);
    assert.equal(missing.code, 1);
    assert.ok(missing.err.includes(file), missing.err);
    assert.equal((await run(["status"])).code, 0, "status needs none");
    assert.deepEqual(facade.orders, []);
  });
});

Deno.test("an order to an agent that is not there ends with 1", async () => {
  await withSite(undefined, async ({ run, stopAgent }) => {
    await stopAgent();
    const { code, err } = await run(["start", "shop"]);
    assert.equal(code, 1);
    assert.match(err, /No agent answers/);
  });
});

Deno.test("prim --force says what would be lost, and goes on only after a yes", async () => {
  await withSite([moduleStatus({ state: "WAIT", sync: "outdated" })], async ({ run, facade }) => {
    const prim = ["prim", "shop", "--force"];
    for (const typed of [undefined, "", "no", "yesterday"]) {
      const { code, err } = await run(prim, typed === undefined ? {} : { typed });
      assert.equal(code, 1, typed);
      assert.match(err, /This can lose data\. The data that alpha holds now/);
      assert.match(err, /Every write that only beta holds is lost/);
      assert.match(err, /Nothing was done/);
    }
    assert.match((await run(prim)).err, /`--yes` says that it is meant/);
    assert.deepEqual(facade.orders, []);
    for (const typed of ["yes", "Y"]) assert.equal((await run(prim, { typed })).code, 0);
    const { code, err } = await run([...prim, "--yes"]);
    assert.deepEqual([code, err], [0, ""]);
    const forced = { module: "shop", verb: "prim", force: true };
    assert.deepEqual(facade.orders, [forced, forced, forced]);
  });
  // without --force nothing is asked
  await withSite(undefined, async ({ run, facade }) => {
    assert.equal((await run(["prim", "shop"])).code, 0);
    assert.deepEqual(facade.orders, [{ module: "shop", verb: "prim", force: false }]);
  });
});

Deno.test("what would be lost depends on what both nodes are", () => {
  const say = (changes: Parameters<typeof moduleStatus>[0]) =>
    whatIsLost("alpha", moduleStatus(changes));
  const peer = { node: "beta", ready: true, heartbeat_ms: undefined };
  assert.match(say({ sync: "synced" }), /no write is known to be missing/);
  assert.match(say({ sync: "syncing" }), /is not whole/);
  assert.match(say({ sync: "none" }), /cannot show/);
  assert.match(say({ peer: { ...peer, state: undefined } }), /two histories begin/);
  assert.match(say({ peer: { ...peer, state: "PRIM" } }), /beta serves shop at this moment/);
});

Deno.test("a module's name cannot be more than a part of the path", async () => {
  await withSite(undefined, async ({ url }) => {
    const { code, err } = await run(["status", "a/../b?c", "--url", url]);
    assert.equal(code, 1);
    assert.match(err, /There is no module "a\/\.\.\/b\?c"/);
  });
});
