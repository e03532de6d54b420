/**
 * Reading file trees exactly as they are: any byte in a name, times to the nanosecond, holes, flags.
 *
 * Paths and names are strings with one character per byte (latin1), so that names which are not
 * UTF-8 survive. Everything is synchronous FFI.
 */

import { allocate, type Libc, type Memory, openLibc } from "../../agent/platform/linux/libc.ts";

/** open(2) flags, from the kernel's asm-generic/fcntl.h; `directory` and `noFollow` differ on arm64. */
const arm = Deno.build.arch === "aarch64";
export const OpenFlag = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  truncate: 0o1000,
  append: 0o2000,
  nonBlock: 0o4000,
  direct: arm ? 0o200000 : 0o40000,
  directory: arm ? 0o40000 : 0o200000,
  noFollow: arm ? 0o100000 : 0o400000,
  closeOnExec: 0o2000000,
  temporary: 0o20000000 | (arm ? 0o40000 : 0o200000),
} as const;

/** getdents64 in asm/unistd.h */
const getdents64 = arm ? 61 : 217;
const seekData = 3;
const seekHole = 4;
const enoent = 2;
const enxio = 6;
const enotty = 25;
const enodata = 61;
const eopnotsupp = 95;
/** AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME: linux/fcntl.h, linux/stat.h */
const noFollowAt = 0x100;
const emptyPathAt = 0x1000;
const statxMask = 0xfff;
/** FS_IOC_GETFLAGS in linux/fs.h: _IOR('f', 1, long) */
const getFlags = 0x80086601n;

export type FileType = "file" | "directory" | "symlink" | "fifo" | "socket" | "block" | "character";

export interface FileStatus {
  type: FileType;
  /** permission and set-id bits, 0o7777 */
  mode: number;
  uid: number;
  gid: number;
  links: number;
  /** device and inode as text: a key for hard links */
  inode: string;
  size: number;
  /** bytes allocated */
  allocated: number;
  /** nanoseconds since the epoch */
  mtime: bigint;
  ctime: bigint;
  /** "major:minor" of a device node */
  device: string;
}

/** A call of the file system failed. `code` is errno. */
export class FileError extends Error {
  constructor(readonly call: string, readonly path: string, readonly code: number) {
    super(`${call} of ${printable(path)} failed: errno ${code}`);
    this.name = "FileError";
  }
}

