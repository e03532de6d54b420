/* mkdir, rmdir, and reading directories. */
#include "../check.h"

#include <sys/syscall.h>

static void making(void) {
  struct stat up = status(".");
  tick();
  OK("mkdir", mkdir("d", 0777));
  OCTAL("its mode is masked by umask", 0755, mode_of("d"));
  EQ("its links", 2, links_of("d"));
  EQ("its parent's links", up.st_nlink + 1, links_of("."));
  TRUE("its parent's data time", compare_times(status(".").st_mtim, up.st_mtim) > 0);
  FAILS("mkdir of an existing directory", EEXIST, mkdir("d", 0700));
  make("f", "x", 0644);
  FAILS("mkdir of an existing file", EEXIST, mkdir("f", 0700));
  symlink("absent", "l");
  FAILS("mkdir of a dangling link", EEXIST, mkdir("l", 0700));
  FAILS("mkdir below an absent directory", ENOENT, mkdir("none/d", 0700));
  FAILS("mkdir below a file", ENOTDIR, mkdir("f/d", 0700));
  FAILS("mkdir of an empty path", ENOENT, mkdir("", 0700));
  umask(0);
  OK("mkdir with sticky", mkdir("s", 01777));
  OCTAL("sticky is taken", 01777, mode_of("s"));
  OK("mkdir with set-id bits", mkdir("sid", 06777));
  OCTAL("set-id bits are not taken by mkdir (Linux)", 0777, mode_of("sid"));
  umask(022);
  directory("gid", 02775);
  chown("gid", 0, CLUB);
  chmod("gid", 02777);
  AS(ALICE, TEAM) {
    OK("mkdir in a set-gid directory", mkdir("gid/d", 0755));
    OCTAL("a directory inherits set-gid", 02755, mode_of("gid/d"));
    EQ("and the group", CLUB, status("gid/d").st_gid);
    make("gid/f", "x", 0644);
    EQ("a file inherits the group", CLUB, status("gid/f").st_gid);
    OCTAL("a file does not inherit set-gid", 0644, mode_of("gid/f"));
    int fd = open("gid/g", O_CREAT | O_WRONLY, 02755);
    OCTAL("set-gid of a file for a foreign group is dropped", 0755, mode_of("gid/g"));
    close(fd);
    symlink("x", "gid/l");
    EQ("a link inherits the group", CLUB, status("gid/l").st_gid);
    mkfifo("gid/p", 0644);
    EQ("a fifo inherits the group", CLUB, status("gid/p").st_gid);
  }
  AS_MEMBER(ALICE, TEAM, CLUB) {
    int fd = open("gid/h", O_CREAT | O_WRONLY, 02755);
    OCTAL("set-gid of a file for a group of one's own stays", 02755, mode_of("gid/h"));
    close(fd);
  }
}

static void removing(void) {
  directory("r", 0755);
  directory("r/full", 0755);
  make("r/full/f", "x", 0644);
  make("r/f", "x", 0644);
  symlink("full", "r/l");
  FAILS("rmdir of a full directory", ENOTEMPTY, rmdir("r/full"));
  FAILS("rmdir of a file", ENOTDIR, rmdir("r/f"));
  FAILS("rmdir of a link", ENOTDIR, rmdir("r/l"));
  FAILS("rmdir of an absent one", ENOENT, rmdir("r/none"));
  unlink("r/full/f");
  EQ("links before rmdir", 3, links_of("r"));
  OK("rmdir", rmdir("r/full"));
  EQ("links after rmdir", 2, links_of("r"));
  directory("r/open", 0755);
  int fd = open("r/open", O_RDONLY | O_DIRECTORY);
  OK("rmdir of an open directory", rmdir("r/open"));
  struct stat st;
  OK("fstat of it", fstat(fd, &st));
  EQ("it has no links", 0, st.st_nlink);
  FAILS("creating in it", ENOENT, openat(fd, "x", O_CREAT | O_WRONLY, 0600));
  FAILS("mkdir in it", ENOENT, mkdirat(fd, "x", 0700));
  FAILS("symlink in it", ENOENT, symlinkat("t", fd, "x"));
  FAILS("link into it", ENOENT, linkat(AT_FDCWD, "r/f", fd, "x", 0));
  FAILS("rename into it", ENOENT, renameat(AT_FDCWD, "r/f", fd, "x"));
  FAILS("looking up in it", ENOENT, fstatat(fd, "x", &st, 0));
  DIR *entries = fdopendir(fd);
  TRUE("reading it finds nothing", readdir(entries) == NULL);
  closedir(entries);
  directory("r/sticky", 01777);
  directory("r/sticky/roots", 0777);
  directory("r/shut", 0755);
  directory("r/shut/d", 0777);
  AS(ALICE, TEAM) {
    FAILS("rmdir of a foreign directory in a sticky one", EPERM, rmdir("r/sticky/roots"));
    FAILS("rmdir in a directory without write permission", EACCES, rmdir("r/shut/d"));
    FAILS("mkdir in one", EACCES, mkdir("r/shut/x", 0755));
  }
}

