/* Who may do what: modes, groups, search permission, access and faccessat2. */
#include "../check.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>

/* Every single permission bit, seen by the owner, the group, a supplementary member, a stranger. */
static void matrix(void) {
  static const struct {
    const char *who;
    int user, group, extra, shift;
  } people[] = {{"owner", ALICE, CLUB, -1, 6},
                {"group", BOB, TEAM, -1, 3},
                {"supplementary member", BOB, CLUB, TEAM, 3},
                {"stranger", BOB, CLUB, -1, 0}};
  directory("m", 0777);
  for (int bits = 0; bits < 8; bits++)
    for (size_t i = 0; i < sizeof people / sizeof *people; i++) {
      /* The other classes have the opposite bits, so that no wrong class gives the right answer. */
      mode_t mode = 0;
      for (int shift = 0; shift <= 6; shift += 3)
        mode |= (mode_t)(shift == people[i].shift ? bits : ~bits & 7) << shift;
      make("m/f", "x", 0600);
      directory("m/d", 0700);
      make("m/d/in", "x", 0666);
      must(chown("m/f", ALICE, TEAM) == 0 && chmod("m/f", mode) == 0, "prepare a file");
      must(chown("m/d", ALICE, TEAM) == 0 && chmod("m/d", mode) == 0, "prepare a directory");
      for (bool as_ = become(people[i].user, people[i].group, people[i].extra); as_; as_ = leave()) {
        const char *what = named("%s with %o", people[i].who, bits);
        const char *read_ = bits & 4 ? "ok" : "EACCES", *write_ = bits & 2 ? "ok" : "EACCES";
        const char *search = bits & 1 ? "ok" : "EACCES";
        TEXT(named("%s reads", what), read_, OUTCOME(open("m/f", O_RDONLY)));
        TEXT(named("%s writes", what), write_, OUTCOME(open("m/f", O_WRONLY)));
        TEXT(named("%s: access R_OK", what), read_, OUTCOME(access("m/f", R_OK)));
        TEXT(named("%s: access W_OK", what), write_, OUTCOME(access("m/f", W_OK)));
        TEXT(named("%s: access X_OK", what), search, OUTCOME(access("m/f", X_OK)));
        TEXT(named("%s truncates", what), write_, OUTCOME(truncate("m/f", 0)));
        struct stat st;
        TEXT(named("%s lists a directory", what), read_, OUTCOME(open("m/d", O_RDONLY)));
        TEXT(named("%s looks into a directory", what), search, OUTCOME(stat("m/d/in", &st)));
        TEXT(named("%s enters a directory", what), search, OUTCOME(chdir("m/d") ? -1 : chdir("../..")));
        const char *both = (bits & 3) == 3 ? "ok" : "EACCES";
        TEXT(named("%s creates", what), both, OUTCOME(mknod("m/d/new", S_IFREG | 0600, 0)));
        TEXT(named("%s makes a directory", what), both, OUTCOME(mkdir("m/d/newd", 0700)));
        TEXT(named("%s renames", what), both, OUTCOME(rename("m/d/in", "m/d/out")));
        TEXT(named("%s unlinks", what), both,
             OUTCOME(unlink((bits & 3) == 3 ? "m/d/out" : "m/d/in")));
      }
      remove_tree("m/f");
      remove_tree("m/d");
    }
}

static void root(void) {
  make("zero", "x", 0);
  directory("zerod", 0);
  OK("root reads mode 0", access("zero", R_OK | W_OK));
  FAILS("root does not execute without an x bit", EACCES, access("zero", X_OK));
  OK("root searches mode 0", access("zerod", R_OK | W_OK | X_OK));
  chmod("zero", 0001);
  OK("root executes with any x bit", access("zero", X_OK));
}

