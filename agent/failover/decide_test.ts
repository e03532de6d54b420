import assert from "node:assert/strict";
import { createPair, mirrored, type Pair } from "./testing.ts";

function sound(pair: Pair): void {
  assert.deepEqual(pair.broken, [], pair.events.join("\n"));
}

function refusal(pair: Pair, request: number): string {
  const answer = pair.answers.get(request);
  assert.ok(answer, "no answer");
  assert.equal(answer.ok, false, answer.reason);
  return answer.reason;
}

function done(pair: Pair, request: number): void {
  const answer = pair.answers.get(request);
  assert.ok(answer, "no answer");
  assert.ok(answer.ok, answer.reason);
}

Deno.test("A fresh start waits on both nodes and names the command that is needed", () => {
  const pair = createPair();
  pair.start("alpha");
  pair.start("beta");
  pair.run(3000);
  for (const node of ["alpha", "beta"]) {
    assert.match(pair.status(node), /^WAIT none: no node was ever told .*`understudy prim m`/);
  }
});

Deno.test("prim makes one node serve, and the empty other one follows until it is in sync", () => {
  const pair = createPair();
  pair.start("alpha");
  pair.start("beta");
  pair.run(1000);
  const request = pair.order("alpha", "prim");
  pair.until("alpha serves", () => pair.status("alpha").startsWith("ALONE"));
  assert.equal(pair.nodes.alpha.disk.generation, 1, "the generation is on disk before it serves");
  done(pair, request);
  pair.until(
    "alpha is mirrored",
    () => pair.status("alpha") === "PRIM ready synced: mirrored to beta",
  );
  assert.equal(pair.status("beta"), "SECOND ready synced: in sync with alpha");
  assert.equal(pair.nodes.beta.disk.id, pair.nodes.alpha.disk.id);
  sound(pair);
});

Deno.test("Files that were never mirrored are kept until second lets them be replaced", () => {
  const pair = createPair();
  pair.nodes.beta.empty = false;
  pair.start("alpha");
  pair.start("beta");
  pair.run(500);
  pair.order("alpha", "prim");
  pair.run(3000);
  assert.match(pair.status("beta"), /^WAIT none: .*never mirrored: `understudy second m`/);
  assert.match(pair.status("alpha"), /^ALONE ready none: not protected/);
  const request = pair.order("beta", "second");
  pair.until("beta follows", () => pair.status("beta").startsWith("SECOND ready"));
  done(pair, request);
  assert.equal(pair.nodes.beta.disk.replace, false, "the permission is used up");
});

Deno.test("Nodes with different definitions do not mirror, and say so", () => {
  const pair = createPair();
  pair.nodes.beta.digest = "e";
  pair.start("alpha");
  pair.start("beta");
  pair.run(500);
  pair.order("alpha", "prim");
  pair.run(3000);
  assert.match(pair.status("alpha"), /^ALONE ready none: not protected.*another definition/);
  assert.match(pair.status("beta"), /^WAIT none: alpha has another definition/);
});

Deno.test("prim on both nodes at the same moment ends with one that serves", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const pair = createPair(seed);
    pair.start("alpha");
    pair.start("beta");
    pair.run(1000);
    pair.order("beta", "prim");
    const late = pair.chance() * 300;
    pair.run(late);
    pair.order("alpha", "prim");
    pair.until("one serves", () => {
      const both = [pair.status("alpha"), pair.status("beta")];
      return both.some((s) => s.startsWith("PRIM")) &&
        both.some((s) => s.startsWith("SECOND ready"));
    });
    assert.equal([...pair.answers.values()].filter((a) => a.ok).length, 1);
    sound(pair);
  }
});

Deno.test("prim is refused while the peer serves", () => {
  const pair = createPair();
  mirrored(pair);
  const request = pair.order("beta", "prim");
  pair.run(500);
  assert.match(refusal(pair, request), /alpha serves m: stop it there first/);
  const forced = pair.order("beta", "prim", true);
  pair.run(500);
  assert.match(refusal(pair, forced), /alpha serves m/);
});

Deno.test("A secondary whose agent is killed is dropped after the heartbeat timeout", () => {
  const pair = createPair();
  mirrored(pair);
  const since = pair.now;
  pair.kill("beta");
  pair.until("alpha is alone", () => pair.status("alpha").startsWith("ALONE"));
  assert.ok(pair.now - since <= 2500, `${pair.now - since} ms`);
  assert.equal(pair.nodes.alpha.disk.generation, 2);
  pair.run(1000);
  assert.match(pair.status("alpha"), /not protected at the moment: beta is silent/);
  pair.start("beta");
  pair.until("beta is back", () => pair.status("alpha").startsWith("PRIM ready"));
  sound(pair);
});

