/**
 * System calls on byte paths (one character a byte), each returning its result or -errno: what
 * {@link act} and the tests do to directories, plain or mirrored.
 */
import { allocate, type Memory, openLibc } from "../../agent/platform/linux/libc.ts";
import { OpenFlag } from "../lab/files.ts";

export { OpenFlag };

/** Opened once a thread: a library opened within a test counts as a leak of that test. */
export const libc = openLibc();
const { sys } = libc;

const atFdcwd = -100;
const noFollow = 0x100;
const removeDirectory = 0x200;
const symlinkFollow = 0x400;
export const EXCHANGE = 2;
export const NOREPLACE = 1;
/** linux/falloc.h */
export const Falloc = { keep: 1, punch: 3, collapse: 8, zero: 16, insert: 32 } as const;
/** linux/fs.h */
export const InodeFlag = { immutable: 0x10, append: 0x20, nodump: 0x40, noatime: 0x80 } as const;

const one = allocate(8192);
const two = allocate(8192);
const key = allocate(512);
const times = allocate(128);
const small = allocate(128);
export const data = allocate(4 << 20);

function put(memory: Memory, text: string): number {
  if (text.length >= memory.bytes.length) throw new RangeError("Too long");
  for (let i = 0; i < text.length; i++) memory.bytes[i] = text.charCodeAt(i);
  memory.bytes[text.length] = 0;
  return memory.address;
}

const result = (r: number) => r < 0 ? -libc.errno() : r;

export function open(path: string, flags: number, mode = 0o644): number {
  return result(sys.openat(atFdcwd, put(one, path), flags | OpenFlag.closeOnExec, mode));
}
export const close = (fd: number) => result(sys.close(fd));

/** Writes `bytes` at `offset`; may be short. */
export function pwrite(fd: number, bytes: Uint8Array, offset: number): number {
  data.bytes.set(bytes);
  return result(sys.pwrite(fd, data.address, bytes.length, offset));
}

export function pread(fd: number, length: number, offset: number): Uint8Array | number {
  const n = result(sys.pread(fd, data.address, length, offset));
  return n < 0 ? n : data.bytes.slice(0, n);
}

/** Writes `length` bytes from `from` of {@link data}. */
export const pwriteData = (fd: number, from: number, length: number, offset: number) =>
  result(sys.pwrite(fd, data.address + from, length, offset));
export const ftruncate = (fd: number, size: number) => result(sys.ftruncate(fd, size));
export const fallocate = (fd: number, mode: number, offset: number, length: number) =>
  result(sys.fallocate(fd, mode, offset, length));
export const fsync = (fd: number) => result(sys.fsync(fd));
export const fdatasync = (fd: number) => result(sys.fdatasync(fd));
export const mkdir = (path: string, mode = 0o755) =>
  result(sys.mkdirat(atFdcwd, put(one, path), mode));
export const rmdir = (path: string) =>
  result(sys.unlinkat(atFdcwd, put(one, path), removeDirectory));
export const unlink = (path: string) => result(sys.unlinkat(atFdcwd, put(one, path), 0));
export const mknod = (path: string, mode: number, device = 0) =>
  result(sys.mknodat(atFdcwd, put(one, path), mode, device));
export const symlink = (target: string, path: string) =>
  result(sys.symlinkat(put(two, target), atFdcwd, put(one, path)));
export const link = (from: string, to: string) =>
  result(sys.linkat(atFdcwd, put(one, from), atFdcwd, put(two, to), 0));
/** Names an unnamed file (O_TMPFILE). */
export const linkFd = (fd: number, to: string) =>
  result(
    sys.linkat(atFdcwd, put(one, `/proc/self/fd/${fd}`), atFdcwd, put(two, to), symlinkFollow),
  );
export const rename = (from: string, to: string, flags = 0) =>
  result(sys.renameat2(atFdcwd, put(one, from), atFdcwd, put(two, to), flags));
export const chmod = (path: string, mode: number) =>
  result(sys.fchmodat(atFdcwd, put(one, path), mode, 0));
export const chown = (path: string, uid: number, gid: number) =>
  result(sys.fchownat(atFdcwd, put(one, path), uid, gid, noFollow));
export const setxattr = (path: string, name: string, value: Uint8Array) => {
  two.bytes.set(value);
  return result(sys.lsetxattr(put(one, path), put(key, name), two.address, value.length, 0));
};
export const removexattr = (path: string, name: string) =>
  result(sys.lremovexattr(put(one, path), put(key, name)));

/** Sets access and modification time, in nanoseconds since the epoch. */
export function utimes(path: string, atime: bigint, mtime: bigint): number {
  const set = (to: number, t: bigint) => {
    const nanos = ((t % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    times.view.setBigInt64(to, (t - nanos) / 1_000_000_000n, true);
    times.view.setBigInt64(to + 8, nanos, true);
  };
  set(0, atime);
  set(16, mtime);
  return result(sys.utimensat(atFdcwd, put(one, path), times.address, noFollow));
}

/** Adds and takes away inode flags (FS_IOC_GETFLAGS, FS_IOC_SETFLAGS of linux/fs.h). */
export function changeFlags(path: string, add: number, remove: number): number {
  const fd = open(path, OpenFlag.readOnly | OpenFlag.nonBlock | OpenFlag.noFollow);
  if (fd < 0) return fd;
  small.view.setBigUint64(0, 0n, true);
  let r = result(sys.ioctl(fd, 0x80086601n, small.address));
  if (r >= 0) {
    small.view.setUint32(0, (small.view.getUint32(0, true) & ~remove) | add, true);
    r = result(sys.ioctl(fd, 0x40086602n, small.address));
  }
  close(fd);
  return r;
}

export function copyRange(from: number, fromAt: number, to: number, toAt: number, n: number) {
  small.view.setBigInt64(16, BigInt(fromAt), true);
  small.view.setBigInt64(24, BigInt(toAt), true);
  const r = Number(
    sys.copy_file_range(from, small.address + 16, to, small.address + 24, n, 0),
  );
  return result(r);
}

const zero = open("/dev/urandom", OpenFlag.readOnly);

/**
 * Writes random bytes through a shared mapping. The bytes come by read(2), so that a file which another
 * process has cut short gives EFAULT and no signal.
 */
export function scribble(fd: number, offset: number, length: number): number {
  // PROT_READ | PROT_WRITE, MAP_SHARED
  const at = Number(sys.mmap(0, length, 3, 1, fd, offset));
  if (at > Number.MAX_SAFE_INTEGER || at < 0) return -libc.errno();
  const r = result(sys.read(zero, at, length));
  sys.munmap(at, length);
  return r;
}

/** An access or default ACL with one named user (posix_acl_xattr.h: version 2, tag, perm, id). */
export function acl(user: number, permissions: number): Uint8Array {
  const bytes = new Uint8Array(4 + 5 * 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  const entries = [[1, 7, -1], [2, permissions, user], [4, 5, -1], [16, 7, -1], [32, 4, -1]];
  for (const [i, [tag, perm, id]] of entries.entries()) {
    view.setUint16(4 + i * 8, tag, true);
    view.setUint16(6 + i * 8, perm, true);
    view.setInt32(8 + i * 8, id, true);
  }
  return bytes;
}
