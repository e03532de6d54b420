/** Writes the configuration of a lab's hosts, in the format that the product documents. */

import { addressOf, networks } from "./network.ts";

export interface ModuleSpec {
  name: string;
  directories: (string | { path: string; exclude: string[] })[];
  /** default "write" */
  sync?: "write" | "fsync";
  /** more TOML for the module file, e.g. an [application] table */
  toml?: string;
}

export interface ConfigSpec {
  modules: ModuleSpec[];
  encryption?: "on" | "off";
  heartbeat?: { interval?: string; timeout?: string; ack_timeout?: string };
  witness?: { kind: "understudy" | "etcd" | "ping" | "none"; endpoints?: string[] };
  logLevel?: "debug" | "info" | "warning" | "error";
  /** the cluster secret; default: the same for every host of a lab */
  secret?: string;
  /** the bearer token of the HTTP interface */
  token?: string;
  /** more TOML for config.toml */
  toml?: string;
}

export const stateDirectory = "/var/lib/understudy";
export const configDirectory = "/etc/understudy";
export const configFile = `${configDirectory}/config.toml`;

/** Files of /etc/understudy by their names below it. `nodes` are host names and their numbers. */
export function configFiles(
  spec: ConfigSpec,
  nodes: { name: string; number: number }[],
  defaults: { secret: string; token: string },
): Map<string, string> {
  const { heartbeat = {}, witness } = spec;
  const files = new Map<string, string>();
  files.set(
    "config.toml",
    [
      `state_dir = ${quote(stateDirectory)}`,
      `modules_dir = ${quote(`${configDirectory}/modules`)}`,
      ...nodes.flatMap(({ name, number }) => [
        "[[nodes]]",
        `name = ${quote(name)}`,
        `addresses = ${list(networks.map((network) => addressOf(number, network)))}`,
      ]),
      "[cluster]",
      `secret_file = ${quote(`${configDirectory}/cluster.key`)}`,
      `encryption = ${quote(spec.encryption ?? "on")}`,
      "[heartbeat]",
      ...Object.entries(heartbeat).map(([key, value]) => `${key} = ${quote(value)}`),
      ...(witness === undefined ? [] : [
        "[witness]",
        `kind = ${quote(witness.kind)}`,
        `endpoints = ${list(witness.endpoints ?? [])}`,
      ]),
      "[http]",
      `token_file = ${quote(`${configDirectory}/http.token`)}`,
      "[log]",
      `level = ${quote(spec.logLevel ?? "debug")}`,
      spec.toml ?? "",
    ].join("\n") + "\n",
  );
  files.set("cluster.key", `${spec.secret ?? defaults.secret}\n`);
  files.set("http.token", `${spec.token ?? defaults.token}\n`);
  for (const module of spec.modules) files.set(`modules/${module.name}.toml`, moduleFile(module));
  return files;
}

function moduleFile(module: ModuleSpec): string {
  const directories = module.directories.map((directory) =>
    typeof directory === "string" ? { path: directory, exclude: [] } : directory
  );
  return [
    `name = ${quote(module.name)}`,
    "[mirror]",
    `sync = ${quote(module.sync ?? "write")}`,
    ...directories.flatMap(({ path, exclude }) => [
      "[[mirror.directories]]",
      `path = ${quote(path)}`,
      `exclude = ${list(exclude)}`,
    ]),
    module.toml ?? "",
  ].join("\n") + "\n";
}

/** A basic string of TOML: JSON's escapes are a subset of its own. */
function quote(text: string): string {
  return JSON.stringify(text);
}

function list(texts: string[]): string {
  return `[${texts.map(quote).join(", ")}]`;
}
