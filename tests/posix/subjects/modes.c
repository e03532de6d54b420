/* chmod, chown, and the set-id bits that other operations take away. */
#include "../check.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>

static void chmods(void) {
  make("f", "x", 0644);
  bool right = true;
  for (mode_t mode = 0; mode <= 07777; mode += 0131) {
    right = right && chmod("f", mode) == 0 && mode_of("f") == mode;
  }
  TRUE("chmod to modes all over the range", right);
  OK("chmod 07777", chmod("f", 07777));
  OCTAL("07777", 07777, mode_of("f"));
  OK("chmod 0", chmod("f", 0));
  OCTAL("0", 0, mode_of("f"));
  int fd = open("f", O_RDONLY);
  OK("fchmod of a read-only descriptor", fchmod(fd, 0751));
  OCTAL("fchmod's mode", 0751, mode_of("f"));
  close(fd);
  OK("fchmodat", fchmodat(AT_FDCWD, "f", 0640, 0));
  OCTAL("fchmodat's mode", 0640, mode_of("f"));
  symlink("f", "l");
  TEXT("fchmodat2 of a link itself", "EOPNOTSUPP",
       OUTCOME(syscall(452, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW)));
  TEXT("fchmodat2 with AT_EMPTY_PATH", "ok", ({
         int path = open("f", O_PATH);
         const char *got = OUTCOME(syscall(452, path, "", 0604, AT_EMPTY_PATH));
         close(path);
         got;
       }));
  OCTAL("its mode", 0604, mode_of("f"));
  FAILS("chmod of an absent file", ENOENT, chmod("none", 0600));
  FAILS("chmod below a file", ENOTDIR, chmod("f/x", 0600));
  directory("d", 0755);
  OK("chmod of a directory", chmod("d", 07711));
  OCTAL("a directory's mode", 07711, mode_of("d"));
  directory("users", 0777);
  AS(ALICE, TEAM) {
    FAILS("chmod of a foreign file", EPERM, chmod("f", 0666));
    make("users/own", "x", 0644);
    OK("chmod of one's own", chmod("users/own", 04711));
    OCTAL("set-user-id of one's own", 04711, mode_of("users/own"));
    OK("chmod with set-group-id, of one's own group", chmod("users/own", 02711));
    OCTAL("it is taken", 02711, mode_of("users/own"));
    OK("sticky on a file as a user", chmod("users/own", 01644));
    OCTAL("it is taken (Linux)", 01644, mode_of("users/own"));
  }
  make("users/foreign", "x", 0644);
  chown("users/foreign", ALICE, CLUB);
  AS(ALICE, TEAM) {
    OK("chmod with set-group-id, of a foreign group", chmod("users/foreign", 02755));
    OCTAL("it is dropped", 0755, mode_of("users/foreign"));
  }
  AS_MEMBER(ALICE, TEAM, CLUB) {
    OK("chmod with set-group-id, of a supplementary group", chmod("users/foreign", 02755));
    OCTAL("it stays", 02755, mode_of("users/foreign"));
  }
}

static void chowns(void) {
  make("c", "x", 0644);
  OK("chown", chown("c", ALICE, TEAM));
  EQ("owner", ALICE, status("c").st_uid);
  EQ("group", TEAM, status("c").st_gid);
  OK("chown of the owner only", chown("c", BOB, -1));
  EQ("group stays", TEAM, status("c").st_gid);
  OK("chown of the group only", chown("c", -1, CLUB));
  EQ("owner stays", BOB, status("c").st_uid);
  OK("chown to large numbers", chown("c", 4294967293u, 3000000000u));
  EQ("large owner", 4294967293LL, status("c").st_uid);
  EQ("large group", 3000000000LL, status("c").st_gid);
  FAILS("chown of an absent file", ENOENT, chown("none", 1, 1));
  int fd = open("c", O_RDONLY);
  OK("fchown of a read-only descriptor", fchown(fd, ALICE, TEAM));
  close(fd);
  AS(ALICE, TEAM) {
    FAILS("giving one's own away", EPERM, chown("c", BOB, -1));
    FAILS("to a group one is not in", EPERM, chown("c", -1, CLUB));
    OK("to the group it has", chown("c", -1, TEAM));
    OK("to oneself", chown("c", ALICE, -1));
  }
  AS_MEMBER(ALICE, TEAM, CLUB) {
    OK("to a supplementary group", chown("c", -1, CLUB));
    EQ("its group now", CLUB, status("c").st_gid);
  }
  AS(BOB, TEAM) FAILS("chown of a foreign file", EPERM, chown("c", BOB, TEAM));
}

