/* Times: setting them to the nanosecond, and which operations move which. */
#include "../check.h"

#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/xattr.h>

static void setting(void) {
  make("f", "x", 0644);
  struct timespec times[2] = {{1234567890, 123456789}, {987654321, 999999999}};
  tick();
  struct stat before = status("f");
  OK("utimensat", utimensat(AT_FDCWD, "f", times, 0));
  struct stat st = status("f");
  EQ("access seconds", 1234567890, st.st_atim.tv_sec);
  EQ("access nanoseconds", 123456789, st.st_atim.tv_nsec);
  EQ("data seconds", 987654321, st.st_mtim.tv_sec);
  EQ("data nanoseconds", 999999999, st.st_mtim.tv_nsec);
  TRUE("the change time moves", compare_times(st.st_ctim, before.st_ctim) > 0);
  times[0].tv_nsec = UTIME_OMIT;
  times[1] = (struct timespec){5, 6};
  OK("UTIME_OMIT of the access time", utimensat(AT_FDCWD, "f", times, 0));
  st = status("f");
  EQ("it stays", 123456789, st.st_atim.tv_nsec);
  EQ("the other is set", 6, st.st_mtim.tv_nsec);
  tick();
  before = status("f");
  times[1].tv_nsec = UTIME_OMIT;
  OK("UTIME_OMIT of both", utimensat(AT_FDCWD, "f", times, 0));
  TRUE("changes nothing", compare_times(status("f").st_ctim, before.st_ctim) == 0);
  times[0].tv_nsec = UTIME_NOW;
  OK("UTIME_NOW of one", utimensat(AT_FDCWD, "f", times, 0));
  st = status("f");
  TRUE("sets it to now", compare_times(st.st_atim, before.st_ctim) > 0);
  EQ("and the other stays", 6, st.st_mtim.tv_nsec);
  OK("no times means now", utimensat(AT_FDCWD, "f", NULL, 0));
  TRUE("for both", status("f").st_mtim.tv_sec > 1000000000);
  static const struct timespec wide[] = {{0, 0},          {1, 1},           {-1, 0},
                                         {-2147483648LL, 0}, {2147483647LL, 5}, {4294967296LL, 7},
                                         {10000000000LL, 9}, {15032385534LL, 999999999}};
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
    struct timespec pair[2] = {wide[i], wide[i]};
    OK(named("utimensat to %ld", (long)wide[i].tv_sec), utimensat(AT_FDCWD, "f", pair, 0));
    st = status("f");
    EQ(named("seconds %ld", (long)wide[i].tv_sec), wide[i].tv_sec, st.st_mtim.tv_sec);
    EQ(named("nanoseconds at %ld", (long)wide[i].tv_sec), wide[i].tv_nsec, st.st_mtim.tv_nsec);
  }
  struct timespec far[2] = {{1LL << 40, 5}, {-(1LL << 40), 5}};
  OK("times out of range are clamped", utimensat(AT_FDCWD, "f", far, 0));
  st = status("f");
  note("the latest time", "%ld.%ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
  note("the earliest time", "%ld.%ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  times[0] = (struct timespec){1, 1000000000};
  FAILS("a billion nanoseconds", EINVAL, utimensat(AT_FDCWD, "f", times, 0));
  times[0] = (struct timespec){1, -1};
  FAILS("negative nanoseconds", EINVAL, utimensat(AT_FDCWD, "f", times, 0));
  FAILS("unknown flags", EINVAL, utimensat(AT_FDCWD, "f", NULL, 0x8000));
  FAILS("an absent file", ENOENT, utimensat(AT_FDCWD, "none", NULL, 0));
  FAILS("below a file", ENOTDIR, utimensat(AT_FDCWD, "f/x", NULL, 0));
  struct timeval coarse[2] = {{100, 200}, {300, 400}};
  OK("utimes", utimes("f", coarse));
  EQ("microseconds", 400000, status("f").st_mtim.tv_nsec);
  int fd = open("f", O_RDONLY);
  struct timespec exact[2] = {{11, 12}, {13, 14}};
  OK("futimens of a read-only descriptor", futimens(fd, exact));
  EQ("its nanoseconds", 14, status("f").st_mtim.tv_nsec);
  close(fd);
  directory("d", 0755);
  OK("utimensat of a directory", utimensat(AT_FDCWD, "d", exact, 0));
  EQ("nanoseconds of a directory", 14, status("d").st_mtim.tv_nsec);
  make("theirs", "x", 0666);
  make("private", "x", 0644);
  directory("users", 0777);
  AS(ALICE, TEAM) {
    FAILS("setting a foreign file's times", EPERM, utimensat(AT_FDCWD, "theirs", exact, 0));
    OK("now, with write permission", utimensat(AT_FDCWD, "theirs", NULL, 0));
    struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    OK("UTIME_NOW for both, with write permission", utimensat(AT_FDCWD, "theirs", now, 0));
    now[0].tv_nsec = UTIME_OMIT;
    FAILS("UTIME_NOW for one of a foreign file", EPERM, utimensat(AT_FDCWD, "theirs", now, 0));
    FAILS("now, without write permission", EACCES, utimensat(AT_FDCWD, "private", NULL, 0));
    make("users/own", "x", 0444);
    OK("one's own, read-only", utimensat(AT_FDCWD, "users/own", exact, 0));
  }
}

/* The operations: each acts on the file "t/f" or the directory "t", through "fd" where it is open. */
static int fd;
static long op_write(void) { return pwrite(fd, "y", 1, 0); }
static long op_write_nothing(void) { return pwrite(fd, "y", 0, 0); }
static long op_truncate_same(void) { return truncate("t/f", 100); }
static long op_ftruncate_same(void) { return ftruncate(fd, 100); }
static long op_truncate(void) { return truncate("t/f", 50); }
static long op_ftruncate(void) { return ftruncate(fd, 20); }
static long op_open_trunc(void) { return close(open("t/f", O_WRONLY | O_TRUNC)); }
static long op_open_write(void) { return close(open("t/f", O_WRONLY)); }
static long op_chmod(void) { return chmod("t/f", 0640); }
static long op_chmod_same(void) { return chmod("t/f", 0640); }
static long op_chown(void) { return chown("t/f", ALICE, TEAM); }
static long op_chown_none(void) { return chown("t/f", -1, -1); }
static long op_fallocate(void) { return fallocate(fd, 0, 0, 8192); }
static long op_keep(void) { return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 65536); }
static long op_punch(void) {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
}
static long op_setxattr(void) { return setxattr("t/f", "user.a", "1", 1, 0); }
static long op_removexattr(void) { return removexattr("t/f", "user.a"); }
static long op_link(void) { return link("t/f", "t/l"); }
static long op_unlink(void) { return unlink("t/l"); }
static long op_rename(void) { return rename("t/f", "t/g") || rename("t/g", "t/f"); }
static long op_create(void) { return close(open("t/c", O_CREAT | O_WRONLY, 0600)); }
static long op_create_again(void) { return close(open("t/c", O_CREAT | O_WRONLY, 0600)); }
static long op_mkdir(void) { return mkdir("t/d", 0700); }
static long op_rmdir(void) { return rmdir("t/d"); }
static long op_symlink(void) { return symlink("x", "t/s"); }
static long op_mkfifo(void) { return mkfifo("t/p", 0600); }
static long op_mknod(void) { return mknod("t/n", S_IFCHR | 0600, makedev(1, 3)); }
static long op_stat(void) {
  struct stat st;
  return stat("t/f", &st);
}
static long op_fsync(void) { return fsync(fd); }
static long op_rename_in(void) { return rename("o/x", "t/x"); }
static long op_rename_out(void) { return rename("t/x", "o/x"); }
static long op_copy_range(void) {
  loff_t from = 0, to = 200;
  return copy_file_range(fd, &from, fd, &to, 50, 0);
}
static long op_flags(void) {
  int flags = 0;
  if (ioctl(fd, _IOR('f', 1, long), &flags) != 0) return -1;
  flags ^= 0x40; /* FS_NODUMP_FL */
  return ioctl(fd, _IOW('f', 2, long), &flags);
}
/* Failing ones. */
static long no_create(void) { return open("t/f", O_CREAT | O_EXCL | O_WRONLY, 0600); }
static long no_mkdir(void) { return mkdir("t/f", 0700); }
static long no_rmdir(void) { return rmdir("t/f"); }
static long no_unlink(void) { return unlink("t/none"); }
static long no_link(void) { return link("t/f", "t/c"); }
static long no_symlink(void) { return symlink("x", "t/c"); }
static long no_rename(void) { return renameat2(AT_FDCWD, "t/f", AT_FDCWD, "t/c", RENAME_NOREPLACE); }
static long no_rename_dir(void) { return rename("t/f", "o"); }
static long no_truncate(void) { return truncate("t/f", -1); }
static long no_xattr(void) { return setxattr("t/f", "user.none", "1", 1, XATTR_REPLACE); }
static long no_removexattr(void) { return removexattr("t/f", "user.none"); }
static long no_fallocate(void) { return fallocate(fd, 0, 16384 * GIB, 1); }
static long no_write(void) { return pwrite(fd, "x", 1, 16384 * GIB); }

