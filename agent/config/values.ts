/**
 * The kinds of values that configurations are made of: each says what it expects and reads a value
 * or says what to do about it. Pure; nothing here knows where a value stands.
 */
import { nearest } from "./nearest.ts";

/** The value, or a hint (without a final period) where there is more to say than "expected". */
export type Read<T> = { value: T } | { hint: string | undefined };

/** One kind of value. */
export interface Kind<T> {
  /** completes "expected ..." */
  expected: string;
  read(value: unknown): Read<T>;
  /** its JSON Schema */
  json: Record<string, unknown>;
}

const no = (hint?: string): { hint: string | undefined } => ({ hint });

/** A kind that starts from a string; `other` may help where the value is none. */
function textKind<T>(
  expected: string,
  json: Record<string, unknown>,
  read: (text: string) => Read<T>,
  other?: (value: unknown) => string | undefined,
): Kind<T> {
  return {
    expected,
    json: { type: "string", ...json },
    read: (value) => typeof value === "string" ? read(value) : no(other?.(value)),
  };
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `2000` as `"2s"`, in the largest unit that leaves a whole number. */
export function formatDuration(ms: number): string {
  const unit = (["h", "m", "s"] as const).find((u) => ms > 0 && ms % UNITS[u] === 0) ?? "ms";
  return `${ms / UNITS[unit]}${unit}`;
}

/** A duration with its unit, read as milliseconds; both limits are allowed values. */
export function duration(min: number, max: number): Kind<number> {
  const range = `from "${formatDuration(min)}" to "${formatDuration(max)}"`;
  return textKind(
    `a duration ${range}, as a whole number and ms, s, m or h`,
    { pattern: "^[0-9]+(ms|s|m|h)$" },
    (text) => {
      const match = /^(\d{1,12})(ms|s|m|h)$/.exec(text);
      if (match) {
        const value = Number(match[1]) * UNITS[match[2]];
        return value >= min && value <= max
          ? { value }
          : no(value < min ? "it is too short" : "it is too long");
      }
      return no(durationHint(text));
    },
    (value) =>
      typeof value === "number" && Number.isInteger(value) && value >= 0
        ? `a number needs a unit, such as "${value}s" or "${value}ms"`
        : undefined,
  );
}

function durationHint(text: string): string | undefined {
  const trimmed = text.trim();
  if (/^\d{1,12}$/.test(trimmed)) {
    return `a number needs a unit, such as "${trimmed}s" or "${trimmed}ms"`;
  }
  const parts = [...trimmed.matchAll(/(\d+(?:\.\d+)?)\s*([a-zµ]+)/gi)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== trimmed.replace(/\s+(?=\d)/g, "")) {
    return /^-/.test(trimmed) ? "a duration cannot be negative" : undefined;
  }
  let total = 0;
  for (const [, number, unit] of parts) {
    const known = unitOf(unit);
    if (known === undefined) return `"${unit}" is not a unit: use ms, s, m or h`;
    total += Number(number) * known;
  }
  return total <= Number.MAX_SAFE_INTEGER
    ? `write "${formatDuration(Math.round(total))}"`
    : undefined;
}

function unitOf(word: string): number | undefined {
  const unit = word.toLowerCase();
  if (word === "M") return UNITS.m;
  if (/^(ms|msecs?|millis|milliseconds?)$/.test(unit)) return UNITS.ms;
  if (/^(s|secs?|seconds?)$/.test(unit)) return UNITS.s;
  if (/^(m|mins?|minutes?)$/.test(unit)) return UNITS.m;
  if (/^(h|hrs?|hours?)$/.test(unit)) return UNITS.h;
  if (/^(d|days?)$/.test(unit)) return 24 * UNITS.h;
  return undefined;
}

/** A whole number; both limits are allowed values. */
export function integer(min: number, max: number): Kind<number> {
  return {
    expected: `a whole number from ${min} to ${max}`,
    json: { type: "integer", minimum: min, maximum: max },
    read: (value) => {
      if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
        return { value };
      }
      if (typeof value === "string" && /^\d+$/.test(value)) return no("write it without quotes");
      return no();
    },
  };
}

/** A TCP or UDP port. */
export const port: Kind<number> = integer(1, 65535);

