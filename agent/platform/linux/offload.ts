/**
 * Slow calls (fsync, cold reads, large writes) carried out off the caller's thread, with their
 * completions announced by a descriptor that stands in the caller's poll set. No promises, no event
 * loop and no allocation per operation: the caller hands over an address and a number and gets the
 * number back with the result.
 *
 * io_uring where the kernel has it and lets us; else threads (Deno Workers) behind two pipes.
 */

import { openRing } from "./offload_ring.ts";
import { openThreads } from "./offload_threads.ts";
import type { Libc } from "./libc.ts";

export interface Offload {
  /** readable (poll) while completions wait; close-on-exec */
  readonly fd: number;
  readonly kind: "io_uring" | "threads";
  /** operations whose completion has not been taken by {@link Offload.reap} */
  readonly pending: number;
  /**
   * Each of these queues one operation and returns at once; false when the queue is full: the caller
   * runs its loop (and `reap`) and tries again. Operations run in any order and at the same time.
   * Memory and descriptors must stay valid until the completion was taken. `tag` is a non-negative
   * integer below 2^31 and comes back with the result.
   *
   * fsync(2), or fdatasync(2) with `dataOnly`.
   */
  fsync(tag: number, fd: number, dataOnly: boolean): boolean;
  /** pread(2); with offset -1 read(2). May be short, as those are. */
  read(tag: number, fd: number, address: number, length: number, offset: number): boolean;
  /** pwrite(2); with offset -1 write(2), for streams such as /dev/fuse. May be short. */
  write(tag: number, fd: number, address: number, length: number, offset: number): boolean;
  /** syncfs(2). Only `kind: "threads"` has it: io_uring knows no such operation. */
  syncfs?(tag: number, fd: number): boolean;
  /**
   * Takes the completions that wait, calls `done` with each tag and its result (>= 0, or -errno),
   * and returns how many there were. `done` may queue new operations.
   */
  reap(done: (tag: number, result: number) => void): number;
  /**
   * Waits for what is in flight (results are dropped) and gives everything back. Returns false when
   * that took longer than `timeoutMs` (default 10,000): a disk hangs, the kernel still owns the
   * operations' memory and the resources stay open.
   */
  close(timeoutMs?: number): boolean;
}

export interface OffloadOptions {
  /** operations in flight at most; default 256 (for io_uring rounded up to a power of two) */
  entries?: number;
  /** true: no io_uring, whatever the kernel offers */
  forceThreads?: boolean;
}

/**
 * Opens the best offload this machine has. It belongs to the calling thread.
 *
 * @throws {SystemError} when neither io_uring nor pipes and threads can be had.
 */
export function openOffload(libc: Libc, options: OffloadOptions = {}): Offload {
  const entries = options.entries ?? 256;
  if (!Number.isInteger(entries) || entries < 1 || entries > 1024) {
    throw new RangeError(`Offload entries must lie between 1 and 1024: ${entries}`);
  }
  if (!options.forceThreads) {
    const ring = openRing(libc, entries);
    if (ring !== undefined) return ring;
  }
  return openThreads(libc, entries);
}
