/**
 * What a history of operations makes of two directories, in memory.
 *
 * A process works on objects of its own, one operation after the other, and every operation succeeds;
 * so the state after n operations is known from the seed alone. In the modes:
 * `write`: every operation is on both nodes when it returns;
 * `fsync`: changes of names and attributes are, data is after an fsync. Until then a block may hold
 * any of its contents since the last fsync, and the size may be any that the file had. A truncation is
 * data as well, but it passes no cache: what was promised after it cannot be there without it.
 */

import type { Operation, Place } from "./operation.ts";
import { markBytes, payload } from "./payload.ts";

export type Mode = "write" | "fsync";

/** Unit in which the kernel's cache writes back. */
export const blockSize = 4096;

export interface FileNode {
  type: "file";
  id: number;
  mode: number;
  owner: string;
  /** names that it has */
  links: number;
  /** capacity may exceed `size`; bytes beyond it are zero */
  content: Uint8Array;
  size: number;
  attributes: Map<string, string>;
  /** nanoseconds, where an operation set it and nothing changed it since */
  mtime: bigint | undefined;
  /** `fsync` only: what may be on the other node instead of `content` */
  unsynced: Unsynced | undefined;
  /** `fsync` only: the file before truncations that nothing promised has followed yet */
  untruncated: { content: Uint8Array; unsynced: Unsynced }[];
}

export interface Unsynced {
  minSize: number;
  maxSize: number;
  /** contents of a block since the last fsync, the oldest first, each `blockSize` long */
  blocks: Map<number, Uint8Array[]>;
}

export interface DirectoryNode {
  type: "directory";
  id: number;
  mode: number;
  owner: string;
  attributes: Map<string, string>;
  entries: Map<string, Node>;
}

export interface LeafNode {
  type: "symlink" | "fifo";
  id: number;
  mode: number;
  owner: string;
  links: number;
  /** of a symlink; "" for a fifo */
  target: string;
  attributes: Map<string, string>;
}

export type Node = FileNode | DirectoryNode | LeafNode;

export interface Handle {
  node: FileNode;
  /** which directory it is in: files are copied within one only */
  directory: number;
  append: boolean;
}

export interface Model {
  readonly process: number;
  readonly mode: Mode;
  /** the mirrored directories as this process sees them: nothing but its own objects */
  readonly roots: DirectoryNode[];
  /** open files by slot */
  readonly handles: (Handle | undefined)[];
  /** files with something in `untruncated` */
  readonly unsettled: Set<FileNode>;
  /** operations applied so far: the number of the next one */
  index: number;
  nextId: number;
}

/** Slots for open files. */
export const handleCount = 8;

/** A process before its first operation. */
export function createModel(process: number, mode: Mode, directories = 2): Model {
  const model: Model = {
    process,
    mode,
    roots: [],
    handles: Array.from({ length: handleCount }, () => undefined),
    unsettled: new Set(),
    index: 0,
    nextId: 1,
  };
  for (let i = 0; i < directories; i++) model.roots.push(directoryNode(model, 0o755));
  return model;
}

/** Finds a node; throws where the model has none: the generator names only what is there. */
export function find(model: Model, { directory, path }: Place): Node {
  let node: Node = model.roots[directory];
  for (const name of path === "" ? [] : path.split("/")) {
    const next: Node | undefined = node.type === "directory" ? node.entries.get(name) : undefined;
    if (next === undefined) throw new Error(`The model has no ${path}`);
    node = next;
  }
  return node;
}

/** Kinds of operations of which `fsync` mode promises nothing when they return. */
const unpromised = new Set<Operation["kind"]>(
  ["open", "close", "write", "append", "mark", "copy", "truncate", "allocate"],
);

