/** The directory of module files. */
import { readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { formatOf, readText } from "./document.ts";
import { finding, sortFindings } from "./finding.ts";
import { type ParsedModule, parseModuleWithLines } from "./module.ts";
import { editDistance } from "./nearest.ts";
import { overlap } from "./paths.ts";
import type { AgentConfig, Finding, ModuleConfig } from "./types.ts";

/** Modules with the lines of their files' keys. */
export interface LoadedModules {
  modules: ModuleConfig[];
  findings: Finding[];
  /** by file, then by dotted key */
  lines: Map<string, Map<string, number>>;
}

/**
 * Reads every `.toml`, `.yaml` and `.yml` file of a directory, in the order of their names. A file
 * with an error is refused whole; the others load. Where two files contradict each other, which of
 * the two is right cannot be known, so both are refused.
 */
export function loadModules(
  dir: string,
  agent: AgentConfig,
): { modules: ModuleConfig[]; findings: Finding[] } {
  const { modules, findings } = loadModulesWithLines(dir, agent);
  return { modules, findings };
}

/** {@link loadModules}, with the lines of the keys. */
export function loadModulesWithLines(dir: string, agent: AgentConfig): LoadedModules {
  let names: string[];
  try {
    names = readdirSync(dir).sort();
  } catch (error) {
    return { modules: [], findings: [unreadable(dir, error)], lines: new Map() };
  }
  const findings: Finding[] = [];
  const parsed: (ParsedModule & { module: ModuleConfig })[] = [];
  const lines = new Map<string, Map<string, number>>();
  for (const name of names) {
    const file = join(dir, name);
    const format = formatOf(name);
    if (name.startsWith(".")) continue;
    if (format === undefined) {
      findings.push(...misnamed(file));
      continue;
    }
    const read = readText(file, "a module");
    if ("finding" in read) {
      findings.push(read.finding);
      continue;
    }
    const result = parseModuleWithLines(read.text, file, format, agent);
    findings.push(...result.findings);
    lines.set(file, result.lines);
    if (result.module !== undefined) parsed.push({ ...result, module: result.module });
  }
  const conflicts = parsed.flatMap((a, i) => parsed.slice(i + 1).flatMap((b) => compare(a, b)));
  const refused = new Set(conflicts.map((f) => f.file));
  const modules = parsed.map((p) => p.module).filter((m) => !refused.has(m.file));
  const strangers = parsed.flatMap((p) => unknownModules(p, parsed.map((q) => q.module.name)));
  return { modules, findings: sortFindings([...findings, ...conflicts, ...strangers]), lines };
}

function unreadable(dir: string, error: unknown): Finding {
  const code = (error as { code?: string }).code;
  const missing = code === "ENOENT";
  return finding({
    severity: missing ? "warning" : "error",
    file: dir,
    line: undefined,
    key: "",
    expected: "a directory of module files (modules_dir)",
    found: missing
      ? "no such directory"
      : code === "ENOTDIR"
      ? "a file"
      : `an error on reading (${(error as Error).message})`,
    hint: missing ? "there is nothing to mirror yet" : undefined,
  });
}

/** A file that was probably meant to be a module: `app.tml`. Backups and notes are none. */
function misnamed(file: string): Finding[] {
  const extension = extname(file).slice(1).toLowerCase();
  const alike = /^[a-z]+$/.test(extension) &&
    ["toml", "yaml", "yml"].some((known) => editDistance(extension, known) === 1);
  if (!alike) return [];
  return [finding({
    severity: "warning",
    file,
    line: undefined,
    key: "",
    expected: "a module file named *.toml, *.yaml or *.yml",
    found: `the ending .${extension}`,
    hint: "the file is not read",
  })];
}

type Parsed = ParsedModule & { module: ModuleConfig };

/** What two files claim both; one finding for each of the two, naming the other. */
function compare(a: Parsed, b: Parsed): Finding[] {
  const findings: Finding[] = [];
  const both = (keyA: string, keyB: string, expected: string, say: (x: Parsed) => string) => {
    for (const [one, key, other, otherKey] of [[a, keyA, b, keyB], [b, keyB, a, keyA]] as const) {
      const line = other.lines.get(otherKey);
      const place = other.module.file + (line === undefined ? "" : `:${line}`);
      findings.push(finding({
        severity: "error",
        file: one.module.file,
        line: one.lines.get(key),
        key,
        expected,
        found: `${say(one)}, as in ${place}`,
        hint: "neither of the two files is used",
      }));
    }
  };
  if (a.module.name === b.module.name) {
    both("name", "name", "a name of its own for each module", () => `"${a.module.name}"`);
  }
  a.module.mirror.directories.forEach(({ path: pathA }, i) => {
    b.module.mirror.directories.forEach(({ path: pathB }, j) => {
      if (!overlap(pathA, pathB)) return;
      both(
        `mirror.directories[${i}].path`,
        `mirror.directories[${j}].path`,
        "a directory apart from those of every other module",
        (x) =>
          x === a
            ? overlapText(pathA, pathB, b.module.name)
            : overlapText(pathB, pathA, a.module.name),
      );
    });
  });
  a.module.vip.forEach(({ address: vipA }, i) => {
    b.module.vip.forEach(({ address: vipB }, j) => {
      if (vipA.split("/")[0] !== vipB.split("/")[0]) return;
      both(
        `vip[${i}].address`,
        `vip[${j}].address`,
        "a virtual address of its own for each module",
        () => `"${vipA.split("/")[0]}"`,
      );
    });
  });
  return findings;
}

function overlapText(own: string, other: string, module: string): string {
  return own === other
    ? `"${own}", which module ${module} mirrors`
    : `"${own}", which overlaps with "${other}" of module ${module}`;
}

/** Checks on modules that are not there: not an error, they may be dropped in later. */
function unknownModules({ module, lines }: Parsed, known: string[]): Finding[] {
  return module.checks.flatMap((check, i) => {
    if (check.kind !== "module" || known.includes(check.target)) return [];
    const key = `checks[${i}].target`;
    return [finding({
      severity: "warning",
      file: module.file,
      line: lines.get(key),
      key,
      expected: "the name of a module that exists",
      found: `"${check.target}"`,
      hint: "the check fails until there is one",
    })];
  });
}
