/** Performs operations on real directories. */

import { allocate, type Memory } from "../../agent/platform/linux/libc.ts";
import { bytePath, currentDirectory, openFiles, OpenFlag } from "../lab/files.ts";
import { handleCount, type Model } from "./model.ts";
import type { Operation, Place } from "./operation.ts";
import { markBytes, payload } from "./payload.ts";

export interface Failure {
  errno: number;
  /** bytes that a write which ended early was told to have written */
  written: number;
}

export interface Performer {
  /** Performs one operation; `model` is the state before it. Undefined means success. */
  perform(model: Model, operation: Operation): Failure | undefined;
  close(): void;
}

/** linux/falloc.h: FALLOC_FL_KEEP_SIZE 1, FALLOC_FL_PUNCH_HOLE 2, FALLOC_FL_ZERO_RANGE 16 */
const allocateMode = { extend: 0, keep: 1, punch: 3, zero: 16 } as const;
/** S_IFIFO, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_REMOVEDIR, RENAME_EXCHANGE, UTIME_OMIT */
const fifo = 0o010000;
const noFollow = 0x100;
const follow = 0x400;
const removeDirectory = 0x200;
const exchangeNames = 2;
const omitTime = 0x3ffffffe;
const bufferSize = 1024 * 1024;

const { libc, ...files } = openFiles();
const { sys } = libc;

