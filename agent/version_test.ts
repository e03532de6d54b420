import assert from "node:assert/strict";
import { build, commitOf, version } from "./version.ts";

Deno.test("the version is the one that deno.json declares", () => {
  const project = JSON.parse(Deno.readTextFileSync(new URL("../deno.json", import.meta.url)));
  assert.equal(version, project.version);
  assert.match(version, /^\d+\.\d+\.\d+/);
});

Deno.test("run from source, the commit is that of the checkout", () => {
  const { commit, runtime } = build();
  assert.equal(runtime, "source");
  assert.match(commit, /^([0-9a-f]{12}(\+changes)?|unknown)$/);
});

Deno.test("outside a repository the commit is not known", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assert.equal(commitOf(folder), undefined);
  } finally {
    await Deno.remove(folder);
  }
});
