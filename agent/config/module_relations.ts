/** What can be wrong in a module between values that are right by themselves. */
import { host, hostPort, virtualAddress } from "./addresses.ts";
import type { Mistake, Path } from "./finding.ts";
import { nearest } from "./nearest.ts";
import { collision, contains, overlap, reservedPaths, unmirrorable } from "./paths.ts";
import type { moduleSchema } from "./schema.ts";
import { type Partly, valueAt } from "./validate.ts";
import { absolutePath, formatDuration, interfaceName, type Kind, moduleName } from "./values.ts";
import type { AgentConfig, CheckKind } from "./types.ts";
import type * as z from "zod";

/** A module file as the schema reads it. */
export type ModuleData = z.output<typeof moduleSchema>;
type PartlyModule = Partly<ModuleData>;
type PartlyCheck = NonNullable<NonNullable<PartlyModule["checks"]>[number]>;

/** Whether the file says nothing at this path (rather than something that could not be read). */
type Absent = (path: Path) => boolean;

/** All such mistakes of a module, as far as its values could be read; `input` is the document. */
export function relations(data: PartlyModule, input: unknown, agent: AgentConfig): Mistake[] {
  const absent: Absent = (path) => valueAt(input, path) === undefined;
  return [
    ...checkNodes(data.nodes, agent),
    ...checkDirectories(data.mirror?.directories, agent),
    ...checkVips(data.vip, agent),
    ...checkApplication(data.application, absent),
    ...checkChecks(data, absent),
    ...checkFailover(data, absent, agent),
  ];
}

function checkNodes(nodes: PartlyModule["nodes"], agent: AgentConfig): Mistake[] {
  const known = agent.nodes.map((n) => n.name);
  if (nodes === undefined) {
    if (known.length === 2) return [];
    return [{ path: ["nodes"], expected: `two of the nodes ${known.join(", ")}` }];
  }
  const mistakes: Mistake[] = [];
  if (nodes.length !== 2) {
    mistakes.push({
      path: ["nodes"],
      expected: "exactly two nodes",
      found: String(nodes.length),
    });
  }
  nodes.forEach((name, i) => {
    if (name === undefined) return;
    if (!known.includes(name)) mistakes.push(unknownNode(["nodes", i], name, known));
    else if (nodes.indexOf(name) < i) {
      mistakes.push({ path: ["nodes", i], expected: "two different nodes" });
    }
  });
  return mistakes;
}

function unknownNode(path: Path, name: string, known: string[]): Mistake {
  const meant = nearest(name, known);
  return {
    path,
    expected: `a node of the configuration (${known.join(", ")})`,
    hint: meant === undefined ? undefined : `did you mean "${meant}"?`,
  };
}

function checkDirectories(
  directories: NonNullable<PartlyModule["mirror"]>["directories"],
  agent: AgentConfig,
): Mistake[] {
  if (directories === undefined) return [];
  if (directories.length === 0) {
    return [{ path: ["mirror", "directories"], expected: "at least one directory" }];
  }
  const reserved = reservedPaths(agent);
  return directories.flatMap((directory, i): Mistake[] => {
    const path = directory?.path;
    if (path === undefined) return [];
    const key = ["mirror", "directories", i, "path"];
    const expected = "a directory of the application's own";
    const impossible = unmirrorable(path) ?? collision(path, reserved);
    if (impossible !== undefined) return [{ path: key, expected, found: impossible }];
    const j = directories.findIndex((other, j) =>
      j < i && other?.path !== undefined && overlap(other.path, path)
    );
    if (j < 0) return [];
    const other = directories[j]!.path!;
    const relation = other === path
      ? "is the same"
      : contains(other, path)
      ? "lies in it"
      : "contains it";
    return [{
      path: key,
      expected: `a directory apart from mirror.directories[${j}] ("${other}")`,
      found: `"${path}", which ${relation}`,
      hint: other === path ? undefined : "mirror the outer one: what is in it is mirrored with it",
    }];
  });
}

function checkVips(vips: PartlyModule["vip"], agent: AgentConfig): Mistake[] {
  const seen = new Map<string, number>();
  return (vips ?? []).flatMap((vip, i): Mistake[] => {
    if (vip?.address === undefined) return [];
    const path = ["vip", i, "address"];
    const ip = vip.address.split("/")[0];
    const other = seen.get(ip);
    if (other !== undefined) {
      return [{ path, expected: "each address once", found: `"${ip}" again after vip[${other}]` }];
    }
    seen.set(ip, i);
    const owner = agent.nodes.find((n) => n.addresses.includes(ip));
    if (owner === undefined) return [];
    return [{
      path,
      expected: "an address that belongs to no machine",
      found: `"${ip}", an address of node ${owner.name}`,
      hint: "a virtual address moves between the nodes, besides their own",
    }];
  });
}

