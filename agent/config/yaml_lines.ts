/** Where keys and values stand in a YAML document. */
import { isMap, isPair, isScalar, isSeq, type LineCounter } from "yaml";
import { formatPath } from "./finding.ts";

/**
 * The 1-based line of every key and sequence item, by {@link formatPath} of its path. What an alias
 * stands for is not entered: its line is the alias's own.
 *
 * @param contents the document's root node
 * @param counter the counter the document was parsed with
 */
export function yamlLines(contents: unknown, counter: LineCounter): Map<string, number> {
  const lines = new Map<string, number>();
  const record = (path: (string | number)[], node: unknown) => {
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    if (range) lines.set(formatPath(path), counter.linePos(range[0]).line);
  };
  const walk = (node: unknown, path: (string | number)[]): void => {
    if (isMap(node)) {
      for (const pair of node.items) {
        if (!isPair(pair)) continue;
        const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
        record([...path, key], pair.key);
        walk(pair.value, [...path, key]);
      }
    } else if (isSeq(node)) {
      node.items.forEach((item, i) => {
        record([...path, i], item);
        walk(item, [...path, i]);
      });
    }
  };
  walk(contents, []);
  return lines;
}
