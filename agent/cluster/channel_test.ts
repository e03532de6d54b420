import assert from "node:assert/strict";
import { POLLIN, POLLOUT } from "../platform/linux/constants.ts";
import { allocate, openLibc } from "../platform/linux/libc.ts";
import { type Channel, openChannel } from "./channel.ts";
import { connectPair, descriptors, pollOne } from "./testing.ts";

const libc = openLibc();
let port = 29720;

async function pair(encryption: "on" | "off", recordsPerKey?: number): Promise<Channel[]> {
  const links = await connectPair(libc, port++, encryption);
  const tuning = recordsPerKey === undefined ? {} : { recordsPerKey };
  return links.map((link) => openChannel(libc, link, tuning));
}

/** Bytes that depend on their position, so that nothing can be lost, doubled or swapped unseen. */
function pattern(from: number, bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) {
    const n = from + i;
    bytes[i] = (n ^ (n >>> 8) ^ (n >>> 16)) & 0xff;
  }
}

/** Sends `total` bytes from one channel to the other in pieces of `sizes`, and checks each byte. */
function transfer(from: Channel, to: Channel, total: number, sizes: number[]): void {
  const out = allocate(1 << 20);
  const into = allocate(1 << 20);
  const expected = new Uint8Array(1 << 20);
  let [made, sent, read, turn] = [0, 0, 0, 0];
  while (read < total) {
    let moved = 0;
    if (sent === made && made < total) {
      const size = Math.min(sizes[turn++ % sizes.length], total - made);
      pattern(made, out.bytes.subarray(0, size));
      sent = made;
      made += size;
    }
    if (sent < made) {
      // The piece begins at the start of the buffer, and what is left of it at its end.
      const piece = made - sent;
      const taken = from.send(out.address, piece);
      assert(taken >= 0, from.reason());
      if (taken > 0 && taken < piece) out.bytes.copyWithin(0, taken, piece);
      sent += taken;
      moved += taken;
    } else if (from.wants() !== 0) from.flush();
    for (;;) {
      const taken = to.receive(into.address, Math.max(1000, sizes[turn % sizes.length]));
      assert(taken >= 0, to.reason());
      if (taken === 0) break;
      pattern(read, expected.subarray(0, taken));
      const got = into.bytes.subarray(0, taken);
      assert(got.every((byte, i) => byte === expected[i]), `bytes from ${read} differ`);
      read += taken;
      moved += taken;
    }
    if (moved === 0) pollOne(libc, to.fd, POLLIN, 1000);
  }
}

const odd = [1, 80, 8272, 16384, 16385, 100_000, 1 << 20, 7];

