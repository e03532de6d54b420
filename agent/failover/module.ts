/**
 * Carries out what is decided about one module: owns its data path, its record on disk, its timers and
 * its connections, and brings everything that happens to `decide` as events, one after the other.
 */

import type { AgentConfig, ModuleConfig } from "../config/types.ts";
import type { Control, Hello, HelloAnswer } from "../cluster/control.ts";
import type { ModuleView, PeerView } from "../cluster/view.ts";
import type { ModuleStatus } from "../http/facade.ts";
import type { LinkHandle, Report } from "../mirror/messages.ts";
import { createStats, Stat } from "../mirror/stats.ts";
import type { User } from "../platform/platform.ts";
import type { ModuleRecord } from "../state/record.ts";
import type { DataPath } from "./datapath.ts";
import { decide, initialState } from "./decide.ts";
import { viewOf } from "./describe.ts";
import { createLinks, type LinksHost } from "./links.ts";
import { createStatHistory, type Definition, moduleStatus } from "./status.ts";
import type { Action, Event, ModuleState, OrderKind, Settings } from "./types.ts";
import { fromModuleView, toModuleView } from "./view.ts";

/** What a module needs of its surroundings. */
export interface ModuleHost extends LinksHost {
  agent: AgentConfig;
  node: string;
  /** undefined until the cluster link is up, and after it was closed */
  control(): Pick<Control, "announce" | "dial" | "peer" | "encryption"> | undefined;
  startDataPath(onReport: (report: Report) => void, onCrash: (reason: string) => void): DataPath;
  writeRecord(record: ModuleRecord): Promise<void>;
  /** makes room for the next record; does not fail */
  reserveRecord(record: ModuleRecord): Promise<void>;
  /** true where the directories hold nothing but what is excluded */
  isEmpty(module: ModuleConfig): Promise<boolean>;
  /** why the directories cannot be mirrored now; undefined where they can */
  findObstacle(module: ModuleConfig): Promise<string | undefined>;
  /** what speaks against it, though it can be mirrored */
  findWarnings(module: ModuleConfig): string[];
  endMounts(source: string): string[];
  /** monotonic milliseconds */
  now(): number;
  seed: string;
  boot: string;
}

export interface Answer {
  ok: boolean;
  reason: string;
}

/** A module of this node, running or stopped. */
export interface Module {
  readonly name: string;
  readonly config: ModuleConfig;
  /** Starts it, unless an operator stopped it in an earlier run. */
  load(): void;
  order(kind: OrderKind, force?: boolean): Promise<Answer>;
  status(): ModuleStatus;
  view(): ModuleView;
  onPeerView(view: PeerView): void;
  onPeerSilent(): void;
  /** the network of this own address has failed, and the peer is heard over another one */
  onNetworkDown(local: string): void;
  onHello(hello: Hello): HelloAnswer;
  onLink(link: LinkHandle, hello: Hello): void;
  /** Takes the definition that its file holds now; undefined: the file is gone. */
  define(config: ModuleConfig | undefined): void;
  /** its file is gone */
  isGone(): boolean;
  /** plain directories, nothing on its way to the disk */
  isIdle(): boolean;
  /** takes a reading of the statistics */
  sample(): void;
  /** Ends the module for this run of the agent. */
  leave(): Promise<void>;
}

/** The mount source by which a module's mounts are found again. */
export function mountSource(module: string): string {
  return `understudy:${module}`;
}

/** The other one of a module's two nodes. */
function otherNode(config: ModuleConfig, node: string): string {
  return config.nodes.find((name) => name !== node) ?? node;
}

