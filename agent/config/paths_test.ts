import assert from "node:assert/strict";
import { collision, contains, overlap, reservedPaths, unmirrorable } from "./paths.ts";
import { agentConfig } from "./testing.ts";

Deno.test("a directory contains itself and what is below, not what merely begins alike", () => {
  assert.ok(contains("/a", "/a") && contains("/a", "/a/b") && contains("/", "/a"));
  assert.ok(!contains("/a", "/ab") && !contains("/a/b", "/a"));
  assert.ok(overlap("/a/b", "/a") && !overlap("/a", "/ab"));
});

Deno.test("system directories and pseudo file systems cannot be mirrored", () => {
  for (const path of ["/", "/usr", "/etc", "/var", "/proc", "/sys/fs", "/dev/disk"]) {
    assert.ok(unmirrorable(path), path);
  }
  for (const path of ["/srv", "/var/lib/app", "/usr/local/app", "/dev/shm/app", "/process"]) {
    assert.equal(unmirrorable(path), undefined, path);
  }
});

Deno.test("what the agent needs may not lie in a mirrored directory, nor the other way round", () => {
  const reserved = reservedPaths(agentConfig());
  assert.match(collision("/etc/understudy", reserved)!, /holds modules_dir/);
  assert.match(collision("/var/lib/understudy", reserved)!, /which is state_dir/);
  assert.match(collision("/var/lib/understudy/a", reserved)!, /lies in state_dir/);
  assert.match(collision("/etc/understudy/http.token", reserved)!, /http.token_file/);
  assert.equal(collision("/var/lib/understudy2", reserved), undefined);
  assert.equal(collision("/srv", reserved), undefined);
});
