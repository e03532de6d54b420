/** The offload over io_uring, by raw system calls on memory shared with the kernel. */

import { Errno, POLLIN } from "./constants.ts";
import { allocate, type Libc } from "./libc.ts";
import type { Offload } from "./offload.ts";

// asm-generic/unistd.h: the same numbers on x86-64 and arm64
const SYS_io_uring_setup = 425;
const SYS_io_uring_enter = 426;
const SYS_io_uring_register = 427;

// linux/io_uring.h
const IORING_OP_FSYNC = 3;
const IORING_OP_READ = 22;
const IORING_OP_WRITE = 23;
const IOSQE_ASYNC = 1 << 4;
const IORING_FSYNC_DATASYNC = 1;
const IORING_OFF_SQ_RING = 0;
const IORING_OFF_SQES = 0x10000000;
const IORING_FEAT_SINGLE_MMAP = 1 << 0;
const IORING_FEAT_NODROP = 1 << 1;
const IORING_FEAT_RW_CUR_POS = 1 << 3;
const IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
const SETUP_CLAMP = 1 << 4;

// sys/mman.h
const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x1 | 0x8000;

/**
 * Kernel threads for file operations, at most. The kernel's own limit (four a processor) would let a
 * few fsyncs on a slow disk hold up every read; threads exist only while they are busy.
 */
const maxFileWorkers = 64;

const sqeSize = 64;
const cqeSize = 16;

/** io_uring, or undefined where the kernel has none, an old one, or does not let us. */
export function openRing(libc: Libc, entries: number): Offload | undefined {
  const { sys } = libc;
  const params = allocate(128); // struct io_uring_params: 120 bytes
  const word = (offset: number) => params.view.getUint32(offset, true);
  params.view.setUint32(8, SETUP_CLAMP, true);
  const fd = Number(sys.syscall(SYS_io_uring_setup, entries, params.address, 0, 0, 0, 0));
  if (fd < 0) return undefined;
  const needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
  if ((word(20) & needed) !== needed) {
    sys.close(fd);
    return undefined;
  }
  const sqEntries = word(0);
  const cqEntries = word(4);
  const cqesOffset = word(80 + 20);
  const ringSize = Math.max(word(40 + 24) + sqEntries * 4, cqesOffset + cqEntries * cqeSize);
  const ringAddress = map(libc, fd, ringSize, IORING_OFF_SQ_RING);
  const sqesAddress = map(libc, fd, sqEntries * sqeSize, IORING_OFF_SQES);
  if (ringAddress === 0 || sqesAddress === 0) {
    if (ringAddress !== 0) sys.munmap(ringAddress, ringSize);
    if (sqesAddress !== 0) sys.munmap(sqesAddress, sqEntries * sqeSize);
    sys.close(fd);
    return undefined;
  }
  const limits = allocate(128);
  limits.view.setUint32(0, Math.min(maxFileWorkers, sqEntries), true);
  sys.syscall(SYS_io_uring_register, fd, IORING_REGISTER_IOWQ_MAX_WORKERS, limits.address, 2, 0, 0);

  // Heads and tails are shared with the kernel: Atomics gives the loads and stores their order.
  const ring = int32View(ringAddress, ringSize);
  const sqes = int32View(sqesAddress, sqEntries * sqeSize);
  const sqHead = word(40) / 4, sqTail = word(40 + 4) / 4;
  const cqHead = word(80) / 4, cqTail = word(80 + 4) / 4, cqes = cqesOffset / 4;
  const sqMask = sqEntries - 1, cqMask = cqEntries - 1;
  const array = word(40 + 24) / 4;
  for (let i = 0; i < sqEntries; i++) ring[array + i] = i;

  let pending = 0;
  let closed = false;

  function submit(
    operation: number,
    tag: number,
    target: number,
    address: number,
    length: number,
    offset: number,
    flags: number,
  ): boolean {
    if (closed || pending >= sqEntries) return false;
    const tail = Atomics.load(ring, sqTail);
    const at = (tail & sqMask) * 16;
    sqes[at] = operation | IOSQE_ASYNC << 8;
    sqes[at + 1] = target;
    sqes[at + 2] = offset < 0 ? -1 : offset % 0x1_0000_0000;
    sqes[at + 3] = offset < 0 ? -1 : Math.floor(offset / 0x1_0000_0000);
    sqes[at + 4] = address % 0x1_0000_0000;
    sqes[at + 5] = Math.floor(address / 0x1_0000_0000);
    sqes[at + 6] = length;
    sqes[at + 7] = flags;
    sqes[at + 8] = tag;
    for (let i = 9; i < 16; i++) sqes[at + i] = 0;
    Atomics.store(ring, sqTail, tail + 1 | 0);
    for (;;) {
      const taken = sys.io_uring_enter(SYS_io_uring_enter, fd, 1, 0, 0, 0, 0);
      // Whatever the call says, an entry that the kernel consumed will complete: its head tells.
      if (Atomics.load(ring, sqHead) === (tail + 1 | 0)) {
        pending++;
        return true;
      }
      if (taken < 0 && libc.errno() === Errno.EINTR) continue;
      Atomics.store(ring, sqTail, tail); // no memory just now: the caller tries again
      return false;
    }
  }

  function reap(done: (tag: number, result: number) => void): number {
    if (closed) return 0;
    let count = 0;
    let head = ring[cqHead]; // only this side writes it
    for (const tail = Atomics.load(ring, cqTail); head !== tail; count++) {
      const at = cqes + (head & cqMask) * 4;
      const tag = ring[at];
      const result = ring[at + 2];
      head = head + 1 | 0;
      Atomics.store(ring, cqHead, head);
      pending--;
      done(tag, result);
    }
    return count;
  }

  return {
    fd,
    kind: "io_uring",
    get pending() {
      return pending;
    },
    fsync: (tag, target, dataOnly) =>
      submit(IORING_OP_FSYNC, tag, target, 0, 0, 0, dataOnly ? IORING_FSYNC_DATASYNC : 0),
    read: (tag, target, address, length, offset) =>
      submit(IORING_OP_READ, tag, target, address, length, offset, 0),
    write: (tag, target, address, length, offset) =>
      submit(IORING_OP_WRITE, tag, target, address, length, offset, 0),
    reap,
    close(timeoutMs = 10_000) {
      if (closed) return true;
      if (!drain(libc, this, timeoutMs)) return false;
      closed = true;
      sys.munmap(sqesAddress, sqEntries * sqeSize);
      sys.munmap(ringAddress, ringSize);
      sys.close(fd);
      return true;
    },
  };
}

/** Takes and drops completions until nothing is in flight; false when the time ran out first. */
export function drain(libc: Libc, offload: Offload, timeoutMs: number): boolean {
  const set = allocate(128); // one struct pollfd
  set.view.setInt32(0, offload.fd, true);
  set.view.setInt16(4, POLLIN, true);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    offload.reap(() => {});
    if (offload.pending === 0) return true;
    const left = deadline - performance.now();
    if (left <= 0) return false;
    libc.sys.poll(set.address, 1, Math.ceil(left));
  }
}

/** Maps a part of the ring; 0 when it cannot. */
function map(libc: Libc, fd: number, size: number, offset: number): number {
  const address = libc.sys.mmap(0, size, PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, offset);
  return BigInt.asIntN(64, address) === -1n ? 0 : Number(address);
}

function int32View(address: number, size: number): Int32Array {
  const pointer = Deno.UnsafePointer.create(BigInt(address));
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, size));
}
