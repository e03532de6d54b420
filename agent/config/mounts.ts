/** The mounts this process sees, and what their file systems are good for. */
import { readFileSync } from "node:fs";
import { type MountEntry, parseMountinfo } from "../platform/linux/mountinfo.ts";

/** The mounts of this process; none where the system has no mountinfo. */
export function readMounts(): MountEntry[] {
  try {
    return parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  } catch {
    return [];
  }
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
