/**
 * Exclusion patterns: which names of a mirrored directory stay on the node that made them.
 *
 * Patterns read like those of a gitignore file, without negation:
 *
 * - Without a `/`, a pattern matches a name at any depth: `*.tmp`, `postmaster.pid`.
 * - With a `/`, it is anchored at the directory's root: `log/archive`, `base/*.old`.
 * - `*` matches any run of characters but `/`; `?` one character but `/`; `[a-z]`, `[!a-z]` one
 *   character of a set. `\` takes the next character literally.
 * - `**` as a whole component matches any number of components: `**` + `/cache` at any depth,
 *   `a/**` + `/b` also `a/b`. Inside a component it is a plain `*`.
 * - `dir/**` excludes what is in `dir`, not `dir` itself.
 * - An excluded directory excludes everything below it.
 *
 * A pattern never depends on what kind of file a name stands for: a name is excluded or it is not,
 * before anything is known of the file. That is why a trailing `/` is refused.
 *
 * Names are matched as text. Bytes that are not UTF-8 are expected as U+FFFD, so `*.tmp` matches
 * such names as well; a pattern cannot tell two of them apart. Matching takes time proportional to
 * pattern times name at worst, never more, whatever the pattern.
 */

/** One element of a component's pattern. */
type Token =
  | { kind: "text"; text: string }
  | { kind: "any" }
  | { kind: "star" }
  | { kind: "set"; negated: boolean; ranges: [number, number][] };

/** One component: how to decide it fast, or its tokens. */
type Component =
  | { kind: "globstar" }
  | { kind: "literal"; text: string }
  | { kind: "suffix"; text: string }
  | { kind: "prefix"; text: string }
  | { kind: "anything" }
  | { kind: "tokens"; tokens: Token[] };

/** A pattern that contains a `/`: the parent's components and the last one. */
interface Anchored {
  parents: Component[];
  /** the parents as one path where all are literal, else undefined */
  literalParent: string | undefined;
  last: Component;
}

/** Decides by the path below the directory's root; see {@link compileExcludes}. */
export interface Excludes {
  /** True where the path, or a directory above it, is excluded. The root itself (`""`) never is. */
  (relativePath: string): boolean;
  /**
   * The same for `name` in `parentPath` (`""` is the root), where the parent is known not to be
   * excluded: one comparison a pattern, nothing allocated.
   */
  matchName(parentPath: string, name: string): boolean;
  /**
   * True where the same names are excluded below a directory at `path` and at `other`, neither of which is
   * excluded itself: whatever is in it, a move from one to the other changes nothing.
   */
  sameBelow(path: string, other: string): boolean;
  /** True where there are no patterns: nothing is excluded. */
  isEmpty: boolean;
  /** True where no pattern is anchored: `matchName` does not look at `parentPath`. */
  namesOnly: boolean;
}

/** A pattern that cannot be compiled. */
export class ExcludePatternError extends Error {
  override name = "ExcludePatternError";
  constructor(readonly pattern: string, readonly mistake: string) {
    super(`The exclusion pattern ${JSON.stringify(pattern)} ${mistake}`);
  }
}

/** Longest pattern in characters: PATH_MAX of limits.h. */
const MAX_PATTERN = 4096;

/**
 * Says what is wrong with a pattern, as the end of the sentence "the pattern ...", or returns
 * undefined where nothing is.
 */
export function excludeMistake(pattern: string): string | undefined {
  if (pattern === "") return "is empty";
  if (pattern.length > MAX_PATTERN) return `is longer than ${MAX_PATTERN} characters`;
  if (pattern.includes("\0")) return "contains a NUL character";
  if (pattern.startsWith("/")) {
    return "starts with /: patterns are relative to the mirrored directory";
  }
  if (pattern.startsWith("!")) {
    return "starts with !: patterns cannot be negated (a name that begins with ! is written \\!)";
  }
  if (pattern.endsWith("/")) {
    const name = pattern.replace(/\/+$/, "");
    return `ends with /: write "${name}" for the directory and what is in it, or "${name}/**" for ` +
      "only what is in it";
  }
  const components = splitComponents(pattern);
  for (const component of components) {
    if (component === "") return "contains an empty component (//)";
    if (component === "." || component === "..") {
      return `contains the component "${component}": patterns go down from the directory's root`;
    }
    const tokens = tokenize(component);
    if (typeof tokens === "string") return tokens;
  }
  const last = components.length - 1;
  if (
    components.every((c, i) => c === "**" || (i === last && /^\*+$/.test(c)))
  ) return "excludes everything, so that nothing would be mirrored";
  return undefined;
}

