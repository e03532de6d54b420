/** The configuration, from files to plain checked data. */
export { loadAgentConfig, parseAgentConfig } from "./agent.ts";
export { checkConfig } from "./check.ts";
export { formatFinding } from "./finding.ts";
export { InitError, type InitFile, initFiles, type InitOptions, writeInit } from "./init.ts";
export { inspectDirectories } from "./inspect.ts";
export { parseModule } from "./module.ts";
export { loadModules } from "./modules.ts";
export { agentJsonSchema, moduleJsonSchema } from "./schema.ts";
export { readSecret, readToken, sameToken, SecretFileError } from "./secret.ts";
export { selfNode, SelfNodeError, type SelfSources } from "./self_node.ts";
export { formatDuration } from "./values.ts";
export type * from "./types.ts";
