/**
 * The kernel's FUSE protocol, from include/uapi/linux/fuse.h (7.31 of Linux 5.10 to 7.45 of 6.18):
 * operation codes, flags, and the byte offsets of the structures. All little-endian on the machines
 * that Understudy runs on.
 */

export const kernelMajor = 7;
/** The newest minor version whose structures are used here. */
export const kernelMinor = 39;
/** Linux 5.10. */
export const oldestMinor = 31;

export const Fuse = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
} as const;

/** FUSE_INIT flags: bits 0 to 31, then those of `flags2`. */
export const Init = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
  /** in flags2 (bit 36) */
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
} as const;

/** struct fuse_in_header, 40 bytes. */
export const In = {
  length: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  size: 40,
} as const;

/** struct fuse_out_header, 16 bytes. */
export const outHeader = 16;
/** struct fuse_attr */
export const attrSize = 88;
/** struct fuse_entry_out: 40 bytes, then the attributes */
export const entrySize = 40 + attrSize;

export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** open_flags of struct fuse_open_out. */
export const FOPEN = { DIRECT_IO: 1, KEEP_CACHE: 2, CACHE_DIR: 8 } as const;
/** write_flags of struct fuse_write_in. */
export const WRITE_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
/** open_flags of struct fuse_open_in and fuse_create_in. */
export const OPEN_KILL_SUIDGID = 1;
/** setxattr_flags of struct fuse_setxattr_in. */
export const SETXATTR_ACL_KILL_SGID = 1;
/** flags of struct fuse_ioctl_in. */
export const IOCTL_DIR = 1 << 4;

/** Notifications from the server to the kernel (enum fuse_notify_code). */
export const Notify = { INVAL_INODE: 2, INVAL_ENTRY: 3 } as const;
