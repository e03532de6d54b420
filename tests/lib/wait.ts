/** Waiting for conditions: a deadline, never a fixed sleep. */

export interface WaitOptions {
  /** milliseconds until the wait fails; default 10,000 */
  timeout?: number;
  /** milliseconds between two looks; default 20 */
  interval?: number;
}

/** Pauses between two looks at a condition. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Looks until `condition` returns something other than `undefined`, `null` or `false`, and returns
 * that. A condition that throws counts as "not yet". Fails after the deadline with what it waited for
 * and the last error.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  { timeout = 10_000, interval = 20 }: WaitOptions = {},
): Promise<T> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  while (true) {
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) {
      throw new Error(`Waited ${timeout} ms in vain: ${what}`, { cause: last });
    }
    await pause(interval);
  }
}
