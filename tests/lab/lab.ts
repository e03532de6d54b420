/**
 * The lab: real agents as separate processes on hosts of their own, made of namespaces, with two
 * networks between them and every fault that tests need. Needs root (see `labNeeds` in
 * ../lib/requires.ts).
 *
 * A lab goes with `close()`. If the test process dies without it, in whatever way, a watchdog sees
 * its pipe close and removes the lab; if that was killed too, `cleanup.ts` or the next lab does.
 */

import { workDirectory } from "../lib/paths.ts";
import { labNeeds, type Need, testWith } from "../lib/requires.ts";
import { configDirectory, configFiles, type ConfigSpec } from "./config.ts";
import { createHost, type Host, type HostOptions, type ManagedHost } from "./host.ts";
import { createSwitch, type DropOptions, type Fault, type Switch } from "./network.ts";
import { registerLab, removeAbandonedLabs, removeLab } from "./registry.ts";

export type { Agent, HttpResponse } from "./agent.ts";
export type { ConfigSpec, ModuleSpec } from "./config.ts";
export type { Host, HostOptions, ModuleStatus } from "./host.ts";
export type { DropOptions, Fault, Network } from "./network.ts";
export type { Output, Process, SpawnOptions } from "./process.ts";

export interface LabOptions {
  /** hosts that run agents, with options; default alpha and beta */
  nodes?: Record<string, HostOptions>;
  /** more hosts, which are in no configuration, e.g. `{ witness: {}, client: {} }` */
  others?: Record<string, HostOptions>;
  /** options of every node that has none of its own */
  disk?: HostOptions["disk"];
}

export interface Lab {
  /** the lab's directory on the machine; each host sees it at the same path */
  readonly directory: string;
  readonly alpha: Host;
  readonly beta: Host;
  /** A host by its name. */
  host(name: string): Host;
  /** Writes the same configuration on every node (or on `hosts`), replacing the modules of before. */
  writeConfig(spec: ConfigSpec, hosts?: Host[]): Promise<void>;
  /** Drops packets one way between two hosts, at the switch. */
  drop(options: DropOptions): Promise<Fault>;
  /** Drops packets both ways between two hosts, on both networks. */
  partition(a: string, b: string): Promise<Fault>;
  /** The last lines of each host's newest logs, for a failure's message. */
  logTails(lines?: number): Promise<string>;
  /** Ends and removes everything. May be called again. */
  close(): Promise<void>;
}

/** Numbers of well-known hosts; others follow from 20. */
const numbers: Record<string, number> = { alpha: 1, beta: 2, witness: 9, client: 10 };

