/** The agent as its HTTP interface sees it. */

import type { Control } from "./cluster/control.ts";
import type { EventLog } from "./events.ts";
import type { EventEntry, Facade } from "./http/facade.ts";
import type { AgentEvent } from "./events.ts";
import type { Registry } from "./registry.ts";
import { version } from "./version.ts";

export interface FacadeOptions {
  node: string;
  registry: Registry;
  events: EventLog;
  control(): Control | undefined;
}

/** Puts the agent's parts behind one interface. */
export function createFacade({ node, registry, events }: FacadeOptions): Facade {
  return {
    node,
    version,
    status: () => ({
      node,
      version,
      modules: registry.list().map((module) => module.status()),
    }),
    async order(name, verb, { force }) {
      const module = registry.find(name);
      if (!module) {
        const problem = registry.problems().find(({ file }) => file.includes(`/${name}.`));
        const why = problem ? `: ${problem.file}: ${problem.message}` : "";
        return { ok: false, error: "unknown", reason: `there is no module "${name}" here${why}` };
      }
      events.add("info", name, `an operator asks for ${verb}${force ? " --force" : ""}`);
      const answer = await module.order(verb, force);
      if (answer.ok) return { ok: true, text: answer.reason };
      events.add("info", name, `${verb} was refused: ${answer.reason}`);
      return { ok: false, error: "refused", reason: answer.reason };
    },
    events: (after, module) => events.since(after, module).flatMap(entryOf),
    subscribe: (listener) =>
      events.subscribe((event) => {
        for (const entry of entryOf(event)) listener(entry);
      }),
  };
}

function entryOf({ id, time, level, module, text }: AgentEvent): EventEntry[] {
  // What is logged for debugging is no event.
  if (level === "debug") return [];
  return [{ id, time, level, module: module === "" ? undefined : module, text }];
}
