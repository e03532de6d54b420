/**
 * The one interface to the operating system. Whoever is outside `platform/` and `fuse/` asks here and
 * learns in a sentence what this machine cannot do.
 */

import { openLinux } from "./linux/platform.ts";
import { openUnsupported } from "./unsupported.ts";

/** What a platform may or may not be able to do. */
export type CapabilityName =
  /** capture every change before the application's call returns, and apply it */
  | "mirror"
  /** take, announce and give up addresses */
  | "virtual-ip"
  /** heartbeats that a busy machine does not delay */
  | "realtime"
  /** slow file operations by the kernel itself rather than by helper threads */
  | "kernel-offload";

export interface CapabilityState {
  name: CapabilityName;
  available: boolean;
  /** a sentence for the operator where it is not available; empty otherwise */
  reason: string;
}

/** This machine cannot do what was asked; the message says why and what would help. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
}

export interface User {
  /** 0 where the kernel itself is the user */
  pid: number;
  command: string;
  /** e.g. `open file` */
  how: string;
  /** what it uses */
  path: string;
  /** which of the directories */
  directory: string;
}

export type Lock = { release(): void } | { heldBy: number | undefined };

/** One virtual address on this machine. */
export interface VirtualAddress {
  /** e.g. `10.77.0.100/24` */
  readonly address: string;
  readonly interfaceName: string;
  /** whether this machine has it now */
  held(): boolean;
  /** takes it; false where it was held already */
  take(): boolean;
  /** gives it up; false where it was not held */
  giveUp(): boolean;
  /** tells the neighbours once; false where there are none. Repeat at `announceTimes`. */
  announce(): boolean;
  /** hardware addresses of whoever else has it; asks for about half a second */
  probe(signal?: AbortSignal): Promise<string[]>;
}

export interface Platform {
  /** e.g. `Linux 6.1.0 (x86_64)` */
  readonly system: string;
  /** what this machine can do for this process, asked afresh */
  capabilities(): CapabilityState[];
  /** @throws {UnsupportedError} where a capability is missing */
  require(name: CapabilityName): void;
  /** a clock in milliseconds that never jumps */
  monotonic(): number;
  /** descriptors this process may have open at once */
  openFileLimit(): number;
  /** real-time priority for the calling thread; a sentence where it cannot be had */
  raisePriority(): string | undefined;
  /** takes a lock that ends with this process */
  lock(path: string): Lock;
  /** who uses the directories (absolute, without symbolic links), other than this process */
  directoryUsers(directories: readonly string[], ignore?: readonly number[]): Promise<User[]>;
  /** clears mounts that a dead agent left under sources beginning with `sourcePrefix` */
  clearDeadMounts(
    sourcePrefix: string,
  ): Promise<{ cleared: string[]; left: { path: string; reason: string }[] }>;
  /**
   * takes away this process's own mounts of exactly this source by force, whether or not they answer;
   * returns what could not be done
   */
  endMounts(source: string): string[];
  /** why what is mounted at `path` would not be seen by the applications of this machine */
  mountProblem(path: string): string | undefined;
  /** @throws when the address is none, or no interface fits */
  virtualAddress(address: string, interfaceName?: string): VirtualAddress;
  /** when to announce a taken address, in milliseconds from taking it */
  readonly announceTimes: readonly number[];
  /** tells the service manager, e.g. `READY=1`; why not, where it could not be told */
  notifyServiceManager(state: string): string | undefined;
}

/** The platform of the machine that runs. Never throws: what it cannot do it says when asked. */
export function openPlatform(os: typeof Deno.build.os = Deno.build.os): Platform {
  return os === "linux" ? openLinux() : openUnsupported(os);
}