static const struct {
  const char *name;
  long (*run)(void);
  bool works;
  /* What moves: m data time, c change time; of the file and of the directory. */
  const char *file, *directory;
} operations[] = {
    {"write", op_write, true, "mc", ""},
    {"write of nothing", op_write_nothing, true, "", ""},
    {"stat", op_stat, true, "", ""},
    {"open for writing", op_open_write, true, "", ""},
    {"truncate to another size", op_truncate, true, "mc", ""},
    {"ftruncate to another size", op_ftruncate, true, "mc", ""},
    {"truncate to a larger size", op_truncate_same, true, "mc", ""},
    {"truncate to the same size", op_truncate_same, true, "mc", ""},
    {"ftruncate to the same size", op_ftruncate_same, true, "mc", ""},
    {"O_TRUNC", op_open_trunc, true, "mc", ""},
    {"O_TRUNC of an empty file", op_open_trunc, true, "mc", ""},
    {"chmod", op_chmod, true, "c", ""},
    {"chmod to the same mode", op_chmod_same, true, "c", ""},
    {"chown", op_chown, true, "c", ""},
    {"chown to nobody new", op_chown_none, true, "c", ""},
    {"fallocate that grows", op_fallocate, true, "mc", ""},
    {"fallocate that keeps the size", op_keep, true, "mc", ""},
    {"punch", op_punch, true, "mc", ""},
    {"copy_file_range", op_copy_range, true, "mc", ""},
    {"setxattr", op_setxattr, true, "c", ""},
    {"removexattr", op_removexattr, true, "c", ""},
    {"inode flags", op_flags, true, "c", ""},
    {"fsync", op_fsync, true, "", ""},
    {"link", op_link, true, "c", "mc"},
    {"unlink of a second name", op_unlink, true, "c", "mc"},
    {"rename within", op_rename, true, "c", "mc"},
    {"create", op_create, true, "", "mc"},
    {"create of an existing file", op_create_again, true, "", ""},
    {"mkdir", op_mkdir, true, "", "mc"},
    {"rmdir", op_rmdir, true, "", "mc"},
    {"symlink", op_symlink, true, "", "mc"},
    {"mkfifo", op_mkfifo, true, "", "mc"},
    {"mknod", op_mknod, true, "", "mc"},
    {"rename into", op_rename_in, true, "", "mc"},
    {"rename out of", op_rename_out, true, "", "mc"},
    {"create, refused", no_create, false, "", ""},
    {"mkdir, refused", no_mkdir, false, "", ""},
    {"rmdir, refused", no_rmdir, false, "", ""},
    {"unlink, refused", no_unlink, false, "", ""},
    {"link, refused", no_link, false, "", ""},
    {"symlink, refused", no_symlink, false, "", ""},
    {"rename, refused", no_rename, false, "", ""},
    {"rename onto a directory, refused", no_rename_dir, false, "", ""},
    {"truncate, refused", no_truncate, false, "", ""},
    {"setxattr, refused", no_xattr, false, "", ""},
    {"removexattr, refused", no_removexattr, false, "", ""},
    {"fallocate, refused", no_fallocate, false, "", ""},
    {"write, refused", no_write, false, "", ""},
};

