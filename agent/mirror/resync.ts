/**
 * The source's half of a resync: walks the directories and compares everything with the sink, in the
 * stream of the live operations, while the application runs.
 *
 * Names and attributes are sent as they are at that position; of files the hashes of their zones are
 * offered, and the sink, which takes its own at the same position, asks for those that differ. What the
 * application changes meanwhile is recorded where the sink has the inode already, and is found by the
 * walk where it has not.
 */
import { Errno } from "../platform/linux/constants.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { isExcluded, lookupName, statFd, statInode } from "./backing.ts";
import { statLinks, statSize } from "./backing.ts";
import { readDirectory } from "./directory.ts";
import { F, headerSize, Mask, Op, zoneSize, zonesPerOffer } from "./frames.ts";
import { clearHandles } from "./handle_set.ts";
import { Content, Flag, isLive, openInode } from "./inodes.ts";
import { loadInodeFlags, loadXattrs } from "./metadata.ts";
import {
  describe,
  dropUnused,
  emitData,
  emitEnsure,
  emitFileEnd,
  emitHole,
  emitInheritedFlags,
  emitReserved,
  emitXattrs,
  isBound,
  putAttributes,
  recordAttributes,
  scheduleContent,
} from "./record.ts";
import { Stat } from "./stats.ts";
import { begin, commit, roomForRequest } from "./stream.ts";
import type { Job, Volume } from "./volume.ts";
import { reservedStretches } from "./layout.ts";
import {
  hashZone,
  isData,
  mapHoles,
  mapReserved,
  pageSize,
  readZones,
  type ZoneReader,
} from "./zones.ts";

/** Offers that the sink has not answered yet, at most: it bounds how much it has to read at once. */
const offersAhead = 256;

export interface Resync {
  v: Volume;
  zones: ZoneReader;
  seed: bigint;
  /** offers that are not answered */
  offers: number;
  /** files being compared */
  files: Map<number, Comparison>;
  /** answers of the sink that are still to be served */
  wants: Want[];
  /** directories still to be compared; each counts as a lookup of its inode */
  stack: number[];
  /** starts a read beside the loop into `zones.data`; false where it cannot be */
  startRead: (fd: number, length: number, offset: number) => boolean;
  done: boolean;
  /** why the resync cannot go on: something here cannot be read; "" while it can */
  problem: string;
  phase: string;
}

interface Comparison {
  /** offers that are not settled */
  open: number;
  /** all of it was offered */
  offered: boolean;
}

export interface Want {
  index: number;
  offset: number;
  count: number;
  low: number;
  high: number;
}

export function createResync(
  v: Volume,
  zones: ZoneReader,
  startRead: (fd: number, length: number, offset: number) => boolean,
): Resync {
  return {
    v,
    zones,
    seed: BigInt(crypto.getRandomValues(new Uint32Array(1))[0]),
    offers: 0,
    files: new Map(),
    wants: [],
    stack: [],
    startRead,
    done: false,
    problem: "",
    phase: "starting",
  };
}

/**
 * The whole resync as a job; at its end every acknowledgement needs the sink. Where something cannot be
 * read here it ends with a `problem`: what is not compared must not pass for equal.
 */
export function* resync(r: Resync): Job {
  try {
    yield* compareAll(r);
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    r.problem = `The resync cannot go on. ${cause.message}`;
  }
}

/** A failure to read an inode, other than that it is gone. */
function unreadable(r: Resync, index: number, call: string, error: number): SystemError {
  const path = describe(r.v, index);
  return new SystemError(call, -error, path, "Check this node's disk and its open file limit");
}

