/**
 * Rules for the sink: it dials the node that serves, and is in sync or outdated; either is on disk
 * before it is said.
 */

import { type Draft, due, peerServes, store, tell } from "./draft.ts";
import { judgeFollow } from "./judge.ts";
import type { Following, ModuleState } from "./types.ts";

const firstPause = 250;
const longestPause = 5000;
/** Pause after a refusal that only an operator, or a change of role, can lift. */
const refusedPause = 1000;
const busyPause = 100;
/** A heartbeat that was under way when its sender died may arrive this much later. */
const heartbeatDelay = 300;
const checkPause = 50;

/** Phase `waiting`: the peer serves, and nothing speaks against following it. */
export function startFollowing(d: Draft): void {
  d.state.phase = "following";
  d.state.following = {
    link: "idle",
    session: "",
    history: { generation: 0, id: "", ancestors: [] },
    revision: 0,
    retryAt: d.now,
    lostAt: undefined,
    checkAt: 0,
    pause: firstPause,
    why: "",
  };
}

/** Phase `following`: dials, carries on after durable marks, leaves when the peer stops to serve. */
export function advanceFollowing(d: Draft): void {
  const { state } = d;
  const own = state.following;
  if (!own) return;
  if (!peerServes(state) || (own.link === "idle" && judgeFollow(state) !== undefined)) {
    if (connected(own)) d.actions.push({ kind: "detach", reason: "the peer does not serve" });
    state.following = undefined;
    state.phase = "waiting";
    return;
  }
  const written = state.stored >= own.revision;
  if (own.link === "marking" && written) {
    own.link = "syncing";
    d.actions.push({ kind: "noted" });
  } else if (own.link === "noting" && written) {
    own.link = "synced";
    own.why = "";
    own.pause = firstPause;
    state.unbroken = true;
    d.actions.push({ kind: "noted" });
    tell(d, "info", `${state.settings.module} is in sync with ${state.settings.peer}`);
  } else if (own.link === "confessing" && written) {
    own.link = "idle";
  }
  checkSource(d, own);
  if (own.link === "idle" && own.retryAt <= d.now) dial(d, own);
}

/**
 * The link broke, and could not be made again for a while. A source that was heard after it broke has
 * not died with it; it may not even know. So the word that it needs is said without being asked for.
 */
function checkSource(d: Draft, own: Following): void {
  if (own.lostAt === undefined || own.checkAt > d.now) return;
  if (d.state.peer.heardAt > own.lostAt + heartbeatDelay) {
    own.lostAt = undefined;
    confess(d, `the link broke and cannot be made again while ${d.state.settings.peer} lives`);
  } else own.checkAt = d.now + checkPause;
}

function dial(d: Draft, own: Following): void {
  const { state } = d;
  const { generation, id, ancestors, copy, replace } = state.record;
  own.link = "dialing";
  d.actions.push({
    kind: "dial",
    hello: {
      generation,
      id,
      ancestors,
      copy,
      replace,
      empty: state.empty === true,
      outdated: said(state),
      session: state.unbroken && copy === "good" ? state.record.session : "",
    },
  });
}

/** The session with respect to which this node's copy is outdated, once that is on disk. */
export function said(state: ModuleState): string {
  const { outdated, stored } = state;
  return outdated && outdated.revision <= stored ? outdated.session : "";
}

/**
 * The source has accepted. Under the session of before the stream goes on where it broke off; under a
 * new one the source acknowledges without this node until a resync is through.
 */
export function linkedAsSink(
  d: Draft,
  connection: number,
  session: string,
  history: Following["history"],
): void {
  const { state } = d;
  const own = state.following;
  if (own?.link !== "dialing") {
    d.actions.push({ kind: "discard", connection });
    return;
  }
  own.session = session;
  own.history = history;
  own.lostAt = undefined;
  d.actions.push({ kind: "attach", connection });
  if (state.record.copy === "good" && state.record.session === session && state.unbroken) {
    own.link = "synced";
    return;
  }
  own.link = "syncing";
  if (state.record.copy === "good") store(d, { copy: "outdated" });
  state.unbroken = false;
}

/** A resync begins: nothing may change here before "partial" is on disk. */
function markPartial(d: Draft, own: Following): void {
  const { state } = d;
  own.link = "marking";
  own.revision = store(d, {
    ...own.history,
    copy: "partial",
    last: "followed",
    peerInSync: false,
    clean: false,
    boot: state.settings.boot,
    session: "",
  });
  state.outdated = undefined;
  state.unbroken = false;
}

