/**
 * What a node must still know of a module after it lost power: which history its directories belong
 * to, how far they can be trusted, and what the operator wants.
 *
 * A record is replaced as a whole (see `store.ts`); `revision` counts the replacements, so that
 * whoever asked for one can wait for exactly that one.
 */

/** Layout of the record. A file of a later format is refused, not guessed at. */
export const recordFormat = 1;

/** Ancestors kept. More role changes than this between two meetings are treated as a fork. */
export const maxAncestors = 1000;

/**
 * What this node's directories are worth:
 * - `unknown`: never part of a mirror, or part of none that this node remembers
 * - `good`: everything that was acknowledged in this generation, as far as this node can know
 * - `outdated`: whole, but a later generation or a later part of this one exists elsewhere
 * - `partial`: in the middle of a resync, files of different moments side by side
 */
export type Copy = "unknown" | "good" | "outdated" | "partial";

/** A history of the module's data: the generation that holds now, and those it came from. */
export interface History {
  /** 0: no node was ever told to hold the good data */
  generation: number;
  /** random name of the generation, "" at generation 0: two nodes that raise alone differ in it */
  id: string;
  /** names of the generations before, newest first */
  ancestors: string[];
}

export interface ModuleRecord extends History {
  format: typeof recordFormat;
  module: string;
  /** the node that wrote it: a state directory copied to another host is recognised */
  node: string;
  revision: number;
  /** an operator stopped the module; it does not start with the agent */
  stopped: boolean;
  copy: Copy;
  /** the last part this node played in the mirror */
  last: "none" | "served" | "followed";
  /** while or since this node served, the peer may hold everything too, and may have served since */
  peerInSync: boolean;
  /** the part in `last` ended in an orderly way: nothing was in flight, everything was flushed */
  clean: boolean;
  /** the kernel's boot id during the part in `last`: another one means that caches were lost */
  boot: string;
  /** the operator allowed this node's files to be replaced by the peer's (`second`) */
  replace: boolean;
  /** the connection over which this copy was last declared in sync, "" for none */
  session: string;
}

/** The record of a module that this node has never seen. */
export function emptyRecord(module: string, node: string): ModuleRecord {
  return {
    format: recordFormat,
    module,
    node,
    revision: 0,
    stopped: false,
    generation: 0,
    id: "",
    ancestors: [],
    copy: "unknown",
    last: "none",
    peerInSync: false,
    clean: true,
    boot: "",
    replace: false,
    session: "",
  };
}

/** The history that begins where a node goes on by itself from `base`. */
export function nextHistory(base: History, generation: number, id: string): History {
  return {
    generation,
    id,
    ancestors: base.id === "" ? [] : [base.id, ...base.ancestors].slice(0, maxAncestors),
  };
}

/** True where `id` is this history's own generation or one that it came from. */
export function descendsFrom(history: History, id: string): boolean {
  return history.id === id || history.ancestors.includes(id);
}

/**
 * Reads a record out of parsed JSON. Returns a sentence instead where it is no record that this
 * version understands.
 */
export function parseRecord(value: unknown, module: string, node: string): ModuleRecord | string {
  if (typeof value !== "object" || value === null) return "it holds no record";
  const found = value as Record<string, unknown>;
  if (found.format !== recordFormat) {
    return `it has format ${JSON.stringify(found.format)}, this version reads ${recordFormat}: ` +
      "a later version of Understudy wrote it";
  }
  const empty = emptyRecord(module, node);
  for (const [key, example] of Object.entries(empty)) {
    const got = found[key];
    const fits = Array.isArray(example)
      ? Array.isArray(got) && got.every((entry) => typeof entry === "string")
      : typeof got === typeof example;
    if (!fits) return `"${key}" is missing or of the wrong kind`;
  }
  const record = found as unknown as ModuleRecord;
  if (!["unknown", "good", "outdated", "partial"].includes(record.copy)) {
    return `"copy" is ${JSON.stringify(record.copy)}`;
  }
  if (!["none", "served", "followed"].includes(record.last)) {
    return `"last" is ${JSON.stringify(record.last)}`;
  }
  for (const [name, count] of [["generation", record.generation], ["revision", record.revision]]) {
    if (!Number.isSafeInteger(count) || (count as number) < 0) return `"${name}" is no count`;
  }
  if ((record.generation === 0) !== (record.id === "")) return "generation and id do not agree";
  if (record.module !== module) return `it belongs to module "${record.module}"`;
  if (record.node !== node) {
    return `it was written by node "${record.node}": a state directory belongs to one node only`;
  }
  return record;
}
