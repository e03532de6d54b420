import assert from "node:assert/strict";
import { SystemError } from "./errno.ts";
import { openLibc } from "./libc.ts";
import { type HeldLock, lockFile } from "./locks.ts";

const libc = openLibc();

async function withPath(test: (path: string) => Promise<void> | void) {
  const directory = await Deno.makeTempDir({ prefix: "understudy-locks-" });
  try {
    await test(`${directory}/module.lock`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function take(path: string): HeldLock {
  const lock = lockFile(libc, path);
  assert.ok("release" in lock, "the lock is free");
  return lock;
}

Deno.test("locks: the second one is refused and told by whom, until the first gives it back", () =>
  withPath((path) => {
    const lock = take(path);
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    assert.deepEqual(lockFile(libc, path), { heldBy: Deno.pid });
    lock.release();
    lock.release();
    take(path).release();
  }));

Deno.test("locks: a holder that is killed holds nothing, and its children do not inherit it", () =>
  withPath(async (path) => {
    const program = `
      import { openLibc } from "${import.meta.resolve("./libc.ts")}";
      import { lockFile } from "${import.meta.resolve("./locks.ts")}";
      const lock = lockFile(openLibc(), ${JSON.stringify(path)});
      const child = new Deno.Command("cat", { stdin: "inherit", stdout: "null" }).spawn();
      console.log(child.pid);
      await Deno.stdin.read(new Uint8Array(1));
      lock.release();
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", program],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    const grandchild = Number(new TextDecoder().decode(value));
    assert.ok(grandchild > 0);
    assert.deepEqual(lockFile(libc, path), { heldBy: child.pid });
    Deno.kill(child.pid, "SIGKILL");
    await child.status;
    Deno.statSync(`/proc/${grandchild}`); // is still there
    take(path).release();
    await reader.cancel();
    await child.stdin.close();
  }));

Deno.test("locks: a holder that wrote nothing yet is unknown", () =>
  withPath((path) => {
    const lock = take(path);
    Deno.writeTextFileSync(path, "");
    assert.deepEqual(lockFile(libc, path), { heldBy: undefined });
    Deno.writeTextFileSync(path, "garbage");
    assert.deepEqual(lockFile(libc, path), { heldBy: undefined });
    lock.release();
  }));

Deno.test("locks: a directory that does not exist is an error that names the file", () => {
  assert.throws(
    () => lockFile(libc, "/nonexistent/understudy.lock"),
    (error) =>
      error instanceof SystemError && /\/nonexistent\/understudy\.lock/.test(error.message),
  );
});
