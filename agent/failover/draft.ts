/** What every rule needs: a copy of the state to write to, and the list of actions. */

import { type ModuleRecord } from "../state/record.ts";
import type { Action, Level, ModuleState, Order, State } from "./types.ts";

export interface Draft {
  state: ModuleState;
  actions: Action[];
  /** milliseconds, monotonic */
  now: number;
}

/**
 * Copies what the rules may write to. The record, views and histories are replaced as a whole and
 * never written to, so they are shared.
 */
export function draft(state: ModuleState, now: number): Draft {
  return {
    state: {
      ...state,
      peer: { ...state.peer },
      serving: state.serving && { ...state.serving },
      following: state.following && { ...state.following },
      orders: [...state.orders],
    },
    actions: [],
    now,
  };
}

/** Replaces parts of the record on disk. Returns the revision to wait for. */
export function store(d: Draft, change: Partial<ModuleRecord>): number {
  const revision = d.state.record.revision + 1;
  d.state.record = { ...d.state.record, ...change, revision };
  d.actions.push({ kind: "store", record: d.state.record });
  return revision;
}

/** A name that no other node, agent or moment uses. */
export function freshName(d: Draft): string {
  d.state.counter++;
  return `${d.state.settings.seed}-${d.state.counter}`;
}

/** Adds an event for people. */
export function tell(d: Draft, level: Level, text: string): void {
  d.actions.push({ kind: "event", level, text });
}

/** Answers the orders of these kinds and forgets them. */
export function answer(d: Draft, kinds: Order["kind"][], ok: boolean, reason: string): void {
  const { orders } = d.state;
  for (const order of orders) {
    if (kinds.includes(order.kind)) {
      d.actions.push({ kind: "answer", request: order.request, ok, reason });
    }
  }
  d.state.orders = orders.filter((order) => !kinds.includes(order.kind));
}

/** Orders of this kind are done once this record is on disk: see {@link answerDue}. */
export function due(d: Draft, kind: Order["kind"], revision: number): void {
  d.state.orders = d.state.orders.map((o) => o.kind === kind ? { ...o, revision } : o);
}

/** Answers the orders of this kind that a record on disk completes. */
export function answerDue(d: Draft, kind: Order["kind"], reason: string): void {
  const done = order(d.state, kind)?.revision;
  if (done !== undefined && done <= d.state.stored) answer(d, [kind], true, reason);
}

/** The oldest order of this kind that waits. */
export function order(state: ModuleState, kind: Order["kind"]): Order | undefined {
  return state.orders.find((candidate) => candidate.kind === kind);
}

/** True where a node in this state serves. */
export function serves(state: State): boolean {
  return state === "ALONE" || state === "PRIM";
}

/** True where the peer is heard and serves. */
export function peerServes(state: ModuleState): boolean {
  const { contact, view } = state.peer;
  return contact === "alive" && view !== undefined && serves(view.state);
}
