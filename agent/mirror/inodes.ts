/**
 * The inodes of a module that somebody refers to: the kernel (by FUSE lookups), the peer (by frames),
 * or a resync in progress.
 *
 * An inode is identified by its file handle, which holds the generation: a number that the file system
 * used again is another inode. Everything is kept in parallel typed arrays, about 120 bytes an inode,
 * because a tree of a million files may be known at once. An inode's index is its id towards the
 * kernel and on the wire; index 0 is never used, 1…n are the roots of the module's n directories.
 */
import { allocate, type Libc, type Memory } from "../platform/linux/libc.ts";
import { O } from "../platform/linux/constants.ts";

/** Bytes of a `struct file_handle` (linux/fcntl.h): two words, then up to 24 bytes of handle. */
export const handleStride = 32;

/** More than any one operation works with at the same time; a power of two. */
const recentInodes = 16;

export const Flag = {
  directory: 1,
  /** not on the peer: an excluded name, or a file without a name (O_TMPFILE) */
  unmirrored: 2,
  /** the last name is gone; the inode lives by its descriptors only */
  orphan: 4,
  /** keep although nobody refers to it: a mirrored file with several names, among exclusions */
  pinned: 8,
  /** the peer's times for it are not ours yet */
  timesDirty: 16,
  /** opened with page cache in this role period, so the kernel may hold pages */
  cached: 32,
  regular: 64,
  symlink: 128,
  /** its recorded name is gone although others remain (hard links) */
  nameless: 256,
  /** content was shifted within the file (fallocate's collapse and insert) while it was being compared */
  shifted: 1024,
  /** the descriptor for writing only appends: the inode is append-only */
  appends: 512,
} as const;

/** How far a resync has come with an inode. */
export const Content = { unsynced: 0, syncing: 1, synced: 2 } as const;

export interface Inodes {
  /** highest index in use plus one */
  top: number;
  live: number;
  capacity: number;
  handles: Memory;
  handleWords: Uint32Array;
  lookups: Float64Array;
  opens: Uint32Array;
  /** calls under way beside the loop that use a descriptor of it */
  pins: Uint16Array;
  /** how many inodes have their recorded name in this directory: it stays as long as they do */
  children: Uint32Array;
  parent: Uint32Array;
  nameAt: Uint32Array;
  nameLength: Uint16Array;
  flags: Uint16Array;
  root: Uint8Array;
  device: Uint8Array;
  readFd: Int32Array;
  writeFd: Int32Array;
  used: Uint8Array;
  /** the link session in which the peer was told of it */
  bound: Uint32Array;
  content: Uint8Array;
  /** counts changes of content, for reads that go on beside the loop */
  version: Uint32Array;
  /** role period of the last open with page cache */
  period: Uint32Array;
  table: Int32Array;
  free: number[];
  names: Uint8Array;
  namesEnd: number;
  namesDead: number;
  /** open descriptors, and how many may stay open */
  descriptors: number;
  descriptorLimit: number;
  /** a sweep for descriptors to close is worth while from here on */
  evictAt: number;
  hand: number;
  /** the inodes whose descriptors were used last: a ring */
  recent: Int32Array;
  recentAt: number;
  /** one path descriptor a device, for open_by_handle_at */
  deviceFds: number[];
  deviceIds: number[];
  roots: number;
  /** paths that directories are about to have: what is excluded below them is decided by these */
  aliases: Map<number, string>;
}

/** Makes an empty table. `descriptorLimit` bounds the descriptors that stay open. */
export function createInodes(descriptorLimit: number): Inodes {
  const inodes = {
    top: 1,
    live: 0,
    capacity: 0,
    free: [],
    names: new Uint8Array(1 << 16),
    namesEnd: 0,
    namesDead: 0,
    descriptors: 0,
    descriptorLimit,
    evictAt: descriptorLimit,
    hand: 1,
    recent: new Int32Array(recentInodes),
    recentAt: 0,
    deviceFds: [],
    deviceIds: [],
    roots: 0,
    aliases: new Map(),
  } as unknown as Inodes;
  resize(inodes, 1024);
  return inodes;
}

