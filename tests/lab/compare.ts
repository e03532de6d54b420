/** Compares two file trees: every byte and everything else that a file system keeps of a file. */

import { allocate } from "../../agent/platform/linux/libc.ts";
import {
  bytePath,
  type FileStatus,
  type FileType,
  openFiles,
  OpenFlag,
  printable,
} from "./files.ts";

export type DifferenceKind =
  | "missing"
  | "type"
  | "size"
  | "content"
  | "owner"
  | "mode"
  | "mtime"
  | "attribute"
  | "links"
  | "target"
  | "device"
  | "extents"
  | "allocated"
  | "flags";

export interface Difference {
  /** path below the roots, one character per byte; "." is the roots themselves */
  path: string;
  kind: DifferenceKind;
  /** what it is in the first tree, or in the second where the first has nothing */
  type: FileType;
  /** what each tree has, for people */
  a: string;
  b: string;
}

export interface CompareOptions {
  /** globs below the roots that are not compared: `*` within a name, `**` across names */
  exclude?: string[];
  /** paths (without a leading slash) whose modification times are not compared */
  ignoreTimesOf?: (path: string) => boolean;
  /**
   * Bytes by which the layout of holes may differ in one place, and the space that is allocated;
   * default 65,536, because ext4 fills small unwritten stretches with zeros when it pleases
   * (extent_max_zeroout_kb, 32 by default). 0 is exact; Infinity ignores the layout.
   */
  sparseTolerance?: number;
  /** stop after this many differences; default 100 */
  maximum?: number;
}

/**
 * Inode flags that somebody can set and that mean something for a copy (linux/fs.h, FS_*_FL): sync,
 * immutable, append, nodump, noatime, data journalling, notail, dirsync, topdir, nocow, project.
 */
const meaningfulFlags = 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x4000 | 0x8000 | 0x10000 | 0x20000 |
  0x800000 | 0x20000000;

const chunk = 1024 * 1024;

/** Opened once: a library opened within a test counts as a leak of that test. */
const files = openFiles();

/**
 * The differences between two trees, in the order of their paths; empty where they are the same.
 * Compared are types, bytes, owners, modes, modification times to the nanosecond, extended
 * attributes and ACLs, which names are hard links of each other, symlink targets, device numbers,
 * holes and preallocated space, and inode flags. Access and change times are not. Memory grows with
 * the hard links and the longest directory, not with the tree. Throws FileError where a root cannot
 * be read.
 */
