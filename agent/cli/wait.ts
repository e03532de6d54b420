/** `understudy wait`: until a module is in a state. */

import { nearest } from "../config/nearest.ts";
import type { ModuleStatus } from "../http/facade.ts";
import { NoAgent } from "./client.ts";
import { connect, moduleStatus } from "./connect.ts";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";
import { visible } from "./format.ts";
import { pause } from "./pause.ts";

export const states = ["STOP", "WAIT", "ALONE", "PRIM", "SECOND"] as const;
export type State = typeof states[number];

export interface WaitOptions {
  module: string;
  /** any of them; empty: whichever */
  states: State[];
  /** and not in a transition or a resync */
  ready: boolean;
  /** milliseconds */
  timeout: number;
}

/** Milliseconds between two looks. */
const INTERVAL = 100;

export async function wait(context: Context, options: WaitOptions): Promise<number> {
  const { module: name, ready, timeout } = options;
  const { io } = context;
  using client = connect(context);
  const deadline = performance.now() + timeout;
  let last: ModuleStatus | undefined;
  let absent: NoAgent | undefined;
  while (true) {
    try {
      const module = await moduleStatus(client, name);
      [last, absent] = [module, undefined];
      const there = options.states.length === 0 || options.states.includes(module.state);
      if (there && (!ready || module.ready)) {
        io.out(`${name} is ${describe(module)}\n`);
        return 0;
      }
    } catch (error) {
      if (!(error instanceof NoAgent)) throw error;
      absent = error; // it may be on its way up
    }
    const left = deadline - performance.now();
    if (left <= 0 || io.signal.aborted) break;
    await pause(Math.min(INTERVAL, left), io.signal);
  }
  if (absent !== undefined) throw absent;
  const wanted = options.states.join(" or ") || "in any state";
  throw new Failure(
    `${name} did not become ${wanted}${ready ? ", ready," : ""} within ${timeout / 1000} s: it is ${
      last === undefined ? "unknown" : describe(last)
    }`,
  );
}

function describe({ state, ready, reason }: ModuleStatus): string {
  return `${state}${ready ? "" : ", not ready"}: ${visible(reason)}`;
}

/** `PRIM` or `ALONE,PRIM`, in any case; @throws {Failure} with the nearest known one */
export function parseStates(text: string): State[] {
  return text.split(",").map((word) => {
    const state = states.find((known) => known === word.trim().toUpperCase());
    if (state !== undefined) return state;
    const meant = nearest(word, states);
    throw new Failure(
      `--state: "${visible(word)}" is no state${
        meant === undefined ? "" : `, perhaps ${meant}`
      }; there are ${states.join(", ")}`,
      2,
    );
  });
}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `500ms`, `10s`, `2m`, `1h`, or a bare number of seconds; in milliseconds */
export function parseTimeout(text: string): number {
  const [, number, unit = "s"] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? [];
  if (number === undefined) {
    throw new Failure(
      `--timeout: expected a duration such as 30s or 10m, found "${visible(text)}"`,
      2,
    );
  }
  return Number(number) * units[unit];
}
