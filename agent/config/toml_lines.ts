/**
 * Where keys and values stand in a TOML text.
 *
 * The parser gives values without positions, so the text is walked a second time. It is known to be
 * valid TOML by then: the walk only has to tell keys, strings, tables and arrays apart.
 */
import { formatPath } from "./finding.ts";

/**
 * The 1-based line of every key, table header and array element, by {@link formatPath} of its path.
 * A table that is never written out itself (`[a.b]` without `[a]`) has the line that first implies it.
 *
 * @param text valid TOML; of anything else the lines up to the mistake are given
 */
export function tomlLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  /** how many tables each array of tables has so far */
  const counts = new Map<string, number>();
  let at = 0;
  let line = 1;
  let table: (string | number)[] = [];

  const record = (path: (string | number)[]) => {
    const key = formatPath(path);
    if (!lines.has(key)) lines.set(key, line);
  };
  const advance = (n: number) => {
    for (const end = Math.min(at + n, text.length); at < end; at++) if (text[at] === "\n") line++;
  };
  const skipBlanks = () => {
    while (text[at] === " " || text[at] === "\t") at++;
  };
  const skipComment = () => {
    while (at < text.length && text[at] !== "\n") at++;
  };
  /** blanks, line ends and comments */
  const skipSpace = () => {
    while (at < text.length) {
      if (text[at] === "#") skipComment();
      else if (" \t\r\n".includes(text[at])) advance(1);
      else return;
    }
  };

  /** A string of any of the four kinds; its text matters only for keys, which are of one line. */
  const readString = (): string => {
    const quote = text[at];
    const long = text.startsWith(quote.repeat(3), at);
    const fence = long ? quote.repeat(3) : quote;
    const start = at;
    advance(fence.length);
    while (at < text.length && !text.startsWith(fence, at)) {
      advance(quote === '"' && text[at] === "\\" ? 2 : 1);
    }
    advance(fence.length);
    // a long string may end in quotes of its own: """a""""
    if (long) { while (text[at] === quote) at++; }
    if (long || quote === "'") return text.slice(start + fence.length, at - fence.length);
    return unescapeBasic(text.slice(start + 1, at - 1));
  };

  const readKey = (): string[] => {
    const keys: string[] = [];
    while (at < text.length) {
      skipBlanks();
      if (text[at] === '"' || text[at] === "'") keys.push(readString());
      else {
        const start = at;
        while (at < text.length && /[\w-]/.test(text[at])) at++;
        keys.push(text.slice(start, at));
      }
      skipBlanks();
      if (text[at] !== ".") break;
      at++;
    }
    return keys;
  };

  const readValue = (path: (string | number)[]): void => {
    const c = text[at];
    if (c === '"' || c === "'") readString();
    else if (c === "[") readArray(path);
    else if (c === "{") readInlineTable(path);
    else while (at < text.length && !",]}#\n".includes(text[at])) at++;
  };

  const readArray = (path: (string | number)[]): void => {
    advance(1);
    for (let i = 0;; i++) {
      skipSpace();
      if (at >= text.length || text[at] === "]") break;
      const start = at;
      record([...path, i]);
      readValue([...path, i]);
      skipSpace();
      if (text[at] === ",") at++;
      else if (at === start) break;
    }
    advance(1);
  };

  const readInlineTable = (path: (string | number)[]): void => {
    advance(1);
    while (true) {
      skipSpace();
      if (at >= text.length || text[at] === "}") break;
      const start = at;
      readAssignment(path);
      skipSpace();
      if (text[at] === ",") at++;
      else if (at === start) break;
    }
    advance(1);
  };

  const readAssignment = (base: (string | number)[]): void => {
    const path = [...base];
    for (const key of readKey()) {
      path.push(key);
      record(path);
    }
    skipBlanks();
    if (text[at] !== "=") return;
    at++;
    skipBlanks();
    readValue(path);
  };

  const readHeader = (): void => {
    const isArray = text.startsWith("[[", at);
    at += isArray ? 2 : 1;
    const keys = readKey();
    const path: (string | number)[] = [];
    keys.forEach((key, i) => {
      path.push(key);
      record(path);
      const count = counts.get(formatPath(path));
      if (isArray && i === keys.length - 1) {
        counts.set(formatPath(path), (count ?? 0) + 1);
        path.push(count ?? 0);
        record(path);
      } else if (count !== undefined) path.push(count - 1);
    });
    // a table may be implied first, by a dotted header, and written out further down
    lines.set(formatPath(path), line);
    table = path;
    skipComment();
  };

  while (true) {
    skipSpace();
    if (at >= text.length) return lines;
    const start = at;
    if (text[at] === "[") readHeader();
    else readAssignment(table);
    skipBlanks();
    if (at === start) return lines;
  }
}

/** Undoes the escapes of a basic string as far as keys need it. */
function unescapeBasic(text: string): string {
  const plain: Record<string, string> = {
    b: "\b",
    t: "\t",
    n: "\n",
    f: "\f",
    r: "\r",
    e: "\x1b",
  };
  return text.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gs,
    (_, x, u, U, c) => {
      const hex = x ?? u ?? U;
      return hex === undefined ? plain[c] ?? c : String.fromCodePoint(parseInt(hex, 16));
    },
  );
}
