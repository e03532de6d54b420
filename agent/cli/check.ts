/** `understudy check-config`: what is wrong in the files, and the schemas for editors. */

import {
  agentJsonSchema,
  checkConfig,
  formatFinding,
  loadAgentConfig,
  moduleJsonSchema,
  selfNode,
  SelfNodeError,
} from "../config/mod.ts";
import type { Context } from "./context.ts";

export interface CheckOptions {
  json: boolean;
  /** print the JSON Schema of this file instead */
  schema: "agent" | "module" | undefined;
}

export function check({ io, options }: Context, { json, schema }: CheckOptions): number {
  if (schema !== undefined) {
    const found = schema === "agent" ? agentJsonSchema() : moduleJsonSchema();
    io.out(`${JSON.stringify(found, null, 2)}\n`);
    return 0;
  }
  const findings = checkConfig(options.config);
  const failed = findings.some((finding) => finding.severity === "error");
  if (json) {
    io.out(`${JSON.stringify(findings, null, 2)}\n`);
    return failed ? 1 : 0;
  }
  for (const finding of findings) io.err(`${formatFinding(finding, io.color.err)}\n`);
  if (failed) return 1;
  io.out(`${options.config}: usable${warned(findings.length)}${thisNode({ io, options })}\n`);
  return 0;
}

function warned(count: number): string {
  return count === 0 ? "" : `, with ${count} warning${count === 1 ? "" : "s"}`;
}

/** Which node this machine is. None is no mistake of the file: it may be checked anywhere. */
function thisNode({ io, options }: Context): string {
  const { config } = loadAgentConfig(options.config);
  if (config === undefined) return "";
  try {
    const sources = { flag: options.node, env: io.env("UNDERSTUDY_NODE") };
    return `; this machine is ${selfNode(config, { ...sources, hostname: Deno.hostname() })}`;
  } catch (error) {
    if (error instanceof SelfNodeError) return `; this machine is none of its nodes`;
    throw error;
  }
}