/**
 * Compiles patterns into one decision.
 *
 * @throws {ExcludePatternError} for the first pattern that {@link excludeMistake} objects to
 *
 * ```ts
 * const excludes = compileExcludes(["*.tmp", "pgsql_tmp/**"]);
 * excludes("base/1/x.tmp"); // true
 * excludes.matchName("pgsql_tmp", "t1"); // true
 * excludes("pgsql_tmp"); // false
 * ```
 */
export function compileExcludes(patterns: readonly string[]): Excludes {
  const names = new Set<string>();
  const components: Component[] = [];
  const anchored: Anchored[] = [];
  for (const pattern of patterns) {
    const mistake = excludeMistake(pattern);
    if (mistake !== undefined) throw new ExcludePatternError(pattern, mistake);
    const parts = splitComponents(pattern).map(compileComponent);
    if (parts.length > 1) anchored.push(anchor(parts));
    else if (parts[0].kind === "literal") names.add(parts[0].text);
    else components.push(parts[0]);
  }

  const matchName = (parentPath: string, name: string): boolean => {
    if (names.has(name)) return true;
    for (let i = 0; i < components.length; i++) {
      if (matchComponent(components[i], name)) return true;
    }
    for (let i = 0; i < anchored.length; i++) {
      if (matchComponent(anchored[i].last, name) && matchParent(anchored[i], parentPath)) {
        return true;
      }
    }
    return false;
  };

  const isEmpty = patterns.length === 0;
  const matches = (relativePath: string): boolean => {
    if (isEmpty || relativePath === "") return false;
    let start = 0;
    while (true) {
      const end = relativePath.indexOf("/", start);
      const parent = start === 0 ? "" : relativePath.slice(0, start - 1);
      if (matchName(parent, relativePath.slice(start, end < 0 ? undefined : end))) return true;
      if (end < 0) return false;
      start = end + 1;
    }
  };
  const sameBelow = (path: string, other: string): boolean =>
    anchored.every((pattern) => progress(pattern, path) === progress(pattern, other));
  return Object.assign(matches, {
    matchName,
    sameBelow,
    isEmpty,
    namesOnly: anchored.length === 0,
  });
}

/**
 * How far a pattern can have come after the components of `path`: the set of the components that it could
 * go on with, as text. What the pattern says of names below depends on nothing else.
 */
function progress(pattern: Anchored, path: string): string {
  const components = [...pattern.parents, pattern.last];
  let at = new Set<number>();
  const add = (to: Set<number>, position: number): void => {
    to.add(position);
    if (components[position]?.kind === "globstar" && position < components.length - 1) {
      add(to, position + 1);
    }
  };
  add(at, 0);
  for (const name of path.split("/")) {
    const next = new Set<number>();
    for (const position of at) {
      const component = components[position];
      if (component?.kind === "globstar") add(next, position);
      else if (component && position < components.length - 1 && matchComponent(component, name)) {
        add(next, position + 1);
      }
    }
    at = next;
  }
  return [...at].sort((a, b) => a - b).join();
}

/** Splits at `/`, which no escape and no set can hide: no name contains one. */
function splitComponents(pattern: string): string[] {
  return pattern.split("/");
}

/** The component's tokens, or what is wrong with it. */
function tokenize(component: string): Token[] | string {
  const tokens: Token[] = [];
  const characters = [...component];
  const text = (character: string) => {
    const last = tokens[tokens.length - 1];
    if (last?.kind === "text") last.text += character;
    else tokens.push({ kind: "text", text: character });
  };
  for (let i = 0; i < characters.length; i++) {
    const c = characters[i];
    if (c === "*") {
      if (tokens[tokens.length - 1]?.kind !== "star") tokens.push({ kind: "star" });
    } else if (c === "?") tokens.push({ kind: "any" });
    else if (c === "\\") {
      if (++i === characters.length) return "ends with a lone \\ (write \\\\ for the character)";
      text(characters[i]);
    } else if (c === "[") {
      const set = readSet(characters, i);
      if (typeof set === "string") return set;
      tokens.push(set.token);
      i = set.end;
    } else text(c);
  }
  return tokens;
}

/** Reads `[...]` at `start`; `end` is the index of its `]`. A `]` that comes first is literal. */
function readSet(
  characters: string[],
  start: number,
): { token: Token; end: number } | string {
  const unclosed = "has a [ without its ] in the same component (write \\[ for the character)";
  let i = start + 1;
  const negated = characters[i] === "!" || characters[i] === "^";
  if (negated) i++;
  const ranges: [number, number][] = [];
  const one = (): number | undefined => {
    if (characters[i] === "\\") i++;
    return characters[i++]?.codePointAt(0);
  };
  for (let first = true; first || characters[i] !== "]"; first = false) {
    if (characters[i] === "[" && characters[i + 1] === ":") {
      return "uses a class such as [:alpha:], which is not supported (write ranges: [a-z])";
    }
    const low = one();
    if (low === undefined) return unclosed;
    let high: number | undefined = low;
    if (characters[i] === "-" && i + 1 < characters.length && characters[i + 1] !== "]") {
      i++;
      high = one();
      if (high === undefined) return unclosed;
      if (high < low) {
        return `has the range ${String.fromCodePoint(low)}-${String.fromCodePoint(high)}, which ` +
          "runs backwards";
      }
    }
    ranges.push([low, high]);
  }
  return { token: { kind: "set", negated, ranges }, end: i };
}

