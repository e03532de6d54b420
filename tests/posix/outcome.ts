/** Reads what the conformance program prints, and compares two runs line by line. */

/** What came of every check, by its name. */
export type Outcomes = Map<string, string>;

export interface OutcomeDifference {
  check: string;
  plain: string;
  mirror: string;
}

/** What a run that does not know a check has of it. */
export const absent = "not run";

/**
 * `ok NAME`, `ok NAME = VALUE` for what is only noted, or `not ok NAME: expected X, seen Y`. Throws
 * where a line is none of these or a name comes twice.
 */
export function parseOutcomes(text: string): Outcomes {
  const outcomes: Outcomes = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^(not )?ok (.*?)(?:(?:: expected | = )(.*))?$/s.exec(line);
    if (match === null) throw new Error(`Not a line of the conformance program: ${line}`);
    const [, not, check, rest] = match;
    if (outcomes.has(check)) throw new Error(`Two checks have the name "${check}"`);
    const outcome = not === undefined
      ? rest === undefined ? "ok" : rest
      : `not ok: expected ${rest}`;
    outcomes.set(check, outcome);
  }
  return outcomes;
}

/** Checks with another outcome on the mirror than on the plain directory, in the order of the run. */
export function compareOutcomes(plain: Outcomes, mirror: Outcomes): OutcomeDifference[] {
  const checks = new Set([...plain.keys(), ...mirror.keys()]);
  return [...checks].map((check) => ({
    check,
    plain: plain.get(check) ?? absent,
    mirror: mirror.get(check) ?? absent,
  })).filter((each) => each.plain !== each.mirror);
}

export function formatOutcomes(differences: OutcomeDifference[]): string {
  return differences.map(({ check, plain, mirror }) =>
    `${check}\n    plain:  ${plain}\n    mirror: ${mirror}`
  ).join("\n");
}
