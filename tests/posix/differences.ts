/**
 * Where a directory behind FUSE cannot behave as ext4 does, whatever the server does: the kernel
 * decides before, or without, asking it (and the one thing that we decided otherwise). Each line is asserted exactly, so that none can hide another.
 * Seen with Linux 6.18; places are in its source.
 */

/** `write`: every write goes through; `fsync`: the kernel's write-back cache is in use. */
export type Condition = "write" | "fsync";

export interface ForcedDifference {
  check: string;
  plain: string;
  mirror: string;
}

interface Group {
  /** why no FUSE server can avoid it, with the place in the kernel's source */
  reason: string;
  /** default: both */
  only?: Condition;
  /** check → [on ext4, on the mirror] */
  checks: Record<string, [plain: string, mirror: string]>;
}

const failed = (expected: string, seen: string): [string, string] => [
  "ok",
  `not ok: expected ${expected}, seen ${seen}`,
];
const unsupported = (expected: string) => failed(expected, "EOPNOTSUPP");

const groups: Group[] = [
  {
    reason:
      "A decision of ours, not the kernel's: the mounts are `noatime`, since an access time that " +
      "reading moves would differ between the nodes, or cost a message for every read",
    checks: {
      "times/reading a directory moves its access time": failed(
        'status("list").st_atim.tv_sec > 1000000',
        "the opposite",
      ),
    },
  },
  {
    reason:
      "fuse_file_fallocate (fs/fuse/file.c) knows no modes but KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE, " +
      "and refuses the others without a request",
    checks: {
      "sparse/collapse in the middle": unsupported("success"),
      "sparse/collapse in the middle: bytes": failed("'ade'", "'abcde'"),
      "sparse/collapse in the middle: layout": failed("'DDD'", "'DDDDD'"),
      "sparse/collapse in the middle: size": failed("12288", "20480"),
      "sparse/collapse in the middle: blocks": ["24", "40"],
      "sparse/collapse at the begin": unsupported("success"),
      "sparse/collapse at the begin: bytes": failed("'bcde'", "'abcde'"),
      "sparse/collapse at the begin: layout": failed("'DDDD'", "'DDDDD'"),
      "sparse/collapse at the begin: size": failed("16384", "20480"),
      "sparse/collapse at the begin: blocks": ["32", "40"],
      "sparse/collapse of a hole": unsupported("success"),
      "sparse/collapse of a hole: bytes": failed("'ab'", "'a00b'"),
      "sparse/collapse of a hole: layout": failed("'DD'", "'D..D'"),
      "sparse/collapse of a hole: size": failed("8192", "16384"),
      "sparse/insert in the middle": unsupported("success"),
      "sparse/insert in the middle: bytes": failed("'a00bc'", "'abc'"),
      "sparse/insert in the middle: layout": failed("'D..DD'", "'DDD'"),
      "sparse/insert in the middle: size": failed("20480", "12288"),
      "sparse/insert at the begin": unsupported("success"),
      "sparse/insert at the begin: bytes": failed("'0abc'", "'abc'"),
      "sparse/insert at the begin: layout": failed("'.DDD'", "'DDD'"),
      "sparse/insert at the begin: size": failed("16384", "12288"),
      "sparse/collapse to the end": unsupported("EINVAL"),
      "sparse/collapse of part of a block": unsupported("EINVAL"),
      "sparse/collapse of an odd length": unsupported("EINVAL"),
      "sparse/insert at the end": unsupported("EINVAL"),
      "sparse/insert of part of a block": unsupported("EINVAL"),
      "sparse/insert beyond the largest size": unsupported("EFBIG"),
      "sparse/collapse below a dirty block": unsupported("success"),
      "sparse/the dirt has moved along": failed("map[4 * BLOCK + 1] == 'Z'", "the opposite"),
      "sparse/with the byte": failed("90", "101"),
      "sparse/insert below it": unsupported("success"),
      "sparse/all bytes": failed("'000!e!'", "'a00!e!'"),
    },
  },
  {
    reason:
      "fuse_do_setattr (fs/fuse/dir.c) raises the size before it writes the dirty last page back, so " +
      "what a mapping stored behind the old end arrives as data. POSIX leaves such bytes undefined; " +
      "tmpfs keeps them too",
    checks: {
      "mapped/what lay behind the end reads as zero": failed(
        "memory[PAGE / 2 + 1] == 0",
        "the opposite",
      ),
      "mapped/what was cut away reads as zero": failed(
        "all_bytes(memory + PAGE / 2, PAGE, 0)",
        "the opposite",
      ),
    },
  },
  {
    reason: "A direct request carries no address: how the caller's memory is aligned is not told",
    checks: {
      "direct/write from odd memory": failed("'EINVAL'", "'ok'"),
      "direct/read into odd memory": failed("'EINVAL'", "'ok'"),
    },
  },
  {
    reason:
      "kiocb_set_rw_flags (include/linux/fs.h) wants FMODE_NOWAIT and FOP_DONTCACHE, which files of " +
      "FUSE do not have",
    checks: {
      "data/preadv2 RWF_NOWAIT": failed("'ok'", "'EOPNOTSUPP'"),
      "data/RWF_DONTCACHE read": failed("'ok'", "'EOPNOTSUPP'"),
    },
  },
  {
    reason:
      "S_IMMUTABLE and S_APPEND never reach a FUSE inode: inode_permission (fs/namei.c) and setfl " +
      "(fs/fcntl.c) ask the inode alone. (Opening, and every change, is refused by the server.)",
    checks: {
      "flags/access W_OK": failed("EPERM", "success"),
      "flags/taking O_APPEND off": failed("EPERM", "success"),
    },
  },
  {
    reason: "fuse_do_statx (fs/fuse/dir.c) takes no attribute flags over from the server's answer",
    checks: {
      "flags/statx shows immutable": failed(
        "(stx.stx_attributes & STATX_ATTR_IMMUTABLE) != 0",
        "the opposite",
      ),
      "flags/statx shows nodump": failed(
        "(stx.stx_attributes & STATX_ATTR_NODUMP) != 0",
        "the opposite",
      ),
    },
  },
  {
    reason: "ioctl_fiemap (fs/ioctl.c) wants an inode operation that FUSE does not have",
    checks: { "flags/FS_IOC_FIEMAP": failed("'ok'", "'EOPNOTSUPP'") },
  },
  {
    reason:
      "fuse_statfs (fs/fuse/inode.c) sets the type; the C library derives the limit of links from it",
    checks: {
      "system/type": ["0xef53", "0x65735546"],
      "system/pathconf of links": failed("65000", "127"),
    },
  },
];

/** Everything that must be seen as different, exactly so. */
export function forcedDifferences(condition: Condition): ForcedDifference[] {
  return groups.filter(({ only }) => only === undefined || only === condition)
    .flatMap(({ checks }) =>
      Object.entries(checks).map(([check, [plain, mirror]]) => ({ check, plain, mirror }))
    );
}
