/**
 * What is known of labs outside the process that owns them, so that leftovers can be found and
 * removed after that process was killed.
 *
 * A lab is a directory `labs/<id>` with an `owner.json`. Everything it consists of lives in
 * namespaces that end with their processes, and these processes carry the lab's directory in their
 * environment ({@link labMark}): nothing else on the machine does, so nothing else is ever touched.
 */

import { workDirectory } from "../lib/paths.ts";
import { waitFor } from "../lib/wait.ts";

/** Holds the lab's directory in the environment of the processes that keep its namespaces. */
export const labMark = "UNDERSTUDY_LAB_DIRECTORY";

export const labsDirectory = `${workDirectory}/labs`;

/** A process beyond doubt: process ids are used again, start times within a boot are not. */
interface Owner {
  pid: number;
  /** clock ticks since boot, field 22 of /proc/PID/stat */
  start: string;
  boot: string;
}

/** Makes a lab's directory, owned by this process. */
export async function registerLab(): Promise<string> {
  await Deno.mkdir(labsDirectory, { recursive: true });
  const directory = await Deno.makeTempDir({ dir: labsDirectory, prefix: "" });
  // makeTempDir gives mode 700; programs under other users must reach their mirrored files.
  await Deno.chmod(directory, 0o755);
  const owner: Owner = { pid: Deno.pid, start: startTime(Deno.pid) ?? "", boot: bootId() };
  await Deno.writeTextFile(`${directory}/owner.json`, JSON.stringify(owner));
  return directory;
}

/** Removes the labs whose owners are gone; returns their directories. */
export async function removeAbandonedLabs(): Promise<string[]> {
  const removed: string[] = [];
  for (const directory of await labDirectories()) {
    if (await ownerLives(directory)) continue;
    await removeLab(directory);
    removed.push(directory);
  }
  return removed;
}

/**
 * Ends every process of a lab, waits until its namespaces, mounts and loop devices are gone, and
 * removes its directory. Does nothing where that has been done. Throws if something resists for 30 s.
 */
export async function removeLab(directory: string): Promise<void> {
  await waitFor(`the processes of ${directory} to end`, () => {
    const processes = markedProcesses(directory);
    for (const pid of processes) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // ended meanwhile
      }
    }
    return processes.length === 0;
  }, { timeout: 30_000 });
  await waitForLoopDevices(directory);
  try {
    await Deno.remove(directory, { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    // Immutable and append-only files resist until their flags are gone.
    const args = ["-R", "-f", "-i", "-a", directory];
    await new Deno.Command("chattr", { args, stdin: "null", stdout: "null", stderr: "null" })
      .output();
    await Deno.remove(directory, { recursive: true });
  }
}

/** Waits until no loop device is backed by a file below `directory`. */
export async function waitForLoopDevices(directory: string): Promise<void> {
  await waitFor(`the loop devices of ${directory} to be released`, () => {
    return loopDevices(directory).length === 0;
  }, { timeout: 30_000 });
}

/** Loop devices backed by files below `directory`, e.g. `loop3`. */
export function loopDevices(directory: string): string[] {
  const devices: string[] = [];
  for (const { name } of Deno.readDirSync("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    const file = readIfThere(`/sys/block/${name}/loop/backing_file`);
    if (file?.startsWith(`${directory}/`)) devices.push(name);
  }
  return devices;
}

/** Processes that carry the lab's mark. */
export function markedProcesses(directory: string): number[] {
  const mark = `${labMark}=${directory}`;
  const processes: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    if (readIfThere(`/proc/${name}/environ`)?.split("\0").includes(mark)) {
      processes.push(Number(name));
    }
  }
  return processes;
}

async function labDirectories(): Promise<string[]> {
  const directories: string[] = [];
  try {
    for await (const entry of Deno.readDir(labsDirectory)) {
      if (entry.isDirectory) directories.push(`${labsDirectory}/${entry.name}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return directories;
}

async function ownerLives(directory: string): Promise<boolean> {
  const text = readIfThere(`${directory}/owner.json`);
  if (text === undefined || text === "") {
    // Just being made, or its owner died in that moment: a minute tells the two apart.
    const { mtime } = await Deno.stat(directory).catch(() => ({ mtime: null }));
    return mtime !== null && Date.now() - mtime.getTime() < 60_000;
  }
  const owner: Owner = JSON.parse(text);
  return owner.boot === bootId() && startTime(owner.pid) === owner.start;
}

function bootId(): string {
  return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
}

function startTime(pid: number): string | undefined {
  // The second field may hold spaces and parentheses: count from the last parenthesis.
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}