/* Search permission on the way, for many calls. */
static void on_the_way(void) {
  directory("way", 0755);
  directory("way/shut", 0700);
  directory("way/shut/d", 0777);
  make("way/shut/f", "x", 0666);
  symlink("shut/f", "way/l");
  directory("mine", 0777);
  AS(ALICE, TEAM) {
    make("mine/f", "x", 0644);
    struct stat st;
    char text[8];
    FAILS("stat", EACCES, stat("way/shut/f", &st));
    FAILS("open", EACCES, open("way/shut/f", O_RDONLY));
    FAILS("creat", EACCES, open("way/shut/n", O_CREAT | O_WRONLY, 0600));
    FAILS("through a link", EACCES, open("way/l", O_RDONLY));
    FAILS("unlink", EACCES, unlink("way/shut/f"));
    FAILS("rename from", EACCES, rename("way/shut/f", "mine/x"));
    FAILS("rename to", EACCES, rename("mine/f", "way/shut/x"));
    FAILS("link from", EACCES, link("way/shut/f", "mine/x"));
    FAILS("link to", EACCES, link("mine/f", "way/shut/x"));
    FAILS("mkdir", EACCES, mkdir("way/shut/n", 0700));
    FAILS("rmdir", EACCES, rmdir("way/shut/d"));
    FAILS("symlink", EACCES, symlink("x", "way/shut/n"));
    FAILS("readlink", EACCES, readlink("way/shut/f", text, sizeof text));
    FAILS("mkfifo", EACCES, mkfifo("way/shut/n", 0600));
    FAILS("chmod", EACCES, chmod("way/shut/f", 0600));
    FAILS("chown", EACCES, chown("way/shut/f", ALICE, TEAM));
    FAILS("truncate", EACCES, truncate("way/shut/f", 0));
    FAILS("utimensat", EACCES, utimensat(AT_FDCWD, "way/shut/f", NULL, 0));
    FAILS("access", EACCES, access("way/shut/f", F_OK));
    FAILS("chdir", EACCES, chdir("way/shut/d"));
    FAILS("opendir", EACCES, open("way/shut/d", O_RDONLY | O_DIRECTORY));
    FAILS("an absent name below", EACCES, stat("way/shut/none", &st));
    OK("lstat of the link itself", lstat("way/l", &st));
  }
  /* A descriptor opened before keeps its right. */
  int fd = open("way/shut/f", O_RDWR), dir = open("way/shut/d", O_RDONLY | O_DIRECTORY);
  AS(ALICE, TEAM) {
    EQ("an inherited descriptor writes", 1, write(fd, "y", 1));
    OK("an inherited directory is entered", fchdir(dir));
    close(OK("and files are made there", open("here", O_CREAT | O_WRONLY, 0600)));
  }
  close(fd);
  close(dir);
}

/* Permission changes take effect at once, also for names and attributes that are cached. */
static void changes(void) {
  directory("ch", 0755);
  make("ch/f", "x", 0644);
  for (int round = 0; round < 3; round++) {
    AS(ALICE, TEAM) OK(named("open before, round %d", round), open("ch/f", O_RDONLY));
    chmod("ch", 0700);
    AS(ALICE, TEAM)
      FAILS(named("open after the directory was shut, round %d", round), EACCES,
            open("ch/f", O_RDONLY));
    chmod("ch", 0755);
    chmod("ch/f", 0600);
    AS(ALICE, TEAM)
      FAILS(named("open after the file was shut, round %d", round), EACCES, open("ch/f", O_RDONLY));
    chown("ch/f", ALICE, TEAM);
    AS(ALICE, TEAM) OK(named("open by the new owner, round %d", round), open("ch/f", O_RDWR));
    chown("ch/f", 0, 0);
    chmod("ch/f", 0644);
  }
}

static void effective(void) {
  directory("eff", 0755);
  make("eff/alice", "x", 0600);
  chown("eff/alice", ALICE, TEAM);
  FORKED {
    must(setresuid(ALICE, BOB, 0) == 0, "setresuid");
    OK("access goes by the real user", access("eff/alice", R_OK));
    FAILS("AT_EACCESS goes by the effective user", EACCES,
          syscall(SYS_faccessat2, AT_FDCWD, "eff/alice", R_OK, AT_EACCESS));
    FAILS("open goes by the effective user", EACCES, open("eff/alice", O_RDONLY));
  }
  FORKED {
    must(setresuid(BOB, ALICE, 0) == 0, "setresuid");
    FAILS("access of a real stranger", EACCES, access("eff/alice", R_OK));
    OK("AT_EACCESS of an effective owner",
       syscall(SYS_faccessat2, AT_FDCWD, "eff/alice", R_OK, AT_EACCESS));
    OK("open of an effective owner", open("eff/alice", O_RDONLY));
  }
  FORKED {
    setfsuid(BOB);
    FAILS("the file system user counts", EACCES, open("eff/alice", O_RDONLY));
    setfsuid(ALICE);
    OK("the file system user counts for opening", open("eff/alice", O_RDONLY));
  }
  symlink("none", "eff/l");
  OK("faccessat2 AT_SYMLINK_NOFOLLOW",
     syscall(SYS_faccessat2, AT_FDCWD, "eff/l", F_OK, AT_SYMLINK_NOFOLLOW));
  FAILS("access of a dangling link", ENOENT, access("eff/l", F_OK));
  FAILS("access with an unknown mode", EINVAL, access("eff/alice", 99));
  int fd = open("eff/alice", O_PATH);
  OK("faccessat2 AT_EMPTY_PATH", syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH));
  close(fd);
}

void subject_permission(void) {
  matrix();
  root();
  on_the_way();
  changes();
  effective();
}
