/**
 * The keys of config.toml and of module files: what each takes, its default and what it is for.
 *
 * zod holds the structure; what a single value may be is a {@link Kind}. The same schemas give the
 * JSON Schemas for editors.
 */
import * as z from "zod";
import { excludeMistake } from "../mirror/exclude.ts";
import { address, hostPort, virtualAddress } from "./addresses.ts";
import {
  absolutePath,
  anyText,
  checkName,
  duration,
  integer,
  interfaceName,
  type Kind,
  moduleName,
  nodeName,
  oneOf,
  port,
  text,
} from "./values.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** A value of a kind. Its issue carries "expected" as the message and the hint in `params`. */
function value<T>(kind: Kind<T>, description: string) {
  return z.any().transform((input: unknown, context): T => {
    const read = kind.read(input);
    if ("value" in read) return read.value;
    context.addIssue({ code: "custom", message: kind.expected, params: { hint: read.hint } });
    return z.NEVER;
  }).meta({ ...kind.json, description });
}

/** A table: unknown keys are refused. */
const table = z.strictObject;

const exclusion: Kind<string> = {
  expected: 'an exclusion pattern such as "*.tmp" or "cache/**"',
  json: { type: "string", minLength: 1 },
  read: (input) => {
    if (typeof input !== "string") return { hint: undefined };
    const mistake = excludeMistake(input);
    return mistake === undefined ? { value: input } : { hint: `it ${mistake}` };
  },
};

/** The longest command: a single argument may hold 128 KiB (MAX_ARG_STRLEN, linux/binfmts.h). */
const command = text("a command for the shell", 128 * 1024 - 1);

const nodeSchema = table({
  name: value(
    nodeName,
    "The node's name: its host name, or what --node or UNDERSTUDY_NODE says on it",
  ),
  addresses: z.array(value(address, "An IPv4 or IPv6 address"))
    .meta({
      description:
        "The node's addresses, one per network, in order of preference: all carry heartbeats, " +
        "the first that works carries replication",
      minItems: 1,
    }),
});

/** config.toml. */
export const agentSchema = table({
  state_dir: value(absolutePath, "Where generations, change maps and write intents are kept")
    .prefault("/var/lib/understudy"),
  modules_dir: value(absolutePath, "The directory of the module files, one module a file")
    .prefault("/etc/understudy/modules"),
  nodes: z.array(nodeSchema)
    .meta({ description: "The two nodes of the cluster", minItems: 2, maxItems: 2 }),
  cluster: table({
    port: value(port, "Port of the heartbeats (UDP) and of replication (TCP); all modules share it")
      .prefault(9700),
    secret_file: value(
      absolutePath,
      "The cluster secret, the same on both nodes, readable by root only",
    ).prefault("/etc/understudy/cluster.key"),
    encryption: value(
      oneOf(["on", "off"]),
      "Whether replication is encrypted; nodes prove that they know the secret either way",
    ).prefault("on"),
  }).prefault({}).describe("How the nodes reach and trust each other"),
  heartbeat: table({
    interval: value(duration(10, 10 * SECOND), "Time between two heartbeats on each network")
      .prefault("200ms"),
    timeout: value(
      duration(30, HOUR),
      "Silence on every network for this long means the peer is gone",
    ).prefault("2s"),
    ack_timeout: value(
      duration(30, HOUR),
      "A secondary that lives but applies nothing for this long is dropped from the mirror",
    ).prefault("10s"),
  }).prefault({}).describe("When a peer counts as lost"),
  witness: table({
    kind: value(
      oneOf(["understudy", "etcd", "ping", "none"]),
      "understudy: `understudy witness` on a third machine; etcd: a cluster you run; ping: a " +
        "router that answers (weak); none",
    ),
    endpoints: z.array(
      value(text('an endpoint such as "10.77.0.9:9701"', 512), "host:port, or a host for ping"),
    ).prefault([]).describe("Where the witness is reached"),
  }).prefault({ kind: "none" }).describe(
    "Who decides which node goes on when the nodes lose sight of each other",
  ),
  http: table({
    listen: value(
      hostPort("127.0.0.1:9010"),
      "Where status, metrics, the console and the command line find the agent",
    ).prefault("127.0.0.1:9010"),
    token_file: value(
      absolutePath,
      "The bearer token that every request which changes something must carry",
    ).prefault("/etc/understudy/http.token"),
  }).prefault({}).describe("The HTTP interface"),
  log: table({
    level: value(oneOf(["debug", "info", "warning", "error"]), "The least that is logged")
      .prefault("info"),
    format: value(oneOf(["text", "json"]), "Lines for people, or a JSON object a line")
      .prefault("text"),
  }).prefault({}).describe("What the agent writes to standard error"),
});

