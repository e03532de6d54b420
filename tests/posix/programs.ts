/** Compiles the C programs of the tests, once for every state of their sources. */

import { repository, workDirectory } from "../lib/paths.ts";
import { run } from "../lab/process.ts";

/** The programs and their sources, relative to `tests/`. */
const sources = {
  conform: ["posix/conform.c", "posix/check.c", "posix/subjects.c", "posix/subjects/*.c"],
  exerciser: ["posix/exerciser.c"],
  namespace: ["posix/namespace.c"],
  opener: ["workloads/opener.c"],
  mapped: ["workloads/mapped.c"],
  writer: ["faults/writer.c"],
} as const;

export type Program = keyof typeof sources;

/** Warnings that the checks provoke on purpose: bad pointers, results that nobody looks at. */
const compilerFlags = "-std=gnu17 -O1 -pthread -Wall -Wextra -Wno-unused-result " +
  "-Wno-stringop-overread -Wno-stringop-overflow -Wno-nonnull -Wno-format-truncation -Werror";

/**
 * The path of a compiled program, which hosts of the lab reach as well. Throws where the compiler
 * (`cc`) fails or is missing.
 */
export async function program(name: Program): Promise<string> {
  const files = await Promise.all(sources[name].map(expand)).then((lists) => lists.flat());
  const headers = await expand("posix/*.h");
  const texts = await Promise.all([...files, ...headers].map((file) => Deno.readTextFile(file)));
  const bytes = new TextEncoder().encode([compilerFlags, ...texts].join("\0"));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 16);
  const directory = `${workDirectory}/programs`;
  const target = `${directory}/${name}-${digest}`;
  if (await exists(target)) return target;
  await Deno.mkdir(directory, { recursive: true });
  // Another test may compile the same program at the same time.
  const unfinished = await Deno.makeTempFile({ dir: directory });
  await run([], ["cc", ...compilerFlags.split(" "), "-o", unfinished, ...files], {
    timeout: 120_000,
  });
  await Deno.chmod(unfinished, 0o755);
  await Deno.rename(unfinished, target);
  return target;
}

/** Files of a pattern with at most one star, in its last part. */
async function expand(pattern: string): Promise<string[]> {
  const path = `${repository}/tests/${pattern}`;
  if (!pattern.includes("*")) return [path];
  const [directory, last] = [path.replace(/\/[^/]*$/, ""), path.replace(/.*\//, "")];
  const [prefix, suffix] = last.split("*");
  const found: string[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    if (name.startsWith(prefix) && name.endsWith(suffix)) found.push(`${directory}/${name}`);
  }
  return found.sort();
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
