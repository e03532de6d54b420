/**
 * The libc calls Understudy makes, as one FFI table.
 *
 * Pointers travel as plain numbers (`usize`): a user-space address fits into 47 bits, and a number
 * costs no allocation. The numbers come from {@link addressOf}. Every call is
 * synchronous; whoever may block calls it from a thread that may block.
 *
 * `errno` belongs to the calling thread: {@link openLibc} binds it to the thread it is called on, so
 * every Worker opens its own table, and `errno()` is read straight after the failed call.
 */

import { takeNumbers } from "./numbers.ts";

const symbols = {
  open: { parameters: ["usize", "i32", "u32"], result: "i32" },
  openat: { parameters: ["i32", "usize", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "usize", "usize"], result: "i32" },
  write: { parameters: ["i32", "usize", "usize"], result: "i32" },
  readv: { parameters: ["i32", "usize", "i32"], result: "i32" },
  getdents64: { parameters: ["i32", "usize", "usize"], result: "i32" },
  writev: { parameters: ["i32", "usize", "i32"], result: "i32" },
  pread: { parameters: ["i32", "usize", "usize", "i64"], result: "i32" },
  pwrite: { parameters: ["i32", "usize", "usize", "i64"], result: "i32" },
  preadv2: { parameters: ["i32", "usize", "i32", "i64", "i32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  fsync: { parameters: ["i32"], result: "i32" },
  fdatasync: { parameters: ["i32"], result: "i32" },
  syncfs: { parameters: ["i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  copy_file_range: {
    parameters: ["i32", "usize", "i32", "usize", "usize", "u32"],
    result: "isize",
  },
  statx: { parameters: ["i32", "usize", "i32", "u32", "usize"], result: "i32" },
  statfs: { parameters: ["usize", "usize"], result: "i32" },
  fstatfs: { parameters: ["i32", "usize"], result: "i32" },
  mkdirat: { parameters: ["i32", "usize", "u32"], result: "i32" },
  mknodat: { parameters: ["i32", "usize", "u32", "u64"], result: "i32" },
  symlinkat: { parameters: ["usize", "i32", "usize"], result: "i32" },
  readlinkat: { parameters: ["i32", "usize", "usize", "usize"], result: "i32" },
  linkat: { parameters: ["i32", "usize", "i32", "usize", "i32"], result: "i32" },
  unlinkat: { parameters: ["i32", "usize", "i32"], result: "i32" },
  renameat2: { parameters: ["i32", "usize", "i32", "usize", "u32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fchmodat: { parameters: ["i32", "usize", "u32", "i32"], result: "i32" },
  fchownat: { parameters: ["i32", "usize", "u32", "u32", "i32"], result: "i32" },
  utimensat: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  futimens: { parameters: ["i32", "usize"], result: "i32" },
  setxattr: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  getxattr: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" },
  listxattr: { parameters: ["usize", "usize", "usize"], result: "i32" },
  removexattr: { parameters: ["usize", "usize"], result: "i32" },
  lsetxattr: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "i32" },
  lgetxattr: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" },
  llistxattr: { parameters: ["usize", "usize", "usize"], result: "i32" },
  lremovexattr: { parameters: ["usize", "usize"], result: "i32" },
  fsetxattr: { parameters: ["i32", "usize", "usize", "usize", "i32"], result: "i32" },
  fgetxattr: { parameters: ["i32", "usize", "usize", "usize"], result: "i32" },
  flistxattr: { parameters: ["i32", "usize", "usize"], result: "i32" },
  fremovexattr: { parameters: ["i32", "usize"], result: "i32" },
  name_to_handle_at: { parameters: ["i32", "usize", "usize", "usize", "i32"], result: "i32" },
  open_by_handle_at: { parameters: ["i32", "usize", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "usize"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  poll: { parameters: ["usize", "u64", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  pipe2: { parameters: ["usize", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "usize"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "usize", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  connect: { parameters: ["i32", "usize", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "usize", "usize"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "usize", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "usize", "usize"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  send: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  recv: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "usize", "usize", "i32", "usize", "u32"], result: "i32" },
  recvfrom: { parameters: ["i32", "usize", "usize", "i32", "usize", "usize"], result: "i32" },
  mount: { parameters: ["usize", "usize", "usize", "u64", "usize"], result: "i32" },
  umount2: { parameters: ["usize", "i32"], result: "i32" },
  unshare: { parameters: ["i32"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  setfsuid: { parameters: ["u32"], result: "i32" },
  setfsgid: { parameters: ["u32"], result: "i32" },
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
  gettid: { parameters: [], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  sched_setscheduler: { parameters: ["i32", "i32", "usize"], result: "i32" },
  clock_gettime: { parameters: ["i32", "usize"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "usize" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  syscall: {
    parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"],
    result: "i64",
  },
  /** `syscall` for io_uring_enter: its result fits 32 bits, which spares a BigInt per call. */
  io_uring_enter: {
    name: "syscall",
    parameters: ["i64", "i32", "u32", "u32", "u32", "usize", "usize"],
    result: "i32",
  },
  setns: { parameters: ["i32", "i32"], result: "i32" },
  sched_getscheduler: { parameters: ["i32"], result: "i32" },
  getrlimit: { parameters: ["i32", "usize"], result: "i32" },
  if_nametoindex: { parameters: ["usize"], result: "u32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Widened<P extends unknown[]> = {
  [K in keyof P]: P[K] extends bigint ? number | bigint : P[K];
};

/**
 * The table's functions as they are called here: a plain number is as good as a BigInt wherever 64 bits
 * travel (see `numbers.ts`).
 */
export type Calls = {
  readonly [K in keyof Deno.DynamicLibrary<typeof symbols>["symbols"]]:
    Deno.DynamicLibrary<typeof symbols>["symbols"][K] extends (...args: infer P) => infer R
      ? (...args: Widened<P>) => R
      : never;
};

/** The call table of one thread. */
export interface Libc {
  readonly sys: Calls;
  /** errno of the last failed call on this thread; read it before anything else is called. */
  errno(): number;
}

/** Opens libc for the calling thread. glibc first, then musl's and the generic name. */
export function openLibc(): Libc {
  const { symbols: raw } = Deno.dlopen("libc.so.6", symbols);
  const sys = takeNumbers(raw, symbols) as Calls;
  const location = sys.__errno_location();
  if (location === null) throw new Error("libc has no errno: this C library is not supported");
  const cell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
  return { sys, errno: () => cell[0] };
}

/**
 * The address of an off-heap buffer, as a number. The buffer must stay referenced for as long as the
 * address is used, and must be larger than V8's on-heap limit (64 bytes): smaller arrays move.
 */
export function addressOf(buffer: ArrayBuffer | Uint8Array): number {
  const view = buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : buffer;
  if (view.buffer.byteLength < 128) {
    throw new RangeError(`Buffer of ${view.buffer.byteLength} bytes may move: use at least 128`);
  }
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view as Uint8Array<ArrayBuffer>)));
}

/** Memory with a fixed address, with the views that the callers need. */
export interface Memory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** address of `bytes[0]` */
  readonly address: number;
}

/** Allocates zeroed memory whose address never changes. */
export function allocate(size: number): Memory {
  const buffer = new ArrayBuffer(Math.max(size, 128));
  const bytes = new Uint8Array(buffer);
  return { bytes, view: new DataView(buffer), address: addressOf(buffer) };
}

/** Copies a string to memory as a NUL-terminated C string and returns its address. */
export function cstring(memory: Memory, text: string, offset = 0): number {
  const { written } = new TextEncoder().encodeInto(text, memory.bytes.subarray(offset));
  if (offset + written >= memory.bytes.length) throw new RangeError(`String too long: ${text}`);
  memory.bytes[offset + written] = 0;
  return memory.address + offset;
}

/**
 * Runs one call with the addresses of NUL-terminated copies of `texts`, which are valid until it
 * returns. For the calls that are rare: it allocates.
 */
export function withStrings<T>(texts: string[], call: (addresses: number[]) => T): T {
  const sizes = texts.map((text) => 3 * text.length + 1); // UTF-8 at its longest, and NUL
  const memory = allocate(sizes.reduce((sum, size) => sum + size, 1));
  let offset = 0;
  const addresses = texts.map((text, i) => {
    if (text.includes("\0")) throw new RangeError(`A NUL cannot be passed on: ${text}`);
    const address = cstring(memory, text, offset);
    offset += sizes[i];
    return address;
  });
  const result = call(addresses);
  memory.bytes[0] = 0; // used once more, so that it outlives the call
  return result;
}
