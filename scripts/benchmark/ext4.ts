/** The backing file system itself: what nothing that mirrors can beat. */

import { output } from "./host.ts";
import type { Bench, System } from "./system.ts";

/** The name of the file system that holds a path, e.g. "ext4". */
export async function fileSystemOf(path: string): Promise<string> {
  const name = (await output([], ["stat", "--file-system", "--format", "%T", path])).trim();
  return name === "ext2/ext3" ? "ext4" : name;
}

export async function startExt4(bench: Bench): Promise<System> {
  const directory = `${bench.directory}/ext4`;
  await Deno.mkdir(directory);
  return {
    name: "ext4",
    title: await fileSystemOf(directory),
    settings: "the file system that holds every system's data, used directly",
    directory,
    cannot: [],
    run: (command) => output([], command),
    settle: () => Promise.resolve(),
  };
}
