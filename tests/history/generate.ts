/** Chooses the next operation of a process, one that will succeed, from its model and a seed. */

import { type DirectoryNode, type FileNode, handleCount, type Model, type Node } from "./model.ts";
import type { Operation, Place } from "./operation.ts";
import type { Random } from "./random.ts";

/** Name of the file that marks go to, in each directory. */
export const markName = "mark";

/** In `fsync` mode a mark's number is set as this attribute too: attributes are promised at once. */
export const markAttribute = "user.mark";

const maxFileSize = 384 * 1024;
const maxNodes = 40;
const maxDepth = 3;
const names = [
  ..."abcdefghij",
  "a name with spaces",
  "\xc3\xa4\xc3\xb6",
  "not\xfeutf8",
  "n".repeat(100),
];
const attributeNames = ["user.one", "user.two", "trusted.three"];

interface Found {
  place: Place;
  node: Node;
}

/** The top directory of a process in a round: the same name in every mirrored directory. */
export function topOf(round: number, process: number): string {
  return `r${round}p${process}`;
}

/**
 * The next operation. The first ones make the process's directories and mark files; after that every
 * fifth or so is a pair of marks: the same number to the first directory, then to the second.
 */
export function generate(model: Model, random: Random, top: string): Operation {
  const opening = openingOperation(model, top);
  if (opening !== undefined) return opening;
  const mark = markOperation(model, random, top);
  if (mark !== undefined) return mark;
  while (true) {
    const operation = random.pick(makers)(model, random, top);
    if (operation !== undefined) return operation;
  }
}

function openingOperation(model: Model, top: string): Operation | undefined {
  const directories = model.roots.length;
  const step = Math.floor(model.index / directories);
  const directory = model.index % directories;
  const mark = { directory, path: `${top}/${markName}` };
  if (step === 0) return { kind: "mkdir", at: { directory, path: top }, mode: 0o755 };
  if (step === 1) return { kind: "create", at: mark, mode: 0o600, handle: directory };
  if (step === 2) return { kind: "close", handle: directory };
  return undefined;
}

/** The marks of one number follow each other through the directories. */
function markOperation(model: Model, random: Random, top: string): Operation | undefined {
  const values = model.roots.map((root) => {
    const node = (root.entries.get(top) as DirectoryNode).entries.get(markName) as FileNode;
    return Number(new DataView(node.content.buffer).getBigUint64(0, true));
  });
  const behind = values.findIndex((value) => value < values[0]);
  // In `fsync` mode an early return of a mark says nothing, so some are fsynced.
  const sync = model.mode === "fsync" && random.chance(0.25);
  const path = `${top}/${markName}`;
  if (behind > 0) return { kind: "mark", at: { directory: behind, path }, value: values[0], sync };
  if (!random.chance(0.2)) return undefined;
  if (model.mode === "fsync" && random.chance(0.3)) {
    const value = String(model.index);
    return { kind: "attribute", at: { directory: 0, path }, name: markAttribute, value };
  }
  return { kind: "mark", at: { directory: 0, path }, value: model.index, sync };
}

type Maker = (model: Model, random: Random, top: string) => Operation | undefined;

/** Everything below the tops, marks left out. */
function nodes(model: Model, top: string): Found[] {
  const found: Found[] = [];
  const walk = (directory: number, path: string, node: DirectoryNode) => {
    for (const [name, child] of node.entries) {
      const place = { directory, path: `${path}/${name}` };
      if (place.path === `${top}/${markName}`) continue;
      found.push({ place, node: child });
      if (child.type === "directory") walk(directory, place.path, child);
    }
  };
  model.roots.forEach((root, directory) => {
    walk(directory, top, root.entries.get(top) as DirectoryNode);
  });
  return found;
}

function ofType<T extends Node["type"]>(all: Found[], type: T) {
  return all.filter((found) => found.node.type === type) as {
    place: Place;
    node: Extract<Node, { type: T }>;
  }[];
}

function depthOf(path: string): number {
  return path.split("/").length - 1;
}

