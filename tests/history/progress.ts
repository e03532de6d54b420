/**
 * How far a process has come: a small file outside the mirror, written before and after each
 * operation. It survives whatever happens to the process and its host, short of the machine itself.
 */

import { allocate } from "../../agent/platform/linux/libc.ts";
import { bytePath, openFiles, OpenFlag } from "../lab/files.ts";

/** Numbers in the file, 8 bytes each. */
const Field = {
  begun: 0,
  acknowledged: 1,
  /** bytes that the operation in flight was told to have written */
  written: 2,
  /** 1 after the process met an error; then its errno */
  failed: 3,
  errno: 4,
  /** first of the values of marks that are on both nodes, one per directory */
  marks: 5,
} as const;

export interface Progress {
  /** operations begun and returned; at most one is in flight */
  begun: number;
  acknowledged: number;
  written: number;
  /** errno of the error that ended the process; 0 where a write was cut short */
  error: number | undefined;
  marks: number[];
}

export interface ProgressLog {
  begin(): void;
  acknowledge(): void;
  fail(errno: number, written: number): void;
  mark(directory: number, value: number): void;
  close(): void;
}

/** Memory files: `marks` has this many places. */
export const maxMarks = 16;
const length = 8 * (Field.marks + maxMarks);

const files = openFiles();

/** Creates the file. */
export function createProgressLog(path: string): ProgressLog {
  const { sys } = files.libc;
  const fd = files.open(bytePath(path), OpenFlag.create | OpenFlag.writeOnly, 0o644);
  const memory = allocate(length);
  const set = (field: number, value: number) =>
    memory.view.setBigUint64(8 * field, BigInt(value), true);
  const flush = () => {
    if (sys.pwrite(fd, memory.address, length, 0n) !== length) {
      throw new Error(`Progress cannot be written to ${path}: errno ${files.libc.errno()}`);
    }
  };
  let [begun, acknowledged] = [0, 0];
  flush();
  return {
    begin() {
      set(Field.begun, ++begun);
      flush();
    },
    acknowledge() {
      set(Field.acknowledged, ++acknowledged);
      flush();
    },
    fail(errno, written) {
      set(Field.failed, 1);
      set(Field.errno, errno);
      set(Field.written, written);
      flush();
    },
    mark: (directory, value) => set(Field.marks + directory, value),
    close: () => files.close(fd),
  };
}

/** Reads the file; undefined where the process has not started yet. */
export function readProgress(path: string): Progress | undefined {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (bytes.length < length) return undefined;
  const view = new DataView(bytes.buffer);
  const get = (field: number) => Number(view.getBigUint64(8 * field, true));
  return {
    begun: get(Field.begun),
    acknowledged: get(Field.acknowledged),
    written: get(Field.written),
    error: get(Field.failed) === 1 ? get(Field.errno) : undefined,
    marks: Array.from({ length: maxMarks }, (_, i) => get(Field.marks + i)),
  };
}
