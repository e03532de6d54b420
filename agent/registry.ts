/**
 * The modules of this node: one for each right file in `modules_dir`. Files that are dropped in, changed
 * or removed are noticed; a module that runs keeps its definition until it is restarted.
 */

import { loadModules } from "./config/mod.ts";
import type { AgentConfig, Finding, ModuleConfig } from "./config/types.ts";
import type { EventLog } from "./events.ts";
import { createModule, type Module, type ModuleHost } from "./failover/module.ts";
import { readRecord, reserveRecord } from "./state/store.ts";

/** How often the directory is looked at. Polling also sees what network file systems do not tell. */
const pollMs = 2000;

export interface Registry {
  /** in the order of their names */
  list(): Module[];
  find(name: string): Module | undefined;
  /** mistakes in module files, and records that cannot be used */
  problems(): { file: string; message: string }[];
  /** Reads the directory now. Modules that are new are made, and started once {@link start} was called. */
  reload(): Promise<void>;
  /** Starts the modules, and looks at the directory from now on. */
  start(): void;
  close(): void;
}

export interface RegistryOptions {
  config: AgentConfig;
  node: string;
  host: ModuleHost;
  events: EventLog;
  /** replaced in tests */
  load?: (dir: string, agent: AgentConfig) => { modules: ModuleConfig[]; findings: Finding[] };
}

/** Makes the registry; nothing is read before {@link Registry.reload}. */
export function createRegistry(options: RegistryOptions): Registry {
  const { config, node, host, events, load = loadModules } = options;
  const modules = new Map<string, Module>();
  let problems: { file: string; message: string }[] = [];
  let signature: string | undefined;
  let timer: number | undefined;
  let started = false;
  let closed = false;
  let reloading: Promise<void> = Promise.resolve();

  async function readDirectory(): Promise<void> {
    const { modules: found, findings } = load(config.modules_dir, config);
    report(findings);
    const wrong = new Set(findings.filter((f) => f.severity === "error").map((f) => f.file));
    const next = findings.filter((f) => f.severity === "error")
      .map(({ file, line, message }) => ({
        file: line === undefined ? file : `${file}:${line}`,
        message,
      }));
    for (const definition of found) {
      const known = modules.get(definition.name);
      if (known) {
        known.define(definition);
        continue;
      }
      if (!definition.nodes.includes(node)) continue;
      try {
        const record = await readRecord(config.state_dir, definition.name, node);
        await reserveRecord(config.state_dir, record);
        if (closed) return;
        const module = createModule(host, definition, record);
        modules.set(definition.name, module);
        if (started) module.load();
      } catch (error) {
        const { message } = error as Error;
        if (!problems.some((p) => p.message === message)) {
          events.add("error", definition.name, message);
        }
        next.push({ file: definition.file, message });
      }
    }
    for (const [name, module] of modules) {
      if (found.some((definition) => definition.name === name)) continue;
      // A file with a mistake in it says nothing: what runs goes on with what it knows.
      if (wrong.has(module.config.file)) continue;
      module.define(undefined);
    }
    problems = next;
  }

  function report(findings: Finding[]): void {
    for (const { severity, file, line, message } of findings) {
      const place = line === undefined ? file : `${file}:${line}`;
      events.add(severity === "error" ? "error" : "warning", "", `${place}: ${message}`);
    }
  }

  /** Modules whose files are gone leave once nothing of them runs. */
  function dropIdle(): void {
    for (const [name, module] of modules) {
      if (!module.isGone() || !module.isIdle()) continue;
      void module.leave();
      modules.delete(name);
    }
  }

  async function look(): Promise<void> {
    const now = await directorySignature(config.modules_dir);
    if (now !== signature) {
      signature = now;
      await readDirectory();
    }
    dropIdle();
  }

  /** One look at a time; an error in one of them is no reason to stop looking. */
  function enqueue(work: () => Promise<void>): Promise<void> {
    reloading = reloading.then(work).catch((error) => {
      events.add("error", "", `${config.modules_dir} cannot be read: ${(error as Error).message}`);
    });
    return reloading;
  }

  function next(): void {
    if (closed) return;
    timer = setTimeout(() => enqueue(look).then(next), pollMs);
  }

  return {
    list: () => [...modules.values()].sort((a, b) => a.name < b.name ? -1 : 1),
    find: (name) => modules.get(name),
    problems: () => problems,
    reload: () =>
      enqueue(async () => {
        signature = await directorySignature(config.modules_dir);
        await readDirectory();
      }),
    start() {
      started = true;
      for (const module of modules.values()) module.load();
      next();
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Changes whenever a file of the directory does. */
async function directorySignature(directory: string): Promise<string> {
  const entries: string[] = [];
  try {
    for await (const { name } of Deno.readDir(directory)) {
      const info = await Deno.stat(`${directory}/${name}`).catch(() => undefined);
      entries.push(`${name} ${info?.ino} ${info?.size} ${info?.mtime?.getTime()}`);
    }
  } catch (error) {
    return (error as Error).name;
  }
  return entries.sort().join("\n");
}
