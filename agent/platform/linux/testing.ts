/** For the tests beside this file only: tests that need more than any machine gives. */

import { type Capability, hasCapability } from "./process.ts";

export interface Needs {
  /** paths that must exist, e.g. `/dev/fuse` */
  paths?: readonly string[];
  /** programs on PATH */
  programs?: readonly string[];
  /** what root may lack in a container */
  capabilities?: readonly Capability[];
  /** the event loop may be left with an operation that nobody can end, e.g. on a dead mount */
  loose?: boolean;
}

/** Registers a test that needs root; where something is missing it is ignored and its name says why. */
export function rootTest(name: string, needs: Needs, fn: () => Promise<void> | void): void {
  const missing: string[] = [];
  if (Deno.uid() !== 0) missing.push("root");
  missing.push(...(needs.capabilities ?? []).filter((name) => !hasCapability(name)));
  for (const path of needs.paths ?? []) if (!exists(path)) missing.push(path);
  for (const program of needs.programs ?? []) {
    const places = (Deno.env.get("PATH") ?? "").split(":");
    if (!places.some((place) => exists(`${place}/${program}`))) missing.push(program);
  }
  Deno.test({
    name: missing.length === 0 ? name : `${name} (ignored: needs ${missing.join(", ")})`,
    ignore: missing.length > 0,
    fn,
    sanitizeOps: !needs.loose,
    sanitizeResources: !needs.loose,
  });
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Waits until `condition` gives something; fails with `what` after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`Not within ${timeoutMs} ms: ${what}`);
    await new Promise((next) => setTimeout(next, 5));
  }
}