function resize(t: Inodes, capacity: number): void {
  const handles = allocate(capacity * handleStride);
  if (t.handles) handles.bytes.set(t.handles.bytes);
  t.handles = handles;
  t.handleWords = new Uint32Array(handles.bytes.buffer);
  const grow = <A extends Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array>(
    old: A | undefined,
    made: A,
  ): A => {
    if (old) made.set(old as never);
    return made;
  };
  t.lookups = grow(t.lookups, new Float64Array(capacity));
  t.opens = grow(t.opens, new Uint32Array(capacity));
  t.pins = grow(t.pins, new Uint16Array(capacity));
  t.children = grow(t.children, new Uint32Array(capacity));
  t.parent = grow(t.parent, new Uint32Array(capacity));
  t.nameAt = grow(t.nameAt, new Uint32Array(capacity));
  t.nameLength = grow(t.nameLength, new Uint16Array(capacity));
  t.flags = grow(t.flags, new Uint16Array(capacity));
  t.root = grow(t.root, new Uint8Array(capacity));
  t.device = grow(t.device, new Uint8Array(capacity));
  // The peer's numbering is sparse: an index that was never used has no descriptors either.
  t.readFd = grow(t.readFd, new Int32Array(capacity).fill(-1));
  t.writeFd = grow(t.writeFd, new Int32Array(capacity).fill(-1));
  t.used = grow(t.used, new Uint8Array(capacity));
  t.bound = grow(t.bound, new Uint32Array(capacity));
  t.content = grow(t.content, new Uint8Array(capacity));
  t.version = grow(t.version, new Uint32Array(capacity));
  t.period = grow(t.period, new Uint32Array(capacity));
  t.capacity = capacity;
  t.table = new Int32Array(capacity * 2);
  for (let i = 1; i < t.top; i++) if (t.handleWords[i * 8] !== 0) insertHash(t, i);
}

function hashOf(words: Uint32Array, at: number, device: number): number {
  let h = device * 0x9e3779b1;
  for (let i = 0; i < 8; i++) h = Math.imul(h ^ words[at + i], 0x85ebca6b) ^ (h >>> 13);
  return (h ^ (h >>> 16)) >>> 0;
}

function insertHash(t: Inodes, index: number): void {
  const mask = t.table.length - 1;
  let slot = hashOf(t.handleWords, index * 8, t.device[index]) & mask;
  while (t.table[slot] !== 0) slot = (slot + 1) & mask;
  t.table[slot] = index;
}

function removeHash(t: Inodes, index: number): void {
  const mask = t.table.length - 1;
  let slot = hashOf(t.handleWords, index * 8, t.device[index]) & mask;
  while (t.table[slot] !== index) {
    if (t.table[slot] === 0) return;
    slot = (slot + 1) & mask;
  }
  // Backward shift keeps probe chains whole without tombstones.
  for (;;) {
    t.table[slot] = 0;
    let next = slot;
    for (;;) {
      next = (next + 1) & mask;
      const other = t.table[next];
      if (other === 0) return;
      const home = hashOf(t.handleWords, other * 8, t.device[other]) & mask;
      const between = slot <= next ? home > slot && home <= next : home > slot || home <= next;
      if (!between) {
        t.table[slot] = other;
        slot = next;
        break;
      }
    }
  }
}

/**
 * The inode whose handle stands in `words` from `at` on (a zero-filled `struct file_handle` of
 * {@link handleStride} bytes), or 0.
 */
export function findInode(t: Inodes, words: Uint32Array, at: number, device: number): number {
  const mask = t.table.length - 1;
  let slot = hashOf(words, at, device) & mask;
  for (;;) {
    const index = t.table[slot];
    if (index === 0) return 0;
    if (t.device[index] === device) {
      const base = index * 8;
      let i = 0;
      while (i < 8 && t.handleWords[base + i] === words[at + i]) i++;
      if (i === 8) return index;
    }
    slot = (slot + 1) & mask;
  }
}

/** Adds an inode with this handle. `wanted` asks for a certain index: the peer's numbering. */
export function addInode(
  t: Inodes,
  words: Uint32Array,
  at: number,
  device: number,
  root: number,
  flags: number,
  wanted = 0,
): number {
  let index = wanted;
  if (index === 0) index = t.free.pop() ?? t.top;
  while (index >= t.capacity) resize(t, t.capacity * 2);
  if (index >= t.top) t.top = index + 1;
  const base = index * 8;
  for (let i = 0; i < 8; i++) t.handleWords[base + i] = words[at + i];
  t.device[index] = device;
  t.root[index] = root;
  t.flags[index] = flags;
  t.lookups[index] = 0;
  t.opens[index] = 0;
  t.children[index] = 0;
  t.pins[index] = 0;
  t.parent[index] = 0;
  t.nameLength[index] = 0;
  t.readFd[index] = -1;
  t.writeFd[index] = -1;
  t.bound[index] = 0;
  t.content[index] = Content.unsynced;
  t.period[index] = 0;
  t.version[index]++;
  t.live++;
  insertHash(t, index);
  return index;
}

/** True where the index names an inode. */
export function isLive(t: Inodes, index: number): boolean {
  return index > 0 && index < t.top && t.handleWords[index * 8] !== 0;
}

