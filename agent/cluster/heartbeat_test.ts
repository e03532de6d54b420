import assert from "node:assert/strict";
import type { ClusterEvent } from "./events.ts";
import { createHeartbeat, type Heartbeat } from "./heartbeat.ts";
import type { PeerView } from "./view.ts";

const interval = 200;
const timeout = 2000;

/** mulberry32 */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Node {
  name: string;
  heartbeat: Heartbeat;
  events: ClusterEvent[];
  views: PeerView[];
  /** stands still: neither ticks nor takes anything in; what arrives waits */
  stopped: boolean;
  waiting: (() => void)[];
  said: number;
  start(): void;
}

/** One packet on its way. */
interface Flight {
  from: string;
  to: string;
  network: number;
  bytes: Uint8Array;
}

/** Two nodes and two networks in virtual time. `route` gives the delays of a packet's copies, in ms. */
function simulate(
  route: (flight: Flight, time: number) => number[] = () => [0.5],
  seed = 1,
  key: (node: string) => Uint8Array = () => new Uint8Array(32),
) {
  const random = generator(seed);
  const world = { time: 1000, sent: [] as Flight[], route };
  let queue: { at: number; order: number; run: () => void }[] = [];
  let order = 0;
  const later = (ms: number, run: () => void) =>
    queue.push({ at: world.time + ms, order: order++, run });
  const nodes = new Map<string, Node>();

  function deliver(flight: Flight): void {
    const node = nodes.get(flight.to)!;
    const run = () => node.heartbeat.receive(flight.from, flight.network, flight.bytes);
    if (node.stopped) node.waiting.push(run);
    else run();
  }

  function make(name: string, other: string): Node {
    let generation = 0;
    const node: Node = {
      name,
      events: [],
      views: [],
      stopped: false,
      waiting: [],
      said: 0,
      heartbeat: undefined!,
      start() {
        const own = ++generation;
        node.waiting = [];
        node.heartbeat = createHeartbeat({
          node: name,
          instance: Array.from({ length: 16 }, () => Math.floor(random() * 256))
            .map((byte) => byte.toString(16).padStart(2, "0")).join(""),
          key: key(name),
          interval,
          timeout,
          peers: [{
            node: other,
            networks: [0, 1].map((network) => ({
              network,
              local: `10.${network}.0.${name}`,
              remote: `10.${network}.0.${other}`,
            })),
          }],
          view: () => [{
            name: "m",
            state: "WAIT",
            ready: false,
            sync: "none",
            generation: node.said,
            id: "",
            digest: "",
            appliedSeq: 0,
            outdated: false,
          }],
          transmit(to, network, bytes) {
            const flight = { from: name, to, network, bytes };
            world.sent.push(flight);
            for (const delay of world.route(flight, world.time)) {
              later(delay, () => deliver(flight));
            }
          },
          onEvent: (event) => node.events.push(event),
          onView: (_, view) => node.views.push(view),
          now: () => world.time,
          random: (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256)),
        });
        const tick = () => {
          if (own !== generation) return;
          if (!node.stopped) {
            for (const run of node.waiting.splice(0)) run();
            node.heartbeat.tick();
          }
          later(interval, tick);
        };
        later(random() * interval, tick);
      },
    };
    node.start();
    nodes.set(name, node);
    return node;
  }

  const alpha = make("alpha", "beta");
  const beta = make("beta", "alpha");
  function run(ms: number): void {
    const end = world.time + ms;
    for (;;) {
      queue.sort((a, b) => a.at - b.at || a.order - b.order);
      if (queue.length === 0 || queue[0].at > end) break;
      const next = queue.shift()!;
      world.time = Math.max(world.time, next.at);
      next.run();
    }
    world.time = end;
  }
  const kinds = (node: Node) => node.events.map((event) => event.kind);
  const status = (node: Node) => node.heartbeat.peers()[0];
  return { world, alpha, beta, run, kinds, status, deliver, clear: () => queue = [] };
}

Deno.test("two nodes find each other within two intervals, over both networks", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { alpha, beta, run, status } = simulate(undefined, seed);
    run(2 * interval);
    for (const node of [alpha, beta]) {
      assert(status(node).up, `seed ${seed}`);
      assert.equal(node.views.length, 1);
    }
    run(2 * interval);
    for (const node of [alpha, beta]) {
      assert.deepEqual(status(node).networks.map((network) => network.up), [true, true]);
      assert.deepEqual(node.events.map((event) => event.kind), ["peer-up"]);
    }
  }
});

Deno.test("round trip and loss are measured for each network", () => {
  const random = generator(3);
  const { alpha, run, status } = simulate(({ network }) =>
    network === 0 ? [4] : random() < 0.3 ? [] : [20]
  );
  run(30_000);
  const [first, second] = status(alpha).networks;
  assert(Math.abs(first.rttMs! - 8) < 0.01, `${first.rttMs}`);
  assert.equal(first.loss, 0);
  assert(Math.abs(second.rttMs! - 40) < 0.01, `${second.rttMs}`);
  assert(second.loss > 0.1 && second.loss < 0.5, `${second.loss}`);
});

