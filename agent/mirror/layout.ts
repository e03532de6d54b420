/**
 * Space that is reserved for a file and holds no data (fallocate(2)): to readers it is a hole, so zones know
 * nothing of it, yet a copy without it may run out of space where the original does not.
 */
import { allocate } from "../platform/linux/libc.ts";
import { Errno, FALLOC, SEEK } from "../platform/linux/constants.ts";
import { statFd, statSize } from "./backing.ts";
import type { Volume } from "./volume.ts";

/** FS_IOC_FIEMAP and its structures: linux/fiemap.h. */
const FS_IOC_FIEMAP = 0xc020660b;
const mapHeader = 32;
const extentSize = 56;
const extentsAtOnce = 512;
const EXTENT_LAST = 1;
const EXTENT_UNWRITTEN = 0x800;

/** Differences below this are the file system's own doing: it fills small stretches as it pleases. */
export const layoutSlack = 16 << 10;

/** More stretches than this of one file are not mirrored: the list must fit a frame. */
export const maxStretches = 4096;

const pageSize = 4096;
const chunk = 64 << 10;
const maxEnd = Number.MAX_SAFE_INTEGER;
const map = allocate(mapHeader + extentsAtOnce * extentSize);

/**
 * The reserved stretches of a file from `start` to `end` as [offset, length, …], in bytes; empty where there
 * are none, too many, or the file system does not say. The first and the last may reach further.
 */
export function reservedStretches(v: Volume, fd: number, start = 0, end = maxEnd): number[] {
  const found: number[] = [];
  for (let from = start; from < end;) {
    map.view.setBigUint64(0, BigInt(from), true);
    map.view.setBigUint64(8, BigInt(end - from), true);
    map.view.setUint32(16, 0, true);
    map.view.setUint32(20, 0, true);
    map.view.setUint32(24, extentsAtOnce, true);
    map.view.setUint32(28, 0, true);
    if (v.libc.sys.ioctl(fd, FS_IOC_FIEMAP, map.address) < 0) return [];
    const count = map.view.getUint32(20, true);
    for (let i = 0; i < count; i++) {
      const at = mapHeader + i * extentSize;
      const offset = Number(map.view.getBigUint64(at, true));
      const length = Number(map.view.getBigUint64(at + 16, true));
      const flags = map.view.getUint32(at + 40, true);
      from = offset + length;
      if (flags & EXTENT_UNWRITTEN) append(found, offset, length);
      if (found.length > 2 * maxStretches) return [];
      if (flags & EXTENT_LAST) return found;
    }
    if (count === 0) return found;
  }
  return found;
}

function append(list: number[], offset: number, length: number): void {
  const last = list.length - 2;
  if (last >= 0 && list[last] + list[last + 1] === offset) list[last + 1] += length;
  else list.push(offset, length);
}

/** Reserves just these stretches: 0 or -errno. What holds data stays as it is. */
export function reserveStretches(v: Volume, fd: number, wanted: number[]): number {
  const { sys } = v.libc;
  const stat = statFd(v, fd);
  if (stat < 0) return stat;
  const size = statSize(v);
  const now = reservedStretches(v, fd);
  const keep = FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE;
  if (now.length > 0 && now.at(-2)! + now.at(-1)! > size + layoutSlack) {
    // The same size gives back what lies beyond the end.
    if (sys.ftruncate(fd, size) < 0) return -v.libc.errno();
  }
  for (let i = 0; i < now.length; i += 2) {
    for (const [from, to] of without(now[i], Math.min(size, now[i] + now[i + 1]), wanted)) {
      for (const [start, end] of zeros(v, fd, from, to)) {
        if (sys.fallocate(fd, keep, start, end - start) < 0) return -v.libc.errno();
      }
    }
  }
  for (let i = 0; i < wanted.length; i += 2) {
    if (sys.fallocate(fd, FALLOC.KEEP_SIZE, wanted[i], wanted[i + 1]) < 0) {
      const e = v.libc.errno();
      return e === Errno.EOPNOTSUPP ? 0 : -e;
    }
  }
  return 0;
}

/** What is left of a stretch without those of a sorted list. */
function* without(from: number, to: number, list: number[]): Generator<[number, number]> {
  let at = from;
  for (let i = 0; i < list.length && at < to; i += 2) {
    const [start, end] = [list[i], list[i] + list[i + 1]];
    if (end <= at || start >= to) continue;
    if (start > at) yield [at, start];
    at = Math.max(at, end);
  }
  if (at < to) yield [at, to];
}

/**
 * The stretches of zeros within a reserved one below the end of the file, in whole pages: holes as readers see
 * them, and pages that are in memory because somebody has read them.
 */
function* zeros(v: Volume, fd: number, from: number, to: number): Generator<[number, number]> {
  for (let at = from; at < to;) {
    let data = Number(v.libc.sys.lseek(fd, at, SEEK.DATA));
    if (data < 0 || data > to) data = to;
    if (data > at) yield [at, data];
    const hole = data < to ? Number(v.libc.sys.lseek(fd, data, SEEK.HOLE)) : to;
    yield* zeroPages(v, fd, data, Math.min(to, hole < 0 ? to : hole));
    at = Math.max(data, hole < 0 ? to : hole);
  }
}

function* zeroPages(v: Volume, fd: number, from: number, to: number): Generator<[number, number]> {
  const { address, bytes } = v.scratch.list;
  for (let at = from; at < to; at += chunk) {
    const n = v.libc.sys.pread(fd, address, Math.min(chunk, to - at), at);
    if (n <= 0) return;
    for (let page = 0; page + pageSize <= n; page += pageSize) {
      if (bytes.subarray(page, page + pageSize).every((byte) => byte === 0)) {
        yield [at + page, at + page + pageSize];
      }
    }
  }
}
