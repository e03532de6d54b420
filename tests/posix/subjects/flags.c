/* Inode flags and attributes: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR and _FSSETXATTR. */
#include "../check.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

static int get(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK), flags = 0;
  long result = ioctl(fd, FS_IOC_GETFLAGS, &flags), error = errno;
  close(fd);
  errno = error;
  return result ? -1 : flags;
}

static long set(const char *path, int flags) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return -1;
  long result = ioctl(fd, FS_IOC_SETFLAGS, &flags), error = errno;
  close(fd);
  errno = error;
  return result;
}

/* Flags that ext4 lets a user see and change; the others are noted as they are. */
static long add(const char *path, int flag) { return set(path, get(path) | flag); }
static long drop(const char *path, int flag) { return set(path, get(path) & ~flag); }

static void simple(void) {
  make("f", "text", 0644);
  directory("d", 0755);
  note("flags of a new file", "0x%x", get("f"));
  note("flags of a new directory", "0x%x", get("d"));
  static const struct {
    const char *name;
    int flag;
    bool files, directories;
  } kinds[] = {{"nodump", FS_NODUMP_FL, true, true},   {"noatime", FS_NOATIME_FL, true, true},
               {"sync", FS_SYNC_FL, true, true},       {"dirsync", FS_DIRSYNC_FL, false, true},
               {"topdir", FS_TOPDIR_FL, false, true},  {"secrm", FS_SECRM_FL, true, true},
               {"unrm", FS_UNRM_FL, true, true},       {"projinherit", FS_PROJINHERIT_FL, true, true}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    for (int kind = 0; kind < 2; kind++) {
      const char *path = kind ? "d" : "f";
      const char *what = named("%s on a %s", kinds[i].name, kind ? "directory" : "file");
      errno = 0;
      note(what, "%s", add(path, kinds[i].flag) ? error_name(errno) : "ok");
      note(named("%s is seen", what), "%d", (get(path) & kinds[i].flag) != 0);
      errno = 0;
      note(named("%s off", what), "%s", drop(path, kinds[i].flag) ? error_name(errno) : "ok");
      note(named("%s is seen no more", what), "%d", (get(path) & kinds[i].flag) == 0);
    }
  }
  FAILS("flags of a device", ENOTTY, ({
          mknod("null", S_IFCHR | 0600, makedev(1, 3));
          get("null");
        }));
  make("own", "x", 0644);
  chown("own", ALICE, TEAM);
  AS(ALICE, TEAM) {
    OK("the owner sets nodump", add("own", FS_NODUMP_FL));
    FAILS("the owner does not set immutable", EPERM, add("own", FS_IMMUTABLE_FL));
    FAILS("the owner does not set append-only", EPERM, add("own", FS_APPEND_FL));
  }
  AS(BOB, TEAM) FAILS("a stranger sets nothing", EPERM, add("own", FS_NOATIME_FL));
  TRUE("nodump by the owner is seen", (get("own") & FS_NODUMP_FL) != 0);
  OK("a directory's flag is inherited", add("d", FS_NODUMP_FL));
  make("d/child", "x", 0644);
  TRUE("by a new file", (get("d/child") & FS_NODUMP_FL) != 0);
  FAILS("an unknown flag", EOPNOTSUPP, set("f", get("f") | 0x00000004 | 0x08000000));
}

