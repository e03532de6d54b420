/** `[vars]` and `${vars.x}`: texts that are written once in a module and used in many places. */
import { formatPath, type Mistake, type Path } from "./finding.ts";
import { nearest } from "./nearest.ts";

/** Longest text an expansion may yield, in characters: variables that double each other end here. */
const MAX_EXPANDED = 64 * 1024;

/** Longest chain of variables that refer to each other. */
const MAX_CHAIN = 100;

/** What a module's file looks like once its variables are expanded. */
export interface Expansion {
  value: unknown;
  mistakes: Mistake[];
  /** what stood in the file, by {@link formatPath}, for every value that was changed */
  originals: Map<string, string>;
  /** values, by {@link formatPath}, that could not be expanded: nothing more is to be said of them */
  failed: Set<string>;
}

/** `${vars.x}`, or what looks like an attempt at it. */
const REFERENCE = /\$\{\s*([A-Za-z_]\w*)\.([^}]*)(\}?)/g;

/**
 * Replaces `${vars.x}` in every string of the document, also in other variables.
 *
 * @param wholeNumbers keys whose value is a whole number: a reference alone may give it
 */
export function expandVariables(document: unknown, wholeNumbers: ReadonlySet<string>): Expansion {
  const mistakes: Mistake[] = [];
  const originals = new Map<string, string>();
  const failedPaths = new Set<string>();
  const vars = isTable(document) ? document.vars : undefined;
  const table = isTable(vars) ? vars : {};
  const names = Object.keys(table);
  const values = new Map<string, string>();
  /** variables without a usable value: the schema complains of them, not every use */
  const broken = new Set(names.filter((name) => typeof table[name] !== "string"));
  const noTable = vars !== undefined && !isTable(vars);

  /** Expands one text; undefined where it contains a mistake, which is then noted. */
  const expand = (text: string, path: Path, users: string[]): string | undefined => {
    let failed = false;
    let length = 0;
    const fail = (expected: string, found: string, hint?: string) => {
      if (!failed) mistakes.push({ path, expected, found, hint });
      failed = true;
      return "";
    };
    const result = text.replace(REFERENCE, (whole, scope: string, name: string, end: string) => {
      if (scope !== "vars") {
        // anything else may be meant for a shell, unless it is plainly a slip
        return nearest(scope, ["vars"]) === "vars"
          ? fail("a reference such as ${vars.x}", whole, `did you mean "\${vars.${name}}"?`)
          : whole;
      }
      if (end === "") return fail("a } after ${vars.", JSON.stringify(whole));
      if (noTable) failed = true;
      else if (!names.includes(name)) {
        return fail(expectedVariable(names), whole, hintFor(name, names));
      }
      const value = failed ? "" : variable(name, users);
      if (value === undefined) failed = true;
      length += value?.length ?? 0;
      return length <= MAX_EXPANDED ? value ?? "" : fail(
        `a text of at most ${MAX_EXPANDED} characters after expansion`,
        "a longer one",
      );
    });
    return failed ? undefined : result;
  };

  const variable = (name: string, users: string[]): string | undefined => {
    if (broken.has(name)) return undefined;
    const known = values.get(name);
    if (known !== undefined) return known;
    if (users.length > MAX_CHAIN) {
      mistakes.push({
        path: ["vars", name],
        expected: `variables that refer to each other in at most ${MAX_CHAIN} steps`,
        found: "a longer chain",
      });
      for (const user of users) broken.add(user);
      return undefined;
    }
    if (users.includes(name)) {
      const circle = [...users.slice(users.indexOf(name)), name].map((n) => `\${vars.${n}}`);
      for (const user of users.slice(users.indexOf(name))) broken.add(user);
      mistakes.push({
        path: ["vars", name],
        expected: "a value that does not lead back to itself",
        found: circle.join(" → "),
      });
      return undefined;
    }
    const value = expand(table[name] as string, ["vars", name], [...users, name]);
    if (value === undefined) broken.add(name);
    else values.set(name, value);
    return value;
  };

  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === "string") {
      const expanded = path.length === 2 && path[0] === "vars" && typeof path[1] === "string"
        ? variable(path[1], [])
        : expand(value, path, []);
      if (expanded === value) return value;
      originals.set(formatPath(path), value);
      if (expanded === undefined) {
        failedPaths.add(formatPath(path));
        return value;
      }
      const isNumber = wholeNumbers.has(String(path[path.length - 1])) &&
        /^\d{1,9}$/.test(expanded);
      return isNumber ? Number(expanded) : expanded;
    }
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]));
    if (isTable(value)) {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v, [...path, k])]));
    }
    return value;
  };

  return { value: walk(document, []), mistakes, originals, failed: failedPaths };
}

function expectedVariable(names: string[]): string {
  return names.length === 0
    ? "no variable, as [vars] has none"
    : `one of the variables ${names.map((n) => `\${vars.${n}}`).join(", ")}`;
}

function hintFor(name: string, names: string[]): string | undefined {
  const meant = nearest(name, names);
  return meant === undefined ? undefined : `did you mean "\${vars.${meant}}"?`;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}
