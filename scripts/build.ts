/**
 * Builds the one binary with `deno compile`: dist/understudy for this machine, or with --target and
 * --all dist/understudy-<target> and dist/SHA256SUMS. Skips what is up to date.
 */
import { build as sourceBuild, commitOf, version } from "../agent/version.ts";
import {
  exists,
  findRuntime,
  hostTarget,
  type Runtime,
  sha256,
  type Target,
  targets,
} from "./denort.ts";

const usage = `usage: scripts/build [--target NAME]... [--all] [--release] [--force] [--quiet]

  (nothing)       dist/understudy, for this machine
  --target NAME   dist/understudy-NAME; NAME is one of: ${targets.map((t) => t.name).join(", ")}
  --all           every target, and dist/SHA256SUMS; one whose runtime cannot be had is left out
  --release       only with Deno's official runtime, or the one DENORT_BIN names
  --force         build again what is up to date
  --quiet         say nothing where all is up to date`;

interface Options {
  wanted: Target[];
  /** targets were asked for by name: binaries carry the target in their names */
  named: boolean;
  all: boolean;
  release: boolean;
  force: boolean;
  quiet: boolean;
}

/** What is noted beside a binary, to see whether it is up to date. */
interface Stamp {
  inputs: string;
  runtime: Runtime["source"];
  note: string;
  size: number;
  modified: number;
}

const root = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const dist = `${root}/dist`;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  const options = parse(args);
  if (typeof options === "string") {
    console.error(options);
    return options === usage ? 0 : 2;
  }
  Deno.chdir(root);
  Deno.mkdirSync(dist, { recursive: true });
  // Several people and tests build in one checkout; the second finds the first one's work done.
  using lock = Deno.openSync(`${dist}/.lock`, { write: true, create: true });
  lock.lockSync(true);
  const commit = commitOf(root) ?? "unknown";
  const host = hostTarget();
  const made: string[] = [];
  let hostFailed = false;
  for (const target of options.wanted) {
    const isHost = target === host;
    const output = isHost ? "understudy" : target.output;
    try {
      await buildTarget(target, output, commit, options);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      console.error(`${options.all && !isHost ? "left out" : "failed"}: ${target.name}: ${reason}`);
      if (isHost || !options.all) hostFailed = true;
      continue;
    }
    if (isHost && options.named) replace(`${dist}/${output}`, `${dist}/${target.output}`);
    made.push(target.output);
  }
  if (options.all) {
    const sums = made.map((name) => `${sha256(Deno.readFileSync(`${dist}/${name}`))}  ${name}\n`);
    Deno.writeTextFileSync(`${dist}/SHA256SUMS`, sums.join(""));
    console.error(`dist/SHA256SUMS names ${made.length} of ${options.wanted.length} binaries`);
  }
  return hostFailed ? 1 : 0;
}

function parse(args: string[]): Options | string {
  const options: Options = {
    wanted: [],
    named: true,
    all: false,
    release: false,
    force: false,
    quiet: false,
  };
  for (let i = 0; i < args.length; i++) {
    const [flag, inline] = args[i].split("=", 2);
    if (flag === "--target") {
      const name = inline ?? args[++i];
      const target = targets.find((t) => t.name === name || t.triple === name);
      if (!target) return `Unknown target "${name}".\n${usage}`;
      options.wanted.push(target);
    } else if (flag === "--all") options.all = true;
    else if (flag === "--release") options.release = true;
    else if (flag === "--force") options.force = true;
    else if (flag === "--quiet") options.quiet = true;
    else if (flag === "--help" || flag === "-h") return usage;
    else return `Unknown argument "${args[i]}".\n${usage}`;
  }
  if (options.all) options.wanted = targets;
  else if (options.wanted.length === 0) {
    options.wanted = [hostTarget()];
    options.named = false;
  }
  return options;
}

