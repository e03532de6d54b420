import assert from "node:assert/strict";
import { addHandle, clearHandles, createHandleSet, takeHandle } from "./handle_set.ts";

/** A handle as ext4 makes them: inode number and generation in the second half. */
function handle(number: number, generation = 7): Uint32Array {
  return Uint32Array.of(8, 1, number, generation, 0, 0, 0, 0);
}

Deno.test("Every handle that was added is found once, and no other", () => {
  const set = createHandleSet();
  const count = 50_000;
  for (let i = 0; i < count; i++) addHandle(set, handle(i), 0, i % 3);
  assert.equal(set.size, count);
  addHandle(set, handle(5), 0, 5 % 3);
  assert.equal(set.size, count);
  for (let i = 0; i < count; i++) {
    assert.equal(takeHandle(set, handle(i, 8), 0, i % 3), false);
    assert.equal(takeHandle(set, handle(i), 0, i % 3 + 1), false);
  }
  // Taken in another order than added, so that chains are cut in the middle.
  for (let i = 0; i < count; i += 2) assert.equal(takeHandle(set, handle(i), 0, i % 3), true);
  for (let i = 0; i < count; i++) {
    assert.equal(takeHandle(set, handle(i), 0, i % 3), i % 2 === 1, `handle ${i}`);
  }
  assert.equal(set.size, 0);
});

Deno.test("A cleared set is empty and small", () => {
  const set = createHandleSet();
  for (let i = 0; i < 10_000; i++) addHandle(set, handle(i), 0, 0);
  clearHandles(set);
  assert.equal(takeHandle(set, handle(1), 0, 0), false);
  assert.equal(set.low.length, 256);
});
