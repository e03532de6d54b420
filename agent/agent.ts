/**
 * The agent: one process a node. Puts the parts together, and takes them apart again when it is told
 * to end.
 */

import { createControl } from "./cluster/control.ts";
import type { Control } from "./cluster/control.ts";
import { openChannel } from "./cluster/channel.ts";
import type { ClusterEvent } from "./cluster/events.ts";
import {
  formatFinding,
  loadAgentConfig,
  readSecret,
  readToken,
  SecretFileError,
  selfNode,
} from "./config/mod.ts";
import type { AgentConfig } from "./config/types.ts";
import { createEventLog, type EventLog } from "./events.ts";
import { createFacade } from "./facade.ts";
import { startDataPath } from "./failover/datapath.ts";
import { type ModuleHost, mountSource } from "./failover/module.ts";
import { readOwners, surveyOwners } from "./failover/owners.ts";
import { sampleMs } from "./failover/status.ts";
import { findObstacle, findWarnings, isEmpty } from "./host.ts";
import { createApp } from "./http/app.ts";
import { serve } from "./http/server.ts";
import { openLibc } from "./platform/linux/libc.ts";
import { bootId } from "./platform/linux/process.ts";
import { watchdogInterval } from "./platform/linux/systemd.ts";
import { openPlatform, type Platform } from "./platform/platform.ts";
import { createRegistry, type Registry } from "./registry.ts";
import { knownModules, reserveRecord, writeRecord } from "./state/store.ts";
import { build, version } from "./version.ts";

export interface AgentOptions {
  /** path of config.toml */
  config: string;
  /** `--node NAME` */
  node?: string | undefined;
}

/** Longest time that modules may take to end; data paths that hang are ended by force before that. */
const leaveLimit = 15_000;
/** The peer is told last words; they leave within this time. */
const lastWordsMs = 50;

/** What ends a start: the message is for the operator. */
class StartError extends Error {
  override readonly name = "StartError";
}

/**
 * Runs the agent in the foreground until it is told to end. Returns the exit code: 0 after an orderly
 * end, 1 where it could not start, with the reason on standard error.
 */
export async function runAgent(options: AgentOptions): Promise<number> {
  const { config, findings } = loadAgentConfig(options.config);
  for (const finding of findings) say(formatFinding(finding, Deno.stderr.isTerminal()));
  if (!config) return 1;
  try {
    return await runConfigured(config, options.node);
  } catch (error) {
    const { name, message } = error as Error;
    // Errors with a sentence for the operator say so by their name; others are mistakes of ours.
    say(
      `understudy: ${name === "Error" || name === "TypeError" ? (error as Error).stack : message}`,
    );
    return 1;
  }
}

