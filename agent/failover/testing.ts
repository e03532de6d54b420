/**
 * Two nodes, their disks and data paths and the network between them, all simulated: the decisions
 * run against these in tests. Time is virtual, chance comes from a seed, a run repeats exactly.
 *
 * A "write" is a number. A node's data is the list of writes it applied; what was acknowledged to the
 * application is remembered, so that a test can ask whether a serving node holds all of it.
 */

import { emptyRecord, type ModuleRecord } from "../state/record.ts";
import { decide, type Decision, initialState } from "./decide.ts";
import { describe, viewOf } from "./describe.ts";
import type { Action, Event, ModuleState, OrderKind, Settings } from "./types.ts";
import type { View } from "./view.ts";

export interface FakeWorker {
  open: boolean;
  /** read-write */
  serving: boolean;
  /** an acknowledgement needs the sink */
  needsSink: boolean;
  link: Link | undefined;
  role: "source" | "sink" | undefined;
  held: number[];
  /** the stream that source and sink are in; a source and a sink in the same one can go on */
  stream: number;
  /** what goes on once the agent has noted what was reported */
  paused: () => void;
}

interface Link {
  number: number;
  ends: Partial<Record<string, boolean>>;
  broken: boolean;
}

export interface FakeNode {
  name: string;
  up: boolean;
  /** counts starts: what an earlier run left in the queue is dropped */
  run: number;
  boot: number;
  state: ModuleState;
  disk: ModuleRecord;
  diskFails: boolean;
  /** the data path answers nothing any more */
  hangs: boolean;
  digest: string;
  data: number[];
  empty: boolean;
  /** in the middle of a resync */
  partial: boolean;
  worker: FakeWorker;
  heard: number;
  heardSequence: number;
  sequence: number;
  wake: number;
}

export interface Pair {
  now: number;
  nodes: Record<string, FakeNode>;
  events: string[];
  answers: Map<number, { ok: boolean; reason: string }>;
  acknowledged: Set<number>;
  /** both directions are cut */
  cut: boolean;
  /** only replication is cut: heartbeats go through */
  linkCut: boolean;
  /** sentences about broken promises */
  broken: string[];
  run(ms: number): void;
  /** runs until the condition holds, at most `limit` milliseconds; throws after that */
  until(what: string, holds: () => boolean, limit?: number): void;
  order(node: string, order: OrderKind, force?: boolean): number;
  /** the process dies; with `power`, what was not on disk yet is lost too */
  kill(node: string, power?: boolean): void;
  start(node: string): void;
  /** the connection between the data paths breaks; both ends notice */
  breakLink(): void;
  send(node: string, event: Event): void;
  status(node: string): string;
  chance(): number;
}

const heartbeat = 200;
const timeout = 2000;

