import assert from "node:assert/strict";
import { O } from "./constants.ts";
import { allocate, openLibc } from "./libc.ts";
import {
  childEnvironment,
  notifyServiceManager,
  unixAddress,
  watchdogInterval,
} from "./systemd.ts";

const libc = openLibc();

/** Sends `state` to a socket bound at `path` and returns what arrived. */
function notified(path: string, state: string): string {
  const fd = libc.sys.socket(1, 2 | O.CLOEXEC | O.NONBLOCK, 0);
  const memory = allocate(4096);
  const address = unixAddress(path);
  memory.bytes.set(address);
  assert.equal(libc.sys.bind(fd, memory.address, address.length), 0);
  assert.equal(notifyServiceManager(libc, state, path), undefined);
  const length = libc.sys.recv(fd, memory.address, 4096, 0);
  libc.sys.close(fd);
  return new TextDecoder().decode(memory.bytes.subarray(0, length));
}

Deno.test("systemd: a state reaches the manager's socket, by path and by abstract name", async () => {
  const directory = await Deno.makeTempDir({ prefix: "understudy-notify-" });
  const state = `READY=1\nSTATUS=${"mirrored to beta, ".repeat(20)}`;
  assert.equal(notified(`${directory}/socket`, state), state);
  assert.equal(notified(`@understudy-${Deno.pid}`, "WATCHDOG=1"), "WATCHDOG=1");
  assert.match(notifyServiceManager(libc, "READY=1", `${directory}/none`)!, /ENOENT/);
  assert.match(notifyServiceManager(libc, "READY=1", `${directory}/socket`)!, /ECONNREFUSED/);
  assert.equal(notifyServiceManager(libc, "READY=1", ""), "no service manager");
  assert.match(notifyServiceManager(libc, "READY=1", "vsock:2:1")!, /^Not a socket path/);
  assert.match(notifyServiceManager(libc, "READY=1", "/" + "x".repeat(200))!, /longer than 108/);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("systemd: the watchdog's interval counts only for the process it is meant for", () => {
  assert.equal(watchdogInterval({ WATCHDOG_USEC: "3000000" }, 7), 3000);
  assert.equal(watchdogInterval({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" }, 7), 3000);
  assert.equal(watchdogInterval({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "8" }, 7), undefined);
  for (const wrong of ["", "0", "-1", "soon"]) {
    assert.equal(watchdogInterval({ WATCHDOG_USEC: wrong }, 7), undefined);
  }
  assert.equal(watchdogInterval({}, 7), undefined);
});

Deno.test("systemd: children get the environment without what was meant for the agent", () => {
  const base = { PATH: "/bin", NOTIFY_SOCKET: "/run/n", WATCHDOG_PID: "1", LISTEN_FDS: "1" };
  assert.deepEqual(childEnvironment({ UNDERSTUDY_MODULE: "pg" }, base), {
    PATH: "/bin",
    UNDERSTUDY_MODULE: "pg",
  });
  assert.equal(base.NOTIFY_SOCKET, "/run/n");
  assert.equal(childEnvironment({}, { NOTIFY_SOCKET: "x" }).NOTIFY_SOCKET, undefined);
});
