/** The agent on a host of the lab, and the ways to talk to it. */

import { binary } from "../lib/paths.ts";
import { waitFor } from "../lib/wait.ts";
import { configFile } from "./config.ts";
import type { Namespace } from "./namespace.ts";
import { type Output, type Process, run, type RunOptions, spawn } from "./process.ts";

export interface AgentOptions {
  /** added to an environment that holds only PATH, HOME and LANG */
  env?: Record<string, string>;
  /** default /etc/understudy/config.toml */
  config?: string;
  /** more arguments for `understudy agent` */
  args?: string[];
  /** false: do not wait until its HTTP interface answers */
  wait?: boolean;
}

export interface Agent extends Process {
  /** file on the machine with what the agent wrote to standard output and error */
  readonly log: string;
  /** Ends the agent with SIGTERM and waits; SIGKILL after `timeout` milliseconds (default 20,000) fails. */
  stop(timeout?: number): Promise<void>;
}

export interface HttpResponse {
  status: number;
  headers: Map<string, string>;
  body: string;
  /** the body as JSON; throws where it is none */
  json(): any;
}

export interface HttpOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** "host:port" as seen from the host; default 127.0.0.1:9010 */
  address?: string;
  /** milliseconds, default 10,000 */
  timeout?: number;
}

/** Starts the agent of a node and waits until it answers. */
export async function startAgent(
  namespace: Namespace,
  node: string,
  log: string,
  options: AgentOptions = {},
): Promise<Agent> {
  const config = options.config ?? configFile;
  const command = [binary, "agent", "--config", config, "--node", node, ...(options.args ?? [])];
  const spawnOptions = options.env === undefined ? { log } : { log, env: options.env };
  const child = await spawn(namespace.enter, command, spawnOptions, true);
  let ended = false;
  child.status.then(() => ended = true);
  const agent: Agent = {
    ...child,
    log,
    async stop(timeout = 20_000) {
      child.kill("SIGTERM");
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill("SIGKILL");
      }, timeout);
      await child.status;
      clearTimeout(timer);
      if (late) throw new Error(`The agent on ${node} did not stop within ${timeout} ms`);
    },
  };
  if (options.wait === false) return agent;
  await waitFor(`the agent on ${node} to answer`, async () => {
    // Not an error of the condition: that would be waited for to pass.
    if (ended) return true;
    return (await http(namespace, "/healthz")).status === 200;
  }, { timeout: 30_000, interval: 50 });
  if (ended) {
    const { code, signal } = await child.status;
    const text = await Deno.readTextFile(log);
    throw new Error(`The agent on ${node} ended with ${signal ?? code}:\n${text}`);
  }
  return agent;
}

/** Runs the command line tool against a host's own agent. */
export function cli(
  namespace: Namespace,
  node: string,
  args: string[],
  options: RunOptions = {},
): Promise<Output> {
  const env = { UNDERSTUDY_NODE: node, ...options.env };
  return run(namespace.enter, [binary, ...args], { ...options, env });
}

/** Sends an HTTP request from within a host. Throws where nobody answers. */
export async function http(
  namespace: Namespace,
  path: string,
  options: HttpOptions = {},
): Promise<HttpResponse> {
  const address = options.address ?? "127.0.0.1:9010";
  const colon = address.lastIndexOf(":");
  const headers = { Host: address, ...options.headers };
  const body = options.body ?? "";
  // HTTP/1.0: the answer is not chunked and ends with the connection.
  const request = [
    `${options.method ?? "GET"} ${path} HTTP/1.0`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${new TextEncoder().encode(body).length}`,
    "",
    body,
  ].join("\r\n");
  const script = 'exec 3<>"/dev/tcp/$0/$1" && cat >&3 && cat <&3';
  const command = ["bash", "-c", script, address.slice(0, colon), address.slice(colon + 1)];
  const { stdout } = await run(namespace.enterNetwork, command, {
    stdin: request,
    timeout: options.timeout ?? 10_000,
  });
  const split = stdout.indexOf("\r\n\r\n");
  if (split < 0) throw new Error(`No HTTP answer from ${address}: ${stdout.slice(0, 200)}`);
  const [first, ...lines] = stdout.slice(0, split).split("\r\n");
  const text = stdout.slice(split + 4);
  return {
    status: Number(first.split(" ")[1]),
    headers: new Map(lines.map((line) => {
      const end = line.indexOf(":");
      return [line.slice(0, end).toLowerCase(), line.slice(end + 1).trim()];
    })),
    body: text,
    json: () => JSON.parse(text),
  };
}
