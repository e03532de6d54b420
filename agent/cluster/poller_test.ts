import assert from "node:assert/strict";
import { POLLIN, POLLOUT } from "../platform/linux/constants.ts";
import { allocate, openLibc } from "../platform/linux/libc.ts";
import { createPoller, type Poller } from "./poller.ts";
import { descriptors, until } from "./testing.ts";

const libc = openLibc();
const memory = allocate(256);
const never = new AbortController().signal;

function pipe(): [number, number] {
  assert.equal(libc.sys.pipe2(memory.address, 0o2004000), 0);
  return [memory.view.getInt32(0, true), memory.view.getInt32(4, true)];
}

async function withPoller(run: (poller: Poller) => Promise<void>): Promise<void> {
  const before = descriptors();
  const poller = createPoller(libc);
  try {
    await run(poller);
  } finally {
    await poller.close();
  }
  assert.equal(descriptors(), before);
}

function close(...fds: number[]): void {
  for (const fd of fds) libc.sys.close(fd);
}

Deno.test("a wait ends when its event is there, and not before", () =>
  withPoller(async (poller) => {
    const [reader, writer] = pipe();
    let ready = false;
    const waiting = poller.wait(reader, POLLIN, never).then(() => ready = true);
    await poller.wait(writer, POLLOUT, never);
    assert(!ready);
    libc.sys.write(writer, memory.address, 1);
    await waiting;
    assert.equal(poller.size(), 0);
    close(reader, writer);
  }));

Deno.test("a wait ends when the other end is closed", () =>
  withPoller(async (poller) => {
    const [reader, writer] = pipe();
    const waiting = poller.wait(reader, POLLIN, never);
    close(writer);
    assert.notEqual(await waiting, 0);
    close(reader);
  }));

Deno.test("a wait can be given up, before and while it waits, with the reason", () =>
  withPoller(async (poller) => {
    const [reader, writer] = pipe();
    const controller = new AbortController();
    const waiting = poller.wait(reader, POLLIN, controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(poller.wait(reader, POLLIN, controller.signal), /enough/);
    assert.equal(poller.size(), 0);
    close(reader, writer);
  }));

Deno.test("a watch is called again as long as the event is there, and follows its changes", () =>
  withPoller(async (poller) => {
    const [reader, writer] = pipe();
    let calls = 0;
    const watch = poller.watch(reader, POLLIN, () => calls++);
    libc.sys.write(writer, memory.address, 1);
    await until(() => calls >= 3, "repeated calls");
    watch.change(0);
    await poller.wait(writer, POLLOUT, never);
    const after = calls;
    await poller.wait(writer, POLLOUT, never);
    assert.equal(calls, after);
    watch.change(POLLIN);
    await until(() => calls > after, "calls after the change");
    watch.remove();
    watch.remove();
    close(reader, writer);
  }));

Deno.test("whoever is removed by another's callback is not called for a closed descriptor", () =>
  withPoller(async (poller) => {
    const pipes = Array.from({ length: 20 }, pipe);
    const called: number[] = [];
    const watches = pipes.map(([reader], i) =>
      poller.watch(reader, POLLIN, () => {
        called.push(i);
        watches.forEach((watch) => watch.remove());
        for (const [each] of pipes) libc.sys.close(each);
      })
    );
    for (const [, writer] of pipes) libc.sys.write(writer, memory.address, 1);
    await until(() => called.length > 0, "one call");
    await poller.wait(pipes[0][1], POLLOUT, never);
    assert.equal(called.length, 1);
    for (const [, writer] of pipes) close(writer);
  }));

Deno.test("a callback that throws is reported, and the others are called all the same", () =>
  withPoller(async (poller) => {
    const errors: string[] = [];
    const onError = (event: ErrorEvent) => {
      event.preventDefault();
      errors.push(event.message);
    };
    globalThis.addEventListener("error", onError);
    const pipes = [pipe(), pipe()];
    let calls = 0;
    const watches = [
      poller.watch(pipes[0][0], POLLIN, () => {
        watches[0].remove();
        throw new Error("a mistake");
      }),
      poller.watch(pipes[1][0], POLLIN, () => {
        watches[1].remove();
        calls++;
      }),
    ];
    for (const [, writer] of pipes) libc.sys.write(writer, memory.address, 1);
    await until(() => calls === 1 && errors.length === 1, "both callbacks");
    assert.match(errors[0], /a mistake/);
    globalThis.removeEventListener("error", onError);
    for (const ends of pipes) close(...ends);
  }));

Deno.test("hundreds of descriptors are waited for at once", () =>
  withPoller(async (poller) => {
    const pipes = Array.from({ length: 400 }, pipe);
    const done = new Set<number>();
    const waits = pipes.map(([reader], i) =>
      poller.wait(reader, POLLIN, never).then(() => done.add(i))
    );
    for (const i of [399, 0, 200]) libc.sys.write(pipes[i][1], memory.address, 1);
    await until(() => done.size === 3, "three of them");
    for (const [, writer] of pipes) libc.sys.write(writer, memory.address, 1);
    await Promise.all(waits);
    for (const ends of pipes) close(...ends);
  }));

Deno.test("closing ends what waits, and what comes later", async () => {
  const poller = createPoller(libc);
  const [reader, writer] = pipe();
  const waiting = assert.rejects(poller.wait(reader, POLLIN, never), /was closed/);
  await poller.close();
  await poller.close();
  await waiting;
  await assert.rejects(poller.wait(reader, POLLIN, never), /closed/);
  assert.throws(() => poller.watch(reader, POLLIN, () => {}), /closed/);
  close(reader, writer);
});