/** A name that is free, in a directory that is not too deep; undefined where the tree is full. */
function freePlace(
  model: Model,
  random: Random,
  top: string,
  within?: number,
): Place | undefined {
  const all = nodes(model, top);
  if (all.length >= maxNodes) return undefined;
  const tops = model.roots.map((root, directory) => ({
    place: { directory, path: top },
    node: root.entries.get(top) as DirectoryNode,
  }));
  const parents = [...tops, ...ofType(all, "directory")].filter(({ place }) =>
    depthOf(place.path) < maxDepth && (within === undefined || place.directory === within)
  );
  const { place, node } = random.pick(parents);
  const free = names.filter((name) => !node.entries.has(name));
  if (free.length === 0) return undefined;
  return { directory: place.directory, path: `${place.path}/${random.pick(free)}` };
}

function freeHandle(model: Model): number | undefined {
  for (let slot = 0; slot < handleCount; slot++) {
    if (model.handles[slot] === undefined) return slot;
  }
  return undefined;
}

function openSlots(model: Model): number[] {
  return model.handles.flatMap((handle, slot) => handle === undefined ? [] : [slot]);
}

/** None has a bit that the usual umask, 022, takes away. */
function modeOf(random: Random): number {
  return random.pick([0o600, 0o644, 0o640, 0o755, 0o700, 0o444, 0o604]);
}

/** Mostly small, sometimes several pages, rarely more than one FUSE request of 128 KiB. */
function lengthOf(random: Random): number {
  const kind = random.below(10);
  if (kind < 4) return 1 + random.below(200);
  if (kind < 7) return 1 + random.below(9000);
  if (kind < 8) return 4096 * (1 + random.below(4));
  if (kind < 9) return 1 + random.below(64 * 1024);
  return 1 + random.below(200 * 1024);
}

const create: Maker = (model, random, top) => {
  const at = freePlace(model, random, top);
  const handle = freeHandle(model);
  if (at === undefined || handle === undefined) return undefined;
  return { kind: "create", at, mode: modeOf(random), handle };
};

const write: Maker = (model, random) => {
  const slots = openSlots(model);
  if (slots.length === 0) return undefined;
  const handle = random.pick(slots);
  const { node, append } = model.handles[handle]!;
  const length = lengthOf(random);
  if (append) {
    return node.size + length <= maxFileSize ? { kind: "append", handle, length } : undefined;
  }
  const reach = Math.min(node.size + (random.chance(0.2) ? 20_000 : 1), maxFileSize - length);
  const offset = random.below(Math.max(reach, 1));
  return { kind: "write", handle, offset, length };
};

const open: Maker = (model, random, top) => {
  const files = ofType(nodes(model, top), "file");
  const handle = freeHandle(model);
  if (files.length === 0 || handle === undefined) return undefined;
  return { kind: "open", at: random.pick(files).place, handle, append: random.chance(0.3) };
};

const close: Maker = (model, random) => {
  const slots = openSlots(model);
  // A few stay open, also over renames and removals.
  return slots.length < 3 ? undefined : { kind: "close", handle: random.pick(slots) };
};

const fsync: Maker = (model, random) => {
  const slots = openSlots(model);
  if (slots.length === 0) return undefined;
  return { kind: "fsync", handle: random.pick(slots), dataOnly: random.chance(0.5) };
};

const truncate: Maker = (model, random) => {
  const slots = openSlots(model);
  if (slots.length === 0) return undefined;
  const handle = random.pick(slots);
  const { size } = model.handles[handle]!.node;
  const longer = size + random.below(10_000);
  return {
    kind: "truncate",
    handle,
    size: random.chance(0.7) ? random.below(size + 1) : Math.min(longer, maxFileSize),
  };
};

const allocateSpace: Maker = (model, random) => {
  const slots = openSlots(model);
  if (slots.length === 0) return undefined;
  const handle = random.pick(slots);
  const { size } = model.handles[handle]!.node;
  const how = random.pick(["extend", "keep", "punch", "zero"] as const);
  const offset = random.below(size + 1);
  return { kind: "allocate", handle, how, offset, length: 1 + random.below(30_000) };
};

const copy: Maker = (model, random) => {
  const sources = openSlots(model).filter((slot) => model.handles[slot]!.node.size > 0);
  if (sources.length === 0) return undefined;
  const from = random.pick(sources);
  const source = model.handles[from]!;
  const targets = openSlots(model).filter((slot) => {
    const target = model.handles[slot]!;
    return target.directory === source.directory && target.node !== source.node && !target.append;
  });
  if (targets.length === 0) return undefined;
  const to = random.pick(targets);
  const offset = random.below(source.node.size);
  const length = 1 + random.below(Math.min(source.node.size - offset, 50_000));
  const target = random.below(model.handles[to]!.node.size + 1);
  return { kind: "copy", from, to, offset, target, length };
};

