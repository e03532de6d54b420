import assert from "node:assert/strict";
import fc from "fast-check";
import {
  address,
  addressBits,
  canonicalAddress,
  host,
  hostPort,
  joinHostPort,
  splitHostPort,
  virtualAddress,
} from "./addresses.ts";

Deno.test("every spelling of an address has one canonical form", () => {
  for (const spelling of ["FD00::1", "fd00:0:0:0:0:0:0:1", "fd00::0001", "fd00:0::0:1"]) {
    assert.deepEqual(address.read(spelling), { value: "fd00::1" });
    assert.deepEqual(virtualAddress.read(`${spelling}/64`), { value: "fd00::1/64" });
    assert.deepEqual(hostPort("[::1]:1").read(`[${spelling}]:9701`), { value: "[fd00::1]:9701" });
  }
});

Deno.test("an address and its bits say the same", () => {
  assert.equal(addressBits("10.77.0.1"), 0x0a4d0001n);
  assert.equal(addressBits("::"), 0n);
  assert.equal(addressBits("::ffff:1.2.3.4"), 0xffff01020304n);
  fc.assert(fc.property(fc.ipV6(), (text) => {
    const bits = addressBits(text);
    const groups = Array.from({ length: 8 }, (_, i) => (bits >> BigInt(112 - 16 * i)) & 0xffffn);
    const plain = groups.map((g) => g.toString(16)).join(":");
    assert.equal(canonicalAddress(plain), canonicalAddress(text));
  }));
});

Deno.test("host:port survives being taken apart and put together", () => {
  for (const text of ["127.0.0.1:9010", "[fd00::1]:1", "node-1.example:65535"]) {
    assert.equal(joinHostPort(splitHostPort(text)), text);
    assert.deepEqual(hostPort("a:1").read(text), { value: text });
  }
});

Deno.test("the edges of a network that can be given to a host are accepted", () => {
  for (const text of ["10.0.0.1/24", "10.0.0.0/31", "10.0.0.255/31", "10.0.0.1/32", "fd00::/127"]) {
    assert.deepEqual(virtualAddress.read(text), { value: text });
  }
  for (const text of ["10.0.0.0/30", "10.0.0.3/30", "fd00::/64", "10.0.0.1/0", "10.0.0.1/+8"]) {
    assert.ok("hint" in virtualAddress.read(text), text);
  }
});

Deno.test("a host is an address or a name", () => {
  for (const text of ["10.0.0.1", "fd00::1", "router", "router.example.org"]) {
    assert.deepEqual(host.read(text), { value: text });
  }
  for (const text of ["", "a b", "10.0.0.1:80", "1.2.3", "-a", "a..b", 5]) {
    assert.ok("hint" in host.read(text), String(text));
  }
});

Deno.test("no value makes a kind throw", () => {
  const any = fc.oneof(fc.string({ unit: "binary" }), fc.ipV6(), fc.ipV4Extended(), fc.anything());
  fc.assert(fc.property(any, (value) => {
    for (const kind of [address, host, hostPort("a:1"), virtualAddress]) kind.read(value);
  }));
});