Deno.test("A secondary that loses its power is dropped after the heartbeat timeout", () => {
  const pair = createPair();
  mirrored(pair);
  const since = pair.now;
  pair.kill("beta", true);
  pair.until("alpha is alone", () => pair.status("alpha").startsWith("ALONE"));
  assert.ok(pair.now - since <= 2500, `${pair.now - since} ms`);
  sound(pair);
});

Deno.test("A link that breaks and comes back goes on where it was, in the same generation", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const pair = createPair(seed);
    mirrored(pair);
    const since = pair.now;
    pair.breakLink();
    pair.until("the loss was noticed", () => pair.status("alpha").startsWith("PRIM none"));
    assert.match(
      pair.status("alpha"),
      /writes wait to learn whether beta is gone: (reset by|beta connected)/,
    );
    pair.until("the mirror stands again", () => pair.status("alpha").startsWith("PRIM ready"));
    assert.ok(pair.now - since < 200, `${pair.now - since} ms`);
    assert.equal(pair.nodes.alpha.disk.generation, 1);
    assert.match(pair.status("beta"), /^SECOND ready/);
    pair.run(5000);
    assert.match(pair.status("alpha"), /^PRIM ready/);
    sound(pair);
  }
});

Deno.test("Where the source does not know that the link broke, the secondary says so by itself", () => {
  const pair = createPair();
  mirrored(pair);
  pair.linkCut = true;
  const since = pair.now;
  pair.send("beta", { kind: "link-lost", role: "sink", reason: "reset", lagging: false });
  pair.nodes.beta.worker.link = undefined;
  pair.until("alpha is alone", () => pair.status("alpha").startsWith("ALONE"));
  assert.ok(pair.now - since < 1500, `${pair.now - since} ms`);
  assert.ok(pair.events.some((e) => e.includes("the link broke and cannot be made again")));
  sound(pair);
});

Deno.test("A source that died with the link is not told that this copy is outdated", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const pair = createPair(seed);
    mirrored(pair);
    pair.run(pair.chance() * 300);
    pair.kill("alpha");
    pair.run(6000);
    assert.equal(pair.nodes.beta.disk.copy, "good");
    assert.match(pair.status("beta"), /this node's data is good/);
  }
});

Deno.test("When the link's network fails, the mirror goes on over another one in the same generation", () => {
  const pair = createPair();
  mirrored(pair);
  pair.send("beta", { kind: "network-down" });
  pair.run(300);
  assert.ok(pair.events.some((e) => e.includes("its network has failed")));
  assert.match(pair.status("alpha"), /^PRIM ready/);
  assert.match(pair.status("beta"), /^SECOND ready/);
  assert.equal(pair.nodes.alpha.disk.generation, 1);
  sound(pair);
});

Deno.test("A secondary that lost its place says that it is outdated, and the primary goes on alone without a timeout", () => {
  const pair = createPair();
  mirrored(pair);
  const since = pair.now;
  pair.nodes.beta.worker.stream = -1;
  pair.breakLink();
  pair.until("alpha has let go", () => pair.nodes.alpha.disk.generation === 2);
  assert.ok(pair.now - since < 500, `${pair.now - since} ms`);
  assert.ok(pair.events.some((e) => e.includes("this copy is outdated from now on")));
  pair.until("the mirror stands again", () => pair.status("alpha").startsWith("PRIM ready"));
  assert.equal(pair.nodes.beta.disk.generation, 2);
  sound(pair);
});

Deno.test("Where replication alone is cut, the primary goes on alone within the heartbeat timeout", () => {
  const pair = createPair();
  mirrored(pair);
  pair.linkCut = true;
  const since = pair.now;
  pair.breakLink();
  pair.until("alpha is alone", () => pair.status("alpha").startsWith("ALONE"));
  assert.ok(pair.now - since <= 2500);
  pair.run(10_000);
  assert.match(pair.status("beta"), /^SECOND outdated: connects to alpha: nothing answers/);
  pair.linkCut = false;
  pair.until("the mirror stands again", () => pair.status("alpha").startsWith("PRIM ready"));
  sound(pair);
});

Deno.test("A secondary that applies nothing is dropped when the data path says so", () => {
  const pair = createPair();
  mirrored(pair);
  const since = pair.now;
  pair.send("alpha", { kind: "ack-stalled", owed: 3 });
  pair.until("alpha is alone", () => pair.nodes.alpha.state.serving?.sink === "none");
  assert.ok(pair.now - since <= 500);
  assert.ok(pair.events.some((e) => e.includes("applied nothing for 10 s and owes 3 operations")));
});