/** Applies an operation; its number is `model.index`, which it raises. */
export function apply(model: Model, operation: Operation): void {
  const index = model.index++;
  if (!unpromised.has(operation.kind)) {
    for (const node of model.unsettled) node.untruncated = [];
    model.unsettled.clear();
  }
  switch (operation.kind) {
    case "mkdir":
      return put(model, operation.at, directoryNode(model, operation.mode));
    case "create": {
      const node = fileNode(model, operation.mode);
      put(model, operation.at, node);
      model.handles[operation.handle] = {
        node,
        directory: operation.at.directory,
        append: false,
      };
      return;
    }
    case "open":
      model.handles[operation.handle] = {
        node: find(model, operation.at) as FileNode,
        directory: operation.at.directory,
        append: operation.append,
      };
      return;
    case "close":
      model.handles[operation.handle] = undefined;
      return;
    case "temporary": {
      const node = fileNode(model, operation.mode);
      put(model, operation.at, node);
      const bytes = payload(model.process, index, 0, operation.length);
      return write(model, node, 0, bytes);
    }
    case "write": {
      const { node } = handle(model, operation.handle);
      const bytes = payload(model.process, index, operation.offset, operation.length);
      return write(model, node, operation.offset, bytes);
    }
    case "append": {
      const { node } = handle(model, operation.handle);
      return write(
        model,
        node,
        node.size,
        payload(model.process, index, node.size, operation.length),
      );
    }
    case "mark": {
      const node = find(model, operation.at) as FileNode;
      write(model, node, 0, markBytes(operation.value));
      if (operation.sync) node.unsynced = undefined;
      return;
    }
    case "copy": {
      const from = handle(model, operation.from).node;
      const bytes = from.content.slice(operation.offset, operation.offset + operation.length);
      return write(model, handle(model, operation.to).node, operation.target, bytes);
    }
    case "truncate":
      return truncate(model, handle(model, operation.handle).node, operation.size);
    case "allocate":
      return allocateRange(model, handle(model, operation.handle).node, operation);
    case "fsync":
      handle(model, operation.handle).node.unsynced = undefined;
      return;
    case "rename":
      return rename(model, operation.at, operation.to, operation.exchange);
    case "link": {
      const node = find(model, operation.at) as FileNode | LeafNode;
      node.links++;
      return put(model, operation.to, node);
    }
    case "symlink":
    case "fifo":
      return put(model, operation.at, {
        type: operation.kind,
        id: model.nextId++,
        mode: operation.kind === "symlink" ? 0o777 : operation.mode,
        owner: "0:0",
        links: 1,
        target: operation.kind === "symlink" ? operation.target : "",
        attributes: new Map(),
      });
    case "unlink":
    case "rmdir":
      return void take(model, operation.at);
    case "mode":
      find(model, operation.at).mode = operation.mode;
      return;
    case "owner":
      find(model, operation.at).owner = `${operation.uid}:${operation.gid}`;
      return;
    case "times":
      (find(model, operation.at) as FileNode).mtime = operation.mtime;
      return;
    case "attribute": {
      const { attributes } = find(model, operation.at);
      if (operation.value === undefined) attributes.delete(operation.name);
      else attributes.set(operation.name, operation.value);
      return;
    }
  }
}

function handle(model: Model, slot: number): Handle {
  const found = model.handles[slot];
  if (found === undefined) throw new Error(`The model has nothing open at ${slot}`);
  return found;
}

function fileNode(model: Model, mode: number): FileNode {
  const unsynced = model.mode === "fsync"
    ? { minSize: 0, maxSize: 0, blocks: new Map() }
    : undefined;
  return {
    type: "file",
    id: model.nextId++,
    mode,
    owner: "0:0",
    links: 1,
    content: new Uint8Array(blockSize),
    size: 0,
    attributes: new Map(),
    mtime: undefined,
    unsynced,
    untruncated: [],
  };
}

function directoryNode(model: Model, mode: number): DirectoryNode {
  return {
    type: "directory",
    id: model.nextId++,
    mode,
    owner: "0:0",
    attributes: new Map(),
    entries: new Map(),
  };
}

function parentOf(model: Model, { directory, path }: Place): [DirectoryNode, string] {
  const slash = path.lastIndexOf("/");
  const parent = find(model, { directory, path: slash < 0 ? "" : path.slice(0, slash) });
  return [parent as DirectoryNode, path.slice(slash + 1)];
}

function put(model: Model, place: Place, node: Node): void {
  const [parent, name] = parentOf(model, place);
  const old = parent.entries.get(name);
  if (old !== undefined && old.type !== "directory") old.links--;
  parent.entries.set(name, node);
}

