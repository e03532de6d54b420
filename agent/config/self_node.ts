/** Which node of the configuration this machine is. */
import type { AgentConfig } from "./types.ts";

/** What a machine knows about its own name. */
export interface SelfSources {
  /** `--node NAME` */
  flag?: string | undefined;
  /** the variable UNDERSTUDY_NODE */
  env?: string | undefined;
  /** the machine's host name */
  hostname: string;
}

/** This machine is none of the nodes, or cannot tell which. */
export class SelfNodeError extends Error {
  override name = "SelfNodeError";
  constructor(readonly source: "--node" | "UNDERSTUDY_NODE" | "host name", message: string) {
    super(message);
  }
}

/**
 * The name of this node, from the first that is given: `--node`, UNDERSTUDY_NODE, the host name. A
 * host name also fits in its short form (`alpha` for `alpha.example.org`), on either side, where
 * that fits one node only. Host names do not distinguish case.
 *
 * @throws {SelfNodeError} with what was looked for and which nodes there are
 */
export function selfNode(config: AgentConfig, sources: SelfSources): string {
  const names = config.nodes.map((n) => n.name);
  const list = names.join(", ");
  for (
    const [source, name] of [["--node", sources.flag], ["UNDERSTUDY_NODE", sources.env]] as const
  ) {
    if (name === undefined || (name === "" && source === "UNDERSTUDY_NODE")) continue;
    const found = names.find((n) => n === name) ??
      names.find((n) => n.toLowerCase() === name.toLowerCase());
    if (found !== undefined) return found;
    throw new SelfNodeError(
      source,
      `${source} says "${name}", which is no node of ${config.file} (${list})`,
    );
  }
  const host = sources.hostname.toLowerCase();
  const exact = names.find((n) => n.toLowerCase() === host);
  if (exact !== undefined) return exact;
  const short = (name: string) => name.toLowerCase().split(".")[0];
  // two full names that differ are two machines: short forms only bridge a missing domain
  const fitting = names.filter((n) => {
    return short(n) === short(host) && (!n.includes(".") || !host.includes("."));
  });
  if (fitting.length === 1 && host !== "") return fitting[0];
  throw new SelfNodeError(
    "host name",
    fitting.length > 1
      ? `The host name "${sources.hostname}" fits more than one node of ${config.file} (${
        fitting.join(", ")
      }): say which with --node or UNDERSTUDY_NODE`
      : `The host name "${sources.hostname}" is no node of ${config.file} (${list}): name the ` +
        "node after the host, or say which it is with --node or UNDERSTUDY_NODE",
  );
}