/** What a check looks at. */
export const CHECK_KINDS = [
  "tcp",
  "http",
  "process",
  "ping",
  "interface",
  "vip",
  "disk",
  "exec",
  "module",
] as const;

const checkSchema = table({
  name: value(checkName, "The check's name in status and events"),
  kind: value(
    oneOf(CHECK_KINDS),
    "tcp: a port accepts; http: a URL answers 2xx or 3xx; process: a process of that name runs; " +
      "ping: a host answers; interface: a network interface is up; vip: a virtual address is " +
      "held; disk: a directory's file system is writable and not full; exec: a command ends with " +
      "0; module: another module serves on this node",
  ),
  target: value(
    text("a text", 128 * 1024 - 1),
    'What is looked at: "host:port", a URL, a process name, a host, an interface, a virtual ' +
      "address, an absolute path, a command or a module's name",
  ).optional(),
  on: value(
    oneOf(["primary", "secondary", "both", "before-start"]),
    "Where it runs; before-start: on a node that is about to serve",
  ).prefault("primary"),
  interval: value(duration(100, 24 * HOUR), "Time between two runs").prefault("2s"),
  timeout: value(
    duration(10, HOUR),
    "A run that takes longer has failed; by default 1s, or the interval where that is shorter",
  ).optional(),
  failures: value(integer(1, 1000), "How many runs must fail in a row").prefault(3),
  action: value(
    oneOf(["restart", "failover", "stop", "wait", "none"]),
    'What is done then; by default "restart", "wait" before a start, and "none" on the secondary ' +
      "or without an application",
  ).optional(),
});

/** A module file. */
export const moduleSchema = table({
  name: value(moduleName, "The module's name"),
  nodes: z.array(value(nodeName, "A node of config.toml")).optional()
    .meta({
      description: "The two nodes it runs on; optional where the cluster has two",
      minItems: 2,
      maxItems: 2,
    }),
  vars: z.record(z.string(), value(anyText, "A text"))
    .prefault({})
    .describe('Texts that "${vars.NAME}" stands for anywhere in the file'),
  mirror: table({
    sync: value(
      oneOf(["write", "fsync"]),
      "What is on both servers when the application goes on: every write, or what it has fsynced",
    ).prefault("write"),
    directories: z.array(table({
      path: value(absolutePath, "The directory's absolute path, the same on both nodes"),
      exclude: z.array(value(exclusion, "A pattern as in .gitignore, without negation"))
        .prefault([]).describe("Names that are not mirrored"),
    })).meta({ description: "What is mirrored", minItems: 1 }),
  }).describe("What is mirrored, and how"),
  vip: z.array(table({
    address: value(virtualAddress, "The address with its network's prefix length"),
    interface: value(interfaceName, "The network interface; by default found from the address")
      .optional(),
  })).prefault([]).describe("Virtual addresses: the serving node holds them"),
  application: table({
    start: value(command, "Starts the application; ends with 0 once it runs").optional(),
    stop: value(command, "Stops the application; ends with 0 once it is gone").optional(),
    start_timeout: value(duration(100, 24 * HOUR), "A start that takes longer has failed")
      .prefault("60s"),
    stop_timeout: value(duration(100, 24 * HOUR), "A stop that takes longer has failed")
      .prefault("60s"),
  }).prefault({}).describe("How the application is started and stopped; without it: a mirror only"),
  checks: z.array(checkSchema).prefault([]).describe("What is watched"),
  failover: table({
    mode: value(
      oneOf(["auto", "manual"]),
      "manual: a lost primary is reported, and an operator says who serves",
    ).prefault("auto"),
    preferred: value(nodeName, "The node that wins an equal start").optional(),
    failback: value(
      oneOf(["manual", "auto"]),
      "auto: swap back to the preferred node once it is in sync",
    ).prefault("manual"),
    max_restarts: value(
      integer(0, 1000),
      "More restarts than this within the window make it fail over",
    ).prefault(3),
    window: value(duration(SECOND, 8760 * HOUR), "The time in which restarts are counted")
      .prefault("24h"),
  }).prefault({}).describe("Who serves, and when that changes"),
});

/** Module keys that take a whole number: `${vars.x}` alone may give it. */
export const WHOLE_NUMBERS: ReadonlySet<string> = new Set(["failures", "max_restarts"]);

/** The JSON Schema of config.toml (2020-12), for editors that check TOML against one. */
export function agentJsonSchema(): Record<string, unknown> {
  return jsonSchema(agentSchema, "Understudy: config.toml");
}

/** The JSON Schema of a module file. */
export function moduleJsonSchema(): Record<string, unknown> {
  return jsonSchema(moduleSchema, "Understudy: a module");
}

function jsonSchema(schema: z.ZodType, title: string): Record<string, unknown> {
  // the input side: durations are the texts that people write, keys with defaults are optional
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return { $schema, title, ...rest };
}
