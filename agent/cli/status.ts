/** `understudy status`: what is so now, for people, for scripts, as JSON. */

import type { AgentStatus, ModuleStatus } from "../http/facade.ts";
import { type Client, NoAgent } from "./client.ts";
import { agentStatus, connect, moduleStatus } from "./connect.ts";
import type { Context } from "./context.ts";
import {
  bytes,
  type Cell,
  type Colors,
  count,
  createColors,
  microseconds,
  stateColor,
  table,
  visible,
} from "./format.ts";
import { pause } from "./pause.ts";

export interface StatusOptions {
  module?: string;
  json: boolean;
  watch: boolean;
}

/** Milliseconds between two looks of `--watch`. */
const WATCH_INTERVAL = 1_000;

/** Not serving, or not ready to take over. */
const NOT_READY = 3;

export async function status(context: Context, options: StatusOptions): Promise<number> {
  using client = connect(context);
  if (options.watch) return await watch(context, client, options);
  const { text, code } = await look(context, client, options, undefined);
  context.io.out(text);
  return code;
}

/** What was seen, and when (monotonic milliseconds): the next look tells how fast things go. */
interface Seen {
  at: number;
  modules: ModuleStatus[];
}

interface Look {
  text: string;
  code: number;
  seen: Seen;
}

async function look(
  { io }: Context,
  client: Client,
  { module: name, json, watch }: StatusOptions,
  before: Seen | undefined,
): Promise<Look> {
  const c = createColors(io.color.out);
  const space = watch ? undefined : 2;
  if (name !== undefined) {
    const module = await moduleStatus(client, name);
    const seen = { at: performance.now(), modules: [module] };
    const text = json
      ? `${JSON.stringify(module, null, space)}\n`
      : details(module, c, io.terminal, pace(module, seen, before));
    return { text, code: exitCode(module), seen };
  }
  const all = await agentStatus(client);
  const seen = { at: performance.now(), modules: all.modules };
  if (json) return { text: `${JSON.stringify(all, null, space)}\n`, code: 0, seen };
  if (!io.terminal) return { text: all.modules.map(line).join(""), code: 0, seen };
  return { text: overview(all, c, (m) => pace(m, seen, before)), code: 0, seen };
}

/** What `status MODULE` ends with: 0 where it serves, or follows and could serve. */
export function exitCode({ state, ready }: ModuleStatus): number {
  if (state === "ALONE" || state === "PRIM") return 0;
  return state === "SECOND" && ready ? 0 : NOT_READY;
}

/** One module a line: name, state, ready, sync, peer, and the reason as the rest of the line. */
function line(module: ModuleStatus): string {
  const { name, state, ready, sync, peer, reason } = module;
  const notes = notesOf(module).map((note) => `; warning: ${note}`).join("");
  const words = [name, state, ready ? "ready" : "not-ready", sync];
  return `${words.join(" ")} ${peer.node}:${peer.state ?? "-"} ${visible(reason + notes)}\n`;
}

function overview(
  { node, version, modules }: AgentStatus,
  c: Colors,
  speed: (module: ModuleStatus) => number | undefined,
): string {
  const title = `${c.bold(visible(node))}  ${c.dim(`understudy ${visible(version)}`)}\n\n`;
  if (modules.length === 0) {
    return `${title}No module is defined. \`understudy module new NAME\` makes one.\n`;
  }
  const heads = ["MODULE", "STATE", "READY", "SYNC", "PEER", "APPLICATION", "REASON"];
  const rows: Cell[][] = [heads.map((text) => ({ text, paint: c.dim }))];
  for (const module of modules) {
    const { name, state, ready, sync, peer, application, reason } = module;
    rows.push([
      { text: visible(name), paint: c.bold },
      { text: state, paint: stateColor(c, module) },
      ready ? "yes" : { text: "no", paint: c.yellow },
      sync === "synced" || sync === "none" ? sync : { text: sync, paint: c.yellow },
      `${visible(peer.node)} ${peer.state ?? "not heard"}`,
      application === "failed" ? { text: application, paint: c.red } : application,
      visible(reason),
    ]);
  }
  const below: string[] = [];
  for (const module of modules) {
    const progress = progressOf(module, speed(module));
    if (progress !== undefined) below.push(`${c.cyan(module.name)}: ${progress}\n`);
    for (const note of notesOf(module)) {
      below.push(`${c.yellow(`${visible(module.name)}: warning:`)} ${visible(note)}\n`);
    }
  }
  return title + table(rows) + (below.length > 0 ? `\n${below.join("")}` : "");
}