const rename: Maker = (model, random, top) => {
  const all = nodes(model, top);
  if (all.length === 0) return undefined;
  const { place, node } = random.pick(all);
  if (random.chance(0.5)) {
    const to = freePlace(model, random, top, place.directory);
    if (to === undefined || to.path.startsWith(`${place.path}/`)) return undefined;
    // A directory takes what is below it along: the tree may not become too deep.
    if (node.type === "directory" && depthOf(to.path) >= maxDepth) return undefined;
    return { kind: "rename", at: place, to, exchange: false };
  }
  const other = random.pick(all);
  const [from, to] = [place.path, other.place.path];
  if (other.place.directory !== place.directory || from === to) return undefined;
  if (from.startsWith(`${to}/`) || to.startsWith(`${from}/`)) return undefined;
  if (random.chance(0.3)) return { kind: "rename", at: place, to: other.place, exchange: true };
  if (node.type === "directory") {
    if (other.node.type !== "directory" || other.node.entries.size > 0) return undefined;
  } else if (other.node.type === "directory") return undefined;
  return { kind: "rename", at: place, to: other.place, exchange: false };
};

const link: Maker = (model, random, top) => {
  const candidates = nodes(model, top).filter(({ node }) => node.type !== "directory");
  if (candidates.length === 0) return undefined;
  const { place } = random.pick(candidates);
  const to = freePlace(model, random, top, place.directory);
  return to && { kind: "link", at: place, to };
};

const makeDirectory: Maker = (model, random, top) => {
  const at = freePlace(model, random, top);
  return at && { kind: "mkdir", at, mode: modeOf(random) | 0o700 };
};

const makeSymlink: Maker = (model, random, top) => {
  const at = freePlace(model, random, top);
  return at && { kind: "symlink", at, target: `to/${model.index}` };
};

const makeFifo: Maker = (model, random, top) => {
  const at = freePlace(model, random, top);
  return at && { kind: "fifo", at, mode: modeOf(random) };
};

const temporary: Maker = (model, random, top) => {
  const at = freePlace(model, random, top);
  return at && { kind: "temporary", at, mode: modeOf(random), length: lengthOf(random) };
};

const remove: Maker = (model, random, top) => {
  const all = nodes(model, top);
  const candidates = all.filter(({ node }) => node.type !== "directory" || node.entries.size === 0);
  if (candidates.length === 0) return undefined;
  const { place, node } = random.pick(candidates);
  return { kind: node.type === "directory" ? "rmdir" : "unlink", at: place };
};

const attributes: Maker = (model, random, top) => {
  const all = nodes(model, top);
  if (all.length === 0) return undefined;
  const { place: at, node } = random.pick(all);
  const plain = node.type === "file" || node.type === "directory";
  switch (random.below(4)) {
    case 0:
      return plain ? { kind: "mode", at, mode: modeOf(random) | 0o100 } : undefined;
    case 1:
      return { kind: "owner", at, uid: random.below(3) * 1000, gid: random.below(3) * 1000 };
    case 2: {
      const mtime = BigInt(random.below(2 ** 31)) * 1_000_000_000n + BigInt(random.below(1e9));
      return node.type === "file" ? { kind: "times", at, mtime } : undefined;
    }
    default: {
      if (!plain) return undefined;
      const name = random.pick(attributeNames);
      const removed = node.attributes.has(name) && random.chance(0.4);
      const value = `${model.index}${"v".repeat(random.below(100))}`;
      return { kind: "attribute", at, name, value: removed ? undefined : value };
    }
  }
};

/** Each as often as it stands here. */
const makers: Maker[] = [
  ...Array<Maker>(14).fill(write),
  ...Array<Maker>(4).fill(create),
  ...Array<Maker>(4).fill(open),
  ...Array<Maker>(4).fill(close),
  ...Array<Maker>(3).fill(fsync),
  ...Array<Maker>(4).fill(rename),
  ...Array<Maker>(4).fill(remove),
  ...Array<Maker>(4).fill(attributes),
  ...Array<Maker>(2).fill(truncate),
  ...Array<Maker>(2).fill(allocateSpace),
  ...Array<Maker>(2).fill(link),
  ...Array<Maker>(2).fill(makeDirectory),
  copy,
  temporary,
  makeSymlink,
  makeFifo,
];
