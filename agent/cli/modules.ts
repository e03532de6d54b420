/** `understudy module list|show|new`: definitions, without an agent. */

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { formatFinding, loadModules, parseModule } from "../config/mod.ts";
import { nearest } from "../config/nearest.ts";
import type { Finding, ModuleConfig } from "../config/types.ts";
import { readConfig } from "./connect.ts";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";
import { createColors, table, visible } from "./format.ts";

/** The definitions that come with Understudy; embedded in the binary. */
const shelf = new URL("../../modules/", import.meta.url);

/** Their names, sorted. */
export function readyMade(): string[] {
  return [...Deno.readDirSync(shelf)].map((entry) => entry.name)
    .filter((name) => name.endsWith(".toml")).map((name) => name.slice(0, -".toml".length)).sort();
}

export function listModules(
  context: Context,
  { readyMade: shelved, json }: { readyMade: boolean; json: boolean },
): number {
  const { io } = context;
  if (shelved) {
    const names = readyMade();
    io.out(json ? `${JSON.stringify(names, null, 2)}\n` : names.map((n) => `${n}\n`).join(""));
    return 0;
  }
  const { modules, errors } = load(context);
  if (json) {
    const list = modules.map(({ name, file, nodes, mirror }) => ({
      name,
      file,
      nodes,
      sync: mirror.sync,
      directories: mirror.directories.map((directory) => directory.path),
    }));
    io.out(`${JSON.stringify(list, null, 2)}\n`);
  } else {
    const c = createColors(io.color.out);
    const rows = modules.map(({ name, file, mirror }) => [
      { text: name, paint: c.bold },
      visible(file),
      visible(mirror.directories.map((directory) => directory.path).join(", ")),
    ]);
    const heads = ["MODULE", "FILE", "DIRECTORIES"].map((text) => ({ text, paint: c.dim }));
    if (!io.terminal) {
      io.out(
        rows.map(([n, ...rest]) => `${(n as { text: string }).text} ${rest.join(" ")}\n`).join(""),
      );
    } else if (rows.length > 0) io.out(table([heads, ...rows]));
    else if (errors.length === 0) {
      io.out("No module is defined. `understudy module new NAME` makes one.\n");
    }
  }
  for (const error of errors) io.err(`${formatFinding(error, io.color.err)}\n`);
  return errors.length > 0 ? 1 : 0;
}

export function showModule(context: Context, name: string): number {
  const shelved = readyMade();
  let own: ModuleConfig[] = [];
  try {
    own = load(context).modules;
  } catch (error) {
    // a ready-made definition can be read on a machine that has no configuration yet
    if (!(error instanceof Failure) || !shelved.includes(name)) throw error;
  }
  const module = own.find((m) => m.name === name);
  if (module !== undefined) context.io.out(readFileSync(module.file, "utf8"));
  else context.io.out(template(name, own.map((m) => m.name)));
  return 0;
}

export interface NewModule {
  name: string;
  /** what to mirror; empty: what the ready-made definition has, to be edited */
  directories: string[];
  from?: string;
  print: boolean;
}

export function newModule(context: Context, wanted: NewModule): number {
  const { name, directories, from, print } = wanted;
  const { io } = context;
  const text = directories.length > 0
    ? definition(name, directories)
    : template(from ?? "generic", []).replace(/^name = .*$/m, () =>
      `name = ${JSON.stringify(name)}`);
  if (print) {
    io.out(text);
    return 0;
  }
  const config = readConfig(context);
  const file = join(config.modules_dir, `${name}.toml`);
  const errors = parseModule(text, file, "toml", config).findings
    .filter((finding) => finding.severity === "error");
  if (errors.length > 0) throw new Failure(errors.map((finding) => finding.message).join("\n"));
  const other = load(context).modules.find((module) => module.name === name);
  if (other !== undefined) throw new Failure(`There is a module ${name} already, in ${other.file}`);
  writeNew(file, config.modules_dir, text);
  io.out(`wrote ${file}\n`);
  if (directories.length === 0) {
    io.out("Edit it, then run: understudy check-config\n");
  }
  io.out("Copy it to the other node: it is the same on both.\n");
  return 0;
}

function load(context: Context): { modules: ModuleConfig[]; errors: Finding[] } {
  const config = readConfig(context);
  const { modules, findings } = loadModules(config.modules_dir, config);
  return { modules, errors: findings.filter((finding) => finding.severity === "error") };
}

/** A ready-made definition; @throws {Failure} with the nearest known name */
function template(name: string, others: string[]): string {
  const names = readyMade();
  if (names.includes(name)) return Deno.readTextFileSync(new URL(`${name}.toml`, shelf));
  const known = [...others, ...names];
  const meant = nearest(name, known);
  throw new Failure(
    `There is no module or ready-made definition "${visible(name)}"${
      meant === undefined ? "" : `, perhaps ${meant}`
    }; there ${known.length === 1 ? "is" : "are"} ${known.join(", ")}`,
  );
}

function definition(name: string, directories: string[]): string {
  const tables = directories.map((path) => `
[[mirror.directories]]
path = ${JSON.stringify(path)}
exclude = []                    # such as "*.pid" or "cache/**"
`);
  return `# \`understudy module show generic\` explains every key.
name = ${JSON.stringify(name)}

[mirror]
sync = "write"                  # write: every write is on both servers; fsync: every fsync
${tables.join("")}`;
}

function writeNew(file: string, directory: string, text: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const fd = openSync(file, "wx", 0o644);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new Failure(
      code === "EEXIST"
        ? `${file} exists already and would be overwritten`
        : `The definition cannot be written (${message})`,
    );
  }
}