struct linux_entry {
  uint64_t ino;
  int64_t off;
  unsigned short length;
  unsigned char type;
  char name[];
};

static void types(void) {
  directory("t", 0755);
  directory("t/dir", 0755);
  make("t/file", "x", 0644);
  symlink("x", "t/link");
  mkfifo("t/fifo", 0600);
  mknod("t/char", S_IFCHR | 0600, makedev(1, 3));
  mknod("t/block", S_IFBLK | 0600, makedev(7, 99));
  mknod("t/sock", S_IFSOCK | 0600, 0);
  static const struct {
    const char *name;
    int type;
  } wanted[] = {{".", DT_DIR},       {"..", DT_DIR},    {"dir", DT_DIR},
                {"file", DT_REG},    {"link", DT_LNK},  {"fifo", DT_FIFO},
                {"char", DT_CHR},    {"block", DT_BLK}, {"sock", DT_SOCK}};
  DIR *entries = opendir("t");
  struct dirent *entry;
  int seen = 0;
  while ((entry = readdir(entries))) {
    seen++;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
      if (strcmp(wanted[i].name, entry->d_name)) continue;
      EQ(named("d_type of %s", entry->d_name), wanted[i].type, entry->d_type);
      struct stat st;
      fstatat(dirfd(entries), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
      TRUE(named("d_ino of %s is its st_ino", entry->d_name), st.st_ino == entry->d_ino);
    }
  }
  closedir(entries);
  EQ("entries, . and .. among them", 9, seen);
  int fd = open("t", O_RDONLY | O_DIRECTORY);
  char small[16];
  FAILS("getdents64 into a buffer too small", EINVAL, syscall(SYS_getdents64, fd, small, 16));
  char byte;
  FAILS("read of a directory", EISDIR, read(fd, &byte, 1));
  FAILS("pread of a directory", EISDIR, pread(fd, &byte, 1, 0));
  FAILS("write to a directory", EBADF, write(fd, "x", 1));
  FAILS("ftruncate of a directory", EINVAL, ftruncate(fd, 0));
  FAILS("truncate of a directory", EISDIR, truncate("t", 0));
  FAILS("mmap of a directory", ENODEV, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
  EQ("lseek to its begin", 0, lseek(fd, 0, SEEK_SET));
  OK("fsync of a directory", fsync(fd));
  OK("fdatasync of a directory", fdatasync(fd));
  close(fd);
  FAILS("opendir of a file", ENOTDIR, opendir("t/file") ? 0 : -1);
  FAILS("opendir of an absent directory", ENOENT, opendir("none") ? 0 : -1);
  directory("wx", 0333);
  AS(ALICE, TEAM) FAILS("opendir without read permission", EACCES, opendir("wx") ? 0 : -1);
}

enum { MANY = 20000 };

static void many(void) {
  directory("many", 0755);
  int at = open("many", O_RDONLY | O_DIRECTORY);
  bool made = true;
  for (int i = 0; i < MANY && made; i++) made = mknodat(at, named("e%d", i), S_IFREG | 0600, 0) == 0;
  TRUE("20,000 entries made", made);
  static unsigned char seen[MANY];
  static long places[64];
  DIR *entries = opendir("many");
  struct dirent *entry;
  long count = 0, twice = 0;
  while ((entry = readdir(entries))) {
    if (entry->d_name[0] != 'e') continue;
    int number = atoi(entry->d_name + 1);
    twice += seen[number]++;
    if (count % 400 == 0 && count / 400 < 64) places[count / 400] = number;
    count++;
  }
  EQ("readdir gives all of them", MANY, count);
  EQ("none twice", 0, twice);
  rewinddir(entries);
  count = 0;
  while ((entry = readdir(entries))) count += entry->d_name[0] == 'e';
  EQ("rewinddir gives all of them again", MANY, count);
  /* telldir and seekdir: come back to places all over the directory, from the last to the first. */
  rewinddir(entries);
  static long tells[64];
  count = 0;
  for (;;) {
    long place = telldir(entries);
    entry = readdir(entries);
    if (!entry) break;
    if (entry->d_name[0] != 'e') continue;
    if (count % 400 == 0 && count / 400 < 64) {
      tells[count / 400] = place;
      places[count / 400] = atoi(entry->d_name + 1);
    }
    count++;
  }
  bool came_back = true;
  for (int i = MANY / 400 - 1; i >= 0; i--) {
    seekdir(entries, tells[i]);
    entry = readdir(entries);
    came_back = came_back && entry && atoi(entry->d_name + 1) == places[i];
  }
  TRUE("seekdir to 50 places, backwards", came_back);
  seekdir(entries, tells[25]);
  long rest = 0;
  while ((entry = readdir(entries))) rest += entry->d_name[0] == 'e';
  EQ("reading on from the middle", MANY - 25 * 400, rest);
  closedir(entries);
  /* Two readers at once do not disturb each other. */
  DIR *one = opendir("many"), *two = opendir("many");
  long first = 0, second = 0;
  bool more = true;
  while (more) {
    struct dirent *x = readdir(one), *y = readdir(two);
    first += x && x->d_name[0] == 'e';
    second += y && y->d_name[0] == 'e';
    more = x || y;
  }
  TRUE("two readers get everything", first == MANY && second == MANY);
  closedir(one);
  closedir(two);
  /* While others come and go, what stays is given exactly once. */
  pid_t other = fork();
  if (other == 0) {
    for (int i = 0; i < 100000; i++) {
      const char *name = named("x%d", i % 50);
      mknodat(at, name, S_IFREG | 0600, 0);
      unlinkat(at, name, 0);
      if (i % 3 == 0) mkdirat(at, "xd", 0700), unlinkat(at, "xd", AT_REMOVEDIR);
    }
    _exit(0);
  }
  bool whole = true;
  for (int round = 0; round < 4; round++) {
    memset(seen, 0, sizeof seen);
    entries = opendir("many");
    while ((entry = readdir(entries)))
      if (entry->d_name[0] == 'e') seen[atoi(entry->d_name + 1)]++;
    closedir(entries);
    whole = whole && all_bytes(seen, MANY, 1);
  }
  kill(other, SIGKILL);
  waitpid(other, NULL, 0);
  TRUE("reading beside creations and removals", whole);
  /* Removing while reading, as rm -r does. */
  entries = opendir("many");
  long removed = 0;
  while ((entry = readdir(entries)))
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
      removed += unlinkat(at, entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0) == 0 &&
                 entry->d_name[0] == 'e';
  closedir(entries);
  EQ("removing while reading removes all", MANY, removed);
  close(at);
  OK("and the directory is empty", rmdir("many"));
}

static void visibility(void) {
  directory("v", 0755);
  DIR *entries = opendir("v");
  while (readdir(entries)) continue;
  make("v/new", "x", 0644);
  rewinddir(entries);
  bool found = false;
  struct dirent *entry;
  while ((entry = readdir(entries))) found = found || strcmp(entry->d_name, "new") == 0;
  TRUE("rewinddir shows a new file", found);
  unlink("v/new");
  rewinddir(entries);
  found = false;
  while ((entry = readdir(entries))) found = found || strcmp(entry->d_name, "new") == 0;
  TRUE("rewinddir shows a removal", !found);
  closedir(entries);
  for (int i = 0; i < 50; i++) {
    make("v/a", "x", 0644);
    rename("v/a", "v/b");
    entries = opendir("v");
    int a = 0, b = 0;
    while ((entry = readdir(entries)))
      a += !strcmp(entry->d_name, "a"), b += !strcmp(entry->d_name, "b");
    closedir(entries);
    unlink("v/b");
    if (a != 0 || b != 1) {
      TRUE("a renamed file is listed once, by its new name", false);
      return;
    }
  }
  TRUE("a renamed file is listed once, by its new name", true);
}

void subject_directory(void) {
  making();
  removing();
  types();
  visibility();
  many();
}
