/* Symbolic links. */
#include "../check.h"

static void making(void) {
  char target[PATH_MAX + 8];
  OK("symlink", symlink("some/where", "l"));
  memset(target, 0, sizeof target);
  EQ("readlink", 10, readlink("l", target, sizeof target));
  TEXT("its target", "some/where", target);
  EQ("lstat's size is the target's length", 10, size_of("l"));
  TRUE("lstat's type", S_ISLNK(status("l").st_mode));
  OCTAL("lstat's mode", 0777, mode_of("l"));
  EQ("links", 1, links_of("l"));
  memset(target, 0, sizeof target);
  EQ("readlink into a short buffer", 4, readlink("l", target, 4));
  TEXT("gives the begin", "some", target);
  FAILS("readlink into nothing", EINVAL, readlink("l", target, 0));
  FAILS("symlink onto an existing name", EEXIST, symlink("x", "l"));
  FAILS("an empty target", ENOENT, symlink("", "empty"));
  FAILS("below an absent directory", ENOENT, symlink("x", "none/l"));
  make("f", "text", 0644);
  FAILS("below a file", ENOTDIR, symlink("x", "f/l"));
  FAILS("readlink of a file", EINVAL, readlink("f", target, 8));
  FAILS("readlink of a directory", EINVAL, readlink(".", target, 8));
  FAILS("readlink of an absent name", ENOENT, readlink("none", target, 8));
  static const int lengths[] = {1, 59, 60, 61, 255, 1000, 4000, PATH_MAX - 2, PATH_MAX - 1};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    char wanted[PATH_MAX + 1], got[PATH_MAX + 1];
    memset(wanted, 't', lengths[i]);
    wanted[lengths[i]] = 0;
    const char *name = named("length%d", lengths[i]);
    OK(named("a target of %d bytes", lengths[i]), symlink(wanted, name));
    EQ(named("readlink of %d bytes", lengths[i]), lengths[i], readlink(name, got, sizeof got));
    TRUE(named("content of %d bytes", lengths[i]), memcmp(got, wanted, lengths[i]) == 0);
    EQ(named("size of %d bytes", lengths[i]), lengths[i], size_of(name));
  }
  memset(target, 't', PATH_MAX);
  target[PATH_MAX] = 0;
  FAILS("a target of PATH_MAX bytes", ENAMETOOLONG, symlink(target, "over"));
  OK("a target of any bytes", symlink("\xff\x01\n \x80", "bytes"));
  memset(target, 0, sizeof target);
  readlink("bytes", target, sizeof target);
  TEXT("they come back", "\xff\x01\n \x80", target);
  directory("shut", 0755);
  AS(ALICE, TEAM)
    FAILS("in a directory without write permission", EACCES, symlink("x", "shut/l"));
}

static void following(void) {
  directory("d", 0755);
  make("d/f", "inside", 0644);
  symlink("d", "dl");
  symlink("d/f", "fl");
  TEXT("a link to a file", "inside", content("fl"));
  TEXT("a link to a directory in a path", "inside", content("dl/f"));
  symlink("../d/f", "d/up");
  TEXT("a relative target starts at the link's directory", "inside", content("dl/up"));
  struct stat st;
  OK("stat follows", stat("fl", &st));
  TRUE("to the file", S_ISREG(st.st_mode));
  OK("truncate follows", truncate("fl", 3));
  EQ("the file is shorter", 3, size_of("d/f"));
  OK("chmod follows", chmod("fl", 0600));
  OCTAL("the file's mode", 0600, mode_of("d/f"));
  OCTAL("the link's mode stays", 0777, mode_of("fl"));
  OK("unlink does not follow", unlink("fl"));
  TRUE("the file stays", exists("d/f"));
  symlink("loop2", "loop1");
  symlink("loop1", "loop2");
  symlink("self", "self");
  FAILS("open of a loop", ELOOP, open("loop1", O_RDONLY));
  FAILS("stat of a loop", ELOOP, stat("loop1", &st));
  FAILS("a link to itself", ELOOP, stat("self", &st));
  FAILS("a loop in a path", ELOOP, stat("loop1/x", &st));
  FAILS("creation through a loop", ELOOP, open("loop1", O_CREAT | O_RDWR, 0600));
  FAILS("mkdir below a loop", ELOOP, mkdir("loop1/x", 0700));
  FAILS("rename below a loop", ELOOP, rename("loop1/x", "y"));
  FAILS("chdir to a loop", ELOOP, chdir("loop1"));
  OK("lstat of a loop", lstat("loop1", &st));
  OK("unlink of a loop", unlink("loop1"));
  FAILS("now it dangles", ENOENT, stat("loop2", &st));
  /* The kernel follows 40 links. */
  make("c0", "end", 0644);
  for (int i = 1; i <= 41; i++) must(symlink(named("c%d", i - 1), named("c%d", i)) == 0, "chain");
  TEXT("a chain of 40 links", "end", content("c40"));
  FAILS("a chain of 41 links", ELOOP, open("c41", O_RDONLY));
  /* Targets that change while they are known to the kernel. */
  make("one", "1", 0644);
  make("two", "2", 0644);
  bool right = true;
  for (int i = 0; i < 40; i++) {
    symlink(i % 2 ? "one" : "two", "flip.new");
    rename("flip.new", "flip");
    right = right && strcmp(content("flip"), i % 2 ? "1" : "2") == 0;
    char now[8] = "";
    readlink("flip", now, sizeof now - 1);
    right = right && strcmp(now, i % 2 ? "one" : "two") == 0;
  }
  TRUE("a link replaced by rename is never stale", right);
}

static void attributes(void) {
  make("a", "x", 0644);
  symlink("a", "al");
  OK("lchown", lchown("al", ALICE, TEAM));
  EQ("the link's owner", ALICE, status("al").st_uid);
  EQ("the file's owner", 0, status("a").st_uid);
  OK("chown follows", chown("al", BOB, CLUB));
  EQ("the file's owner after", BOB, status("a").st_uid);
  EQ("the link's owner after", ALICE, status("al").st_uid);
  struct timespec times[2] = {{100, 11}, {200, 22}};
  OK("utimensat of the link", utimensat(AT_FDCWD, "al", times, AT_SYMLINK_NOFOLLOW));
  EQ("the link's time", 200, status("al").st_mtim.tv_sec);
  EQ("the link's nanoseconds", 22, status("al").st_mtim.tv_nsec);
  TRUE("the file's time stays", status("a").st_mtim.tv_sec != 200);
  FAILS("fchmodat of the link itself", EOPNOTSUPP,
        fchmodat(AT_FDCWD, "al", 0600, AT_SYMLINK_NOFOLLOW));
  int fd = OK("O_PATH of the link", open("al", O_PATH | O_NOFOLLOW));
  char target[8] = "";
  EQ("readlinkat with an empty path", 1, readlinkat(fd, "", target, sizeof target));
  OK("fchownat with AT_EMPTY_PATH", fchownat(fd, "", BOB, BOB, AT_EMPTY_PATH));
  EQ("the link's owner by that", BOB, status("al").st_uid);
  close(fd);
  directory("users", 0777);
  AS(ALICE, TEAM) {
    OK("symlink as a user", symlink("x", "users/l"));
    EQ("its owner", ALICE, status("users/l").st_uid);
    EQ("its group", TEAM, status("users/l").st_gid);
    FAILS("lchown of a foreign link", EPERM, lchown("al", ALICE, TEAM));
  }
}

void subject_symlink(void) {
  making();
  following();
  attributes();
}
