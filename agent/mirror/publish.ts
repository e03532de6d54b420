/**
 * Exclusions are exact: what leaves an excluded name for a mirrored one is given to the sink whole,
 * content and name as one operation; what goes the other way is removed there.
 *
 * A file or a tree that is being published is copied to the sink unseen, beside the live operations and in
 * their stream: what changes in it meanwhile is recorded like any change of a mirrored inode, and what the
 * copy has not come to yet is told of first where an operation needs it (`Volume.lateStaged`).
 */
import { SystemError } from "../platform/linux/errno.ts";
import { Errno, SEEK } from "../platform/linux/constants.ts";
import { isExcluded, lookupName, statInode, statLinks, statSize } from "./backing.ts";
import { readDirectory } from "./directory.ts";
import { headerSize, maxPayload } from "./frames.ts";
import { Content, Flag, isLive, loseName, openInode, pathOf } from "./inodes.ts";
import {
  dropUnused,
  emitData,
  emitEnsure,
  emitMake,
  emitMetadata,
  emitReserved,
  emitStage,
  ensureBound,
  follows,
  isBound,
  isMirrored,
  markTimes,
  prepareLink,
  readTarget,
  recordForget,
  recordLink,
  recordPublish,
  recordTruncate,
  recordUnlink,
  type Removed,
  scheduleContent,
} from "./record.ts";
import { roomForRequest } from "./stream.ts";
import type { Job, Volume } from "./volume.ts";

/** An inode that gets a mirrored name which the sink cannot give it by that word alone. */
export interface Publication {
  index: number;
  parent: number;
  name: Uint8Array;
  nameAt: number;
  length: number;
  /** what stands at the name until then */
  replaced: Removed | undefined;
  /** gives the name here; 0 or -errno */
  commit(): number;
  /** what follows in the table of inodes */
  settle(): void;
  /** answers the request: success where `error` is 0 */
  reply(error: number): void;
}

/** A step of copying: 0, 1 where the stream has ended under it, or -errno. */
type Step = Generator<boolean, number, void>;

/** Carries out a publication as a job of the loop, since the content may be large. */
export function publish(v: Volume, p: Publication): void {
  v.inodes.pins[p.index]++;
  v.publishing++;
  v.jobs.push(publishing(v, p));
}

function* publishing(v: Volume, p: Publication): Job {
  const t = v.inodes;
  const { index, parent } = p;
  const before = t.flags[index] & (Flag.unmirrored | Flag.orphan);
  const { epoch } = v.stream;
  // One of several names of an inode that the sink has.
  const known = before === 0 && v.complete && prepareLink(v, index);
  const staging = !known && v.stream.active && v.complete;
  let error = 0;
  if (staging) error = yield* stage(v, p);
  t.pins[index]--;
  v.publishing--;
  v.stream.waitFor = 0;
  if (error >= 0) error = p.commit();
  const same = v.stream.active && v.stream.epoch === epoch;
  if (error < 0) {
    t.aliases.delete(index);
    if (staging) unstage(v, index, before);
    return p.reply(error);
  }
  t.flags[index] &= ~(Flag.unmirrored | Flag.orphan);
  if (same && (staging || known)) {
    recordPublish(v, index, parent, p.name, p.nameAt, p.length, p.replaced);
  } else if (follows(v, parent)) {
    // A resync has come to the directory: it must not miss the name. Where it has not, it will.
    if (p.replaced) recordUnlink(v, parent, p.name, p.nameAt, p.length, p.replaced);
    if (emitEnsure(v, index, p.name, p.nameAt, p.length, parent)) scheduleContent(v, index);
    markTimes(v, parent);
  }
  const { waitFor } = v.stream;
  p.settle();
  t.aliases.delete(index);
  if (t.flags[index] & Flag.directory) refreshExclusions(v);
  v.stream.waitFor = waitFor;
  p.reply(0);
  v.stream.waitFor = 0;
}

