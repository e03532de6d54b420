import assert from "node:assert/strict";
import { createMac } from "./mac.ts";
import { decodePacket, encodePacket, type HeartbeatPacket, maxPacketBytes } from "./packet.ts";
import { maxViewBytes } from "./view.ts";

const key = createMac(new Uint8Array(32).fill(7));
const packet: HeartbeatPacket = {
  network: 1,
  node: "alpha",
  instance: "01".repeat(16),
  challenge: "02".repeat(16),
  response: "03".repeat(16),
  sequence: 2 ** 40,
  round: 99,
  sentAt: 1234.5678,
  echo: 1200.25,
  heldMs: 12.5,
  heard: 0x80000001,
  view: new TextEncoder().encode('{"node":"alpha"}'),
};

Deno.test("a packet arrives as it was sent", () => {
  assert.deepEqual(decodePacket(encodePacket(packet, key), key), packet);
  const bare = { ...packet, view: undefined };
  assert.deepEqual(decodePacket(encodePacket(bare, key), key), bare);
});

Deno.test("a packet is read wherever it lies in a larger buffer", () => {
  const bytes = encodePacket(packet, key);
  const larger = new Uint8Array(bytes.length + 100);
  larger.set(bytes, 33);
  assert.deepEqual(decodePacket(larger.subarray(33, 33 + bytes.length), key), packet);
});

Deno.test("the largest packet is as large as announced", () => {
  const largest = { ...packet, node: "n".repeat(64), view: new Uint8Array(maxViewBytes) };
  assert.equal(encodePacket(largest, key).length, maxPacketBytes);
  assert.throws(() => encodePacket({ ...largest, view: new Uint8Array(maxViewBytes + 1) }, key));
});

Deno.test("no single flipped bit and no shortened packet is believed", () => {
  const bytes = encodePacket(packet, key);
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      bytes[i] ^= 1 << bit;
      assert.equal(typeof decodePacket(bytes, key), "string", `byte ${i} bit ${bit}`);
      bytes[i] ^= 1 << bit;
    }
    assert.equal(typeof decodePacket(bytes.subarray(0, i), key), "string", `${i} bytes`);
  }
});

Deno.test("why a packet is refused is told apart", () => {
  const bytes = encodePacket(packet, key);
  assert.equal(decodePacket(bytes, createMac(new Uint8Array(32))), "wrong-secret");
  assert.equal(decodePacket(bytes.with(4, 2), key), "version");
  assert.equal(decodePacket(Uint8Array.of(0x55, 0x4e, 0x44, 0x59, 2), key), "version");
  assert.equal(decodePacket(bytes.with(0, 0), key), "garbage");
  assert.equal(decodePacket(new Uint8Array(0), key), "garbage");
  assert.equal(decodePacket(encodePacket({ ...packet, echo: NaN }, key), key), "malformed");
  assert.equal(decodePacket(encodePacket({ ...packet, heldMs: -1 }, key), key), "malformed");
});
