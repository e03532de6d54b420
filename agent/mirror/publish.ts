/**
 * Exclusions are exact: what leaves an excluded name for a mirrored one is given to the sink whole,
 * content and name as one operation; what goes the other way is removed there.
 */
import { readDirectory } from "./directory.ts";
import { headerSize, maxPayload } from "./frames.ts";
import { Content, Flag, isLive, openInode, pathOf } from "./inodes.ts";
import { internInode, isExcluded, statInode, statLinks, statName, statSize } from "./backing.ts";
import { handleOf } from "./backing.ts";
import {
  emitData,
  emitEnsure,
  emitMake,
  emitMetadata,
  emitStage,
  ensureBound,
  isBound,
  readTarget,
  recordForget,
  recordLink,
  recordPublish,
  recordTruncate,
  scheduleContent,
} from "./record.ts";
import { SEEK } from "../platform/linux/constants.ts";
import { roomForRequest } from "./stream.ts";
import type { Job, Volume } from "./volume.ts";

/**
 * Gives an inode that the sink does not have to the sink, then lets `commit` put it at its mirrored
 * name here, then there; `done` replies. `commit` returns false where it failed and has replied. Runs
 * as a job of the loop, since the content may be large.
 */
export function publish(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  commit: () => boolean,
  done: () => void,
): void {
  v.inodes.pins[index]++;
  v.publishing++;
  v.jobs.push(publishing(v, index, parent, name, nameAt, length, commit, done));
}

function* publishing(
  v: Volume,
  index: number,
  parent: number,
  name: Uint8Array,
  nameAt: number,
  length: number,
  commit: () => boolean,
  done: () => void,
): Job {
  const t = v.inodes;
  const before = t.flags[index];
  const epoch = v.stream.epoch;
  const follows = v.stream.active && (v.complete || isBound(v, parent));
  // Where the stream ends meanwhile, what is left of the copy has nowhere to go.
  const live = () => v.stream.active && v.stream.epoch === epoch;
  if (follows) {
    ensureBound(v, parent);
    if (statInode(v, t, index) === 0) {
      const target = t.flags[index] & Flag.symlink ? Math.max(0, readTarget(v, t, index)) : 0;
      statInode(v, t, index);
      emitStage(v, index, t.root[index] + 1, target);
      t.flags[index] &= ~(Flag.unmirrored | Flag.orphan);
      const path = pathOf(v.inodes, parent);
      const text = new TextDecoder().decode(name.subarray(nameAt, nameAt + length));
      yield* copyContent(v, index, path === "" ? text : `${path}/${text}`, live);
    }
  }
  t.pins[index]--;
  v.publishing--;
  const same = live() && follows;
  v.stream.waitFor = 0;
  if (!commit()) {
    if (same && isBound(v, index)) recordForget(v, index);
    t.flags[index] = before;
    t.bound[index] = 0;
    return;
  }
  t.flags[index] &= ~(Flag.unmirrored | Flag.orphan);
  if (same && isBound(v, index)) recordPublish(v, index, parent, name, nameAt, length);
  else if (v.stream.active && !v.complete && isBound(v, parent)) {
    // A resync has listed the directory meanwhile: it must not miss the name.
    emitEnsure(v, index, name, nameAt, length, parent);
    scheduleContent(v, index);
  }
  if (t.flags[index] & Flag.directory) refreshExclusions(v);
  done();
  v.stream.waitFor = 0;
}

/** Sends what is in an inode: a file's data, a directory's entries, and the metadata. */
function* copyContent(v: Volume, index: number, path: string, live: () => boolean): Job {
  const t = v.inodes;
  if (t.flags[index] & Flag.regular) yield* copyData(v, index, live);
  else if (t.flags[index] & Flag.directory) yield* copyEntries(v, index, path, live);
  while (live() && !roomForRequest(v.stream)) yield false;
  if (!live()) return;
  emitMetadata(v, index);
  t.content[index] = Content.synced;
}

function* copyData(v: Volume, index: number, live: () => boolean): Job {
  const t = v.inodes;
  const chunk = Math.min(maxPayload, 256 << 10);
  if (statInode(v, t, index) < 0) return;
  recordTruncateQuietly(v, index, statSize(v));
  for (let at = 0;;) {
    while (live() && !roomForRequest(v.stream)) yield false;
    if (!live()) return;
    const fd = openInode(t, v.libc, index, false);
    if (fd < 0) return;
    const data = Number(v.libc.sys.lseek(fd, at, SEEK.DATA));
    if (data < 0) return;
    const hole = Number(v.libc.sys.lseek(fd, data, SEEK.HOLE));
    const n = Math.min(chunk, hole - data);
    const to = v.stream.memory.address + v.stream.tail + headerSize;
    const got = v.libc.sys.pread(fd, to, n, data);
    if (got <= 0) return;
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

function* copyEntries(v: Volume, parent: number, path: string, live: () => boolean): Job {
  const t = v.inodes;
  const excludes = v.directories[t.root[parent]].excludes;
  const decoder = new TextDecoder();
  for (const entry of readDirectory(v, t, parent)) {
    const name = entry.bytes.slice(entry.at, entry.at + entry.length + 1);
    const text = decoder.decode(name.subarray(0, entry.length));
    if (!excludes.isEmpty && excludes.matchName(path, text)) continue;
    while (live() && !roomForRequest(v.stream)) yield false;
    if (!live()) return;
    const dir = openInode(t, v.libc, parent, false);
    if (dir < 0 || statName(v, dir, entry.address) < 0) continue;
    const device = handleOf(v, t, dir, entry.address);
    if (device < 0) continue;
    const index = internInode(v, t, device, parent, name, 0, entry.length);
    t.flags[index] &= ~Flag.unmirrored;
    if (isBound(v, index)) {
      recordLink(v, index, parent, name, 0, entry.length);
      continue;
    }
    const target = t.flags[index] & Flag.symlink ? Math.max(0, readTarget(v, t, index)) : 0;
    if (statInode(v, t, index) < 0) continue;
    emitMake(v, index, parent, name, 0, entry.length, target);
    t.pins[index]++;
    yield* copyContent(v, index, `${path}/${text}`, live);
    t.pins[index]--;
  }
}

/** An inode whose mirrored name became an excluded one. With further names it stays known. */
export function loseMirrored(v: Volume, index: number): void {
  const t = v.inodes;
  if (!(t.flags[index] & Flag.directory) && statInode(v, t, index) === 0 && statLinks(v) > 1) {
    return;
  }
  t.flags[index] |= Flag.unmirrored;
  t.bound[index] = 0;
}

/** Directories moved: what is excluded is decided anew for all that is known. */
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
    else if (!(t.flags[index] & Flag.unmirrored)) loseMirrored(v, index);
  };
  for (let i = 1; i < t.top; i++) settle(i);
}
