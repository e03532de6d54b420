/** Locks that a process holds for as long as it lives, by flock(2). */

import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { allocate, type Libc, withStrings } from "./libc.ts";

// asm-generic/fcntl.h
const LOCK_EX = 2;
const LOCK_NB = 4;

export interface HeldLock {
  /** Gives the lock back. The file stays: removing it would let two processes lock two files. */
  release(): void;
}

export interface RefusedLock {
  /** the process that holds it, where it wrote that down already */
  heldBy: number | undefined;
}

/**
 * Takes the lock at `path` and writes our process id into the file, which is made where it is missing
 * (mode 0600). The lock ends with the process, whatever ends it, and is not inherited by children.
 *
 * @throws {SystemError} when the file cannot be made or locked at all.
 */
export function lockFile(libc: Libc, path: string): HeldLock | RefusedLock {
  const { sys } = libc;
  const flags = O.RDWR | O.CREAT | O.CLOEXEC | O.NOFOLLOW;
  const fd = withStrings([path], ([address]) => sys.open(address, flags, 0o600));
  if (fd < 0) {
    throw new SystemError("open", libc.errno(), `lock file ${path}`, "Check its directory");
  }
  const text = allocate(128);
  while (sys.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const cause = libc.errno();
    if (cause === Errno.EINTR) continue;
    if (cause !== Errno.EAGAIN) {
      sys.close(fd);
      const advice = "Put the state directory on a local file system";
      throw new SystemError("lock", cause, path, advice);
    }
    const length = sys.pread(fd, text.address, 32, 0);
    sys.close(fd);
    const pid = Number(new TextDecoder().decode(text.bytes.subarray(0, Math.max(length, 0))));
    return { heldBy: Number.isInteger(pid) && pid > 0 ? pid : undefined };
  }
  const { written } = new TextEncoder().encodeInto(`${Deno.pid}\n`, text.bytes);
  // Only for people and messages: the lock itself is what counts, so a full disk does not matter.
  sys.ftruncate(fd, 0);
  sys.pwrite(fd, text.address, written, 0);
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      sys.ftruncate(fd, 0);
      sys.close(fd);
    },
  };
}
