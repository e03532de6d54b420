/* read, write and their relatives; size limits; appending by several processes. */
#include "../check.h"

#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void simple(void) {
  int fd = create("f", "0123456789", 0644);
  char text[64] = "";
  EQ("pread", 3, pread(fd, text, 3, 4));
  TEXT("what pread gave", "456", text);
  EQ("pread beyond the end", 0, pread(fd, text, 8, 10));
  EQ("pread across the end", 2, pread(fd, text, 8, 8));
  EQ("pread far beyond the end", 0, pread(fd, text, 8, 1 * GIB));
  EQ("pwrite", 2, pwrite(fd, "AB", 2, 4));
  TEXT("after pwrite", "0123AB6789", content_of(fd));
  EQ("pwrite beyond the end", 1, pwrite(fd, "z", 1, 20));
  EQ("the gap counts", 21, size_of("f"));
  EQ("pread of the gap", 10, pread(fd, text, 10, 10));
  TRUE("the gap reads as zeros", all_bytes((unsigned char *)text, 10, 0));
  FAILS("pread at a negative offset", EINVAL, pread(fd, text, 1, -1));
  FAILS("pwrite at a negative offset", EINVAL, pwrite(fd, text, 1, -1));
  EQ("lseek SEEK_END", 26, lseek(fd, 5, SEEK_END));
  EQ("lseek SEEK_CUR", 23, lseek(fd, -3, SEEK_CUR));
  EQ("lseek SEEK_SET", 2, lseek(fd, 2, SEEK_SET));
  FAILS("lseek before the begin", EINVAL, lseek(fd, -1, SEEK_SET));
  FAILS("lseek with an unknown whence", EINVAL, lseek(fd, 0, 77));
  EQ("a refused lseek leaves the offset", 2, lseek(fd, 0, SEEK_CUR));
  EQ("read moves the offset", 4, (read(fd, text, 2), lseek(fd, 0, SEEK_CUR)));
  EQ("a write of nothing", 0, write(fd, text, 0));
  EQ("a read of nothing", 0, read(fd, text, 0));
  EQ("a write of nothing beyond the end", 0, pwrite(fd, text, 0, 100));
  EQ("it does not grow the file", 21, size_of("f"));
  FAILS("read into bad memory", EFAULT, pread(fd, (void *)8, 4, 0));
  FAILS("write from bad memory", EFAULT, pwrite(fd, (void *)8, 4, 0));
  EQ("which leaves the size", 21, size_of("f"));
  struct iovec parts[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
  EQ("pwritev", 5, pwritev(fd, parts, 3, 0));
  TEXT("after pwritev", "abcde", named("%.5s", content_of(fd)));
  char a[3] = "", b[4] = "";
  struct iovec places[2] = {{a, 2}, {b, 3}};
  EQ("preadv", 5, preadv(fd, places, 2, 0));
  TEXT("first part", "ab", a);
  TEXT("second part", "cde", b);
  FAILS("writev of too many parts", EINVAL, writev(fd, parts, IOV_MAX + 1));
  OK("ftruncate down", ftruncate(fd, 3));
  EQ("size", 3, size_of("f"));
  OK("ftruncate up", ftruncate(fd, 6));
  EQ("read after it", 6, pread(fd, text, 64, 0));
  TRUE("what was cut reads as zeros", memcmp(text, "abc\0\0\0", 6) == 0);
  FAILS("ftruncate to a negative size", EINVAL, ftruncate(fd, -1));
  FAILS("truncate to a negative size", EINVAL, truncate("f", -1));
  OK("truncate by path", truncate("f", 2));
  EQ("size after truncate by path", 2, size_of("f"));
  FAILS("truncate of an absent file", ENOENT, truncate("none", 0));
  FAILS("truncate through a file", ENOTDIR, truncate("f/x", 0));
  make("theirs", "text", 0644);
  AS(ALICE, TEAM) FAILS("truncate without permission", EACCES, truncate("theirs", 0));
  int other = open("f", O_RDONLY);
  EQ("a write is seen at once by another descriptor", 3,
     (pwrite(fd, "xyz", 3, 0), pread(other, text, 8, 0)));
  close(other);
  close(fd);
}

