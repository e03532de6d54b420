/**
 * Nodes to run systems on: each a network, mount and process namespace of its own, on this machine.
 *
 * The first process of a node reads a pipe from the benchmark. When the benchmark ends, in whatever
 * way, the pipe closes, that process ends, and the kernel ends every other process of the node and
 * drops its mounts and interfaces: nothing can stay behind.
 */

import { run, withDeadline } from "./host.ts";

export interface Node {
  name: string;
  address: string;
  /** put before a command, runs it on this node */
  enter: string[];
  /** Starts a process that runs until the node stops; its output goes to a file. */
  start(command: string[], log: string): Deno.ChildProcess;
  /** Ends every process of the node. */
  stop(): Promise<void>;
}

export interface NodeOptions {
  name: string;
  address: string;
  /** a directory of this node's own: shows up in the node in place of each of `privatePaths` */
  directory: string;
  /** paths that the node must not share with the machine, e.g. /var/lib/glusterd */
  privatePaths: string[];
}

/** Runs the rest of its arguments as the first process of a node. */
const setUp = `set -e
read -r pid rest < /proc/self/stat
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
ip link set lo up
echo "$pid"
exec cat`;

/** Makes a node without a network. The caller stops it. */
export async function createNode(options: NodeOptions): Promise<Node> {
  const binds: string[] = [];
  for (const path of options.privatePaths) {
    const own = `${options.directory}/private${path}`;
    await Deno.mkdir(own, { recursive: true });
    binds.push(own, path);
  }
  const unshare = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation"];
  const first = new Deno.Command("unshare", {
    args: [...unshare, "private", "sh", "-c", setUp, "node", ...binds],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = first.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  const pid = value ? parseInt(new TextDecoder().decode(value)) : NaN;
  if (Number.isNaN(pid)) {
    const said = await new Response(first.stderr).text();
    throw new Error(`Cannot make the namespaces of node "${options.name}": ${said.trim()}`);
  }
  const enter = ["nsenter", "--target", String(pid), "--net", "--mount", "--pid", "--"];

  let stopped: Promise<void> | undefined;
  async function stop() {
    await first.stdin.close().catch(() => {});
    await Promise.all([first.stdout.cancel(), first.stderr.cancel()]);
    await withDeadline(`the end of node "${options.name}"`, 20_000, first.status);
  }
  return {
    name: options.name,
    address: options.address,
    enter,
    start(command, log) {
      const script = 'log=$1; shift; exec "$@" >>"$log" 2>&1';
      return new Deno.Command(enter[0], {
        args: [...enter.slice(1), "sh", "-c", script, "start", log, ...command],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
    },
    stop: () => stopped ??= stop(),
  };
}

/** Joins two nodes by a cable: a veth pair with their addresses in one /24. */
export async function joinNodes(one: Node, other: Node): Promise<void> {
  const pid = (node: Node) => node.enter[node.enter.indexOf("--target") + 1];
  const peer = ["peer", "name", "eth0", "netns", pid(other)];
  await run(["ip", "link", "add", "eth0", "netns", pid(one), "type", "veth", ...peer]);
  for (const node of [one, other]) {
    await run([...node.enter, "ip", "address", "add", `${node.address}/24`, "dev", "eth0"]);
    await run([...node.enter, "ip", "link", "set", "eth0", "up"]);
  }
}
