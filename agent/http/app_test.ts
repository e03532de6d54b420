import assert from "node:assert/strict";
import { createApp, verbs } from "./app.ts";
import { MAX_BODY } from "./body.ts";
import { fakeFacade, moduleStatus, token } from "./testing.ts";

function setUp(modules = [moduleStatus()], secret = token) {
  const facade = fakeFacade(modules);
  const app = createApp(facade, secret);
  const get = async (path: string, init: RequestInit = {}) => await app.request(path, init);
  const post = async (path: string, init: RequestInit = {}) =>
    await app.request(path, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      ...init,
    });
  return { facade, app, get, post };
}

Deno.test("the status is the agent's, with null for what is not known", async () => {
  const { get } = setUp([moduleStatus({
    peer: { node: "beta", state: undefined, ready: false, heartbeat_ms: undefined },
    replication: { ops: 0, bytes: 0, lag_ops: 0, ack_us_p50: undefined, ack_us_p99: undefined },
  })]);
  const response = await get("/status");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json; charset=utf-8");
  const { node, version, modules } = await response.json();
  assert.deepEqual([node, version], ["alpha", "0.1.0"]);
  assert.deepEqual(Object.keys(modules[0]), [
    "name",
    "state",
    "ready",
    "reason",
    "sync",
    "generation",
    "vip",
    "application",
    "peer",
    "replication",
    "resync",
    "checks",
    "changed",
    "warnings",
  ]);
  assert.deepEqual(modules[0].peer, {
    node: "beta",
    state: null,
    ready: false,
    heartbeat_ms: null,
  });
  assert.equal(modules[0].replication.ack_us_p50, null);
  assert.equal(modules[0].replication.ack_us_p99, null);
});

Deno.test("one module's status is the same object, and a name that is none gives 404", async () => {
  const { get } = setUp();
  const all = await (await get("/status")).json();
  assert.deepEqual(await (await get("/status/shop")).json(), all.modules[0]);
  const missing = await get("/status/shpo");
  assert.equal(missing.status, 404);
  assert.deepEqual(await missing.json(), {
    error: "unknown",
    reason: 'There is no module "shpo" on alpha, which has shop',
  });
});

Deno.test("healthz answers while the agent lives", async () => {
  const response = await setUp([]).get("/healthz");
  assert.equal(response.status, 200);
  assert.equal((await response.json()).status, "ok");
});

Deno.test("ready is 200 only where the module serves and is ready", async () => {
  for (const state of ["STOP", "WAIT", "ALONE", "PRIM", "SECOND"] as const) {
    for (const ready of [true, false]) {
      const response = await setUp([moduleStatus({ state, ready })]).get("/ready/shop");
      const serves = ready && (state === "ALONE" || state === "PRIM");
      assert.equal(response.status, serves ? 200 : 503, `${state} ${ready}`);
      assert.equal((await response.json()).reason, "mirrored to beta");
    }
  }
  assert.equal((await setUp().get("/ready/other")).status, 404);
});

Deno.test("every order needs the token", async () => {
  for (const verb of verbs) {
    const { facade, post } = setUp();
    const path = `/modules/shop/${verb}`;
    const refused: [string | undefined, number][] = [
      [undefined, 401],
      ["", 401],
      ["Basic YTpi", 401],
      ["Bearer", 401],
      ["Bearer wrong", 403],
      [`Bearer ${token.slice(1)}`, 403],
      [`Bearer ${token}x`, 403],
    ];
    for (const [authorization, status] of refused) {
      const headers: Record<string, string> = authorization === undefined
        ? {}
        : { Authorization: authorization };
      const response = await post(path, { headers });
      assert.equal(response.status, status, authorization);
      assert.equal(response.headers.has("www-authenticate"), status === 401);
      assert.deepEqual(Object.keys(await response.json()), ["error", "reason"]);
    }
    assert.deepEqual(facade.orders, []);
    assert.equal((await post(path)).status, 200);
    assert.deepEqual(facade.orders, [{ module: "shop", verb, force: false }]);
  }
});

