/**
 * The decisions about one module on one node: a pure function of what is known, what happens and
 * what time it is. It does nothing itself; whoever calls it carries the actions out in their order.
 *
 * After each event every rule is asked again until none has anything to add, so that a rule may rely
 * on the facts alone and not on which event brought them.
 */

import { type ModuleRecord } from "../state/record.ts";
import { answer, type Draft, draft, order, store, tell } from "./draft.ts";
import { describe, differs, viewOf } from "./describe.ts";
import * as following from "./following.ts";
import * as lifecycle from "./lifecycle.ts";
import * as serving from "./serving.ts";
import * as waiting from "./waiting.ts";
import type { Action, Event, ModuleState, Settings } from "./types.ts";

export interface Decision {
  state: ModuleState;
  actions: Action[];
}

const storePause = 1000;

/** What is known of a module when the agent starts. */
export function initialState(settings: Settings, record: ModuleRecord): ModuleState {
  // A node that was in sync in an earlier run says so only when the source asks for it: see
  // `advanceCopy`. One that wrote down that it is outdated goes on saying so.
  const outdated = record.copy === "outdated" && record.session !== ""
    ? { session: record.session, revision: record.revision }
    : undefined;
  return {
    settings,
    record,
    stored: record.revision,
    storing: undefined,
    phase: "stopped",
    peer: { contact: "unknown", heardAt: 0, view: undefined },
    serving: undefined,
    following: undefined,
    claim: undefined,
    granted: undefined,
    unbroken: false,
    outdated,
    lost: "",
    empty: undefined,
    orders: [],
    trouble: "",
    retryAt: undefined,
    deadline: undefined,
    leaving: false,
    split: false,
    counter: 0,
    wakeAt: undefined,
  };
}

/** Decides. `now` is monotonic, in milliseconds. */
export function decide(state: ModuleState, event: Event, now: number): Decision {
  const d = draft(state, now);
  const before = viewOf(state);
  take(d, event);
  for (let turn = 0; turn < 16; turn++) {
    const mark = fingerprint(d);
    advance(d);
    if (fingerprint(d) === mark) break;
  }
  d.state.wakeAt = nextDeadline(d.state);
  if (differs(before, viewOf(d.state))) d.actions.push({ kind: "announce" });
  return { state: d.state, actions: d.actions };
}

function take(d: Draft, event: Event): void {
  const { state } = d;
  switch (event.kind) {
    case "load":
      return;
    case "tick":
      if (event.heardAt !== undefined) {
        state.peer.heardAt = Math.max(state.peer.heardAt, event.heardAt);
      }
      return;
    case "retry":
      if (state.phase === "stopped") state.retryAt = undefined;
      return;
    case "leave":
      state.leaving = true;
      return lifecycle.shut(d);
    case "order":
      return takeOrder(d, event);
    case "peer":
      state.peer.heardAt = d.now;
      state.peer.contact = "alive";
      state.peer.view = event.view;
      return;
    case "peer-silent":
      state.peer.contact = "silent";
      return;
    case "stored":
      state.stored = Math.max(state.stored, event.revision);
      if (state.stored >= state.record.revision) state.storing = undefined;
      return;
    case "store-failed":
      if (state.storing?.reason !== event.reason) {
        tell(d, "error", `${state.settings.module}: the record cannot be written: ${event.reason}`);
      }
      state.storing = { retryAt: d.now + storePause, reason: event.reason };
      return;
    case "inspected":
      if (state.empty === undefined) state.empty = event.empty;
      return;
    case "hello":
      return serving.hello(d, event.request, event.digest, event.hello);
    case "link":
      return event.role === "source"
        ? serving.linkedAsSource(d, event.connection, event.session)
        : following.linkedAsSink(d, event.connection, event.session, event.history);
    case "refused":
      return following.refused(d, event.code, event.reason);
    case "opened":
      return lifecycle.opened(d);
    case "served":
      return waiting.served(d);
    case "alone":
      return serving.alone(d);
    case "follows":
      return lifecycle.follows(d);
    case "closed":
      return lifecycle.closed(d);
    case "failed":
      return lifecycle.failed(d, event.reason);
    case "link-lost":
      return event.role === "source"
        ? serving.sourceLost(d, event.reason, event.lagging)
        : following.sinkLost(d, event.reason);
    case "network-down":
      return following.networkDown(d);
    case "ack-stalled":
      return serving.stalled(d, event.owed);
    case "in-sync":
      return serving.inSync(d);
    case "resumed":
      return serving.resumed(d);
    case "sink-in-sync":
      return following.sinkInSync(d);
    case "sink-outdated":
      return following.sinkOutdated(d, event.reason, event.paused);
    case "progress":
      return serving.progress(d, event.progress);
  }
}

