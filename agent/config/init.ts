/** The first configuration: config.toml, the cluster secret and the HTTP token. */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseAgentConfig } from "./agent.ts";
import { SECRET_BYTES } from "./secret.ts";

/** What `init` is told. */
export interface InitOptions {
  /** path of config.toml; the secret, the token and the modules directory stand beside it */
  config: string;
  /** the two nodes, addresses in the order of the networks */
  nodes: { name: string; addresses: string[] }[];
  /** by default /var/lib/understudy */
  stateDir?: string;
  /** where random bytes come from; by default the system */
  random?: (bytes: number) => Uint8Array;
}

/** A file to write. */
export interface InitFile {
  path: string;
  mode: number;
  content: string;
}

/** `init` cannot do what it was told. Nothing has been left half written. */
export class InitError extends Error {
  override name = "InitError";
}

/**
 * The files of a new cluster. The secret and the configuration are the same on every node: they are
 * made once, and copied.
 *
 * @throws {InitError} where the nodes' names or addresses are wrong
 */
export function initFiles(options: InitOptions): InitFile[] {
  const config = resolve(options.config);
  const directory = dirname(config);
  const random = options.random ?? ((bytes: number) => randomBytes(bytes));
  const secret = () => `${Buffer.from(random(SECRET_BYTES)).toString("base64")}\n`;
  const files: InitFile[] = [
    { path: config, mode: 0o644, content: configText(options, directory) },
    { path: join(directory, "cluster.key"), mode: 0o600, content: secret() },
    { path: join(directory, "http.token"), mode: 0o600, content: secret() },
  ];
  const { findings } = parseAgentConfig(files[0].content, config);
  const errors = findings.filter((f) => f.severity === "error");
  if (errors.length > 0) throw new InitError(errors.map((f) => f.message).join("\n"));
  return files;
}

/**
 * Writes the files of {@link initFiles} and makes their directories.
 *
 * @throws {InitError} where one of the files exists already, or cannot be written; what this call
 * had written is then removed again
 */
export function writeInit(options: InitOptions): InitFile[] {
  const files = initFiles(options);
  const existing = files.map((f) => f.path).filter((path) => existsSync(path));
  if (existing.length > 0) throw refusal(existing);
  const written: string[] = [];
  try {
    mkdirSync(join(dirname(files[0].path), "modules"), { recursive: true, mode: 0o755 });
    for (const { path, mode, content } of files) {
      // exclusive: what somebody else writes meanwhile is not overwritten either
      const fd = openSync(path, "wx", mode);
      written.push(path);
      try {
        fchmodSync(fd, mode); // whatever the umask is
        writeSync(fd, content);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }
  } catch (error) {
    for (const path of written) unlinkSync(path);
    const { code, path, message } = error as { code?: string; path?: string; message: string };
    if (code === "EEXIST" && path !== undefined) throw refusal([path]);
    throw new InitError(`The configuration cannot be written (${message})`);
  }
  return files;
}

function refusal(existing: string[]): InitError {
  return new InitError(
    `${existing.join(", ")} exist${existing.length === 1 ? "s" : ""} already and would be ` +
      "overwritten. Remove or move away what is there, or name another place with --config",
  );
}

/** A TOML basic string; JSON's escapes are TOML's as well. */
function quote(text: string): string {
  return JSON.stringify(text).replace(/\x7f/g, "\\u007f");
}

function configText(options: InitOptions, directory: string): string {
  const nodes = options.nodes.map(({ name, addresses }) =>
    `[[nodes]]
name = ${quote(name)}
addresses = [${addresses.map(quote).join(", ")}]
`
  ).join("\n");
  return `# Understudy: the agent's configuration. The same file stands on every node, together with
# cluster.key. Check it with: understudy check-config

state_dir = ${quote(options.stateDir ?? "/var/lib/understudy")}
modules_dir = ${quote(join(directory, "modules"))}

# The two nodes. A node finds itself by its host name, by --node NAME or by UNDERSTUDY_NODE.
# Addresses: one per network, in order of preference, of the same networks on both nodes.
${nodes}
[cluster]
port = 9700                     # heartbeats (UDP) and replication (TCP)
secret_file = ${quote(join(directory, "cluster.key"))}
encryption = "on"               # on | off

[heartbeat]
interval = "200ms"
timeout = "2s"                  # silence on every network for this long: the peer is gone
ack_timeout = "10s"             # a secondary that applies nothing for this long is dropped

# A third machine that says which node goes on when the two lose sight of each other. Without one,
# each goes on alone, and when they meet again the primary's data stays.
#[witness]
#kind = "understudy"             # understudy | etcd | ping | none
#endpoints = ["192.0.2.9:9701"]

[http]
listen = "127.0.0.1:9010"
token_file = ${quote(join(directory, "http.token"))}

[log]
level = "info"                  # debug | info | warning | error
format = "text"                 # text | json
`;
}
