/** Medians, ratios and the table. */

import type { Case, Measurement } from "./cases.ts";
import type { System } from "./system.ts";

/** All runs: row name, then system name, then one measurement a round. */
export type Results = Map<string, Map<string, Measurement[]>>;

export function record(results: Results, system: string, measurement: Measurement): void {
  const row = results.get(measurement.row) ?? new Map<string, Measurement[]>();
  results.set(measurement.row, row);
  row.set(system, [...(row.get(system) ?? []), measurement]);
}

/** What came of a benchmark. */
export interface Outcome {
  systems: System[];
  results: Results;
  /** a sentence for each system that did not start or did not get through a case */
  failures: string[];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What the product promises against GlusterFS, in the same run. */
export const floors: { row: string; factor: number }[] = [
  { row: "write1", factor: 1.5 },
  { row: "write16", factor: 3 },
  { row: "sequential", factor: 1.2 },
  { row: "create", factor: 5 },
];

function medianOf(results: Results, row: string, system: string): number | undefined {
  const runs = results.get(row)?.get(system);
  return runs?.length ? median(runs.map((run) => run.value)) : undefined;
}

function ratioOf(results: Results, row: string, system: string, to: string): number | undefined {
  const value = medianOf(results, row, system);
  const base = medianOf(results, row, to);
  return value === undefined || !base ? undefined : value / base;
}

function digits(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(value >= 10 ? 3 : 2);
}

function table(lines: string[][]): string {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
    ).join("  ").trimEnd()
  ).join("\n");
}

/** The whole report for people: values with their spread, ratios, floors, settings. */
export function renderReport({ results, systems, failures }: Outcome, cases: Case[]): string {
  const rows = cases.flatMap((item) => item.rows).filter((row) => results.has(row.name));
  const heading = (title: string) => [title, ...systems.map((system) => system.title)];

  const values = rows.map((row) => [
    `${row.title} (${row.unit})`,
    ...systems.map((system) => {
      const runs = results.get(row.name)?.get(system.name)?.map((run) => run.value);
      if (!runs) return "-";
      const spread = (Math.max(...runs) - Math.min(...runs)) / 2 / median(runs);
      return digits(median(runs)) + (runs.length > 1 ? ` ±${Math.round(100 * spread)}%` : "");
    }),
  ]);
  const parts = [table([heading("median of the rounds"), ...values])];

  for (const base of systems.filter(({ name }) => name === "glusterfs" || name === "ext4")) {
    const ratios = rows.map((row) => [
      row.title,
      ...systems.map((system) => {
        const ratio = ratioOf(results, row.name, system.name, base.name);
        return ratio === undefined ? "-" : `${digits(ratio)}x`;
      }),
    ]);
    parts.push(table([heading(`ratio to ${base.title}`), ...ratios]));
  }

  const mirrors = systems.filter((system) => system.name.startsWith("understudy"));
  const judged = floors.flatMap(({ row, factor }) => {
    const title = rows.find((item) => item.name === row)?.title;
    const cells = mirrors.map((system) => {
      const ratio = ratioOf(results, row, system.name, "glusterfs");
      if (ratio === undefined) return "-";
      return `${ratio.toFixed(2)}x ${ratio >= factor ? "met" : "MISSED"}`;
    });
    return title && cells.some((cell) => cell !== "-") ? [[title, `${factor}x`, ...cells]] : [];
  });
  if (judged.length) {
    const head = ["floor, against GlusterFS", "floor", ...mirrors.map((system) => system.title)];
    parts.push(table([head, ...judged]));
  }

  const latencies = rows.flatMap((row) => {
    const cells = systems.map((system) => {
      const runs = results.get(row.name)?.get(system.name)?.flatMap((run) => run.latency ?? []);
      if (!runs?.length) return "-";
      const [p50, p99] = [median(runs.map((l) => l.p50)), median(runs.map((l) => l.p99))];
      return `${digits(p50)} / ${digits(p99)}`;
    });
    return cells.some((cell) => cell !== "-") ? [[row.title, ...cells]] : [];
  });
  if (latencies.length) parts.push(table([heading("latency p50 / p99, µs"), ...latencies]));

  parts.push(systems.map((system) => `${system.title}: ${system.settings}`).join("\n"));
  if (failures.length) parts.push(failures.join("\n"));
  return parts.join("\n\n");
}

/** The same for programs. */
export function toJson({ results, systems, failures }: Outcome): unknown {
  return {
    systems: systems.map(({ name, title, settings }) => ({ name, title, settings })),
    rows: [...results].map(([row, bySystem]) => ({
      row,
      systems: Object.fromEntries(
        [...bySystem].map(([system, runs]) => [system, {
          median: median(runs.map((run) => run.value)),
          runs: runs.map((run) => run.value),
          latency: runs.map((run) => run.latency ?? null),
          toGlusterfs: ratioOf(results, row, system, "glusterfs") ?? null,
          toExt4: ratioOf(results, row, system, "ext4") ?? null,
        }]),
      ),
    })),
    failures,
    floors: floors.map(({ row, factor }) => ({
      row,
      factor,
      reached: Object.fromEntries(
        systems.filter((system) => system.name.startsWith("understudy")).map((
          { name },
        ) => [name, ratioOf(results, row, name, "glusterfs") ?? null]),
      ),
    })),
  };
}