static void immutable(void) {
  make("im", "text", 0666);
  directory("imd", 0777);
  make("imd/f", "x", 0666);
  int writer = open("im", O_WRONLY);
  OK("setting immutable", add("im", FS_IMMUTABLE_FL));
  TRUE("it is seen", (get("im") & FS_IMMUTABLE_FL) != 0);
  FAILS("open for writing", EPERM, open("im", O_WRONLY));
  FAILS("truncate", EPERM, truncate("im", 0));
  FAILS("chmod", EPERM, chmod("im", 0600));
  FAILS("chown", EPERM, chown("im", ALICE, TEAM));
  FAILS("utimensat", EPERM, utimensat(AT_FDCWD, "im", NULL, 0));
  FAILS("setxattr", EPERM, setxattr("im", "user.a", "x", 1, 0));
  FAILS("unlink", EPERM, unlink("im"));
  FAILS("rename", EPERM, rename("im", "mi"));
  FAILS("link", EPERM, link("im", "mi"));
  make("other", "x", 0644);
  FAILS("rename onto it", EPERM, rename("other", "im"));
  FAILS("access W_OK", EPERM, access("im", W_OK));
  note("a descriptor opened before", "%s", OUTCOME(pwrite(writer, "T", 1, 0)));
  note("fallocate through it", "%s", OUTCOME(fallocate(writer, 0, 0, 100)));
  note("ftruncate through it", "%s", OUTCOME(ftruncate(writer, 1)));
  note("fchmod through it", "%s", OUTCOME(fchmod(writer, 0600)));
  close(writer);
  OK("reading", open("im", O_RDONLY));
  OK("taking immutable off", drop("im", FS_IMMUTABLE_FL));
  OK("then writing", open("im", O_WRONLY));
  OK("setting immutable on a directory", add("imd", FS_IMMUTABLE_FL));
  FAILS("creating in it", EPERM, open("imd/n", O_CREAT | O_WRONLY, 0600));
  FAILS("mkdir in it", EPERM, mkdir("imd/n", 0700));
  FAILS("unlink in it", EPERM, unlink("imd/f"));
  FAILS("rename within it", EPERM, rename("imd/f", "imd/g"));
  FAILS("rename into it", EPERM, rename("other", "imd/n"));
  FAILS("link into it", EPERM, link("other", "imd/n"));
  FAILS("O_TMPFILE in it", EPERM, open("imd", O_TMPFILE | O_WRONLY, 0600));
  FAILS("rmdir of it", EPERM, rmdir("imd"));
  OK("writing a file in it", truncate("imd/f", 0));
  OK("taking it off the directory", drop("imd", FS_IMMUTABLE_FL));
}

static void append_only(void) {
  make("ap", "text", 0666);
  OK("setting append-only", add("ap", FS_APPEND_FL));
  FAILS("open of append-only for writing", EPERM, open("ap", O_WRONLY));
  FAILS("O_TRUNC with O_APPEND", EPERM, open("ap", O_WRONLY | O_APPEND | O_TRUNC));
  int fd = OK("open with O_APPEND", open("ap", O_WRONLY | O_APPEND));
  EQ("appending", 2, write(fd, "++", 2));
  TEXT("the content", "text++", content("ap"));
  FAILS("taking O_APPEND off", EPERM, fcntl(fd, F_SETFL, 0));
  FAILS("ftruncate", EPERM, ftruncate(fd, 0));
  FAILS("punch", EPERM, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1));
  close(fd);
  FAILS("truncate of append-only", EPERM, truncate("ap", 0));
  FAILS("unlink of append-only", EPERM, unlink("ap"));
  FAILS("rename of append-only", EPERM, rename("ap", "pa"));
  FAILS("link of append-only", EPERM, link("ap", "pa"));
  FAILS("chmod of append-only", EPERM, chmod("ap", 0600));
  OK("taking append-only off", drop("ap", FS_APPEND_FL));
  directory("apd", 0777);
  make("apd/f", "x", 0666);
  OK("append-only on a directory", add("apd", FS_APPEND_FL));
  OK("creating in an append-only directory", mknod("apd/n", S_IFREG | 0600, 0));
  FAILS("unlink in an append-only directory", EPERM, unlink("apd/f"));
  FAILS("rename in an append-only directory", EPERM, rename("apd/f", "apd/g"));
  OK("taking it off the append-only directory", drop("apd", FS_APPEND_FL));
}