/** Opens the directories; everything is relative to them, so that a dead mount stays the dead mount. */
export function createPerformer(directories: string[]): Performer {
  const roots = directories.map((directory) =>
    files.open(bytePath(directory), OpenFlag.readOnly | OpenFlag.directory, 0, currentDirectory)
  );
  const descriptors: number[] = Array(handleCount).fill(-1);
  const [first, second, name, times, data] = [8192, 8192, 512, 128, bufferSize].map(allocate);

  const text = (memory: Memory, value: string): number => {
    for (let i = 0; i < value.length; i++) memory.bytes[i] = value.charCodeAt(i);
    memory.bytes[value.length] = 0;
    return memory.address;
  };
  const path = ({ path }: Place, memory = first) => text(memory, path);
  const attributePath = (at: Place) =>
    text(first, `/proc/self/fd/${roots[at.directory]}/${at.path}`);

  /** The outcome of a call that returns a negative number on failure. */
  const outcome = (result: number): Failure | undefined =>
    result >= 0 ? undefined : { errno: libc.errno(), written: 0 };
  /** The outcome of a call that returns how much it did. */
  const complete = (count: number, length: number): Failure | undefined => {
    if (count === length) return undefined;
    return count < 0 ? { errno: libc.errno(), written: 0 } : { errno: 0, written: count };
  };
  const openAt = (at: Place, flags: number, mode = 0) =>
    sys.openat(roots[at.directory], path(at), flags | OpenFlag.closeOnExec, mode);
  const keep = (slot: number, fd: number): Failure | undefined => {
    if (fd >= 0) descriptors[slot] = fd;
    return outcome(fd);
  };
  const load = (bytes: Uint8Array): number => {
    data.bytes.set(bytes);
    return data.address;
  };

  const mark = (operation: Operation & { kind: "mark" }): Failure | undefined => {
    const fd = openAt(operation.at, OpenFlag.writeOnly);
    if (fd < 0) return outcome(fd);
    const bytes = markBytes(operation.value);
    let failure = complete(sys.pwrite(fd, load(bytes), bytes.length, 0n), bytes.length);
    if (operation.sync) failure ??= outcome(sys.fsync(fd));
    const closed = outcome(sys.close(fd));
    return failure ?? closed;
  };

  const temporary = (
    operation: Operation & { kind: "temporary" },
    bytes: Uint8Array,
  ): Failure | undefined => {
    const { directory, path: file } = operation.at;
    const parent = { directory, path: file.slice(0, file.lastIndexOf("/")) };
    const fd = openAt(parent, OpenFlag.temporary | OpenFlag.readWrite, operation.mode);
    if (fd < 0) return outcome(fd);
    const failure = complete(sys.pwrite(fd, load(bytes), bytes.length, 0n), bytes.length) ??
      outcome(sys.linkat(
        currentDirectory,
        text(second, `/proc/self/fd/${fd}`),
        roots[directory],
        path(operation.at),
        follow,
      ));
    sys.close(fd);
    // Without its name nothing of it can be seen.
    return failure && { ...failure, written: 0 };
  };

  const copy = (operation: Operation & { kind: "copy" }): Failure | undefined => {
    times.view.setBigInt64(0, BigInt(operation.offset), true);
    times.view.setBigInt64(8, BigInt(operation.target), true);
    for (let left = operation.length; left > 0;) {
      const count = Number(sys.copy_file_range(
        descriptors[operation.from],
        times.address,
        descriptors[operation.to],
        times.address + 8,
        left,
        0,
      ));
      if (count <= 0) {
        return { errno: count < 0 ? libc.errno() : 0, written: operation.length - left };
      }
      left -= count;
    }
    return undefined;
  };

  const attribute = (operation: Operation & { kind: "attribute" }): Failure | undefined => {
    const { at, value } = operation;
    const key = text(name, operation.name);
    if (value === undefined) return outcome(sys.lremovexattr(attributePath(at), key));
    return outcome(sys.lsetxattr(attributePath(at), key, text(data, value), value.length, 0));
  };

  const perform = (model: Model, operation: Operation): Failure | undefined => {
    const { process, index } = model;
    switch (operation.kind) {
      case "mkdir":
        return outcome(
          sys.mkdirat(roots[operation.at.directory], path(operation.at), operation.mode),
        );
      case "create": {
        const flags = OpenFlag.create | OpenFlag.exclusive | OpenFlag.readWrite;
        return keep(operation.handle, openAt(operation.at, flags, operation.mode));
      }
      case "open": {
        const flags = OpenFlag.readWrite | (operation.append ? OpenFlag.append : 0);
        return keep(operation.handle, openAt(operation.at, flags));
      }
      case "close":
        return outcome(sys.close(descriptors[operation.handle]));
      case "temporary":
        return temporary(operation, payload(process, index, 0, operation.length));
      case "write": {
        const { handle, offset, length } = operation;
        const from = load(payload(process, index, offset, length));
        return complete(sys.pwrite(descriptors[handle], from, length, BigInt(offset)), length);
      }
      case "append": {
        const { handle, length } = operation;
        const from = load(payload(process, index, model.handles[handle]!.node.size, length));
        return complete(sys.write(descriptors[handle], from, length), length);
      }
      case "mark":
        return mark(operation);
      case "copy":
        return copy(operation);
      case "truncate":
        return outcome(sys.ftruncate(descriptors[operation.handle], BigInt(operation.size)));
      case "allocate":
        return outcome(sys.fallocate(
          descriptors[operation.handle],
          allocateMode[operation.how],
          BigInt(operation.offset),
          BigInt(operation.length),
        ));
      case "fsync": {
        const fd = descriptors[operation.handle];
        return outcome(operation.dataOnly ? sys.fdatasync(fd) : sys.fsync(fd));
      }
      case "rename":
        return outcome(sys.renameat2(
          roots[operation.at.directory],
          path(operation.at),
          roots[operation.to.directory],
          path(operation.to, second),
          operation.exchange ? exchangeNames : 0,
        ));
      case "link":
        return outcome(sys.linkat(
          roots[operation.at.directory],
          path(operation.at),
          roots[operation.to.directory],
          path(operation.to, second),
          0,
        ));
      case "symlink":
        return outcome(sys.symlinkat(
          text(second, operation.target),
          roots[operation.at.directory],
          path(operation.at),
        ));
      case "fifo":
        return outcome(sys.mknodat(
          roots[operation.at.directory],
          path(operation.at),
          fifo | operation.mode,
          0n,
        ));
      case "unlink":
        return outcome(sys.unlinkat(roots[operation.at.directory], path(operation.at), 0));
      case "rmdir":
        return outcome(
          sys.unlinkat(roots[operation.at.directory], path(operation.at), removeDirectory),
        );
      case "mode":
        return outcome(
          sys.fchmodat(roots[operation.at.directory], path(operation.at), operation.mode, 0),
        );
      case "owner":
        return outcome(sys.fchownat(
          roots[operation.at.directory],
          path(operation.at),
          operation.uid,
          operation.gid,
          noFollow,
        ));
      case "times": {
        times.view.setBigInt64(0, 0n, true);
        times.view.setBigInt64(8, BigInt(omitTime), true);
        times.view.setBigInt64(16, operation.mtime / 1_000_000_000n, true);
        times.view.setBigInt64(24, operation.mtime % 1_000_000_000n, true);
        return outcome(
          sys.utimensat(
            roots[operation.at.directory],
            path(operation.at),
            times.address,
            noFollow,
          ),
        );
      }
      case "attribute":
        return attribute(operation);
    }
  };

  return {
    perform(model, operation) {
      const failure = perform(model, operation);
      if (operation.kind === "close") descriptors[operation.handle] = -1;
      return failure;
    },
    close() {
      for (const fd of [...roots, ...descriptors]) if (fd >= 0) sys.close(fd);
    },
  };
}
