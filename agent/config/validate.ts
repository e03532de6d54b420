/** From a document and a schema to values and mistakes. */
import * as z from "zod";
import { describe, finding, formatPath, type Mistake, type Path } from "./finding.ts";
import { lineOf } from "./document.ts";
import { nearest } from "./nearest.ts";
import type { Finding } from "./types.ts";

/** A value of which only some parts are known to be right. */
export type Partly<T> = T extends (infer E)[] ? (Partly<E> | undefined)[]
  : T extends object ? { [K in keyof T]?: Partly<T[K]> | undefined }
  : T;

/** The result: `value` where there is no mistake, and in any case what could be read. */
export interface Validated<T> {
  value: T | undefined;
  partly: Partly<T> | undefined;
  mistakes: Mistake[];
}

/** Validates a document; never throws, and says everything that is wrong at once. */
export function validate<S extends z.ZodType>(
  schema: S,
  input: unknown,
): Validated<z.output<S>> {
  const result = schema.safeParse(input);
  if (result.success) {
    return { value: result.data, partly: result.data as Partly<z.output<S>>, mistakes: [] };
  }
  return {
    value: undefined,
    partly: salvage(schema, input) as Partly<z.output<S>> | undefined,
    mistakes: withoutEchoes(
      result.error.issues.flatMap((issue) => explain(schema, input, issue)),
      schema,
      input,
    ),
  };
}

/** Leaves out keys that are missing only because they stand there misspelt. */
function withoutEchoes(mistakes: Mistake[], schema: z.ZodType, input: unknown): Mistake[] {
  const misspelt = new Set(mistakes.flatMap(({ path }) => {
    const table = path.slice(0, -1);
    const known = keysOfTable(schemaAt(schema, table));
    const key = String(path[path.length - 1]);
    const meant = path.length === 0 || known.includes(key) ? undefined : nearest(key, known);
    return meant === undefined ? [] : formatPath([...table, meant]);
  }));
  return mistakes.filter(({ path }) =>
    valueAt(input, path) !== undefined || !misspelt.has(formatPath(path))
  );
}

function keysOfTable(schema: z.ZodType | undefined): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** Turns mistakes into findings: adds the file, the line and what was found. */
export function locate(
  mistakes: readonly Mistake[],
  file: string,
  lines: Map<string, number>,
  input: unknown,
  originals: ReadonlyMap<string, string> = new Map(),
): Finding[] {
  return mistakes.map((mistake) => {
    const key = formatPath(mistake.path);
    const original = originals.get(key);
    let found = mistake.found ?? describe(valueAt(input, mistake.path));
    if (original !== undefined && mistake.found === undefined) {
      found += ` (from ${describe(original)})`;
    }
    return finding({
      severity: mistake.severity ?? "error",
      file,
      line: lineOf(lines, mistake.path),
      key,
      expected: mistake.expected,
      found,
      hint: mistake.hint,
    });
  });
}

/** The value at a path of a document, or undefined. */
export function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Object.hasOwn(value, step) ? (value as Record<string, unknown>)[step] : undefined;
  }
  return value;
}

/** Every key a schema knows, dotted, `[]` for the entries of an array: `nodes[].addresses`. */
export function knownKeys(schema: z.ZodType, prefix = ""): string[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray) return knownKeys(inner.element as z.ZodType, `${prefix}[]`);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape).flatMap(([key, child]) => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    return [path, ...knownKeys(child as z.ZodType, path)];
  });
}

/** Takes off what only says that a value may be absent. */
function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (optional(inner)) inner = (inner as z.ZodOptional).unwrap() as z.ZodType;
  return inner;
}

/** Whether the key may be left out. */
function optional(schema: z.ZodType): boolean {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault;
}

function schemaAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let inner = unwrap(schema);
  for (const step of path) {
    const next = inner instanceof z.ZodObject
      ? inner.shape[step]
      : inner instanceof z.ZodArray
      ? inner.element
      : inner instanceof z.ZodRecord
      ? inner.valueType
      : undefined;
    if (next === undefined) return undefined;
    inner = unwrap(next as z.ZodType);
  }
  return inner;
}

/** The right parts of a value as a whole is wrong, so that the rest is still checked. */
function salvage(schema: z.ZodType, input: unknown): unknown {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(input)) {
    return input.map((item) => salvage(inner.element as z.ZodType, item));
  }
  if (inner instanceof z.ZodObject && isTable(input)) {
    return Object.fromEntries(
      Object.entries(inner.shape).map(([key, child]) => {
        return [key, salvage(child as z.ZodType, valueAt(input, [key]))];
      }),
    );
  }
  return undefined;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}

function explain(schema: z.ZodType, input: unknown, issue: z.core.$ZodIssue): Mistake[] {
  const path = issue.path.map((step) => typeof step === "symbol" ? String(step) : step);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => unknownKey(schema, path, key));
  }
  if (issue.code === "custom") {
    const hint = issue.params?.hint as string | undefined;
    return [{ path, expected: issue.message, hint }];
  }
  const [expected, hint] = expectedStructure(schema, path, valueAt(input, path));
  return [{ path, expected, hint }];
}

function unknownKey(schema: z.ZodType, path: Path, key: string): Mistake {
  const known = keysOfTable(schemaAt(schema, path));
  const meant = nearest(key, known);
  const elsewhere = knownKeys(schema).filter((k) => k.split(".").at(-1)?.replace("[]", "") === key);
  const hint = elsewhere.length > 0
    ? `${key} belongs ${place(elsewhere[0])}`
    : meant !== undefined
    ? `did you mean ${meant}?`
    : undefined;
  return {
    path: [...path, key],
    expected: known.length === 1 ? `no key but ${known[0]}` : `one of the keys ${known.join(", ")}`,
    found: `the unknown key ${/^[\w-]+$/.test(key) ? key : describe(key)}`,
    hint,
  };
}

/** Where a key belongs, in the words of TOML. */
function place(key: string): string {
  const parent = key.includes(".") ? key.slice(0, key.lastIndexOf(".")) : "";
  if (parent === "") return "at the top of the file, before the first [table]";
  return parent.endsWith("[]") ? `in [[${parent.slice(0, -2)}]]` : `in [${parent}]`;
}

/** What a table or an array looks like in TOML. */
function expectedStructure(
  schema: z.ZodType,
  path: Path,
  found: unknown,
): [expected: string, hint: string | undefined] {
  const inner = schemaAt(schema, path);
  const name = path.filter((step) => typeof step === "string").join(".");
  if (inner instanceof z.ZodArray) {
    const element = unwrap(inner.element as z.ZodType);
    if (element instanceof z.ZodObject) {
      return [
        `an array of tables, each beginning with [[${name}]]`,
        isTable(found) ? "write two brackets" : undefined,
      ];
    }
    return [
      "an array of strings",
      typeof found === "string" ? `write [${JSON.stringify(found)}]` : undefined,
    ];
  }
  if (path.length === 0) return ["a table of keys and values", undefined];
  const needed = found === undefined && inner instanceof z.ZodObject
    ? Object.keys(inner.shape).filter((key) => !optional(inner.shape[key] as z.ZodType))
    : [];
  if (needed.length > 0) return [`a table [${name}] with ${needed.join(" and ")}`, undefined];
  const inArray = typeof path[path.length - 1] === "number";
  return [
    inArray ? `a table beginning with [[${name}]]` : `a table beginning with [${name}]`,
    Array.isArray(found) && !inArray ? "write single brackets" : undefined,
  ];
}
