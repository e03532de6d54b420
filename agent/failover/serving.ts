/**
 * Rules for the source: who is let in as its sink, and what happens when the sink is lost.
 *
 * From the moment the data path declares a sink in sync, every acknowledgement needs it. Going on
 * without it takes its durable word that it is outdated, or its silence for the time that the
 * configuration gives; in both cases the next generation is on disk first.
 */

import { nextHistory } from "../state/record.ts";
import { type Draft, freshName, peerServes, store, tell } from "./draft.ts";
import { differing, judgeSink } from "./judge.ts";
import type { Progress, RefusalWord, Serving } from "./types.ts";
import type { Hello } from "./view.ts";

/** A data path that has not changed its part, or ended, after this long is ended by force. */
export const closeLimit = 10_000;

/** A peer whose hello was accepted has this long to bring the connection. */
const joinLimit = 10_000;

/** The peer has dialled and wants to follow. */
export function hello(d: Draft, request: number, digest: string, said: Hello): void {
  const { state } = d;
  const own = state.serving;
  const { module, self, peer } = state.settings;
  const refuse = (word: RefusalWord, reason: string): void => {
    d.actions.push({ kind: "admit", request, answer: { accept: false, word, reason } });
  };
  if (state.phase === "raising" || state.phase === "starting") {
    return refuse("busy", `${self} is about to serve ${module}`);
  }
  if (state.phase !== "serving" || !own) {
    return refuse("not-serving", `${self} does not serve ${module}`);
  }
  if (digest !== state.settings.digest) {
    own.why = differing(state);
    return refuse("definition", `${self} has another definition of ${module}`);
  }
  if (own.sink === "linked") {
    drop(d, `${peer} connected anew`);
  } else if (own.sink === "resuming") {
    own.sink = "lost";
  } else if (own.sink === "synced") {
    d.actions.push({ kind: "detach", reason: `${peer} connected anew` });
    own.dropped = true;
    lose(d, `${peer} connected anew`, d.now + state.settings.heartbeatTimeout);
  }
  if (own.sink === "lost") {
    if (said.outdated === own.session) part(d);
    else if (own.resumable && said.session === own.session) return resume(d, request);
    else return refuse("confess", `${self} lost the link over which this copy was in sync`);
  }
  if (own.sink !== "none" && own.sink !== "admitted") {
    return refuse("busy", `${self} is still letting go of the link before`);
  }
  const refusal = judgeSink(state, said);
  if (refusal) {
    if (own.why !== refusal.reason) {
      tell(d, "warning", `${module}: ${peer} cannot follow: ${refusal.reason}`);
    }
    own.why = refusal.reason;
    return refuse(refusal.word, refusal.reason);
  }
  own.sink = "admitted";
  own.session = freshName(d);
  own.deadline = d.now + joinLimit;
  const { generation, id, ancestors } = state.record;
  d.actions.push({
    kind: "admit",
    request,
    answer: { accept: true, session: own.session, history: { generation, id, ancestors } },
  });
}

/** The peer comes back while changes are held for it: the same session goes on. */
function resume(d: Draft, request: number): void {
  const own = d.state.serving;
  if (!own) return;
  own.sink = "resuming";
  own.resumable = false;
  d.state.lost = "";
  const { generation, id, ancestors } = d.state.record;
  d.actions.push({
    kind: "admit",
    request,
    answer: { accept: true, session: own.session, history: { generation, id, ancestors } },
  });
}

/** The data path goes on where the lost link broke off. */
export function resumed(d: Draft): void {
  const { state } = d;
  const own = state.serving;
  if (own?.sink !== "resuming") return;
  own.sink = "synced";
  own.why = "";
  tell(d, "info", `${state.settings.module} is mirrored to ${state.settings.peer} over a new link`);
}

/**
 * The admitted peer is connected. It may come to hold everything from here on, and that is on disk
 * before the data path hears of it: after a crash this node must know that the peer may have served.
 */
export function linkedAsSource(d: Draft, connection: number, session: string): void {
  const own = d.state.serving;
  if (own?.sink === "resuming" && own.session === session) {
    d.actions.push({ kind: "attach", connection });
    return;
  }
  if (own?.sink !== "admitted" || own.session !== session) {
    d.actions.push({ kind: "discard", connection });
    return;
  }
  own.sink = "joining";
  own.connection = connection;
  own.revision = d.state.record.peerInSync ? d.state.stored : store(d, { peerInSync: true });
}

/** Every acknowledgement needs the sink from now on. */
export function inSync(d: Draft): void {
  const { state } = d;
  const own = state.serving;
  if (own?.sink !== "linked") return;
  own.sink = "synced";
  own.why = "";
  own.progress = undefined;
  tell(d, "info", `${state.settings.module} is mirrored to ${state.settings.peer}`);
}

/** Source: resync goes on. */
export function progress(d: Draft, made: Progress): void {
  const own = d.state.serving;
  if (own?.sink === "linked") own.progress = made;
}

/** The data path has lost or dropped the connection. `lagging`: it holds changes back. */
export function sourceLost(d: Draft, reason: string, lagging: boolean): void {
  const { state } = d;
  const own = state.serving;
  if (!own || state.phase !== "serving") return;
  if (own.dropped) {
    own.dropped = false;
    return;
  }
  if (own.sink === "resuming") {
    // It was lost before, and its time runs since then.
    own.sink = "lost";
    own.askAt = d.now;
    own.why = reason;
  } else if (
    own.sink === "synced" || (lagging && (own.sink === "linked" || own.sink === "dropping"))
  ) {
    const limit = own.sink === "dropping" ? own.deadline : Infinity;
    lose(d, reason, Math.min(limit, d.now + state.settings.heartbeatTimeout));
  } else if (own.sink === "linked" || own.sink === "dropping") {
    if (own.sink === "linked") {
      tell(
        d,
        "warning",
        `${state.settings.module} lost the link to ${state.settings.peer}: ${reason}`,
      );
      own.why = reason;
    }
    own.sink = "none";
    own.progress = undefined;
    // It was never told that it is in sync.
    store(d, { peerInSync: false });
  }
}