function takeOrder(d: Draft, event: Extract<Event, { kind: "order" }>): void {
  const { state } = d;
  const { module } = state.settings;
  const { phase } = state;
  const reply = (ok: boolean, reason: string) =>
    d.actions.push({ kind: "answer", request: event.request, ok, reason });
  const queue = () =>
    state.orders.push({
      kind: event.order,
      request: event.request,
      force: event.force,
      since: d.now,
      revision: undefined,
    });
  if (state.leaving) return void reply(false, "the agent ends");
  switch (event.order) {
    case "start":
      answer(d, ["stop"], false, `${module} was told to start`);
      if (state.record.stopped) store(d, { stopped: false });
      if (phase === "stopped") {
        state.retryAt = undefined;
        state.trouble = "";
      }
      if (phase === "stopped" || phase === "opening" || phase === "closing") queue();
      else reply(true, `${module} runs already`);
      return;
    case "restart":
      if (state.record.stopped) {
        if (phase !== "stopped") return void reply(false, `${module} is being stopped`);
        store(d, { stopped: false });
      }
      answer(d, ["start", "prim", "second"], false, `${module} was told to restart`);
      if (phase === "stopped") state.retryAt = undefined;
      queue();
      return lifecycle.shut(d);
    case "stop":
      answer(d, ["start", "restart", "prim", "second"], false, `${module} was told to stop`);
      if (!state.record.stopped) store(d, { stopped: true });
      queue();
      return lifecycle.shut(d);
    case "prim":
      if (phase === "serving") {
        reply(true, `${module} serves here already, ${describe(state).reason}`);
      } else if (phase === "stopped" || phase === "closing" || phase === "yielding") {
        reply(false, notNow(state));
      } else queue();
      return;
    case "second":
      if (phase === "serving") {
        // Of two nodes that serve, this one gives its files up; else it only changes its part.
        if (state.split) store(d, { replace: true });
        queue();
        serving.startYielding(d);
      } else if (phase === "opening" || phase === "waiting" || phase === "following") {
        queue();
        following.obeySecond(d);
      } else reply(false, notNow(state));
      return;
  }
}

function notNow(state: ModuleState): string {
  const { module } = state.settings;
  if (state.phase !== "stopped") return `${module} ${describe(state).reason}: try again`;
  if (!state.record.stopped) return `${module} ${describe(state).reason}`;
  return `${module} is stopped: \`understudy start ${module}\` first`;
}

function advance(d: Draft): void {
  const { state } = d;
  if (state.storing && state.storing.retryAt <= d.now) {
    state.storing = { ...state.storing, retryAt: Infinity };
    d.actions.push({ kind: "store", record: state.record });
  }
  following.advanceCopy(d);
  waiting.advanceGrant(d);
  lifecycle.advanceLifecycle(d);
  switch (state.phase) {
    case "waiting":
      return waiting.advanceWaiting(d);
    case "following":
      waiting.obeyPrim(d);
      return following.advanceFollowing(d);
    case "claiming":
      return waiting.advanceClaiming(d);
    case "raising":
      return waiting.advanceRaising(d);
    case "serving":
      return serving.advanceServing(d);
  }
}

/** Changes whenever a rule has changed something that another rule may look at. */
function fingerprint(d: Draft): string {
  const { phase, serving, following, record, granted, claim, orders } = d.state;
  return [
    d.actions.length,
    phase,
    serving?.sink,
    following?.link,
    record.revision,
    granted?.id,
    claim?.id,
    orders.length,
  ].join();
}

/** When to be asked again at the latest; undefined where only an event can change anything. */
function nextDeadline(state: ModuleState): number | undefined {
  const following = state.phase === "following" ? state.following : undefined;
  const times: (number | undefined)[] = [
    state.storing?.retryAt,
    state.phase === "stopped" ? state.retryAt : undefined,
    state.deadline,
    state.phase === "claiming" ? state.claim?.deadline : undefined,
    following && following.link === "idle" ? following.retryAt : undefined,
    following?.lostAt === undefined ? undefined : following.checkAt,
  ];
  const prim = order(state, "prim");
  const judged = state.phase === "waiting" || state.phase === "following";
  if (prim && judged && state.peer.contact !== "unknown") {
    times.push(prim.since + waiting.patience(state));
  }
  const sink = state.phase === "serving" ? state.serving?.sink : undefined;
  if (sink === "lost" || sink === "admitted" || sink === "resuming") {
    times.push(state.serving?.deadline);
  }
  if (sink === "lost" && state.lost === "") times.push(state.serving?.askAt);
  const finite = times.filter((t): t is number => t !== undefined && Number.isFinite(t));
  return finite.length === 0 ? undefined : Math.min(...finite);
}
