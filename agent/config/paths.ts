/** How paths lie to each other. Pure: symbolic links are not followed here. */
import type { AgentConfig } from "./types.ts";

/** True where `inner` is `outer` or lies below it; both are absolute and normalised. */
export function contains(outer: string, inner: string): boolean {
  return outer === inner || inner.startsWith(outer === "/" ? "/" : `${outer}/`);
}

/** True where one of the two contains the other. */
export function overlap(a: string, b: string): boolean {
  return contains(a, b) || contains(b, a);
}

/** Directories the system itself runs from: hiding them behind a mount takes the machine down. */
const SYSTEM = [
  "/",
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/proc",
  "/run",
  "/sbin",
  "/sys",
  "/usr",
  "/usr/bin",
  "/usr/lib",
  "/usr/local/bin",
  "/usr/sbin",
  "/var",
];

/** Trees that hold no files of an application's. /dev/shm is memory, but it holds files. */
const PSEUDO = ["/proc", "/sys", "/dev"];

/** Why a path can never be mirrored, as the end of "found ...", or undefined. */
export function unmirrorable(path: string): string | undefined {
  if (path === "/") return "the root directory";
  if (SYSTEM.includes(path)) return `${path}, which the system itself runs from`;
  const pseudo = PSEUDO.find((p) => contains(p, path));
  if (pseudo !== undefined && !contains("/dev/shm", path)) {
    return `a path on the pseudo file system ${pseudo}`;
  }
  return undefined;
}

/** A path that must stay outside of every mirrored directory. */
export interface Reserved {
  path: string;
  /** what it is, such as "state_dir" */
  what: string;
  /** whether a mirrored directory may not lie inside it either */
  isDirectory: boolean;
}

/** The paths the agent itself needs: a mirror over them would hide or replace them. */
export function reservedPaths(agent: AgentConfig): Reserved[] {
  return [
    { path: agent.state_dir, what: "state_dir", isDirectory: true },
    { path: agent.modules_dir, what: "modules_dir", isDirectory: true },
    { path: agent.file, what: "the configuration", isDirectory: false },
    { path: agent.cluster.secret_file, what: "cluster.secret_file", isDirectory: false },
    { path: agent.http.token_file, what: "http.token_file", isDirectory: false },
  ];
}

/** How a mirrored directory collides with what the agent needs, as the end of "found ...". */
export function collision(directory: string, reserved: readonly Reserved[]): string | undefined {
  for (const { path, what, isDirectory } of reserved) {
    if (contains(directory, path)) {
      return directory === path
        ? `"${directory}", which is ${what}`
        : `"${directory}", which holds ${what} (${path})`;
    }
    if (isDirectory && contains(path, directory)) {
      return `"${directory}", which lies in ${what} (${path})`;
    }
  }
  return undefined;
}
