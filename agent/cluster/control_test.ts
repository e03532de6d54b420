import assert from "node:assert/strict";
import { openLibc } from "../platform/linux/libc.ts";
import { openChannel } from "./channel.ts";
import { type Control, type ControlOptions, createControl } from "./control.ts";
import { establish, type HandshakeContext } from "./handshake.ts";
import { deriveKeys, parseSecret } from "./keys.ts";
import { descriptors, startNode, type TestNode, testNodes, testSecret, until } from "./testing.ts";
import type { Wire } from "./wire.ts";

const libc = openLibc();
let port = 29760;
const hello = { digest: "d1", role: "sink" as const, record: { generation: 3 } };
const otherSecret = parseSecret("f".repeat(32), "other");

/** Runs with two nodes, and closes both whatever happens. */
async function withNodes(
  alphaOptions: Partial<ControlOptions>,
  betaOptions: Partial<ControlOptions>,
  run: (alpha: TestNode, beta: TestNode, port: number) => Promise<void>,
): Promise<void> {
  const at = port++;
  const alpha = startNode(libc, "alpha", at, alphaOptions);
  try {
    const beta = startNode(libc, "beta", at, betaOptions);
    try {
      await run(alpha, beta, at);
    } finally {
      await beta.close();
    }
  } finally {
    await alpha.close();
  }
}

async function withNode(
  options: Partial<ControlOptions>,
  run: (alpha: TestNode, port: number) => Promise<void>,
): Promise<void> {
  const at = port++;
  const alpha = startNode(libc, "alpha", at, options);
  try {
    await run(alpha, at);
  } finally {
    await alpha.close();
  }
}

const connect = (at: number) => Deno.connect({ hostname: "127.81.1.1", port: at });

/** Everything the other side sends until it closes. */
async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  const bytes: number[] = [];
  const buffer = new Uint8Array(4096);
  for (;;) {
    const taken = await conn.read(buffer).catch(() => null);
    if (taken === null) return Uint8Array.from(bytes);
    bytes.push(...buffer.subarray(0, taken));
  }
}

for (const encryption of ["on", "off"] as const) {
  const name = encryption === "on" ? "encrypted" : "plain";

  Deno.test(`${name}: nodes hear each other and connect; both sides learn what the other says`, async () => {
    await withNodes({ encryption }, { encryption }, async (alpha, beta) => {
      await alpha.event("peer-up");
      await beta.event("peer-up");
      assert.equal(alpha.control.encryption, encryption === "on" ? "openssl" : "off");
      const result = await beta.control.dial("alpha", "m", hello);
      assert(result.kind === "linked", JSON.stringify(result));
      await until(() => alpha.links.length === 1, "the link");
      assert.deepEqual(alpha.hellos, [{
        protocol: 1,
        node: "beta",
        to: "alpha",
        instance: beta.control.instance,
        module: "m",
        ...hello,
      }]);
      assert.deepEqual(result.reply, {
        node: "alpha",
        instance: alpha.control.instance,
        record: { seen: { generation: 3 } },
      });
      const { fd: _fd, ssl: _ssl, ...accepted } = alpha.links[0];
      assert.deepEqual(accepted, { peer: "beta", address: "127.81.1.1", role: "source" });
      assert.equal(result.link.role, "sink");
      assert.equal(result.link.address, "127.81.1.2");
      openChannel(libc, result.link).close();
    });
  });

  Deno.test(`${name}: a node with another secret is refused by both, with an event on both`, async () => {
    await withNodes({ encryption }, { encryption, secret: otherSecret }, async (alpha, beta) => {
      const result = await beta.control.dial("alpha", "m", hello);
      assert(result.kind === "refused");
      assert.equal(result.code, "wrong-secret");
      const dialled = await beta.event("link-refused", "wrong-secret");
      assert.match(dialled.text, /alpha at 127\.81\.1\.1:\d+ failed: .*secret/);
      const accepted = await alpha.event("link-refused", "wrong-secret");
      assert.match(accepted.text, /from 127\.81\.1\.2 was refused: .*copy the cluster's secret/);
      await alpha.event("heartbeat-refused", "wrong-secret");
      await beta.event("heartbeat-refused", "wrong-secret");
      assert(!alpha.control.peers()[0].up);
      assert.deepEqual(alpha.hellos, []);
    });
  });

  Deno.test(`${name}: a node that is not in the configuration is refused by name`, async () => {
    const nodes = [testNodes[0], testNodes[1]];
    await withNodes(
      { encryption, nodes: [testNodes[0], testNodes[2]] },
      { encryption, nodes },
      async (alpha, beta) => {
        const result = await beta.control.dial("alpha", "m", hello);
        assert(result.kind === "refused");
        assert.equal(result.code, "unknown-node");
        assert.match(result.reason, /node beta is not in this node's configuration/);
        await alpha.event("link-refused", "unknown-node");
        await alpha.event("heartbeat-refused", "unknown-node");
      },
    );
  });

  Deno.test(`${name}: what the agent refuses reaches the other side with reason and code`, async () => {
    const onHello = () => ({ accept: false as const, reason: "Other definition", code: "digest" });
    await withNodes({ encryption, onHello }, { encryption }, async (alpha, beta) => {
      const result = await beta.control.dial("alpha", "m", hello);
      assert.deepEqual(result, {
        kind: "refused",
        code: "rejected",
        reason: "alpha refused: Other definition",
        answer: "digest",
      });
      assert(!alpha.events.some((event) => event.kind === "link-refused"));
    });
  });
}

Deno.test("encryption on one side only is refused by both, with an event on both", async () => {
  await withNodes({ encryption: "on" }, { encryption: "off" }, async (alpha, beta) => {
    const result = await beta.control.dial("alpha", "m", hello);
    assert(result.kind === "refused");
    assert.equal(result.code, "encryption");
    assert.match(
      (await beta.event("link-refused", "encryption")).text,
      /encryption is "off" on this node and "on" on the other/,
    );
    assert.match(
      (await alpha.event("link-refused", "encryption")).text,
      /encryption is "on" on this node and "off" on the other/,
    );
  });
});

Deno.test("another protocol version is refused by both, each in its own words", async () => {
  await withNode({}, async (alpha, at) => {
    const conn = await connect(at);
    await conn.write(Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 9, 1, 0, 0));
    assert.equal((await readAll(conn)).toHex(), "554e445901010100");
    conn.close();
    assert.match((await alpha.event("link-refused", "version")).text, /speaks protocol version 9/);

    const listener = Deno.listen({ hostname: "127.81.1.2", port: at });
    const serving = (async () => {
      const conn = await listener.accept();
      await conn.read(new Uint8Array(8));
      await conn.write(Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 9, 1, 1, 0));
      await readAll(conn);
      conn.close();
    })();
    const result = await alpha.control.dial("beta", "m", hello);
    listener.close();
    await serving;
    assert(result.kind === "refused");
    assert.equal(result.code, "version");
    const refused = alpha.events.filter((e) => e.kind === "link-refused" && e.side === "dial");
    assert.match(refused[0].text, /version 9, this node version 1/);
  });
});

