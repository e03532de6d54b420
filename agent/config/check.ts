/** Everything that `understudy check-config` looks at. */
import { statSync } from "node:fs";
import { loadAgentConfig } from "./agent.ts";
import { finding, sortFindings } from "./finding.ts";
import { inspectDirectories } from "./inspect.ts";
import { loadModulesWithLines } from "./modules.ts";
import { readSecret, readToken, SecretFileError } from "./secret.ts";
import type { AgentConfig, Finding } from "./types.ts";

/**
 * Checks the configuration, the modules, their directories on this node, the cluster secret and the
 * HTTP token. Never throws. What is merely not there yet (a directory, the secret) is a warning
 * here: the same files are checked on machines that are still being set up.
 */
export function checkConfig(agentFile: string): Finding[] {
  const { config, findings } = loadAgentConfig(agentFile);
  if (config === undefined) return findings;
  const { modules, findings: ofModules, lines } = loadModulesWithLines(config.modules_dir, config);
  const ofDirectories = modules.flatMap((module) =>
    inspectDirectories(module, config, { missing: "warning" }).map((f) => {
      const line = lines.get(module.file)?.get(f.key);
      return line === undefined ? f : { ...f, line };
    })
  );
  return sortFindings([
    ...findings,
    ...checkStateDir(config),
    ...checkPrivate("cluster.secret_file", config.cluster.secret_file, readSecret),
    ...checkPrivate("http.token_file", config.http.token_file, readToken),
    ...ofModules,
    ...ofDirectories,
  ]);
}

function checkStateDir({ file, state_dir }: AgentConfig): Finding[] {
  try {
    if (statSync(state_dir).isDirectory()) return [];
  } catch {
    return []; // the agent makes it
  }
  return [finding({
    severity: "error",
    file,
    line: undefined,
    key: "state_dir",
    expected: "a directory, or a place for one",
    found: `"${state_dir}", which is no directory`,
  })];
}

function checkPrivate(key: string, file: string, read: (file: string) => unknown): Finding[] {
  try {
    read(file);
    return [];
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    return [{
      severity: error.missing ? "warning" : "error",
      file,
      line: undefined,
      key,
      expected: "a file with a secret that only its owner can read",
      found: error.missing ? "no such file" : error.mistake,
      message: error.mistake,
    }];
  }
}
