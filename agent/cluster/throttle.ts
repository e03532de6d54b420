/** Says the same thing about the same source once in a while, and how often it happened. */

export interface Throttle {
  /** Reports at once, or counts towards the next report of this source and code. */
  note(source: string, code: string, report: (count: number) => void): void;
  /** Reports what has been counted and is due; called now and then. */
  flush(): void;
}

interface Entry {
  since: number;
  count: number;
  report: (count: number) => void;
}

/** Sources that are told apart; the rest share one report a code. Bounds the memory. */
const maxSources = 256;

/** @param windowMs one report of a source and code in this time */
export function createThrottle(windowMs: number, now: () => number): Throttle {
  const entries = new Map<string, Entry>();
  return {
    note(source, code, report) {
      const own = `${code} ${source}`;
      const key = entries.has(own) || entries.size < maxSources ? own : code;
      const entry = entries.get(key);
      if (entry && now() - entry.since < windowMs) {
        entry.count++;
        entry.report = report;
        return;
      }
      const count = (entry?.count ?? 0) + 1;
      entries.set(key, { since: now(), count: 0, report });
      report(count);
    },
    flush() {
      for (const [key, entry] of entries) {
        if (now() - entry.since < windowMs) continue;
        if (entry.count === 0) {
          entries.delete(key);
          continue;
        }
        const { count, report } = entry;
        entry.since = now();
        entry.count = 0;
        report(count);
      }
    },
  };
}
