/**
 * Decides whether trees are what promise 2 allows after a crash: the state after some prefix of each
 * process's operations that holds everything acknowledged, over all directories together.
 *
 * A process has at most one operation in flight, so after `acknowledged` operations there are two
 * states to choose from, and, for a write of several requests, those in between. Processes have
 * objects of their own; what orders them are the echoes (see echo.ts): a tree that holds an echo must
 * hold the mark that it repeats.
 */

import { differences, type PartialWrite } from "./difference.ts";
import { acknowledgedEchoes, echoTop } from "./echo.ts";
import { bytePath, openFiles, OpenFlag } from "../lab/files.ts";
import { generate, markAttribute, markName, topOf } from "./generate.ts";
import { apply, createModel, type Model } from "./model.ts";
import { describe, type Operation } from "./operation.ts";
import { maxMarks, type Progress, readProgress } from "./progress.ts";
import { createRandom } from "./random.ts";
import type { TrafficOptions } from "./traffic.ts";

const files = openFiles();

export interface History {
  /** what each process was started with */
  traffic: TrafficOptions[];
  /** the echo process's progress file, where there was one */
  echo?: string;
}

export interface Verdict {
  /** sentences; empty where the trees are allowed */
  violations: string[];
  /** operations acknowledged, over all processes */
  acknowledged: number;
  /** processes whose operation in flight is in the tree, and whose is not */
  inFlight: { present: number; absent: number };
}

/** Judges trees in which nothing changes any more. `directories` are the copies of the mirrored ones. */
export function judge(history: History, directories: string[]): Verdict {
  const verdict: Verdict = {
    violations: [],
    acknowledged: 0,
    inFlight: { present: 0, absent: 0 },
  };
  for (const options of history.traffic) judgeProcess(options, directories, verdict);
  if (history.echo !== undefined) judgeEchoes(history, history.echo, directories, verdict);
  return verdict;
}

function judgeProcess(options: TrafficOptions, directories: string[], verdict: Verdict): void {
  const progress = readProgress(options.progress);
  if (progress === undefined) return;
  verdict.acknowledged += progress.acknowledged;
  const top = topOf(options.round, options.process);
  const random = createRandom(options.seed);
  const model = createModel(options.process, options.mode, options.directories.length);
  const recent: string[] = [];
  const next = (): Operation => {
    const operation = generate(model, random, top);
    recent.push(`${model.index} ${describe(operation)}`);
    if (recent.length > 12) recent.shift();
    return operation;
  };
  while (model.index < progress.acknowledged) apply(model, next());
  const without = differences(model, directories, top);
  if (progress.begun === progress.acknowledged) {
    if (without.length === 0) return;
    verdict.violations.push(explain(options, progress, without, [], recent));
    return;
  }
  const operation = next();
  // Part of a write was acknowledged although it ended early: then "not at all" is no choice.
  if (without.length === 0 && progress.written === 0) {
    verdict.inFlight.absent++;
    return;
  }
  const partial = partialWrite(model, operation, progress);
  apply(model, operation);
  const withIt = differences(model, directories, top);
  const within = withIt.length > 0 && partial !== undefined
    ? differences(model, directories, top, partial)
    : withIt;
  if (within.length === 0) verdict.inFlight.present++;
  else verdict.violations.push(explain(options, progress, without, within, recent));
}

/** What a write in flight may have left: the file as it is before `operation` is applied. */
function partialWrite(
  model: Model,
  operation: Operation,
  progress: Progress,
): PartialWrite | undefined {
  const atLeast = progress.written;
  switch (operation.kind) {
    case "write":
    case "append": {
      const { node } = model.handles[operation.handle]!;
      const offset = operation.kind === "write" ? operation.offset : node.size;
      const before = node.content.slice(0, node.size);
      return { node, before, offset, length: operation.length, atLeast };
    }
    case "copy": {
      const { node } = model.handles[operation.to]!;
      const before = node.content.slice(0, node.size);
      return { node, before, offset: operation.target, length: operation.length, atLeast };
    }
    default:
      return undefined;
  }
}