function checkApplication(application: PartlyModule["application"], absent: Absent): Mistake[] {
  const start = ["application", "start"];
  const stop = ["application", "stop"];
  if (application?.stop !== undefined && absent(start)) {
    return [{ path: start, expected: "a command, as there is one to stop the application" }];
  }
  if (application?.start !== undefined && absent(stop)) {
    return [{
      path: stop,
      severity: "warning",
      expected: "a command, as there is one to start the application",
      hint: "without it the application cannot shut down in order before the role moves",
    }];
  }
  return [];
}

/** How the target of a check is read, by kind; the others take any text. */
const TARGETS: Partial<Record<CheckKind, Kind<string>>> = {
  tcp: hostPort("127.0.0.1:5432"),
  http: {
    expected: 'a URL such as "http://127.0.0.1:8080/health"',
    json: {},
    read: (value) => {
      const url = typeof value === "string" && /^https?:\/\//.test(value) && URL.parse(value);
      return url ? { value: value as string } : { hint: undefined };
    },
  },
  ping: host,
  interface: interfaceName,
  vip: virtualAddress,
  disk: absolutePath,
  module: moduleName,
};

function checkChecks(data: PartlyModule, absent: Absent): Mistake[] {
  const names = new Map<string, number>();
  return (data.checks ?? []).flatMap((check, i): Mistake[] => {
    if (check === undefined) return [];
    const at = (key: string) => ["checks", i, key];
    const mistakes: Mistake[] = [];
    if (check.name !== undefined) {
      const other = names.get(check.name);
      if (other !== undefined) {
        mistakes.push({
          path: at("name"),
          expected: "a name of its own for each check",
          found: `"${check.name}", which checks[${other}] has already`,
        });
      } else names.set(check.name, i);
    }
    mistakes.push(...checkTarget(check, data, absent, at("target")));
    const { interval, timeout, on, action } = check;
    if (interval !== undefined && timeout !== undefined && timeout > interval) {
      mistakes.push({
        path: at("timeout"),
        severity: "warning",
        expected: `at most the check's interval (${formatDuration(interval)})`,
        found: `"${formatDuration(timeout)}"`,
        hint: "a check that hangs is noticed later than the interval suggests",
      });
    }
    if (action === "restart" || (action === "failover" && on === "secondary")) {
      if (on === "secondary" || on === "before-start") {
        mistakes.push({
          path: at("action"),
          expected: on === "secondary"
            ? '"stop", "wait" or "none" with on = "secondary"'
            : '"failover", "stop", "wait" or "none" with on = "before-start"',
          hint: "the application does not run there",
        });
      } else if (absent(["application", "start"])) {
        mistakes.push({
          path: at("action"),
          expected: "an action for a module without an application",
          hint: "there is nothing to restart: application.start is missing",
        });
      }
    }
    return mistakes;
  });
}

function checkTarget(
  check: PartlyCheck,
  data: PartlyModule,
  absent: Absent,
  path: Path,
): Mistake[] {
  const { kind, target } = check;
  if (kind === undefined || (target === undefined && !absent(path))) return [];
  const reader = TARGETS[kind];
  if (target === undefined) {
    // without a target, a vip check looks at all of the module's addresses, a disk check at all
    // of its directories
    if (kind === "vip" || kind === "disk") return [];
    const what = reader?.expected ??
      (kind === "exec" ? "a command" : 'the name of a process, such as "postgres"');
    return [{ path, expected: what }];
  }
  const read = reader?.read(target);
  if (read !== undefined && !("value" in read)) {
    return [{ path, expected: reader!.expected, hint: read.hint }];
  }
  if (kind === "module" && target === data.name) {
    return [{ path, expected: "the name of another module" }];
  }
  const vips = (data.vip ?? []).flatMap((v) => v?.address ?? []);
  if (kind === "vip" && vips.length === data.vip?.length && !vips.includes(read?.value ?? target)) {
    return [{ path, expected: `a virtual address of this module (${vips.join(", ") || "none"})` }];
  }
  return [];
}

function checkFailover(
  { failover, nodes }: PartlyModule,
  absent: Absent,
  agent: AgentConfig,
): Mistake[] {
  if (failover === undefined) return [];
  const mistakes: Mistake[] = [];
  const { preferred, failback, mode } = failover;
  const path = ["failover", "preferred"];
  const among = nodes === undefined ? agent.nodes.map((n) => n.name) : nodes;
  if (preferred !== undefined && among.length > 0 && !among.includes(preferred)) {
    const known = among.flatMap((n) => n ?? []);
    const meant = nearest(preferred, known);
    mistakes.push({
      path,
      expected: `one of the module's nodes (${known.join(", ")})`,
      hint: meant === undefined ? undefined : `did you mean "${meant}"?`,
    });
  }
  if (failback === "auto" && absent(path)) {
    mistakes.push({
      path,
      expected: 'the node to swap back to, as failover.failback is "auto"',
    });
  }
  if (failback === "auto" && mode === "manual") {
    mistakes.push({
      path: ["failover", "failback"],
      expected: '"manual" where failover.mode is "manual"',
    });
  }
  return mistakes;
}
