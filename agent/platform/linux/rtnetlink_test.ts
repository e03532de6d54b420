import assert from "node:assert/strict";
import fc from "fast-check";
import { parseNetwork } from "../ip.ts";
import {
  broadcastOf,
  decodeReplies,
  encodeAddAddress,
  encodeGetAddresses,
  encodeGetLinks,
  encodeRemoveAddress,
} from "./rtnetlink.ts";

const bytes = (hex: string) =>
  Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (b) => parseInt(b, 16));
const hex = (data: Uint8Array) => Array.from(data, (b) => b.toString(16).padStart(2, "0")).join("");

Deno.test("rtnetlink: lists are asked for", () => {
  assert.equal(hex(encodeGetLinks(7)), "20000000120001030700000000000000" + "00".repeat(16));
  assert.equal(hex(encodeGetAddresses(7)), "18000000160001030700000000000000" + "00".repeat(8));
});

Deno.test("rtnetlink: an IPv4 address is added with its broadcast address, and must not exist", () => {
  assert.equal(
    hex(encodeAddAddress(1, parseNetwork("10.77.0.100/24")!, 3)),
    "30000000" + "1400" + "0506" + "01000000" + "00000000" + // RTM_NEWADDR, request|ack|create|excl
      "02180000" + "03000000" +
      "08000200" + "0a4d0064" + "08000100" + "0a4d0064" + "08000400" + "0a4d00ff",
  );
});

Deno.test("rtnetlink: an IPv6 address is added without detection and as deprecated", () => {
  const message = hex(encodeAddAddress(1, parseNetwork("fd00::1/64")!, 2));
  assert.ok(message.endsWith(
    "08000800" + "02000000" + "14000600" + "00000000" + "ffffffff" + "00000000" + "00000000",
  ));
});

Deno.test("rtnetlink: an address is removed by itself, its prefix and its interface", () => {
  assert.equal(
    hex(encodeRemoveAddress(9, parseNetwork("10.0.0.1/8")!, 1)),
    "28000000" + "1500" + "0500" + "09000000" + "00000000" + "02080000" + "01000000" +
      "080002000a000001" + "080001000a000001",
  );
});

Deno.test("rtnetlink: broadcast addresses are those of networks that have one", () => {
  const broadcast = (text: string) => broadcastOf(parseNetwork(text)!)?.join(".");
  assert.equal(broadcast("10.77.0.100/24"), "10.77.0.255");
  assert.equal(broadcast("10.77.1.100/23"), "10.77.1.255");
  assert.equal(broadcast("10.77.0.1/30"), "10.77.0.3");
  assert.equal(broadcast("10.0.0.1/0"), "255.255.255.255");
  assert.equal(broadcast("10.77.0.1/31"), undefined);
  assert.equal(broadcast("fd00::1/64"), undefined);
});

Deno.test("rtnetlink: links, addresses, results and ends are read", () => {
  const link = "34000000" + "1000" + "0200" + "05000000" + "00000000" +
    "00000100" + "02000000" + "43100100" + "00000000" + // Ethernet, index 2, UP LOWER_UP
    "09000300" + "6574683000" + "000000" + // eth0
    "08000400" + "dc050000"; // MTU 1500
  const address = "28000000" + "1400" + "0200" + "05000000" + "00000000" +
    "02188000" + "02000000" + "08000100" + "0a4d0001" + "08000200" + "0a4d0002";
  const done = "14000000" + "0300" + "1200" + "05000000" + "00000000" + "00000000";
  assert.deepEqual(decodeReplies(bytes(link + address + done)), [
    {
      kind: "link",
      seq: 5,
      link: { index: 2, name: "eth0", mac: new Uint8Array(), type: 1, flags: 0x11043, mtu: 1500 },
    },
    {
      kind: "address",
      seq: 5,
      address: { family: 4, bytes: bytes("0a4d0002"), prefix: 24, index: 2, flags: 0x80 },
    },
    { kind: "done", seq: 5, interrupted: true },
  ]);
  const refused = "24000000" + "0200" + "0000" + "06000000" + "00000000" + "efffffff" +
    "00".repeat(16);
  assert.deepEqual(decodeReplies(bytes(refused)), [{ kind: "result", seq: 6, errno: 17 }]);
});

Deno.test("rtnetlink: no datagram breaks the reader", () => {
  const types = fc.constantFrom(2, 3, 16, 20, 99);
  fc.assert(
    fc.property(types, fc.uint8Array({ maxLength: 120 }), fc.nat(160), (type, body, length) => {
      const datagram = new Uint8Array(16 + body.length);
      const view = new DataView(datagram.buffer);
      view.setUint32(0, length, true);
      view.setUint16(4, type, true);
      datagram.set(body, 16);
      assert.ok(decodeReplies(datagram).length <= 12);
    }),
    { numRuns: 2000 },
  );
});
