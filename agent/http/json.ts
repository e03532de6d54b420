/** JSON for the world outside: a number that is not known is `null`, never an absent key. */

import type { Context } from "hono";

/** What every refused or failed request gets. */
export interface ErrorBody {
  /** one word for programs */
  error: ErrorWord;
  /** a sentence for people */
  reason: string;
}

export type ErrorWord =
  | "bad-request"
  | "unauthorized"
  | "forbidden"
  | "unknown"
  | "method-not-allowed"
  | "refused"
  | "too-large"
  | "failed"
  | "not-ready";

type ErrorStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 500 | 503;

/** Like `JSON.stringify`, with `null` for what is undefined. */
export function stringify(value: unknown): string {
  return JSON.stringify(value, (_key, part) => part === undefined ? null : part);
}

/** An answer in JSON. */
export function json(
  c: Context,
  value: unknown,
  status: 200 | ErrorStatus = 200,
  headers: Record<string, string> = {},
): Response {
  return c.body(`${stringify(value)}\n`, status, {
    "Content-Type": "application/json; charset=utf-8",
    ...headers,
  });
}

/** An error in JSON. */
export function refuse(
  c: Context,
  status: ErrorStatus,
  error: ErrorWord,
  reason: string,
  headers: Record<string, string> = {},
): Response {
  return json(c, { error, reason } satisfies ErrorBody, status, headers);
}
