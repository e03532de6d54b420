import assert from "node:assert/strict";
import { waitFor } from "../../tests/lib/wait.ts";
import { createApp } from "./app.ts";
import { ListenError, serve } from "./server.ts";
import { fakeFacade, token } from "./testing.ts";

const fail = (error: unknown) => {
  throw error;
};

Deno.test("the interface answers on a socket, and the address is free after close", async () => {
  const app = createApp(fakeFacade(), token);
  const server = serve(app, "127.0.0.1:0", fail);
  const url = `http://127.0.0.1:${server.port}`;
  assert.equal((await (await fetch(`${url}/status`)).json()).node, "alpha");
  const order = await fetch(`${url}/modules/shop/stop`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ force: false }),
  });
  assert.deepEqual(await order.json(), { ok: true, text: "done as ordered" });
  await server.close();
  await server.close(); // once more is no error
  const again = serve(app, `127.0.0.1:${server.port}`, fail);
  await again.close();
});

Deno.test("IPv6 addresses are in brackets", async () => {
  const server = serve(createApp(fakeFacade(), token), "[::1]:0", fail);
  const response = await fetch(`http://[::1]:${server.port}/healthz`);
  assert.equal((await response.json()).status, "ok");
  await server.close();
});

Deno.test("an address that cannot be had is explained", async () => {
  const app = createApp(fakeFacade(), token);
  const server = serve(app, "127.0.0.1:0", fail);
  const taken = `127.0.0.1:${server.port}`;
  assert.throws(() => serve(app, taken, fail), (error) => {
    assert.ok(error instanceof ListenError);
    assert.ok(error.message.startsWith(`${taken} (http.listen) is taken`), error.message);
    return true;
  });
  assert.throws(() => serve(app, "192.0.2.1:9010", fail), /is no address of this machine/);
  await server.close();
});

Deno.test("closing ends streams of events", async () => {
  const facade = fakeFacade();
  const server = serve(createApp(facade, token), "127.0.0.1:0", fail);
  const response = await fetch(`http://127.0.0.1:${server.port}/events?follow=1`);
  const reader = response.body!.getReader();
  facade.add("something");
  let text = "";
  while (!text.includes("something")) text += new TextDecoder().decode((await reader.read()).value);
  assert.equal(facade.listeners, 1);
  const started = performance.now();
  await server.close();
  assert.ok(performance.now() - started < 900, "it waited for the stream");
  assert.equal(facade.listeners, 0);
  assert.equal((await reader.read()).done, true);
});

Deno.test("closing does not wait for a request that hangs, and lets a short one end", async () => {
  let release: (() => void) | undefined;
  let hanging = false;
  const app = {
    fetch: (request: Request) =>
      new Promise<Response>((resolve) => {
        if (request.url.endsWith("/hang")) hanging = true;
        else release = () => resolve(new Response("late"));
      }),
  };
  const server = serve(app, "127.0.0.1:0", fail);
  const url = `http://127.0.0.1:${server.port}`;
  const late = fetch(`${url}/late`).then((response) => response.text());
  const hung = fetch(`${url}/hang`).then(async (r) => ({ status: r.status, body: await r.json() }));
  const answer = await waitFor("both requests", () => hanging && release);
  const closed = server.close();
  answer();
  assert.equal(await late, "late");
  await closed;
  const { status, body } = await hung;
  assert.equal(status, 503);
  assert.match(body.reason, /The agent ends/);
});
