import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient } from "./client.ts";

async function withServer(listener: RequestListener, body: (url: string) => Promise<void>) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const options = { help: "Start it.", token: () => "token", timeout: 100 };

Deno.test("an agent that accepts but does not answer is not waited for", async () => {
  await withServer(() => {}, async (url) => {
    using client = createClient({ ...options, url });
    await assert.rejects(
      client.get("/status"),
      /no answer within 0.1 s: it hangs/,
    );
  });
});

Deno.test("an agent that falls silent in the middle of its answer is not waited for", async () => {
  await withServer((_request, response) => void response.write('{"modules":'), async (url) => {
    using client = createClient({ ...options, url });
    await assert.rejects(client.get("/status"), /no answer within 0.1 s/);
  });
});

Deno.test("an order may take longer than a question, and carries the token", async () => {
  await withServer((request, response) => {
    const said = { ok: request.headers.authorization === "Bearer token" };
    setTimeout(() => response.end(JSON.stringify(said)), 300);
  }, async (url) => {
    using client = createClient({ ...options, url });
    assert.deepEqual(await client.post("/modules/shop/stop", {}), {
      status: 200,
      body: { ok: true },
    });
  });
});

Deno.test("an address below which the agent stands keeps its path", async () => {
  await withServer(
    (request, response) => response.end(JSON.stringify(request.url)),
    async (url) => {
      for (const base of [`${url}/alpha`, `${url}/alpha/`]) {
        using client = createClient({ ...options, url: base });
        assert.equal((await client.get("/status")).body, "/alpha/status");
      }
    },
  );
});

Deno.test("events arrive whole, however the stream is cut", async () => {
  await withServer(async (_request, response) => {
    const stream = ': hello\n\nid: 1\ndata: {"id":1,"text":"é"}\n\nid: 2\ndata: {"id":2}\n\n';
    for (const byte of new TextEncoder().encode(stream)) {
      response.write(new Uint8Array([byte]));
      await Promise.resolve();
    }
    response.end();
  }, async (url) => {
    using client = createClient({ ...options, url });
    const seen: unknown[] = [];
    await client.follow("/events", (entry) => seen.push(entry), new AbortController().signal);
    assert.deepEqual(seen, [{ id: 1, text: "é" }, { id: 2 }]);
  });
});

Deno.test("a stream of events ends when it is given up", async () => {
  await withServer(
    (_request, response) => void response.write('data: {"id":1}\n\n'),
    async (url) => {
      using client = createClient({ ...options, url });
      const end = new AbortController();
      await client.follow("/events", () => end.abort(), end.signal);
    },
  );
});