Deno.test("A stopped secondary says so first, and the primary goes on without a timeout", () => {
  const pair = createPair();
  mirrored(pair);
  const since = pair.now;
  const request = pair.order("beta", "stop");
  pair.until("alpha is alone", () => pair.status("alpha").startsWith("ALONE"));
  assert.ok(pair.now - since < 500, `${pair.now - since} ms`);
  done(pair, request);
  assert.equal(pair.nodes.beta.disk.stopped, true);
  assert.equal(pair.nodes.beta.disk.copy, "outdated");
  pair.run(500);
  assert.match(pair.status("alpha"), /m is stopped on beta/);
  // It stays stopped over a restart of the agent.
  pair.kill("beta");
  pair.start("beta");
  pair.run(1000);
  assert.match(pair.status("beta"), /^STOP outdated: stopped by an operator/);
  const start = pair.order("beta", "start");
  pair.run(100);
  done(pair, start);
  pair.until("the mirror stands again", () => pair.status("alpha").startsWith("PRIM ready"));
  sound(pair);
});

Deno.test("prim on an in-sync secondary whose primary is gone needs no force", () => {
  const pair = createPair();
  mirrored(pair);
  pair.kill("alpha", true);
  pair.run(2500);
  assert.match(
    pair.status("beta"),
    /^WAIT none: alpha is silent .*`understudy prim m` here is safe/,
  );
  const request = pair.order("beta", "prim");
  pair.until("beta serves", () => pair.status("beta").startsWith("ALONE"));
  done(pair, request);
  assert.equal(pair.nodes.beta.disk.generation, 2);
  pair.start("alpha");
  pair.until("alpha follows", () => pair.status("alpha").startsWith("SECOND ready"));
  sound(pair);
});

Deno.test("prim on an outdated secondary says what would be lost, and only force does it", () => {
  const pair = createPair();
  mirrored(pair);
  pair.order("beta", "stop");
  pair.run(1000);
  pair.kill("alpha");
  pair.order("beta", "start");
  pair.run(3000);
  assert.match(pair.status("beta"), /^WAIT outdated: alpha is silent.*outdated/);
  const request = pair.order("beta", "prim");
  pair.run(500);
  assert.match(refusal(pair, request), /With --force this would be lost: everything that alpha/);
  const forced = pair.order("beta", "prim", true);
  pair.run(500);
  done(pair, forced);
  assert.match(pair.status("beta"), /^ALONE/);
  // The other one's history is not part of this one.
  pair.start("alpha");
  pair.run(3000);
  assert.match(pair.status("alpha"), /^WAIT none: .*both nodes were told to hold the good data/);
  pair.order("alpha", "second");
  pair.until("alpha follows", () => pair.status("alpha").startsWith("SECOND ready"));
});

Deno.test("A restarted primary serves again on the peer's word, and follows where the peer serves", () => {
  const pair = createPair();
  mirrored(pair);
  pair.kill("alpha");
  pair.run(100);
  pair.start("alpha");
  pair.until("alpha serves again", () => pair.status("alpha").startsWith("PRIM ready"));
  assert.equal(pair.nodes.alpha.disk.generation, 2);
  sound(pair);
});

