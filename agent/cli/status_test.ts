import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { moduleStatus } from "../http/testing.ts";
import { run, withSite } from "./testing.ts";

Deno.test("status is a line a module in a pipe: name, state, ready, sync, peer, reason", async () => {
  const modules = [
    moduleStatus(),
    moduleStatus({
      name: "mail",
      state: "WAIT",
      ready: false,
      sync: "none",
      reason: "waits for \u001b[31mbeta",
      peer: { node: "beta", state: undefined, ready: false, heartbeat_ms: undefined },
      changed: true,
    }),
  ];
  await withSite(modules, async ({ run }) => {
    assert.deepEqual(await run(["status"]), {
      code: 0,
      out: "shop PRIM ready synced beta:SECOND mirrored to beta\n" +
        "mail WAIT not-ready none beta:- waits for \\u001b[31mbeta; warning: its file has changed: " +
        "`understudy restart mail` applies it\n",
      err: "",
    });
  });
});

Deno.test("status is a table on a terminal", async () => {
  const modules = [
    moduleStatus({ warnings: ["a link leads out"] }),
    moduleStatus({
      name: "postgresql",
      state: "ALONE",
      sync: "syncing",
      application: "running",
      reason: "beta is made equal",
      resync: { phase: "comparing", files_done: 12345, bytes_compared: 1.26e9, bytes_sent: 999 },
    }),
  ];
  await withSite(modules, async ({ run }) => {
    const { out } = await run(["status"], { terminal: true });
    assert.deepEqual(out.split("\n"), [
      "alpha  understudy 0.1.0",
      "",
      "MODULE      STATE  READY  SYNC     PEER         APPLICATION  REASON",
      "shop        PRIM   yes    synced   beta SECOND  none         mirrored to beta",
      "postgresql  ALONE  yes    syncing  beta SECOND  running      beta is made equal",
      "",
      "shop: warning: a link leads out",
      "postgresql: comparing: 12,345 files, 1.3 GB compared, 999 B sent",
      "",
    ]);
    const colored = (await run(["status"], { terminal: true, color: true })).out;
    assert.ok(colored.includes("\u001b[32mPRIM\u001b[39m"), colored);
    assert.ok(colored.includes("\u001b[33mALONE\u001b[39m"), colored);
    // deno-lint-ignore no-control-regex
    assert.equal(colored.replace(/\u001b\[\d+m/g, ""), out);
  });
  await withSite([], async ({ run }) => {
    assert.match((await run(["status"], { terminal: true })).out, /No module is defined/);
    assert.equal((await run(["status"])).out, "");
  });
});

Deno.test("status MODULE shows everything and ends with 0 where it serves or could", async () => {
  const expected: [state: "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND", boolean, number][] = [
    ["STOP", false, 3],
    ["STOP", true, 3],
    ["WAIT", false, 3],
    ["WAIT", true, 3],
    ["ALONE", true, 0],
    ["PRIM", true, 0],
    ["SECOND", true, 0],
    ["SECOND", false, 3],
  ];
  for (const [state, ready, code] of expected) {
    await withSite([moduleStatus({ state, ready })], async ({ run }) => {
      for (const more of [[], ["--json"]]) {
        assert.equal((await run(["status", "shop", ...more])).code, code, `${state} ${ready}`);
      }
    });
  }
  const module = moduleStatus({
    vip: ["10.77.0.100/24"],
    application: "running",
    checks: [{ name: "port", ok: false }],
  });
  await withSite([module], async ({ run }) => {
    const { out } = await run(["status", "shop"]);
    assert.deepEqual(out.split("\n"), [
      "module: shop",
      "state: PRIM",
      "reason: mirrored to beta",
      "sync: synced",
      "generation: 7",
      "peer: beta SECOND, heard 12 ms ago",
      "replication: 1,234 operations, 5.7 kB, 0 on their way, acknowledged within 80 µs (half of " +
      "them), 400 µs (99 of 100)",
      "addresses: 10.77.0.100/24",
      "application: running",
      "check: port failed",
      "",
    ]);
    const terminal = await run(["status", "shop"], { terminal: true });
    assert.match(terminal.out, /^generation +7$/m);
  });
});

Deno.test("status --json is what the agent says", async () => {
  await withSite(undefined, async ({ run, url }) => {
    const said = await (await fetch(`${url}/status`)).json();
    assert.deepEqual(JSON.parse((await run(["status", "--json"])).out), said);
    assert.deepEqual(JSON.parse((await run(["status", "shop", "--json"])).out), said.modules[0]);
  });
});

Deno.test("a module that is none is told with those that are", async () => {
  await withSite(undefined, async ({ run }) => {
    const { code, out, err } = await run(["status", "shpo"]);
    assert.deepEqual([code, out], [1, ""]);
    assert.equal(err, 'understudy: There is no module "shpo" on alpha, which has shop\n');
  });
});

Deno.test("where no agent answers, status says how to start it", async () => {
  await withSite(undefined, async (site) => {
    await site.stopAgent();
    const { code, out, err } = await site.run(["status"]);
    assert.deepEqual([code, out], [1, ""]);
    const address = site.url.slice("http://".length);
    assert.ok(err.includes(`No agent answers at http://${address} (connection refused)`), err);
    assert.ok(err.includes(`understudy agent --config ${site.config}`), err);
  });
});

Deno.test("--url asks another agent, without a configuration", async () => {
  await withSite(undefined, async ({ url }) => {
    const short = url.slice("http://".length);
    for (const address of [url, `${url}/`, short]) {
      const { code, out } = await run(["status", "--config", "/nowhere", "--url", address]);
      assert.equal(code, 0, address);
      assert.match(out, /^shop PRIM/);
    }
  });
});

Deno.test("a proxy that the environment names is not asked", async () => {
  await withSite(undefined, async ({ run }) => {
    Deno.env.set("HTTP_PROXY", "http://127.0.0.1:1");
    Deno.env.set("http_proxy", "http://127.0.0.1:1");
    try {
      assert.equal((await run(["status"])).code, 0);
    } finally {
      Deno.env.delete("HTTP_PROXY");
      Deno.env.delete("http_proxy");
    }
  });
});

Deno.test("something else at the agent's address is not taken for one", async () => {
  const answers = ["<html>", "[]", "null", '{"modules":1}'];
  for (const answer of answers) {
    const other = createServer((_request, response) => response.end(answer));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const { code, err } = await run(["status", "--url", url]);
    assert.equal(code, 1);
    assert.match(err, /is no agent/, answer);
    await new Promise((resolve) => other.close(resolve));
  }
});

Deno.test("--watch writes to a pipe what has changed, also over a restart of the agent", async () => {
  await withSite(undefined, async ({ run, facade, stopAgent, startAgent }) => {
    const end = new AbortController();
    const steps = [
      () => void (facade.modules = [moduleStatus({ state: "ALONE", reason: "beta is gone" })]),
      async () => {
        await stopAgent();
      },
      () => {
        facade.modules = [moduleStatus({ state: "SECOND" })];
        startAgent();
      },
      () => end.abort(),
    ];
    let lines = 0;
    const { out } = await run(["status", "--watch"], {
      signal: end.signal,
      onOut(all) {
        const now = all.split("\n").length - 1;
        while (lines < now) steps[lines++]?.();
      },
    });
    assert.deepEqual(out.split("\n").map((line) => line.split(" ").slice(0, 2).join(" ")), [
      "shop PRIM",
      "shop ALONE",
      "No agent",
      "shop SECOND",
      "",
    ]);
  });
});

Deno.test("--watch redraws a terminal, with the pace of a resync", async () => {
  const resync = { phase: "comparing", files_done: 1, bytes_compared: 0, bytes_sent: 0 };
  await withSite([moduleStatus({ resync })], async ({ run, facade }) => {
    const end = new AbortController();
    let writes = 0;
    const { out } = await run(["status", "--watch"], {
      terminal: true,
      signal: end.signal,
      onOut() {
        facade.modules = [moduleStatus({ resync: { ...resync, bytes_compared: 5e9 } })];
        if (++writes === 2) end.abort();
      },
    });
    assert.ok(out.startsWith("\u001b[2J\u001b[H"), JSON.stringify(out.slice(0, 20)));
    assert.match(out, /5\.0 GB compared, 0 B sent, [\d.]+ GB\/s/);
  });
});