Deno.test("scanners and garbage are refused at the first byte that does not fit", async () => {
  await withNode({}, async (alpha, at) => {
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00", "U", "UNDX"]) {
      const conn = await connect(at);
      await conn.write(new TextEncoder().encode(bytes));
      if (bytes === "U") await conn.closeWrite();
      assert.equal((await readAll(conn)).length, 0);
      conn.close();
    }
    assert.match(
      (await alpha.event("link-refused", "garbage")).text,
      /127\.0\.0\.1.*something else/,
    );
    assert.deepEqual(alpha.hellos, []);
  });
});

Deno.test("whatever answers on a peer's port and is no agent is named", async () => {
  await withNode({}, async (alpha, at) => {
    const listener = Deno.listen({ hostname: "127.81.1.2", port: at });
    const serving = (async () => {
      const conn = await listener.accept();
      await conn.write(new TextEncoder().encode("SSH-2.0-OpenSSH_9.2\r\n"));
      await readAll(conn);
      conn.close();
    })();
    const result = await alpha.control.dial("beta", "m", hello);
    listener.close();
    await serving;
    assert(result.kind === "refused");
    assert.equal(result.code, "garbage");
    await alpha.event("link-refused", "garbage");
  });
});

Deno.test("garbage after the preamble is refused too", async () => {
  await withNode({}, async (alpha, at) => {
    const conn = await connect(at);
    await conn.write(Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 1, 1, 0, 0));
    await conn.write(new TextEncoder().encode("this is no TLS record at all"));
    await readAll(conn);
    conn.close();
    assert.match(
      (await alpha.event("link-refused", "garbage")).text,
      /does not speak TLS as agreed/,
    );
  });
});

Deno.test("a connection that says nothing is closed at the deadline", async () => {
  await withNode({ deadlineMs: 150 }, async (alpha, at) => {
    const silent = await connect(at);
    const half = await connect(at);
    await half.write(Uint8Array.of(0x55, 0x4e));
    assert.equal((await readAll(silent)).length, 0);
    assert.equal((await readAll(half)).length, 0);
    silent.close();
    half.close();
    await alpha.event("link-refused", "silent");
  });
});

