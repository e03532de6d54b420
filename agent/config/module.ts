/** Module files: from text to {@link ModuleConfig}. */
import { createHash } from "node:crypto";
import { type Format, parseText } from "./document.ts";
import { sortFindings } from "./finding.ts";
import { moduleSchema, WHOLE_NUMBERS } from "./schema.ts";
import { type ModuleData, relations } from "./module_relations.ts";
import { locate, validate } from "./validate.ts";
import { expandVariables } from "./variables.ts";
import type { AgentConfig, CheckConfig, Finding, ModuleConfig } from "./types.ts";

/** Longest time a check may take where its file does not say, in milliseconds. */
const CHECK_TIMEOUT = 1000;

/** A module with the lines its keys stand on, for findings that come later. */
export interface ParsedModule {
  module?: ModuleConfig;
  findings: Finding[];
  /** by dotted key */
  lines: Map<string, number>;
}

/**
 * Checks the text of a module file against the agent's configuration. Never throws; `module` is
 * there where no finding is an error.
 */
export function parseModule(
  text: string,
  file: string,
  format: Format,
  agent: AgentConfig,
): { module?: ModuleConfig; findings: Finding[] } {
  const { module, findings } = parseModuleWithLines(text, file, format, agent);
  return module === undefined ? { findings } : { module, findings };
}

/** {@link parseModule}, with the lines of the keys. */
export function parseModuleWithLines(
  text: string,
  file: string,
  format: Format,
  agent: AgentConfig,
): ParsedModule {
  const parsed = parseText(text, file, format);
  if ("findings" in parsed) return { ...parsed, lines: new Map() };
  const { lines } = parsed.document;
  const expansion = expandVariables(parsed.document.value, WHOLE_NUMBERS);
  const { value, partly, mistakes } = validate(moduleSchema, expansion.value);
  const related = partly === undefined ? [] : relations(partly, expansion.value, agent);
  const at = (list: typeof mistakes) =>
    locate(list, file, lines, expansion.value, expansion.originals);
  const findings = sortFindings([
    ...at(expansion.mistakes),
    // what could not be expanded has been complained of already
    ...at([...mistakes, ...related]).filter((f) => !expansion.failed.has(f.key)),
  ]);
  if (value === undefined || findings.some((f) => f.severity === "error")) {
    return { findings, lines };
  }
  return { module: build(value, file, agent), findings, lines };
}

/** Fills in what depends on other values. */
function build(data: ModuleData, file: string, agent: AgentConfig): ModuleConfig {
  const definition = {
    name: data.name,
    nodes: data.nodes ?? agent.nodes.map((n) => n.name),
    mirror: data.mirror,
    vip: data.vip.map((v) => ({ address: v.address, interface: v.interface })),
    application: {
      start: data.application.start,
      stop: data.application.stop,
      start_timeout: data.application.start_timeout,
      stop_timeout: data.application.stop_timeout,
    },
    checks: data.checks.map((check): CheckConfig => ({
      name: check.name,
      kind: check.kind,
      target: check.target ?? "",
      on: check.on,
      interval: check.interval,
      timeout: check.timeout ?? Math.min(CHECK_TIMEOUT, check.interval),
      failures: check.failures,
      action: check.action ?? defaultAction(check.on, data.application.start !== undefined),
    })),
    failover: {
      mode: data.failover.mode,
      preferred: data.failover.preferred,
      failback: data.failover.failback,
      max_restarts: data.failover.max_restarts,
      window: data.failover.window,
    },
  };
  return { file, ...definition, digest: digest(definition) };
}

function defaultAction(on: CheckConfig["on"], hasApplication: boolean): CheckConfig["action"] {
  if (on === "before-start") return "wait";
  return on === "secondary" || !hasApplication ? "none" : "restart";
}

/**
 * SHA-256 over what the definition means, in hexadecimal: the same for TOML and YAML, whatever the
 * comments, the order of keys, the variables and the defaults that were written out.
 */
function digest(definition: unknown): string {
  const canonical = JSON.stringify(definition, (_key, value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
  return createHash("sha256").update(canonical).digest("hex");
}