async function runConfigured(config: AgentConfig, flag: string | undefined): Promise<number> {
  const node = selfNode(config, {
    flag,
    env: Deno.env.get("UNDERSTUDY_NODE"),
    hostname: Deno.hostname(),
  });
  const platform = openPlatform();
  platform.require("mirror");
  const undo: (() => void | Promise<void>)[] = [];
  try {
    const lock = lockState(platform, config.state_dir);
    undo.push(() => lock.release());
    const secret = readSecret(config.cluster.secret_file);
    const token = readTokenIfAny(config.http.token_file);
    const events = createEventLog({ ...config.log, write: say });
    const { commit } = build();
    events.add(
      "info",
      "",
      `Understudy ${version} (${commit}) starts as ${node}, process ${Deno.pid}`,
    );
    if (token.missing !== undefined) {
      events.add("warning", "", `${token.missing} Until then nothing can be changed over HTTP.`);
    }
    undo.push(keepGoing(events));
    await clearDeadMounts(platform, config.state_dir, events);
    const running = await start(config, node, platform, secret, events, token.token, undo);
    const signal = await untilTold(running, events);
    events.add("info", "", `the agent ends: ${signal}`);
    return 0;
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

interface Running {
  registry: Registry;
}

/** Starts everything; what is to be undone in the end, in reverse order, goes to `undo`. */
async function start(
  config: AgentConfig,
  node: string,
  platform: Platform,
  secret: Uint8Array,
  events: EventLog,
  token: string,
  undo: (() => void | Promise<void>)[],
): Promise<Running> {
  const libc = openLibc();
  let control: Control | undefined;
  const host: ModuleHost = {
    agent: config,
    node,
    control: () => control,
    startDataPath: (onReport, onCrash) => startDataPath({ libc, onReport, onCrash }),
    writeRecord: (record) => writeRecord(config.state_dir, record),
    reserveRecord: (record) => reserveRecord(config.state_dir, record),
    isEmpty,
    findObstacle: (module) => findObstacle(platform, config, module, events.add),
    findWarnings: (module) => findWarnings(platform, config, module),
    endMounts: platform.endMounts,
    closeLink: (link) => openChannel(libc, link).close(),
    owners: readOwners,
    surveyOwners,
    now: platform.monotonic,
    event: events.add,
    seed: crypto.getRandomValues(new Uint8Array(8)).toHex(),
    boot: bootId(),
  };
  const registry = createRegistry({ config, node, host, events });
  undo.push(() => registry.close());
  // The peer must not hear of this node before it can say what its modules are.
  await registry.reload();
  const opened = createControl({
    libc,
    node,
    nodes: config.nodes,
    port: config.cluster.port,
    encryption: config.cluster.encryption,
    secret,
    heartbeat: config.heartbeat,
    view: () => registry.list().map((module) => module.view()),
    onEvent: (event) => onClusterEvent(event, registry, events, () => control),
    onView: (_, view) => {
      for (const module of registry.list()) module.onPeerView(view);
    },
    onHello: (hello) =>
      registry.find(hello.module)?.onHello(hello) ??
        { accept: false, reason: `${node} does not know module ${hello.module}` },
    onLink: (link, hello) => {
      const module = registry.find(hello.module);
      if (module) module.onLink(link, hello);
      else host.closeLink(link);
    },
  });
  control = opened;
  undo.push(() => {
    control = undefined;
    return opened.close();
  });
  if (opened.encryption === "relay") {
    events.add("info", "", "OpenSSL was not found: the links use Deno's own TLS, which is slower");
  }
  const app = createApp(createFacade({ node, registry, events, control: () => control }), token);
  const http = serve(app, config.http.listen, (error) => events.add("error", "", `HTTP: ${error}`));
  undo.push(() => http.close());
  events.add("info", "", `listening on ${config.http.listen}`);

  // Nothing was touched up to here: whatever fails above leaves the directories as they are.
  undo.push(() => leaveModules(registry, events, opened));
  registry.start();
  const sampling = setInterval(() => {
    for (const module of registry.list()) module.sample();
  }, sampleMs);
  undo.push(() => clearInterval(sampling));
  undo.push(serveManager(platform));
  return { registry };
}

/** Only one agent may use a state directory. */
function lockState(platform: Platform, directory: string): { release(): void } {
  try {
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StartError(`state_dir ${directory} cannot be made: ${(error as Error).message}`);
  }
  const lock = platform.lock(`${directory}/agent.lock`);
  if ("release" in lock) return lock;
  const who = lock.heldBy === undefined
    ? "another agent"
    : `the agent with process id ${lock.heldBy}`;
  throw new StartError(
    `${who} runs on this node already and uses ${directory}: stop that one first`,
  );
}

/** A missing token is no reason not to run: whatever needs one is refused. */
function readTokenIfAny(file: string): { token: string; missing: string | undefined } {
  try {
    return { token: readToken(file), missing: undefined };
  } catch (error) {
    if (error instanceof SecretFileError && error.missing) {
      return { token: "", missing: `${error.message}.` };
    }
    throw error;
  }
}

/**
 * A mount whose agent is gone makes its directory unusable; after a kill that is ours to mend. Each
 * module does so when it starts; here it is done for those whose files are gone meanwhile.
 */
async function clearDeadMounts(
  platform: Platform,
  stateDir: string,
  events: EventLog,
): Promise<void> {
  for (const module of await knownModules(stateDir)) {
    const { cleared } = await platform.clearDeadMounts(mountSource(module));
    for (const path of cleared) {
      const text = `the dead mount of an agent that was killed is gone from ${path}`;
      events.add("warning", module, text);
    }
  }
}

function onClusterEvent(
  event: ClusterEvent,
  registry: Registry,
  events: EventLog,
  control: () => Control | undefined,
): void {
  events.add(event.level, "", event.text);
  if (event.kind === "peer-silent") {
    for (const module of registry.list()) module.onPeerSilent();
  } else if (event.kind === "network-down") {
    for (const module of registry.list()) module.onNetworkDown(event.local);
  } else if (event.kind === "peer-up") {
    // The packet that brought the peer back is still being taken in; its view comes first.
    queueMicrotask(() => {
      const view = control()?.peer(event.peer)?.view;
      if (view) { for (const module of registry.list()) module.onPeerView(view); }
    });
  }
}

/** A mistake of ours in one place must not take the mounts of all modules away. */
function keepGoing(events: EventLog): () => void {
  const report = (error: unknown) => {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    events.add("error", "", `a mistake in the agent, please report it: ${text}`);
  };
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    report(event.error ?? event.message);
  };
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    report(event.reason);
  };
  globalThis.addEventListener("error", onError);
  globalThis.addEventListener("unhandledrejection", onRejection);
  return () => {
    globalThis.removeEventListener("error", onError);
    globalThis.removeEventListener("unhandledrejection", onRejection);
  };
}

