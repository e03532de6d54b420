/**
 * The sink's half of a resync: names and inodes are made as the source says, zones are compared at the
 * very position of the stream at which the source took its hashes, and what the source does not have goes.
 */
import { Errno, S, Statx } from "../platform/linux/constants.ts";
import { handleOf, statFd, statInode, statLinks, statMode } from "./backing.ts";
import { statBlocks, statName, statSize } from "./backing.ts";
import { layoutSlack, reservedStretches, reserveStretches } from "./layout.ts";
import {
  applyAttributes,
  bindName,
  confirmName,
  directoryFd,
  f64,
  fixAttributes,
  giveName,
  type Identity,
  makeObject,
  markGone,
  sameInode,
  u16,
  u32,
} from "./apply.ts";
import { isStageName, nameKey, readDirectory, removeTree } from "./directory.ts";
import { F, FrameFlag, headerSize, Mask, Op, zoneSize, zonesPerOffer } from "./frames.ts";
import { adoptDescriptor, findInode, Flag, isLive, openInode, pathOf } from "./inodes.ts";
import {
  dropXattr,
  loadInodeFlags,
  loadXattrs,
  lockingInodeFlags,
  storeInodeFlags,
  xattrNamesAt,
} from "./metadata.ts";
import { answer, endAnswer, pauseOutdated, reachSync, resetSink, type Sink } from "./sink.ts";
import { hashZone, mapHoles, mapReserved, readZones } from "./zones.ts";

export function applyResync(
  s: Sink,
  identity: Identity,
  op: number,
  index: number,
  at: number,
): number {
  switch (op) {
    case Op.start:
      return applyStart(s, at);
    case Op.ensure:
      return applyEnsure(s, identity, index, at);
    case Op.xattrs:
      return keepXattrs(s, index, at);
    case Op.directoryBegin:
      return beginListing(s, index);
    case Op.directoryEnd:
      return endListing(s, index, at);
    case Op.offer:
      return applyOffer(s, index, at);
    case Op.reserved:
      return applyReserved(s, index, at);
    case Op.fileEnd:
      return applyFileEnd(s, index, at);
    case Op.inSync:
      dropUnfound(s);
      reachSync(s);
      return 0;
    default:
      return -Errno.EPROTO;
  }
}

/** A new stream: whatever was known of the source's numbers is void. */
function applyStart(s: Sink, at: number): number {
  s.session = u32(s, at, F.sessionLow) + u32(s, at, F.sessionHigh) * 4294967296;
  s.hashSeed = BigInt(u32(s, at, F.seed));
  s.syncing = true;
  resetSink(s);
  for (const [i] of s.v.directories.entries()) {
    const r = unlock(s, i + 1);
    if (r < 0) return r;
  }
  pauseOutdated(s, "a resync has begun");
  return 0;
}

/** Takes away what would keep even us from changing the inode; its comparison ends by setting it. */
function unlock(s: Sink, index: number): number {
  const flags = loadInodeFlags(s.v, index, s.t);
  if (!(flags & lockingInodeFlags)) return 0;
  return storeInodeFlags(s.v, s.t, index, flags & ~lockingInodeFlags);
}

/**
 * Inodes that lost their last name here while the source had others, which the comparison has not brought:
 * all of those are excluded, or outside of the module.
 */
function dropUnfound(s: Sink): void {
  for (const index of [...s.hidden]) {
    if (s.v.directories[s.t.root[index]].excludes.isEmpty) markGone(s, index);
  }
}

const typeChanged = (a: number, b: number) => (a & S.IFMT) !== (b & S.IFMT);

function applyEnsure(s: Sink, identity: Identity, index: number, at: number): number {
  const parent = u32(s, at, F.parent);
  const length = u16(s, at, F.nameLength);
  const dir = directoryFd(s, parent);
  if (dir < 0) return dir;
  const nameAt = at + headerSize;
  confirmName(s, parent, nameAt, length);
  const name = s.in.address + nameAt;
  const stat = statName(s.v, dir, name);
  if (stat < 0 && stat !== -Errno.ENOENT) return stat;
  if (stat === 0 && !fits(s, index, at, dir, name, name + length + 1)) {
    const removed = removeTree(s.v, dir, name);
    if (removed < 0) return removed;
  }
  if (isLive(s.t, index)) {
    // One of several names of an inode that is here already.
    return sameInode(s, index, dir, name) ? 0 : giveName(s, index, dir, name);
  }
  if (statName(s.v, dir, name) < 0) {
    identity.become(0, 0, 0);
    const mode = u32(s, at, F.mode);
    const type = mode & S.IFMT;
    const made = makeObject(
      s,
      dir,
      name,
      type | (type === S.IFDIR ? 0o700 : 0o600),
      at,
      name + length + 1,
    );
    if (made < 0) return made;
    const bound = bindName(s, index, parent, nameAt, length, dir, name);
    if (bound < 0) return bound;
    if (made > 0) adoptDescriptor(s.t, s.v.libc, index, made);
  } else {
    const bound = bindName(s, index, parent, nameAt, length, dir, name);
    if (bound < 0) return bound;
    statInode(s.v, s.t, index);
  }
  // What its entries inherit; those that lock it come when it has been compared.
  const flags = u32(s, at, F.inodeFlags) & ~lockingInodeFlags;
  const set = storeInodeFlags(s.v, s.t, index, flags);
  if (set < 0) return set;
  if (!(u16(s, at, F.flags) & FrameFlag.hasXattrs)) {
    const r = removeXattrs(s, index, new Set());
    if (r < 0) return r;
    statInode(s.v, s.t, index);
  }
  return fixAttributes(s, index, at);
}