static void extended(void) {
  make("x", "text", 0644);
  int fd = open("x", O_RDONLY);
  struct fsxattr attributes = {0};
  OK("FS_IOC_FSGETXATTR", ioctl(fd, FS_IOC_FSGETXATTR, &attributes));
  note("its flags", "0x%x", attributes.fsx_xflags);
  EQ("project of a new file", 0, attributes.fsx_projid);
  EQ("extent size hint", 0, attributes.fsx_extsize);
  attributes.fsx_xflags |= FS_XFLAG_NODUMP;
  OK("FS_IOC_FSSETXATTR of nodump", ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
  TRUE("FS_IOC_GETFLAGS shows it", (get("x") & FS_NODUMP_FL) != 0);
  struct fsxattr after = {0};
  OK("FS_IOC_FSGETXATTR after it", ioctl(fd, FS_IOC_FSGETXATTR, &after));
  TRUE("shows it too", (after.fsx_xflags & FS_XFLAG_NODUMP) != 0);
  after.fsx_xflags |= FS_XFLAG_IMMUTABLE;
  OK("FS_IOC_FSSETXATTR of immutable", ioctl(fd, FS_IOC_FSSETXATTR, &after));
  FAILS("chmod of it", EPERM, chmod("x", 0600));
  after.fsx_xflags &= ~FS_XFLAG_IMMUTABLE;
  OK("FS_IOC_FSSETXATTR takes it off", ioctl(fd, FS_IOC_FSSETXATTR, &after));
  OK("chmod after it", chmod("x", 0600));
  after.fsx_projid = 4711;
  errno = 0;
  note("setting a project", "%s",
       ioctl(fd, FS_IOC_FSSETXATTR, &after) ? error_name(errno) : "ok");
  after.fsx_projid = 0;
  after.fsx_extsize = 65536;
  after.fsx_xflags |= FS_XFLAG_EXTSIZE;
  errno = 0;
  note("an extent size hint on ext4", "%s",
       ioctl(fd, FS_IOC_FSSETXATTR, &after) ? error_name(errno) : "ok");
  int version = 0;
  OK("FS_IOC_GETVERSION", ioctl(fd, FS_IOC_GETVERSION, &version));
  struct statx stx;
  add("x", FS_IMMUTABLE_FL);
  statx(AT_FDCWD, "x", 0, STATX_BASIC_STATS, &stx);
  TRUE("statx shows immutable", (stx.stx_attributes & STATX_ATTR_IMMUTABLE) != 0);
  drop("x", FS_IMMUTABLE_FL);
  statx(AT_FDCWD, "x", 0, STATX_BASIC_STATS, &stx);
  TRUE("statx shows it is off", (stx.stx_attributes & STATX_ATTR_IMMUTABLE) == 0);
  TRUE("statx shows nodump", (stx.stx_attributes & STATX_ATTR_NODUMP) != 0);
  struct {
    struct fiemap {
      uint64_t start, length;
      uint32_t flags, mapped, count, reserved;
    } head;
  } map = {{0, UINT64_MAX, 0, 0, 0, 0}};
  TEXT("FS_IOC_FIEMAP", "ok", OUTCOME(ioctl(fd, _IOWR('f', 11, struct fiemap), &map)));
  int block = 0, size = 0;
  TEXT("FIBMAP", "ok", OUTCOME(ioctl(fd, FIBMAP, &block)));
  OK("FIGETBSZ", ioctl(fd, FIGETBSZ, &size));
  EQ("block size", 4096, size);
  int waiting = 0;
  OK("FIONREAD", ioctl(fd, 0x541B, &waiting));
  EQ("bytes to read", 4, waiting);
  loff_t bytes = 0;
  OK("FIOQSIZE", ioctl(fd, 0x5460, &bytes));
  int source = open("ap", O_RDONLY);
  FAILS("FICLONE", EOPNOTSUPP, ioctl(open("clone", O_CREAT | O_WRONLY, 0600), FICLONE, source));
  FAILS("an unknown ioctl", ENOTTY, ioctl(fd, _IO('f', 200), 0));
  FAILS("TCGETS", ENOTTY, ioctl(fd, 0x5401, &waiting));
  close(source);
  close(fd);
}

void subject_flags(void) {
  simple();
  immutable();
  append_only();
  extended();
}