for (const encryption of ["off", "on"] as const) {
  const name = encryption === "on" ? "TLS" : "plain";

  Deno.test(`${name}: every byte arrives once and in order, both ways, in pieces of any size`, async () => {
    const [a, b] = await pair(encryption);
    transfer(a, b, 10_000_000, odd);
    transfer(b, a, 10_000_000, odd);
    a.close();
    b.close();
  });

  Deno.test(`${name}: a full connection takes no more, and goes on when it is read`, async () => {
    const [a, b] = await pair(encryption);
    const out = allocate(1 << 20);
    const into = allocate(1 << 20);
    pattern(0, out.bytes);
    let sent = 0;
    for (let refused = 0; refused < 3;) {
      const offset = sent % 65536;
      const taken = a.send(out.address + offset, 65536 - offset);
      assert(taken >= 0);
      sent += taken;
      if (taken === 0 && pollOne(libc, a.fd, POLLOUT, 50) === 0) refused++;
    }
    assert(sent > 100_000);
    let read = 0;
    while (read < sent) {
      const taken = b.receive(into.address, 1 << 20);
      assert(taken >= 0, b.reason());
      for (let i = 0; i < taken; i += 997) {
        assert.equal(into.bytes[i], out.bytes[(read + i) % 65536]);
      }
      read += taken;
      if (taken === 0) {
        a.flush();
        pollOne(libc, b.fd, POLLIN, 1000);
      }
    }
    assert.equal(read, sent);
    assert(a.flush());
    assert.equal(a.wants(), 0);
    a.close();
    b.close();
  });

  Deno.test(`${name}: bytes that wait inside the channel are announced by pending`, async () => {
    const [a, b] = await pair(encryption);
    const memory = allocate(1 << 20);
    assert.equal(a.send(memory.address, 100_000), 100_000);
    let read = 0;
    while (read < 100_000) {
      if (!b.pending()) assert.equal(pollOne(libc, b.fd, POLLIN, 1000), 1, `${read} bytes read`);
      const taken = b.receive(memory.address, 1000);
      assert(taken >= 0);
      read += taken;
    }
    assert.equal(b.receive(memory.address, 1000), 0);
    assert(!b.pending());
    a.close();
    b.close();
  });

  Deno.test(`${name}: bytes sent before the other end was opened are there when it is`, async () => {
    const [accepted, dialled] = await connectPair(libc, port++, encryption);
    const a = openChannel(libc, accepted);
    const memory = allocate(65536);
    assert.equal(a.send(memory.address, 30_000), 30_000);
    const b = openChannel(libc, dialled);
    let read = 0;
    while (read < 30_000) {
      if (!b.pending()) assert.equal(pollOne(libc, b.fd, POLLIN, 1000), 1);
      const taken = b.receive(memory.address, 65536);
      assert(taken >= 0, b.reason());
      read += taken;
    }
    a.close();
    b.close();
  });

  Deno.test(`${name}: a closed connection says so after its last byte`, async () => {
    const [a, b] = await pair(encryption);
    const memory = allocate(1 << 16);
    assert.equal(a.send(memory.address, 5000), 5000);
    a.close();
    a.close();
    assert.equal(pollOne(libc, b.fd, POLLIN, 1000), 1);
    let read = 0;
    let result = 0;
    while ((result = b.receive(memory.address, 1 << 16)) >= 0) read += result;
    assert.equal(read, 5000);
    assert.equal(b.reason(), "The peer closed the connection");
    b.close();
  });

  Deno.test(`${name}: sending to a peer that is gone fails with a reason`, async () => {
    const [a, b] = await pair(encryption);
    const memory = allocate(1 << 16);
    a.close();
    let result = 0;
    for (let i = 0; i < 1000 && result >= 0; i++) result = b.send(memory.address, 1 << 16);
    assert.equal(result, -1);
    assert.match(b.reason(), /The peer reset the connection/);
    b.close();
  });
}

Deno.test("TLS: keys are changed on the way, again and again", async () => {
  const [a, b] = await pair("on", 3);
  transfer(a, b, 5_000_000, odd);
  transfer(b, a, 5_000_000, odd);
  a.close();
  b.close();
});

Deno.test("TLS: bytes kept back with `more` leave with those that follow", async () => {
  const [a, b] = await pair("on");
  const memory = allocate(1 << 16);
  assert.equal(a.send(memory.address, 80, true), 80);
  assert.equal(pollOne(libc, b.fd, POLLIN, 20), 0);
  assert.equal(a.send(memory.address, 8192), 8192);
  let read = 0;
  while (read < 8272) {
    pollOne(libc, b.fd, POLLIN, 1000);
    read += b.receive(memory.address, 1 << 16);
  }
  a.close();
  b.close();
});

Deno.test("TLS: bytes changed on the way break the connection with a reason", async () => {
  const [a, b] = await pair("on");
  const memory = allocate(256);
  memory.bytes.fill(0x17);
  // Past TLS, straight into the socket.
  assert.equal(libc.sys.send(a.fd, memory.address, 100, 0), 100);
  pollOne(libc, b.fd, POLLIN, 1000);
  assert.equal(b.receive(memory.address, 100), -1);
  assert.match(b.reason(), /The encrypted connection failed: \S/);
  assert.equal(b.receive(memory.address, 100), -1);
  assert.equal(b.send(memory.address, 100), -1);
  a.close();
  b.close();
});

Deno.test("channels leave no descriptor behind", async () => {
  await pair("on").then((channels) => channels.forEach((channel) => channel.close()));
  const before = descriptors();
  for (const encryption of ["on", "off"] as const) {
    for (let i = 0; i < 5; i++) {
      for (const channel of await pair(encryption)) channel.close();
    }
  }
  assert.equal(descriptors(), before);
});
