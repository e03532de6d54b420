/** The backing file system itself: what nothing that mirrors can beat. */

import { run } from "./host.ts";
import type { Bench, System } from "./system.ts";

/** The name of the file system that holds a path, e.g. "ext4". */
export async function fileSystemOf(path: string): Promise<string> {
  const name = await run(["stat", "--file-system", "--format", "%T", path]);
  return name.trim() === "ext2/ext3" ? "ext4" : name.trim();
}

export async function startExt4(bench: Bench): Promise<System> {
  const directory = `${bench.directory}/ext4`;
  await Deno.mkdir(directory);
  return {
    name: "ext4",
    title: await fileSystemOf(directory),
    settings: `the file system that holds every system's data, used directly`,
    enter: [],
    directory,
    cannot: [],
    settle: () => Promise.resolve(),
  };
}
