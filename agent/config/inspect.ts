/** What the real file system says about the directories a module wants mirrored. */
import { lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { compileExcludes, type Excludes } from "../mirror/exclude.ts";
import { finding } from "./finding.ts";
import {
  type FilesystemPath,
  locate,
  mountAt,
  type MountEntry,
  mountsBelow,
} from "../platform/linux/mountinfo.ts";
import { MEMORY_FILE_SYSTEMS, PSEUDO_FILE_SYSTEMS, readMounts } from "./mounts.ts";
import { collision, contains, overlap, reservedPaths, unmirrorable } from "./paths.ts";
import type { AgentConfig, Finding, ModuleConfig } from "./types.ts";

/** How far links are looked for: deep enough for pg_tblspc, and never a walk of the whole tree. */
const SCAN_DEPTH = 3;
const SCAN_ENTRIES = 10_000;
/** Milliseconds: the caller must not be held up by a slow disk. */
const SCAN_TIME = 500;
/**
 * Directories larger than this, in bytes of the directory itself, are not listed: a listing comes
 * whole, and a million names would take a hundred megabytes for a moment.
 */
const SCAN_DIRECTORY_BYTES = 1024 * 1024;
/** More warnings of one sort than this are summed up. */
const MAX_NAMED = 20;

/**
 * Looks at a module's directories on this machine.
 *
 * Errors: a directory that is missing, is no directory, is reached through a symbolic link, lies on
 * a pseudo file system, shares files with another one under a second name, or holds the agent's own
 * files. Warnings: symbolic links that lead out of the mirrored directories (what they lead to is
 * not mirrored), mounts inside, and file systems in memory.
 *
 * Synchronous, but bounded: three levels, 10,000 entries, half a second. Only a disk that hangs
 * takes longer.
 *
 * @param options `missing`: how a directory that does not exist counts; where a configuration is
 * checked before the application is installed it is only worth a warning
 */
export function inspectDirectories(
  module: ModuleConfig,
  agent: AgentConfig,
  options: { missing?: "error" | "warning" } = {},
): Finding[] {
  const mounts = readMounts();
  const findings: Finding[] = [];
  const seen: { path: string; place: FilesystemPath }[] = [];
  const paths = module.mirror.directories.map((d) => d.path);
  const scan: Scan = { entries: 0, deadline: performance.now() + SCAN_TIME };
  module.mirror.directories.forEach(({ path, exclude }, i) => {
    const say: Say = (severity, expected, found, hint) =>
      findings.push(finding({
        severity,
        file: module.file,
        line: undefined,
        key: `mirror.directories[${i}].path`,
        expected,
        found,
        hint,
      }));
    if (!inspectOne(path, agent, mounts, options.missing ?? "error", say)) return;
    const place = locate(mounts, path);
    const other = place && seen.find((o) => sameFiles(o.place, place));
    if (other !== undefined) {
      say(
        "error",
        "a directory apart from the others",
        `"${path}", which holds files of "${other.path}" under another name (a bind mount)`,
      );
      return;
    }
    if (place !== undefined) seen.push({ path, place });
    for (const mount of mountsBelow(mounts, path).slice(0, MAX_NAMED)) {
      say(
        "warning",
        "no mount inside the directory",
        `a mount of ${mount.type} on "${mount.mountPoint}"`,
        "make sure that it is mounted on both nodes before the module starts",
      );
    }
    reportLinks(path, paths, compileExcludes(exclude), mounts, scan, say);
  });
  return findings;
}

type Say = (
  severity: "error" | "warning",
  expected: string,
  found: string,
  hint?: string,
) => void;

/** Whether one of two directories holds the other, whatever the paths that lead there. */
function sameFiles(a: FilesystemPath, b: FilesystemPath): boolean {
  return a.major === b.major && a.minor === b.minor && overlap(a.path, b.path);
}

/** Checks the directory itself; true where it can be mirrored. */
function inspectOne(
  path: string,
  agent: AgentConfig,
  mounts: readonly MountEntry[],
  missing: "error" | "warning",
  say: Say,
): boolean {
  const expected = "a directory on this node";
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) {
      say("error", expected, `"${path}", which is ${stat.isFile() ? "a file" : "no directory"}`);
      return false;
    }
    const real = realpathSync(path);
    if (real !== path) {
      const link = linkIn(path);
      say(
        "error",
        "a path without symbolic links",
        `"${path}", in which ${link ?? "a component"} is a link`,
        `write "${real}"`,
      );
      return false;
    }
  } catch (error) {
    sayUnreachable(path, expected, error, missing, say);
    return false;
  }
  const reserved = reservedPaths(agent).map((r) => ({ ...r, path: realPathOf(r.path) }));
  const program = { path: realPathOf(Deno.execPath()), what: "the program", isDirectory: false };
  const impossible = unmirrorable(path) ?? collision(path, [...reserved, program]);
  if (impossible !== undefined) {
    say("error", "a directory of the application's own", impossible);
    return false;
  }
  const type = mountAt(mounts, path)?.type;
  if (type !== undefined && PSEUDO_FILE_SYSTEMS.has(type)) {
    say("error", "a directory on a real file system", `"${path}" on ${type}`);
    return false;
  }
  if (type !== undefined && MEMORY_FILE_SYSTEMS.has(type)) {
    say(
      "warning",
      "a directory on a disk",
      `"${path}" on ${type}`,
      "its files are in memory: a reboot loses this node's copy",
    );
  }
  return true;
}

