/** The operations of a history. They are plain data: a model applies them, a process performs them. */

export interface Place {
  /** number of the mirrored directory */
  directory: number;
  /** path in it, one character per byte */
  path: string;
}

export type Operation =
  | { kind: "mkdir"; at: Place; mode: number }
  /** a new file, opened for reading and writing */
  | { kind: "create"; at: Place; mode: number; handle: number }
  | { kind: "open"; at: Place; handle: number; append: boolean }
  | { kind: "close"; handle: number }
  /** a file without a name, written, then linked in */
  | { kind: "temporary"; at: Place; mode: number; length: number }
  | { kind: "write"; handle: number; offset: number; length: number }
  | { kind: "append"; handle: number; length: number }
  /** overwrites the first 8 bytes of a small file with a rising number: opened, written, closed */
  | { kind: "mark"; at: Place; value: number; sync: boolean }
  /** copy_file_range between two open files of one directory */
  | { kind: "copy"; from: number; to: number; offset: number; target: number; length: number }
  | { kind: "truncate"; handle: number; size: number }
  | {
    kind: "allocate";
    handle: number;
    how: "extend" | "keep" | "punch" | "zero";
    offset: number;
    length: number;
  }
  | { kind: "fsync"; handle: number; dataOnly: boolean }
  | { kind: "rename"; at: Place; to: Place; exchange: boolean }
  | { kind: "link"; at: Place; to: Place }
  | { kind: "symlink"; at: Place; target: string }
  | { kind: "fifo"; at: Place; mode: number }
  | { kind: "unlink"; at: Place }
  | { kind: "rmdir"; at: Place }
  | { kind: "mode"; at: Place; mode: number }
  | { kind: "owner"; at: Place; uid: number; gid: number }
  | { kind: "times"; at: Place; mtime: bigint }
  /** without a value: removed */
  | { kind: "attribute"; at: Place; name: string; value: string | undefined };

/** One line, for messages. */
export function describe(operation: Operation): string {
  const { kind, ...rest } = operation;
  const text = JSON.stringify(rest, (_, value) => typeof value === "bigint" ? `${value}` : value);
  return `${kind} ${text}`;
}
