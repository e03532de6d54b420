/** Findings: what is wrong in a file, said so that an operator can put it right. */
import { createColors } from "picocolors";
import type { Finding } from "./types.ts";

/** Where a value stands in a document: keys and array indexes. */
export type Path = readonly (string | number)[];

/** What is wrong with the value at a path, before file and line are known. */
export interface Mistake {
  path: Path;
  /** completes "expected ..." */
  expected: string;
  /** completes "found ..."; by default the value at the path is described */
  found?: string;
  /** what to do about it, without a final period */
  hint?: string | undefined;
  severity?: "error" | "warning";
}

/** `nodes[1].addresses`; a key that is no bare TOML key is quoted. */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += (text === "" ? "" : ".") + (/^[\w-]+$/.test(step) ? step : JSON.stringify(step));
  }
  return text;
}

/** Puts the parts together; the message is made of them. */
export function finding(parts: Omit<Finding, "message"> & { hint?: string | undefined }): Finding {
  const { severity, file, line, key, expected, found, hint } = parts;
  const message = `${key === "" ? "" : `${key}: `}expected ${expected}, found ${found}` +
    (hint === undefined ? "" : `; ${hint}`);
  return { severity, file, line, key, expected, found, message };
}

/** Longest piece of a value that is repeated to the operator, in characters. */
const MAX_SHOWN = 80;

/** A value as the operator wrote it, shortened, or the name of its kind. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string") {
    const characters = [...value];
    return characters.length <= MAX_SHOWN
      ? JSON.stringify(value)
      : `${
        JSON.stringify(characters.slice(0, MAX_SHOWN).join(""))
      }… (${characters.length} characters)`;
  }
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") {
    return String(value);
  }
  if (value instanceof Date) return "a date";
  if (Array.isArray(value)) {
    if (value.length === 0) return "an empty array";
    const tables = value.every((v) => typeof v === "object" && v !== null && !Array.isArray(v));
    return tables
      ? `an array of ${value.length} table${value.length === 1 ? "" : "s"}`
      : "an array";
  }
  return "a table";
}

/** Joins words as prose: `"a", "b" or "c"`. */
export function oneOfWords(words: readonly string[], last = "or"): string {
  const quoted = words.map((w) => JSON.stringify(w));
  if (quoted.length < 2) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} ${last} ${quoted[quoted.length - 1]}`;
}

/** By file, then line, then as they were found: the order in which an operator works through them. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  return findings.map((f, i) => ({ f, i })).sort((a, b) =>
    (a.f.file < b.f.file ? -1 : a.f.file > b.f.file ? 1 : 0) ||
    (a.f.line ?? 0) - (b.f.line ?? 0) || a.i - b.i
  ).map(({ f }) => f);
}

/**
 * One line as compilers write it, `file:line: severity: message`, so that editors and `grep` find
 * their way. Control characters of what was found cannot reach the terminal: they are escaped.
 */
export function formatFinding(f: Finding, color: boolean): string {
  const c = createColors(color);
  const place = f.line === undefined ? f.file : `${f.file}:${f.line}`;
  const paint = f.severity === "error" ? c.red : c.yellow;
  return `${c.bold(visible(place))}: ${paint(f.severity)}: ${visible(f.message)}`;
}

function visible(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