/** The source, or the way to it, has refused. */
export function refused(d: Draft, word: string, reason: string): void {
  const { state } = d;
  const own = state.following;
  if (own?.link !== "dialing") return;
  own.link = "idle";
  if (word === "confess") {
    confess(d, reason);
    // Nothing to confess: the words have crossed on the way.
    if (state.following?.link === "idle") own.retryAt = d.now + busyPause;
    return;
  }
  if (word === "busy") {
    own.retryAt = d.now + busyPause;
    return;
  }
  if (own.why !== reason) {
    tell(d, "warning", `${state.settings.module} cannot follow ${state.settings.peer}: ${reason}`);
  }
  own.why = reason;
  if (word !== "") own.retryAt = d.now + refusedPause;
  else pause(d, own);
}

function pause(d: Draft, own: Following): void {
  own.retryAt = d.now + own.pause;
  own.pause = Math.min(longestPause, own.pause * 2);
}

/** The connection broke. Whether the copy is outdated by that is for the source to say. */
export function sinkLost(d: Draft, reason: string): void {
  const { state } = d;
  const own = state.following;
  if (!own || !connected(own)) return;
  tell(d, "warning", `${state.settings.module} lost the link to ${state.settings.peer}: ${reason}`);
  own.why = reason;
  if (own.link === "syncing" || own.link === "marking") pause(d, own);
  else own.retryAt = d.now;
  if (own.link === "synced" || own.link === "noting") {
    own.lostAt = d.now;
    own.checkAt = d.now + Math.max(d.state.settings.heartbeatTimeout / 2, heartbeatDelay);
  }
  own.link = "idle";
}

/**
 * The connection's network has failed. The sink is the one that connects, so it takes another network
 * without waiting for TCP to notice; the source holds its changes meanwhile and goes on with them.
 */
export function networkDown(d: Draft): void {
  const own = d.state.following;
  if (own && connected(own)) d.actions.push({ kind: "detach", reason: "its network has failed" });
}

function connected(own: Following): boolean {
  return own.link === "syncing" || own.link === "marking" || own.link === "noting" ||
    own.link === "synced";
}

/** The source declares this copy in sync. */
export function sinkInSync(d: Draft): void {
  const own = d.state.following;
  if (own?.link !== "syncing") return;
  own.link = "noting";
  own.revision = store(d, {
    ...own.history,
    copy: "good",
    replace: false,
    session: own.session,
  });
}

/**
 * This copy is outdated from now on: writes that down, and says so once it is written. Does nothing
 * where the copy was not in sync.
 */
export function confess(d: Draft, reason: string): void {
  const { state } = d;
  if (state.record.copy !== "good" || state.record.session === "") return;
  const revision = store(d, { copy: "outdated" });
  state.outdated = { session: state.record.session, revision };
  state.unbroken = false;
  tell(d, "warning", `${state.settings.module}: this copy is outdated from now on: ${reason}`);
  const own = state.following;
  if (!own) return;
  if (connected(own)) d.actions.push({ kind: "detach", reason: "this copy is outdated" });
  own.lostAt = undefined;
  own.link = "confessing";
  own.retryAt = d.now;
  own.revision = revision;
  own.why = reason;
}

/**
 * The copy stops being usable as it is. `paused`: a resync begins. Else this node could not apply an
 * operation; it comes back after a pause, since the cause may stay a while.
 */
export function sinkOutdated(d: Draft, reason: string, paused: boolean): void {
  const own = d.state.following;
  if (paused) {
    if (own && connected(own)) markPartial(d, own);
    return;
  }
  confess(d, reason);
  if (own?.link === "confessing") own.retryAt = d.now + longestPause;
}

/** In every phase: what the peer's view asks of a node whose copy was in sync. */
export function advanceCopy(d: Draft): void {
  const { state } = d;
  const { contact, view } = state.peer;
  const { record, settings } = state;
  if (contact !== "alive" || !view) return;
  if (record.copy !== "good") return disown(d, view.lost);
  if (record.last !== "followed") return;
  if (view.lost !== "" && view.lost === record.session) {
    confess(d, `${settings.peer} lost the link, and goes on alone`);
  } else if (peerServes(state) && view.generation > record.generation) {
    confess(d, `${settings.peer} serves generation ${view.generation}`);
  }
}

/** The source asks about a session in which this copy never came to be in sync: that is said as well. */
function disown(d: Draft, session: string): void {
  const { state } = d;
  if (session === "" || state.outdated?.session === session) return;
  const own = state.following;
  if (own && connected(own) && own.session === session) {
    // What the data path still reports of this connection counts no more.
    d.actions.push({ kind: "detach", reason: "the source let go of this link" });
    own.link = "idle";
    own.retryAt = d.now;
  }
  state.outdated = { session, revision: state.record.revision };
}

/** An operator gives this node's files up. */
export function obeySecond(d: Draft): void {
  const { module, peer } = d.state.settings;
  const revision = store(d, { replace: true, last: "followed" });
  tell(d, "info", `${module}: this node's files may be replaced by ${peer}'s`);
  due(d, "second", revision);
}