function* compareAll(r: Resync): Job {
  const { v } = r;
  const t = v.inodes;
  v.stats[Stat.resyncFiles] = 0;
  v.stats[Stat.resyncBytesCompared] = 0;
  v.stats[Stat.resyncBytesSent] = 0;
  r.phase = "comparing";
  for (let root = 1; root <= t.roots; root++) {
    while (!roomForRequest(v.stream)) yield false;
    t.bound[root] = v.stream.epoch;
    recordAttributes(v, root, Mask.mode | Mask.owner, false);
    emitInheritedFlags(v, root);
    // Its inode flags and times come when its entries have come.
    emitXattrs(v, root, loadXattrs(v, root));
    t.lookups[root]++;
    r.stack.push(root);
  }
  for (;;) {
    const directory = r.stack.pop() ?? v.lateDirectories.pop();
    if (directory !== undefined) {
      t.lookups[directory]--;
      if (isLive(t, directory) && t.content[directory] === Content.unsynced) {
        t.pins[directory]++;
        try {
          yield* compareDirectory(r, directory);
        } finally {
          t.pins[directory]--;
        }
      }
      dropUnused(v, directory);
      continue;
    }
    const file = v.lateContent.pop();
    if (file !== undefined) {
      t.lookups[file]--;
      if (isLive(t, file) && t.content[file] === Content.unsynced) yield* offerFile(r, file);
      dropUnused(v, file);
      continue;
    }
    if (r.wants.length > 0) {
      yield* serveWants(r);
      continue;
    }
    if (r.offers > 0 || v.publishing > 0) {
      r.phase = "finishing";
      yield false;
      continue;
    }
    if (!roomForRequest(v.stream)) {
      yield false;
      continue;
    }
    break;
  }
  // From this frame on nothing is acknowledged to the application without the sink.
  v.complete = true;
  v.stream.mustAck = true;
  clearHandles(v.compared);
  commit(v.stream, begin(v.stream, Op.inSync, 0, 0));
  r.done = true;
  r.phase = "done";
  yield* releasePinned(r);
}

/**
 * Lets go of what was kept for its several names. Among exclusions it stays known: a lookup by an
 * excluded name alone could not tell that the inode is mirrored.
 */
function* releasePinned(r: Resync): Job {
  const { v } = r;
  const t = v.inodes;
  for (let index = 1; index < t.top; index++) {
    if (!(t.flags[index] & Flag.pinned)) continue;
    while (!roomForRequest(v.stream)) yield false;
    if (!v.directories[t.root[index]].excludes.isEmpty) continue;
    t.flags[index] &= ~Flag.pinned;
    dropUnused(v, index);
  }
}

function* compareDirectory(r: Resync, directory: number): Job {
  const { v } = r;
  const t = v.inodes;
  t.content[directory] = Content.syncing;
  while (!roomForRequest(v.stream)) yield false;
  commit(v.stream, begin(v.stream, Op.directoryBegin, directory, 0));
  let count = 0;
  for (const entry of readDirectory(v, t, directory)) {
    if (++count % 32 === 0) yield true;
    while (!roomForRequest(v.stream) || r.offers >= offersAhead) {
      if (r.wants.length > 0) yield* serveWants(r);
      else yield false;
    }
    const { bytes, at, length, address } = entry;
    const excluded = isExcluded(v, t, directory, bytes, at, length);
    if (excluded) continue;
    const index = lookupName(v, t, directory, bytes, at, length, address);
    // Removed meanwhile: the stream has said so.
    if (index === -Errno.ENOENT || index === -Errno.ESTALE) continue;
    if (index < 0) throw unreadable(r, directory, "look a name up in", index);
    const links = statLinks(v);
    if (!emitEnsure(v, index, bytes, at, length, directory)) {
      dropUnused(v, index);
      continue;
    }
    if (t.flags[index] & Flag.directory) {
      if (t.content[index] === Content.unsynced) {
        t.lookups[index]++;
        r.stack.push(index);
      }
      continue;
    }
    if (links > 1) t.flags[index] |= Flag.pinned;
    if (t.flags[index] & Flag.regular && t.content[index] === Content.unsynced) {
      yield* offerFile(r, index);
    }
    v.stats[Stat.resyncFiles]++;
    dropUnused(v, index);
  }
  while (!roomForRequest(v.stream)) yield false;
  if (isLive(t, directory) && statInode(v, t, directory) === 0) {
    const flags = loadInodeFlags(v, directory);
    const at = begin(v.stream, Op.directoryEnd, directory, 0);
    putAttributes(v, at, Mask.times);
    v.stream.words[(at + F.inodeFlags) >>> 2] = flags;
    commit(v.stream, at);
  }
  t.content[directory] = Content.synced;
}