/* A file of Alice's with set-id bits; an operation as root or as Alice; the mode that is left. */
static long by_chown_same(const char *path) { return chown(path, ALICE, TEAM); }
static long by_chown_none(const char *path) { return chown(path, -1, -1); }
static long by_chgrp(const char *path) { return chown(path, -1, TEAM); }
static long by_truncate(const char *path) { return truncate(path, 1); }
static long by_truncate_same(const char *path) { return truncate(path, 4); }
static long by_utimes(const char *path) { return utimensat(AT_FDCWD, path, NULL, 0); }
static long by_link(const char *path) { return link(path, "bits/link") || unlink("bits/link"); }
static long opened(const char *path, int flags, long (*act)(int)) {
  int fd = open(path, flags);
  if (fd < 0) return -1;
  long result = act(fd);
  close(fd);
  return result;
}
static long write_it(int fd) { return pwrite(fd, "y", 1, 0); }
static long write_none(int fd) { return pwrite(fd, "y", 0, 0); }
static long ftruncate_it(int fd) { return ftruncate(fd, 2); }
static long allocate_it(int fd) { return fallocate(fd, 0, 0, 8192); }
static long punch_it(int fd) {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
}
static long nothing(int fd) { return fd; }
static long map_it(int fd) {
  char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return -1;
  memory[0] = 'm';
  long result = msync(memory, 4096, MS_SYNC);
  munmap(memory, 4096);
  return result;
}
static long copy_it(int fd) {
  loff_t from = 0, to = 2;
  return copy_file_range(fd, &from, fd, &to, 2, 0);
}
static long by_write(const char *path) { return opened(path, O_RDWR, write_it); }
static long by_write_none(const char *path) { return opened(path, O_RDWR, write_none); }
static long by_append(const char *path) { return opened(path, O_RDWR | O_APPEND, write_it); }
static long by_ftruncate(const char *path) { return opened(path, O_RDWR, ftruncate_it); }
static long by_allocate(const char *path) { return opened(path, O_RDWR, allocate_it); }
static long by_punch(const char *path) { return opened(path, O_RDWR, punch_it); }
static long by_open(const char *path) { return opened(path, O_RDWR, nothing); }
static long by_o_trunc(const char *path) { return opened(path, O_RDWR | O_TRUNC, nothing); }
static long by_map(const char *path) { return opened(path, O_RDWR, map_it); }
static long by_copy(const char *path) { return opened(path, O_RDWR, copy_it); }
static long by_direct(const char *path) {
  int fd = open(path, O_WRONLY | O_DIRECT);
  void *memory;
  if (fd < 0 || posix_memalign(&memory, 4096, 4096) != 0) return -1;
  memset(memory, 'd', 4096);
  long result = pwrite(fd, memory, 4096, 0);
  close(fd);
  return result;
}