function explain(
  { process, seed, round }: TrafficOptions,
  { acknowledged, begun, written }: Progress,
  without: string[],
  withIt: string[],
  recent: string[],
): string {
  const lines = [
    `Process ${process} of round ${round} (seed ${seed}): ${acknowledged} operations acknowledged, ` +
    `${begun} begun, ${written} bytes of the last one.`,
    `If the last acknowledged one is the last in the tree:`,
    ...without.map((problem) => `  ${problem}`),
  ];
  if (withIt.length > 0) {
    lines.push("If the one in flight is in the tree too:", ...withIt.map((p) => `  ${p}`));
  }
  return [...lines, "The last operations:", ...recent.map((each) => `  ${each}`)].join("\n");
}

function judgeEchoes(
  history: History,
  echo: string,
  directories: string[],
  verdict: Verdict,
): void {
  const acknowledged = acknowledgedEchoes(echo);
  for (const { round, process, mode } of history.traffic) {
    const mark = readMark(directories, 0, round, process);
    const echoed = readEcho(directories, round, process);
    if (echoed > mark) verdict.violations.push(echoViolation(process, echoed, mark));
    if (mode === "write" && echoed < acknowledged[process]) {
      verdict.violations.push(
        `The echo of process ${process} is ${echoed}, but ${
          acknowledged[process]
        } was acknowledged.`,
      );
    }
  }
}

function echoViolation(process: number, echoed: number, mark: number): string {
  return `The last directory holds the echo ${echoed} of process ${process}, but the first only its ` +
    `mark ${mark}: an operation overtook an earlier one.`;
}

/** The mark of a process in a directory; 0 where there is none yet. */
export function readMark(
  directories: string[],
  directory: number,
  round: number,
  process: number,
): number {
  return readNumber(`${directories[directory]}/${topOf(round, process)}/${markName}`);
}

function readEcho(directories: string[], round: number, process: number): number {
  return readNumber(`${directories.at(-1)}/${echoTop(round)}/${process}`);
}

/** The mark of a process that is an attribute of its mark file in the first directory. */
function readAttribute(directories: string[], round: number, process: number): number {
  const path = `${directories[0]}/${topOf(round, process)}`;
  let fd: number;
  try {
    fd = files.open(bytePath(path), OpenFlag.readOnly | OpenFlag.directory);
  } catch {
    return 0;
  }
  try {
    return Number(files.attributes(fd, markName).get(markAttribute) ?? 0);
  } finally {
    files.close(fd);
  }
}

function readNumber(path: string): number {
  try {
    const bytes = Deno.readFileSync(path);
    if (bytes.length < 8) return 0;
    return Number(new DataView(bytes.buffer).getBigUint64(0, true));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/**
 * One look at trees that are changing, for promise 2 "at every instant": reads what must be later
 * before what must be earlier, and what was acknowledged before either. Returns violations.
 */
export function glance(history: History, directories: string[]): string[] {
  const violations: string[] = [];
  const echoes = history.echo === undefined ? undefined : acknowledgedEchoes(history.echo);
  for (const { round, process, mode, progress } of history.traffic) {
    const promised = readProgress(progress)?.marks ?? Array(maxMarks).fill(0);
    const echoed = history.echo === undefined ? 0 : readEcho(directories, round, process);
    const marks = directories.map(() => 0);
    for (let i = directories.length - 1; i >= 0; i--) {
      marks[i] = readMark(directories, i, round, process);
    }
    for (let i = 1; i < marks.length; i++) {
      if (marks[i] > marks[i - 1]) {
        violations.push(
          `Directory ${i} holds mark ${marks[i]} of process ${process}, but directory ${
            i - 1
          } only ` +
            `${marks[i - 1]}: an operation overtook an earlier one.`,
        );
      }
    }
    marks.forEach((mark, i) => {
      if (mark < promised[i]) {
        violations.push(
          `Directory ${i} holds mark ${mark} of process ${process} although ${promised[i]} was ` +
            `acknowledged.`,
        );
      }
    });
    const attribute = promised[directories.length] > 0
      ? readAttribute(directories, round, process)
      : 0;
    if (attribute < promised[directories.length]) {
      violations.push(
        `The first directory holds the attribute mark ${attribute} of process ${process} although ` +
          `${promised[directories.length]} was acknowledged.`,
      );
    }
    if (echoed > marks[0]) violations.push(echoViolation(process, echoed, marks[0]));
    if (mode === "write" && echoes !== undefined && echoed < echoes[process]) {
      violations.push(
        `The echo of process ${process} is ${echoed} although ${echoes[process]} was acknowledged.`,
      );
    }
  }
  return violations;
}