export async function compareTrees(
  rootA: string,
  rootB: string,
  options: CompareOptions = {},
): Promise<Difference[]> {
  const excluded = (options.exclude ?? []).map(globPattern);
  const tolerance = options.sparseTolerance ?? 65_536;
  const maximum = options.maximum ?? 100;
  const found: Difference[] = [];
  const firstNameA = new Map<string, string>();
  const firstNameB = new Map<string, string>();
  const bufferA = allocate(chunk);
  const bufferB = allocate(chunk);
  let lastPause = performance.now();

  let type: FileType = "directory";

  const differ = (path: string, kind: DifferenceKind, a: unknown, b: unknown): void => {
    found.push({ path, kind, type, a: String(a), b: String(b) });
  };

  const compareNode = (path: string, a: FileStatus, b: FileStatus): void => {
    if (a.uid !== b.uid || a.gid !== b.gid) {
      differ(path, "owner", `${a.uid}:${a.gid}`, `${b.uid}:${b.gid}`);
    }
    if (a.mode !== b.mode) differ(path, "mode", a.mode.toString(8), b.mode.toString(8));
    if (a.mtime !== b.mtime && !options.ignoreTimesOf?.(path)) {
      differ(path, "mtime", nanoseconds(a.mtime), nanoseconds(b.mtime));
    }
    if (a.device !== b.device && (a.type === "block" || a.type === "character")) {
      differ(path, "device", a.device, b.device);
    }
    if (a.type !== "directory" && (a.links > 1 || b.links > 1)) {
      const first = (names: Map<string, string>, inode: string) => {
        const name = names.get(inode);
        if (name === undefined) names.set(inode, path);
        return name ?? path;
      };
      const linkA = first(firstNameA, a.inode);
      const linkB = first(firstNameB, b.inode);
      if (linkA !== linkB) {
        differ(path, "links", `same file as ${printable(linkA)}`, `as ${printable(linkB)}`);
      }
    }
  };

  const compareAttributes = (path: string, name: string, atA: number, atB: number): void => {
    const a = files.attributes(atA, name);
    const b = files.attributes(atB, name);
    for (const key of new Set([...a.keys(), ...b.keys()])) {
      const [valueA, valueB] = [a.get(key), b.get(key)];
      if (valueA === valueB) continue;
      const show = (value?: string) => value === undefined ? "none" : printable(value);
      differ(path, "attribute", `${key}=${show(valueA)}`, `${key}=${show(valueB)}`);
    }
  };

  const compareFlags = (path: string, a: number, b: number): void => {
    const [flagsA, flagsB] = [files.flags(a), files.flags(b)].map((f) => f & meaningfulFlags);
    if (flagsA !== flagsB) differ(path, "flags", flagsA.toString(16), flagsB.toString(16));
  };

  const compareContent = (path: string, a: number, b: number, size: number): void => {
    const extentsA = files.extents(a, size);
    const extentsB = files.extents(b, size);
    const layout = firstLayoutDifference(extentsA, extentsB, tolerance);
    if (layout !== undefined) {
      const at = (data: boolean) => `${data ? "data" : "hole"} from ${layout.start}`;
      differ(path, "extents", at(layout.inA), at(!layout.inA));
    }
    for (const [start, end] of union(extentsA, extentsB)) {
      for (let position = start; position < end; position += chunk) {
        const length = Math.min(chunk, end - position);
        const countA = files.read(a, bufferA, length, position);
        const countB = files.read(b, bufferB, length, position);
        if (countA === countB && files.equal(bufferA, bufferB, countA)) continue;
        const shared = Math.min(countA, countB);
        let first = 0;
        while (first < shared && bufferA.bytes[first] === bufferB.bytes[first]) first++;
        const show = (bytes: Uint8Array, count: number) => {
          const excerpt = String.fromCharCode(
            ...bytes.subarray(first, Math.min(first + 24, count)),
          );
          return `"${printable(excerpt)}" at ${position + first}`;
        };
        differ(path, "content", show(bufferA.bytes, countA), show(bufferB.bytes, countB));
        return;
      }
    }
  };

  const compareFiles = (path: string, name: string, atA: number, atB: number): void => {
    const flags = OpenFlag.readOnly | OpenFlag.noFollow | OpenFlag.nonBlock;
    const a = files.open(name, flags, 0, atA);
    try {
      const b = files.open(name, flags, 0, atB);
      try {
        compareFlags(path, a, b);
        // Looked at again: reserved but unwritten blocks settle when a file is read for its extents.
        const [statusA, statusB] = [files.status(a, ""), files.status(b, "")];
        if (statusA.size !== statusB.size) differ(path, "size", statusA.size, statusB.size);
        compareContent(path, a, b, Math.min(statusA.size, statusB.size));
        if (Math.abs(statusA.allocated - statusB.allocated) > tolerance) {
          differ(path, "allocated", statusA.allocated, statusB.allocated);
        }
      } finally {
        files.close(b);
      }
    } finally {
      files.close(a);
    }
  };

  const compareEntry = async (
    path: string,
    name: string,
    atA: number,
    atB: number,
  ): Promise<void> => {
    const a = files.statusIfThere(atA, name);
    const b = files.statusIfThere(atB, name);
    type = a?.type ?? b?.type ?? type;
    if (a === undefined || b === undefined) {
      if (a !== b) differ(path, "missing", a?.type ?? "nothing", b?.type ?? "nothing");
      return;
    }
    if (a.type !== b.type) return differ(path, "type", a.type, b.type);
    compareNode(path, a, b);
    compareAttributes(path, name, atA, atB);
    if (a.type === "file") return compareFiles(path, name, atA, atB);
    if (a.type === "symlink") {
      const [targetA, targetB] = [files.readLink(atA, name), files.readLink(atB, name)];
      if (targetA !== targetB) differ(path, "target", printable(targetA), printable(targetB));
    }
    if (a.type === "directory") await openBoth(name, atA, atB, (x, y) => compareDirs(path, x, y));
  };

  const openBoth = async (
    name: string,
    atA: number,
    atB: number,
    body: (a: number, b: number) => Promise<void>,
  ): Promise<void> => {
    const flags = OpenFlag.readOnly | OpenFlag.directory | OpenFlag.noFollow;
    const a = files.open(name, flags, 0, atA);
    try {
      const b = files.open(name, flags, 0, atB);
      try {
        await body(a, b);
      } finally {
        files.close(b);
      }
    } finally {
      files.close(a);
    }
  };

  const compareDirs = async (path: string, a: number, b: number): Promise<void> => {
    compareFlags(path, a, b);
    for (const name of merged(files.list(a), files.list(b))) {
      if (found.length >= maximum) return;
      const child = path === "." ? name : `${path}/${name}`;
      if (excluded.some((pattern) => pattern.test(child))) continue;
      await compareEntry(child, name, a, b);
      if (performance.now() - lastPause > 50) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        lastPause = performance.now();
      }
    }
  };

  await openRoots(rootA, rootB, async (a, b) => {
    compareNode(".", files.status(a, ""), files.status(b, ""));
    compareAttributes(".", "", a, b);
    await compareDirs(".", a, b);
  });
  return found.slice(0, maximum);
}

