import assert from "node:assert/strict";
import { waitFor } from "./wait.ts";

Deno.test("waitFor returns the first value that counts, also after errors", async () => {
  let looks = 0;
  const value = await waitFor("the third look", () => {
    looks++;
    if (looks === 1) throw new Error("not there yet");
    return looks === 3 ? 0 : undefined;
  }, { interval: 1 });
  assert.equal(value, 0);
  assert.equal(looks, 3);
});

Deno.test("waitFor fails after its deadline and says what it waited for", async () => {
  await assert.rejects(
    waitFor("rain", () => false, { timeout: 5, interval: 1 }),
    /Waited 5 ms in vain: rain/,
  );
});
