/** What happened on this node: the last events for whoever asks, and the log on standard error. */

export type EventLevel = "debug" | "info" | "warning" | "error";

export interface AgentEvent {
  /** counts from 1 since the agent started */
  id: number;
  /** ISO 8601, UTC */
  time: string;
  level: EventLevel;
  /** "" where it concerns the node, not one module */
  module: string;
  /** one sentence */
  text: string;
}

export interface EventLog {
  add(level: EventLevel, module: string, text: string): void;
  /** the events kept, oldest first, with an id above `after` */
  since(after: number, module?: string): AgentEvent[];
  /** calls back for every event from now on, until the returned function is called */
  subscribe(take: (event: AgentEvent) => void): () => void;
}

export interface EventLogOptions {
  level: EventLevel;
  format: "text" | "json";
  /** events kept; default 1000 */
  capacity?: number;
  /** takes whole lines */
  write(text: string): void;
  now?: () => Date;
}

const rank: Record<EventLevel, number> = { debug: 0, info: 1, warning: 2, error: 3 };

/** An event log. Events below `level` are neither written nor kept. */
export function createEventLog(options: EventLogOptions): EventLog {
  const { level: least, format, capacity = 1000, write, now = () => new Date() } = options;
  const kept: AgentEvent[] = [];
  const subscribers = new Set<(event: AgentEvent) => void>();
  let count = 0;
  return {
    add(level, module, text) {
      if (rank[level] < rank[least]) return;
      const event = { id: ++count, time: now().toISOString(), level, module, text: flat(text) };
      kept.push(event);
      if (kept.length > capacity) kept.shift();
      write(format === "json" ? `${JSON.stringify(event)}\n` : `${formatEvent(event)}\n`);
      for (const take of subscribers) take(event);
    },
    since: (after, module) =>
      kept.filter((e) => e.id > after && (module === undefined || e.module === module)),
    subscribe(take) {
      subscribers.add(take);
      return () => subscribers.delete(take);
    },
  };
}

/** One line: time, level, module, text. */
export function formatEvent(event: AgentEvent): string {
  const module = event.module === "" ? "" : `[${event.module}] `;
  return `${event.time} ${event.level.padEnd(7)} ${module}${event.text}`;
}

/** What others wrote (scripts, peers, file names) must not end a line or reach a terminal as a command. */
function flat(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
}
