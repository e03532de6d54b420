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

/** Events that read alike are kept this often within {@link alikeWindow}; the rest are counted. */
const maxAlike = 20;
/** milliseconds */
const alikeWindow = 10_000;

const rank: Record<EventLevel, number> = { debug: 0, info: 1, warning: 2, error: 3 };

/** An event log. Events below `level` are neither written nor kept. */
export function createEventLog(options: EventLogOptions): EventLog {
  const { level: least, format, capacity = 1000, write, now = () => new Date() } = options;
  const kept: AgentEvent[] = [];
  const subscribers = new Set<(event: AgentEvent) => void>();
  let count = 0;
  let alike = new Map<string, number>();
  let windowEnds = 0;

  function put(level: EventLevel, module: string, text: string): void {
    const event = { id: ++count, time: now().toISOString(), level, module, text: flat(text) };
    kept.push(event);
    if (kept.length > capacity) kept.shift();
    write(format === "json" ? `${JSON.stringify(event)}\n` : `${formatEvent(event)}\n`);
    for (const take of subscribers) take(event);
  }

  /** A failure that repeats a thousand times a second must neither fill the disk nor hide the rest. */
  function isFlood(level: EventLevel, module: string, text: string): boolean {
    const time = now().getTime();
    if (time >= windowEnds || time < windowEnds - alikeWindow) {
      const before = alike;
      alike = new Map();
      windowEnds = time + alikeWindow;
      for (const [key, seen] of before) {
        if (seen <= maxAlike) continue;
        const [alikeLevel, alikeModule] = key.split(" ", 2);
        const what = key.slice(alikeLevel.length + alikeModule.length + 2, 120);
        put(alikeLevel as EventLevel, alikeModule, `${seen - maxAlike} more like: ${what}`);
      }
    }
    const key = `${level} ${module} ${text.slice(0, 200).replace(/\d+/g, "#")}`;
    const seen = (alike.get(key) ?? 0) + 1;
    if (alike.size < 1000 || alike.has(key)) alike.set(key, seen);
    return seen > maxAlike;
  }

  return {
    add(level, module, text) {
      if (rank[level] < rank[least] || isFlood(level, module, text)) return;
      put(level, module, text);
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