Deno.test("A restarted primary waits where its caches were lost and the peer holds everything", () => {
  const pair = createPair();
  mirrored(pair);
  pair.kill("alpha", true);
  pair.run(3000);
  pair.start("alpha");
  pair.run(3000);
  assert.match(pair.status("alpha"), /^WAIT/);
  assert.match(pair.status("beta"), /^WAIT none: alpha does not serve, .*prim m` here is safe/);
  pair.order("beta", "prim");
  pair.until("beta is mirrored", () => pair.status("beta").startsWith("PRIM ready"));
  sound(pair);
});

Deno.test("A primary that was alone when it stopped waits for a word while the peer is silent", () => {
  const pair = createPair();
  mirrored(pair);
  pair.kill("beta");
  pair.run(4000);
  pair.kill("alpha", true);
  pair.start("alpha");
  pair.run(4000);
  assert.match(
    pair.status("alpha"),
    /^WAIT none: beta is silent .*`understudy prim m` here is safe/,
  );
  const request = pair.order("alpha", "prim");
  pair.run(200);
  done(pair, request);
});

Deno.test("A node that was away cannot serve without force while the other one is silent", () => {
  const pair = createPair();
  mirrored(pair);
  pair.kill("beta", true);
  pair.run(4000);
  pair.kill("alpha", true);
  pair.start("beta");
  pair.run(4000);
  const request = pair.order("beta", "prim");
  pair.run(500);
  assert.match(refusal(pair, request), /this node was away, and alpha may have gone on without it/);
});

Deno.test("stop on the primary leaves both copies good, and prim on either is safe", () => {
  const pair = createPair();
  mirrored(pair);
  const stop = pair.order("alpha", "stop");
  pair.run(2500);
  done(pair, stop);
  assert.match(pair.status("alpha"), /^STOP/);
  assert.match(pair.status("beta"), /^WAIT none: alpha does not serve, .*here is safe/);
  const prim = pair.order("beta", "prim");
  pair.until("beta serves", () => pair.status("beta").startsWith("ALONE"));
  done(pair, prim);
  pair.order("alpha", "start");
  pair.until("alpha follows", () => pair.status("alpha").startsWith("SECOND ready"));
  sound(pair);
});

Deno.test("second on the primary and prim on the secondary exchange the parts, there and back", () => {
  const pair = createPair();
  mirrored(pair);
  for (const [from, to] of [["alpha", "beta"], ["beta", "alpha"], ["alpha", "beta"]]) {
    const second = pair.order(from, "second");
    pair.until("it stepped back", () => pair.answers.has(second));
    done(pair, second);
    const prim = pair.order(to, "prim");
    pair.until("it is mirrored", () => pair.status(to).startsWith("PRIM ready"));
    done(pair, prim);
  }
  sound(pair);
});

Deno.test("Both told to serve while cut off: neither follows until one gives its files up", () => {
  const pair = createPair();
  mirrored(pair);
  pair.cut = true;
  pair.run(3000);
  pair.order("beta", "prim");
  pair.run(1000);
  assert.match(pair.status("alpha"), /^ALONE/);
  assert.match(pair.status("beta"), /^ALONE/);
  pair.cut = false;
  pair.run(2000);
  assert.match(pair.status("alpha"), /beta serves too, both nodes were told/);
  assert.match(pair.status("beta"), /alpha serves too, both nodes were told/);
  const before = pair.acknowledged.size;
  pair.order("beta", "second");
  pair.until("beta follows", () => pair.status("beta").startsWith("SECOND ready"));
  assert.ok(pair.acknowledged.size > before, "alpha went on");
});

Deno.test("A primary that was cut off while in sync stops when the peer was told to serve", () => {
  const pair = createPair();
  mirrored(pair);
  const view = { ...pair.nodes.alpha.state.peer.view! };
  pair.send("alpha", {
    kind: "peer",
    view: { ...view, state: "ALONE", generation: 2, id: "b9-9", ready: true },
  });
  pair.run(5);
  assert.equal(pair.nodes.alpha.worker.serving, false);
  assert.match(pair.status("alpha"), /^SECOND none: connects to beta/);
});

Deno.test("A disk that cannot take the record holds the command back, and says so", () => {
  const pair = createPair();
  pair.start("alpha");
  pair.start("beta");
  pair.run(500);
  pair.nodes.alpha.diskFails = true;
  pair.order("alpha", "prim");
  pair.run(3000);
  assert.equal(pair.nodes.alpha.worker.serving, false);
  assert.match(pair.status("alpha"), /record cannot be written: no space/);
  pair.nodes.alpha.diskFails = false;
  pair.until("alpha serves", () => pair.status("alpha").startsWith("PRIM"));
});

Deno.test("A data path that fails to start is tried again, and start is refused with its reason", () => {
  const pair = createPair();
  pair.start("alpha");
  pair.nodes.alpha.worker.open = false;
  pair.send("alpha", { kind: "failed", reason: "/data is in use by cat (42)" });
  assert.match(
    pair.status("alpha"),
    /^STOP none: cannot start, and tries again: \/data is in use by/,
  );
  pair.run(6000);
  assert.match(pair.status("alpha"), /^WAIT/);
});

Deno.test("A data path that does not end is ended by force", () => {
  const pair = createPair();
  mirrored(pair);
  pair.nodes.alpha.hangs = true;
  const request = pair.order("alpha", "stop");
  pair.run(9000);
  assert.match(pair.status("alpha"), /^PRIM none: is being stopped/);
  pair.run(2000);
  assert.match(pair.status("alpha"), /^STOP/);
  done(pair, request);
  assert.ok(pair.events.some((e) => e.includes("did not end within 10 s")));
});

Deno.test("prim waits for the module to open and for word of the peer", () => {
  const pair = createPair();
  pair.start("alpha");
  const request = pair.order("alpha", "prim");
  assert.equal(pair.answers.get(request), undefined);
  pair.run(3000);
  done(pair, request);
  assert.match(pair.status("alpha"), /^ALONE/);
});

Deno.test("restart on the secondary and on the primary comes back to the same mirror", () => {
  const pair = createPair();
  mirrored(pair);
  for (const node of ["beta", "alpha"]) {
    const request = pair.order(node, "restart");
    pair.until("it was restarted", () => pair.answers.has(request));
    done(pair, request);
    pair.until("the mirror stands again", () => pair.status("alpha").startsWith("PRIM ready"));
  }
  assert.equal(pair.nodes.alpha.disk.stopped, false);
  sound(pair);
});
