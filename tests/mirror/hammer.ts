/**
 * A process that acts on directories until it is told to stop: `hammer.ts OPTIONS`, see {@link HammerOptions}.
 * Errors that random actions meet are part of the game; those that no healthy file system gives are
 * written to standard output, and end it with 1.
 */
import { createActor } from "./act.ts";

export interface HammerOptions {
  seed: number;
  roots: string[];
  /** it ends when this file exists */
  stop: string;
  names?: string[];
  noFlags?: boolean;
  /** also ends after so many actions */
  actions?: number;
  /** errno values that are not to be complained of */
  tolerated?: number[];
}

/** errno values that point at the mirror: ENXIO aside, what a descriptor or a mount in order never gives. */
const suspicious = new Map([
  [5, "EIO"],
  [9, "EBADF"],
  [12, "ENOMEM"],
  [24, "EMFILE"],
  [30, "EROFS"],
  [38, "ENOSYS"],
  [71, "EPROTO"],
  [107, "ENOTCONN"],
  [116, "ESTALE"],
]);

function hammer(options: HammerOptions): number {
  const actor = createActor(options);
  const found = new Map<string, number>();
  const limit = options.actions ?? Infinity;
  let done = 0;
  for (; done < limit; done++) {
    if (done % 16 === 0 && exists(options.stop)) break;
    const { name, result } = actor.act();
    const what = result < 0 ? suspicious.get(-result) : undefined;
    if (what === undefined || options.tolerated?.includes(-result)) continue;
    // A copy to a descriptor that appends is EBADF (copy_file_range(2)).
    if (name === "copy" && what === "EBADF") continue;
    found.set(`${name}: ${what}`, (found.get(`${name}: ${what}`) ?? 0) + 1);
  }
  actor.close();
  console.log(JSON.stringify({ done, found: [...found] }));
  return found.size > 0 ? 1 : 0;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

if (import.meta.main) Deno.exit(hammer(JSON.parse(Deno.args[0])));
