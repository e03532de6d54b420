/** Seeded randomness and mutations of byte strings, so that a failing run can be repeated. */

export interface Generator {
  /** 0 <= n < limit */
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<T>(values: readonly T[]): T;
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** One to four random changes: bits, bytes, cuts, doublings, lengths, insertions. */
  mutate(bytes: Uint8Array): Uint8Array<ArrayBuffer>;
}

/** mulberry32 */
export function createGenerator(seed: number): Generator {
  let state = seed | 0;
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  const below = (limit: number) => Math.floor(next() * limit);
  const bytes = (length: number) => Uint8Array.from({ length }, () => below(256));

  function change(input: Uint8Array): Uint8Array<ArrayBuffer> {
    const out = Uint8Array.from(input);
    if (out.length === 0) return bytes(below(64));
    const at = below(out.length);
    switch (below(7)) {
      case 0:
        out[at] ^= 1 << below(8);
        return out;
      case 1:
        out[at] = [0, 1, 0x7f, 0x80, 0xff, below(256)][below(6)];
        return out;
      case 2:
        return out.slice(0, at);
      case 3:
        return Uint8Array.from([...out.subarray(0, at), ...out.subarray(below(at + 1))]);
      case 4: {
        // Where a length may stand.
        const width = [1, 2, 3, 4][below(4)];
        for (let i = at; i < Math.min(at + width, out.length); i++) {
          out[i] = below(2) * 255;
        }
        return out;
      }
      case 5:
        return Uint8Array.from([
          ...out.subarray(0, at),
          ...bytes(below(40)),
          ...out.subarray(at),
        ]);
      default:
        out.fill(below(256), at, at + below(64));
        return out;
    }
  }

  return {
    below,
    chance: (probability) => next() < probability,
    pick: (values) => values[below(values.length)],
    bytes,
    mutate(input) {
      let out = change(input);
      for (let more = below(4); more > 0; more--) out = change(out);
      return out;
    },
  };
}