static void version_two(void) {
  int fd = create("v2", "0123456789", 0644);
  char text[64] = "";
  struct iovec part = {"XY", 2}, place = {text, 4};
  EQ("pwritev2 without flags", 2, pwritev2(fd, &part, 1, 1, 0));
  EQ("pwritev2 RWF_DSYNC", 2, pwritev2(fd, &part, 1, 3, RWF_DSYNC));
  EQ("pwritev2 RWF_SYNC", 2, pwritev2(fd, &part, 1, 5, RWF_SYNC));
  TEXT("after both", "0XYXYXY789", content_of(fd));
  EQ("pwritev2 RWF_APPEND", 2, pwritev2(fd, &part, 1, 0, RWF_APPEND));
  TEXT("it appends", "0XYXYXY789XY", content_of(fd));
  lseek(fd, 2, SEEK_SET);
  EQ("pwritev2 at -1 uses the offset", 2, pwritev2(fd, &part, 1, -1, 0));
  EQ("and moves it", 4, lseek(fd, 0, SEEK_CUR));
  EQ("preadv2", 4, preadv2(fd, &place, 1, 2, 0));
  EQ("preadv2 at -1", 4, preadv2(fd, &place, 1, -1, 0));
  EQ("preadv2 RWF_HIPRI of a buffered file", 4, preadv2(fd, &place, 1, 0, RWF_HIPRI));
  FAILS("an unknown RWF flag", EOPNOTSUPP, preadv2(fd, &place, 1, 0, 1 << 30));
  TEXT("preadv2 RWF_NOWAIT", "ok", OUTCOME(preadv2(fd, &place, 1, 0, RWF_NOWAIT)));
  note("pwritev2 RWF_NOWAIT of a cached file", "%s", OUTCOME(pwritev2(fd, &part, 1, 0, RWF_NOWAIT)));
  TEXT("RWF_ATOMIC of a buffered file", "EOPNOTSUPP",
       OUTCOME(pwritev2(fd, &part, 1, 0, 0x40)));
  TEXT("RWF_DONTCACHE read", "ok", OUTCOME(preadv2(fd, &place, 1, 0, 0x80)));
  close(fd);
  fd = open("v2", O_RDWR | O_APPEND);
  EQ("RWF_NOAPPEND", 2, pwritev2(fd, &part, 1, 0, 0x20));
  EQ("it did not append", 12, size_of("v2"));
  close(fd);
}

static void many_sizes(void) {
  int fd = create("sizes", NULL, 0644);
  static unsigned char wanted[5 * 1024 * 1024], got[5 * 1024 * 1024];
  fill(wanted, sizeof wanted, 7);
  static const size_t sizes[] = {1,      511,    512,     4095,    4096,    4097,   65535,
                                 131072, 131073, 1048575, 1048576, 1048577, 4194305};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (int shift = 0; shift < 2; shift++) {
      off_t at = shift ? 4093 : 0;
      must(ftruncate(fd, 0) == 0, "ftruncate");
      const char *what = named("%zu bytes at %ld", sizes[i], (long)at);
      EQ(named("write of %s", what), sizes[i], pwrite(fd, wanted, sizes[i], at));
      EQ(named("size after %s", what), at + (off_t)sizes[i], size_of("sizes"));
      posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      EQ(named("read of %s", what), sizes[i], pread(fd, got, sizeof got, at));
      TRUE(named("content of %s", what), memcmp(wanted, got, sizes[i]) == 0);
    }
  }
  close(fd);
  unlink("sizes");
}

static void beyond_four_gib(void) {
  int fd = create("big", NULL, 0644);
  char text[8] = "";
  EQ("write at 5 GiB", 4, pwrite(fd, "five", 4, 5 * GIB));
  EQ("size after 5 GiB", 5 * GIB + 4, size_of("big"));
  EQ("write across 4 GiB", 6, pwrite(fd, "across", 6, 4 * GIB - 3));
  EQ("write at 1 TiB", 1, pwrite(fd, "t", 1, 1024 * GIB));
  EQ("read across 4 GiB", 6, pread(fd, text, 6, 4 * GIB - 3));
  TEXT("what was read", "across", text);
  EQ("read in a hole at 3 GiB", 4, pread(fd, text, 4, 3 * GIB));
  TRUE("zeros", all_bytes((unsigned char *)text, 4, 0));
  TRUE("it is sparse", status("big").st_blocks < 1000);
  EQ("SEEK_DATA from 4 GiB + 1 MiB", 5 * GIB, lseek(fd, 4 * GIB + MIB, SEEK_DATA));
  EQ("SEEK_HOLE from 5 GiB", 5 * GIB + 4096, lseek(fd, 5 * GIB, SEEK_HOLE));
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * GIB);
  TRUE("mmap at 5 GiB", map != MAP_FAILED && memcmp(map, "five", 4) == 0);
  memcpy(map + 4096, "more", 4);
  OK("msync at 5 GiB", msync(map, 8192, MS_SYNC));
  munmap(map, 8192);
  memset(text, 0, sizeof text);
  EQ("read of what was mapped", 4, pread(fd, text, 4, 5 * GIB + 4096));
  TEXT("its content", "more", text);
  OK("ftruncate to 4 GiB + 1", ftruncate(fd, 4 * GIB + 1));
  EQ("size after it", 4 * GIB + 1, size_of("big"));
  OK("ftruncate to 8 TiB", ftruncate(fd, 8192 * GIB));
  EQ("size of 8 TiB", 8192 * GIB, size_of("big"));
  EQ("lseek to 8 TiB", 8192 * GIB, lseek(fd, 0, SEEK_END));
  /* The largest file: ext4 with blocks of 4 KiB ends one block before 16 TiB. */
  FAILS("ftruncate to the largest offset", EFBIG, ftruncate(fd, INT64_MAX));
  FAILS("write at the largest offset", EFBIG, pwrite(fd, "x", 1, INT64_MAX - 1));
  TEXT("ftruncate to 16 TiB - 4 KiB", "ok", OUTCOME(ftruncate(fd, 16384 * GIB - 4096)));
  TEXT("ftruncate to 16 TiB", "EFBIG", OUTCOME(ftruncate(fd, 16384 * GIB)));
  TEXT("write at 16 TiB", "EFBIG", OUTCOME(pwrite(fd, "x", 1, 16384 * GIB)));
  EQ("the size after the refusals", 16384 * GIB - 4096, size_of("big"));
  close(fd);
  unlink("big");
}

