/** Reads what `deno test` says about one file: its summary line and its JUnit report. */

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

// deno-lint-ignore no-control-regex -- the escape character begins a colour
const colour = /\x1b\[[0-9;]*m/g;
const summary =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored(?: \((\d+) steps?\))?)?/;

/**
 * The counts of the last summary line in `output`; undefined where there is none (a crash).
 *
 * A step belongs to its test, which fails with it, so steps are not counted again; but an ignored
 * step counts as skipped, because its test passes without it.
 */
export function readSummary(output: string): Counts | undefined {
  const lines = output.replace(colour, "").split("\n");
  for (let i = lines.length - 1; i >= 0; i--) {
    const found = summary.exec(lines[i]);
    if (!found) continue;
    const [passed, failed, ignored, ignoredSteps] = found.slice(1).map((n) => Number(n ?? 0));
    return { passed, failed, skipped: ignored + ignoredSteps };
  }
  return undefined;
}

/** The names of the tests and steps that a JUnit report marks as skipped. */
export function readSkipped(xml: string): string[] {
  const names: string[] = [];
  for (const found of xml.matchAll(/<testcase name="([^"]*)"[^>]*>\s*<skipped\s*\/>/g)) {
    names.push(unescape(found[1]));
  }
  return names;
}

function unescape(text: string): string {
  const names: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => names[name]);
}

/** The wall-time limit that a file asks for by a comment `// test-deadline: 600s`, in seconds. */
export function readDeadline(source: string): number | undefined {
  const found = /^\/\/ test-deadline: (\d+)s\s*$/m.exec(source);
  return found ? Number(found[1]) : undefined;
}
