import assert from "node:assert/strict";
import { createThrottle } from "./throttle.ts";

function setup() {
  const state = { time: 0, said: [] as string[] };
  const throttle = createThrottle(1000, () => state.time);
  const note = (source: string, code = "x") =>
    throttle.note(source, code, (count) => state.said.push(`${source} ${code} ${count}`));
  return { state, throttle, note };
}

Deno.test("the first time is said at once, what follows is counted and said later", () => {
  const { state, throttle, note } = setup();
  for (let i = 0; i < 5; i++) note("a");
  assert.deepEqual(state.said, ["a x 1"]);
  throttle.flush();
  assert.deepEqual(state.said, ["a x 1"]);
  state.time = 1000;
  throttle.flush();
  assert.deepEqual(state.said, ["a x 1", "a x 4"]);
  state.time = 3000;
  throttle.flush();
  throttle.flush();
  assert.equal(state.said.length, 2);
  note("a");
  assert.equal(state.said[2], "a x 1");
});

Deno.test("sources and codes are told apart", () => {
  const { state, note } = setup();
  note("a", "x");
  note("a", "y");
  note("b", "x");
  assert.deepEqual(state.said, ["a x 1", "a y 1", "b x 1"]);
});

Deno.test("a flood of sources neither fills the memory nor the events", () => {
  const { state, throttle, note } = setup();
  for (let i = 0; i < 100_000; i++) note(`10.0.${i >> 8}.${i & 255}`);
  assert.equal(state.said.length, 257);
  state.time = 1000;
  throttle.flush();
  assert.equal(state.said.length, 258);
  assert.match(state.said[257], / 99743$/);
});