/** Offers the hashes of a file's zones; from here on the changes of its content are recorded. */
function* offerFile(r: Resync, index: number): Job {
  const { v } = r;
  const t = v.inodes;
  t.content[index] = Content.syncing;
  t.pins[index]++;
  const state = { open: 0, offered: false };
  r.files.set(index, state);
  const piece = zoneSize * zonesPerOffer;
  for (let offset = 0;; offset += piece) {
    // A read of an earlier resync may still be under way.
    while (!roomForRequest(v.stream) || r.offers >= offersAhead || r.zones.busy) {
      if (r.wants.length > 0) yield* serveWants(r);
      else yield false;
    }
    const size = sizeOf(r, index);
    if (offset >= size) break;
    const length = Math.min(piece, size - offset);
    yield* readPiece(r, index, offset, length);
    const fd = openInode(t, v.libc, index, false);
    if (fd === -Errno.ESTALE) break;
    if (fd < 0) throw unreadable(r, index, "open", fd);
    mapHoles(v, r.zones, fd, offset, length);
    const reserved = reservedStretches(v, fd, offset, offset + length);
    mapReserved(r.zones, reserved, r.zones.data.bytes, offset, length);
    emitOffer(r, index, offset, length, offset === 0 ? sizeOf(r, index) : -1);
    state.open++;
    v.stats[Stat.resyncBytesCompared] += length;
    if (offset + piece < size) yield true;
  }
  state.offered = true;
  settle(r, index);
}

/** A file's size; 0 where it is gone. */
function sizeOf(r: Resync, index: number): number {
  const stat = statInode(r.v, r.v.inodes, index);
  if (stat === -Errno.ESTALE) return 0;
  if (stat < 0) throw unreadable(r, index, "stat", stat);
  return statSize(r.v);
}

/** Reads a piece of a file, beside the loop where it is large, as it is when this ends. */
function* readPiece(r: Resync, index: number, offset: number, length: number): Job {
  const { v } = r;
  const t = v.inodes;
  const version = t.version[index];
  let fd = openInode(t, v.libc, index, false);
  if (fd === -Errno.ESTALE) return;
  if (fd < 0) throw unreadable(r, index, "open", fd);
  if (length > zoneSize && r.startRead(fd, length, offset)) {
    while (r.zones.busy || !roomForRequest(v.stream)) yield false;
    // What is read beside the loop counts only where nothing changed the file meanwhile.
    if (r.zones.result === length && t.version[index] === version) return;
    fd = openInode(t, v.libc, index, false);
    if (fd === -Errno.ESTALE) return;
    if (fd < 0) throw unreadable(r, index, "open", fd);
  }
  const read = readZones(v, r.zones, fd, offset, length);
  if (read < 0) throw unreadable(r, index, "read", read);
}

function emitOffer(
  r: Resync,
  index: number,
  offset: number,
  length: number,
  whole: number,
): void {
  const { v } = r;
  const count = Math.ceil(length / zoneSize);
  const at = begin(v.stream, Op.offer, index, count * 8);
  v.stream.memory.view.setFloat64(at + F.offset, offset, true);
  v.stream.words[(at + F.count) >>> 2] = count;
  v.stream.memory.view.setFloat64(at + F.whole, whole, true);
  for (let i = 0; i < count; i++) {
    const hash = hashZone(r.zones, i, length - i * zoneSize, r.seed);
    v.stream.memory.view.setBigUint64(at + headerSize + i * 8, hash, true);
  }
  commit(v.stream, at);
  r.offers++;
}

