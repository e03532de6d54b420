/** /proc/<pid>/mountinfo as data (proc(5)), and questions about it that need nothing but that data. */

/** One mount as a mount namespace sees it. */
export interface MountEntry {
  id: number;
  parent: number;
  /** device of the file system, as mountinfo gives it (on btrfs not the st_dev of its files) */
  major: number;
  minor: number;
  /** the directory of the file system that is mounted, `/` unless it is a bind mount */
  root: string;
  mountPoint: string;
  /** options of this mount, e.g. `rw`, `noatime` */
  options: string[];
  /** propagation, e.g. `shared:1`, `master:2` */
  propagation: string[];
  /** e.g. `ext4`, `fuse.understudy` */
  type: string;
  source: string;
  /** options of the file system */
  superOptions: string[];
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Undoes the octal escapes of mountinfo (`\040` for a space). */
export function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  const bytes = encoder.encode(text);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const digits = bytes[i] === 0x5c ? text0to7(bytes, i + 1) : -1;
    bytes[length++] = digits < 0 ? bytes[i] : digits;
    if (digits >= 0) i += 3;
  }
  return decoder.decode(bytes.subarray(0, length));
}

function text0to7(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 3; i++) {
    const digit = bytes[i] - 0x30;
    if (!(digit >= 0 && digit <= 7)) return -1;
    value = value * 8 + digit;
  }
  return value <= 255 ? value : -1;
}

/**
 * Parses mountinfo; lines it does not understand are left out. Bytes of a path that are not UTF-8
 * become U+FFFD.
 */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    if (separator < 0 || fields.length < separator + 4) continue;
    const [major, minor] = fields[2].split(":").map(Number);
    entries.push({
      id: Number(fields[0]),
      parent: Number(fields[1]),
      major,
      minor,
      root: unescapeOctal(fields[3]),
      mountPoint: unescapeOctal(fields[4]),
      options: fields[5].split(","),
      propagation: fields.slice(6, separator),
      type: unescapeOctal(fields[separator + 1]),
      source: unescapeOctal(fields[separator + 2]),
      superOptions: fields[separator + 3].split(","),
    });
  }
  return entries;
}

/** True where `path` is `directory` or lies below it. Both are absolute, without a final slash. */
export function isWithin(path: string, directory: string): boolean {
  if (directory === "/") return path.startsWith("/");
  return path.startsWith(directory) &&
    (path.length === directory.length || path[directory.length] === "/");
}

/** Joins a directory of a mount and the rest of a path below it. */
function join(directory: string, rest: string): string {
  if (rest === "" || rest === "/") return directory;
  return (directory === "/" ? "" : directory) + (rest.startsWith("/") ? rest : "/" + rest);
}

/**
 * The mount that `path` (absolute, free of symbolic links) leads to, as the kernel would find it:
 * mounts that others cover are passed over. Undefined where the list has no root for it.
 */
export function mountAt(entries: readonly MountEntry[], path: string): MountEntry | undefined {
  const ids = new Set(entries.map((entry) => entry.id));
  // A root mount's parent lies outside the list, or is itself.
  let current: MountEntry | undefined;
  for (const entry of entries) {
    const top = !ids.has(entry.parent) || entry.parent === entry.id;
    if (!top || !isWithin(path, entry.mountPoint)) continue;
    if (!current || entry.mountPoint.length >= current.mountPoint.length) current = entry;
  }
  while (current) {
    const here: MountEntry = current;
    let next: MountEntry | undefined;
    for (const entry of entries) {
      if (entry.parent !== here.id || entry === here || !isWithin(path, entry.mountPoint)) continue;
      // The first mount point on the way down is the one that is crossed.
      if (!next || entry.mountPoint.length < next.mountPoint.length) next = entry;
    }
    if (!next) return here;
    current = next;
  }
  return undefined;
}

/** A directory named independently of where it is mounted. */
export interface FilesystemPath {
  major: number;
  minor: number;
  /** path inside the file system */
  path: string;
}

/** Where a path leads to inside its file system. */
export function locate(entries: readonly MountEntry[], path: string): FilesystemPath | undefined {
  const mount = mountAt(entries, path);
  if (!mount) return undefined;
  const rest = path.slice(mount.mountPoint === "/" ? 0 : mount.mountPoint.length);
  return { major: mount.major, minor: mount.minor, path: join(mount.root, rest) };
}

/**
 * Every path at which a directory, or a part of it, can be reached in a mount namespace: bind mounts
 * and containers show it under other names.
 */
export function aliases(entries: readonly MountEntry[], target: FilesystemPath): string[] {
  const found = new Set<string>();
  for (const entry of entries) {
    if (entry.major !== target.major || entry.minor !== target.minor) continue;
    let alias: string;
    let inside: string;
    if (isWithin(target.path, entry.root)) {
      alias = join(entry.mountPoint, target.path.slice(entry.root === "/" ? 0 : entry.root.length));
      inside = target.path;
    } else if (isWithin(entry.root, target.path)) {
      alias = entry.mountPoint;
      inside = entry.root;
    } else continue;
    const seen = locate(entries, alias); // covered by another mount?
    if (seen?.path === inside && seen.major === target.major && seen.minor === target.minor) {
      found.add(alias);
    }
  }
  return [...found];
}

/** Mounts strictly below `path` that can be reached there. */
export function mountsBelow(entries: readonly MountEntry[], path: string): MountEntry[] {
  return entries.filter((entry) =>
    entry.mountPoint !== path && isWithin(entry.mountPoint, path) &&
    mountAt(entries, entry.mountPoint) === entry
  );
}