Deno.test("an agent without a token takes no order, not even with an empty one", async () => {
  const { facade, post } = setUp([moduleStatus()], "");
  for (const word of ["Bearer ", "Bearer x", `Bearer ${token}`]) {
    const { status } = await post("/modules/shop/stop", { headers: { Authorization: word } });
    assert.ok(status === 401 || status === 403, `${word}: ${status}`);
  }
  assert.deepEqual(facade.orders, []);
});

Deno.test("what an order comes to decides the status code", async () => {
  const { facade, post } = setUp();
  assert.deepEqual(await (await post("/modules/shop/start")).json(), {
    ok: true,
    text: "done as ordered",
  });
  for (const [error, code] of [["unknown", 404], ["refused", 409], ["failed", 500]] as const) {
    facade.outcome = { ok: false, error, reason: "because" };
    const response = await post("/modules/shop/start");
    assert.equal(response.status, code);
    assert.deepEqual(await response.json(), { error, reason: "because" });
  }
  facade.order = () => Promise.reject(new Error("the disk is gone"));
  const response = await post("/modules/shop/start");
  assert.equal(response.status, 500);
  assert.match((await response.json()).reason, /the disk is gone/);
});

Deno.test("an order's body is {force} or nothing, and no longer than allowed", async () => {
  const { facade, post } = setUp();
  const send = async (body: string) =>
    (await post("/modules/shop/prim", {
      body,
      headers: { Authorization: `Bearer ${token}` },
    })).status;
  assert.equal(await send('{"force": true}'), 200);
  assert.equal(await send("{}"), 200);
  assert.equal(await send(" "), 200);
  assert.deepEqual(facade.orders.map((order) => order.force), [true, false, false]);
  for (const wrong of ["{", "[]", "null", '"force"', '{"force":1}', '{"forse":true}', "\u0000"]) {
    assert.equal(await send(wrong), 400, wrong);
  }
  assert.equal(await send(`{"force":true${" ".repeat(MAX_BODY)}}`), 413);
  assert.equal(facade.orders.length, 3);
});

Deno.test("a body that never ends is not read to its end", async () => {
  const { post } = setUp();
  let chunks = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      chunks++;
      controller.enqueue(new Uint8Array(16 * 1024));
    },
  });
  const response = await post("/modules/shop/prim", {
    body,
    headers: { Authorization: `Bearer ${token}` },
  });
  assert.equal(response.status, 413);
  assert.ok(chunks < 10, `${chunks} chunks were read`);
});

Deno.test("unknown paths are 404 and wrong methods 405, both as JSON", async () => {
  const { app } = setUp();
  const table: [method: string, path: string, status: number, allow?: string][] = [
    ["GET", "/nothing", 404],
    ["POST", "/nothing", 404],
    ["GET", "/modules/shop", 404],
    ["POST", "/modules/shop/swap", 404],
    ["POST", "/modules/shop/constructor", 404],
    ["GET", "/modules/shop/start", 405, "POST"],
    ["DELETE", "/modules/shop/stop", 405, "POST"],
    ["POST", "/status", 405, "GET, HEAD"],
    ["PUT", "/status/shop", 405, "GET, HEAD"],
    ["POST", "/", 405, "GET, HEAD"],
    ["OPTIONS", "/events", 405, "GET, HEAD"],
  ];
  for (const [method, path, status, allow] of table) {
    const response = await app.request(path, { method });
    assert.equal(response.status, status, `${method} ${path}`);
    assert.equal(response.headers.get("allow"), allow ?? null, `${method} ${path}`);
    assert.deepEqual(Object.keys(await response.json()), ["error", "reason"]);
  }
});

Deno.test("HEAD gives what GET gives, without the body", async () => {
  const { get } = setUp();
  for (const path of ["/", "/status", "/healthz", "/events", "/events?follow=1"]) {
    const head = await get(path, { method: "HEAD" });
    assert.equal(head.status, 200, path);
    assert.equal(await head.text(), "", path);
    assert.ok(head.headers.get("content-type"), path);
  }
  assert.equal((await get("/status/none", { method: "HEAD" })).status, 404);
});

Deno.test("every answer carries the security headers, errors too", async () => {
  const { get } = setUp();
  for (const path of ["/", "/status", "/nothing", "/events?after=x"]) {
    const { headers } = await get(path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/, path);
    assert.match(headers.get("content-security-policy") ?? "", /frame-ancestors 'none'/, path);
  }
});

