/** The life of one kernel mount: made over a directory, negotiated, taken away. */
import { Errno, O } from "../platform/linux/constants.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { cstring } from "../platform/linux/libc.ts";
import { mountFuse } from "../platform/linux/mounts.ts";
import { maxPayload } from "../mirror/frames.ts";
import { Init, kernelMajor, kernelMinor, oldestMinor, outHeader } from "./protocol.ts";
import { reply, replyResult, type Server, type Session } from "./server.ts";

/**
 * Mounts over the module's directory number `directory`. The kernel's first request (INIT) is answered by
 * the loop.
 *
 * @throws {SystemError}
 */
export function openMount(f: Server, directory: number, source: string): Session {
  const { libc } = f.v;
  const path = cstring(f.v.scratch.text, "/dev/fuse");
  const fd = libc.sys.open(path, O.RDWR | O.NONBLOCK | O.CLOEXEC, 0);
  if (fd < 0) {
    const cause = libc.errno();
    throw new SystemError("open", cause, "/dev/fuse", "Load FUSE with `modprobe fuse`");
  }
  try {
    mountFuse(libc, fd, f.v.directories[directory].path, source);
  } catch (error) {
    libc.sys.close(fd);
    throw error;
  }
  const session: Session = {
    index: f.sessions.length,
    fd,
    root: directory + 1,
    ready: false,
    minor: 0,
    setxattrExt: false,
  };
  f.sessions.push(session);
  return session;
}

/**
 * Ends the connection: whoever still uses the mount gets ENOTCONN from here on. The mount itself is
 * taken away by another thread, since the kernel may have to write to it first.
 */
export function closeMount(f: Server, session: Session): void {
  if (session.fd < 0) return;
  f.v.libc.sys.close(session.fd);
  session.fd = -1;
}

/** What we ask of the kernel; it grants what it has. */
const wanted = Init.ASYNC_READ | Init.ATOMIC_O_TRUNC | Init.BIG_WRITES | Init.DONT_MASK |
  Init.DO_READDIRPLUS | Init.READDIRPLUS_AUTO | Init.ASYNC_DIO | Init.PARALLEL_DIROPS |
  Init.POSIX_ACL | Init.MAX_PAGES | Init.CACHE_SYMLINKS | Init.HANDLE_KILLPRIV_V2 |
  Init.SETXATTR_EXT | Init.INIT_EXT;
const wanted2 = Init.DIRECT_IO_ALLOW_MMAP;

/** Answers FUSE_INIT (struct fuse_init_in, struct fuse_init_out of 64 bytes). */
export function initialize(f: Server): void {
  const major = f.words[10];
  const minor = f.words[11];
  if (major !== kernelMajor || minor < oldestMinor) {
    f.v.note("error", `FUSE ${major}.${minor} is too old: Linux 5.10 or later is needed`);
    return replyResult(f, -Errno.EPROTO);
  }
  const offered = f.words[13];
  const offered2 = f.length >= 60 ? f.words[14] : 0;
  const view = f.out.view;
  const o = outHeader;
  for (let i = 0; i < 64; i++) f.out.bytes[o + i] = 0;
  view.setUint32(o, kernelMajor, true);
  view.setUint32(o + 4, kernelMinor, true);
  view.setUint32(o + 8, f.words[12], true); // max_readahead
  view.setUint32(o + 12, offered & wanted, true);
  view.setUint16(o + 16, 64, true); // max_background
  view.setUint16(o + 18, 48, true); // congestion_threshold
  view.setUint32(o + 20, maxPayload, true); // max_write
  view.setUint32(o + 24, 1, true); // time_gran, nanoseconds
  view.setUint16(o + 28, maxPayload / 4096, true); // max_pages
  view.setUint32(o + 32, offered2 & wanted2, true);
  f.session.minor = Math.min(minor, kernelMinor);
  f.session.setxattrExt = (offered & Init.SETXATTR_EXT) !== 0;
  f.session.ready = true;
  reply(f, 64);
}
