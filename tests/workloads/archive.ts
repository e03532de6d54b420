/** Writes tar archives of made-up trees, for workloads that unpack many small files. */

export interface MadeTree {
  files: number;
  /** files in each directory */
  perDirectory: number;
  seed: number;
}

const block = 512;

/**
 * An archive (POSIX ustar) of `files` small files of 0 to 3 KiB, with different modes, owners and times, and
 * after every hundredth a symbolic and a hard link. What is in it follows from the seed.
 */
export function makeArchive(tree: MadeTree): Uint8Array<ArrayBuffer> {
  const random = generator(tree.seed);
  const parts: Uint8Array[] = [];
  const now = 1_700_000_000;
  for (let i = 0; i < tree.files; i++) {
    const directory = `d${Math.floor(i / tree.perDirectory)}`;
    if (i % tree.perDirectory === 0) {
      parts.push(header({ name: `${directory}/`, type: "5", mode: 0o755, time: now }));
    }
    const name = `${directory}/file-${i}`;
    const size = random(3072);
    const owner = random(4) === 0 ? 20_000 + random(5) : 0;
    const mode = [0o644, 0o600, 0o755, 0o440][random(4)];
    parts.push(header({ name, type: "0", mode, size, owner, time: now - random(10_000_000) }));
    parts.push(content(size, random));
    if (i % 100 === 99) {
      parts.push(header({ name: `${name}-symbolic`, type: "2", target: `file-${i}`, time: now }));
      parts.push(header({ name: `${name}-hard`, type: "1", target: name, time: now }));
    }
  }
  parts.push(new Uint8Array(2 * block));
  const archive = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

interface Entry {
  name: string;
  /** 0 file, 1 hard link, 2 symbolic link, 5 directory */
  type: "0" | "1" | "2" | "5";
  mode?: number;
  size?: number;
  owner?: number;
  target?: string;
  time: number;
}

function header(entry: Entry): Uint8Array {
  const bytes = new Uint8Array(block);
  const text = (at: number, value: string) => bytes.set(new TextEncoder().encode(value), at);
  const octal = (at: number, length: number, value: number) =>
    text(at, value.toString(8).padStart(length - 1, "0"));
  text(0, entry.name);
  octal(100, 8, entry.mode ?? 0o777);
  octal(108, 8, entry.owner ?? 0);
  octal(116, 8, entry.owner ?? 0);
  octal(124, 12, entry.size ?? 0);
  octal(136, 12, entry.time);
  text(148, "        ");
  text(156, entry.type);
  text(157, entry.target ?? "");
  text(257, "ustar");
  text(263, "00");
  octal(148, 7, bytes.reduce((sum, byte) => sum + byte, 0));
  return bytes;
}

/** Content up to whole blocks. */
function content(size: number, random: (below: number) => number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(size / block) * block);
  const letter = 32 + random(90);
  for (let i = 0; i < size; i++) bytes[i] = i % 64 === 63 ? 10 : letter + i % 5;
  return bytes;
}

/** Whole numbers below a bound, from a seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