Deno.test("a connection that is closed without a word is no event", async () => {
  await withNode({}, async (alpha, at) => {
    (await connect(at)).close();
    const conn = await connect(at);
    await conn.write(new TextEncoder().encode("X"));
    await readAll(conn);
    conn.close();
    await alpha.event("link-refused", "garbage");
    assert.equal(alpha.events.filter((event) => event.kind === "link-refused").length, 1);
  });
});

/** A wire over Deno's own sockets, for tests that misbehave after the proof. */
function denoWire(conn: Deno.Conn): Wire {
  return {
    async readSome(length) {
      const bytes = new Uint8Array(length);
      const taken = await conn.read(bytes);
      if (taken === null) throw new Error("closed");
      return bytes.slice(0, taken);
    },
    async write(bytes) {
      for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
    },
    handOver: () => ({ fd: -1, ssl: "0" }),
    release: () => conn.close(),
  };
}

const plainContext: HandshakeContext = {
  encryption: "off",
  key: deriveKeys(testSecret).link,
  random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  secure: () => Promise.reject(new Error("not here")),
};

Deno.test("after the proof, an oversized, a changed and a senseless hello are refused", async () => {
  await withNode({ encryption: "off" }, async (alpha, at) => {
    const cases: [string, Uint8Array<ArrayBuffer>][] = [
      ["oversized", Uint8Array.of(0x7f, 0xff, 0xff, 0xff)],
      ["malformed", new Uint8Array(4 + 2 + 32)],
    ];
    cases[1][1].set([0, 0, 0, 2, 0x7b, 0x7d]);
    for (const [code, bytes] of cases) {
      const conn = await connect(at);
      await establish(denoWire(conn), "dial", plainContext);
      await conn.write(bytes);
      await readAll(conn);
      conn.close();
      await alpha.event("link-refused", code);
    }
    assert.deepEqual(alpha.hellos, []);
  });
});

Deno.test("a hello that is too large is not even sent", async () => {
  await withNodes({}, {}, async (_, beta) => {
    const record = { much: "x".repeat(70_000) };
    const result = await beta.control.dial("alpha", "m", { ...hello, record });
    assert(result.kind === "refused");
    assert.equal(result.code, "oversized");
  });
});

Deno.test("a proof that is played back to another connection is refused", async () => {
  await withNode({ encryption: "off" }, async (alpha, at) => {
    const said: Uint8Array[] = [];
    const first = await connect(at);
    const wire = denoWire(first);
    await establish(
      { ...wire, write: (bytes) => (said.push(bytes.slice()), wire.write(bytes)) },
      "dial",
      plainContext,
    );
    first.close();
    const second = await connect(at);
    for (const bytes of said) await second.write(bytes);
    await readAll(second);
    second.close();
    await alpha.event("link-refused", "wrong-secret");
  });
});

Deno.test("many silent connections make room for each other and for a node", async () => {
  await withNodes({ deadlineMs: 5000 }, {}, async (alpha, beta, at) => {
    const before = descriptors();
    const many = await Promise.all(Array.from({ length: 200 }, () => connect(at)));
    await alpha.event("link-refused", "busy");
    await until(() => descriptors() - before - many.length <= 20, "the oldest to be dropped");
    const result = await beta.control.dial("alpha", "m", hello);
    assert(result.kind === "linked", JSON.stringify(result));
    openChannel(libc, result.link).close();
    for (const conn of many) conn.close();
    assert(alpha.events.filter((event) => event.kind === "link-refused").length < 5);
  });
});

Deno.test("the next address is tried where the first one does not answer", async () => {
  const nodes = [{ name: "alpha", addresses: ["127.81.9.9", "127.81.2.1"] }, testNodes[1]];
  await withNodes({}, { nodes }, async (_, beta) => {
    const result = await beta.control.dial("alpha", "m", hello);
    assert(result.kind === "linked", JSON.stringify(result));
    assert.equal(result.link.address, "127.81.2.2");
    openChannel(libc, result.link).close();
    const preferred = await beta.control.dial("alpha", "m", hello, { preferNetwork: 1 });
    assert(preferred.kind === "linked");
    openChannel(libc, preferred.link).close();
  });
});

Deno.test("a peer without an agent refuses, one that accepts and says nothing is silent", async () => {
  await withNode({}, async (alpha, at) => {
    const refused = await alpha.control.dial("beta", "m", hello);
    assert(refused.kind === "refused" && refused.code === "connection-refused");
    assert.equal(await alpha.control.probe("beta"), "refused");

    const listener = Deno.listen({ hostname: "127.81.1.2", port: at });
    assert.equal(await alpha.control.probe("beta"), "open");
    const silent = await alpha.control.dial("beta", "m", hello, { deadlineMs: 300 });
    assert(silent.kind === "refused" && silent.code !== "unreachable");
    listener.close();
    assert.equal(await alpha.control.probe("nobody"), "silent");
  });
});