/** True where nobody refers to the inode any more. */
export function isUnused(t: Inodes, index: number): boolean {
  return index > t.roots && t.lookups[index] <= 0 && t.opens[index] === 0 &&
    t.children[index] === 0 && t.pins[index] === 0 && !(t.flags[index] & Flag.pinned) &&
    t.handleWords[index * 8] !== 0;
}

/** Forgets an inode. `reuse` gives its index to the next one (not where the peer numbers them). */
export function dropInode(t: Inodes, libc: Libc, index: number, reuse: boolean): void {
  closeDescriptors(t, libc, index);
  removeHash(t, index);
  t.handleWords.fill(0, index * 8, index * 8 + 8);
  loseName(t, index);
  t.flags[index] = 0;
  t.live--;
  if (reuse) t.free.push(index);
}

/** The recorded name is no name of the inode any longer. */
export function loseName(t: Inodes, index: number): void {
  if (t.nameLength[index] === 0) return;
  t.children[t.parent[index]]--;
  t.namesDead += t.nameLength[index];
  t.nameLength[index] = 0;
  t.flags[index] |= Flag.nameless;
}

/** Records the name by which the inode is reached. The bytes are copied. */
export function setName(
  t: Inodes,
  index: number,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  // Without a name (O_TMPFILE) it is no child of anybody.
  if (t.nameLength[index] > 0) t.children[t.parent[index]]--;
  if (length > 0) t.children[parent]++;
  t.parent[index] = parent;
  t.flags[index] &= ~Flag.nameless;
  const old = t.nameLength[index];
  if (old === length) {
    const where = t.nameAt[index];
    let same = true;
    for (let i = 0; i < length && same; i++) same = t.names[where + i] === bytes[at + i];
    if (same) return;
  }
  t.namesDead += old;
  t.nameLength[index] = 0;
  if (t.namesEnd + length > t.names.length) compactNames(t, length);
  for (let i = 0; i < length; i++) t.names[t.namesEnd + i] = bytes[at + i];
  t.nameAt[index] = t.namesEnd;
  t.nameLength[index] = length;
  t.namesEnd += length;
}

function compactNames(t: Inodes, room: number): void {
  const needed = t.namesEnd - t.namesDead + room;
  const size = needed * 2 > t.names.length
    ? Math.max(t.names.length * 2, needed * 2)
    : t.names.length;
  const made = new Uint8Array(size);
  let end = 0;
  for (let i = 1; i < t.top; i++) {
    const length = t.nameLength[i];
    if (length === 0) continue;
    made.set(t.names.subarray(t.nameAt[i], t.nameAt[i] + length), end);
    t.nameAt[i] = end;
    end += length;
  }
  t.names = made;
  t.namesEnd = end;
  t.namesDead = 0;
}

/** True where the inode's recorded name is this one. */
export function hasName(
  t: Inodes,
  index: number,
  parent: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): boolean {
  if (t.parent[index] !== parent || t.nameLength[index] !== length) return false;
  const where = t.nameAt[index];
  for (let i = 0; i < length; i++) if (t.names[where + i] !== bytes[at + i]) return false;
  return true;
}

const utf8 = new TextDecoder();

/** The inode's name as text; what is not UTF-8 becomes U+FFFD. */
export function nameOf(t: Inodes, index: number): string {
  return utf8.decode(t.names.subarray(t.nameAt[index], t.nameAt[index] + t.nameLength[index]));
}

/** The path below the module's directory, for people and for exclusion patterns; "" is the root. */
export function pathOf(t: Inodes, index: number): string {
  const parts: string[] = [];
  for (let i = index, depth = 0; i > t.roots && depth < 4096; i = t.parent[i], depth++) {
    const alias = t.aliases.size > 0 ? t.aliases.get(i) : undefined;
    if (alias !== undefined) {
      parts.push(alias);
      break;
    }
    if (t.flags[i] & Flag.nameless || t.nameLength[i] === 0) {
      parts.push("?");
      break;
    }
    parts.push(nameOf(t, i));
  }
  return parts.reverse().join("/");
}

/** Closes what the inode holds open. */
export function closeDescriptors(t: Inodes, libc: Libc, index: number): void {
  if (t.readFd[index] >= 0) {
    libc.sys.close(t.readFd[index]);
    t.readFd[index] = -1;
    t.descriptors--;
  }
  if (t.writeFd[index] >= 0) {
    libc.sys.close(t.writeFd[index]);
    t.writeFd[index] = -1;
    t.flags[index] &= ~Flag.appends;
    t.descriptors--;
  }
}

/**
 * Second-chance sweep: closes descriptors that were not used since the last one. Never those of orphans,
 * which nothing else leads to, and of inodes used a moment ago: one operation works with several.
 */