/** One of a few words. */
export function oneOf<const W extends string>(words: readonly W[]): Kind<W> {
  return {
    expected: words.length === 1
      ? `"${words[0]}"`
      : `${words.slice(0, -1).map((w) => `"${w}"`).join(", ")} or "${words[words.length - 1]}"`,
    json: { type: "string", enum: [...words] },
    read: (value) => {
      const word = words.find((w) => w === value);
      if (word !== undefined) return { value: word };
      const alike: Record<string, string[]> = {
        true: ["on", "auto"],
        yes: ["on"],
        false: ["off", "none"],
        no: ["off", "none"],
      };
      const spoken = alike[String(value).toLowerCase()];
      const meant = spoken !== undefined
        ? words.find((w) => spoken.includes(w))
        : typeof value === "string"
        ? nearest(value, words)
        : undefined;
      return no(meant && `did you mean "${meant}"?`);
    },
  };
}

/** A text of at least one visible character, such as a command. */
export function text(what: string, maxLength: number): Kind<string> {
  return textKind(what, { minLength: 1, maxLength }, (value) => {
    if (value.includes("\0")) return no("it contains a NUL character");
    if (value.trim() === "") return no("leave the key out instead");
    return value.length <= maxLength ? { value } : no(`it is longer than ${maxLength} characters`);
  });
}

/** Any string: the value of a variable. */
export const anyText: Kind<string> = textKind(
  "a string",
  {},
  (value) => value.includes("\0") ? no("it contains a NUL character") : { value },
  (value) =>
    typeof value === "number" || typeof value === "boolean" ? "write it in quotes" : undefined,
);

/** A name of letters, digits and some punctuation; it becomes part of paths, URLs and messages. */
export function identifier(what: string, punctuation: string, maxLength: number): Kind<string> {
  const pattern = new RegExp(
    `^[A-Za-z0-9](?:[A-Za-z0-9${punctuation}]*[A-Za-z0-9])?$`,
  );
  return textKind(
    `${what} of at most ${maxLength} letters, digits and inner ${
      punctuation.replace(/\\/g, "").split("").join(" ")
    }`,
    { pattern: pattern.source, maxLength },
    (value) => {
      if (value.length > maxLength) return no(`it has ${value.length} characters`);
      return pattern.test(value) && !value.includes("..") ? { value } : no();
    },
    (value) => typeof value === "number" ? "write it in quotes" : undefined,
  );
}

/** A node's name, in the syntax of host names (RFC 1123) plus the underscore people use. */
export const nodeName: Kind<string> = identifier("a node name", "._\\-", 253);

/** A module's name: also a file name below state_dir and a label in FUSE's mount source. */
export const moduleName: Kind<string> = identifier("a module name", "._\\-", 64);

/** A check's name. */
export const checkName: Kind<string> = identifier("a name", "._\\-", 64);

/** PATH_MAX and NAME_MAX of linux/limits.h, in bytes; a path needs room for the final NUL. */
const PATH_MAX = 4095;
const NAME_MAX = 255;

/** An absolute path without `.`, `..` or empty components. One final `/` is dropped. */
export const absolutePath: Kind<string> = textKind(
  'an absolute path such as "/var/lib/app"',
  { pattern: "^/" },
  (value) => {
    if (value.includes("\0")) return no("it contains a NUL character");
    if (value.startsWith("~")) return no("~ is not expanded: write the whole path");
    if (!value.startsWith("/")) return no(value === "" ? undefined : "it must begin with /");
    const trimmed = value.length > 1 && value.endsWith("/") ? value.slice(0, -1) : value;
    const normal = normalizePath(trimmed);
    if (normal !== trimmed) return no(`write "${normal}"`);
    const bytes = new TextEncoder();
    if (bytes.encode(trimmed).length > PATH_MAX) return no("it is longer than 4095 bytes");
    if (trimmed.split("/").some((c) => bytes.encode(c).length > NAME_MAX)) {
      return no("one of its components is longer than 255 bytes");
    }
    return { value: trimmed };
  },
);

/** An absolute path without `.`, `..` and empty components. */
function normalizePath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** An interface name as the kernel takes it: dev_valid_name in net/core/dev.c, IFNAMSIZ of 16. */
export const interfaceName: Kind<string> = textKind(
  'a network interface such as "eth0"',
  { minLength: 1, maxLength: 15 },
  (value) => {
    if (new TextEncoder().encode(value).length > 15) return no("it is longer than 15 bytes");
    return /^[^/:\s\0]+$/.test(value) && value !== "." && value !== ".." ? { value } : no();
  },
);
