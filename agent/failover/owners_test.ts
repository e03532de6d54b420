import assert from "node:assert/strict";
import { compareOwners, parseOwners, readOwners, surveyOwners } from "./owners.ts";

const here = { users: { root: 0, postgres: 105, www: 33 }, groups: { root: 0, postgres: 113 } };
const inUse = { users: new Set([0, 105]), groups: new Set([0, 113]) };

Deno.test("Owners with the same numbers, or that own nothing, are not worth a word", () => {
  const there = { users: { root: 0, postgres: 105, www: 80 }, groups: here.groups };
  assert.deepEqual(compareOwners(here, there, "beta", inUse), []);
});

Deno.test("A user whose number differs is named, with who has the number there", () => {
  const there = { users: { root: 0, postgres: 107, redis: 105 }, groups: { root: 0 } };
  assert.deepEqual(compareOwners(here, there, "beta", inUse), [
    "User postgres is number 105 here and is number 107 on beta, where 105 is redis: files keep " +
    "their numbers, so give it the same number on both nodes",
    "Group postgres is number 113 here and does not exist on beta: files keep their numbers, so " +
    "give it the same number on both nodes",
  ]);
});

Deno.test("What a peer says of its owners is taken only where it makes sense", () => {
  assert.equal(parseOwners(undefined), undefined);
  assert.equal(parseOwners({ users: {} }), undefined);
  assert.deepEqual(parseOwners({ users: { a: 1, b: "x" }, groups: {} }), {
    users: { a: 1 },
    groups: {},
  });
});

Deno.test("The survey finds the owners of a tree, and a missing one is no error", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${directory}/a/b`, { recursive: true });
    const found = await surveyOwners([directory, "/does/not/exist"]);
    assert.deepEqual([...found.users], [Deno.uid()]);
    assert.equal((await readOwners()).users.root, 0);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
