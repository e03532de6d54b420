/** Compares a model's state with a real tree. */

import { allocate } from "../../agent/platform/linux/libc.ts";
import {
  bytePath,
  currentDirectory,
  type FileStatus,
  openFiles,
  OpenFlag,
  printable,
} from "../lab/files.ts";
import {
  blockSize,
  type DirectoryNode,
  type FileNode,
  type LeafNode,
  type Model,
  type Node,
  type Unsynced,
} from "./model.ts";
import { writerOf } from "./payload.ts";

/** A write in flight: the bytes from `offset` may be new up to any point, and as before after it. */
export interface PartialWrite {
  node: FileNode;
  /** the file before the write */
  before: Uint8Array;
  offset: number;
  length: number;
  /** so much of it was acknowledged and must be there */
  atLeast: number;
}

const maxProblems = 5;
const files = openFiles();
const actual = allocate(1024 * 1024);

/**
 * What is wrong with the trees of a process, `top` in each of `directories`, if they should be in the
 * model's state; empty where they are. Looks no further than a few problems.
 */
export function differences(
  model: Model,
  directories: string[],
  top: string,
  partial?: PartialWrite,
): string[] {
  const problems: string[] = [];
  const seen = new Map<string, Node>();
  const inodes = new Map<Node, string>();

  const compareNode = (path: string, node: Node, status: FileStatus, at: number, name: string) => {
    const report = (what: string, is: unknown, expected: unknown) => {
      problems.push(`${printable(path)}: ${what} is ${is}, expected ${expected}`);
    };
    if (status.type !== node.type) return report("type", status.type, node.type);
    const twin = seen.get(status.inode);
    if ((twin ?? node) !== node || (inodes.get(node) ?? status.inode) !== status.inode) {
      report("file", "a hard link of another", "its own");
    }
    seen.set(status.inode, node);
    inodes.set(node, status.inode);
    if (status.mode !== node.mode) report("mode", status.mode.toString(8), node.mode.toString(8));
    const owner = `${status.uid}:${status.gid}`;
    if (owner !== node.owner) report("owner", owner, node.owner);
    if (node.type !== "directory" && status.links !== node.links) {
      report("link count", status.links, node.links);
    }
    compareAttributes(node, files.attributes(at, name), report);
    if (node.type === "file") {
      if (node.mtime !== undefined && node !== partial?.node && status.mtime !== node.mtime) {
        report("modification time", status.mtime, node.mtime);
      }
      const problem = contentProblem(node, at, name, partial);
      if (problem !== undefined) problems.push(`${printable(path)}: ${problem}`);
    }
    if (node.type === "symlink") {
      const target = files.readLink(at, name);
      if (target !== (node as LeafNode).target) report("target", target, (node as LeafNode).target);
    }
    if (node.type === "directory") compareDirectory(path, node, at, name);
  };

  const compareDirectory = (path: string, node: DirectoryNode, at: number, name: string) => {
    const fd = files.open(name, OpenFlag.readOnly | OpenFlag.directory | OpenFlag.noFollow, 0, at);
    try {
      const present = new Set(files.list(fd));
      for (const [entry, child] of node.entries) {
        if (problems.length >= maxProblems) return;
        const childPath = `${path}/${entry}`;
        if (present.delete(entry)) {
          compareNode(childPath, child, files.status(fd, entry), fd, entry);
        } else problems.push(`${printable(childPath)}: missing`);
      }
      for (const entry of present) {
        problems.push(`${printable(`${path}/${entry}`)}: there, but expected not to be`);
      }
    } finally {
      files.close(fd);
    }
  };

  model.roots.forEach((root, i) => {
    const directory = files.open(
      bytePath(directories[i]),
      OpenFlag.readOnly | OpenFlag.directory,
      0,
      currentDirectory,
    );
    try {
      const node = root.entries.get(top);
      const status = files.statusIfThere(directory, top);
      const path = `[${i}]/${top}`;
      if (node === undefined || status === undefined) {
        if (node !== undefined) problems.push(`${path}: missing`);
        if (status !== undefined) problems.push(`${path}: there, but expected not to be`);
      } else compareNode(path, node, status, directory, top);
    } finally {
      files.close(directory);
    }
  });
  return problems.slice(0, maxProblems);
}