function compileComponent(component: string): Component {
  if (component === "**") return { kind: "globstar" };
  const tokens = tokenize(component);
  if (typeof tokens === "string") throw new ExcludePatternError(component, tokens);
  const [a, b] = tokens;
  if (tokens.length === 1 && a.kind === "text") return { kind: "literal", text: a.text };
  if (tokens.length === 1 && a.kind === "star") return { kind: "anything" };
  if (tokens.length === 2 && a.kind === "star" && b.kind === "text") {
    return { kind: "suffix", text: b.text };
  }
  if (tokens.length === 2 && a.kind === "text" && b.kind === "star") {
    return { kind: "prefix", text: a.text };
  }
  return { kind: "tokens", tokens };
}

function anchor(parts: Component[]): Anchored {
  const parents = parts.slice(0, -1);
  const literal = parents.every((c) => c.kind === "literal");
  return {
    parents,
    literalParent: literal
      ? parents.map((c) => c.kind === "literal" ? c.text : "").join("/")
      : undefined,
    last: parts[parts.length - 1],
  };
}

function matchComponent(component: Component, name: string): boolean {
  switch (component.kind) {
    case "globstar":
    case "anything":
      return true;
    case "literal":
      return component.text === name;
    case "suffix":
      return name.endsWith(component.text);
    case "prefix":
      return name.startsWith(component.text);
    case "tokens":
      return matchTokens(component.tokens, name);
  }
}

/**
 * Whether the parent of a name whose last component matches lies where the pattern wants it. Under
 * a last `**` everything below counts too.
 */
function matchParent(pattern: Anchored, parentPath: string): boolean {
  const below = pattern.last.kind === "globstar";
  const literal = pattern.literalParent;
  if (literal !== undefined) {
    if (!parentPath.startsWith(literal)) return false;
    return parentPath.length === literal.length ||
      (below && parentPath.charCodeAt(literal.length) === 47);
  }
  const names = parentPath === "" ? [] : parentPath.split("/");
  return matchComponents(pattern.parents, names, below);
}

/** Matches whole components with `**`, going back to the latest `**` only: no exponential case. */
function matchComponents(pattern: Component[], names: string[], below: boolean): boolean {
  let p = 0;
  let n = 0;
  let starAt = -1;
  let starName = 0;
  while (true) {
    if (p === pattern.length && (n === names.length || below)) return true;
    if (p < pattern.length && pattern[p].kind === "globstar") {
      starAt = p++;
      starName = n;
    } else if (p < pattern.length && n < names.length && matchComponent(pattern[p], names[n])) {
      p++;
      n++;
    } else {
      if (starAt < 0 || starName >= names.length) return false;
      n = ++starName;
      p = starAt + 1;
    }
  }
}

/** Matches one name, going back to the latest `*` only. */
function matchTokens(tokens: Token[], name: string): boolean {
  let t = 0;
  let at = 0;
  let starAt = -1;
  let starFrom = 0;
  while (true) {
    if (t === tokens.length && at === name.length) return true;
    const token = tokens[t];
    if (token?.kind === "star") {
      starAt = t++;
      starFrom = at;
      continue;
    }
    const length = token === undefined ? 0 : matchToken(token, name, at);
    if (length > 0) {
      t++;
      at += length;
      continue;
    }
    if (starAt < 0 || starFrom >= name.length) return false;
    starFrom += characterLength(name, starFrom);
    at = starFrom;
    t = starAt + 1;
  }
}

/** How many UTF-16 units of `name` at `at` the token takes; 0 where it does not match. */
function matchToken(token: Token, name: string, at: number): number {
  if (at >= name.length) return 0;
  switch (token.kind) {
    case "text":
      return name.startsWith(token.text, at) ? token.text.length : 0;
    case "any":
      return characterLength(name, at);
    case "set": {
      const c = name.codePointAt(at)!;
      const inside = token.ranges.some(([low, high]) => c >= low && c <= high);
      return inside !== token.negated ? characterLength(name, at) : 0;
    }
    case "star":
      return 0;
  }
}

/** A character is a code point: two units outside the basic plane. */
function characterLength(name: string, at: number): number {
  return name.codePointAt(at)! > 0xffff ? 2 : 1;
}
