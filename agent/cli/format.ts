/** Texts for people: tables, sizes, colours. */

import { createColors } from "picocolors";
import type { ModuleStatus } from "../http/facade.ts";

export type Colors = ReturnType<typeof createColors>;
type Paint = (text: string) => string;

export { createColors };

/** A cell of a table; colours do not count for its width. */
export type Cell = string | { text: string; paint: Paint };

/** Columns side by side, two blanks between them, none at the ends of lines. */
export function table(rows: Cell[][]): string {
  const plain = rows.map((row) => row.map((cell) => typeof cell === "string" ? cell : cell.text));
  const widths: number[] = [];
  for (const row of plain) {
    row.forEach((text, i) => widths[i] = Math.max(widths[i] ?? 0, text.length));
  }
  return rows.map((row, r) => {
    const cells = row.map((cell, i) => {
      const text = plain[r][i];
      const padding = i === row.length - 1 ? "" : " ".repeat(widths[i] - text.length);
      return (typeof cell === "string" ? text : cell.paint(text)) + padding;
    });
    return `${cells.join("  ").trimEnd()}\n`;
  }).join("");
}

/** `1.4 GB`; powers of ten, as disks are sold. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (value >= 999.5 && i < units.length - 1) {
    value /= 1000;
    i++;
  }
  return `${i === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[i]}`;
}

/** `1,234,567`; toLocaleString would take a tenth of a second to load its tables. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `80 µs`, `1.2 ms`. */
export function microseconds(value: number): string {
  return value < 1000 ? `${Math.round(value)} µs` : `${(value / 1000).toFixed(1)} ms`;
}

/** What came from elsewhere cannot command the terminal: control characters are shown, not sent. */
export function visible(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The colour of a module's state: protected, not protected, off. */
export function stateColor(c: Colors, { state, ready }: ModuleStatus): Paint {
  if (state === "STOP") return c.red;
  return ready && (state === "PRIM" || state === "SECOND") ? c.green : c.yellow;
}
