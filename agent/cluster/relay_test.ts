import assert from "node:assert/strict";
import { allocate, openLibc } from "../platform/linux/libc.ts";
import { type Channel, openChannel } from "./channel.ts";
import { parseSecret } from "./keys.ts";
import { descriptors, startNode, type TestNode, until } from "./testing.ts";

const libc = openLibc();
let port = 29840;
type Tls = "openssl" | "relay";
const pairs: [Tls, Tls][] = [["relay", "relay"], ["openssl", "relay"], ["relay", "openssl"]];
const hello = { digest: "", role: "sink" as const, record: {} };

async function withNodes(
  [accepting, dialling]: [Tls, Tls],
  secret: Uint8Array | undefined,
  run: (alpha: TestNode, beta: TestNode) => Promise<void>,
): Promise<void> {
  const at = port++;
  const alpha = startNode(libc, "alpha", at, { tls: accepting });
  const beta = startNode(libc, "beta", at, { tls: dialling, ...(secret ? { secret } : {}) });
  try {
    await run(alpha, beta);
  } finally {
    await beta.close();
    await alpha.close();
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Sends bytes through and compares them; the relay needs the event loop to turn. */
async function transfer(from: Channel, to: Channel, total: number): Promise<void> {
  const out = allocate(65536);
  const into = allocate(1 << 20);
  crypto.getRandomValues(out.bytes);
  let [sent, read] = [0, 0];
  while (read < total) {
    const offset = sent % 65536;
    const taken = sent < total
      ? from.send(out.address + offset, Math.min(65536 - offset, total - sent))
      : 0;
    assert(taken >= 0, from.reason());
    sent += taken;
    if (taken === 0) from.flush();
    const got = to.receive(into.address, 1 << 20);
    assert(got >= 0, to.reason());
    for (let i = 0; i < got; i += 101) {
      assert.equal(into.bytes[i], out.bytes[(read + i) % 65536]);
    }
    read += got;
    if (taken === 0 && got === 0) await turn();
  }
}

for (const pair of pairs) {
  const name = `accepted by ${pair[0]}, dialled by ${pair[1]}`;

  Deno.test(`${name}: a link carries every byte, both ways, and says when it is closed`, async () => {
    const before = descriptors();
    await withNodes(pair, undefined, async (alpha, beta) => {
      assert.deepEqual([alpha.control.encryption, beta.control.encryption], pair);
      const result = await beta.control.dial("alpha", "m", hello);
      assert(result.kind === "linked", JSON.stringify(result));
      await until(() => alpha.links.length === 1, "the accepted link");
      const a = openChannel(libc, alpha.links.pop()!);
      const b = openChannel(libc, result.link);
      await transfer(a, b, 5_000_000);
      await transfer(b, a, 5_000_000);
      const memory = allocate(1 << 16);
      assert.equal(b.send(memory.address, 3000), 3000);
      b.close();
      let [read, taken] = [0, 0];
      await until(() => {
        while ((taken = a.receive(memory.address, 1 << 16)) > 0) read += taken;
        return taken < 0;
      }, "the end of the link");
      assert.equal(read, 3000);
      a.close();
    });
    await until(() => descriptors() === before, "every descriptor to be closed");
  });

  Deno.test(`${name}: another secret is refused by both`, async () => {
    await withNodes(pair, parseSecret("e".repeat(32), "other"), async (alpha, beta) => {
      const result = await beta.control.dial("alpha", "m", hello);
      assert(result.kind === "refused");
      assert.equal(result.code, "wrong-secret", result.reason);
      await alpha.event("link-refused", "wrong-secret");
      assert.deepEqual(alpha.hellos, []);
    });
  });
}

Deno.test("a relay says that it is one, and why", async () => {
  await withNodes(["relay", "relay"], undefined, async (alpha) => {
    assert.match((await alpha.event("encryption-relayed")).text, /instead of OpenSSL, and slower/);
  });
});

Deno.test("garbage instead of TLS is refused by a relay too", async () => {
  await withNodes(["relay", "relay"], undefined, async (alpha) => {
    const conn = await Deno.connect({ hostname: "127.81.1.1", port: port - 1 });
    await conn.write(Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 1, 1, 0, 0));
    await conn.write(new TextEncoder().encode("this is no TLS record at all"));
    const buffer = new Uint8Array(1000);
    while (await conn.read(buffer).catch(() => null) !== null);
    conn.close();
    await alpha.event("link-refused", "garbage");
  });
});
