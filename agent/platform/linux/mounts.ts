/** Mounting, unmounting and looking after Understudy's own FUSE mounts. */

import { Errno, S } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { type Libc, withStrings } from "./libc.ts";
import { mountAt, type MountEntry, parseMountinfo } from "./mountinfo.ts";

// linux/mount.h, sys/mount.h
const MS_RDONLY = 1;
const MS_NOATIME = 1024;
const MNT_FORCE = 1;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** The type our mounts show in mountinfo. */
export const mountType = "fuse.understudy";

/** The mounts of a process's namespace, ours by default. Throws `Deno.errors.NotFound` when it is gone. */
export function readMounts(pid: number | "self" = "self"): MountEntry[] {
  return parseMountinfo(Deno.readTextFileSync(`/proc/${pid}/mountinfo`));
}

export interface FuseMountOptions {
  /** bytes of the largest read request; default 1 MiB */
  maxRead?: number;
  /** mounts read-only for everybody; a follower that is to be promoted in place refuses writes itself */
  readOnly?: boolean;
  /** type of the root, S_IFDIR unless a single file is covered */
  rootMode?: number;
}

/**
 * Mounts an open /dev/fuse over `directory`: for all users, permissions checked by the kernel from the
 * modes we report, access times left alone, set-id bits and device nodes in effect.
 *
 * @throws {SystemError}
 */
export function mountFuse(
  libc: Libc,
  devFuseFd: number,
  directory: string,
  source: string,
  options: FuseMountOptions = {},
): void {
  const { maxRead = 1 << 20, readOnly = false, rootMode = S.IFDIR } = options;
  const data = `fd=${devFuseFd},rootmode=${rootMode.toString(8)},user_id=0,group_id=0,` +
    `allow_other,default_permissions,max_read=${maxRead}`;
  const flags = MS_NOATIME | (readOnly ? MS_RDONLY : 0);
  const result = withStrings(
    [source, directory, mountType, data],
    ([src, dir, type, opts]) => libc.sys.mount(src, dir, type, flags, opts),
  );
  if (result < 0) {
    const cause = libc.errno();
    throw new SystemError("mount", cause, `FUSE over ${directory}`, mountAdvice(cause));
  }
}

function mountAdvice(cause: number): string {
  switch (cause) {
    case Errno.EPERM:
    case Errno.EACCES:
      return "The agent must run as root with CAP_SYS_ADMIN in its own mount namespace";
    case Errno.ENODEV:
      return "This kernel has no FUSE: load it with `modprobe fuse`";
    case Errno.ENOENT:
      return "Create the directory first";
    case Errno.ENOTCONN:
      return "A dead mount stands there: unmount it with `umount -l`";
    default:
      return "";
  }
}

export interface UnmountOptions {
  /** detaches now, ends when the last user has gone (MNT_DETACH) */
  lazy?: boolean;
  /** aborts outstanding requests first (MNT_FORCE) */
  force?: boolean;
}

/**
 * Unmounts the topmost mount at `path`. False where nothing is mounted there.
 *
 * @throws {SystemError} EBUSY while processes use it and it is not lazy.
 */
export function unmount(libc: Libc, path: string, options: UnmountOptions = {}): boolean {
  const flags = UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0) | (options.force ? MNT_FORCE : 0);
  const result = withStrings([path], ([address]) => libc.sys.umount2(address, flags));
  if (result === 0) return true;
  const cause = libc.errno();
  if (cause === Errno.EINVAL || cause === Errno.ENOENT) return false;
  const advice = cause === Errno.EBUSY
    ? "Processes still use it: end them, or unmount it lazily"
    : cause === Errno.EPERM
    ? "The agent must run as root"
    : "";
  throw new SystemError("unmount", cause, path, advice);
}

/** Understudy's mounts whose source begins with `sourcePrefix`, in the order they were made. */
export function findOurMounts(sourcePrefix: string): MountEntry[] {
  return readMounts().filter((entry) =>
    entry.type === mountType && entry.source.startsWith(sourcePrefix)
  );
}

/**
 * Whether a server still answers for the mount at `path`. Asks it, off this thread: `hanging` after
 * `timeoutMs` without an answer.
 */
export async function mountState(
  path: string,
  timeoutMs = 2000,
): Promise<"alive" | "dead" | "hanging"> {
  let timer: number | undefined;
  const late = new Promise<"hanging">((resolve) => {
    timer = setTimeout(() => resolve("hanging"), timeoutMs);
  });
  // A name that nobody has asked for yet: the attributes of `path` itself may stand in the kernel's
  // cache, where they outlive the server.
  const asked = Deno.lstat(`${path}/.understudy-${crypto.randomUUID()}`).then(
    () => "alive" as const,
    (error) => isDead(error) ? "dead" as const : "alive" as const,
  );
  const state = await Promise.race([asked, late]);
  clearTimeout(timer);
  return state;
}

/** ENOTCONN: no connection; ECONNABORTED: aborted, and the server has not noticed yet. */
function isDead(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return code === "ENOTCONN" || code === "ECONNABORTED";
}

export interface ClearResult {
  /** mount points from which a dead mount was taken, once for each mount */
  cleared: string[];
  left: { path: string; reason: string }[];
}

/**
 * Unmounts what a dead agent left: Understudy's mounts whose source begins with `sourcePrefix` and
 * whose server is gone, stacked ones too. Mounts that are alive stay. Whoever holds the module's lock
 * may also clear those that hang (`abortHanging`): their connection is aborted first.
 */
