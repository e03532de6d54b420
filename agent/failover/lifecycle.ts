/** Rules for starting and ending the data path: phases `stopped`, `opening`, `yielding`, `closing`. */

import { answer, answerDue, type Draft, due, store, tell } from "./draft.ts";
import { confess } from "./following.ts";
import { closeLimit } from "./serving.ts";

/** Pause before a module that could not start is tried again. */
export const retryPause = 5000;

/** Starts the data path. */
export function open(d: Draft): void {
  d.state.phase = "opening";
  d.state.retryAt = undefined;
  d.state.empty = undefined;
  d.actions.push({ kind: "open" });
}

/** The directories are mounted. */
export function opened(d: Draft): void {
  if (d.state.phase !== "opening") return;
  d.state.phase = "waiting";
  d.state.trouble = "";
  d.actions.push({ kind: "inspect" });
  answer(d, ["start", "restart"], true, "started");
}

/** Ends the data path, in whatever phase it is. */
export function shut(d: Draft): void {
  const { state } = d;
  state.retryAt = undefined;
  if (state.phase === "stopped" || state.phase === "closing") return;
  if (state.phase === "following") confess(d, "this node stops to follow");
  // A generation that was never served in is taken back.
  if (state.phase === "raising" && state.claim?.before) {
    store(d, { ...state.claim.before, stopped: state.record.stopped });
  }
  state.claim = undefined;
  state.phase = "closing";
  state.deadline = d.now + closeLimit;
  d.actions.push({ kind: "close" });
}

/** The data path has changed from serving to read-only. */
export function follows(d: Draft): void {
  const { state } = d;
  if (state.phase !== "yielding") return;
  leaveRole(d);
  state.phase = "waiting";
  state.deadline = undefined;
  const revision = store(d, { last: "followed", clean: true });
  tell(d, "info", `${state.settings.module} no longer serves here`);
  due(d, "second", revision);
}

/** The data path has ended in an orderly way; the directories are plain. */
export function closed(d: Draft): void {
  const { state } = d;
  if (state.phase === "stopped") return;
  const orderly = state.phase === "closing";
  leaveRole(d);
  state.phase = "stopped";
  state.deadline = undefined;
  state.trouble = "";
  if (!orderly) state.retryAt = d.now + retryPause;
  else if (state.record.last === "served" && !state.record.clean) store(d, { clean: true });
  tell(d, "info", `${state.settings.module} is stopped`);
  answer(d, ["prim", "second"], false, `${state.settings.module} was stopped`);
}

/** The data path has ended because it could not go on; its mounts are gone. */
export function failed(d: Draft, reason: string): void {
  const { state } = d;
  if (state.phase === "stopped") return;
  const { module } = state.settings;
  const wanted = state.phase !== "closing";
  const starting = state.phase === "opening";
  // Said once, not at every attempt to start.
  if (!starting || state.trouble !== reason) {
    const what = starting ? "cannot start" : wanted ? "failed" : "was ended by force";
    tell(d, "error", `${module} ${what}: ${reason}`);
  }
  leaveRole(d);
  // The source will go on without this copy.
  if (state.record.last === "followed") state.unbroken = false;
  state.phase = "stopped";
  state.deadline = undefined;
  state.trouble = reason;
  if (wanted) state.retryAt = d.now + retryPause;
  answer(d, ["start", "restart", "prim", "second"], false, reason);
}

function leaveRole(d: Draft): void {
  const { state } = d;
  state.claim = undefined;
  state.serving = undefined;
  state.following = undefined;
  state.lost = "";
  state.split = false;
}

/** What time and orders ask of these phases. */
export function advanceLifecycle(d: Draft): void {
  const { state } = d;
  if (state.phase === "stopped") {
    const wanted = !state.record.stopped && !state.leaving;
    if (wanted && (state.retryAt === undefined || state.retryAt <= d.now)) open(d);
    // A stop is done once it would also survive a loss of power.
    else if (!wanted && state.stored >= state.record.revision) {
      answer(d, ["stop"], true, `${state.settings.module} is stopped`);
    }
  }
  if (state.phase === "waiting" || state.phase === "following") {
    answerDue(d, "second", `this node follows ${state.settings.peer} as soon as it serves`);
  }
  const ending = state.phase === "closing" || state.phase === "yielding";
  if (ending && state.deadline !== undefined && state.deadline <= d.now) {
    state.deadline = undefined;
    d.actions.push({
      kind: "abort",
      reason: `its data path did not end within ${closeLimit / 1000} s`,
    });
  }
}
