import assert from "node:assert/strict";
import { selfNode, SelfNodeError } from "./self_node.ts";
import { agentConfig } from "./testing.ts";
import type { AgentConfig } from "./types.ts";

function cluster(...names: string[]): AgentConfig {
  return { ...agentConfig(), nodes: names.map((name) => ({ name, addresses: [] })) };
}

const ab = cluster("alpha", "beta");

Deno.test("--node comes before UNDERSTUDY_NODE, and that before the host name", () => {
  assert.equal(selfNode(ab, { flag: "alpha", env: "beta", hostname: "beta" }), "alpha");
  assert.equal(selfNode(ab, { env: "alpha", hostname: "beta" }), "alpha");
  assert.equal(selfNode(ab, { env: "", hostname: "beta" }), "beta");
});

Deno.test("host names fit in their short form on either side, without regard to case", () => {
  assert.equal(selfNode(ab, { hostname: "Alpha.example.org" }), "alpha");
  const full = cluster("alpha.example.org", "beta.example.org");
  assert.equal(selfNode(full, { hostname: "beta" }), "beta.example.org");
  assert.equal(selfNode(full, { hostname: "beta.example.org" }), "beta.example.org");
});

Deno.test("a name of another domain, or one that fits twice, is no match", () => {
  const full = cluster("db.one.example", "db.two.example");
  assert.throws(() => selfNode(full, { hostname: "db" }), /fits more than one node/);
  assert.throws(() => selfNode(full, { hostname: "db.three.example" }), SelfNodeError);
  assert.equal(selfNode(full, { hostname: "db.two.example" }), "db.two.example");
});

Deno.test("what fits no node is refused with the names there are", () => {
  const refused = (sources: Parameters<typeof selfNode>[1], source: string) =>
    assert.throws(
      () => selfNode(ab, sources),
      (e) => e instanceof SelfNodeError && e.source === source && /alpha, beta/.test(e.message),
    );
  refused({ flag: "gamma", hostname: "alpha" }, "--node");
  refused({ flag: "", hostname: "alpha" }, "--node");
  refused({ env: "gamma", hostname: "alpha" }, "UNDERSTUDY_NODE");
  refused({ hostname: "gamma" }, "host name");
  refused({ hostname: "" }, "host name");
});