/** Whether what stands at the name (in `scratch.statx`) can become the source's inode `index`. */
function fits(
  s: Sink,
  index: number,
  at: number,
  dir: number,
  name: number,
  target: number,
): boolean {
  const x = s.v.scratch.statxWords;
  const mode = u32(s, at, F.mode);
  const here = statMode(s.v);
  const links = statLinks(s.v);
  if (typeChanged(mode, here)) return false;
  const type = mode & S.IFMT;
  if (type === S.IFBLK || type === S.IFCHR) {
    if (x[Statx.rdevMajor / 4] !== u32(s, at, F.rdevMajor)) return false;
    if (x[Statx.rdevMinor / 4] !== u32(s, at, F.rdevMinor)) return false;
  }
  if (type === S.IFLNK) {
    const length = u16(s, at, F.targetLength);
    const n = s.v.libc.sys.readlinkat(dir, name, s.v.scratch.list.address, 4096);
    if (n !== length) return false;
    const from = target - s.in.address;
    for (let i = 0; i < n; i++) {
      if (s.v.scratch.list.bytes[i] !== s.in.bytes[from + i]) return false;
    }
  }
  const device = handleOf(s.v, s.t, dir, name);
  if (device < 0) return false;
  const bound = findInode(s.t, s.v.scratch.handleWords, 0, device);
  if (isLive(s.t, index)) return bound === index;
  if (bound > 0) return false;
  // Names that share an inode here but not there must part.
  return type === S.IFDIR || links <= 1 || u32(s, at, F.links) > 1;
}

/** Removes the extended attributes that the source does not have; their values follow one by one. */
function keepXattrs(s: Sink, index: number, at: number): number {
  if (!isLive(s.t, index)) return -Errno.ESTALE;
  const keep = new Set<string>();
  const end = at + headerSize + u32(s, at, F.count);
  for (let from = at + headerSize; from < end;) {
    const nul = s.in.bytes.indexOf(0, from);
    keep.add(nameKey(s.in.bytes, from, nul - from));
    from = nul + 1;
  }
  return removeXattrs(s, index, keep);
}

function removeXattrs(s: Sink, index: number, keep: Set<string>): number {
  const n = loadXattrs(s.v, index, s.t);
  const from = xattrNamesAt;
  for (let at = from; at < from + n;) {
    const end = s.v.scratch.list.bytes.indexOf(0, at);
    if (!keep.has(nameKey(s.v.scratch.list.bytes, at, end - at))) {
      const r = dropXattr(s.v, s.t, index, s.v.scratch.list.address + at);
      if (r < 0 && r !== -Errno.ENODATA) return r;
    }
    at = end + 1;
  }
  return 0;
}

/** Notes what is in a directory: what the source does not confirm until its end is removed. */
function beginListing(s: Sink, index: number): number {
  if (!isLive(s.t, index)) return 0; // removed meanwhile
  const names = new Set<string>();
  const { excludes } = s.v.directories[s.t.root[index]];
  const path = excludes.isEmpty ? "" : pathOf(s.t, index);
  const decoder = new TextDecoder();
  for (const entry of readDirectory(s.v, s.t, index)) {
    const { bytes, at, length } = entry;
    if (index <= s.t.roots && isStageName(bytes, at, length)) continue;
    if (!excludes.isEmpty) {
      const text = decoder.decode(bytes.subarray(at, at + length));
      if (excludes.matchName(path, text)) continue;
    }
    names.add(nameKey(bytes, at, length));
  }
  s.listings.set(index, names);
  return 0;
}

function endListing(s: Sink, index: number, at: number): number {
  const names = s.listings.get(index);
  if (isLive(s.t, index) && names && names.size > 0) {
    const fd = directoryFd(s, index);
    if (fd < 0) return fd;
    for (const name of names) {
      const r = removeNamed(s, fd, name);
      if (r < 0) return r;
    }
  }
  // Not before: where the directory is locked, all this is done a second time.
  s.listings.delete(index);
  if (!isLive(s.t, index)) return 0;
  const r = applyAttributes(s, index, at, Mask.times);
  if (r < 0) return r;
  return storeInodeFlags(s.v, s.t, index, u32(s, at, F.inodeFlags));
}

