import assert from "node:assert/strict";
import fc from "fast-check";
import {
  contains,
  formatAddress,
  formatMac,
  formatNetwork,
  parseAddress,
  parseNetwork,
  sameAddress,
} from "./ip.ts";

Deno.test("ip: addresses are read and written in their usual form", () => {
  for (
    const [text, usual] of [
      ["10.77.0.100", "10.77.0.100"],
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["FE80:0:0:0:0:0:0:1", "fe80::1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["::ffff:10.0.0.1", "::ffff:a00:1"],
      ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ]
  ) assert.equal(formatAddress(parseAddress(text)!), usual, text);
});

Deno.test("ip: what is no address is refused", () => {
  for (
    const text of [
      "",
      "10.0.0",
      "10.0.0.256",
      "10.0.0.01",
      "10.0.0.1.2",
      "10.0.0.1 ",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "fe80::1%eth0",
      "12345::",
      "g::",
      "::1.2.3",
      "1.2.3.4::",
    ]
  ) assert.equal(parseAddress(text), undefined, text);
});

Deno.test("ip: every address survives being written and read", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4, 16).chain((size) =>
        fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), {
          minLength: size,
          maxLength: size,
        })
      ),
      (bytes) => {
        const address = Uint8Array.from(bytes);
        assert.ok(sameAddress(parseAddress(formatAddress(address))!, address));
      },
    ),
  );
});

Deno.test("ip: networks carry a prefix within their length", () => {
  assert.equal(formatNetwork(parseNetwork("10.77.0.100/24")!), "10.77.0.100/24");
  assert.equal(formatNetwork(parseNetwork("10.77.0.100")!), "10.77.0.100/32");
  assert.equal(formatNetwork(parseNetwork("fd00::1")!), "fd00::1/128");
  for (const text of ["10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/024", "::/129", "/8"]) {
    assert.equal(parseNetwork(text), undefined, text);
  }
});

Deno.test("ip: a network contains the addresses that share its prefix", () => {
  const within = (network: string, address: string) =>
    contains(parseNetwork(network)!, parseAddress(address)!);
  assert.ok(within("10.77.0.1/24", "10.77.0.200"));
  assert.ok(!within("10.77.0.1/24", "10.77.1.200"));
  assert.ok(within("10.77.0.1/23", "10.77.1.200"));
  assert.ok(within("0.0.0.0/0", "255.1.2.3"));
  assert.ok(!within("10.77.0.1/32", "10.77.0.2"));
  assert.ok(within("fd00:1::/63", "fd00:1:0:1::5"));
  assert.ok(!within("fd00:1::/64", "fd00:1:0:1::5"));
  assert.ok(!within("::/0", "10.0.0.1"));
});

Deno.test("ip: hardware addresses are written with colons", () => {
  assert.equal(formatMac(Uint8Array.of(2, 0, 0x5e, 16, 0, 255)), "02:00:5e:10:00:ff");
});
