/**
 * Rules for a node that plays no part yet: who may serve, who stands back, who follows.
 *
 * Before a node serves, it claims the next generation and the peer, if it is heard, grants the claim:
 * it notes durably that its own copy will be outdated, and does not serve meanwhile. Two nodes that
 * are told to serve at the same moment so end with one. (The witness takes the peer's place where
 * the peer is not heard.)
 */

import { descendsFrom, nextHistory } from "../state/record.ts";
import { answer, type Draft, freshName, order, peerServes, store, tell } from "./draft.ts";
import { judgeFollow, judgeResume, judgeServe, wins } from "./judge.ts";
import { startFollowing } from "./following.ts";
import type { ModuleState } from "./types.ts";

/** Phase `waiting`: takes a part as soon as one may be taken. */
export function advanceWaiting(d: Draft): void {
  const { state } = d;
  obeyPrim(d);
  if (state.phase !== "waiting") return;
  if (peerServes(state)) {
    if (judgeFollow(state) === undefined) startFollowing(d);
    return;
  }
  if (judgeResume(state)) {
    tell(
      d,
      "info",
      `${state.settings.module}: this node served last, and ${state.settings.peer} holds nothing newer`,
    );
    claim(d, false);
  }
}

/**
 * How long a `prim` waits for a peer that serves, or is about to, to be heard otherwise: it may just
 * have been stopped, and its word is on the way.
 */
export function patience(state: ModuleState): number {
  return state.peer.view?.ready ? 500 : state.settings.heartbeatTimeout;
}

/** Phases `waiting` and `following`: answers a waiting `prim`, or claims. */
export function obeyPrim(d: Draft): void {
  const { state } = d;
  const asked = order(state, "prim");
  if (!asked) return;
  if (state.phase !== "waiting" && state.phase !== "following") return;
  if (state.peer.contact === "unknown") return;
  const verdict = judgeServe(state);
  if (verdict.kind === "no") {
    if (d.now >= asked.since + patience(state)) answer(d, ["prim"], false, verdict.reason);
  } else if (verdict.kind === "forced" && !asked.force) {
    answer(
      d,
      ["prim"],
      false,
      `${verdict.reason}. With --force this would be lost: ${verdict.loss}`,
    );
  } else {
    const forced = verdict.kind === "forced";
    if (forced) {
      tell(
        d,
        "warning",
        `${state.settings.module}: prim was forced by an operator; given up: ${verdict.loss}`,
      );
    }
    claim(d, forced);
  }
}

function claim(d: Draft, force: boolean): void {
  const { state } = d;
  const known = state.peer.view?.generation ?? 0;
  state.claim = {
    id: freshName(d),
    generation: Math.max(state.record.generation, known) + 1,
    force,
    deadline: d.now + Math.max(2000, 2 * state.settings.heartbeatTimeout),
    revision: 0,
    before: undefined,
  };
  state.following = undefined;
  state.phase = "claiming";
}

/** Phase `claiming`: the peer grants, is silent, or has a better claim. */
export function advanceClaiming(d: Draft): void {
  const { state } = d;
  const own = state.claim;
  if (!own) return;
  const { contact, view } = state.peer;
  if (contact === "unknown") return;
  const verdict = judgeServe(state);
  if (verdict.kind === "no") return withdraw(d, verdict.reason);
  if (verdict.kind === "forced" && !own.force) return withdraw(d, verdict.reason);
  // A peer that does not know the module cannot serve it.
  if (contact === "silent" || view === undefined || view.granted === own.id) return raise(d);
  if (own.deadline <= d.now) {
    withdraw(
      d,
      `${state.settings.peer} is alive, but does not agree: look at its status and events`,
    );
  }
}

function withdraw(d: Draft, reason: string): void {
  d.state.claim = undefined;
  d.state.phase = "waiting";
  answer(d, ["prim"], false, reason);
}

/** The generation is on disk before anything is acknowledged in it. */
function raise(d: Draft): void {
  const { state } = d;
  const own = state.claim;
  if (!own) return;
  state.phase = "raising";
  state.granted = undefined;
  state.outdated = undefined;
  const before = state.record;
  const revision = store(d, {
    ...nextHistory(before, own.generation, own.id),
    copy: "good",
    last: "served",
    peerInSync: false,
    clean: false,
    boot: state.settings.boot,
    replace: false,
    session: "",
  });
  state.claim = { ...own, revision, before };
}

/** Phase `raising`: serves once the generation is on disk. */
export function advanceRaising(d: Draft): void {
  const { state } = d;
  if (!state.claim || state.stored < state.claim.revision) return;
  // The disk took its time, and the peer serves meanwhile: nothing was acknowledged here yet.
  const { before } = state.claim;
  if (before && peerServes(state)) {
    store(d, before);
    return withdraw(d, `${state.settings.peer} serves ${state.settings.module} in the meantime`);
  }
  state.phase = "starting";
  d.actions.push({ kind: "serve" });
}

/** The data path serves. */
export function served(d: Draft): void {
  const { state } = d;
  if (state.phase !== "starting") return;
  state.phase = "serving";
  state.claim = undefined;
  state.unbroken = true;
  state.serving = {
    sink: "none",
    session: "",
    connection: 0,
    revision: 0,
    deadline: 0,
    dropped: false,
    resumable: false,
    askAt: 0,
    why: "",
    progress: undefined,
  };
  const { module } = state.settings;
  tell(d, "info", `${module} serves here, generation ${state.record.generation}`);
  answer(d, ["prim"], true, `${module} serves here, generation ${state.record.generation}`);
}

/** In every phase: stands back for a claim of the peer, where nothing speaks against it. */
export function advanceGrant(d: Draft): void {
  const { state } = d;
  const wish = state.peer.contact === "alive" ? state.peer.view?.claim : undefined;
  if (!wish) {
    state.granted = undefined;
    return;
  }
  if (state.granted?.id === wish.id) return;
  if (state.serving || state.phase === "raising" || state.phase === "starting") return;
  const { record } = state;
  const base = state.peer.view?.id ?? "";
  // This node's data is newer than the claimant's: it finds that out by itself.
  const ahead = record.copy === "good" && record.id !== base && descendsFrom(record, base);
  if (ahead && base !== "" && !wish.force) return;
  if (state.phase === "claiming") {
    if (wins(state)) return;
    withdraw(
      d,
      `${state.settings.peer} was told to serve ${state.settings.module} too, and goes first`,
    );
  }
  let revision = state.stored;
  if (record.copy === "good" && record.id === base && record.id !== "") {
    revision = store(d, { copy: "outdated" });
  }
  state.granted = { id: wish.id, revision };
  state.unbroken = false;
}