/** Makes a module of its definition and of what this node knows of it. */
export function createModule(
  host: ModuleHost,
  definition: ModuleConfig,
  record: ModuleRecord,
): Module {
  let config = definition;
  let latest: ModuleConfig | undefined = definition;
  let warnings: string[] = [];
  let dataPath: DataPath | undefined;
  let opening = 0;
  let timer: number | undefined;
  let requests = 0;
  let writing = false;
  let nextRecord: ModuleRecord | undefined;
  const answers = new Map<number, (answer: Answer) => void>();
  const idleWaiters: (() => void)[] = [];
  const stats = createStats();
  const figures = new Float64Array(stats);
  const history = createStatHistory();
  const { name } = config;

  const settings = (): Settings => ({
    module: name,
    self: host.node,
    peer: otherNode(config, host.node),
    digest: config.digest,
    mode: config.failover.mode,
    preferred: config.failover.preferred,
    heartbeatTimeout: host.agent.heartbeat.timeout,
    ackTimeout: host.agent.heartbeat.ack_timeout,
    seed: host.seed,
    boot: host.boot,
  });
  let state: ModuleState = initialState(settings(), record);

  const links = createLinks({
    host,
    module: name,
    node: host.node,
    peer: () => state.settings.peer,
    digest: () => config.digest,
    feed,
  });

  const queue: Event[] = [];
  let busy = false;
  function feed(event: Event): void {
    queue.push(event);
    if (busy) return;
    busy = true;
    try {
      for (let next = queue.shift(); next; next = queue.shift()) step(next);
    } finally {
      busy = false;
    }
    schedule();
    if (isIdle()) { for (const resolve of idleWaiters.splice(0)) resolve(); }
  }

  function step(event: Event): void {
    const decision = decide(state, event, host.now());
    state = decision.state;
    for (const action of decision.actions) perform(action);
  }

  function schedule(): void {
    clearTimeout(timer);
    timer = undefined;
    if (state.wakeAt === undefined) return;
    timer = setTimeout(() => {
      const heardMs = host.control()?.peer(state.settings.peer)?.heardMs;
      feed({ kind: "tick", heardAt: heardMs === undefined ? undefined : host.now() - heardMs });
    }, Math.max(0, state.wakeAt - host.now()));
  }

  function isIdle(): boolean {
    return state.phase === "stopped" && state.stored >= state.record.revision;
  }

  function perform(action: Action): void {
    switch (action.kind) {
      case "open":
        return void open();
      case "serve":
        return dataPath?.send({ kind: "serve" });
      case "release":
        return dataPath?.send({ kind: "alone" });
      case "yield":
        return dataPath?.send({ kind: "follow" });
      case "close":
        return close();
      case "abort":
        return abort(action.reason);
      case "attach":
        return attach(links.take(action.connection));
      case "detach":
        return dataPath?.send({ kind: "unlink", reason: action.reason });
      case "noted":
        return dataPath?.send({ kind: "sink-noted" });
      case "discard":
        return links.discard(action.connection);
      case "dial":
        return void links.dial(action.hello);
      case "admit":
        return links.admit(action);
      case "store":
        nextRecord = action.record;
        return void write();
      case "inspect":
        return void inspect();
      case "announce":
        return host.control()?.announce();
      case "answer":
        answers.get(action.request)?.({ ok: action.ok, reason: action.reason });
        return void answers.delete(action.request);
      case "event":
        return host.event(action.level, name, action.text);
    }
  }

  async function open(): Promise<void> {
    const turn = ++opening;
    adopt();
    let obstacle: string | undefined;
    try {
      obstacle = await host.findObstacle(config);
      if (turn !== opening) return;
      warnings = host.findWarnings(config);
    } catch (error) {
      obstacle = (error as Error).message;
    }
    if (turn !== opening) return;
    if (obstacle !== undefined) return feed({ kind: "failed", reason: obstacle });
    figures.fill(0);
    history.clear();
    dataPath = host.startDataPath(
      (report) => turn === opening && onReport(report),
      (reason) => {
        if (turn !== opening) return;
        abort(`its data path has crashed (${reason}): please report this`);
      },
    );
    dataPath.send({
      kind: "open",
      module: name,
      directories: config.mirror.directories,
      sync: config.mirror.sync,
      stats,
      ackTimeoutMs: host.agent.heartbeat.ack_timeout,
      sourceName: mountSource(name),
      checksums: host.agent.cluster.encryption === "off",
    });
  }

  function close(): void {
    if (dataPath) return dataPath.send({ kind: "close" });
    // Still looking at the directories: nothing has been touched.
    opening++;
    queueMicrotask(() => feed({ kind: "closed" }));
  }

  function abort(reason: string): void {
    opening++;
    dataPath?.abort();
    dataPath = undefined;
    for (const problem of host.endMounts(mountSource(name))) host.event("error", name, problem);
    queueMicrotask(() => feed({ kind: "failed", reason }));
  }

  function onReport(report: Report): void {
    switch (report.kind) {
      case "ready":
        return;
      case "opened":
        for (const text of report.warnings) host.event("warning", name, text);
        return feed({ kind: "opened" });
      case "serving":
        return feed({ kind: "served" });
      case "following":
        return feed({ kind: "follows" });
      case "closed":
        dataPath = undefined;
        return feed({ kind: "closed" });
      case "failed":
        dataPath = undefined;
        return feed({ kind: "failed", reason: report.reason });
      case "progress": {
        const { phase, filesDone, bytesCompared, bytesSent } = report;
        return feed({ kind: "progress", progress: { phase, filesDone, bytesCompared, bytesSent } });
      }
      case "note":
        return host.event(report.level, name, report.text);
      default:
        return feed(report);
    }
  }

  function attach(link: LinkHandle | undefined): void {
    if (!link) return;
    if (dataPath) dataPath.send({ kind: "link", link });
    else host.closeLink(link);
  }

  /** One write at a time; of those that wait only the last one counts. */
  async function write(): Promise<void> {
    if (writing) return;
    writing = true;
    while (nextRecord) {
      const record = nextRecord;
      nextRecord = undefined;
      try {
        await host.writeRecord(record);
        feed({ kind: "stored", revision: record.revision });
        await host.reserveRecord(record);
      } catch (error) {
        if (!nextRecord) feed({ kind: "store-failed", reason: (error as Error).message });
      }
    }
    writing = false;
  }

  async function inspect(): Promise<void> {
    const turn = opening;
    try {
      const empty = await host.isEmpty(config);
      if (turn === opening) feed({ kind: "inspected", empty });
      await links.survey(config.mirror.directories.map((d) => d.path));
    } catch (error) {
      // Files that cannot be looked at are not to be replaced without a word.
      host.event(
        "warning",
        name,
        `the directories cannot be looked at: ${(error as Error).message}`,
      );
      if (turn === opening) feed({ kind: "inspected", empty: false });
    }
  }

  /** Makes the latest definition the one in force; only while nothing runs. */
  function adopt(): void {
    if (!latest) return;
    config = latest;
    state = { ...state, settings: settings() };
  }

  function definitionState(): Definition {
    if (!latest) return "removed";
    return latest.digest === config.digest ? "current" : "changed";
  }

  function order(kind: OrderKind, force = false): Promise<Answer> {
    return new Promise((resolve) => {
      const request = ++requests;
      answers.set(request, resolve);
      feed({ kind: "order", order: kind, request, force });
    });
  }

  return {
    name,
    get config() {
      return config;
    },
    async order(kind, force) {
      if (kind === "start" && !latest) {
        return { ok: false, reason: `the file of ${name} is gone: put it back first` };
      }
      if (kind === "restart" && !latest) {
        return { ok: false, reason: `the file of ${name} is gone: put it back, or stop it` };
      }
      const served = state.phase === "serving";
      const answer = await order(kind, force);
      if (kind !== "restart" || !served || !answer.ok) return answer;
      // It served, and the operator wants it to: the same word as at the first start.
      return await order("prim");
    },
    status: () =>
      moduleStatus({
        state,
        config,
        definition: definitionState(),
        warnings,
        stats: figures,
        history,
        peer: host.control()?.peer(state.settings.peer),
      }),
    view: () => toModuleView(name, { ...viewOf(state), appliedSeq: figures[Stat.appliedSeq] }),
    onPeerView(view) {
      const own = view.modules.find((m) => m.name === name);
      feed({ kind: "peer", view: own && fromModuleView(own) });
    },
    onPeerSilent: () => feed({ kind: "peer-silent" }),
    onNetworkDown(local) {
      if (links.address() === local) feed({ kind: "network-down" });
    },
    onHello: links.onHello,
    onLink: links.onLink,
    define(next) {
      const before = definitionState();
      latest = next;
      const now = definitionState();
      if (state.phase === "stopped") {
        adopt();
        // A definition that could not start may start now.
        if (state.trouble !== "" && !state.record.stopped) feed({ kind: "retry" });
      } else if (now !== before && now !== "current") {
        host.event(
          "info",
          name,
          now === "changed"
            ? `its file has changed: \`understudy restart ${name}\` applies the new definition`
            : `its file is gone: it runs on as it was until it is stopped`,
        );
      }
    },
    load: () => feed({ kind: "load" }),
    isGone: () => latest === undefined,
    isIdle,
    sample() {
      history.sample(figures, host.now());
    },
    leave() {
      feed({ kind: "leave" });
      return isIdle() ? Promise.resolve() : new Promise((resolve) => idleWaiters.push(resolve));
    },
  };
}

/** Who uses the directories, as a refusal. */
export function inUseText(users: readonly User[]): string | undefined {
  if (users.length === 0) return undefined;
  const named = users.slice(0, 10).map((u) => {
    const who = u.pid === 0 ? u.command : `${u.command} (process ${u.pid})`;
    return `${who}: ${u.how} ${u.path}`;
  });
  const more = users.length > 10 ? ` and ${users.length - 10} more` : "";
  return `the directories are in use by ${named.join("; ")}${more}. End what uses them first`;
}