async function buildTarget(target: Target, output: string, commit: string, options: Options) {
  const path = `${dist}/${output}`;
  const inputs = hashInputs(target, commit);
  const stampFile = `${dist}/.${output}.json`;
  const old = readStamp(stampFile, path);
  const fit = old?.inputs === inputs && !(options.release && old.runtime === "npm");
  if (fit && !options.force) {
    if (!options.quiet) console.error(`dist/${output} is up to date: ${version}, commit ${commit}`);
    if (old.runtime === "npm" && !options.quiet) console.error(`  with ${old.note}`);
    return;
  }
  const started = performance.now();
  const runtime = await findRuntime(target, cacheFolder());
  if (options.release && runtime.source === "npm") {
    throw new Error("Deno's official runtime cannot be reached, and a release takes no other.");
  }
  Deno.writeTextFileSync(
    `${dist}/build.json`,
    JSON.stringify({ commit, runtime: runtime.source }) + "\n",
  );
  const temporary = `${dist}/.${Deno.pid}-${output}`;
  try {
    await compile(target, runtime, temporary);
    Deno.renameSync(temporary, path); // at once: a binary that runs keeps its old file
  } finally {
    if (exists(temporary)) Deno.removeSync(temporary);
  }
  const { size, mtime } = Deno.statSync(path);
  const stamp: Stamp = {
    inputs,
    runtime: runtime.source,
    note: runtime.note,
    size,
    modified: mtime?.getTime() ?? 0,
  };
  Deno.writeTextFileSync(stampFile, JSON.stringify(stamp));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(`dist/${output}: ${version}, commit ${commit}, ${seconds} s`);
  console.error(`  with ${runtime.note}`);
}

async function compile(target: Target, runtime: Runtime, output: string) {
  const args = ["compile", "--quiet", "--allow-all", "--no-check", "--target", target.triple];
  // A code cache would be a file of a predictable name in /tmp, read by a daemon that runs as root.
  args.push("--no-code-cache");
  for (const file of embedded()) args.push("--include", file);
  if (exists(`${root}/node_modules`)) args.push("--exclude", "node_modules");
  args.push("--output", output, "mod.ts");
  const env: Record<string, string> = { DENO_NO_PACKAGE_JSON: "1" };
  if (runtime.file) env.DENORT_BIN = runtime.file;
  const command = new Deno.Command(Deno.execPath(), {
    args,
    env,
    stdout: "piped",
    stderr: "piped",
  });
  const result = await command.output();
  if (result.success) return;
  const said = new TextDecoder().decode(result.stderr).split("\nStack backtrace:")[0].trim();
  throw new Error(`deno compile failed:\n${said}`);
}

/**
 * What goes into the binary besides the modules that mod.ts imports: the entry points of Workers,
 * files that are no modules (web assets), the ready-made module definitions, the sample
 * configuration, and the build's own facts.
 */
function embedded(): string[] {
  const files = listFiles("agent").filter((f) =>
    !f.endsWith(".ts") || /(^|[/_])worker\.ts$/.test(f)
  );
  files.push(...listFiles("modules"));
  for (const name of ["config.example.toml"]) if (exists(`${root}/${name}`)) files.push(name);
  files.push("dist/build.json");
  return files;
}

function hashInputs(target: Target, commit: string): string {
  const files = [
    ...listFiles("agent").filter((f) => !/_test\.ts$/.test(f)),
    ...listFiles("modules"),
    "mod.ts",
    "deno.json",
    "deno.lock",
    "config.example.toml",
    "scripts/build.ts",
    "scripts/denort.ts",
  ];
  const given = Deno.env.get("DENORT_BIN");
  const lines = [target.triple, commit, Deno.version.deno, sourceBuild().version];
  lines.push(given ? `${given} ${Deno.statSync(given).mtime?.getTime()}` : "");
  for (const file of files) {
    if (exists(`${root}/${file}`)) lines.push(`${file} ${sha256(Deno.readFileSync(file))}`);
  }
  return sha256(new TextEncoder().encode(lines.join("\n")));
}

/** The regular files below a folder of the checkout, as sorted paths relative to it. */
function listFiles(folder: string): string[] {
  const files: string[] = [];
  if (!exists(`${root}/${folder}`)) return files;
  for (const entry of Deno.readDirSync(`${root}/${folder}`)) {
    if (entry.name.startsWith(".")) continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...listFiles(path));
    else if (entry.isFile) files.push(path);
  }
  return files.sort();
}

function readStamp(file: string, binary: string): Stamp | undefined {
  try {
    const stamp: Stamp = JSON.parse(Deno.readTextFileSync(file));
    const { size, mtime } = Deno.statSync(binary);
    return stamp.size === size && stamp.modified === mtime?.getTime() ? stamp : undefined;
  } catch {
    return undefined; // no stamp, or no binary: build it
  }
}

function replace(from: string, to: string) {
  if (exists(to)) Deno.removeSync(to);
  Deno.linkSync(from, to);
}

function cacheFolder(): string {
  const base = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  return `${base}/understudy/deno-${Deno.version.deno}`;
}
