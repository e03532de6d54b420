import assert from "node:assert/strict";
import { createEventLog } from "./events.ts";

const now = () => new Date(0);

Deno.test("Events are kept in order, bounded, and by module", () => {
  const log = createEventLog({ level: "info", format: "text", capacity: 3, write: () => {}, now });
  for (const n of [1, 2, 3, 4]) log.add("info", n % 2 ? "odd" : "", `number ${n}`);
  assert.deepEqual(log.since(0).map((e) => e.id), [2, 3, 4]);
  assert.deepEqual(log.since(3).map((e) => e.text), ["number 4"]);
  assert.deepEqual(log.since(0, "odd").map((e) => e.text), ["number 3"]);
});

Deno.test("The log is text or JSON, one line an event, below the level nothing", () => {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  createEventLog({ level: "warning", format: "text", write, now }).add("info", "m", "unheard");
  createEventLog({ level: "info", format: "text", write, now }).add(
    "info",
    "m",
    "two\nlines\x1b[2J",
  );
  createEventLog({ level: "info", format: "json", write, now }).add("error", "", "bad");
  assert.deepEqual(lines, [
    "1970-01-01T00:00:00.000Z info    [m] two lines [2J\n",
    '{"id":1,"time":"1970-01-01T00:00:00.000Z","level":"error","module":"","text":"bad"}\n',
  ]);
});

Deno.test("A subscriber hears what comes until it leaves", () => {
  const log = createEventLog({ level: "info", format: "text", write: () => {}, now });
  const heard: string[] = [];
  log.add("info", "", "before");
  const leave = log.subscribe((e) => heard.push(e.text));
  log.add("info", "", "during");
  leave();
  log.add("info", "", "after");
  assert.deepEqual(heard, ["during"]);
});

Deno.test("A flood of events that read alike is counted, and others are heard beside it", () => {
  let time = 0;
  const lines: string[] = [];
  const write = (line: string) => lines.push(line.trim().replace(/^\S+ /, ""));
  const log = createEventLog({ level: "info", format: "text", write, now: () => new Date(time) });
  for (let i = 0; i < 1000; i++) log.add("error", "m", `request ${i} failed`);
  log.add("info", "m", "still here");
  assert.equal(lines.length, 21);
  assert.equal(lines[20], "info    [m] still here");
  time = 20_000;
  log.add("info", "", "later");
  assert.deepEqual(lines.slice(21), [
    "error   [m] 980 more like: request # failed",
    "info    later",
  ]);
});
