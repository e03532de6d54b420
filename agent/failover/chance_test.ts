/**
 * Many random schedules of faults and commands on two simulated nodes. The operator in it is careful:
 * he forces nothing, and says `prim` only while the network is whole or the other node is dead.
 */

import assert from "node:assert/strict";
import { createPair, type Pair } from "./testing.ts";

const names = ["alpha", "beta"];

function step(pair: Pair, story: string[]): void {
  const pick = Math.floor(pair.chance() * 15);
  const name = names[Math.floor(pair.chance() * 2)];
  const peer = name === "alpha" ? "beta" : "alpha";
  const node = pair.nodes[name];
  const note = (text: string) => story.push(`${Math.round(pair.now)} ${text}`);
  if (pick < 2 && node.up) {
    // Never both at once without power: then the newest copy may be gone for good.
    const power = pair.nodes[peer].up && pair.chance() < 0.5;
    note(`kill ${name}${power ? " by power" : ""}`);
    pair.kill(name, power);
  } else if (pick < 6) {
    if (!node.up) {
      note(`start ${name}`);
      pair.start(name);
    }
  } else if (pick === 6) {
    pair.cut = !pair.cut;
    note(`cut ${pair.cut}`);
    // Silence must have been noticed before the operator looks at the status.
    pair.run(3000);
  } else if (pick === 7) {
    pair.linkCut = !pair.linkCut;
    note(`link cut ${pair.linkCut}`);
  } else if (pick === 8) {
    note(`stop ${name}`);
    pair.order(name, "stop");
  } else if (pick < 11) {
    note(`start order ${name}`);
    pair.order(name, "start");
  } else if (pick < 14) {
    if (pair.cut || !node.up) return;
    // Without a witness, what a dead node did while cut off is known to the operator alone.
    const served = new Set(node.data);
    if (!pair.nodes[peer].up && [...pair.acknowledged].some((one) => !served.has(one))) return;
    note(`prim ${name}`);
    pair.order(name, "prim");
    // A cut right after the command would make it a wrong one.
    pair.run(3500);
  } else {
    node.diskFails = !node.diskFails;
    note(`disk of ${name} fails ${node.diskFails}`);
  }
}

function settle(pair: Pair): void {
  pair.cut = false;
  pair.linkCut = false;
  for (const name of names) {
    pair.nodes[name].diskFails = false;
    if (!pair.nodes[name].up) pair.start(name);
    pair.order(name, "start");
  }
  pair.run(8000);
}

Deno.test("Random faults and commands never make two nodes acknowledge alone, nor lose what was acknowledged", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const pair = createPair(seed);
    const story: string[] = [];
    pair.start("alpha");
    pair.start("beta");
    pair.run(1000);
    for (let i = 0; i < 40; i++) {
      step(pair, story);
      pair.run(pair.chance() < 0.5 ? pair.chance() * 300 : pair.chance() * 6000);
      const told = () => `seed ${seed}\n${story.join("\n")}\n${pair.events.join("\n")}`;
      assert.deepEqual(pair.broken, [], told());
    }
    settle(pair);
    const told = () =>
      `seed ${seed}: alpha ${pair.status("alpha")}; beta ${pair.status("beta")}\n` +
      `${story.join("\n")}\n${pair.events.join("\n")}`;
    // Somebody serves, or status names a node on which `prim` is right, and obeying it ends well.
    const serving = () => names.filter((n) => pair.nodes[n].worker.serving);
    for (let turn = 0; turn < 2 && serving().length === 0; turn++) {
      for (const name of names) {
        if (serving().length === 0) pair.order(name, "prim"), pair.run(3000);
      }
    }
    assert.equal(serving().length, 1, told());
    // One that died between its generation and its first write has a history of its own.
    for (const name of names) {
      if (/^WAIT.*`understudy second m`/.test(pair.status(name))) pair.order(name, "second");
    }
    pair.run(8000);
    const statuses = names.map((n) => pair.status(n));
    assert.ok(statuses.some((s) => s.startsWith("PRIM ready")), told());
    assert.ok(statuses.some((s) => s.startsWith("SECOND ready")), told());
    assert.deepEqual(pair.broken, [], told());
    const [a, b] = names.map((n) => new Set(pair.nodes[n].data));
    for (const one of pair.acknowledged) assert.ok(a.has(one) && b.has(one), `${one} ${told()}`);
  }
});
