/** Zones of files: what a resync and a verification compare. */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { SEEK } from "../platform/linux/constants.ts";
import { zoneSize, zonesPerOffer } from "./frames.ts";
import type { Volume } from "./volume.ts";
import xxhash from "xxhash-wasm";

/** Holes are told apart in pieces of this size. */
export const pageSize = 4096;
const pagesPerZone = zoneSize / pageSize;

/** Whether `length` bytes from `at` on are all zero. */
function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let i = at; i < at + length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * Space that is reserved shows as data once somebody has read it (its pages are in memory then): takes such
 * pages out of the map. `bytes` holds what was read at `offset`, `reserved` is from `reservedStretches`.
 */
export function mapReserved(
  reader: ZoneReader,
  reserved: number[],
  bytes: Uint8Array,
  offset: number,
  length: number,
): void {
  for (let i = 0; i < reserved.length; i += 2) {
    const from = Math.max(offset, reserved[i]);
    const to = Math.min(offset + length, reserved[i] + reserved[i + 1]);
    for (let page = Math.ceil((from - offset) / pageSize); page * pageSize < to - offset; page++) {
      const at = page * pageSize;
      if (reader.pages[page] && isZero(bytes, at, Math.min(pageSize, length - at))) {
        reader.pages[page] = 0;
      }
    }
  }
}

/** What a resync needs to look at zones; one for each thread. */
export interface ZoneReader {
  hash: (data: Uint8Array, seed: bigint) => bigint;
  /** the data of up to {@link zonesPerOffer} zones */
  data: Memory;
  /** one byte a page: 1 where the file has data, 0 in a hole */
  pages: Uint8Array;
  /** a read beside the loop is under way into `data`, which belongs to it until then */
  busy: boolean;
  /** the bytes that the last such read brought, or -errno */
  result: number;
}

export async function createZoneReader(): Promise<ZoneReader> {
  const { h64Raw } = await xxhash();
  return {
    hash: h64Raw,
    data: allocate(zoneSize * zonesPerOffer),
    pages: new Uint8Array(pagesPerZone * zonesPerOffer),
    busy: false,
    result: 0,
  };
}

/**
 * Notes in `reader.pages` which pages of `length` bytes at `offset` are data. Both are multiples of the
 * page size, but for the end of the file.
 */
export function mapHoles(
  v: Volume,
  reader: ZoneReader,
  fd: number,
  offset: number,
  length: number,
): void {
  const { pages } = reader;
  pages.fill(0);
  const end = offset + length;
  for (let at = offset; at < end;) {
    const data = Number(v.libc.sys.lseek(fd, at, SEEK.DATA));
    if (data < 0 || data >= end) return; // ENXIO: only a hole follows
    let hole = Number(v.libc.sys.lseek(fd, data, SEEK.HOLE));
    if (hole < 0) hole = end;
    const first = Math.floor((data - offset) / pageSize);
    const last = Math.ceil((Math.min(hole, end) - offset) / pageSize);
    pages.fill(1, first, last);
    at = hole;
  }
}

/**
 * The hash of zone number `zone` within what `reader` holds, of which `length` bytes belong to the
 * file. 0: a hole throughout, or beyond the end. The places of holes are part of the hash.
 */
export function hashZone(reader: ZoneReader, zone: number, length: number, seed: bigint): bigint {
  if (length <= 0) return 0n;
  const first = zone * pagesPerZone;
  let map = 0;
  for (let i = 0; i < pagesPerZone; i++) if (reader.pages[first + i]) map |= 1 << i;
  if (map === 0) return 0n;
  const at = zone * zoneSize;
  const data = reader.data.bytes.subarray(at, at + Math.min(length, zoneSize));
  const h = reader.hash(data, seed ^ BigInt(map * 65536 + (data.length & 0xffff)));
  return h === 0n ? 1n : h;
}

/** Whether page number `page` of zone number `zone` is data. */
export function isData(reader: ZoneReader, zone: number, page: number): boolean {
  return reader.pages[zone * pagesPerZone + page] === 1;
}

/** Reads exactly what is there into `reader.data`; returns the bytes read or -errno. */
export function readZones(
  v: Volume,
  reader: ZoneReader,
  fd: number,
  offset: number,
  length: number,
): number {
  let have = 0;
  while (have < length) {
    const n = v.libc.sys.pread(fd, reader.data.address + have, length - have, offset + have);
    if (n < 0) return -v.libc.errno();
    if (n === 0) break;
    have += n;
  }
  return have;
}
