/** The known word that somebody probably meant. */

/**
 * Edit distance between two words: insertions, deletions, replacements and swaps of neighbours
 * (optimal string alignment).
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j], before[j - 2] + 1);
      }
    }
    before = previous;
    previous = row;
  }
  return previous[b.length];
}

/** Longer words than this are nobody's typing mistake, and cost time to compare. */
const MAX_WORD = 64;

/**
 * The candidate nearest to `word` without regard to case, or undefined where none is near: more
 * than two letters in five would have to change, and neither begins with the other.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_WORD || word === "") return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const known = candidate.toLowerCase();
    let distance = editDistance(wanted, known);
    const short = Math.min(wanted.length, known.length);
    const extends_ = short >= 3 && (wanted.startsWith(known) || known.startsWith(wanted));
    if (distance > Math.floor(Math.max(wanted.length, known.length) / 2.5)) {
      if (!extends_) continue;
      distance = Math.max(distance, short);
    }
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}
