import assert from "node:assert/strict";
import { cutRuntime, executableTarget, targets } from "./denort.ts";

/** An ELF header whose section table ends at `end`, followed by a payload and deno compile's trailer. */
function compiled(end: number, payload: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(end + payload + 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x464c457f, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(40, BigInt(end - 2 * 64), true);
  view.setUint16(58, 64, true);
  view.setUint16(60, 2, true);
  view.setUint32(bytes.length - 16, 0x501e, true);
  view.setBigUint64(bytes.length - 8, BigInt(payload + 16), true);
  return bytes;
}

Deno.test("the runtime is what stands before the payload", () => {
  assert.equal(cutRuntime(compiled(1000, 77)).length, 1000);
});

Deno.test("a program of another shape is refused", () => {
  assert.throws(() => cutRuntime(new Uint8Array(100)), /does not end in the trailer/);
  const shifted = compiled(1000, 77);
  new DataView(shifted.buffer).setBigUint64(40, 5n, true);
  assert.throws(() => cutRuntime(shifted), /begins at 1000, but the ELF file ends at 133/);
});

Deno.test("an executable tells its target by its first bytes", () => {
  const head = (...words: number[]) => {
    const bytes = new Uint8Array(20);
    words.forEach((word, i) => new DataView(bytes.buffer).setUint32(i * 4, word, true));
    return bytes;
  };
  assert.equal(executableTarget(compiled(1000, 1)), "linux-x64");
  assert.equal(executableTarget(head(0x464c457f, 0, 0, 0, 183 << 16)), "linux-arm64");
  assert.equal(executableTarget(head(0x464c457f, 0, 0, 0, 8 << 16)), undefined);
  assert.equal(executableTarget(head(0xfeedfacf, 0x0100000c)), "macos-arm64");
  assert.equal(executableTarget(head(0xfeedfacf, 0x01000007)), "macos-x64");
  assert.equal(executableTarget(head(0x00905a4d)), "windows-x64");
  assert.equal(executableTarget(new TextEncoder().encode("#!/bin/sh\nexec true\n\n")), undefined);
});

Deno.test("every target has a name and a file of its own", () => {
  for (const key of ["name", "triple", "output"] as const) {
    assert.equal(new Set(targets.map((t) => t[key])).size, targets.length);
  }
});
