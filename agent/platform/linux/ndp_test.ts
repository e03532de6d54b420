import assert from "node:assert/strict";
import { parseAddress } from "../ip.ts";
import {
  checksum,
  claimsAddress,
  duplicateProbe,
  multicastMac,
  neighbourFilter,
  solicitedNode,
  unsolicitedAdvertisement,
} from "./ndp.ts";

const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const vip = parseAddress("fd00:77::1:2:364")!;
const hex = (data: Uint8Array) => Array.from(data, (b) => b.toString(16).padStart(2, "0")).join("");

/** Runs classic BPF as the kernel would; returns what the program returns. */
function runFilter(program: Uint8Array, packet: Uint8Array): number {
  const view = new DataView(program.buffer);
  for (let pc = 0, a = 0;; pc++) {
    const k = view.getUint32(8 * pc + 4, true);
    switch (view.getUint16(8 * pc, true)) {
      case 0x30:
        if (k >= packet.length) return 0;
        a = packet[k];
        break;
      case 0x15:
        pc += a === k ? program[8 * pc + 2] : program[8 * pc + 3];
        break;
      case 0x06:
        return k;
      default:
        assert.fail("unknown instruction");
    }
  }
}

Deno.test("ndp: multicast addresses follow from the address", () => {
  assert.equal(hex(solicitedNode(vip)), "ff0200000000000000000001ff020364");
  assert.equal(hex(multicastMac(solicitedNode(vip))), "3333ff020364");
});

Deno.test("ndp: an advertisement goes to all nodes, from and about the address", () => {
  const { packet, mac: to } = unsolicitedAdvertisement(mac, vip, false);
  assert.equal(hex(to), "333300000001");
  assert.equal(hex(packet.subarray(0, 8)), "6000000000203aff");
  assert.equal(hex(packet.subarray(8, 24)), hex(vip));
  assert.equal(hex(packet.subarray(24, 40)), "ff020000000000000000000000000001");
  assert.equal(packet[40], 136);
  assert.equal(packet[44], 0x20, "override");
  assert.equal(hex(packet.subarray(48, 64)), hex(vip));
  assert.equal(hex(packet.subarray(64)), "0201020000000001");
  assert.equal(unsolicitedAdvertisement(mac, vip, true).packet[44], 0xa0, "router, override");
});

Deno.test("ndp: a probe comes from nobody and goes to whoever has the address", () => {
  const { packet, mac: to } = duplicateProbe(vip);
  assert.equal(hex(to), "3333ff020364");
  assert.equal(hex(packet.subarray(8, 24)), "00".repeat(16));
  assert.equal(hex(packet.subarray(24, 40)), "ff0200000000000000000001ff020364");
  assert.equal(packet[40], 135);
  assert.equal(packet.length, 64, "no option: the source is unspecified");
});

Deno.test("ndp: checksums add up to nothing", () => {
  for (const { packet } of [duplicateProbe(vip), unsolicitedAdvertisement(mac, vip, true)]) {
    assert.notEqual(new DataView(packet.buffer).getUint16(42), 0);
    assert.equal(checksum(packet), 0);
  }
});

Deno.test("ndp: advertisements and others' probes claim the address, nothing else does", () => {
  const advertisement = unsolicitedAdvertisement(mac, vip, false).packet;
  const probe = duplicateProbe(vip).packet;
  assert.ok(claimsAddress(advertisement, vip));
  assert.ok(claimsAddress(probe, vip));
  const other = parseAddress("fd00:77::2")!;
  assert.ok(!claimsAddress(advertisement, other));
  assert.ok(!claimsAddress(advertisement.with(7, 64), vip), "came through a router");
  assert.ok(!claimsAddress(probe.with(23, 1), vip), "someone resolves the address");
  assert.ok(!claimsAddress(advertisement.with(6, 17), vip), "not ICMPv6");
  assert.ok(!claimsAddress(advertisement.subarray(0, 60), vip));
});

Deno.test("ndp: the filter lets through solicitations and advertisements only", () => {
  const filter = neighbourFilter();
  const { packet } = duplicateProbe(vip);
  assert.ok(runFilter(filter, packet) > 0);
  assert.ok(runFilter(filter, unsolicitedAdvertisement(mac, vip, false).packet) > 0);
  assert.equal(runFilter(filter, packet.with(40, 134)), 0);
  assert.equal(runFilter(filter, packet.with(40, 137)), 0);
  assert.equal(runFilter(filter, packet.with(6, 6)), 0);
  assert.equal(runFilter(filter, new Uint8Array(3)), 0);
});
