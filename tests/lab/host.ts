/**
 * One host of the lab: its own processes, network, host name, mounts and disk. The paths in
 * `paths` and everything below /etc, /var, /run, /srv and /tmp are its own; the rest is the machine's.
 */

import { workDirectory } from "../lib/paths.ts";
import { waitFor } from "../lib/wait.ts";
import {
  type Agent,
  type AgentOptions,
  cli,
  http,
  type HttpOptions,
  type HttpResponse,
  startAgent,
} from "./agent.ts";
import { configDirectory, stateDirectory } from "./config.ts";
import {
  createDisk,
  type DiskOptions,
  diskRoot,
  fillDisk,
  freezeDisk,
  type Frozen,
  mountScript,
  openDisk,
} from "./disk.ts";
import { createNamespace, type Namespace } from "./namespace.ts";
import {
  address6Of,
  addressOf,
  type Fault,
  type Network,
  networks,
  reject,
  type Switch,
} from "./network.ts";
import {
  type CommandLine,
  familyOf,
  type Output,
  type Process,
  run,
  type RunOptions,
  signalProcess,
  spawn,
  type SpawnOptions,
} from "./process.ts";
import { waitForLoopDevices } from "./registry.ts";

export interface HostOptions {
  disk?: DiskOptions;
  /** directories on the host's disk, in addition to /srv, /var/lib/understudy and /etc/understudy */
  paths?: string[];
}

/** What `status --json` says of a module, as far as tests need it. */
export interface ModuleStatus {
  name: string;
  state: "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND";
  ready: boolean;
  reason: string;
  sync: string;
  [more: string]: any;
}

export interface Host {
  readonly name: string;
  /** last part of its addresses */
  readonly number: number;
  /** IPv4 addresses on net0 and net1 */
  readonly addresses: string[];
  /** IPv6 addresses on net0 and net1 */
  readonly addresses6: string[];
  /** false after `kill` and `powerLoss` */
  readonly up: boolean;
  /** the agent that was started last */
  readonly agent: Agent | undefined;
  /**
   * The place of a path of the host's disk (e.g. /srv/data) as this process reaches it: beneath
   * whatever is mounted over it on the host. For an ext4 disk only while the host is up.
   */
  path(path: string): string;
  /** Runs a program (or a line of bash) on the host to its end; another exit code than 0 throws. */
  run(command: CommandLine, options?: RunOptions): Promise<Output>;
  /** Starts a program that runs on; its output goes to `options.log`, else to the lab's logs. */
  spawn(command: CommandLine, options?: SpawnOptions): Promise<Process>;
  startAgent(options?: AgentOptions): Promise<Agent>;
  /** Runs `understudy` with these arguments; another exit code than 0 throws. */
  cli(...args: string[]): Promise<Output>;
  /** Like `cli`, returning whatever the exit code is. */
  tryCli(...args: string[]): Promise<Output>;
  http(path: string, options?: HttpOptions): Promise<HttpResponse>;
  /** The status of a module from GET /status. */
  status(module: string): Promise<ModuleStatus>;
  /** Waits for a module's state, and `ready` unless told otherwise. Default timeout 30,000 ms. */
  waitState(
    module: string,
    state: ModuleStatus["state"],
    options?: { ready?: boolean; timeout?: number },
  ): Promise<ModuleStatus>;
  /** Power off: every process ends at once, the network is gone. The page cache survives. */
  kill(): Promise<void>;
  /** Power off by a power cut: what was not flushed to the disk is lost. Needs an ext4 disk. */
  powerLoss(): Promise<void>;
  /** Boots after `kill` or `powerLoss`: disk mounted, network connected, nothing started. */
  powerOn(): Promise<void>;
  /** Pulls the cable of one network, or of both. */
  cut(network?: Network): Promise<void>;
  /** Plugs the cables in and lifts limits and rejections. Drops are undone at the lab. */
  heal(): Promise<void>;
  /** Refuses connections to a port in the host's own firewall. */
  reject(port: number, protocol?: "tcp" | "udp"): Promise<Fault>;
  /** Limits the bandwidth both ways, e.g. "10mbit"; null lifts the limit. */
  limitBandwidth(rate: string | null, network?: Network): Promise<void>;
  /** Lets the disk hang: writers wait until it is thawed. Needs an ext4 disk. */
  freezeDisk(): Promise<void>;
  thawDisk(): Promise<void>;
  /** Lets every access to the disk fail with EIO until the next `powerOn`. Needs an ext4 disk. */
  failDisk(): void;
  /** Fills the disk up to `leave` bytes (default 0). */
  fillDisk(leave?: number): Promise<void>;
  /** Removes what `fillDisk` put there. */
  emptyDisk(): Promise<void>;
}