/** Waits for SIGTERM or SIGINT; SIGHUP looks at the modules at once. Returns what told it to end. */
function untilTold({ registry }: Running, events: EventLog): Promise<string> {
  return new Promise((resolve) => {
    const reload = () => {
      events.add("info", "", "SIGHUP: the module files are read again");
      void registry.reload();
    };
    const end = (signal: Deno.Signal) => () => {
      Deno.removeSignalListener("SIGHUP", reload);
      resolve(signal);
    };
    Deno.addSignalListener("SIGHUP", reload);
    // They stay: a second one must not kill the process while it puts the directories in order.
    Deno.addSignalListener("SIGTERM", end("SIGTERM"));
    Deno.addSignalListener("SIGINT", end("SIGINT"));
  });
}

/** Ends all modules; the peer hears of it before the heartbeats stop. */
async function leaveModules(
  registry: Registry,
  events: EventLog,
  control: Control,
): Promise<void> {
  registry.close();
  let timer: number | undefined;
  const limit = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), leaveLimit);
  });
  const left = Promise.all(registry.list().map((module) => module.leave()));
  if (await Promise.race([left, limit]) === "late") {
    const names = registry.list().filter((m) => !m.isIdle()).map((m) => m.name).join(", ");
    events.add("error", "", `${names} did not end within ${leaveLimit / 1000} s`);
  }
  clearTimeout(timer);
  control.announce();
  await new Promise((resolve) => setTimeout(resolve, lastWordsMs));
}

/** Tells the service manager that the agent is up, alive, and ending (sd_notify(3)). */
function serveManager(platform: Platform): () => void {
  platform.notifyServiceManager("READY=1");
  const interval = watchdogInterval();
  const timer = interval === undefined
    ? undefined
    : setInterval(() => platform.notifyServiceManager("WATCHDOG=1"), interval / 3);
  return () => {
    platform.notifyServiceManager("STOPPING=1");
    clearInterval(timer);
  };
}

const encoder = new TextEncoder();

/** Writes a whole line to standard error; nobody reading it is no reason to end. */
function say(text: string): void {
  const bytes = encoder.encode(text.endsWith("\n") ? text : `${text}\n`);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // a closed pipe: the events can still be asked for
  }
}