function evict(t: Inodes, libc: Libc, keep: number): void {
  let budget = 2 * t.top;
  while (t.descriptors >= t.descriptorLimit && budget-- > 0) {
    t.hand = t.hand + 1 >= t.top ? 1 : t.hand + 1;
    const i = t.hand;
    if (i <= t.roots || i === keep || t.pins[i] > 0 || (t.readFd[i] < 0 && t.writeFd[i] < 0)) {
      continue;
    }
    if (t.used[i]) t.used[i] = 0;
    else if (!(t.flags[i] & Flag.orphan) && !t.recent.includes(i)) closeDescriptors(t, libc, i);
  }
  // Where nothing can be closed, looking again at every call would only cost time.
  t.evictAt = t.descriptors < t.descriptorLimit ? t.descriptorLimit : t.descriptors + 64;
}

/** Notes that an operation uses the inode's descriptor. */
function touch(t: Inodes, index: number): void {
  t.used[index] = 1;
  if (t.recent[t.recentAt] === index) return;
  t.recentAt = (t.recentAt + 1) & (recentInodes - 1);
  t.recent[t.recentAt] = index;
}

/**
 * A descriptor for the inode: a directory's own, or a file's for reading or for both. It is opened by
 * handle where none is open, and may be closed by later calls of this function for other inodes, though
 * not by the next {@link recentInodes} - 1.
 * Returns -errno on failure (ESTALE: the inode is gone).
 */
export function openInode(t: Inodes, libc: Libc, index: number, write: boolean): number {
  touch(t, index);
  if (t.writeFd[index] >= 0) return t.writeFd[index];
  if (!write && t.readFd[index] >= 0) return t.readFd[index];
  if (t.descriptors >= t.evictAt) evict(t, libc, index);
  const flags = t.flags[index] & Flag.directory
    ? O.RDONLY | O.DIRECTORY | O.NOATIME | O.CLOEXEC
    : (write ? O.RDWR : O.RDONLY) | O.NOATIME | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC;
  const fd = libc.sys.open_by_handle_at(
    t.deviceFds[t.device[index]],
    t.handles.address + index * handleStride,
    flags,
  );
  if (fd < 0) return -libc.errno();
  t.descriptors++;
  if (write && !(t.flags[index] & Flag.directory)) {
    t.writeFd[index] = fd;
    if (t.readFd[index] >= 0) {
      libc.sys.close(t.readFd[index]);
      t.readFd[index] = -1;
      t.descriptors--;
    }
  } else t.readFd[index] = fd;
  return fd;
}

/** A path descriptor (O_PATH) for any kind of inode; the caller closes it. Returns -errno on failure. */
export function openPath(t: Inodes, libc: Libc, index: number): number {
  const fd = libc.sys.open_by_handle_at(
    t.deviceFds[t.device[index]],
    t.handles.address + index * handleStride,
    O.PATH | O.NOFOLLOW | O.CLOEXEC,
  );
  return fd < 0 ? -libc.errno() : fd;
}

/**
 * A descriptor that leads to any kind of inode: the open one, else a path descriptor. `release` is to be
 * called with both results. Returns -errno on failure.
 */
export function reachInode(t: Inodes, libc: Libc, index: number): number {
  if (t.writeFd[index] >= 0) return t.writeFd[index];
  if (t.readFd[index] >= 0) return t.readFd[index];
  return openPath(t, libc, index);
}

/** Closes what {@link reachInode} opened for this purpose alone. */
export function letGo(t: Inodes, libc: Libc, index: number, fd: number): void {
  if (fd >= 0 && fd !== t.writeFd[index] && fd !== t.readFd[index]) libc.sys.close(fd);
}

/** Keeps an inode reachable whose last name is about to go: from then on its handle leads nowhere. */
export function pinOpen(t: Inodes, libc: Libc, index: number): void {
  if (t.flags[index] & (Flag.regular | Flag.directory)) {
    openInode(t, libc, index, (t.flags[index] & Flag.regular) !== 0);
  } else if (t.readFd[index] < 0) {
    const fd = openPath(t, libc, index);
    if (fd < 0) return;
    t.readFd[index] = fd;
    t.descriptors++;
  }
}

/** Keeps an open descriptor for the inode (a freshly created file's). */
export function adoptDescriptor(t: Inodes, libc: Libc, index: number, fd: number): void {
  if (t.descriptors >= t.evictAt) evict(t, libc, index);
  touch(t, index);
  if (t.writeFd[index] >= 0) {
    libc.sys.close(fd);
    return;
  }
  t.writeFd[index] = fd;
  t.descriptors++;
}