static const struct {
  const char *name;
  long (*run)(const char *);
  /* What is left of set-user-id, set-group-id with group execute, and set-group-id without. */
  mode_t root[3], owner[3];
} killers[] = {
    {"write", by_write, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"write of nothing", by_write_none, {04755, 02755, 02745}, {04755, 02755, 02745}},
    {"append", by_append, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"direct write", by_direct, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"mapped write", by_map, {04755, 02755, 02745}, {04755, 02755, 02745}},
    {"truncate", by_truncate, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"truncate to the same size", by_truncate_same, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"ftruncate", by_ftruncate, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"O_TRUNC", by_o_trunc, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"open for writing", by_open, {04755, 02755, 02745}, {04755, 02755, 02745}},
    {"fallocate", by_allocate, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"punch", by_punch, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"copy_file_range", by_copy, {04755, 02755, 02745}, {0755, 0755, 02745}},
    {"chown to the same", by_chown_same, {0755, 0755, 02745}, {0755, 0755, 02745}},
    {"chown to nobody new", by_chown_none, {0755, 0755, 02745}, {0755, 0755, 02745}},
    {"chgrp", by_chgrp, {0755, 0755, 02745}, {0755, 0755, 02745}},
    {"utimensat", by_utimes, {04755, 02755, 02745}, {04755, 02755, 02745}},
    {"link", by_link, {04755, 02755, 02745}, {04755, 02755, 02745}},
};

static void set_id(void) {
  static const mode_t modes[3] = {04755, 02755, 02745};
  directory("bits", 0777);
  for (size_t i = 0; i < sizeof killers / sizeof *killers; i++)
    for (int kind = 0; kind < 3; kind++)
      for (int user = 0; user < 2; user++) {
        const char *who = user ? "owner" : "root";
        const char *path = "bits/f";
        make(path, "text", 0644);
        must(chown(path, ALICE, TEAM) == 0 && chmod(path, modes[kind]) == 0, "set-id bits");
        const char *what = named("%s of %04o by the %s", killers[i].name, modes[kind], who);
        if (user) AS(ALICE, TEAM) OK(what, killers[i].run(path));
        else OK(what, killers[i].run(path));
        mode_t want = user ? killers[i].owner[kind] : killers[i].root[kind];
        OCTAL(named("%s: mode left", what), want, mode_of(path));
        int fd = open(path, O_RDONLY);
        struct stat st;
        fstat(fd, &st);
        OCTAL(named("%s: mode by fstat", what), want, st.st_mode & 07777);
        close(fd);
        unlink(path);
      }
  /*
   * Strangers with write permission take the bits away too; set-group-id without group execute goes
   * only where the writer is not in the group.
   */
  static const struct {
    const char *who;
    int group, extra;
    mode_t left;
  } others[] = {{"stranger", CLUB, -1, 0766}, {"member", TEAM, -1, 02766},
                {"supplementary member", CLUB, TEAM, 02766}};
  for (size_t i = 0; i < sizeof killers / sizeof *killers; i++) {
    if (killers[i].owner[0] != 0755 || killers[i].root[0] == 0755) continue;
    for (size_t other = 0; other < sizeof others / sizeof *others; other++)
      for (int kind = 0; kind < 3; kind++) {
        static const mode_t open_modes[3] = {04777, 02777, 02766};
        make("bits/w", "text", 0644);
        must(chown("bits/w", ALICE, TEAM) == 0 && chmod("bits/w", open_modes[kind]) == 0, "bits");
        const char *what =
            named("%s of %04o by a %s", killers[i].name, open_modes[kind], others[other].who);
        AS_MEMBER(BOB, others[other].group, others[other].extra) OK(what, killers[i].run("bits/w"));
        OCTAL(named("%s: mode left", what), kind < 2 ? 0777 : others[other].left, mode_of("bits/w"));
        unlink("bits/w");
      }
  }
  make("bits/open", "text", 0666);
  chmod("bits/open", 06777);
  AS(BOB, CLUB) OK("write by a stranger", by_write("bits/open"));
  OCTAL("takes both bits", 0777, mode_of("bits/open"));
  directory("bits/dir", 0755);
  chmod("bits/dir", 06755);
  OK("chown of a directory", chown("bits/dir", ALICE, TEAM));
  OCTAL("leaves a directory's bits", 06755, mode_of("bits/dir"));
}

void subject_modes(void) {
  chmods();
  chowns();
  set_id();
}