/** The sink applies nothing although its node lives. */
export function stalled(d: Draft, owed: number): void {
  const { state } = d;
  const own = state.serving;
  const { peer, ackTimeout, heartbeatTimeout } = state.settings;
  const reason = `${peer} applied nothing for ${ackTimeout / 1000} s and owes ${owed} operations`;
  if (own?.sink === "linked") {
    drop(d, reason);
    own.deadline = d.now;
  } else if (own?.sink === "synced") {
    d.actions.push({ kind: "detach", reason });
    lose(d, reason, d.now + heartbeatTimeout);
    part(d);
  }
}

/** Ends a resync; what follows depends on whether the data path held changes back by then. */
function drop(d: Draft, reason: string): void {
  const own = d.state.serving;
  if (!own) return;
  own.sink = "dropping";
  own.deadline = Infinity;
  own.why = reason;
  d.actions.push({ kind: "detach", reason });
  tell(d, "warning", `${d.state.settings.module}: ${d.state.settings.peer} is dropped: ${reason}`);
}

function lose(d: Draft, reason: string, deadline: number): void {
  const { state } = d;
  const own = state.serving;
  if (!own) return;
  own.resumable = own.sink === "synced";
  own.askAt = own.resumable ? d.now + state.settings.heartbeatTimeout / 2 : d.now;
  own.sink = "lost";
  own.deadline = deadline;
  own.why = reason;
  own.progress = undefined;
  tell(d, "warning", `${state.settings.module} lost ${state.settings.peer}: ${reason}`);
}

/** Does not wait any longer for a sink that was lost. */
function giveUp(d: Draft, own: Serving): void {
  if (own.sink === "resuming") {
    d.actions.push({ kind: "detach", reason: "it took too long to go on over a new link" });
    own.sink = "lost";
  }
  if (own.sink === "lost") part(d);
}

/** Goes on alone: the next generation first. */
function part(d: Draft): void {
  const { state } = d;
  const own = state.serving;
  if (own?.sink !== "lost") return;
  own.sink = "parting";
  state.lost = own.session;
  own.revision = store(d, {
    ...nextHistory(state.record, state.record.generation + 1, freshName(d)),
    peerInSync: false,
  });
}

/** The data path goes on alone. */
export function alone(d: Draft): void {
  const { state } = d;
  const own = state.serving;
  if (own?.sink !== "releasing") return;
  own.sink = "none";
  state.lost = "";
  const { module, peer } = state.settings;
  tell(
    d,
    "warning",
    `${module} goes on without ${peer}, generation ${state.record.generation}: ${own.why}`,
  );
}

/** What time, the disk and the peer's view ask of a node that serves. */
export function advanceServing(d: Draft): void {
  const { state } = d;
  const own = state.serving;
  if (!own || state.phase !== "serving") return;
  const { module, peer, heartbeatTimeout } = state.settings;
  const { contact, view } = state.peer;
  const confessed = contact === "alive" && own.session !== "" && view?.outdated === own.session;
  if (superseded(d, own)) return;
  if (own.sink === "joining" && state.stored >= own.revision) attach(d, own);
  if (contact === "silent" || confessed) {
    const reason = confessed ? `${peer} left the mirror` : `${peer} is silent on every network`;
    if (own.sink === "linked") drop(d, reason);
    if (own.sink === "synced") {
      d.actions.push({ kind: "detach", reason });
      lose(d, reason, d.now + heartbeatTimeout);
    }
    giveUp(d, own);
  }
  if (own.sink === "lost" && own.askAt <= d.now) state.lost = own.session;
  if (own.deadline <= d.now) giveUp(d, own);
  if (own.sink === "parting" && state.stored >= own.revision) {
    own.sink = "releasing";
    d.actions.push({ kind: "release" });
  }
  if (own.sink === "admitted" && own.deadline <= d.now) own.sink = "none";
  if (peerServes(state) !== state.split) {
    state.split = !state.split;
    if (state.split) {
      tell(
        d,
        "error",
        `${module}: ${peer} serves too: both nodes were told to hold the good data. ` +
          `\`understudy second ${module}\` on one of them gives its files up`,
      );
    }
  }
}

/**
 * The peer was in sync, did not hear this node and was told to serve. Nothing was acknowledged here
 * since, so this node only has to stop.
 */
function superseded(d: Draft, own: Serving): boolean {
  const { state } = d;
  const held = own.sink === "synced" || own.sink === "resuming" || own.sink === "lost";
  const later = (state.peer.view?.generation ?? 0) > state.record.generation;
  if (!held || !peerServes(state) || !later) return false;
  const { module, peer } = state.settings;
  tell(d, "warning", `${module}: ${peer} was told to serve in the meantime, this node stops to`);
  startYielding(d);
  return true;
}

/** Ends this node's part as the primary. */
export function startYielding(d: Draft): void {
  d.state.phase = "yielding";
  d.state.deadline = d.now + closeLimit;
  d.actions.push({ kind: "yield" });
}

function attach(d: Draft, own: Serving): void {
  own.sink = "linked";
  own.progress = undefined;
  d.actions.push({ kind: "attach", connection: own.connection });
}
