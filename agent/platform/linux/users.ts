/**
 * Which processes use a directory, from /proc alone.
 *
 * A path in /proc names a file as its own mount namespace sees it: the same text may mean another
 * file in a container, and the same file may have another name there. So the directory is located
 * inside its file system first, and every namespace is asked under which names it shows that place.
 * No file is ever opened or examined, so a hanging file system cannot hold this up.
 */

import { AT, O } from "./constants.ts";
import { allocate, cstring, type Libc, type Memory, withStrings } from "./libc.ts";
import { aliases, isWithin, locate, type MountEntry } from "./mountinfo.ts";
import { readMounts } from "./mounts.ts";

export type Usage =
  | "working directory"
  | "root directory"
  | "open file"
  | "program"
  | "mapped file"
  | "loop device";

export interface DirectoryUser {
  /** 0 for a loop device, which the kernel holds */
  pid: number;
  /** the process's short name, e.g. `postgres` */
  command: string;
  how: Usage;
  /** what it uses, as the process sees it */
  path: string;
  /** which of the directories */
  directory: string;
}

/** The directories under the names that one mount namespace has for them. */
type Names = { name: string; directory: string }[];

/** How long the scan holds the thread at a stretch, in milliseconds. */
const stretchMs = 10;
const pathMax = 4096;

interface Scan {
  libc: Libc;
  directories: readonly string[];
  ours: MountEntry[];
  namespaces: Map<string, Names>;
  name: Memory;
  link: Memory;
}

/**
 * The processes that use one of `directories` (absolute, without symbolic links) or anything below:
 * one entry for each process and directory. This process and `ignore` are left out, and so are
 * processes that vanish meanwhile or may not be examined.
 */
export async function directoryUsers(
  libc: Libc,
  directories: readonly string[],
  ignore: readonly number[] = [],
): Promise<DirectoryUser[]> {
  const scan: Scan = {
    libc,
    directories,
    ours: readMounts(),
    namespaces: new Map(),
    name: allocate(pathMax),
    link: allocate(pathMax),
  };
  const users: DirectoryUser[] = [];
  let since = performance.now();
  for (const pid of processes()) {
    if (pid === Deno.pid || ignore.includes(pid)) continue;
    users.push(...usesOf(scan, pid));
    if (performance.now() - since > stretchMs) {
      await new Promise((next) => setTimeout(next, 0));
      since = performance.now();
    }
  }
  users.push(...loopDevices(scan));
  return users;
}

function* processes(): Generator<number> {
  for (const { name } of Deno.readDirSync("/proc")) {
    const pid = Number(name);
    if (Number.isInteger(pid)) yield pid;
  }
}

function usesOf(scan: Scan, pid: number): DirectoryUser[] {
  const names = namesFor(scan, pid);
  if (names.length === 0) return [];
  const found = new Map<string, DirectoryUser>();
  const check = (how: Usage, path: string | undefined) => {
    if (path === undefined) return;
    for (const { name, directory } of names) {
      if (found.has(directory) || !isWithin(path, name)) continue;
      found.set(directory, { pid, command: commandOf(pid), how, path, directory });
    }
  };
  check("working directory", readLink(scan, `/proc/${pid}/cwd`));
  check("root directory", readLink(scan, `/proc/${pid}/root`));
  check("program", readLink(scan, `/proc/${pid}/exe`));
  for (const path of descriptorPaths(scan, pid)) check("open file", path);
  if (found.size < scan.directories.length) {
    for (const path of mappedPaths(pid, names)) check("mapped file", path);
  }
  return [...found.values()];
}

/** The directories as the process's namespace names them; none where it may not be examined. */
function namesFor(scan: Scan, pid: number): Names {
  const namespace = readLink(scan, `/proc/${pid}/ns/mnt`);
  if (namespace === undefined) return [];
  const known = scan.namespaces.get(namespace);
  if (known) return known;
  const names: Names = [];
  try {
    const same = namespace === readLink(scan, "/proc/self/ns/mnt");
    const entries = same ? scan.ours : readMounts(pid);
    for (const directory of scan.directories) {
      const place = locate(scan.ours, directory);
      if (!place) continue;
      for (const name of aliases(entries, place)) names.push({ name, directory });
    }
  } catch {
    return []; // vanished: another process of its namespace may still answer
  }
  scan.namespaces.set(namespace, names);
  return names;
}

/** The target of a link in /proc; undefined where it cannot be read. */
function readLink(scan: Scan, path: string, dirFd: number = AT.FDCWD): string | undefined {
  const address = cstring(scan.name, path);
  const length = scan.libc.sys.readlinkat(dirFd, address, scan.link.address, pathMax);
  return length < 0 ? undefined : decoder.decode(scan.link.bytes.subarray(0, length));
}

const decoder = new TextDecoder();

function* descriptorPaths(scan: Scan, pid: number): Generator<string> {
  const directory = `/proc/${pid}/fd`;
  const fd = withStrings(
    [directory],
    ([path]) => scan.libc.sys.open(path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0),
  );
  if (fd < 0) return;
  try {
    for (const { name } of Deno.readDirSync(directory)) {
      const path = readLink(scan, name, fd);
      if (path?.startsWith("/")) yield path; // not `socket:[1]` and the like
    }
  } catch {
    // the process has ended
  } finally {
    scan.libc.sys.close(fd);
  }
}

/** The mapped files whose path begins with one of the names. */
function* mappedPaths(pid: number, names: Names): Generator<string> {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/maps`);
  } catch {
    return;
  }
  for (const { name } of names) {
    // proc(5): address perms offset dev inode, then the path after spaces
    for (let at = text.indexOf(` ${name}`); at >= 0; at = text.indexOf(` ${name}`, at + 1)) {
      const end = text.indexOf("\n", at);
      yield text.slice(at + 1, end < 0 ? undefined : end);
    }
  }
}

function commandOf(pid: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return "?";
  }
}

/** Loop devices over an image in the directories: the kernel writes to it behind any mount over it. */
function loopDevices(scan: Scan): DirectoryUser[] {
  const users: DirectoryUser[] = [];
  try {
    for (const { name } of Deno.readDirSync("/sys/block")) {
      if (!name.startsWith("loop")) continue;
      let path: string;
      try {
        path = Deno.readTextFileSync(`/sys/block/${name}/loop/backing_file`).trimEnd();
      } catch {
        continue; // not attached
      }
      const directory = scan.directories.find((directory) => isWithin(path, directory));
      if (directory) users.push({ pid: 0, command: name, how: "loop device", path, directory });
    }
  } catch {
    // no /sys here
  }
  return users;
}

/** `postgres (pid 812, open file /srv/db/base)`: for messages. */
export function describeUser(user: DirectoryUser): string {
  const who = user.pid === 0 ? "" : `pid ${user.pid}, `;
  return `${user.command} (${who}${user.how} ${user.path})`;
}