/** The name could not be given after all: what was copied goes again. */
function unstage(v: Volume, index: number, before: number): void {
  const t = v.inodes;
  recordForget(v, index);
  t.flags[index] |= before;
  t.bound[index] = 0;
  t.content[index] = Content.unsynced;
  if (t.flags[index] & Flag.directory) refreshExclusions(v);
}

function* stage(v: Volume, p: Publication): Step {
  const t = v.inodes;
  const { index, parent } = p;
  const directory = (t.flags[index] & Flag.directory) !== 0;
  // Trees come one by one: `lateStaged` is the list of one of them.
  while (directory && t.aliases.size > 0) yield false;
  while (!roomForRequest(v.stream)) yield false;
  const { epoch } = v.stream;
  const over = () => !v.stream.active || v.stream.epoch !== epoch;
  if (over() || !ensureBound(v, parent)) return over() ? 1 : -Errno.ENOENT;
  const target = t.flags[index] & Flag.symlink ? readTarget(v, t, index) : 0;
  const stat = target < 0 ? target : statInode(v, t, index);
  if (stat < 0) return stat;
  emitStage(v, index, t.root[index] + 1, target);
  t.flags[index] &= ~(Flag.unmirrored | Flag.orphan);
  if (directory) {
    const name = new TextDecoder().decode(p.name.subarray(p.nameAt, p.nameAt + p.length));
    const up = pathOf(t, parent);
    t.aliases.set(index, up === "" ? name : `${up}/${name}`);
  }
  try {
    let r = yield* copyContent(v, index, over);
    while (directory && r === 0 && v.lateStaged.length > 0) {
      const late = v.lateStaged.pop()!;
      if (isLive(t, late)) r = yield* copyContent(v, late, over);
      unpin(v, late);
    }
    return r;
  } catch (cause) {
    if (cause instanceof SystemError) return -cause.errno;
    throw cause;
  } finally {
    if (directory) { for (const late of v.lateStaged.splice(0)) unpin(v, late); }
  }
}

function unpin(v: Volume, index: number): void {
  if (v.inodes.pins[index] > 0) v.inodes.pins[index]--;
  dropUnused(v, index);
}

/** Sends what is in an inode: a file's data, a directory's entries, and the metadata. */
function* copyContent(v: Volume, index: number, over: () => boolean): Step {
  const t = v.inodes;
  if (t.flags[index] & Flag.regular) {
    const r = yield* copyData(v, index, over);
    if (r !== 0) return r;
  } else if (t.flags[index] & Flag.directory) {
    const r = yield* copyEntries(v, index, over);
    if (r !== 0) return r;
  }
  while (!roomForRequest(v.stream) && !over()) yield false;
  if (over()) return 1;
  if (isBound(v, index)) {
    emitReserved(v, index);
    emitMetadata(v, index);
  }
  t.content[index] = Content.synced;
  return 0;
}

function* copyData(v: Volume, index: number, over: () => boolean): Step {
  const t = v.inodes;
  const chunk = Math.min(maxPayload, 256 << 10);
  if (statInode(v, t, index) < 0) return 0; // removed meanwhile
  recordTruncateQuietly(v, index, statSize(v));
  for (let at = 0;;) {
    while (!roomForRequest(v.stream) && !over()) yield false;
    if (over()) return 1;
    const fd = openInode(t, v.libc, index, false);
    if (fd === -Errno.ESTALE) return 0;
    if (fd < 0) return fd;
    const data = Number(v.libc.sys.lseek(fd, at, SEEK.DATA));
    if (data < 0) {
      const e = v.libc.errno();
      return e === Errno.ENXIO ? 0 : -e; // ENXIO: only a hole follows
    }
    const hole = Number(v.libc.sys.lseek(fd, data, SEEK.HOLE));
    if (hole < 0) return -v.libc.errno();
    const n = Math.min(chunk, hole - data);
    const to = v.stream.memory.address + v.stream.tail + headerSize;
    const got = v.libc.sys.pread(fd, to, n, data);
    if (got < 0) return -v.libc.errno();
    if (got === 0) return 0;
    emitData(v, index, data, got);
    at = data + got;
    yield true;
  }
}