static const char *moved(struct stat before, struct stat after) {
  return named("%s%s", compare_times(after.st_mtim, before.st_mtim) ? "m" : "",
               compare_times(after.st_ctim, before.st_ctim) ? "c" : "");
}

static void moving(void) {
  directory("t", 0755);
  directory("o", 0755);
  make("o/x", "x", 0644);
  fd = create("t/f", "0123456789", 0644);
  must(ftruncate(fd, 100) == 0, "ftruncate");
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
    struct timespec past[2] = {{1000000, 1}, {2000000, 2}};
    must(futimens(fd, past) == 0 && utimensat(AT_FDCWD, "t", past, 0) == 0, "past times");
    tick();
    struct stat file = status("t/f"), parent = status("t");
    errno = 0;
    bool worked = operations[i].run() != -1;
    TRUE(named("%s %s", operations[i].name, operations[i].works ? "works" : "fails"),
         worked == operations[i].works);
    TEXT(named("%s moves of the file", operations[i].name), operations[i].file,
         moved(file, status("t/f")));
    TEXT(named("%s moves of the directory", operations[i].name), operations[i].directory,
         moved(parent, status("t")));
    struct stat opened;
    fstat(fd, &opened);
    struct stat named_ = status("t/f");
    TRUE(named("%s: fstat and stat agree", operations[i].name),
         compare_times(opened.st_mtim, named_.st_mtim) == 0 &&
             compare_times(opened.st_ctim, named_.st_ctim) == 0 &&
             opened.st_size == named_.st_size);
  }
  close(fd);
}