/** A host as the lab handles it. */
export interface ManagedHost extends Host {
  /** files with the output of its agents and programs */
  readonly logs: string[];
  close(): Promise<void>;
}

/** What of the machine's tree each host sees as a copy of its own; the tests' work directory is shared. */
const overlaid = ["/etc", "/var", "/run", "/srv", "/tmp", "/opt", "/mnt"];

/**
 * Arguments: host name, the host's directory, the tests' work directory, the disk, its paths.
 * The upper layers are on a tmpfs: what is not on the disk is lost with the power.
 */
const bootScript = `
name=$1 directory=$2 work=$3 disk=$4
shift 4
hostname "$name"
mount -t sysfs sysfs /sys
system=/dev/shm
mount -t tmpfs -o size=1g,mode=755 system "$system"
mkdir "$system/work"
mount --bind "$work" "$system/work"
for top in ${overlaid.join(" ")}; do
  if [ -d "$top" ] && [ ! -L "$top" ]; then
    mkdir -p "$system/upper$top" "$system/scratch$top"
    mount -t overlay -o "lowerdir=$top,upperdir=$system/upper$top,workdir=$system/scratch$top" \\
      overlay "$top"
  fi
done
mount --bind "$system/work" "$work"
mount -t tmpfs -o mode=1777 shm /dev/shm
printf '%s\\n' "$name" >/etc/hostname
for key in all default; do
  [ ! -e /proc/sys/net/ipv6/conf/$key ] || echo 0 >/proc/sys/net/ipv6/conf/$key/accept_dad
done
`;

const bindScript = `
for path in "$@"; do
  mkdir -p "$disk$path" "$path"
  mount --bind "$disk$path" "$path"
done
`;

export interface HostContext {
  labDirectory: string;
  name: string;
  number: number;
  network: Switch;
  options: HostOptions;
  token: string;
}

