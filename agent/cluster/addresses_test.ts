import assert from "node:assert/strict";
import { watchAddresses } from "./addresses.ts";
import type { ClusterEvent } from "./events.ts";
import { parseAddress } from "./sockets.ts";

Deno.test("an own address is missed once each time it goes", () => {
  const events: ClusterEvent[] = [];
  let present = ["10.77.0.1"];
  const own = ["10.77.0.1", "fd00:0::1"].map(parseAddress);
  const watch = watchAddresses(own, (event) => events.push(event), () => present);
  watch.look();
  watch.look();
  assert.deepEqual(events.map((event) => "address" in event && event.address), ["fd00::1"]);
  present = ["fd00::1"];
  watch.look();
  present = [];
  watch.look();
  assert.deepEqual(
    events.map((event) => "address" in event && event.address),
    ["fd00::1", "10.77.0.1", "fd00::1"],
  );
  assert.match(events[1].text, /does not have its address 10\.77\.0\.1 .* network 1 carries/);
});

Deno.test("this host has its own loopback address", () => {
  const events: ClusterEvent[] = [];
  watchAddresses([parseAddress("127.0.0.1")], (event) => events.push(event)).look();
  assert.deepEqual(events, []);
});
