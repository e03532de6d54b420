/** Events as they happen, as server-sent events (HTML Living Standard, section 9.2). */

import type { EventEntry, Facade } from "./facade.ts";
import { stringify } from "./json.ts";

/** A comment is sent this often, in milliseconds, so that proxies keep a silent stream open. */
const KEEP_ALIVE = 15_000;

/** Events that wait for a reader before it is given up: it can come back and say where it was. */
const MAX_WAITING = 2_000;

/** One event on the wire. JSON holds no line break, so one `data` line is enough. */
export function formatServerSent(entry: EventEntry): string {
  return `id: ${entry.id}\ndata: ${stringify(entry)}\n\n`;
}

/**
 * Events above `after`. An id that this run of the agent has not reached yet comes from an earlier
 * run, whose reader has seen nothing of this one: it gets everything.
 */
export function eventsAfter(facade: Facade, after: number, module?: string): EventEntry[] {
  const reached = after === 0 || facade.events(after - 1).length > 0;
  return facade.events(reached ? after : 0, module);
}

/** The events kept that `after` and `module` select, then each new one, until the reader leaves. */
export function eventStream(
  facade: Facade,
  after: number,
  module?: string,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let end = () => {};
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => {
        if ((controller.desiredSize ?? 0) <= -MAX_WAITING) {
          end();
          controller.close();
        } else controller.enqueue(encoder.encode(text));
      };
      const timer = setInterval(() => send(": still here\n\n"), KEEP_ALIVE);
      const unsubscribe = facade.subscribe((entry) => {
        if (module === undefined || entry.module === module) send(formatServerSent(entry));
      });
      end = () => {
        clearInterval(timer);
        unsubscribe();
      };
      // no event comes between these and the subscription: nothing else runs meanwhile
      const kept = eventsAfter(facade, after, module).map(formatServerSent);
      controller.enqueue(encoder.encode(`retry: 1000\n\n${kept.join("")}`));
    },
    cancel: () => end(),
  });
}