/** One line per difference. */
export function formatDifferences(differences: Difference[]): string {
  return differences.map(({ path, kind, type, a, b }) =>
    `${printable(path)} (${type}): ${kind}: ${a} | ${b}`
  ).join("\n");
}

/** Fails with the differences where there are any. */
export async function assertSameTrees(
  rootA: string,
  rootB: string,
  options?: CompareOptions,
): Promise<void> {
  const differences = await compareTrees(rootA, rootB, options);
  if (differences.length === 0) return;
  throw new Error(
    `${differences.length} difference(s) between ${rootA} and ${rootB}:\n` +
      formatDifferences(differences),
  );
}

async function openRoots(
  rootA: string,
  rootB: string,
  body: (a: number, b: number) => Promise<void>,
): Promise<void> {
  const flags = OpenFlag.readOnly | OpenFlag.directory;
  const a = files.open(bytePath(rootA), flags);
  try {
    const b = files.open(bytePath(rootB), flags);
    try {
      await body(a, b);
    } finally {
      files.close(b);
    }
  } finally {
    files.close(a);
  }
}

function globPattern(glob: string): RegExp {
  const source = bytePath(glob).replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(
    /\*\*|\*|\?/g,
    (wildcard) => wildcard === "**" ? ".*" : wildcard === "*" ? "[^/]*" : "[^/]",
  );
  return new RegExp(`^${source}$`, "s");
}

/** Both sorted lists as one, without doubles. */
function merged(a: string[], b: string[]): string[] {
  const all: string[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (j >= b.length || (i < a.length && a[i] < b[j])) all.push(a[i++]);
    else if (i >= a.length || b[j] < a[i]) all.push(b[j++]);
    else {
      all.push(a[i++]);
      j++;
    }
  }
  return all;
}

/** Stretches that are data in at least one list. */
function* union(a: number[], b: number[]): Generator<[number, number]> {
  const pairs: [number, number][] = [];
  for (const list of [a, b]) {
    for (let i = 0; i < list.length; i += 2) pairs.push([list[i], list[i + 1]]);
  }
  pairs.sort((x, y) => x[0] - y[0]);
  let current: [number, number] | undefined;
  for (const [start, end] of pairs) {
    if (current !== undefined && start <= current[1]) current[1] = Math.max(current[1], end);
    else {
      if (current !== undefined) yield current;
      current = [start, end];
    }
  }
  if (current !== undefined) yield current;
}

/** The first stretch longer than `tolerance` that is data in one list and a hole in the other. */
function firstLayoutDifference(
  a: number[],
  b: number[],
  tolerance: number,
): { start: number; inA: boolean } | undefined {
  const edges = [...new Set([...a, ...b])].sort((x, y) => x - y);
  let [i, j] = [0, 0];
  let start = 0;
  let side: boolean | undefined;
  for (let edge = 0; edge < edges.length; edge++) {
    const position = edges[edge];
    while (i < a.length && a[i] <= position) i++;
    while (j < b.length && b[j] <= position) j++;
    // After an odd number of edges the position is within data.
    const [inA, inB] = [i % 2 === 1, j % 2 === 1];
    const now = inA === inB ? undefined : inA;
    if (side !== undefined && now !== side) {
      if (position - start > tolerance) return { start, inA: side };
      side = undefined;
    }
    if (now !== undefined && side === undefined) {
      side = now;
      start = position;
    }
  }
  return undefined;
}

function nanoseconds(time: bigint): string {
  const fraction = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return `${(time - fraction) / 1_000_000_000n}.${String(fraction).padStart(9, "0")}`;
}