/** Shows a byte string: printable ASCII as it is, the rest as \xNN. */
export function printable(bytes: string): string {
  // deno-lint-ignore no-control-regex
  return bytes.replace(/[\x00-\x1f\x7f-\xff]/g, (c) => {
    return `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** The byte string of an ordinary JavaScript path. */
export function bytePath(path: string): string {
  return latin1(new TextEncoder().encode(path));
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return text;
}

/** File calls over byte paths; one per thread. */
export interface Files {
  readonly libc: Libc;
  /** Opens, optionally relative to a directory descriptor; close-on-exec is added. Throws FileError. */
  open(path: string, flags: number, mode?: number, at?: number): number;
  close(fd: number): void;
  /** Names in a directory, without "." and "..", sorted by bytes. */
  list(fd: number): string[];
  /** Status without following a symlink; an empty name means the descriptor itself. */
  status(at: number, name: string): FileStatus;
  /** Like `status`, undefined where the name does not exist. */
  statusIfThere(at: number, name: string): FileStatus | undefined;
  readLink(at: number, name: string): string;
  /** Extended attributes, ACLs among them, without following a symlink. */
  attributes(at: number, name: string): Map<string, string>;
  /** Data extents as [start, end, start, end ...]; the rest is holes. */
  extents(fd: number, size: number): number[];
  /** Inode flags as lsattr shows them; 0 where the file system has none. */
  flags(fd: number): number;
  /** Reads up to `length` bytes into `memory`; returns the count, less only at the end of the file. */
  read(fd: number, memory: Memory, length: number, offset: number): number;
  /** True where both start with the same `length` bytes. */
  equal(a: Memory, b: Memory, length: number): boolean;
}

export const currentDirectory = -100;

/** Opens the calls for the calling thread. */
export function openFiles(): Files {
  const libc = openLibc();
  const { sys } = libc;
  const { memcmp } = Deno.dlopen("libc.so.6", {
    memcmp: { parameters: ["usize", "usize", "usize"], result: "i32" },
  }).symbols;
  const path = allocate(8192);
  const name = allocate(512);
  const buffer = allocate(256 * 1024);

  const put = (memory: Memory, text: string): number => {
    if (text.length >= memory.bytes.length) throw new RangeError(`Too long: ${printable(text)}`);
    for (let i = 0; i < text.length; i++) memory.bytes[i] = text.charCodeAt(i);
    memory.bytes[text.length] = 0;
    return memory.address;
  };
  const fail = (call: string, what: string): never => {
    throw new FileError(call, what, libc.errno());
  };
  const time = (offset: number): bigint =>
    buffer.view.getBigInt64(offset, true) * 1_000_000_000n +
    BigInt(buffer.view.getUint32(offset + 8, true));

  const statusIfThere = (at: number, file: string): FileStatus | undefined => {
    const flags = noFollowAt | (file === "" ? emptyPathAt : 0);
    if (sys.statx(at, put(path, file), flags, statxMask, buffer.address) !== 0) {
      if (libc.errno() === enoent) return undefined;
      fail("statx", file);
    }
    const { view } = buffer;
    const mode = view.getUint16(28, true);
    return {
      type: typeOf(mode),
      mode: mode & 0o7777,
      uid: view.getUint32(20, true),
      gid: view.getUint32(24, true),
      links: view.getUint32(16, true),
      inode: `${view.getUint32(136, true)}:${view.getUint32(140, true)}:${
        view.getBigUint64(32, true)
      }`,
      size: Number(view.getBigUint64(40, true)),
      allocated: Number(view.getBigUint64(48, true)) * 512,
      mtime: time(112),
      ctime: time(96),
      device: `${view.getUint32(128, true)}:${view.getUint32(132, true)}`,
    };
  };

  return {
    libc,
    open(file, flags, mode = 0, at = currentDirectory) {
      const fd = sys.openat(at, put(path, file), flags | OpenFlag.closeOnExec, mode);
      return fd >= 0 ? fd : fail("open", file);
    },
    close: (fd) => void sys.close(fd),
    list(fd) {
      const names: string[] = [];
      while (true) {
        const count = Number(
          sys.syscall(getdents64, fd, buffer.address, buffer.bytes.length, 0, 0, 0),
        );
        if (count < 0) fail("getdents64", `descriptor ${fd}`);
        if (count === 0) break;
        for (let at = 0; at < count; at += buffer.view.getUint16(at + 16, true)) {
          const start = at + 19;
          const entry = latin1(buffer.bytes.subarray(start, buffer.bytes.indexOf(0, start)));
          if (entry !== "." && entry !== "..") names.push(entry);
        }
      }
      return names.sort();
    },
    status: (at, file) => statusIfThere(at, file) ?? fail("statx", file),
    statusIfThere,
    readLink(at, file) {
      const count = sys.readlinkat(at, put(path, file), buffer.address, buffer.bytes.length);
      if (count < 0) fail("readlinkat", file);
      return latin1(buffer.bytes.subarray(0, count));
    },
    attributes(at, file) {
      const attributes = new Map<string, string>();
      const target = put(
        path,
        file === "" ? `/proc/self/fd/${at}/.` : `/proc/self/fd/${at}/${file}`,
      );
      const count = sys.llistxattr(target, buffer.address, buffer.bytes.length);
      if (count < 0) {
        if (libc.errno() === eopnotsupp) return attributes;
        fail("llistxattr", file);
      }
      const names = latin1(buffer.bytes.subarray(0, count)).split("\0").slice(0, -1);
      for (const attribute of names) {
        const length = sys.lgetxattr(
          target,
          put(name, attribute),
          buffer.address,
          buffer.bytes.length,
        );
        if (length < 0) {
          if (libc.errno() === enodata) continue;
          fail(`lgetxattr ${attribute}`, file);
        }
        attributes.set(attribute, latin1(buffer.bytes.subarray(0, length)));
      }
      return attributes;
    },
    extents(fd, size) {
      const extents: number[] = [];
      for (let position = 0; position < size;) {
        const start = Number(sys.lseek(fd, BigInt(position), seekData));
        if (start < 0) {
          if (libc.errno() === enxio) break;
          fail("lseek", `descriptor ${fd}`);
        }
        const end = Number(sys.lseek(fd, BigInt(start), seekHole));
        if (end < 0) fail("lseek", `descriptor ${fd}`);
        extents.push(start, Math.min(end, size));
        position = end;
      }
      return extents;
    },
    flags(fd) {
      buffer.view.setBigUint64(0, 0n, true);
      if (sys.ioctl(fd, getFlags, buffer.address) !== 0) {
        if (libc.errno() === enotty || libc.errno() === eopnotsupp) return 0;
        fail("ioctl FS_IOC_GETFLAGS", `descriptor ${fd}`);
      }
      return buffer.view.getUint32(0, true);
    },
    read(fd, memory, length, offset) {
      let done = 0;
      while (done < length) {
        const count = sys.pread(fd, memory.address + done, length - done, BigInt(offset + done));
        if (count < 0) fail("pread", `descriptor ${fd}`);
        if (count === 0) break;
        done += count;
      }
      return done;
    },
    equal: (a, b, length) => {
      return memcmp(BigInt(a.address), BigInt(b.address), BigInt(length)) === 0;
    },
  };
}

function typeOf(mode: number): FileType {
  switch (mode & 0o170000) {
    case 0o040000:
      return "directory";
    case 0o120000:
      return "symlink";
    case 0o010000:
      return "fifo";
    case 0o140000:
      return "socket";
    case 0o060000:
      return "block";
    case 0o020000:
      return "character";
    default:
      return "file";
  }
}
