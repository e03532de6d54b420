/**
 * A module's data path: what its directories, its stream and its kernel mounts share on the one
 * thread that serves them all. Everything here belongs to that thread.
 */
import { allocate, type Libc, type Memory } from "../platform/linux/libc.ts";
import type { Offload } from "../platform/linux/offload.ts";
import type { Excludes } from "./exclude.ts";
import type { HandleSet } from "./handle_set.ts";
import type { Inodes } from "./inodes.ts";
import type { Stream } from "./stream.ts";

/** One mirrored directory of the module. Its root inode is `index + 1`. */
export interface Directory {
  path: string;
  excludes: Excludes;
  /** opened before the mount: the way to the backing files from then on */
  fd: number;
}

/**
 * Work of several steps in the loop. It yields true where it could go on at once, false where it waits for
 * room in the stream or for something that a descriptor of the loop announces.
 */
export type Job = Generator<boolean, void, void>;

export interface Volume {
  libc: Libc;
  offload: Offload;
  inodes: Inodes;
  stream: Stream;
  stats: Float64Array;
  directories: Directory[];
  sync: "write" | "fsync";
  /** true: read-write for the application; false: a follower's read-only view */
  serving: boolean;
  /** rises with every change of role: page cache of an earlier one is never kept */
  period: number;
  /** a resync has compared everything: the peer has every inode */
  complete: boolean;
  /** mount ids of the devices in `inodes.deviceIds` order are looked up here */
  scratch: Scratch;
  /** inodes that a resync under way has compared and that were forgotten since */
  compared: HandleSet;
  /** inodes whose times the peer does not have yet */
  dirtyTimes: number[];
  /** inodes that a walk under way must still compare (moved, linked, published beside it) */
  lateContent: number[];
  /** directories that a walk under way must still list */
  lateDirectories: number[];
  /** inodes of trees being published that were told of before the copy came to them; pinned */
  lateStaged: number[];
  /** inodes that the kernel has forgotten, many at once: to be dropped as there is room */
  unused: number[];
  /** multi-step work of the loop (publishing, resync), resumed while there is room in the stream */
  jobs: Job[];
  /** inodes on their way from an excluded to a mirrored name */
  publishing: number;
  /** test builds only: how the mirror is to break its promises */
  sabotage: string;
  note(level: "info" | "warning" | "error", text: string): void;
}

/** Fixed memory for the arguments and results of system calls. */
export interface Scratch {
  statx: Memory;
  statxWords: Uint32Array;
  /** struct file_handle of the last lookup, as in {@link Inodes.handles} */
  handle: Memory;
  handleWords: Uint32Array;
  /** int mount_id, loff_t and the like */
  small: Memory;
  /** two struct timespec */
  times: Memory;
  /** NUL-terminated names of our own making, and values of extended attributes */
  text: Memory;
  /** getdents64 buffers and the like */
  list: Memory;
}

export function createScratch(): Scratch {
  const statx = allocate(256);
  const handle = allocate(256);
  return {
    statx,
    statxWords: new Uint32Array(statx.bytes.buffer),
    handle,
    handleWords: new Uint32Array(handle.bytes.buffer),
    small: allocate(128),
    times: allocate(128),
    text: allocate(128 << 10),
    list: allocate(128 << 10),
  };
}
