/** What a module asks of this machine before its directories are mounted over. */

import { inspectDirectories } from "./config/inspect.ts";
import type { AgentConfig, ModuleConfig } from "./config/types.ts";
import type { EventLevel } from "./events.ts";
import { inUseText, mountSource } from "./failover/module.ts";
import { notProtected } from "./failover/status.ts";
import { compileExcludes } from "./mirror/exclude.ts";
import type { Platform } from "./platform/platform.ts";

/** Names that a file system makes by itself. */
const ownNames = new Set(["lost+found"]);

/** True where the module's directories hold nothing but what is excluded. */
export async function isEmpty(module: ModuleConfig): Promise<boolean> {
  for (const { path, exclude } of module.mirror.directories) {
    const excludes = compileExcludes(exclude);
    for await (const entry of Deno.readDir(path)) {
      if (!ownNames.has(entry.name) && !excludes.matchName("", entry.name)) return false;
    }
  }
  return true;
}

/** Why the directories cannot be mirrored now, for people; undefined where they can. */
export async function findObstacle(
  platform: Platform,
  agent: AgentConfig,
  module: ModuleConfig,
  event: (level: EventLevel, module: string, text: string) => void,
): Promise<string | undefined> {
  const paths = module.mirror.directories.map((d) => d.path);
  const { cleared, left } = await platform.clearDeadMounts(mountSource(module.name));
  for (const path of cleared) {
    event(
      "warning",
      module.name,
      `the dead mount of an agent that was killed is gone from ${path}`,
    );
  }
  const taken = left.find(({ path }) => paths.includes(path));
  if (taken) return `${taken.path}: ${taken.reason}`;
  for (const path of paths) {
    // Asked from another thread first: a disk that hangs must not hold the heartbeats up.
    try {
      await Deno.lstat(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return `${path} does not exist: create it`;
      return `${path} cannot be used: ${(error as Error).message}`;
    }
  }
  const mistake = inspectDirectories(module, agent).find((f) => f.severity === "error");
  if (mistake) return mistake.message;
  return inUseText(await platform.directoryUsers(paths));
}

/** What speaks against mirroring the directories, though it can be done. */
export function findWarnings(
  platform: Platform,
  agent: AgentConfig,
  module: ModuleConfig,
): string[] {
  const found = inspectDirectories(module, agent)
    .filter((f) => f.severity === "warning")
    .map((f) => f.message);
  for (const { path } of module.mirror.directories) {
    const problem = platform.mountProblem(path);
    if (problem) found.push(notProtected + problem);
  }
  const unmanaged = [
    module.application.start !== undefined || module.application.stop !== undefined
      ? "application"
      : "",
    module.vip.length > 0 ? "virtual addresses" : "",
    module.checks.length > 0 ? "checks" : "",
  ].filter((word) => word !== "");
  if (unmanaged.length > 0) {
    found.push(
      `this version mirrors only: it leaves the module's ${unmanaged.join(", ")} to the operator`,
    );
  }
  return found;
}
