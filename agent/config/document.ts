/** Files as documents: text to plain values, with the line of every key. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { parse as parseTomlText, TomlError } from "smol-toml";
import { LineCounter, parseDocument as parseYamlText } from "yaml";
import { finding, formatPath, type Path } from "./finding.ts";
import { tomlLines } from "./toml_lines.ts";
import { yamlLines } from "./yaml_lines.ts";
import type { Finding } from "./types.ts";

/** How a file is written. */
export type Format = "toml" | "yaml";

/** A parsed file. */
export interface Document {
  file: string;
  value: unknown;
  /** by {@link formatPath} */
  lines: Map<string, number>;
}

/** Largest configuration file, in bytes: a mistake in the path must not fill the memory. */
export const MAX_FILE = 1024 * 1024;

/** The format that a file's name announces, or undefined. */
export function formatOf(file: string): Format | undefined {
  if (/\.toml$/i.test(file)) return "toml";
  return /\.ya?ml$/i.test(file) ? "yaml" : undefined;
}

/** The line of the value at a path, or of the nearest table around it that has one. */
export function lineOf(lines: Map<string, number>, path: Path): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(formatPath(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return undefined;
}

/** Reads a file of text, or says why it cannot be one. `what` names it: "the configuration". */
export function readText(
  file: string,
  what: string,
): { text: string } | { finding: Finding } {
  const wrong = (expected: string, found: string, hint?: string, line?: number) => ({
    finding: finding({ severity: "error", file, line, key: "", expected, found, hint }),
  });
  let bytes: Uint8Array;
  try {
    const read = readBytes(file, MAX_FILE);
    if (typeof read === "string") return wrong(`${what} in a regular file`, read);
    bytes = read;
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "ENOENT") return wrong(`${what} in this file`, "no such file");
    return wrong(`${what} in a readable file`, `an error on reading (${reason(error)})`);
  }
  if (bytes.length > MAX_FILE) {
    return wrong(`${what} of at most 1 MiB`, "a larger file", "is this the right file?");
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (text.trim() === "") return wrong(what, bytes.length ? "only blanks" : "an empty file");
    return { text };
  } catch {
    return wrong(
      "text in UTF-8",
      "bytes that are not UTF-8",
      "save the file as UTF-8",
      firstBadLine(bytes),
    );
  }
}

/** Up to `limit` + 1 bytes of a regular file, or the name of what stands there instead. */
function readBytes(file: string, limit: number): Uint8Array | string {
  // without O_NONBLOCK, opening a fifo would wait for a writer
  const fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) return "a directory";
    if (!stat.isFile()) return "a device, pipe or socket";
    const bytes = new Uint8Array(limit + 1);
    let length = 0;
    while (length < bytes.length) {
      const n = readSync(fd, bytes, length, bytes.length - length, null);
      if (n === 0) break;
      length += n;
    }
    return bytes.slice(0, length);
  } finally {
    closeSync(fd);
  }
}

function firstBadLine(bytes: Uint8Array): number | undefined {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let line = 1, start = 0; start <= bytes.length; line++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      return line;
    }
    start = end + 1;
  }
  return undefined;
}

/** Parses a text; every syntax error is a finding with its line. Never throws. */
export function parseText(
  text: string,
  file: string,
  format: Format,
): { document: Document } | { findings: Finding[] } {
  const wrong = (found: string, line: number | undefined): Finding =>
    finding({
      severity: "error",
      file,
      line,
      key: "",
      expected: format === "toml" ? "valid TOML" : "valid YAML",
      found,
    });
  try {
    return format === "toml" ? parseToml(text, file, wrong) : parseYaml(text, file, wrong);
  } catch (error) {
    // a nesting deeper than the stack, or more aliases than are followed
    return { findings: [wrong(`a text that cannot be parsed (${reason(error)})`, undefined)] };
  }
}

type Wrong = (found: string, line: number | undefined) => Finding;

function parseToml(text: string, file: string, wrong: Wrong) {
  try {
    const value = parseTomlText(text);
    return { document: { file, value, lines: tomlLines(text) } };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n")[0].replace(/^Invalid TOML document: /, "");
    return {
      findings: [wrong(`a syntax error at column ${error.column}: ${what}`, error.line)],
    };
  }
}

/** Aliases that are followed: enough for people, too few to blow up a small file. */
const MAX_ALIASES = 100;

function parseYaml(text: string, file: string, wrong: Wrong) {
  const counter = new LineCounter();
  const document = parseYamlText(text, { lineCounter: counter, prettyErrors: false });
  // a warning is a tag or a version nobody here knows: the value would not be what was meant
  const errors = [...document.errors, ...document.warnings];
  if (errors.length > 0) {
    return {
      findings: errors.map((error) => {
        const { line, col } = counter.linePos(error.pos[0]);
        return wrong(`a syntax error at column ${col}: ${error.message}`, line);
      }),
    };
  }
  const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
  return { document: { file, value, lines: yamlLines(document.contents, counter) } };
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0] : String(error);
}
