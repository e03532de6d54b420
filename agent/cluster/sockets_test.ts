import assert from "node:assert/strict";
import { allocate, openLibc } from "../platform/linux/libc.ts";
import {
  createSockets,
  endpoint,
  parseAddress,
  readSockaddr,
  sockaddrIs,
  writeSockaddr,
} from "./sockets.ts";

const libc = openLibc();

Deno.test("addresses pass through the kernel's form and come out in one spelling", () => {
  const memory = allocate(64);
  const spellings: [string, string][] = [
    ["10.77.0.1", "10.77.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["fd00::1", "fd00::1"],
    ["FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["::1", "::1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"],
    ["2001:db8::", "2001:db8::"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ];
  for (const [written, canonical] of spellings) {
    const address = parseAddress(written);
    assert.equal(writeSockaddr(memory, 4, address, 9700), address.family === 4 ? 16 : 28);
    assert.equal(readSockaddr(memory, 4), canonical);
    assert(sockaddrIs(memory, 4, address));
    assert(!sockaddrIs(memory, 4, parseAddress("10.77.0.2")));
    assert(!sockaddrIs(memory, 4, parseAddress("fd00::2")));
  }
});

Deno.test("what is no address of a node is refused", () => {
  for (const wrong of ["", "alpha", "10.77.0", "10.77.0.256", "fe80::1%eth0", "fd00::1::2"]) {
    assert.throws(() => parseAddress(wrong), /no IP address that a node can have/, wrong);
  }
});

Deno.test("endpoints are written so that they can be read", () => {
  assert.equal(endpoint("10.77.0.1", 9700), "10.77.0.1:9700");
  assert.equal(endpoint("fd00::1", 9700), "[fd00::1]:9700");
});

Deno.test("an address that this host does not have yet can be listened on", () => {
  const sockets = createSockets(libc);
  // TEST-NET-1 and the documentation prefix (RFC 5737, RFC 3849): nobody's address.
  for (const address of ["192.0.2.1", "2001:db8::1"]) {
    sockets.close(sockets.listen(parseAddress(address), 29701, 8));
    sockets.close(sockets.udp(parseAddress(address), 29701));
  }
});

Deno.test("a port that is in use is refused with the address and what to look for", () => {
  const sockets = createSockets(libc);
  const address = parseAddress("127.0.0.1");
  const fd = sockets.listen(address, 29702, 8);
  try {
    assert.throws(
      () => sockets.listen(address, 29702, 8),
      /bind 127\.0\.0\.1:29702: EADDRINUSE\. Is another agent running/,
    );
  } finally {
    sockets.close(fd);
  }
});
