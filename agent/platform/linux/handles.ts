/**
 * File handles: names for inodes that outlive every rename and every descriptor
 * (name_to_handle_at(2), open_by_handle_at(2)).
 */

import { AT, Errno, O } from "./constants.ts";
import { errnoName } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";

/** MAX_HANDLE_SZ (linux/fcntl.h): bytes of the longest handle, without its header of 8. */
export const maxHandleBytes = 128;
/** struct file_handle: u32 handle_bytes, i32 handle_type, then the handle. */
export const handleHeader = 8;

/**
 * Writes the handle of `nameAddress` (a C string) in `dirFd` to `handleAddress`, where room for
 * `capacity` bytes stands after the header. `flags` as in name_to_handle_at(2), e.g. AT_EMPTY_PATH.
 *
 * @returns 0 or -errno; EOVERFLOW where the handle is longer than `capacity`.
 */
export function nameToHandle(
  libc: Libc,
  dirFd: number,
  nameAddress: number,
  handle: DataView,
  handleAddress: number,
  mountIdAddress: number,
  capacity: number,
  flags: number,
): number {
  handle.setUint32(0, capacity, true);
  const { sys } = libc;
  const result = sys.name_to_handle_at(dirFd, nameAddress, handleAddress, mountIdAddress, flags);
  return result < 0 ? -libc.errno() : 0;
}

/** Opens a handle on the file system of `mountFd` (not an O_PATH descriptor); a descriptor or -errno. */
export function openHandle(
  libc: Libc,
  mountFd: number,
  handleAddress: number,
  flags: number,
): number {
  const fd = libc.sys.open_by_handle_at(mountFd, handleAddress, flags | O.CLOEXEC);
  return fd < 0 ? -libc.errno() : fd;
}

export type HandleSupport =
  /** `bytes`: length of the directory's own handle, without header */
  | { supported: true; bytes: number; type: number }
  /** `reason`: a sentence for the operator */
  | { supported: false; reason: string };

/**
 * Tries whether the file system of an open directory gives handles, opens them, and keeps them within
 * `capacity` bytes.
 */
export function supportsHandles(
  libc: Libc,
  dirFd: number,
  capacity: number = maxHandleBytes,
): HandleSupport {
  const memory = allocate(256); // mount id, an empty name, and the handle
  const [mountId, empty, at] = [memory.address, memory.address + 8, 16];
  const handle = new DataView(memory.bytes.buffer, at);
  const address = memory.address + at;
  const refused = (cause: number, opening: boolean): HandleSupport => ({
    supported: false,
    reason: explainHandles(cause, filesystemName(libc, dirFd), opening),
  });
  const named = nameToHandle(
    libc,
    dirFd,
    empty,
    handle,
    address,
    mountId,
    Math.min(capacity, maxHandleBytes),
    AT.EMPTY_PATH,
  );
  if (named < 0) return refused(-named, false);
  const fd = openHandle(libc, dirFd, address, O.RDONLY | O.DIRECTORY);
  if (fd < 0) return refused(-fd, true);
  libc.sys.close(fd);
  return { supported: true, bytes: handle.getUint32(0, true), type: handle.getInt32(4, true) };
}

/** Why handles cannot be had, and what to do: `cause` is an errno, `opening` whether that failed. */
export function explainHandles(cause: number, filesystem: string, opening: boolean): string {
  const local = "Mirror a directory on a local file system such as ext4, xfs or btrfs";
  if (cause === Errno.EPERM || cause === Errno.EACCES) {
    return "Files may not be opened by their handles: the agent needs CAP_DAC_READ_SEARCH, which " +
      "containers take away. Run it as root on the host";
  }
  if (cause === Errno.ENOSYS) {
    return "File handles are forbidden here, by a seccomp filter or an old kernel. " +
      "Run the agent as root on the host";
  }
  if (filesystem === "overlayfs") {
    return "The directory lies on overlayfs, which has no lasting names for files unless mounted " +
      `with nfs_export=on. ${local}, e.g. on a volume of its own`;
  }
  if (cause === Errno.EOVERFLOW) {
    return `The file handles of ${filesystem} are longer than supported. ${local}`;
  }
  if (["NFS", "CIFS", "SMB", "9p", "Ceph"].includes(filesystem)) {
    return `The directory lies on ${filesystem}, a network file system. ${local}`;
  }
  const what = opening ? "does not open files by their handles" : "has no file handles";
  return `The directory's file system (${filesystem}) ${what} (${errnoName(cause)}). ${local}`;
}

/** f_type of statfs(2), from linux/magic.h and the file systems' own sources. */
const filesystems: Record<number, string> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0xf2f52010: "f2fs",
  0x2fc12fc1: "ZFS",
  0x01021994: "tmpfs",
  0x858458f6: "ramfs",
  0x794c7630: "overlayfs",
  0x65735546: "FUSE",
  0x6969: "NFS",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB",
  0x01021997: "9p",
  0x00c36400: "Ceph",
  0x4d44: "FAT",
  0x2011bab0: "exFAT",
  0x73717368: "squashfs",
  0x9fa0: "proc",
  0x62656572: "sysfs",
};

/** The file system's name by statfs; `type 0x1234` where it is not known. */
export function filesystemName(libc: Libc, fd: number): string {
  const memory = allocate(128); // struct statfs begins with the type, a long
  if (libc.sys.fstatfs(fd, memory.address) < 0) return "unknown";
  const type = memory.view.getUint32(0, true);
  return filesystems[type] ?? `type 0x${type.toString(16)}`;
}
