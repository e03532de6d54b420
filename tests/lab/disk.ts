/**
 * A host's disk: a directory of the machine, or an ext4 image on a loop device, which can be full,
 * hang, fail and lose power.
 *
 * Losing power: ext4 is told to shut down at once without flushing its journal
 * (EXT4_IOC_SHUTDOWN, what xfstests calls godown). From that moment nothing reaches the image, dirty
 * pages and running transactions are lost, and the next mount replays the journal as after a real
 * power cut. What was written without fsync is gone, what was fsynced is there. The image is mounted
 * with `commit=600,noauto_da_alloc` so that ext4 does not flush by itself what nobody asked for. (The
 * disk beneath has no volatile cache in this model: a completed write is durable.)
 */

import { allocate, openLibc } from "../../agent/platform/linux/libc.ts";
import type { Namespace } from "./namespace.ts";
import { run } from "./process.ts";

export type DiskOptions =
  /** a directory on the machine's own file system */
  | { kind: "plain" }
  /** an ext4 file system of this size (default "2G", sparse) */
  | { kind: "ext4"; size?: string; mountOptions?: string };

/** _IOR('X', 125, __u32) and EXT4_GOING_FLAGS_NOLOGFLUSH in fs/ext4/ext4.h. */
const ext4Shutdown = 0x8004587d;
const noLogFlush = 2;

/** Opened once: a library opened within a test counts as a leak of that test. */
const libc = openLibc();

/** Where a host's disk is, as seen in the host's own mount namespace and, if plain, on the machine. */
export function diskRoot(hostDirectory: string, disk: DiskOptions): string {
  return disk.kind === "plain" ? `${hostDirectory}/disk` : `${hostDirectory}/mount`;
}

/** Makes an empty disk. */
export async function createDisk(hostDirectory: string, disk: DiskOptions): Promise<void> {
  await Deno.mkdir(diskRoot(hostDirectory, disk), { recursive: true });
  if (disk.kind === "plain") return;
  const image = `${hostDirectory}/disk.img`;
  await run([], ["truncate", "--size", disk.size ?? "2G", image]);
  // Nothing is left for a kernel thread to initialize later: tests would see its writes.
  const options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0";
  await run([], ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, image]);
}

/** Shell text that mounts the disk in the host's namespace: nothing where it is plain. */
export function mountScript(hostDirectory: string, disk: DiskOptions): string {
  if (disk.kind === "plain") return "";
  const options = `loop,${disk.mountOptions ?? "commit=600,noauto_da_alloc"}`;
  return `mount -t ext4 -o '${options}' '${hostDirectory}/disk.img' '${hostDirectory}/mount'\n`;
}

/** A descriptor of a directory on the disk, held by this process. */
export interface Handle {
  /** Cuts the power: see the head of this file. */
  shutDown(): void;
  close(): void;
}

/** Opens a disk from outside its host. While it is open, the file system outlives the host. */
export function openDisk(path: string): Handle {
  const memory = allocate(4096);
  const bytes = new TextEncoder().encode(path);
  memory.bytes.set(bytes);
  const closeOnExec = 0o2000000;
  const fd = libc.sys.open(memory.address, closeOnExec, 0);
  if (fd < 0) throw new Error(`The disk ${path} cannot be opened: errno ${libc.errno()}`);
  return {
    shutDown() {
      memory.view.setUint32(0, noLogFlush, true);
      if (libc.sys.ioctl(fd, BigInt(ext4Shutdown), memory.address) !== 0) {
        throw new Error(`The disk ${path} cannot be shut down: errno ${libc.errno()}`);
      }
    },
    close: () => void libc.sys.close(fd),
  };
}

/** A disk that hangs. */
export interface Frozen {
  thaw(): Promise<void>;
}

/**
 * Lets a disk hang: whoever writes to it waits until it is thawed (FIFREEZE). The helper that holds
 * it thaws it when this process ends, in whatever way.
 */
export async function freezeDisk(namespace: Namespace, path: string): Promise<Frozen> {
  const script =
    'fsfreeze --freeze "$1" && echo frozen && cat >/dev/null; fsfreeze --unfreeze "$1"';
  // Only the host's mounts: a helper among the host's processes would die with it, and never thaw.
  const [program, ...enter] = ["setsid", "nsenter", `--target=${namespace.pid}`, "--mount"];
  const child = new Deno.Command(program, {
    args: [...enter, "sh", "-c", script, "sh", path],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  await reader.cancel();
  const thaw = async () => {
    await child.stdin.close();
    await child.status;
  };
  if (done) {
    await thaw();
    throw new Error(`The disk ${path} cannot be frozen: is it an ext4 image?`);
  }
  let thawed: Promise<void> | undefined;
  return { thaw: () => thawed ??= thaw() };
}

/** Fills a disk up to `leave` bytes with a file outside the host's directories. */
export async function fillDisk(root: string, leave: number): Promise<void> {
  // In falling steps: the last free blocks are not contiguous, and ext4 needs some for its own tree.
  const script = `
    for step in 67108864 1048576 65536 4096; do
      while free=$(($(stat -f -c '%f * %S' "$1"))) && [ $((free - step)) -ge "$2" ]; do
        size=$(stat -c %s "$1/filler" 2>/dev/null || echo 0)
        fallocate -o "$size" -l "$step" "$1/filler" 2>/dev/null || break
      done
    done`;
  await run([], ["sh", "-c", script, "sh", root, String(leave)]);
}