Deno.test("silence on every network is an event after the timeout, and not before", () => {
  const { alpha, world, run, kinds, status } = simulate();
  run(5000);
  const from = world.time;
  world.route = () => [];
  run(timeout - interval - 1);
  assert(status(alpha).up);
  while (status(alpha).up) run(1);
  assert(world.time - from <= timeout + interval, `${world.time - from}`);
  assert.deepEqual(kinds(alpha), ["peer-up", "peer-silent"]);
  run(20_000);
  assert.deepEqual(kinds(alpha), ["peer-up", "peer-silent"]);
  world.route = () => [1];
  run(interval * 3);
  assert.deepEqual(kinds(alpha), ["peer-up", "peer-silent", "peer-up"]);
});

Deno.test("a peer that was never there is silent once", () => {
  const { alpha, run, kinds } = simulate(() => []);
  run(20_000);
  assert.deepEqual(kinds(alpha), ["peer-silent"]);
  assert.match(alpha.events[0].text, /has not been heard since this agent started/);
});

Deno.test("one network that fails is an event, the peer stays up", () => {
  const { alpha, beta, world, run, kinds, status } = simulate();
  run(5000);
  world.route = ({ network }) => network === 0 ? [] : [1];
  run(timeout + 3 * interval);
  for (const node of [alpha, beta]) {
    assert(status(node).up);
    assert.deepEqual(kinds(node), ["peer-up", "network-down"]);
    const event = node.events[1];
    assert(event.kind === "network-down" && event.network === 0);
  }
  world.route = () => [1];
  run(3 * interval);
  assert.deepEqual(kinds(alpha), ["peer-up", "network-down", "network-up"]);
});

Deno.test("a network that never works is an event too", () => {
  const { alpha, run, kinds } = simulate(({ network }) => network === 1 ? [] : [1]);
  run(10_000);
  assert.deepEqual(kinds(alpha), ["peer-up", "network-down"]);
});

Deno.test("a loss in one direction is seen by both, with its direction", () => {
  const { alpha, beta, world, run, status } = simulate();
  run(5000);
  world.route = ({ from, network }) => network === 0 && from === "alpha" ? [] : [1];
  run(2 * timeout);
  const [atAlpha, atBeta] = [status(alpha).networks[0], status(beta).networks[0]];
  assert.deepEqual([atAlpha.up, atAlpha.incoming, atAlpha.outgoing], [false, true, false]);
  assert.deepEqual([atBeta.up, atBeta.incoming, atBeta.outgoing], [false, false, true]);
  const directions = [alpha, beta].map((node) => {
    const event = node.events.find((each) => each.kind === "network-down");
    return event?.kind === "network-down" ? event.direction : undefined;
  });
  assert.deepEqual(directions, ["outgoing", "incoming"]);
});

Deno.test("a peer that hears nothing is still heard, and says so", () => {
  const { alpha, beta, world, run, status } = simulate();
  run(5000);
  world.route = ({ from }) => from === "alpha" ? [] : [1];
  run(2 * timeout);
  assert(status(alpha).up);
  assert(!status(beta).up);
  assert(status(alpha).networks.every((network) => network.incoming && !network.outgoing));
});

Deno.test("a restarted agent is another instance, and its old view is gone", () => {
  const { alpha, beta, world, run, kinds, status } = simulate();
  run(5000);
  const before = status(alpha).instance;
  beta.said = 42;
  beta.start();
  run(3 * interval);
  assert.notEqual(status(alpha).instance, before);
  assert.deepEqual(kinds(alpha), ["peer-up", "instance-changed"]);
  assert.equal(status(alpha).view?.modules[0].generation, 42);
  assert.equal(status(alpha).view?.instance, status(alpha).instance);
  // Also with the links cut during the restart, so that silence comes first.
  world.route = () => [];
  run(2 * timeout);
  beta.start();
  world.route = () => [1];
  run(3 * interval);
  assert.deepEqual(kinds(alpha).slice(2), ["peer-silent", "instance-changed", "peer-up"]);
});

Deno.test("recorded heartbeats of a dead agent do not make it look alive", () => {
  const { alpha, beta, world, run, kinds, status, deliver } = simulate();
  run(5000);
  const recorded = world.sent.filter((flight) => flight.from === "beta");
  beta.stopped = true;
  for (let i = 0; i < 40; i++) {
    for (const flight of recorded) deliver(flight);
    run(interval);
  }
  assert(!status(alpha).up);
  assert.deepEqual(kinds(alpha), ["peer-up", "peer-silent"]);
  // Nor to an agent that was started afterwards and knows nothing of what was said before.
  alpha.start();
  alpha.events.length = 0;
  for (let i = 0; i < 40; i++) {
    for (const flight of recorded) deliver(flight);
    run(interval);
  }
  assert(!status(alpha).up);
  assert.deepEqual(kinds(alpha), ["peer-silent"]);
});

