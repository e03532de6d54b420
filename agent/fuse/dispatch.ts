/** From a request's operation code to what is done about it. */
import { Errno } from "../platform/linux/constants.ts";
import { getattr, getxattr, ioctl, listxattr, removexattr } from "./attrs.ts";
import { setattr, setxattr, statfs, statx } from "./attrs.ts";
import { fallocate, fsync, lseek, open, read, release, wide, write } from "./data.ts";
import { opendir, readdir, readdirplus } from "./directories.ts";
import { initialize } from "./mount.ts";
import { batchForget, create, forget, link, lookup, mkdir, mknod, readlink } from "./names.ts";
import { rename, rename2, rmdir, symlink, tmpfile, unlink } from "./names.ts";
import { Fuse } from "./protocol.ts";
import { countRequest, gatherRequest, nodeOf, replyResult, type Server } from "./server.ts";

/**
 * Answers the request that was taken last. A fault of ours is the caller's EIO, never a hung or dead
 * mount.
 */
export function dispatch(f: Server): void {
  countRequest(f);
  f.v.stream.waitFor = 0;
  try {
    if (f.opcode === Fuse.WRITE) return write(f);
    if (f.opcode === Fuse.BATCH_FORGET) return batchForget(f);
    gatherRequest(f);
    handle(f);
  } catch (error) {
    f.v.note("error", `Request ${f.opcode} failed: ${(error as Error).stack ?? error}`);
    f.v.stream.waitFor = 0;
    replyResult(f, -Errno.EIO);
  }
}

function handle(f: Server): void {
  switch (f.opcode) {
    case Fuse.READ:
      return read(f);
    case Fuse.LOOKUP:
      return lookup(f);
    case Fuse.GETATTR:
      return getattr(f);
    case Fuse.OPEN:
      return open(f);
    case Fuse.RELEASE:
    case Fuse.RELEASEDIR:
      return release(f);
    case Fuse.FSYNC:
    case Fuse.FSYNCDIR:
      return fsync(f);
    case Fuse.CREATE:
      return create(f);
    case Fuse.STATX:
      return statx(f);
    case Fuse.SETATTR:
      return setattr(f);
    case Fuse.UNLINK:
      return unlink(f);
    case Fuse.MKDIR:
      return mkdir(f);
    case Fuse.RMDIR:
      return rmdir(f);
    case Fuse.RENAME:
      return rename(f);
    case Fuse.RENAME2:
      return rename2(f);
    case Fuse.FORGET:
      return forget(f, nodeOf(f), wide(f, 40));
    case Fuse.READDIR:
      return readdir(f);
    case Fuse.READDIRPLUS:
      return readdirplus(f);
    case Fuse.OPENDIR:
      return opendir(f);
    case Fuse.READLINK:
      return readlink(f);
    case Fuse.SYMLINK:
      return symlink(f);
    case Fuse.LINK:
      return link(f);
    case Fuse.MKNOD:
      return mknod(f);
    case Fuse.TMPFILE:
      return tmpfile(f);
    case Fuse.GETXATTR:
      return getxattr(f);
    case Fuse.SETXATTR:
      return setxattr(f);
    case Fuse.LISTXATTR:
      return listxattr(f);
    case Fuse.REMOVEXATTR:
      return removexattr(f);
    case Fuse.FALLOCATE:
      return fallocate(f);
    case Fuse.LSEEK:
      return lseek(f);
    case Fuse.IOCTL:
      return ioctl(f);
    case Fuse.STATFS:
      return statfs(f);
    case Fuse.INIT:
      return initialize(f);
    case Fuse.INTERRUPT: // answered when the request itself is
    case Fuse.DESTROY:
      return;
    default:
      // FLUSH, ACCESS, POLL, COPY_FILE_RANGE and newer ones: the kernel does without.
      return replyResult(f, -Errno.ENOSYS);
  }
}
