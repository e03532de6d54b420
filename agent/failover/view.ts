/**
 * What the decisions of the two nodes say to each other about a module: in heartbeats a {@link View},
 * and when one dials the other a {@link Hello}.
 */

import type { Copy, History } from "../state/record.ts";
import type { ModuleView } from "../cluster/view.ts";
import type { Claim, State } from "./types.ts";

export interface View {
  state: State;
  ready: boolean;
  sync: string;
  generation: number;
  id: string;
  digest: string;
  copy: Copy;
  /** the peer's copy is outdated with respect to this session, durably; "" for none */
  outdated: string;
  /** the peer serves, has lost the sink of this session and asks it to say "outdated"; "" for none */
  lost: string;
  claim: Claim | undefined;
  /** the claim that the peer stands back for; "" for none */
  granted: string;
  appliedSeq: number;
}

/** The dialling sink's account of its copy. */
export interface Hello extends History {
  copy: Copy;
  /** files that were never mirrored may be replaced, and so may a forked history */
  replace: boolean;
  empty: boolean;
  /** see {@link View.outdated} */
  outdated: string;
  /** the session in which this copy is in sync and its data path could go on; "" for none */
  session: string;
}

/** Puts a view into the form in which heartbeats carry it. */
export function toModuleView(name: string, view: View): ModuleView {
  const words: Record<string, string> = { copy: view.copy };
  if (view.outdated !== "") words.outdated = view.outdated;
  if (view.lost !== "") words.lost = view.lost;
  if (view.granted !== "") words.granted = view.granted;
  if (view.claim) {
    words.claim = `${view.claim.generation} ${view.claim.id}${view.claim.force ? " force" : ""}`;
  }
  return {
    name,
    state: view.state,
    ready: view.ready,
    sync: view.sync,
    generation: view.generation,
    id: view.id,
    digest: view.digest,
    appliedSeq: view.appliedSeq,
    outdated: view.copy === "outdated" || view.copy === "partial",
    words,
  };
}

/** Reads a heartbeat's view. Words that are missing or make no sense count as not said. */
export function fromModuleView(view: ModuleView): View {
  const words = view.words ?? {};
  return {
    state: view.state,
    ready: view.ready,
    sync: view.sync,
    generation: view.generation,
    id: view.id,
    digest: view.digest,
    copy: isCopy(words.copy) ? words.copy : "unknown",
    outdated: words.outdated ?? "",
    lost: words.lost ?? "",
    claim: parseClaim(words.claim),
    granted: words.granted ?? "",
    appliedSeq: view.appliedSeq,
  };
}

function parseClaim(text: string | undefined): Claim | undefined {
  const found = /^(\d{1,15}) (\S+)( force)?$/.exec(text ?? "");
  if (!found) return undefined;
  return { generation: Number(found[1]), id: found[2], force: found[3] !== undefined };
}

function isCopy(word: unknown): word is Copy {
  return word === "unknown" || word === "good" || word === "outdated" || word === "partial";
}

/** Reads the record of a hello; undefined where it is none. */
export function parseHello(record: Record<string, unknown>): Hello | undefined {
  const history = parseHistory(record);
  if (!history || !isCopy(record.copy)) return undefined;
  if (typeof record.replace !== "boolean" || typeof record.empty !== "boolean") return undefined;
  if (typeof record.outdated !== "string" || typeof record.session !== "string") return undefined;
  const { copy, replace, empty, outdated, session } = record;
  return { ...history, copy, replace, empty, outdated, session };
}

/** Reads a history out of a hello's record or answer; undefined where it holds none. */
export function parseHistory(record: Record<string, unknown>): History | undefined {
  const { generation, id, ancestors } = record;
  if (!Number.isSafeInteger(generation) || (generation as number) < 0) return undefined;
  if (typeof id !== "string") return undefined;
  if (!Array.isArray(ancestors) || !ancestors.every((a) => typeof a === "string")) return undefined;
  return { generation: generation as number, id, ancestors };
}