/** Sends the zones that the sink has asked for, as they are now. */
export function* serveWants(r: Resync): Job {
  const { v } = r;
  for (let want = r.wants.shift(); want; want = r.wants.shift()) {
    for (let i = 0; i < want.count; i++) {
      const bit = i < 32 ? (want.low >>> i) & 1 : (want.high >>> (i - 32)) & 1;
      if (!bit) continue;
      while (!roomForRequest(v.stream)) yield false;
      if (!sendZone(r, want.index, want.offset + i * zoneSize)) break;
      yield true;
    }
    const state = r.files.get(want.index);
    if (state) {
      state.open--;
      while (!roomForRequest(v.stream)) yield false;
      settle(r, want.index);
    }
  }
}

/** Sends one zone: runs of data as they are, holes as holes. False where the file is gone. */
function sendZone(r: Resync, index: number, offset: number): boolean {
  const { v } = r;
  const t = v.inodes;
  if (!isLive(t, index)) return false;
  const fd = openInode(t, v.libc, index, false);
  if (fd === -Errno.ESTALE) return false;
  const stat = fd < 0 ? fd : statFd(v, fd);
  if (stat < 0) throw unreadable(r, index, "open", stat);
  const length = Math.min(zoneSize, statSize(v) - offset);
  if (length <= 0) return true;
  mapHoles(v, r.zones, fd, offset, length);
  const reserved = reservedStretches(v, fd, offset, offset + length);
  if (reserved.length > 0) {
    const { list } = v.scratch;
    const got = v.libc.sys.pread(fd, list.address, length, offset);
    if (got < 0) throw unreadable(r, index, "read", -v.libc.errno());
    mapReserved(r.zones, reserved, list.bytes, offset, got);
  }
  const pages = Math.ceil(length / pageSize);
  for (let page = 0; page < pages;) {
    const data = isData(r.zones, 0, page);
    let end = page + 1;
    while (end < pages && isData(r.zones, 0, end) === data) end++;
    const from = offset + page * pageSize;
    const bytes = Math.min((end - page) * pageSize, length - page * pageSize);
    if (data) {
      const to = v.stream.memory.address + v.stream.tail + headerSize;
      const n = v.libc.sys.pread(fd, to, bytes, from);
      if (n < 0) throw unreadable(r, index, "read", -v.libc.errno());
      if (n === 0) return true;
      emitData(v, index, from, n);
      v.stats[Stat.resyncBytesSent] += n;
    } else emitHole(v, index, from, bytes);
    page = end;
  }
  return true;
}

/** Ends a file whose offers are all answered and served. */
function settle(r: Resync, index: number): void {
  const { v } = r;
  const state = r.files.get(index);
  if (!state?.offered || state.open > 0) return;
  r.files.delete(index);
  const t = v.inodes;
  if (isLive(t, index) && t.flags[index] & Flag.shifted) {
    // Zones have changed places under the comparison: what was asked for may have moved away.
    t.flags[index] &= ~Flag.shifted;
    t.content[index] = Content.unsynced;
    t.pins[index]--;
    scheduleContent(v, index);
  } else if (isLive(t, index)) {
    // Writing the zones has taken file capabilities away, as writing does.
    const names = loadXattrs(v, index);
    if (names > 0 && isBound(v, index)) emitXattrs(v, index, names);
    if (isBound(v, index)) emitReserved(v, index);
    emitFileEnd(v, index);
    t.content[index] = Content.synced;
    t.pins[index]--;
    dropUnused(v, index);
  }
}

/** The sink has compared an offer. */
export function takeWant(r: Resync, want: Want): void {
  r.offers--;
  r.wants.push(want);
}

/** Gives up a resync whose link is gone: nothing of it keeps an inode. */
export function abandonResync(r: Resync): void {
  const { v } = r;
  const t = v.inodes;
  for (const list of [r.stack, v.lateDirectories, v.lateContent]) {
    for (const index of list) {
      t.lookups[index]--;
      dropUnused(v, index);
    }
    list.length = 0;
  }
  for (const index of r.files.keys()) {
    if (t.pins[index] > 0) t.pins[index]--;
    dropUnused(v, index);
  }
  r.files.clear();
  r.wants.length = 0;
  r.done = true;
}