/** Makes a host and boots it. */
export async function createHost(context: HostContext): Promise<ManagedHost> {
  const { labDirectory, name, number, network, options } = context;
  const disk = options.disk ?? { kind: "plain" };
  const directory = `${labDirectory}/${name}`;
  const root = diskRoot(directory, disk);
  const paths = ["/srv", stateDirectory, configDirectory, ...(options.paths ?? [])];
  const logs: string[] = [];
  let namespace: Namespace | undefined;
  let agent: Agent | undefined;
  let frozen: Frozen | undefined;
  let rejections: Fault[] = [];
  const programs: Process[] = [];

  await Deno.mkdir(directory);
  await createDisk(directory, disk);

  const running = (): Namespace => {
    if (namespace === undefined) throw new Error(`Host ${name} is off`);
    return namespace;
  };
  const needImage = (what: string): void => {
    if (disk.kind !== "ext4") {
      throw new Error(`${what} needs \`disk: { kind: "ext4" }\` of ${name}`);
    }
  };
  const outsideRoot = (): string => {
    return disk.kind === "plain" ? root : `/proc/${running().pid}/root${root}`;
  };
  const nextLog = (what: string): string => {
    const log = `${labDirectory}/logs/${name}-${logs.length + 1}-${what}.log`;
    logs.push(log);
    return log;
  };
  const powerOn = async () => {
    if (namespace !== undefined) throw new Error(`Host ${name} is on already`);
    const script = bootScript + mountScript(directory, disk) + bindScript;
    const args = [name, directory, workDirectory, root, ...paths];
    const booted = await createNamespace(labDirectory, script, args);
    namespace = booted;
    await network.connect(name, number, booted);
  };
  /** Ends all processes in this instant: left to process 1, busy ones would run on for a while. */
  const stopProcesses = (ending: Namespace) => {
    for (const program of programs) {
      for (const pid of familyOf(program.pid)) signalProcess(pid, "SIGKILL");
    }
    ending.kill();
    for (const program of programs.splice(0)) program.kill("SIGKILL");
  };
  const end = async (ending: Namespace) => {
    stopProcesses(ending);
    // A process that waits for a frozen disk does not die before the disk thaws.
    await frozen?.thaw();
    frozen = undefined;
    rejections = [];
    await ending.ended;
    await Promise.allSettled(programs.map((program) => program.status));
    namespace = undefined;
  };

  await powerOn();
  return {
    name,
    number,
    logs,
    addresses: networks.map((each) => addressOf(number, each)),
    addresses6: networks.map((each) => address6Of(number, each)),
    get up() {
      return namespace !== undefined;
    },
    get agent() {
      return agent;
    },
    path(path) {
      if (!paths.some((each) => path === each || path.startsWith(`${each}/`))) {
        throw new Error(`${path} is not on the disk of ${name}: add it to \`paths\``);
      }
      return outsideRoot() + path;
    },
    run: (command, runOptions) => run(running().enter, command, runOptions),
    async spawn(command, spawnOptions = {}) {
      const program = typeof command === "string" ? "bash" : command[0];
      const log = spawnOptions.log ?? nextLog(program.slice(program.lastIndexOf("/") + 1));
      const spawned = await spawn(running().enter, command, { ...spawnOptions, log }, true);
      programs.push(spawned);
      return spawned;
    },
    async startAgent(agentOptions) {
      agent = await startAgent(running(), name, nextLog("agent"), agentOptions);
      programs.push(agent);
      return agent;
    },
    cli: (...args) => cli(running(), name, args),
    tryCli: (...args) => cli(running(), name, args, { check: false }),
    http(path, httpOptions = {}) {
      const method = httpOptions.method ?? "GET";
      const token = method === "GET" ? {} : { Authorization: `Bearer ${context.token}` };
      const headers = { ...token, ...httpOptions.headers };
      return http(running(), path, { ...httpOptions, headers });
    },
    async status(module) {
      return await moduleStatus(running(), module);
    },
    async waitState(module, state, { ready = true, timeout = 30_000 } = {}) {
      let last: ModuleStatus | undefined;
      try {
        return await waitFor(`${module} on ${name} to be ${state}`, async () => {
          last = await moduleStatus(running(), module);
          return last.state === state && (!ready || last.ready) ? last : undefined;
        }, { timeout, interval: 50 });
      } catch (cause) {
        throw new Error(
          `${module} on ${name} did not become ${state}${
            ready ? " ready" : ""
          } within ${timeout} ms: ` +
            `${last?.state} ${last?.ready ? "ready" : "not ready"}, ${last?.reason}`,
          { cause },
        );
      }
    },
    async kill() {
      const ending = running();
      await Promise.all([end(ending), network.disconnect(name)]);
    },
    async powerLoss() {
      needImage("Power loss");
      const ending = running();
      // Holds the file system beyond the host's end, so that it is cut off and not unmounted.
      const handle = openDisk(outsideRoot());
      try {
        await network.disconnect(name);
        stopProcesses(ending);
        handle.shutDown();
        await end(ending);
      } finally {
        handle.close();
      }
      await waitForLoopDevices(directory);
    },
    powerOn,
    async cut(which) {
      for (const each of which === undefined ? networks : [which]) {
        await network.setLink(name, each, false);
      }
    },
    async heal() {
      for (const each of networks) {
        await network.setLink(name, each, true);
        await network.limit(name, running(), each, null);
      }
      for (const rejection of rejections.splice(0)) await rejection.undo();
    },
    async reject(port, protocol = "tcp") {
      const rejection = await reject(running(), port, protocol);
      rejections.push(rejection);
      return {
        async undo() {
          if (!rejections.includes(rejection)) return;
          rejections.splice(rejections.indexOf(rejection), 1);
          await rejection.undo();
        },
      };
    },
    async limitBandwidth(rate, which) {
      for (const each of which === undefined ? networks : [which]) {
        await network.limit(name, running(), each, rate);
      }
    },
    async freezeDisk() {
      needImage("A hanging disk");
      frozen ??= await freezeDisk(running(), root);
    },
    async thawDisk() {
      await frozen?.thaw();
      frozen = undefined;
    },
    failDisk() {
      needImage("A failing disk");
      const handle = openDisk(outsideRoot());
      handle.shutDown();
      handle.close();
    },
    async fillDisk(leave = 0) {
      needImage("A full disk");
      await fillDisk(outsideRoot(), leave);
    },
    emptyDisk: () => Deno.remove(`${outsideRoot()}/filler`),
    async close() {
      if (namespace !== undefined) await end(namespace);
      await waitForLoopDevices(directory);
    },
  };
}

async function moduleStatus(namespace: Namespace, module: string): Promise<ModuleStatus> {
  const response = await http(namespace, "/status");
  const found = response.json().modules.find((each: ModuleStatus) => each.name === module);
  if (found === undefined) throw new Error(`No module ${module} in ${response.body}`);
  return found;
}
