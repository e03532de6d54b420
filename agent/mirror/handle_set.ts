/**
 * A set of file handles in about 16 bytes each: which inodes a resync has compared and the table has forgotten
 * since. A handle counts by a hash of 64 bits; with ten million of them the odds of one mistaken answer to
 * ten million questions are one in two hundred thousand.
 */

export interface HandleSet {
  size: number;
  low: Uint32Array;
  high: Uint32Array;
}

/** Makes an empty set. */
export function createHandleSet(): HandleSet {
  return { size: 0, low: new Uint32Array(256), high: new Uint32Array(256) };
}

/** Empties the set and gives its memory back. */
export function clearHandles(set: HandleSet): void {
  Object.assign(set, createHandleSet());
}

/** The two halves of the hash of the last handle that was asked for. */
const key = new Uint32Array(2);

/** The handle is eight words from `at` on, on a device: see `findInode`. */
function load(words: Uint32Array, at: number, device: number): void {
  let a = Math.imul(device + 1, 0x9e3779b1);
  let b = Math.imul(device + 1, 0x85ebca6b);
  for (let i = 0; i < 8; i++) {
    const word = words[at + i];
    a = Math.imul(a ^ word, 0xcc9e2d51);
    a ^= a >>> 15;
    b = Math.imul((b << 13 | b >>> 19) + word, 0x1b873593);
    b ^= b >>> 16;
  }
  a = Math.imul(a ^ (a >>> 16), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 13), 0x27d4eb2f);
  // The key 0 marks an empty place.
  key[0] = (a ^ (a >>> 13)) | (b === 0 ? 1 : 0);
  key[1] = b ^ (b >>> 16);
  if (key[0] === 0 && key[1] === 0) key[0] = 1;
}

/** The place of the loaded key, or of the empty one where it would go. */
function find(set: HandleSet): number {
  const { low, high } = set;
  const mask = low.length - 1;
  let at = key[0] & mask;
  while ((low[at] !== 0 || high[at] !== 0) && (low[at] !== key[0] || high[at] !== key[1])) {
    at = (at + 1) & mask;
  }
  return at;
}

/** Adds a handle. */
export function addHandle(
  set: HandleSet,
  words: Uint32Array,
  at: number,
  device: number,
): void {
  if (set.size * 3 > set.low.length * 2) grow(set);
  load(words, at, device);
  const place = find(set);
  if (set.low[place] !== 0 || set.high[place] !== 0) return;
  set.low[place] = key[0];
  set.high[place] = key[1];
  set.size++;
}

/** Takes a handle out of the set: true where it was in it. */
export function takeHandle(
  set: HandleSet,
  words: Uint32Array,
  at: number,
  device: number,
): boolean {
  if (set.size === 0) return false;
  load(words, at, device);
  const { low, high } = set;
  const mask = low.length - 1;
  let hole = find(set);
  if (low[hole] === 0 && high[hole] === 0) return false;
  set.size--;
  // Backward shift keeps probe chains whole without tombstones.
  for (
    let next = (hole + 1) & mask;
    low[next] !== 0 || high[next] !== 0;
    next = (next + 1) & mask
  ) {
    const home = low[next] & mask;
    const stays = hole <= next ? home > hole && home <= next : home > hole || home <= next;
    if (stays) continue;
    low[hole] = low[next];
    high[hole] = high[next];
    hole = next;
  }
  low[hole] = high[hole] = 0;
  return true;
}

function grow(set: HandleSet): void {
  const { low, high } = set;
  set.low = new Uint32Array(low.length * 2);
  set.high = new Uint32Array(low.length * 2);
  for (let i = 0; i < low.length; i++) {
    if (low[i] === 0 && high[i] === 0) continue;
    key[0] = low[i];
    key[1] = high[i];
    const place = find(set);
    set.low[place] = low[i];
    set.high[place] = high[i];
  }
}