export async function clearDeadMounts(
  libc: Libc,
  sourcePrefix: string,
  options: { timeoutMs?: number; abortHanging?: boolean } = {},
): Promise<ClearResult> {
  const result: ClearResult = { cleared: [], left: [] };
  const paths = new Set(findOurMounts(sourcePrefix).map((entry) => entry.mountPoint));
  for (const path of paths) {
    for (;;) {
      const entries = readMounts();
      const ours = entries.filter((entry) =>
        entry.type === mountType && entry.mountPoint === path &&
        entry.source.startsWith(sourcePrefix)
      );
      if (ours.length === 0) break;
      const top = mountAt(entries, path);
      if (!top || !ours.includes(top)) {
        const cover = top ? `${top.type} on ${top.mountPoint}` : "another mount";
        result.left.push({ path, reason: `${cover} covers it: unmount that first` });
        break;
      }
      let state = await mountState(path, options.timeoutMs);
      if (state === "hanging" && options.abortHanging && abortConnection(libc, top.minor)) {
        state = "dead";
      }
      if (state !== "dead") {
        const reason = state === "alive"
          ? "another agent serves it: stop that one first"
          : "another agent holds it but does not answer: end that one first";
        result.left.push({ path, reason });
        break;
      }
      try {
        if (!unmount(libc, path, { lazy: true })) break;
        result.cleared.push(path);
      } catch (error) {
        result.left.push({ path, reason: (error as Error).message });
        break;
      }
    }
  }
  return result;
}

/**
 * Takes away every mount whose source is exactly `source`, whoever serves it and whether or not that one
 * answers: waiting requests fail, and the mount points are plain again. For a data path of this process
 * that does not end by itself.
 *
 * @returns what could not be done, in sentences
 */
export function endMounts(libc: Libc, source: string): string[] {
  const problems: string[] = [];
  for (const entry of findOurMounts(source)) {
    if (entry.source !== source) continue;
    try {
      abortConnection(libc, entry.minor);
      unmount(libc, entry.mountPoint, { lazy: true });
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  return problems;
}

/**
 * Aborts a FUSE connection: every request that waits fails with ECONNABORTED and the server reads
 * ENODEV. `minor` is the mount's device number. Works whether or not fusectl is mounted.
 *
 * @returns false where there is no such connection.
 * @throws {SystemError} when fusectl can neither be found nor mounted.
 */
export function abortConnection(libc: Libc, minor: number): boolean {
  const standard = "/sys/fs/fuse/connections";
  const mounted = readMounts().find((entry) => entry.type === "fusectl")?.mountPoint;
  if (mounted ?? exists(`${standard}/${minor}`)) return writeAbort(mounted ?? standard, minor);
  const directory = Deno.makeTempDirSync({ prefix: "understudy-fusectl-" });
  try {
    const result = withStrings(
      ["fusectl", directory],
      ([type, dir]) => libc.sys.mount(type, dir, type, 0, 0),
    );
    if (result < 0) {
      throw new SystemError("mount", libc.errno(), "fusectl", "The agent must run as root");
    }
    try {
      return writeAbort(directory, minor);
    } finally {
      unmount(libc, directory, { lazy: true });
    }
  } finally {
    Deno.removeSync(directory);
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function writeAbort(connections: string, minor: number): boolean {
  try {
    Deno.writeTextFileSync(`${connections}/${minor}/abort`, "1", { create: false });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

export interface Visibility {
  visible: boolean;
  /** a sentence for the operator where it is not visible; empty otherwise */
  reason: string;
}

/**
 * Whether process `pid` reaches, under `path`, the mount whose device number is `expectedMinor`.
 * Looks at mount tables only: the file system itself is never asked.
 */
export function mountVisibleTo(
  pid: number | "self",
  path: string,
  expectedMinor: number,
): Visibility {
  let entries: MountEntry[];
  try {
    entries = readMounts(pid);
  } catch (error) {
    return { visible: false, reason: `Process ${pid} cannot be examined: ${errorText(error)}` };
  }
  const seen = mountAt(entries, path);
  if (seen?.type === mountType && seen.minor === expectedMinor && seen.major === 0) {
    return { visible: true, reason: "" };
  }
  const who = pid === "self" ? "This process" : `Process ${pid}`;
  const what = seen ? `${seen.type} mounted at ${seen.mountPoint}` : "nothing";
  return {
    visible: false,
    reason:
      `${who} sees ${what} under ${path} instead of the mirror: what it writes there is not ` +
      "mirrored. Remove settings that give the service a mount namespace of its own, such as " +
      "PrivateTmp or ProtectSystem",
  };
}

/**
 * Why mounts that this process makes at `path` would stay invisible to the rest of the system:
 * it lives in a mount namespace of its own whose mounts only receive (as some systemd hardening
 * arranges, and `ip netns exec` as well). Undefined where there is nothing to say; a namespace that
 * is wholly private counts as meant that way.
 */
export function slaveNamespaceProblem(path: string): string | undefined {
  const namespace = (pid: string) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/ns/mnt`);
    } catch {
      return undefined;
    }
  };
  const [ours, init] = [namespace("self"), namespace("1")];
  // Inside a container init may be out of sight; what receives without sending is still suspect.
  if (ours !== undefined && ours === init) return undefined;
  const mount = mountAt(readMounts(), path);
  if (!mount?.propagation.some((tag) => tag.startsWith("master:"))) return undefined;
  return `The agent runs in a mount namespace of its own, and what it mounts at ${path} is not ` +
    "seen outside. Remove PrivateTmp, ProtectSystem, ProtectHome and the like from its service";
}

/** {@link slaveNamespaceProblem} as a yes or no. */
export function isSlaveNamespace(path = "/"): boolean {
  return slaveNamespaceProblem(path) !== undefined;
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
