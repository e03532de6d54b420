/**
 * The wire: frames of the replication stream, little-endian, in both directions.
 *
 * A frame is a header of 80 bytes and a payload, padded with zeros to a multiple of 8. The header is as
 * long as the FUSE headers of a write request (40 + 40 bytes), so that a frame is made in place around
 * the payload that the kernel delivered, and consecutive frames leave in one send without a copy.
 *
 * | bytes | field |
 * | --- | --- |
 * | 0 u32 | length of the frame, padding included |
 * | 4 u16 | operation |
 * | 6 u16 | flags |
 * | 8 u64 | sequence number (0 from the sink) |
 * | 16 u32 | checksum of the frame with this field 0; 0 where TLS protects the link |
 * | 20 u32 | inode, in the source's numbering |
 * | 24…79 | fields of the operation, below |
 * | 80… | payload |
 */
import { crc32 } from "node:zlib";

/** Raised with every change of the layout; the handshake refuses another one. */
export const streamVersion = 1;

export const headerSize = 80;

/** The largest payload: one FUSE write. */
export const maxPayload = 1 << 20;
export const maxFrame = headerSize + maxPayload + 8;

/** Zones are the unit of comparison and of transfer in a resync. */
export const zoneSize = 1 << 16;
/** Zones in one OFFER: their hashes and hole maps fit a frame many times over. */
export const zonesPerOffer = 64;

export const Op = {
  // Operations of the file system, source to sink.
  write: 1,
  truncate: 2,
  allocate: 3,
  make: 4,
  link: 5,
  rename: 6,
  unlink: 7,
  attributes: 8,
  setXattr: 9,
  removeXattr: 10,
  inodeFlags: 11,
  fsync: 12,
  // What keeps the two numberings together.
  bind: 16,
  unbind: 17,
  /** puts a finished, unnamed copy at its name in one step */
  publish: 18,
  /** makes an unnamed file to be published later */
  stage: 19,
  // Resync, source to sink.
  start: 32,
  ensure: 33,
  directoryBegin: 34,
  directoryEnd: 35,
  offer: 36,
  fileEnd: 37,
  inSync: 38,
  xattrs: 39,
  resume: 40,
  ping: 41,
  /** the stretches of a file that are reserved without data */
  reserved: 42,
  // Sink to source.
  attach: 64,
  ack: 65,
  fsyncDone: 66,
  want: 67,
  noted: 68,
  failed: 69,
} as const;

/** Names of the operations, for messages. */
export const opNames: ReadonlyMap<number, string> = new Map(
  Object.entries(Op).map(([name, value]) => [value, name]),
);

/** Byte offsets of the fields of each operation. Sizes: u32 unless said otherwise. */
export const F = {
  length: 0,
  op: 4, // u16
  flags: 6, // u16
  seqLow: 8,
  seqHigh: 12,
  check: 16,
  inode: 20,

  // write, offer
  offset: 24, // f64
  count: 32,
  // truncate, fileEnd
  size: 24, // f64
  // allocate
  allocateLength: 32, // f64
  allocateMode: 40,

  // make, ensure, link, unlink, rename, bind, stage, publish
  parent: 24,
  requestMode: 28,
  umask: 32,
  uid: 36,
  gid: 40,
  rdevMajor: 44,
  rdevMinor: 48,
  nameLength: 52, // u16
  targetLength: 54, // u16
  mode: 56,
  finalUid: 60,
  finalGid: 64,
  links: 68,
  inodeFlags: 72,
  newParent: 28, // rename
  renameFlags: 32,
  other: 36, // rename, publish: inode at the target name
  removeDirectory: 28, // unlink
  // unlink, rename, publish: `links` counts the names that the inode which loses one keeps on the source

  // attributes, fileEnd, directoryEnd
  mask: 32,
  atimeNs: 36,
  atime: 40, // f64
  mtime: 48, // f64
  attrMode: 56,
  attrUid: 60,
  attrGid: 64,
  mtimeNs: 68,
  // xattr
  xattrFlags: 24,
  valueLength: 28,
  // fsync, fsyncDone
  ticket: 24,
  request: 40, // fsyncDone: u64, the sequence number of the fsync
  dataOnly: 28,
  error: 32,
  // ack, attach
  appliedLow: 24,
  appliedHigh: 28,
  sessionLow: 32,
  sessionHigh: 36,
  // start
  seed: 40,
  // offer: `count` hashes of u64 in the payload; the first of a file tells its size
  whole: 40, // f64, -1 in others
  // fileEnd: what the file occupies, in units of 4 KiB
  occupied: 76,
  // reserved: `count` stretches in the payload, each an offset and a length (f64)
  // want
  wantLow: 40,
  wantHigh: 44,
} as const;

/** Bits of `mask`. */
export const Mask = { mode: 1, owner: 2, times: 4, flags: 8 } as const;

/** Bits of `flags`. */
export const FrameFlag = {
  /** ensure: the inode has extended attributes, an `xattrs` frame follows */
  hasXattrs: 1,
  /** write: part of a resync, not an operation of the application */
  resync: 2,
  /** unlink: the name is in a tree that is still being copied, and may not have come yet */
  mayBeAbsent: 4,
} as const;

export function pad8(length: number): number {
  return (length + 7) & ~7;
}

/** Zeroes a header and fills its common fields. */
export function beginFrame(
  view: DataView,
  words: Uint32Array,
  at: number,
  op: number,
  inode: number,
  payload: number,
): void {
  const w = at >>> 2;
  for (let i = 0; i < headerSize / 4; i++) words[w + i] = 0;
  words[w] = pad8(headerSize + payload);
  view.setUint16(at + F.op, op, true);
  words[w + F.inode / 4] = inode;
}

/** The sequence number of the frame at `at`. */
export function seqOf(words: Uint32Array, at: number): number {
  return words[(at + F.seqLow) >>> 2] + words[(at + F.seqHigh) >>> 2] * 4294967296;
}

/** A reason to refuse the bytes at `at` as a frame, before its payload has arrived; "" where sound. */
export function frameProblem(words: Uint32Array, at: number): string {
  const length = words[at >>> 2];
  const op = words[(at + F.op) >>> 2] & 0xffff;
  if (length < headerSize || length > maxFrame || length % 8 !== 0) {
    return `a frame of ${length} bytes`;
  }
  if (!opNames.has(op)) return `an unknown operation ${op}`;
  return "";
}

/**
 * Checksum of a frame for links without TLS: CRC-32 (zlib's) with the checksum's own field as 0. It catches
 * what a network's checksums let through, not an attacker. Never 0, which stands for "none".
 */
export function checksum(words: Uint32Array, at: number, length: number): number {
  const w = (at + F.check) >>> 2;
  const kept = words[w];
  words[w] = 0;
  const sum = crc32(new Uint8Array(words.buffer, words.byteOffset + at, length));
  words[w] = kept;
  return sum || 1;
}