Deno.test("an attempt can be given up", async () => {
  await withNode({}, async (alpha, at) => {
    const listener = Deno.listen({ hostname: "127.81.1.2", port: at });
    const controller = new AbortController();
    const dialling = alpha.control.dial("beta", "m", hello, { signal: controller.signal });
    const conn = await listener.accept();
    controller.abort();
    const result = await dialling;
    assert(result.kind === "refused" && result.code === "local");
    conn.close();
    listener.close();
  });
});

Deno.test("an agent that fails in its answer refuses, and nothing is left open", async () => {
  const onHello = () => {
    throw new Error("bug");
  };
  const onLink = () => {
    throw new Error("bug");
  };
  const before = descriptors();
  await withNodes({ onHello }, { onLink }, async (alpha, beta) => {
    const result = await beta.control.dial("alpha", "m", hello);
    assert(result.kind === "refused" && result.code === "closed", JSON.stringify(result));
    await alpha.event("link-refused", "local");
    const other = await alpha.control.dial("beta", "m", hello);
    assert(other.kind === "linked");
    await beta.event("link-refused", "local");
    openChannel(libc, other.link).close();
  });
  assert.equal(descriptors(), before);
});

Deno.test("an agent whose view or event fails is still heard, and hears", async () => {
  const errors: string[] = [];
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.message);
  };
  globalThis.addEventListener("error", onError);
  let broken = false;
  const view = () => {
    if (broken) throw new Error("a mistake in a view");
    return [];
  };
  await withNodes({ view }, {}, async (alpha, beta) => {
    await beta.event("peer-up");
    broken = true;
    await until(() => errors.length > 3, "mistakes");
    broken = false;
    const peer = () => beta.control.peers()[0];
    await until(() => peer().viewMs! < 100 && peer().networks.every(({ up }) => up), "heartbeats");
    assert(alpha.control.peers()[0].up);
  });
  globalThis.removeEventListener("error", onError);
  assert.match(errors[0], /a mistake in a view/);
});

Deno.test("a closed control has ended its attempts, its connections and its descriptors", async () => {
  const before = descriptors();
  const at = port++;
  const alpha = startNode(libc, "alpha", at);
  const listener = Deno.listen({ hostname: "127.81.1.2", port: at });
  const conn = await connect(at);
  const dialling = alpha.control.dial("beta", "m", hello);
  await listener.accept().then((each) => each.close());
  await alpha.close();
  await alpha.close();
  const result = await dialling;
  assert(result.kind === "refused");
  alpha.control.announce();
  conn.close();
  listener.close();
  assert.equal(descriptors(), before);
  assert.equal(alpha.events.length, 0, JSON.stringify(alpha.events));
});

Deno.test("heartbeats can be sent out of turn", async () => {
  let generation = 1;
  const slow = { interval: 60_000, timeout: 120_000 };
  const view = () => [{
    name: "m",
    state: "PRIM" as const,
    ready: true,
    sync: "synced",
    generation,
    id: "",
    digest: "",
    appliedSeq: 0,
    outdated: false,
  }];
  await withNodes({ heartbeat: slow, view }, { heartbeat: slow }, async (alpha, beta) => {
    await beta.event("peer-up");
    generation = 2;
    alpha.control.announce();
    await until(() => beta.views.at(-1)?.modules[0].generation === 2, "the new view");
    assert.equal(beta.control.peer("alpha")?.view?.modules[0].generation, 2);
  });
});

Deno.test("what cannot work is refused at the start, with what to change", () => {
  const start = (options: Partial<ControlOptions>): Control =>
    createControl({
      libc,
      node: "alpha",
      nodes: testNodes,
      port: port++,
      encryption: "off",
      secret: testSecret,
      heartbeat: { interval: 50, timeout: 500 },
      view: () => [],
      onEvent: () => {},
      onView: () => {},
      onHello: () => ({ accept: true, record: {} }),
      onLink: () => {},
      ...options,
    });
  assert.throws(() => start({ node: "omega" }), /omega is not in the configuration: add it/);
  assert.throws(
    () => start({ nodes: [testNodes[0], { name: "beta", addresses: ["::1"] }] }),
    /Network 1 joins 127\.81\.1\.1 of alpha and ::1 of beta: both/,
  );
  assert.throws(
    () => start({ nodes: [testNodes[0], { name: "beta", addresses: ["beta.example"] }] }),
    /"beta\.example" is no IP address/,
  );
});

Deno.test("a port that is in use is refused, and nothing is left open", async () => {
  await withNode({}, async (_, at) => {
    const before = descriptors();
    assert.throws(() => startNode(libc, "alpha", at), /bind 127\.81\.1\.1:\d+: EADDRINUSE/);
    await until(() => descriptors() === before, "descriptors to be closed");
  });
});
