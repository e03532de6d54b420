import assert from "node:assert/strict";
import { parseAddress } from "../ip.ts";
import { arpClaimant, arpProbe, decodeArp, encodeArp, gratuitousArp } from "./arp.ts";

const ours = Uint8Array.of(2, 0, 0, 0, 0, 1);
const theirs = Uint8Array.of(2, 0, 0, 0, 0, 2);
const vip = parseAddress("10.77.0.100")!;
const other = parseAddress("10.77.0.7")!;
const nobody = new Uint8Array(6);
const hex = (data: Uint8Array) => Array.from(data, (b) => b.toString(16).padStart(2, "0")).join("");

Deno.test("arp: an announcement goes out as a request and as a reply", () => {
  assert.deepEqual(gratuitousArp(ours, vip).map(hex), [
    "0001080006040001" + "020000000001" + "0a4d0064" + "000000000000" + "0a4d0064",
    "0001080006040002" + "020000000001" + "0a4d0064" + "ffffffffffff" + "0a4d0064",
  ]);
});

Deno.test("arp: a probe claims nothing", () => {
  assert.equal(
    hex(arpProbe(ours, vip)),
    "0001080006040001" + "020000000001" + "00000000" + "000000000000" + "0a4d0064",
  );
});

Deno.test("arp: what is written is read, anything else is not", () => {
  const packet = {
    operation: 2,
    senderMac: theirs,
    senderAddress: vip,
    targetMac: ours,
    targetAddress: other,
  };
  const bytes = encodeArp(packet);
  assert.deepEqual(decodeArp(bytes), packet);
  assert.deepEqual(decodeArp(Uint8Array.of(...bytes, 0, 0, 0)), packet); // padding of short frames
  assert.equal(decodeArp(bytes.subarray(0, 27)), undefined);
  for (const at of [0, 1, 2, 4, 5]) {
    assert.equal(decodeArp(bytes.with(at, bytes[at] + 1)), undefined, `byte ${at}`);
  }
});

Deno.test("arp: users of the address and others that probe for it claim it, nobody else", () => {
  const claimant = (fields: Partial<Parameters<typeof encodeArp>[0]>) =>
    arpClaimant(
      encodeArp({
        operation: 1,
        senderMac: theirs,
        senderAddress: other,
        targetMac: nobody,
        targetAddress: other,
        ...fields,
      }),
      vip,
      ours,
    );
  const zero = new Uint8Array(4);
  assert.deepEqual(claimant({ operation: 2, senderAddress: vip }), theirs);
  assert.deepEqual(claimant({ operation: 1, senderAddress: vip }), theirs);
  assert.deepEqual(claimant({ senderAddress: zero, targetAddress: vip }), theirs);
  assert.equal(claimant({ operation: 2, senderAddress: vip, senderMac: ours }), undefined);
  assert.equal(claimant({ targetAddress: vip }), undefined, "someone asks for it");
  assert.equal(claimant({ operation: 2, senderAddress: other }), undefined);
  assert.equal(arpClaimant(new Uint8Array(10), vip, ours), undefined);
});