static void size_limit(void) {
  FORKED {
    struct rlimit limit = {10000, 10000};
    signal(SIGXFSZ, SIG_IGN);
    must(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
    int fd = create("limited", NULL, 0644);
    static char bytes[20000];
    EQ("RLIMIT_FSIZE cuts a write short", 10000, write(fd, bytes, sizeof bytes));
    FAILS("RLIMIT_FSIZE refuses the next", EFBIG, write(fd, bytes, 1));
    FAILS("RLIMIT_FSIZE refuses ftruncate", EFBIG, ftruncate(fd, 10001));
    FAILS("RLIMIT_FSIZE refuses truncate", EFBIG, truncate("limited", 20000));
    FAILS("RLIMIT_FSIZE refuses fallocate", EFBIG, fallocate(fd, 0, 0, 20000));
    OK("a write below the limit", pwrite(fd, bytes, 100, 9900));
    EQ("the size", 10000, size_of("limited"));
    close(fd);
  }
  make("signal", "", 0644);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit limit = {100, 100};
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &limit);
    int fd = open("signal", O_WRONLY);
    (void)!pwrite(fd, "x", 1, 200);
    _exit(0);
  }
  int end;
  waitpid(child, &end, 0);
  TRUE("SIGXFSZ ends the process", WIFSIGNALED(end) && WTERMSIG(end) == SIGXFSZ);
  EQ("and the file is as it was", 0, size_of("signal"));
}

enum { WRITERS = 6, RECORDS = 400, RECORD = 100 };

static void appenders(int flags, const char *title) {
  const char *path = named("log%d", flags != 0);
  int common = create(path, NULL, 0644);
  close(common);
  for (int writer = 0; writer < WRITERS; writer++) {
    if (fork() != 0) continue;
    int fd = open(path, O_WRONLY | O_APPEND | flags);
    char record[RECORD];
    for (int i = 0; i < RECORDS; i++) {
      memset(record, 'a' + writer, sizeof record);
      memcpy(record + 1, &i, sizeof i);
      record[RECORD - 1] = '\n';
      if (write(fd, record, sizeof record) != sizeof record) _exit(1);
    }
    _exit(0);
  }
  int failures = 0, end;
  while (waitpid(-1, &end, 0) > 0) failures += end != 0;
  EQ(named("%s: every writer succeeds", title), 0, failures);
  EQ(named("%s: no record is lost", title), (long)WRITERS * RECORDS * RECORD, size_of(path));
  int fd = open(path, O_RDONLY), next[WRITERS] = {0};
  char record[RECORD];
  bool ordered = true;
  while (read(fd, record, sizeof record) == sizeof record) {
    int writer = record[0] - 'a', number;
    memcpy(&number, record + 1, sizeof number);
    ordered = ordered && writer >= 0 && writer < WRITERS && number == next[writer]++ &&
              record[RECORD - 1] == '\n';
    if (!ordered) break;
  }
  TRUE(named("%s: records are whole and in each writer's order", title), ordered);
  close(fd);
}

/* Two processes share one offset when the descriptor was inherited. */
static void shared_offset(void) {
  int fd = create("shared", NULL, 0644);
  for (int writer = 0; writer < 4; writer++)
    if (fork() == 0) {
      char record[64];
      memset(record, 'a' + writer, sizeof record);
      for (int i = 0; i < 200; i++)
        if (write(fd, record, sizeof record) != sizeof record) _exit(1);
      _exit(0);
    }
  int failures = 0, end;
  while (waitpid(-1, &end, 0) > 0) failures += end != 0;
  EQ("writers with a common offset", 0, failures);
  EQ("their bytes do not overlap", 4 * 200 * 64, size_of("shared"));
  close(fd);
}

void subject_data(void) {
  simple();
  version_two();
  many_sizes();
  beyond_four_gib();
  size_limit();
  appenders(0, "O_APPEND");
  appenders(O_DSYNC, "O_APPEND with O_DSYNC");
  shared_offset();
}