function sayUnreachable(
  path: string,
  expected: string,
  error: unknown,
  missing: "error" | "warning",
  say: Say,
): void {
  const code = (error as { code?: string }).code;
  if (code === "ENOENT") {
    let dangling = false;
    try {
      dangling = lstatSync(path).isSymbolicLink();
    } catch {
      // not even a link: simply missing
    }
    if (dangling) say("error", expected, `"${path}", a symbolic link that leads nowhere`);
    else say(missing, expected, `nothing at "${path}"`, "create it as the application wants it");
  } else if (code === "ENOTDIR") {
    say("error", expected, `"${path}", part of which is a file`);
  } else if (code === "ENOTCONN") {
    say("error", expected, `a dead mount on "${path}"`, `unmount it: umount -l ${path}`);
  } else say("error", expected, `an error on "${path}" (${(error as Error).message})`);
}

/** The first component of a path that is a symbolic link, with where it leads. */
function linkIn(path: string): string | undefined {
  const parts = path.split("/").slice(1);
  for (let i = 1; i <= parts.length; i++) {
    const prefix = `/${parts.slice(0, i).join("/")}`;
    if (lstatSync(prefix).isSymbolicLink()) return `"${prefix}"`;
  }
  return undefined;
}

/** The path with its links resolved, as far as it exists. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPathOf(parent), path.slice(parent.length));
  }
}

interface Scan {
  entries: number;
  deadline: number;
}

/** Warns of symbolic links that lead out of every mirrored directory of the module. */
function reportLinks(
  root: string,
  mirrored: readonly string[],
  excludes: Excludes,
  mounts: readonly MountEntry[],
  scan: Scan,
  say: Say,
): void {
  const mountPoints = new Set(mountsBelow(mounts, root).map((m) => m.mountPoint));
  const links: { name: string; target: string }[] = [];
  let level = [""];
  for (let depth = 0; depth < SCAN_DEPTH && level.length > 0; depth++) {
    const next: string[] = [];
    for (const directory of level) {
      for (const entry of list(join(root, directory), scan)) {
        if (excludes.matchName(directory, entry.name)) continue;
        const relative = directory === "" ? entry.name : `${directory}/${entry.name}`;
        if (entry.isDirectory() && !mountPoints.has(`${root}/${relative}`)) next.push(relative);
        if (!entry.isSymbolicLink()) continue;
        const target = targetOf(`${root}/${relative}`);
        if (target !== undefined && !mirrored.some((m) => contains(m, target))) {
          links.push({ name: relative, target });
        }
      }
    }
    level = next;
  }
  for (const { name, target } of links.slice(0, MAX_NAMED)) {
    say(
      "warning",
      "no symbolic link out of the directory",
      `"${root}/${name}", which leads to "${target}"`,
      "what it leads to is not mirrored: mirror it as a directory of its own if it is the " +
        "application's",
    );
  }
  if (links.length > MAX_NAMED) {
    say(
      "warning",
      "no symbolic link out of the directory",
      `${links.length - MAX_NAMED} more in "${root}"`,
    );
  }
}

function list(directory: string, scan: Scan) {
  if (scan.entries >= SCAN_ENTRIES || performance.now() > scan.deadline) return [];
  try {
    if (statSync(directory).size > SCAN_DIRECTORY_BYTES) return [];
    const entries = readdirSync(directory, { withFileTypes: true });
    const room = SCAN_ENTRIES - scan.entries;
    scan.entries += entries.length;
    return entries.slice(0, room);
  } catch {
    // changed while we looked, or not ours to read: the scan only ever warns
    return [];
  }
}

/** Where a link leads, followed to its end where that exists. */
function targetOf(link: string): string | undefined {
  try {
    return realpathSync(link);
  } catch {
    try {
      return resolve(dirname(link), readlinkSync(link));
    } catch {
      return undefined;
    }
  }
}
