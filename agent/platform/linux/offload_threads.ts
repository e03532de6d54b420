/**
 * The offload over threads, for kernels without io_uring and for those that forbid it.
 *
 * Two Workers, one for what waits for the disk to be flushed and one for reads and writes, so that a
 * read never queues behind an fsync. Each reads 64-byte commands from a pipe of its own and writes
 * 16-byte completions to a common one: both far below PIPE_BUF, so they never interleave. Addresses
 * are valid in all threads of the process.
 */

import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";
import type { Offload } from "./offload.ts";
import { drain } from "./offload_ring.ts";

const F_SETFL = 4; // asm-generic/fcntl.h

/** What a command asks for. */
export const operation = { nothing: 0, fsync: 1, fdatasync: 2, syncfs: 3, read: 4, write: 5 };
/** Bytes of a command: i32 operation, i32 tag, i32 fd, u32 length, f64 address, f64 offset, padding. */
export const commandSize = 64;
/** Bytes of a completion: i32 tag, i32 result, padding. */
export const completionSize = 16;

/** A worker needs this long at most before it answers for the first time, in milliseconds. */
const startTimeoutMs = 30_000;

/** @throws {SystemError} when no pipe can be made or the threads do not start. */
export function openThreads(libc: Libc, entries: number): Offload {
  const { sys } = libc;
  const descriptors: number[] = [];
  const pair = allocate(128);
  const pipe = () => {
    if (sys.pipe2(pair.address, O.CLOEXEC) < 0) {
      const cause = libc.errno();
      for (const fd of descriptors) sys.close(fd);
      throw new SystemError("pipe2", cause, "for helper threads", "Raise the limit of open files");
    }
    const [reader, writer] = [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    descriptors.push(reader, writer);
    return { reader, writer };
  };
  const flushes = pipe();
  const transfers = pipe();
  const completions = pipe();
  for (const fd of [flushes.writer, transfers.writer, completions.reader]) {
    sys.fcntl(fd, F_SETFL, O.NONBLOCK);
  }
  const command = allocate(commandSize);
  const results = allocate(completionSize * 64);
  let pending = 0;
  let closed = false;

  for (const reader of [flushes.reader, transfers.reader]) {
    const worker = new Worker(new URL("./offload_worker.ts", import.meta.url), { type: "module" });
    worker.postMessage({ commands: reader, completions: completions.writer });
  }

  function submit(
    queue: number,
    what: number,
    tag: number,
    target: number,
    address: number,
    length: number,
    offset: number,
  ): boolean {
    if (closed || pending >= entries) return false;
    const { view } = command;
    view.setInt32(0, what, true);
    view.setInt32(4, tag, true);
    view.setInt32(8, target, true);
    view.setUint32(12, length, true);
    view.setFloat64(16, address, true);
    view.setFloat64(24, offset, true);
    // The pipe holds 1024 commands, more than may be in flight: it is never full, never cut short.
    while (sys.write(queue, command.address, commandSize) < 0) {
      if (libc.errno() !== Errno.EINTR) return false;
    }
    pending++;
    return true;
  }

  function reap(done: (tag: number, result: number) => void): number {
    if (closed) return 0;
    let count = 0;
    for (;;) {
      const taken = sys.read(completions.reader, results.address, completionSize);
      if (taken < 0 && libc.errno() === Errno.EINTR) continue;
      if (taken !== completionSize) return count;
      pending--;
      count++;
      done(results.view.getInt32(0, true), results.view.getInt32(4, true));
    }
  }

  const offload: Offload = {
    fd: completions.reader,
    kind: "threads",
    get pending() {
      return pending;
    },
    fsync: (tag, target, dataOnly) =>
      submit(
        flushes.writer,
        dataOnly ? operation.fdatasync : operation.fsync,
        tag,
        target,
        0,
        0,
        0,
      ),
    syncfs: (tag, target) => submit(flushes.writer, operation.syncfs, tag, target, 0, 0, 0),
    read: (tag, target, address, length, offset) =>
      submit(transfers.writer, operation.read, tag, target, address, length, offset),
    write: (tag, target, address, length, offset) =>
      submit(transfers.writer, operation.write, tag, target, address, length, offset),
    reap,
    close(timeoutMs = 10_000) {
      if (closed) return true;
      if (!drain(libc, offload, timeoutMs)) return false;
      closed = true;
      // A thread whose commands end closes its side of them and ends.
      sys.close(flushes.writer);
      sys.close(transfers.writer);
      sys.close(completions.reader);
      sys.close(completions.writer);
      return true;
    },
  };
  // Threads that do not start would swallow every fsync: each must answer before it is relied on.
  submit(flushes.writer, operation.nothing, 0, 0, 0, 0, 0);
  submit(transfers.writer, operation.nothing, 0, 0, 0, 0, 0);
  if (!drain(libc, offload, startTimeoutMs)) {
    throw new SystemError(
      "start",
      Errno.ETIMEDOUT,
      "helper threads",
      "Allow io_uring (sysctl kernel.io_uring_disabled=0), or check that the binary is complete",
    );
  }
  return offload;
}