Deno.test("recorded heartbeats do not keep a restarted agent out", () => {
  const { alpha, beta, world, run, status, deliver } = simulate();
  run(5000);
  const recorded = world.sent.filter((flight) => flight.from === "beta");
  beta.start();
  for (let i = 0; i < 20; i++) {
    for (const flight of recorded) deliver(flight);
    run(interval / 4);
  }
  assert.equal(status(alpha).instance, status(alpha).view?.instance);
  assert(status(alpha).heardMs! < 2 * interval);
  assert(!alpha.events.some((event) => event.kind === "duplicate-node"));
});

Deno.test("a view never goes back, however packets are delayed, doubled and reordered", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = generator(seed);
    const { alpha, beta, run, world } = simulate(
      () =>
        random() < 0.2 ? [] : random() < 0.3 ? [random() * 900, random() * 900] : [random() * 900],
      seed,
    );
    for (let i = 1; i < 200; i++) {
      beta.said = i;
      run(100);
      if (i % 7 === 0) beta.heartbeat.announce();
    }
    const seen = alpha.views.map((view) => view.modules[0].generation);
    assert(seen.length > 50, `seed ${seed}`);
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b), `seed ${seed}`);
    world.route = () => [1];
    run(3 * interval);
    assert.equal(alpha.views.at(-1)!.modules[0].generation, 199);
  }
});

Deno.test("a process that stood still does not take its own absence for the peer's", () => {
  const { alpha, run, kinds, status } = simulate();
  run(5000);
  alpha.stopped = true;
  run(10_000);
  // Its socket's buffer was full at some point: only the oldest packets are left in it.
  alpha.waiting.length = 4;
  alpha.stopped = false;
  run(2 * interval);
  assert(status(alpha).up);
  assert.deepEqual(kinds(alpha), ["peer-up"]);
});

Deno.test("time that this process stood still is not counted, but a dead peer is found in the end", () => {
  const { alpha, beta, world, run, kinds, status } = simulate();
  run(5000);
  alpha.stopped = beta.stopped = true;
  run(10_000);
  alpha.waiting.length = 0;
  alpha.stopped = false;
  const from = world.time;
  while (status(alpha).up) run(1);
  assert(world.time - from <= timeout + 3 * interval, `${world.time - from}`);
  assert.deepEqual(kinds(alpha), ["peer-up", "peer-silent"]);
});

Deno.test("two agents with one name are noticed", () => {
  const { alpha, beta, run, world, clear } = simulate();
  run(2000);
  const first = beta.heartbeat;
  beta.start();
  const second = beta.heartbeat;
  // Both run: packets to the name reach one or the other.
  for (let i = 0; i < 60; i++) {
    beta.heartbeat = i % 20 < 10 ? first : second;
    beta.heartbeat.tick();
    run(interval);
  }
  assert(alpha.events.some((event) => event.kind === "duplicate-node"), JSON.stringify(world.time));
  clear();
});

Deno.test("nodes with different secrets do not hear each other", () => {
  const { alpha, beta, world, run, status } = simulate(
    undefined,
    1,
    (node) => new Uint8Array(32).fill(node === "alpha" ? 1 : 2),
  );
  run(5000);
  assert(!status(alpha).up && !status(beta).up);
  const flight = world.sent.find(({ from }) => from === "beta")!;
  assert.equal(alpha.heartbeat.receive("beta", 0, flight.bytes), "wrong-secret");
});

Deno.test("packets on the wrong network, of the wrong node or of our own are refused", () => {
  const { alpha, beta, world, run } = simulate();
  run(1000);
  const sent = (from: string, network: number) =>
    world.sent.find((flight) => flight.from === from && flight.network === network)!.bytes;
  assert.equal(alpha.heartbeat.receive("beta", 1, sent("beta", 0)), "malformed");
  assert.equal(alpha.heartbeat.receive("beta", 7, sent("beta", 0)), "unknown-node");
  assert.equal(alpha.heartbeat.receive("gamma", 0, sent("beta", 0)), "unknown-node");
  assert.equal(alpha.heartbeat.receive("beta", 0, sent("alpha", 0)), "unknown-node");
  assert.equal(beta.heartbeat.receive("alpha", 0, sent("beta", 0)), "unknown-node");
});

Deno.test("packets cannot be turned into a storm of answers", () => {
  const { alpha, world, run, deliver } = simulate();
  run(1000);
  const recorded = world.sent.filter((flight) => flight.from === "beta");
  alpha.start();
  const before = world.sent.length;
  for (let i = 0; i < 1000; i++) for (const flight of recorded) deliver(flight);
  assert(world.sent.length - before <= 4, `${world.sent.length - before} answers`);
});

Deno.test("a view that cannot travel is said once, and heartbeats go on without it", () => {
  const { alpha, beta, run, kinds, status } = simulate();
  run(1000);
  alpha.said = -1;
  run(5000);
  assert.deepEqual(kinds(alpha), ["peer-up", "view-unsent"]);
  assert(status(beta).up);
  assert(status(beta).viewMs! > 4000);
});