function details(
  module: ModuleStatus,
  c: Colors,
  terminal: boolean,
  speed: number | undefined,
): string {
  const { name, state, ready, sync, peer, replication, checks } = module;
  const yesNo = (text: string) => ready ? text : `${text}, not ready`;
  const heard = peer.heartbeat_ms == null ? "" : `, heard ${Math.round(peer.heartbeat_ms)} ms ago`;
  const acknowledged = replication.ack_us_p50 == null || replication.ack_us_p99 == null
    ? ""
    : `, acknowledged within ${microseconds(replication.ack_us_p50)} (half of them), ${
      microseconds(replication.ack_us_p99)
    } (99 of 100)`;
  const rows: [string, string, ((text: string) => string)?][] = [
    ["module", name, c.bold],
    ["state", yesNo(state), stateColor(c, module)],
    ["reason", module.reason],
    ["sync", sync],
    ["generation", String(module.generation)],
    [
      "peer",
      `${peer.node} ${peer.state ?? "not heard"}${
        peer.state == null || peer.ready ? "" : ", not ready"
      }${heard}`,
    ],
    [
      "replication",
      `${count(replication.ops)} operations, ${bytes(replication.bytes)}, ${
        count(replication.lag_ops)
      } on their way${acknowledged}`,
    ],
  ];
  if (module.vip.length > 0) rows.push(["addresses", module.vip.join(", ")]);
  if (module.application !== "none") {
    rows.push([
      "application",
      module.application,
      module.application === "failed" ? c.red : c.reset,
    ]);
  }
  for (const check of checks) {
    rows.push(["check", `${check.name} ${check.ok ? "ok" : "failed"}`, check.ok ? c.reset : c.red]);
  }
  const progress = progressOf(module, speed);
  if (progress !== undefined) rows.push(["resync", progress, c.cyan]);
  for (const note of notesOf(module)) rows.push(["warning", note, c.yellow]);
  if (!terminal) return rows.map(([key, text]) => `${key}: ${visible(text)}\n`).join("");
  return table(rows.map(([key, text, paint = String]) => [
    { text: key, paint: c.dim },
    { text: visible(text), paint },
  ]));
}

/** What stands against the module, also that its definition has changed. */
function notesOf(module: ModuleStatus): string[] {
  const { name, changed, warnings } = module;
  const told = warnings.some((warning) => warning.includes("changed"));
  if (!changed || told) return warnings;
  return [...warnings, `its file has changed: \`understudy restart ${name}\` applies it`];
}

/** A resync in words; there is no end to measure against, for trees are compared as they are read. */
function progressOf({ resync }: ModuleStatus, speed: number | undefined): string | undefined {
  if (resync == null) return undefined;
  const parts = [
    `${count(resync.files_done)} files`,
    `${bytes(resync.bytes_compared)} compared`,
    `${bytes(resync.bytes_sent)} sent`,
  ];
  if (speed !== undefined) parts.push(`${bytes(speed)}/s`);
  return `${visible(resync.phase)}: ${parts.join(", ")}`;
}

/** Bytes a second that a resync compares and sends, between two looks. */
function pace(module: ModuleStatus, now: Seen, before: Seen | undefined): number | undefined {
  const then = before?.modules.find((m) => m.name === module.name)?.resync;
  if (before === undefined || then == null || module.resync == null) return undefined;
  const done = module.resync.bytes_compared + module.resync.bytes_sent;
  const difference = done - then.bytes_compared - then.bytes_sent;
  return difference < 0 ? undefined : difference / Math.max(0.001, (now.at - before.at) / 1000);
}

/** Looks again and again: redraws a terminal, writes to a pipe what has changed. */
async function watch(context: Context, client: Client, options: StatusOptions): Promise<number> {
  const { io } = context;
  let before: Seen | undefined;
  let shown: string | undefined;
  let code = 0;
  while (!io.signal.aborted) {
    let text: string;
    try {
      const seen = await look(context, client, options, before);
      ({ text, code, seen: before } = seen);
    } catch (error) {
      // an agent that is restarted comes back
      if (!(error instanceof NoAgent)) throw error;
      [code, before] = [1, undefined];
      text = options.json ? "" : `${error.message}\n`;
    }
    if (io.terminal && !options.json) {
      // from the top left corner (CUP), then the rest of the screen away (ED)
      io.out(
        `${shown === undefined ? "\x1b[2J" : ""}\x1b[H${text.replaceAll("\n", "\x1b[K\n")}\x1b[J`,
      );
    } else if (text !== shown) io.out(text);
    shown = text;
    await pause(WATCH_INTERVAL, io.signal);
  }
  return code;
}