function compareAttributes(
  node: Node,
  found: Map<string, string>,
  report: (what: string, is: unknown, expected: unknown) => void,
): void {
  for (const name of new Set([...node.attributes.keys(), ...found.keys()])) {
    const [is, expected] = [found.get(name), node.attributes.get(name)];
    if (is !== expected) report(`attribute ${name}`, is ?? "absent", expected ?? "absent");
  }
}

function contentProblem(
  node: FileNode,
  at: number,
  name: string,
  partial: PartialWrite | undefined,
): string | undefined {
  const fd = files.open(name, OpenFlag.readOnly | OpenFlag.noFollow, 0, at);
  let size: number;
  try {
    size = files.read(fd, actual, actual.bytes.length, 0);
  } finally {
    files.close(fd);
  }
  const content = actual.bytes.subarray(0, size);
  if (node.unsynced !== undefined) {
    const problem = unsyncedProblem(node.content, node.unsynced, content);
    const untruncated = node.untruncated.some((state) =>
      unsyncedProblem(state.content, state.unsynced, content) === undefined
    );
    return untruncated ? undefined : problem;
  }
  if (partial?.node === node) return partialProblem(node, content, partial);
  return mismatch(content, node.content.subarray(0, node.size));
}

/** The first way in which `is` is not `expected`. */
function mismatch(is: Uint8Array, expected: Uint8Array): string | undefined {
  const at = firstDifference(is, expected, 0, Math.min(is.length, expected.length));
  if (at !== undefined) {
    return `byte ${at} is ${writerOf(is, at)}, expected ${writerOf(expected, at)}`;
  }
  if (is.length !== expected.length) return `size is ${is.length}, expected ${expected.length}`;
  return undefined;
}

function firstDifference(
  a: Uint8Array,
  b: Uint8Array,
  start: number,
  end: number,
): number | undefined {
  for (let i = start; i < end; i++) if (a[i] !== b[i]) return i;
  return undefined;
}

function partialProblem(
  node: FileNode,
  content: Uint8Array,
  { before, offset, length, atLeast }: PartialWrite,
): string | undefined {
  const end = Math.min(offset + length, content.length);
  const reached = firstDifference(content, node.content, offset, end) ?? Math.max(end, offset);
  if (reached - offset < atLeast) {
    return `holds ${reached - offset} bytes of a write of which ${atLeast} were acknowledged`;
  }
  const expected = new Uint8Array(Math.max(before.length, reached > offset ? reached : 0));
  expected.set(before);
  expected.set(node.content.subarray(offset, reached), offset > expected.length ? 0 : offset);
  return mismatch(content, expected);
}

/** Every block must have had its content at some time since the last fsync, the size likewise. */
function unsyncedProblem(
  newest: Uint8Array,
  { minSize, maxSize, blocks }: Unsynced,
  content: Uint8Array,
): string | undefined {
  if (content.length < minSize || content.length > maxSize) {
    return `size is ${content.length}, expected ${minSize} to ${maxSize}`;
  }
  for (let block = 0; block * blockSize < content.length; block++) {
    const start = block * blockSize;
    const is = content.subarray(start, start + blockSize);
    const versions = blocks.get(block) ?? [newest.subarray(start, start + blockSize)];
    const fits = versions.some((v) => firstDifference(is, v, 0, is.length) === undefined);
    if (fits) continue;
    const at = firstDifference(is, versions.at(-1)!, 0, is.length)!;
    return `byte ${start + at} is ${writerOf(content, start + at)}, which no state since the ` +
      `last fsync had there (${versions.length} were possible)`;
  }
  return undefined;
}