/** Makes a lab and boots its hosts. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  await removeAbandonedLabs();
  const directory = await registerLab();
  const watchdog = startWatchdog(directory);
  let network: Switch | undefined;
  const hosts = new Map<string, ManagedHost>();
  const nodes: { name: string; number: number }[] = [];
  const secret = crypto.getRandomValues(new Uint8Array(32)).toHex();
  const token = crypto.getRandomValues(new Uint8Array(16)).toHex();

  let closing: Promise<void> | undefined;
  const close = async () => {
    await Promise.allSettled([...hosts.values()].map((host) => host.close()));
    await network?.close();
    await removeLab(directory);
    await watchdog.dismiss();
  };

  try {
    await Deno.mkdir(`${directory}/logs`);
    network = await createSwitch(directory);
    let next = 20;
    const nodeOptions = options.nodes ?? { alpha: {}, beta: {} };
    for (const [name, hostOptions] of Object.entries({ ...nodeOptions, ...options.others })) {
      const number = numbers[name] ?? next++;
      const merged: HostOptions = options.disk === undefined || name in (options.others ?? {})
        ? hostOptions
        : { disk: options.disk, ...hostOptions };
      hosts.set(
        name,
        await createHost({
          labDirectory: directory,
          name,
          number,
          network,
          options: merged,
          token,
        }),
      );
      if (name in nodeOptions) nodes.push({ name, number });
    }
  } catch (error) {
    await close();
    throw error;
  }

  const host = (name: string): ManagedHost => {
    const found = hosts.get(name);
    if (found === undefined) throw new Error(`The lab has no host ${name}`);
    return found;
  };
  const lab: Lab = {
    directory,
    get alpha() {
      return host("alpha");
    },
    get beta() {
      return host("beta");
    },
    host,
    async writeConfig(spec, targets = nodes.map(({ name }) => host(name))) {
      const files = configFiles(spec, nodes, { secret, token });
      for (const target of targets) {
        const root = target.path(configDirectory);
        await Deno.remove(`${root}/modules`, { recursive: true }).catch(() => {});
        await Deno.mkdir(`${root}/modules`, { recursive: true });
        for (const [name, text] of files) {
          await Deno.writeTextFile(`${root}/${name}`, text, { mode: 0o600 });
        }
      }
    },
    drop: (dropOptions) => network.drop(dropOptions),
    async partition(a, b) {
      const faults = [
        await network.drop({ from: a, to: b }),
        await network.drop({ from: b, to: a }),
      ];
      return {
        async undo() {
          for (const fault of faults) await fault.undo();
        },
      };
    },
    async logTails(lines = 60) {
      let text = "";
      // The newest of each host: a long run starts agents again and again.
      for (const log of [...hosts.values()].flatMap(({ logs }) => logs.slice(-4))) {
        const tail = (await Deno.readTextFile(log).catch(() => "")).split("\n").slice(-lines - 1);
        text += `--- ${log.slice(directory.length + "/logs/".length)}\n${tail.join("\n")}\n`;
      }
      return text;
    },
    close: () => closing ??= close(),
  };
  return lab;
}

/**
 * Runs `body` in a lab of its own. After a failure the ends of all logs are printed, and the logs are
 * kept in `failed/` of the tests' work directory.
 */
export async function withLab<T>(
  options: LabOptions,
  body: (lab: Lab) => T | Promise<T>,
): Promise<T> {
  const lab = await createLab(options);
  try {
    return await body(lab);
  } catch (error) {
    console.error(await lab.logTails());
    await keepLogs(lab);
    throw error;
  } finally {
    await lab.close();
  }
}

/** Registers a test in a lab of its own, ignored with the reason where the machine lacks something. */
export function labTest(
  name: string,
  options: LabOptions & { needs?: Need[] },
  body: (lab: Lab, t: Deno.TestContext) => void | Promise<void>,
): void {
  const disks = [options.disk, ...Object.values(options.nodes ?? {}).map(({ disk }) => disk)];
  const loop: Need[] = disks.some((disk) => disk?.kind === "ext4") ? ["loop"] : [];
  const needs = [...labNeeds, ...loop, ...(options.needs ?? [])];
  testWith(needs, name, (t) => withLab(options, (lab) => body(lab, t)));
}

async function keepLogs(lab: Lab): Promise<void> {
  const kept = `${workDirectory}/failed/${lab.directory.slice(lab.directory.lastIndexOf("/") + 1)}`;
  await Deno.mkdir(kept, { recursive: true });
  for await (const { name, isFile } of Deno.readDir(`${lab.directory}/logs`)) {
    if (isFile) await Deno.copyFile(`${lab.directory}/logs/${name}`, `${kept}/${name}`);
  }
  console.error(`All logs: ${kept}`);
}

/** A process that outlives this one, and removes the lab when its pipe closes without a word. */
function startWatchdog(directory: string): { dismiss(): Promise<void> } {
  const cleanup = new URL("./cleanup.ts", import.meta.url).pathname;
  const script = 'read -r word; [ "$word" = done ] || exec "$@"';
  const remove = [Deno.execPath(), "run", "--allow-all", "--no-config", "--no-lock", cleanup];
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", script, "sh", ...remove, directory],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async dismiss() {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode("done\n"));
      await writer.close();
      await child.status;
    },
  };
}
