/** The one binary by itself: without Deno, without an environment, without a network. */
import assert from "node:assert/strict";
import { binary } from "./lib/paths.ts";
import { testWith } from "./lib/requires.ts";
import { version } from "../agent/version.ts";

/** Runs the binary with an empty environment, in namespaces of its own where `isolated`. */
async function run(args: string[], isolated: boolean) {
  const command = isolated
    ? ["unshare", "--net", "--", "env", "-i", binary, ...args]
    : ["env", "-i", binary, ...args];
  const result = await new Deno.Command(command[0], {
    args: command.slice(1),
    cwd: "/",
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: result.code,
    stdout: decoder.decode(result.stdout),
    stderr: decoder.decode(result.stderr),
  };
}

testWith(["binary"], "the binary tells its version with an empty environment", async () => {
  const { code, stdout, stderr } = await run(["version"], false);
  assert.equal(code, 0, stderr);
  assert.ok(stdout.includes(version), stdout);
});

testWith(
  ["binary", "root", "namespaces"],
  "the binary runs where there is no network at all",
  async () => {
    const { code, stdout, stderr } = await run(["version"], true);
    assert.equal(code, 0, stderr);
    assert.ok(stdout.includes(version), stdout);
  },
);