/** Makes two nodes, alpha and beta, with empty directories. Nothing runs until {@link Pair.run}. */
export function createPair(seed = 1, change: Partial<Settings> = {}): Pair {
  const queue: { at: number; order: number; act: () => void }[] = [];
  let placed = 0;
  let connection = 0;
  let request = 0;
  let write = 0;
  let streams = 0;
  let random = seed >>> 0;
  // mulberry32
  const chance = () => {
    random = (random + 0x6d2b79f5) >>> 0;
    let t = random;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const links = new Map<number, Link>();
  const at = (delay: number, act: () => void) => {
    queue.push({ at: pair.now + delay, order: placed++, act });
    queue.sort((a, b) => a.at - b.at || a.order - b.order);
  };
  const latency = () => 1 + Math.floor(chance() * 8);
  const other = (node: FakeNode) => pair.nodes[node.name === "alpha" ? "beta" : "alpha"];

  const settingsOf = (node: FakeNode): Settings => ({
    module: "m",
    self: node.name,
    peer: node.name === "alpha" ? "beta" : "alpha",
    digest: node.digest,
    mode: "auto",
    preferred: undefined,
    heartbeatTimeout: timeout,
    ackTimeout: 10_000,
    seed: `${node.name[0]}${node.run}`,
    boot: String(node.boot),
    ...change,
  });
  const idleWorker = (): FakeWorker => ({
    open: false,
    serving: false,
    needsSink: false,
    link: undefined,
    role: undefined,
    held: [],
    stream: 0,
    paused: () => {},
  });
  const makeNode = (name: string): FakeNode => {
    const node = {
      name,
      up: false,
      run: 0,
      boot: 1,
      disk: emptyRecord("m", name),
      diskFails: false,
      hangs: false,
      digest: "d",
      data: [],
      empty: true,
      partial: false,
      worker: idleWorker(),
      heard: 0,
      heardSequence: 0,
      sequence: 0,
      wake: 0,
    } as Omit<FakeNode, "state"> as FakeNode;
    node.state = initialState(settingsOf(node), node.disk);
    return node;
  };

  /** Like `at`, for something that only this run of the node's process can do. */
  const own = (node: FakeNode, delay: number, act: () => void) => {
    const { run } = node;
    at(delay, () => {
      if (node.up && node.run === run) act();
    });
  };

  const send = (node: FakeNode, event: Event): void => {
    if (!node.up) return;
    const { state, actions }: Decision = decide(node.state, event, pair.now);
    node.state = state;
    for (const action of actions) perform(node, action);
    node.wake++;
    const { wake } = node;
    if (state.wakeAt !== undefined) {
      own(node, Math.max(0, state.wakeAt - pair.now), () => {
        if (node.wake === wake) send(node, { kind: "tick", heardAt: node.heard });
      });
    }
  };

  const announce = (node: FakeNode): void => {
    const view: View = viewOf(node.state);
    const sequence = ++node.sequence;
    const { run } = node;
    if (pair.cut || chance() < 0.02) return;
    const target = other(node);
    own(target, latency() + (chance() < 0.05 ? 150 : 0), () => {
      // A later process of the peer counts as newer.
      const order = run * 1e6 + sequence;
      if (order <= target.heardSequence) return;
      target.heardSequence = order;
      target.heard = pair.now;
      send(target, { kind: "peer", view });
    });
  };

  const beat = (node: FakeNode): void => {
    announce(node);
    if (pair.now - node.heard >= timeout && node.state.peer.contact !== "silent") {
      send(node, { kind: "peer-silent" });
    }
    own(node, heartbeat, () => beat(node));
  };

  const breakLink = (link: Link | undefined, reason: string): void => {
    if (!link || link.broken) return;
    link.broken = true;
    for (const node of Object.values(pair.nodes)) {
      if (node.worker.link !== link) continue;
      // Where the network is cut, only the end that broke it knows; the other hears of it later.
      own(node, latency(), () => {
        if (node.worker.link !== link) return;
        loseLink(node, reason);
      });
    }
  };
  const loseLink = (node: FakeNode, reason: string): void => {
    const { worker } = node;
    const role = worker.role ?? "sink";
    const lagging = role === "source" && worker.needsSink;
    worker.link = undefined;
    worker.role = undefined;
    send(node, { kind: "link-lost", role, reason, lagging });
  };

  const connect = (node: FakeNode, link: Link): void => {
    const sink = other(node);
    const { worker } = node;
    const lose = () => own(node, 1, () => breakLink(link, "no place in the stream"));
    const stuck = () => own(node, 3000, () => breakLink(link, "timed out"));
    const intact = () => !link.broken && node.worker.link === link && sink.worker.link === link;
    if (worker.needsSink) {
      if (worker.stream !== sink.worker.stream) return lose();
      return own(node, 2 * latency(), () => {
        if (!intact()) return;
        if (pair.cut || pair.linkCut) return stuck();
        for (const one of worker.held) {
          if (!sink.data.includes(one)) sink.data.push(one);
          pair.acknowledged.add(one);
        }
        worker.held = [];
        send(node, { kind: "resumed" });
      });
    }
    worker.stream = ++streams;
    const { stream } = worker;
    own(sink, latency(), () => {
      if (!intact()) return;
      sink.worker.paused = () => {
        sink.worker.stream = stream;
        sink.partial = true;
        resync(node, link, intact, stuck);
      };
      send(sink, { kind: "sink-outdated", reason: "a resync begins", paused: true });
    });
  };

  const resync = (
    node: FakeNode,
    link: Link,
    intact: () => boolean,
    stuck: () => void,
  ): void => {
    const sink = other(node);
    own(node, 20 + chance() * 200, () => {
      if (!intact()) return;
      // From here on nothing is acknowledged without the sink.
      node.worker.needsSink = true;
      const { data } = node;
      // What is lost here would be sent again, and in the end the connection times out.
      if (pair.cut || pair.linkCut) return stuck();
      own(sink, latency(), () => {
        if (!intact()) return;
        sink.data = [...data];
        sink.empty = sink.data.length === 0;
        sink.partial = false;
        sink.worker.paused = () => {
          if (pair.cut || pair.linkCut) return stuck();
          own(node, latency(), () => {
            if (!link.broken && node.worker.link === link) send(node, { kind: "in-sync" });
          });
        };
        send(sink, { kind: "sink-in-sync" });
      });
    });
  };

  const perform = (node: FakeNode, action: Action): void => {
    const { worker } = node;
    switch (action.kind) {
      case "open":
        return own(node, 5, () => {
          worker.open = true;
          send(node, { kind: "opened" });
        });
      case "serve":
        return own(node, 2, () => {
          worker.serving = true;
          worker.needsSink = false;
          checkServe(node);
          send(node, { kind: "served" });
        });
      case "release":
        return own(node, 1, () => {
          worker.needsSink = false;
          worker.stream = 0;
          for (const held of worker.held) pair.acknowledged.add(held);
          worker.held = [];
          checkOnlyOne(node);
          send(node, { kind: "alone" });
        });
      case "yield":
      case "close":
        return own(node, 3, () => {
          if (node.hangs) return;
          const { link } = worker;
          worker.link = undefined;
          breakLink(link, "the peer closed it");
          node.worker = { ...idleWorker(), open: action.kind === "yield" };
          send(node, { kind: action.kind === "yield" ? "follows" : "closed" });
        });
      case "abort":
        node.worker = idleWorker();
        node.hangs = false;
        return own(node, 1, () => send(node, { kind: "failed", reason: action.reason }));
      case "attach": {
        const link = links.get(action.connection);
        if (!link) return;
        worker.link = link;
        worker.role = node.state.serving ? "source" : "sink";
        link.ends[node.name] = true;
        if (link.broken) {
          return own(node, 1, () => worker.link === link && loseLink(node, "closed"));
        }
        const source = Object.values(pair.nodes).find((n) => n.worker.role === "source");
        if (source && link.ends.alpha && link.ends.beta) connect(source, link);
        return;
      }
      case "detach":
        return own(node, 1, () => breakLink(worker.link, action.reason));
      case "discard": {
        const link = links.get(action.connection);
        return breakLink(link, "discarded");
      }
      case "noted": {
        const { paused } = worker;
        worker.paused = () => {};
        return paused();
      }
      case "dial": {
        const target = other(node);
        if (pair.cut || pair.linkCut || !target.up) {
          const delay = pair.cut || pair.linkCut ? 500 : 2;
          return own(node, delay, () => {
            send(node, { kind: "refused", code: "", reason: "nothing answers" });
          });
        }
        const number = ++request;
        own(target, latency(), () => {
          send(target, {
            kind: "hello",
            request: number,
            digest: node.digest,
            hello: action.hello,
          });
          const admitted = pair.admitted.get(number);
          if (!admitted) return;
          own(node, latency(), () => {
            if (!admitted.accept) {
              send(node, { kind: "refused", code: admitted.word, reason: admitted.reason });
              return;
            }
            const link: Link = { number: ++connection, ends: {}, broken: pair.cut };
            links.set(link.number, link);
            const { session, history } = admitted;
            send(target, { kind: "link", connection: link.number, role: "source", session });
            send(node, { kind: "link", connection: link.number, role: "sink", session, history });
          });
        });
        return;
      }
      case "admit":
        pair.admitted.set(action.request, action.answer);
        return;
      case "store":
        return own(node, 1 + chance() * 25, () => {
          if (node.diskFails) return send(node, { kind: "store-failed", reason: "no space" });
          if (action.record.revision > node.disk.revision) node.disk = action.record;
          send(node, { kind: "stored", revision: action.record.revision });
        });
      case "inspect":
        return own(node, 1, () => send(node, { kind: "inspected", empty: node.empty }));
      case "announce":
        return announce(node);
      case "answer":
        pair.answers.set(action.request, { ok: action.ok, reason: action.reason });
        return;
      case "event":
        pair.events.push(`${pair.now} ${node.name} ${action.level}: ${action.text}`);
    }
  };

  const checkServe = (node: FakeNode): void => {
    if (node.partial) pair.broken.push(`${pair.now} ${node.name} serves a half-made copy`);
    for (const one of pair.acknowledged) {
      if (!node.data.includes(one)) {
        pair.broken.push(`${pair.now} ${node.name} serves without write ${one}`);
        return;
      }
    }
    checkOnlyOne(node);
  };
  const checkOnlyOne = (node: FakeNode): void => {
    const peer = other(node);
    if (peer.up && peer.worker.serving && !peer.worker.needsSink) {
      pair.broken.push(`${pair.now} both nodes acknowledge alone`);
    }
  };

  const writeOne = (node: FakeNode): void => {
    const { worker } = node;
    if (!worker.serving) return;
    const one = ++write;
    node.data.push(one);
    node.empty = false;
    if (!worker.needsSink) {
      pair.acknowledged.add(one);
      checkOnlyOne(node);
      return;
    }
    worker.held.push(one);
    const { link } = worker;
    const sink = other(node);
    if (!link || link.broken || pair.cut || pair.linkCut) return;
    own(sink, 4, () => {
      // What a connection that is gone has lost is sent again over the next one.
      if (link.broken || sink.worker.link !== link || sink.data.includes(one)) return;
      sink.data.push(one);
      own(node, 4, () => {
        if (link.broken || worker !== node.worker) return;
        worker.held = worker.held.filter((held) => held !== one);
        pair.acknowledged.add(one);
      });
    });
  };
  const writing = () => {
    for (const node of Object.values(pair.nodes)) if (node.up) writeOne(node);
    at(25, writing);
  };

  const pair: Pair & { admitted: Map<number, Extract<Action, { kind: "admit" }>["answer"]> } = {
    now: 0,
    nodes: {},
    events: [],
    answers: new Map(),
    acknowledged: new Set(),
    admitted: new Map(),
    cut: false,
    linkCut: false,
    broken: [],
    chance,
    run(ms) {
      const end = pair.now + ms;
      let spins = 0;
      while (queue.length > 0 && queue[0].at <= end) {
        const next = queue.shift()!;
        spins = next.at > pair.now ? 0 : spins + 1;
        if (spins > 10_000) throw new Error(`Time stands still:\n${pair.events.join("\n")}`);
        pair.now = Math.max(pair.now, next.at);
        next.act();
      }
      pair.now = end;
    },
    until(what, holds, limit = 20_000) {
      const end = pair.now + limit;
      while (!holds()) {
        if (pair.now >= end) {
          throw new Error(
            `Waited in vain until ${what}: alpha ${pair.status("alpha")}; beta ` +
              `${pair.status("beta")}\n${pair.events.join("\n")}`,
          );
        }
        pair.run(10);
      }
    },
    order(name, order, force = false) {
      const number = ++request;
      send(pair.nodes[name], { kind: "order", order, request: number, force });
      return number;
    },
    kill(name, power = false) {
      const node = pair.nodes[name];
      node.up = false;
      if (power) node.boot++;
      const { link } = node.worker;
      node.worker = idleWorker();
      // A host without power tells nobody.
      if (!power) breakLink(link, "reset by the peer");
    },
    start(name) {
      const node = pair.nodes[name];
      node.up = true;
      node.run++;
      node.worker = idleWorker();
      node.heard = pair.now;
      node.state = initialState(settingsOf(node), node.disk);
      send(node, { kind: "load" });
      own(node, Math.floor(chance() * heartbeat), () => beat(node));
    },
    breakLink: () => breakLink(pair.nodes.alpha.worker.link, "reset by the network"),
    send: (name, event) => send(pair.nodes[name], event),
    status(name) {
      const node = pair.nodes[name];
      if (!node.up) return "down";
      const { state, ready, sync, reason } = describe(node.state);
      return `${state}${ready ? " ready" : ""} ${sync}: ${reason}`;
    },
  };
  pair.nodes.alpha = makeNode("alpha");
  pair.nodes.beta = makeNode("beta");
  at(1, writing);
  return pair;
}

/** Starts both nodes and makes `primary` serve with the other in sync. */
export function mirrored(pair: Pair, primary = "alpha"): void {
  pair.start("alpha");
  pair.start("beta");
  pair.run(1000);
  pair.order(primary, "prim");
  pair.until("the mirror stands", () => pair.status(primary).startsWith("PRIM ready"));
}