Deno.test("events are an array, by id and by module", async () => {
  const { facade, get } = setUp();
  facade.add("the agent starts");
  facade.add("shop starts", "shop");
  facade.add("other starts", "other", "warning");
  const ids = async (path: string) =>
    (await (await get(path)).json()).map((entry: { id: number }) => entry.id);
  assert.deepEqual(await ids("/events"), [1, 2, 3]);
  assert.deepEqual(await ids("/events?after=1"), [2, 3]);
  assert.deepEqual(await ids("/events?after=3"), []);
  assert.deepEqual(await ids("/events?module=shop"), [2]);
  // an id of an earlier run of the agent, which is not reached yet
  assert.deepEqual(await ids("/events?after=500"), [1, 2, 3]);
  assert.deepEqual((await (await get("/events?after=0")).json())[0], {
    id: 1,
    time: "2026-01-02T03:04:01.000Z",
    level: "info",
    module: null,
    text: "the agent starts",
  });
  for (const wrong of ["-1", "x", "1.5", "9".repeat(40)]) {
    assert.equal((await get(`/events?after=${wrong}`)).status, 400, wrong);
  }
});

Deno.test("events are streamed to who asks for a stream, until the reader leaves", async () => {
  for (
    const [path, init] of [
      ["/events?follow=1&after=1&module=shop", {}],
      ["/events?module=shop", { headers: { Accept: "text/event-stream", "Last-Event-ID": "1" } }],
    ] as const
  ) {
    const { facade, get } = setUp();
    facade.add("shop came", "shop");
    facade.add("shop starts", "shop");
    const response = await get(path, init);
    assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    assert.equal(facade.listeners, 1);
    facade.add("not of this module", "other");
    facade.add("shop\nstops", "shop");
    const reader = response.body!.getReader();
    let text = "";
    while (!text.includes("id: 4")) text += new TextDecoder().decode((await reader.read()).value);
    assert.deepEqual(text.match(/^id: \d+$/gm), ["id: 2", "id: 4"]);
    const data = text.match(/^data: .*$/gm)!.map((line) => JSON.parse(line.slice(6)).text);
    assert.deepEqual(data, ["shop starts", "shop\nstops"]);
    await reader.cancel();
    assert.equal(facade.listeners, 0);
  }
});

Deno.test("a reader of events that never reads is given up", async () => {
  const { facade, get } = setUp();
  const response = await get("/events?follow=1");
  for (let i = 0; i < 3000; i++) facade.add("something happens");
  assert.equal(facade.listeners, 0);
  await response.body!.cancel();
});

Deno.test("the page shows the modules, and nothing that a module says becomes markup", async () => {
  const { get } = setUp([
    moduleStatus({ reason: "<script>alert('x')</script>", warnings: ['"&<b>'] }),
    moduleStatus({
      name: "mail",
      state: "ALONE",
      resync: { phase: "comparing", files_done: 1234, bytes_compared: 1, bytes_sent: 2 },
    }),
  ]);
  const response = await get("/");
  const text = await response.text();
  assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
  for (const word of ["shop", "mail", "PRIM", "ALONE", "1,234 files"]) {
    assert.ok(text.includes(word));
  }
  assert.ok(!text.includes("<script"), text);
  assert.ok(!text.includes("<b>"), text);
  assert.ok(!/(src|href)="?(https?:)?\/\//.test(text), "no foreign assets");
  assert.match(text, /http-equiv="refresh"/);
});

Deno.test("the interface's description names every path and order there is", async () => {
  const { get } = setUp();
  const document = await (await get("/openapi.json")).json();
  assert.equal(document.openapi, "3.1.0");
  for (const verb of verbs) assert.ok(document.paths[`/modules/{module}/${verb}`].post, verb);
  for (const path of ["/status", "/status/{module}", "/healthz", "/ready/{module}", "/events"]) {
    assert.ok(document.paths[path].get, path);
  }
  const status = await (await get("/status")).json();
  const { required } = document.components.schemas.ModuleStatus;
  assert.deepEqual(required, Object.keys(status.modules[0]));
  // every reference leads somewhere
  for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)) {
    assert.ok(document.components.schemas[name], name);
  }
});
