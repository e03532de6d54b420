/** Finds the agent: from `--url`, or from the configuration that it runs with. */

import { existsSync } from "node:fs";
import { joinHostPort, splitHostPort } from "../config/addresses.ts";
import { formatFinding, loadAgentConfig, readToken, SecretFileError } from "../config/mod.ts";
import type { AgentConfig } from "../config/types.ts";
import type { AgentStatus, ModuleStatus } from "../http/facade.ts";
import { type Client, createClient, problem } from "./client.ts";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";

/** @throws {Failure} where neither tells where the agent is */
export function connect(context: Context): Client {
  const { url, config } = context.options;
  const loaded = url === undefined ? readConfig(context) : undefined;
  return createClient({
    url: url ?? `http://${ownAddress(loaded!.http.listen)}`,
    help: url === undefined
      ? `Start it with: systemctl start understudy, or in the foreground: understudy agent --config ${config}`
      : "Start it on that machine, or correct --url",
    token: () => token(context, loaded),
  });
}

/** The configuration; @throws {Failure} with every finding where it has errors */
export function readConfig({ io, options }: Context): AgentConfig {
  const { config, findings } = loadAgentConfig(options.config);
  if (config !== undefined) return config;
  const lines = findings.map((finding) => formatFinding(finding, io.color.err));
  if (!existsSync(options.config)) {
    lines.push("`understudy init` makes one; --config or UNDERSTUDY_CONFIG names another place");
  }
  throw new Failure(`The configuration cannot be used:\n${lines.join("\n")}`);
}

/** Where a listening address is reached from this machine. */
export function ownAddress(listen: string): string {
  const { host, port } = splitHostPort(listen);
  const everywhere: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return joinHostPort({ host: everywhere[host] ?? host, port });
}

function token(context: Context, loaded: AgentConfig | undefined): string {
  const file = context.options.tokenFile ?? (loaded ?? readConfig(context)).http.token_file;
  try {
    return readToken(file);
  } catch (error) {
    if (error instanceof SecretFileError) {
      throw new Failure(`${error.message}. An order needs it; is this run as root?`);
    }
    throw error;
  }
}

/** @throws {Failure} where no agent answers */
export async function agentStatus(client: Client): Promise<AgentStatus> {
  const answer = await client.get("/status");
  if (answer.status !== 200) throw problem(answer);
  const status = answer.body as Partial<AgentStatus> | null;
  if (!Array.isArray(status?.modules)) {
    throw new Failure(`What answers at ${client.url} is no agent of Understudy`);
  }
  return status as AgentStatus;
}

/** @throws {Failure} where no agent answers, or it has no such module */
export async function moduleStatus(client: Client, module: string): Promise<ModuleStatus> {
  const answer = await client.get(`/status/${encodeURIComponent(module)}`);
  if (answer.status !== 200) throw problem(answer);
  return answer.body as ModuleStatus;
}
