import assert from "node:assert/strict";
import { Errno, O, POLLIN } from "./constants.ts";
import { allocate, cstring, type Libc, openLibc } from "./libc.ts";
import { type Offload, openOffload } from "./offload.ts";
import { openRing } from "./offload_ring.ts";

const F_GETFD = 1, FD_CLOEXEC = 1;

/** Opened once: the test runner takes a library that stays loaded for a leak. */
const libc = openLibc();

function hasRing(): boolean {
  return openRing(libc, 8)?.close() ?? false;
}

/** Waits until `count` completions were taken; fails after ten seconds. */
function collect(libc: Libc, offload: Offload, count: number): Map<number, number> {
  const set = allocate(128);
  set.view.setInt32(0, offload.fd, true);
  set.view.setInt16(4, POLLIN, true);
  const results = new Map<number, number>();
  let taken = 0;
  const deadline = performance.now() + 10_000;
  while (taken < count) {
    assert.ok(performance.now() < deadline, `only ${taken} of ${count} completed`);
    libc.sys.poll(set.address, 1, 100);
    taken += offload.reap((tag, result) => results.set(tag, result));
  }
  return results;
}

interface Bench {
  libc: Libc;
  offload: Offload;
  fd: number;
  path: string;
}

/** The suite that every kind of offload has to pass. */
function suite(kind: "io_uring" | "threads", ignore: boolean) {
  const test = (name: string, run: (bench: Bench) => void) =>
    Deno.test({
      name: `offload over ${kind}: ${name}`,
      ignore,
      async fn() {
        const path = await Deno.makeTempFile({ prefix: "understudy-offload-" });
        const offload = openOffload(libc, { entries: 64, forceThreads: kind === "threads" });
        const name = allocate(256);
        const fd = libc.sys.open(cstring(name, path), O.RDWR | O.CLOEXEC, 0);
        try {
          assert.equal(offload.kind, kind);
          run({ libc, offload, fd, path });
        } finally {
          libc.sys.close(fd);
          assert.equal(offload.close(), true);
          await Deno.remove(path);
        }
      },
      // The threads say goodbye to an event loop that the suite does not run.
      sanitizeOps: kind === "io_uring",
      sanitizeResources: kind === "io_uring",
    });

  test("what was written is read back, at an offset beyond 4 GiB too", ({ libc, offload, fd }) => {
    const memory = allocate(8192);
    const back = allocate(8192);
    for (let i = 0; i < 8192; i++) memory.bytes[i] = i * 7;
    for (const [tag, offset] of [[0, 0], [0x7fffffff, 2 ** 33 + 4096]]) {
      assert.ok(offload.write(tag, fd, memory.address, 8192, offset));
      assert.deepEqual([...collect(libc, offload, 1)], [[tag, 8192]]);
      back.bytes.fill(0);
      assert.ok(offload.read(tag, fd, back.address, 8192, offset));
      assert.deepEqual([...collect(libc, offload, 1)], [[tag, 8192]]);
      assert.deepEqual(back.bytes, memory.bytes);
    }
  });

  test("reading at the end gives 0, and across it what is there", ({ libc, offload, fd }) => {
    const memory = allocate(4096);
    libc.sys.pwrite(fd, memory.address, 100, 0);
    offload.read(1, fd, memory.address, 4096, 0);
    offload.read(2, fd, memory.address, 4096, 100);
    const results = collect(libc, offload, 2);
    assert.deepEqual([results.get(1), results.get(2)], [100, 0]);
  });

  test("fsync and fdatasync complete with 0", ({ libc, offload, fd }) => {
    offload.fsync(3, fd, false);
    offload.fsync(4, fd, true);
    const results = collect(libc, offload, 2);
    assert.deepEqual([results.get(3), results.get(4)], [0, 0]);
  });

  test("a failure comes back as the negative errno of its own operation", (bench) => {
    const { libc, offload, fd } = bench;
    const memory = allocate(128);
    offload.fsync(5, 1_000_000, false);
    offload.read(6, fd, 0x1000, 16, 0); // nothing is mapped there, and the file is empty
    offload.write(7, fd, 0x1000, 16, 0);
    offload.write(8, fd, memory.address, 16, 0);
    const results = collect(libc, offload, 4);
    assert.deepEqual(
      [results.get(5), results.get(6), results.get(7), results.get(8)],
      [-Errno.EBADF, 0, -Errno.EFAULT, 16],
    );
  });

  test("offset -1 writes to a stream", ({ libc, offload }) => {
    const pair = allocate(128);
    assert.equal(libc.sys.pipe2(pair.address, O.CLOEXEC), 0);
    const [reader, writer] = [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    const memory = allocate(128);
    memory.bytes.fill(42, 0, 5);
    offload.write(1, writer, memory.address, 5, -1);
    assert.equal(collect(libc, offload, 1).get(1), 5);
    memory.bytes.fill(0);
    offload.read(2, reader, memory.address, 100, -1);
    assert.equal(collect(libc, offload, 1).get(2), 5);
    assert.equal(memory.bytes[4], 42);
    libc.sys.close(reader);
    libc.sys.close(writer);
  });

  test("an operation that blocks holds up neither the caller nor an fsync", (bench) => {
    const { libc, offload, fd } = bench;
    const pair = allocate(128);
    libc.sys.pipe2(pair.address, O.CLOEXEC);
    const [reader, writer] = [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    const memory = allocate(128);
    assert.ok(offload.read(1, reader, memory.address, 10, -1)); // nothing to read yet
    assert.ok(offload.fsync(2, fd, false));
    assert.deepEqual([...collect(libc, offload, 1)], [[2, 0]]);
    assert.equal(offload.pending, 1);
    assert.equal(offload.close(20), false, "memory is still the kernel's: it must not close");
    libc.sys.write(writer, memory.address, 3);
    assert.deepEqual([...collect(libc, offload, 1)], [[1, 3]]);
    libc.sys.close(reader);
    libc.sys.close(writer);
  });

  test("a full queue refuses, and takes again after a reap", ({ libc, offload, fd }) => {
    const memory = allocate(128);
    let accepted = 0;
    while (offload.write(accepted, fd, memory.address, 1, accepted)) accepted++;
    assert.ok(accepted >= 64, `${accepted} accepted`);
    assert.equal(offload.pending, accepted);
    assert.equal(collect(libc, offload, accepted).size, accepted);
    assert.equal(offload.pending, 0);
    assert.ok(offload.fsync(1, fd, false));
    collect(libc, offload, 1);
  });

  test("thousands of operations each complete once, also when queued from within reap", (bench) => {
    const { libc, offload, fd } = bench;
    const memory = allocate(64 * 512);
    const total = 20_000;
    const seen = new Uint8Array(total);
    const set = allocate(128);
    set.view.setInt32(0, offload.fd, true);
    set.view.setInt16(4, POLLIN, true);
    let next = 0;
    let completed = 0;
    const queue = () => {
      while (next < total) {
        const slot = next % 64;
        if (!offload.write(next, fd, memory.address + slot * 512, 512, slot * 512)) return;
        next++;
      }
    };
    queue();
    const deadline = performance.now() + 30_000;
    while (completed < total) {
      assert.ok(performance.now() < deadline, `${completed} of ${total}`);
      libc.sys.poll(set.address, 1, 1000);
      offload.reap((tag, result) => {
        assert.equal(result, 512);
        seen[tag]++;
        completed++;
        queue();
      });
    }
    assert.ok(seen.every((times) => times === 1));
  });

  test("its descriptor is quiet when nothing waits, and close-on-exec", ({ libc, offload, fd }) => {
    const set = allocate(128);
    set.view.setInt32(0, offload.fd, true);
    set.view.setInt16(4, POLLIN, true);
    assert.equal(libc.sys.poll(set.address, 1, 0), 0);
    assert.equal(libc.sys.fcntl(offload.fd, F_GETFD, 0), FD_CLOEXEC);
    offload.fsync(9, fd, false);
    assert.equal(libc.sys.poll(set.address, 1, 5000), 1);
    collect(libc, offload, 1);
    assert.equal(libc.sys.poll(set.address, 1, 0), 0);
  });

  test("after close everything is refused and closing again is harmless", ({ offload, fd }) => {
    assert.equal(offload.close(), true);
    assert.equal(offload.fsync(1, fd, false), false);
    assert.equal(offload.reap(() => assert.fail("nothing can complete")), 0);
    assert.equal(offload.close(), true);
  });
}

suite("io_uring", !hasRing());
suite("threads", false);

Deno.test("offload over threads: syncfs completes with 0", () => {
  const offload = openOffload(libc, { forceThreads: true });
  const name = allocate(128);
  const fd = libc.sys.open(cstring(name, "/tmp"), O.CLOEXEC, 0);
  assert.ok(offload.syncfs?.(11, fd));
  assert.equal(collect(libc, offload, 1).get(11), 0);
  libc.sys.close(fd);
  offload.close();
});

Deno.test({
  name: "offload leaves no pipe and no ring behind when it closes",
  async fn() {
    const held = () =>
      [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
        try {
          return /^pipe:|io_uring/.test(Deno.readLinkSync(`/proc/self/fd/${name}`));
        } catch {
          return false; // the descriptor that listed the directory
        }
      }).length;
    const before = held();
    for (let i = 0; i < 3; i++) {
      openOffload(libc).close();
      openOffload(libc, { forceThreads: true }).close();
    }
    const deadline = performance.now() + 10_000;
    while (held() > before) {
      assert.ok(performance.now() < deadline, `${held()} descriptors, ${before} before`);
      await new Promise((next) => setTimeout(next, 10));
    }
  },
  sanitizeOps: false,
  sanitizeResources: false,
});
