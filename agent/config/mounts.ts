/** The mounts this process sees, from /proc/self/mountinfo (man 5 proc_pid_mountinfo). */
import { readFileSync } from "node:fs";
import { contains } from "./paths.ts";

/** One mount. */
export interface Mount {
  /** where it is mounted */
  path: string;
  /** the file system's type, such as "ext4" */
  type: string;
  /** what is mounted, as the file system names it */
  source: string;
}

/** Parses the text of mountinfo; lines that do not look like it are passed over. */
export function parseMountInfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    // 36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw
    const [left, right] = line.split(" - ");
    const path = left.split(" ")[4];
    const [type, source] = (right ?? "").split(" ");
    return path && type ? [{ path: unescape(path), type, source: unescape(source ?? "") }] : [];
  });
}

/** The mounts of this process; none where the system has no mountinfo. */
export function readMounts(): Mount[] {
  try {
    return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
  } catch {
    return [];
  }
}

/** The mount a path lies on: the deepest, and of several on one place the latest. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    if (contains(mount.path, path) && mount.path.length >= (best?.path.length ?? 0)) best = mount;
  }
  return best;
}

/** Mounts strictly below a directory, each place once. */
export function mountsBelow(mounts: readonly Mount[], directory: string): Mount[] {
  const below = mounts.filter((m) => m.path !== directory && contains(directory, m.path));
  return [...new Map(below.map((m) => [m.path, m])).values()];
}

/** File systems that are the kernel talking, not files: nothing in them can be mirrored. */
export const PSEUDO_FILE_SYSTEMS: ReadonlySet<string> = new Set([
  "autofs",
  "binfmt_misc",
  "bpf",
  "cgroup",
  "cgroup2",
  "configfs",
  "debugfs",
  "devpts",
  "devtmpfs",
  "efivarfs",
  "fusectl",
  "hugetlbfs",
  "mqueue",
  "nsfs",
  "proc",
  "pstore",
  "resctrl",
  "rpc_pipefs",
  "securityfs",
  "selinuxfs",
  "sysfs",
  "tracefs",
]);

/** File systems in memory: their files are gone after a reboot. */
export const MEMORY_FILE_SYSTEMS: ReadonlySet<string> = new Set(["tmpfs", "ramfs"]);

/** Undoes the kernel's octal escapes of blanks and backslashes: `\040`. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
}