/* A new file's times are the time of its creation, all three the same. */
static void fresh(void) {
  struct timespec begin, end;
  clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  make("new", "", 0644);
  struct stat st = status("new");
  clock_gettime(CLOCK_REALTIME, &end);
  TRUE("a new file is not older than its creation", compare_times(st.st_mtim, begin) >= 0);
  TRUE("nor from the future", compare_times(st.st_ctim, end) <= 0);
  TRUE("a new directory has the three times of its creation", ({
         directory("newd", 0700);
         struct stat d = status("newd");
         compare_times(d.st_atim, begin) >= 0 && compare_times(d.st_mtim, begin) >= 0;
       }));
  struct statx x;
  OK("statx", statx(AT_FDCWD, "new", 0, STATX_BASIC_STATS | STATX_BTIME, &x));
  TRUE("statx gives the time of birth", (x.stx_mask & STATX_BTIME) != 0);
  struct timespec birth = {x.stx_btime.tv_sec, x.stx_btime.tv_nsec};
  TRUE("which is that of creation",
       compare_times(birth, begin) >= 0 && compare_times(birth, end) <= 0);
  make("later", "", 0644);
  tick();
  struct timespec old[2] = {{5, 5}, {5, 5}};
  utimensat(AT_FDCWD, "later", old, 0);
  statx(AT_FDCWD, "later", 0, STATX_BTIME, &x);
  TRUE("utimensat leaves the time of birth", x.stx_btime.tv_sec > 5);
}

/* Access times with relatime: read once after a change they move, again within a day they do not. */
static void access_time(void) {
  make("read", "content", 0644);
  struct timespec past[2] = {{1000000, 1}, {2000000, 2}};
  char byte;
  utimensat(AT_FDCWD, "read", past, 0);
  tick();
  int reader = open("read", O_RDONLY);
  must(read(reader, &byte, 1) == 1, "read");
  close(reader);
  TRUE("reading moves the access time", status("read").st_atim.tv_sec > 1000000);
  struct stat before = status("read");
  TRUE("and nothing else", before.st_mtim.tv_sec == 2000000);
  reader = open("read", O_RDONLY);
  tick();
  must(read(reader, &byte, 1) == 1, "read");
  close(reader);
  TRUE("reading again does not", compare_times(status("read").st_atim, before.st_atim) == 0);
  utimensat(AT_FDCWD, "read", past, 0);
  reader = open("read", O_RDONLY | O_NOATIME);
  must(read(reader, &byte, 1) == 1, "read");
  close(reader);
  EQ("reading with O_NOATIME does not", 1000000, status("read").st_atim.tv_sec);
  directory("list", 0755);
  make("list/f", "", 0644);
  utimensat(AT_FDCWD, "list", past, 0);
  DIR *entries = opendir("list");
  while (readdir(entries)) continue;
  closedir(entries);
  TRUE("reading a directory moves its access time", status("list").st_atim.tv_sec > 1000000);
}

void subject_times(void) {
  setting();
  moving();
  fresh();
  access_time();
}
