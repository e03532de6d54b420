import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createMac } from "./mac.ts";

Deno.test("the written-out HMAC is the library's", () => {
  for (const keyLength of [0, 1, 32, 63, 64]) {
    const key = crypto.getRandomValues(new Uint8Array(keyLength));
    const mac = createMac(key);
    for (const length of [0, 1, 55, 56, 64, 119, 700, 8192]) {
      const bytes = crypto.getRandomValues(new Uint8Array(length));
      const expected = new Uint8Array(createHmac("sha256", key).update(bytes).digest());
      assert.deepEqual(new Uint8Array(mac.tag(bytes)), expected, `${keyLength} ${length}`);
      assert(mac.verify(bytes, expected));
      assert(!mac.verify(bytes, expected.with(31, expected[31] ^ 1)));
    }
  }
});

Deno.test("RFC 4231, test case 2", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  assert.equal(
    new Uint8Array(createMac(text("Jefe")).tag(text("what do ya want for nothing?"))).toHex(),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
});

Deno.test("a key longer than a block is refused", () => {
  assert.throws(() => createMac(new Uint8Array(65)), RangeError);
});