function take(model: Model, place: Place): Node {
  const [parent, name] = parentOf(model, place);
  const node = parent.entries.get(name)!;
  if (node.type !== "directory") node.links--;
  parent.entries.delete(name);
  return node;
}

function rename(model: Model, from: Place, to: Place, exchange: boolean): void {
  const [fromParent, fromName] = parentOf(model, from);
  const [toParent, toName] = parentOf(model, to);
  const node = fromParent.entries.get(fromName)!;
  const other = toParent.entries.get(toName);
  // POSIX: two names of the same file: nothing is done.
  if (node === other) return;
  if (exchange) fromParent.entries.set(fromName, other!);
  else {
    if (other !== undefined && other.type !== "directory") other.links--;
    fromParent.entries.delete(fromName);
  }
  toParent.entries.set(toName, node);
}

function write(model: Model, node: FileNode, offset: number, bytes: Uint8Array): void {
  change(model, node, offset, offset + bytes.length, () => {
    grow(node, offset + bytes.length);
    node.content.set(bytes, offset);
    node.size = Math.max(node.size, offset + bytes.length);
  });
}

function allocateRange(
  model: Model,
  node: FileNode,
  { how, offset, length }: Operation & { kind: "allocate" },
): void {
  change(model, node, offset, offset + length, () => {
    const end = offset + length;
    if (how === "punch" || how === "zero") node.content.fill(0, offset, Math.min(end, node.size));
    if (how === "extend" || how === "zero") {
      grow(node, end);
      node.size = Math.max(node.size, end);
    }
  });
}

function truncate(model: Model, node: FileNode, size: number): void {
  node.mtime = undefined;
  if (model.mode === "fsync") keepUntruncated(model, node);
  grow(node, size);
  node.content.fill(0, Math.min(size, node.size));
  node.size = size;
  if (model.mode === "write") return;
  // Where the truncation has arrived there is this size, and zeros beyond.
  const old = node.unsynced?.blocks ?? new Map<number, Uint8Array[]>();
  const blocks = new Map<number, Uint8Array[]>();
  for (const [block, versions] of old) {
    const kept = size - block * blockSize;
    if (kept <= 0) continue;
    for (const version of versions) version.fill(0, Math.min(kept, blockSize));
    blocks.set(block, versions);
  }
  node.unsynced = { minSize: size, maxSize: size, blocks };
}

function keepUntruncated(model: Model, node: FileNode): void {
  const { minSize, maxSize, blocks } = node.unsynced ??
    { minSize: node.size, maxSize: node.size, blocks: new Map<number, Uint8Array[]>() };
  const copies = new Map(
    [...blocks].map(([block, versions]) => [block, versions.map((v) => v.slice())]),
  );
  node.untruncated.push({
    content: node.content.slice(0, node.size),
    unsynced: { minSize, maxSize, blocks: copies },
  });
  model.unsettled.add(node);
}

/** Changes data from `start` to `end`, keeping what may still be on the other node. */
function change(
  model: Model,
  node: FileNode,
  start: number,
  end: number,
  body: () => void,
): void {
  node.mtime = undefined;
  if (model.mode === "write") return body();
  node.unsynced ??= { minSize: node.size, maxSize: node.size, blocks: new Map() };
  const { unsynced } = node;
  const [first, last] = [Math.floor(start / blockSize), Math.floor((end - 1) / blockSize)];
  for (let block = first; block <= last; block++) {
    if (!unsynced.blocks.has(block)) unsynced.blocks.set(block, [blockOf(node, block)]);
  }
  body();
  for (let block = first; block <= last; block++) {
    unsynced.blocks.get(block)!.push(blockOf(node, block));
  }
  unsynced.minSize = Math.min(unsynced.minSize, node.size);
  unsynced.maxSize = Math.max(unsynced.maxSize, node.size);
}

function blockOf(node: FileNode, block: number): Uint8Array {
  const copy = new Uint8Array(blockSize);
  const start = block * blockSize;
  if (start < node.content.length) copy.set(node.content.subarray(start, start + blockSize));
  return copy;
}

function grow(node: FileNode, size: number): void {
  if (size <= node.content.length) return;
  let capacity = node.content.length;
  while (capacity < size) capacity *= 2;
  const content = new Uint8Array(capacity);
  content.set(node.content.subarray(0, node.size));
  node.content = content;
}
