/** `understudy events`: what happened on this node. */

import type { EventEntry } from "../http/facade.ts";
import { NoAgent, problem } from "./client.ts";
import { connect } from "./connect.ts";
import type { Context } from "./context.ts";
import { type Colors, createColors, visible } from "./format.ts";
import { pause } from "./pause.ts";

export interface EventsOptions {
  module?: string;
  follow: boolean;
  json: boolean;
  /** only the last so many of those kept; undefined: all */
  last?: number;
}

/** Milliseconds until an agent that went away is asked again. */
const RETRY = 1_000;

export async function events(context: Context, options: EventsOptions): Promise<number> {
  const { io } = context;
  const { module, follow, json, last } = options;
  using client = connect(context);
  const c = createColors(io.color.out);
  const filter = module === undefined ? "" : `&module=${encodeURIComponent(module)}`;
  const answer = await client.get(`/events?after=0${filter}`);
  if (answer.status !== 200) throw problem(answer);
  const kept = answer.body as EventEntry[];
  const wanted = last === undefined ? kept : last === 0 ? [] : kept.slice(-last);
  const show = (entry: EventEntry) =>
    io.out(json ? `${JSON.stringify(entry)}\n` : `${formatEntry(entry, c)}\n`);
  if (!follow) {
    if (json) io.out(`${JSON.stringify(wanted, null, 2)}\n`);
    else wanted.forEach(show);
    return 0;
  }
  wanted.forEach(show);
  let after = kept.at(-1)?.id ?? 0;
  let gone = false;
  // an agent that is restarted counts from 1 again; it then sends all of its own
  while (!io.signal.aborted) {
    try {
      await client.follow(`/events?follow=1&after=${after}${filter}`, (entry) => {
        after = entry.id;
        gone = false;
        show(entry);
      }, io.signal);
    } catch (error) {
      if (!(error instanceof NoAgent)) throw error;
      if (io.signal.aborted) break;
      if (!gone) io.err(`understudy: ${error.message}\n`);
      gone = true;
    }
    await pause(RETRY, io.signal);
  }
  return 0;
}

/** One line: time, level, module, text. */
export function formatEntry({ time, level, module, text }: EventEntry, c: Colors): string {
  const paint = level === "error" ? c.red : level === "warning" ? c.yellow : String;
  const name = module == null ? "" : `${c.bold(`[${visible(module)}]`)} `;
  return `${c.dim(visible(time))} ${paint(visible(level).padEnd(7))} ${name}${visible(text)}`;
}
