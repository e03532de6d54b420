/**
 * Who may do what, as far as this node can know: serve, serve again by itself, follow, be followed.
 * Every refusal ends in what an operator can do.
 */

import { descendsFrom } from "../state/record.ts";
import { peerServes } from "./draft.ts";
import type { ModuleState, RefusalWord } from "./types.ts";
import type { Hello } from "./view.ts";

export type Verdict =
  | { kind: "yes" }
  /** only with force; `loss` says what would be lost */
  | { kind: "forced"; reason: string; loss: string }
  | { kind: "no"; reason: string };

const yes: Verdict = { kind: "yes" };

/** May this node start to serve on an operator's word? */
export function judgeServe(state: ModuleState): Verdict {
  const { record, peer, settings } = state;
  const { module, peer: other } = settings;
  const view = peer.contact === "alive" ? peer.view : undefined;
  if (peerServes(state)) {
    return { kind: "no", reason: `${other} serves ${module}: stop it there first` };
  }
  if (view?.claim && !(state.claim && wins(state))) {
    return { kind: "no", reason: `${other} is about to serve ${module}` };
  }
  if (record.generation === 0) {
    if (peer.view === undefined || peer.view.generation === 0) return yes;
    return {
      kind: "forced",
      reason: `${other} holds generation ${peer.view.generation} of ${module}, and this node's ` +
        `files were never part of it: \`understudy prim ${module}\` on ${other} is the safe way`,
      loss: `everything that ${other} holds of ${module}`,
    };
  }
  if (record.copy === "partial") {
    return {
      kind: "forced",
      reason: `this node was in the middle of a resync, its files are of different moments: ` +
        `\`understudy prim ${module}\` on ${other} is the safe way`,
      loss: `the resync that was under way, and with it the consistency of the files; whatever ` +
        `${other} holds`,
    };
  }
  if (record.copy !== "good") {
    return {
      kind: "forced",
      reason: `this node's copy is outdated, ${other} went on without it: ` +
        `\`understudy prim ${module}\` on ${other} is the safe way`,
      loss: `everything that ${other} acknowledged since this node left the mirror`,
    };
  }
  if (view) {
    if (view.id === record.id || descendsFrom(record, view.id) || view.generation === 0) return yes;
    return {
      kind: "forced",
      reason: `${other} holds generation ${view.generation}, which this node's generation ` +
        `${record.generation} does not contain`,
      loss: `everything written at ${other}'s generation ${view.generation}`,
    };
  }
  if (state.unbroken || (record.last === "served" && !record.peerInSync)) return yes;
  return {
    kind: "forced",
    reason: record.last === "served"
      ? `${other} was in sync when this node last served, and may have served since: start the ` +
        `agent there, or make sure that it has not`
      : `this node was away, and ${other} may have gone on without it: start the agent there, or ` +
        `make sure that it has not`,
    loss: `whatever ${other} acknowledged since this node last heard of it`,
  };
}

/**
 * May this node, which served before, go on by itself? Only on the peer's word that it holds nothing
 * newer, and where this node's own caches cannot have been lost while the peer holds everything.
 */
export function judgeResume(state: ModuleState): boolean {
  const { record, peer, settings } = state;
  if (settings.mode !== "auto" || record.last !== "served" || record.copy !== "good") return false;
  if (peer.contact !== "alive" || !peer.view || peer.view.claim || state.granted) return false;
  if (judgeServe(state).kind !== "yes") return false;
  const peerIsAsGood = peer.view.copy === "good" && peer.view.id === record.id;
  return record.clean || record.boot === settings.boot || !peerIsAsGood;
}

/** May this node follow the peer that serves? Undefined: yes. Else the reason, for people. */
export function judgeFollow(state: ModuleState): string | undefined {
  const { record, peer, settings } = state;
  const { module, peer: other } = settings;
  const view = peer.view;
  if (!view) return `${other} does not know ${module}`;
  if (view.digest !== settings.digest) return differing(state);
  if (record.replace) return undefined;
  if (record.generation === 0) {
    if (state.empty === undefined) return "the directories are being looked at";
    return state.empty ? undefined : unmirrored(state);
  }
  if (view.id === record.id || view.generation > record.generation) return undefined;
  return `${other} serves generation ${view.generation}, which does not come from this node's ` +
    `generation ${record.generation}: both nodes were told to hold the good data. ` +
    `\`understudy second ${module}\` on one of them gives its files up`;
}

/** The reason where the nodes' definitions differ. */
export function differing(state: ModuleState): string {
  const { module, peer: other } = state.settings;
  return `${other} has another definition of ${module}: make the files equal and ` +
    `\`understudy restart ${module}\` where it was changed`;
}

function unmirrored(state: ModuleState): string {
  const { module, peer: other } = state.settings;
  return `this node's directories hold files that were never mirrored: ` +
    `\`understudy second ${module}\` here lets them be replaced by ${other}'s`;
}

/** May the peer that says this follow this node? Undefined: yes. */
export function judgeSink(
  state: ModuleState,
  hello: Hello,
): { word: RefusalWord; reason: string } | undefined {
  const { self, module } = state.settings;
  if (hello.replace) return undefined;
  if (hello.generation === 0) {
    if (hello.empty) return undefined;
    return {
      word: "unmirrored",
      reason:
        `the directories hold files that were never mirrored: \`understudy second ${module}\` ` +
        `there lets them be replaced by ${self}'s`,
    };
  }
  if (descendsFrom(state.record, hello.id)) return undefined;
  return {
    word: "forked",
    reason: `${self} serves generation ${state.record.generation}, which does not come from ` +
      `generation ${hello.generation} there: both nodes were told to hold the good data. ` +
      `\`understudy second ${module}\` on one of them gives its files up`,
  };
}

/** Where both nodes claim at the same time: true where this node's claim stands. */
export function wins(state: ModuleState): boolean {
  const own = state.claim;
  const other = state.peer.view?.claim;
  if (!own || !other) return own !== undefined;
  if (own.force !== other.force) return own.force;
  const { self, peer, preferred } = state.settings;
  if (preferred === self) return true;
  if (preferred === peer) return false;
  return self < peer;
}
