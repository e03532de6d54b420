/** What a node says of a module: to people in a sentence, to the peer in its view. */

import { said } from "./following.ts";
import { serves } from "./draft.ts";
import { differing, judgeFollow, judgeServe } from "./judge.ts";
import type { ModuleState, Progress, State, Sync } from "./types.ts";
import type { View } from "./view.ts";

export interface Description {
  state: State;
  ready: boolean;
  sync: Sync;
  /** one sentence for people, without a final period */
  reason: string;
}

/** State, readiness and reason, as status shows them. */
export function describe(state: ModuleState): Description {
  const { storing } = state;
  const description = describePhase(state);
  if (!storing) return description;
  return {
    ...description,
    reason: `${description.reason}; this node's record cannot be written: ${storing.reason}`,
  };
}

function describePhase(state: ModuleState): Description {
  const { module, peer } = state.settings;
  const { phase } = state;
  const copy: Sync = state.record.copy === "outdated" || state.record.copy === "partial"
    ? "outdated"
    : "none";
  const make = (name: State, ready: boolean, sync: Sync, reason: string) => ({
    state: name,
    ready,
    sync,
    reason,
  });
  switch (phase) {
    case "stopped":
      if (state.leaving) return make("STOP", false, copy, "the agent ends");
      if (state.trouble !== "" && !state.record.stopped) {
        return make("STOP", false, copy, `cannot start, and tries again: ${state.trouble}`);
      }
      if (!state.record.stopped) return make("STOP", false, copy, "is about to start");
      return make("STOP", false, copy, `stopped by an operator: \`understudy start ${module}\``);
    case "opening":
      return make("WAIT", false, copy, "is starting");
    case "waiting":
      return make("WAIT", false, copy, waitingFor(state));
    case "following":
      return describeFollowing(state, copy);
    case "claiming":
      return make("WAIT", false, copy, `is about to serve: asks ${peer} to stand back`);
    case "raising":
    case "starting":
      return make("WAIT", false, copy, "is about to serve");
    case "serving":
      return describeServing(state);
    case "yielding":
      return make(servingState(state), false, "none", "is ending its part as the primary");
    case "closing":
      if (state.serving) return make(servingState(state), false, "none", "is being stopped");
      return make("WAIT", false, copy, "is being stopped");
  }
}

function servingState(state: ModuleState): State {
  const sink = state.serving?.sink;
  return sink === "synced" || sink === "resuming" || sink === "lost" || sink === "parting" ||
      sink === "releasing"
    ? "PRIM"
    : "ALONE";
}

function describeServing(state: ModuleState): Description {
  const { settings, serving: own } = state;
  const { peer } = settings;
  const name = servingState(state);
  const unprotected = "not protected at the moment";
  const make = (ready: boolean, sync: Sync, reason: string) => ({
    state: name,
    ready,
    sync,
    reason,
  });
  switch (own?.sink) {
    case "synced":
      return make(true, "synced", `mirrored to ${peer}`);
    case "resuming":
    case "lost":
      return make(false, "none", `writes wait to learn whether ${peer} is gone: ${own.why}`);
    case "parting":
    case "releasing":
      return make(false, "none", `writes wait while this node takes over alone: ${own.why}`);
    case "admitted":
    case "joining":
      return make(true, "syncing", `${unprotected}: ${peer} is connecting`);
    case "linked":
    case "dropping":
      return make(true, "syncing", `${unprotected}: ${resync(peer, own.progress)}`);
    default:
      return make(true, "none", `${unprotected}: ${missing(state)}`);
  }
}

function resync(peer: string, made: Progress | undefined): string {
  if (!made) return `${peer} is being brought in sync`;
  return `${peer} is being brought in sync (${made.phase}, ${made.filesDone} files compared)`;
}

/** Why a serving node has no peer. */
function missing(state: ModuleState): string {
  const { settings, peer, serving: own } = state;
  const { peer: other, module } = settings;
  if (state.split) {
    return `${other} serves too, both nodes were told to hold the good data: ` +
      `\`understudy second ${module}\` on one of them gives its files up`;
  }
  if (peer.contact === "unknown") return `${other} has not been heard yet`;
  if (peer.contact === "silent") return `${other} is silent on every network`;
  const view = peer.view;
  if (!view) return `${other} does not know ${module}`;
  if (view.digest !== settings.digest) return differing(state);
  if (view.state === "STOP") return `${module} is stopped on ${other}`;
  return own?.why ? `${other} does not follow: ${own.why}` : `${other} does not follow yet`;
}

function describeFollowing(state: ModuleState, copy: Sync): Description {
  const own = state.following;
  const { peer } = state.settings;
  const make = (ready: boolean, sync: Sync, reason: string): Description => ({
    state: "SECOND",
    ready,
    sync,
    reason,
  });
  switch (own?.link) {
    case "synced":
      return make(true, "synced", `in sync with ${peer}`);
    case "noting":
    case "syncing":
    case "marking":
      return make(false, "syncing", `is being brought in sync by ${peer}`);
    case "confessing":
      return make(false, copy, `is outdated: ${own.why}`);
    default: {
      const why = own?.why ? `: ${own.why}` : "";
      // It has no part in the mirror before it was connected once.
      const name = state.record.last === "followed" && state.record.generation > 0;
      const description = make(false, copy, `connects to ${peer}${why}`);
      return name ? description : { ...description, state: "WAIT" };
    }
  }
}

/** Phase `waiting`: what for. */
function waitingFor(state: ModuleState): string {
  const { record, peer, settings } = state;
  const { module, peer: other } = settings;
  if (peer.contact === "unknown") return `waits to hear of ${other}`;
  const view = peer.contact === "alive" ? peer.view : undefined;
  if (view && serves(view.state)) {
    return judgeFollow(state) ?? `is about to follow ${other}`;
  }
  if (view?.claim) return `${other} is about to serve`;
  if (view && view.digest !== settings.digest) return differing(state);
  const heard = peer.contact === "silent"
    ? `${other} is silent on every network`
    : view
    ? `${other} does not serve`
    : `${other} does not know ${module}`;
  if (record.generation === 0 && (peer.view === undefined || peer.view.generation === 0)) {
    return `no node was ever told to hold the good data: \`understudy prim ${module}\` on the ` +
      `right one (${heard})`;
  }
  const verdict = judgeServe(state);
  if (verdict.kind === "yes") {
    return `${heard}, and this node's data is good: \`understudy prim ${module}\` here is safe`;
  }
  if (verdict.kind === "no") return verdict.reason;
  return `${heard}; ${verdict.reason}`;
}

/** What this node says of the module in its heartbeats. */
export function viewOf(state: ModuleState): View {
  const description = describePhase(state);
  const { record, granted } = state;
  return {
    state: description.state,
    ready: description.ready,
    sync: description.sync,
    generation: record.generation,
    id: record.id,
    digest: state.settings.digest,
    copy: record.copy,
    outdated: said(state),
    lost: state.phase === "serving" ? state.lost : "",
    claim: state.claim &&
      { id: state.claim.id, generation: state.claim.generation, force: state.claim.force },
    granted: granted && granted.revision <= state.stored ? granted.id : "",
    appliedSeq: 0,
  };
}

/** True where the two views differ in something that the peer acts upon. */
export function differs(a: View, b: View): boolean {
  return a.state !== b.state || a.ready !== b.ready || a.outdated !== b.outdated ||
    a.lost !== b.lost || a.claim?.id !== b.claim?.id || a.granted !== b.granted || a.id !== b.id ||
    a.copy !== b.copy;
}