/** Removes a name that is given with one character a byte. */
function removeNamed(s: Sink, dir: number, name: string): number {
  const to = s.v.scratch.text;
  for (let i = 0; i < name.length; i++) to.bytes[i] = name.charCodeAt(i);
  to.bytes[name.length] = 0;
  return removeTree(s.v, dir, to.address);
}

/**
 * Gives a file the size that it has at the source when its comparison begins: what lies beyond would come
 * to light again where the file grows meanwhile.
 */
function fitSize(s: Sink, index: number, size: number): number {
  if (size < 0) return 0;
  const stat = statInode(s.v, s.t, index);
  if (stat < 0) return stat;
  if (statSize(s.v) === size) return 0;
  const fd = openInode(s.t, s.v.libc, index, true);
  if (fd < 0) return fd;
  return s.v.libc.sys.ftruncate(fd, size) < 0 ? -s.v.libc.errno() : 0;
}

/** Compares the zones that the source offers and asks for those that differ. */
function applyOffer(s: Sink, index: number, at: number): number {
  const offset = f64(s, at, F.offset);
  const count = u32(s, at, F.count);
  if (count > zonesPerOffer) return -Errno.EPROTO;
  let low = 0;
  let high = 0;
  if (isLive(s.t, index)) {
    const sized = fitSize(s, index, f64(s, at, F.whole));
    if (sized < 0) return sized;
    const fd = openInode(s.t, s.v.libc, index, false);
    if (fd < 0) return fd;
    const stat = statFd(s.v, fd);
    if (stat < 0) return stat;
    const length = Math.max(0, Math.min(count * zoneSize, statSize(s.v) - offset));
    if (length > 0) {
      mapHoles(s.v, s.zones, fd, offset, length);
      const read = readZones(s.v, s.zones, fd, offset, length);
      if (read < 0) return read;
      const reserved = reservedStretches(s.v, fd, offset, offset + length);
      mapReserved(s.zones, reserved, s.zones.data.bytes, offset, read);
    }
    for (let i = 0; i < count; i++) {
      const theirs = s.in.view.getBigUint64(at + headerSize + i * 8, true);
      const ours = hashZone(s.zones, i, length - i * zoneSize, s.hashSeed);
      if (ours === theirs) continue;
      if (i < 32) low |= 1 << i;
      else high |= 1 << (i - 32);
    }
  }
  const said = answer(s, Op.want, index, 0);
  s.out.view.setFloat64(said + F.offset, offset, true);
  s.outWords[(said + F.count) >>> 2] = count;
  s.outWords[(said + F.wantLow) >>> 2] = low >>> 0;
  s.outWords[(said + F.wantHigh) >>> 2] = high >>> 0;
  endAnswer(s, said);
  return 0;
}

/** Notes the space to be reserved: the file must have its size first. */
function applyReserved(s: Sink, index: number, at: number): number {
  const count = u32(s, at, F.count);
  if (headerSize + count * 16 > u32(s, at, F.length)) return -Errno.EPROTO;
  const stretches: number[] = [];
  for (let i = 0; i < count * 2; i++) {
    stretches.push(s.in.view.getFloat64(at + headerSize + i * 8, true));
  }
  s.reserved = { index, stretches };
  return 0;
}

/** Size, times and inode flags as they are at the source: the file is equal now. */
function applyFileEnd(s: Sink, index: number, at: number): number {
  if (!isLive(s.t, index)) return 0;
  if (s.t.flags[index] & Flag.regular) {
    const fd = openInode(s.t, s.v.libc, index, true);
    if (fd < 0) return fd;
    const stat = statFd(s.v, fd);
    if (stat < 0) return stat;
    const size = f64(s, at, F.size);
    const occupied = statBlocks(s.v) * 512;
    if (statSize(s.v) !== size && s.v.libc.sys.ftruncate(fd, size) < 0) return -s.v.libc.errno();
    const { reserved } = s;
    const told = reserved.index === index;
    if (told) s.reserved = { index: 0, stretches: [] };
    if (told || occupied > u32(s, at, F.occupied) * 4096 + layoutSlack) {
      const r = reserveStretches(s.v, fd, told ? reserved.stretches : []);
      if (r < 0) return r;
    }
    s.changed(index, 0, 0);
  }
  const r = applyAttributes(s, index, at, Mask.times);
  if (r < 0) return r;
  return storeInodeFlags(s.v, s.t, index, u32(s, at, F.inodeFlags));
}