/** The staged copy gets its size first, so that holes at its end are holes there, too. */
function recordTruncateQuietly(v: Volume, index: number, size: number): void {
  const wait = v.stream.waitFor;
  recordTruncate(v, index, size);
  v.stream.waitFor = wait;
}

function* copyEntries(v: Volume, parent: number, over: () => boolean): Step {
  const t = v.inodes;
  for (const { bytes, at, length, address } of readDirectory(v, t, parent)) {
    while (!roomForRequest(v.stream) && !over()) yield false;
    if (over()) return 1;
    if (isExcluded(v, t, parent, bytes, at, length)) continue;
    const index = lookupName(v, t, parent, bytes, at, length, address);
    if (index === -Errno.ENOENT || index === -Errno.ESTALE) continue; // removed meanwhile
    if (index < 0) return index;
    const several = statLinks(v) > 1 && !(t.flags[index] & Flag.directory);
    t.flags[index] &= ~Flag.unmirrored;
    // Its other names may be excluded: see `keepKnown`.
    if (several) t.flags[index] |= Flag.pinned;
    if (isBound(v, index)) {
      // Told of already, or another name of an inode that the sink has.
      if (several) recordLink(v, index, parent, bytes, at, length);
      dropUnused(v, index);
      continue;
    }
    t.pins[index]++;
    if (!emitMake(v, index, parent, bytes, at, length)) {
      unpin(v, index);
      continue;
    }
    const r = yield* copyContent(v, index, over);
    unpin(v, index);
    if (r !== 0) return r;
  }
  return 0;
}

/**
 * An inode has mirrored and excluded names at the same time: it stays known as long as the stream goes on, since
 * a lookup by an excluded name could not tell that it is mirrored.
 */
export function keepKnown(v: Volume, index: number): void {
  const t = v.inodes;
  if (!isMirrored(v, index) || t.flags[index] & Flag.directory) return;
  if (!v.directories[t.root[index]].excludes.isEmpty) t.flags[index] |= Flag.pinned;
}

/** An inode whose mirrored name became an excluded one. With further names it stays known. */
export function loseMirrored(v: Volume, index: number): void {
  const t = v.inodes;
  if (!(t.flags[index] & Flag.directory) && statInode(v, t, index) === 0 && statLinks(v) > 1) {
    // Without a sink the walk will find out; with one, whoever lost the name has made it known.
    if (!v.stream.active || isBound(v, index)) return keepKnown(v, index);
  }
  recordForget(v, index);
  t.flags[index] = (t.flags[index] | Flag.unmirrored) & ~Flag.pinned;
  t.bound[index] = 0;
  t.content[index] = Content.unsynced;
}

/** A directory crossed the border: what is excluded is decided anew for all that is known. */
export function refreshExclusions(v: Volume): void {
  const t = v.inodes;
  if (v.directories.every((d) => d.excludes.isEmpty)) return;
  const done = new Uint8Array(t.top);
  const settle = (index: number): void => {
    if (index <= t.roots || done[index] || !isLive(t, index)) return;
    done[index] = 1;
    if (t.flags[index] & (Flag.nameless | Flag.orphan) || t.nameLength[index] === 0) return;
    settle(t.parent[index]);
    const excluded = isExcluded(
      v,
      t,
      t.parent[index],
      t.names,
      t.nameAt[index],
      t.nameLength[index],
    );
    if (!excluded) t.flags[index] &= ~Flag.unmirrored;
    else if (!(t.flags[index] & Flag.unmirrored)) {
      loseMirrored(v, index);
      if (!(t.flags[index] & Flag.unmirrored)) loseName(t, index);
    }
  };
  for (let i = 1; i < t.top; i++) settle(i);
}
