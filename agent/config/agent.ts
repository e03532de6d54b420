/** config.toml: from text to {@link AgentConfig}. */
import { isIP } from "node:net";
import { dirname, resolve } from "node:path";
import { etcdEndpoint, host, hostPort, splitHostPort } from "./addresses.ts";
import { formatOf, parseText, readText } from "./document.ts";
import { type Mistake, type Path, sortFindings } from "./finding.ts";
import { agentSchema } from "./schema.ts";
import { locate, type Partly, validate } from "./validate.ts";
import { formatDuration, type Kind } from "./values.ts";
import type { AgentConfig, Finding } from "./types.ts";
import type * as z from "zod";

/** Nodes of a cluster. The protocol between them is made for a pair. */
const NODES = 2;

/** Silence shorter than this many heartbeats would take one lost packet for a lost node. */
const MIN_HEARTBEATS = 3;

type Data = z.output<typeof agentSchema>;
type PartlyData = Partly<Data>;

/**
 * Reads and checks config.toml. `config` is there where no finding is an error.
 *
 * @param file its path; a name that ends in .yaml or .yml is read as YAML
 */
export function loadAgentConfig(file: string): { config?: AgentConfig; findings: Finding[] } {
  const path = resolve(file);
  const read = readText(path, "a configuration");
  return "text" in read ? parseAgentConfig(read.text, path) : { findings: [read.finding] };
}

/** Checks the text of config.toml. Never throws. */
export function parseAgentConfig(
  text: string,
  file: string,
): { config?: AgentConfig; findings: Finding[] } {
  const parsed = parseText(text, file, formatOf(file) ?? "toml");
  if ("findings" in parsed) return parsed;
  const { value: input, lines } = parsed.document;
  const { value, partly, mistakes } = validate(agentSchema, input);
  const related = partly === undefined ? [] : relations(partly, file);
  const findings = sortFindings(locate([...mistakes, ...related], file, lines, input));
  if (value === undefined || findings.some((f) => f.severity === "error")) return { findings };
  return { config: { file, ...value, witness: canonicalWitness(value.witness) }, findings };
}

/** What is wrong between values that are right by themselves. */
function relations(data: PartlyData, file: string): Mistake[] {
  return [
    ...checkNodes(data.nodes),
    ...checkHeartbeat(data.heartbeat),
    ...checkWitness(data.witness, data.nodes),
    ...checkHttp(data),
    ...checkPaths(data, file),
  ];
}

function checkNodes(nodes: PartlyData["nodes"]): Mistake[] {
  if (nodes === undefined) return [];
  const mistakes: Mistake[] = [];
  if (nodes.length !== NODES) {
    mistakes.push({
      path: ["nodes"],
      expected: "exactly two nodes, each a table beginning with [[nodes]]",
      found: String(nodes.length),
      hint: nodes.length > NODES ? "clusters of more nodes are not supported yet" : undefined,
    });
  }
  const names = new Map<string, number>();
  const owners = new Map<string, string>();
  nodes.forEach((node, i) => {
    const label = node?.name ?? `nodes[${i}]`;
    if (node?.name !== undefined) {
      // host names do not distinguish case
      const other = names.get(node.name.toLowerCase());
      if (other !== undefined) {
        mistakes.push({
          path: ["nodes", i, "name"],
          expected: "a name of its own for each node",
          found: `"${node.name}", which nodes[${other}] has already`,
        });
      } else names.set(node.name.toLowerCase(), i);
    }
    if (node?.addresses?.length === 0) {
      mistakes.push({ path: ["nodes", i, "addresses"], expected: "at least one address" });
    }
    node?.addresses?.forEach((address, j) => {
      if (address === undefined) return;
      const owner = owners.get(address);
      if (owner !== undefined) {
        mistakes.push({
          path: ["nodes", i, "addresses", j],
          expected: "an address that no other network or node has",
          found: `"${address}", which ${owner} has already`,
        });
      } else owners.set(address, label);
    });
  });
  return [...mistakes, ...checkNetworks(nodes)];
}

/** Addresses stand in the order of networks, so the nodes' lists must fit together. */
function checkNetworks(nodes: NonNullable<PartlyData["nodes"]>): Mistake[] {
  const [a, b] = nodes;
  if (!a?.addresses?.length || !b?.addresses?.length) return [];
  if (a.addresses.length !== b.addresses.length) {
    return [{
      path: ["nodes", 1, "addresses"],
      expected: `one address for each of the ${a.addresses.length} network(s) of nodes[0]`,
      found: `${b.addresses.length}`,
      hint: "a network needs an address on both nodes",
    }];
  }
  return b.addresses.flatMap((address, i): Mistake[] => {
    const other = a.addresses?.[i];
    if (address === undefined || other === undefined || isIP(address) === isIP(other)) return [];
    return [{
      path: ["nodes", 1, "addresses", i],
      expected: `an IPv${isIP(other)} address, as nodes[0] has "${other}" on this network`,
    }];
  });
}

function checkHeartbeat(heartbeat: PartlyData["heartbeat"]): Mistake[] {
  const { interval, timeout, ack_timeout } = heartbeat ?? {};
  if (interval === undefined) return [];
  const least = MIN_HEARTBEATS * interval;
  const expected = `at least ${MIN_HEARTBEATS} heartbeat intervals (${formatDuration(least)})`;
  const mistakes: Mistake[] = [];
  if (timeout !== undefined && timeout < least) {
    mistakes.push({
      path: ["heartbeat", "timeout"],
      expected,
      found: `"${formatDuration(timeout)}"`,
      hint: "otherwise one lost packet counts as a lost node",
    });
  }
  if (ack_timeout !== undefined && ack_timeout < least) {
    mistakes.push({
      path: ["heartbeat", "ack_timeout"],
      expected,
      found: `"${formatDuration(ack_timeout)}"`,
      hint: "what the secondary has applied is seen in its heartbeats",
    });
  }
  return mistakes;
}

function endpointKind(kind: Data["witness"]["kind"]): Kind<string> {
  if (kind === "etcd") return etcdEndpoint;
  return kind === "ping" ? host : hostPort("10.77.0.9:9701");
}

function checkWitness(witness: PartlyData["witness"], nodes: PartlyData["nodes"]): Mistake[] {
  const kind = witness?.kind;
  const endpoints = witness?.endpoints;
  if (kind === undefined || endpoints === undefined) return [];
  const path: Path = ["witness", "endpoints"];
  if (kind === "none") {
    if (endpoints.length === 0) return [];
    return [{
      path,
      expected: 'no endpoints with witness.kind = "none"',
      hint: "name the kind of witness, or take the endpoints out",
    }];
  }
  if (endpoints.length === 0) {
    return [{ path, expected: `at least one endpoint for a witness of kind "${kind}"` }];
  }
  const seen = new Set<string>();
  const addresses = new Map(
    (nodes ?? []).flatMap((n) => (n?.addresses ?? []).map((a) => [a, n?.name] as const)),
  );
  return endpoints.flatMap((endpoint, i): Mistake[] => {
    if (endpoint === undefined) return [];
    const at = [...path, i];
    const { expected, read } = endpointKind(kind);
    const result = read(endpoint);
    if (!("value" in result)) return [{ path: at, expected, hint: result.hint }];
    if (seen.has(result.value)) return [{ path: at, expected: "each endpoint once" }];
    seen.add(result.value);
    const where = result.value.replace(/^\w+:\/\//, "");
    const owner = addresses.get(kind === "ping" ? where : splitHostPort(where).host);
    if (owner === undefined) return [];
    return [{
      path: at,
      severity: kind === "etcd" ? "warning" : "error",
      expected: "a witness on a machine of its own",
      found: `${JSON.stringify(endpoint)}, an address of node ${owner}`,
      hint: "a witness that fails together with a node cannot speak for the other one",
    }];
  });
}

/** Endpoints of one spelling. */
function canonicalWitness(witness: Data["witness"]): Data["witness"] {
  const { read } = endpointKind(witness.kind);
  const endpoints = witness.endpoints.map((endpoint) => {
    const result = read(endpoint);
    return "value" in result ? result.value : endpoint;
  });
  return { ...witness, endpoints };
}

function checkHttp({ http, cluster, nodes }: PartlyData): Mistake[] {
  if (http?.listen === undefined || cluster?.port === undefined) return [];
  const { host, port } = splitHostPort(http.listen);
  if (port !== cluster.port) return [];
  const everywhere = host === "0.0.0.0" || host === "::";
  const clash = everywhere || (nodes ?? []).some((n) => n?.addresses?.includes(host));
  return clash
    ? [{ path: ["http", "listen"], expected: "another port than cluster.port, which is TCP too" }]
    : [];
}

function checkPaths(data: PartlyData, file: string): Mistake[] {
  const places: [path: Path, value: string | undefined][] = [
    [["state_dir"], data.state_dir],
    [["modules_dir"], data.modules_dir],
    [["cluster", "secret_file"], data.cluster?.secret_file],
    [["http", "token_file"], data.http?.token_file],
  ];
  const taken = new Map<string, string>([[file, "the configuration itself"]]);
  const mistakes: Mistake[] = [];
  for (const [path, value] of places) {
    if (value === undefined) continue;
    const other = taken.get(value);
    if (other !== undefined) {
      mistakes.push({
        path,
        expected: "a path of its own",
        found: `"${value}", which is ${other}`,
      });
    } else taken.set(value, path.join("."));
  }
  if (data.modules_dir !== undefined && data.modules_dir === dirname(file)) {
    mistakes.push({
      path: ["modules_dir"],
      expected: "a directory that holds module files only",
      found: `"${data.modules_dir}", which holds ${file}`,
    });
  }
  return mistakes;
}
