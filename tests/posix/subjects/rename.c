/* rename, renameat2 with its flags. */
#include "../check.h"

static long rename_with(const char *from, const char *to, unsigned flags) {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

enum kind { ABSENT, FILE_, EMPTY, FULL, LINK, FIFO, DEVICE, KINDS };
static const char *const kind_names[] = {"nothing", "a file", "an empty directory",
                                         "a full directory", "a link", "a fifo", "a device"};

static void lay(const char *path, enum kind kind) {
  switch (kind) {
    case ABSENT: break;
    case FILE_: make(path, path, 0644); break;
    case EMPTY: directory(path, 0755); break;
    case FULL:
      directory(path, 0755);
      make(named("%s/in", path), path, 0644);
      break;
    case LINK: must(symlink("nowhere", path) == 0, "symlink"); break;
    case FIFO: must(mkfifo(path, 0644) == 0, "mkfifo"); break;
    case DEVICE: must(mknod(path, S_IFBLK | 0600, makedev(7, 99)) == 0, "mknod"); break;
    case KINDS: break;
  }
}

/* What rename of one kind onto another gives. */
static const char *expected(enum kind from, enum kind to) {
  bool directory_from = from == EMPTY || from == FULL, directory_to = to == EMPTY || to == FULL;
  if (from == ABSENT) return "ENOENT";
  if (to == ABSENT) return "ok";
  if (directory_from && !directory_to) return "ENOTDIR";
  if (!directory_from && directory_to) return "EISDIR";
  if (to == FULL) return "ENOTEMPTY";
  return "ok";
}

static const char *expected_exchange(enum kind from, enum kind to) {
  return from == ABSENT || to == ABSENT ? "ENOENT" : "ok";
}

static const char *expected_noreplace(enum kind from, enum kind to) {
  if (from == ABSENT) return "ENOENT";
  return to == ABSENT ? "ok" : "EEXIST";
}

static void table(const char *title, unsigned flags,
                  const char *(*expectation)(enum kind, enum kind)) {
  directory("p", 0755);
  directory("q", 0755);
  for (enum kind from = ABSENT; from < KINDS; from++)
    for (enum kind to = ABSENT; to < KINDS; to++) {
      lay("p/from", from);
      lay("q/to", to);
      ino_t from_ino = from ? status("p/from").st_ino : 0, to_ino = to ? status("q/to").st_ino : 0;
      const char *want = expectation(from, to);
      TEXT(named("%s of %s to %s", title, kind_names[from], kind_names[to]), want,
           OUTCOME(rename_with("p/from", "q/to", flags)));
      bool done = strcmp(want, "ok") == 0, exchanged = flags & RENAME_EXCHANGE;
      ino_t left = exists("p/from") ? status("p/from").st_ino : 0;
      ino_t right = exists("q/to") ? status("q/to").st_ino : 0;
      ino_t want_left = done ? (exchanged ? to_ino : 0) : from_ino;
      ino_t want_right = done ? from_ino : to_ino;
      TRUE(named("%s of %s to %s leaves the right inodes", title, kind_names[from], kind_names[to]),
           left == want_left && right == want_right);
      long links = 2 + (left && S_ISDIR(status("p/from").st_mode));
      EQ(named("%s of %s to %s: the source's links", title, kind_names[from], kind_names[to]),
         links, links_of("p"));
      links = 2 + (right && S_ISDIR(status("q/to").st_mode));
      EQ(named("%s of %s to %s: the target's links", title, kind_names[from], kind_names[to]),
         links, links_of("q"));
      remove_tree("p/from");
      remove_tree("q/to");
    }
  remove_tree("p");
  remove_tree("q");
}

static void plain(void) {
  make("a", "a", 0644);
  struct stat before = status("a");
  OK("rename to itself", rename("a", "a"));
  TEXT("nothing happened", "a", content("a"));
  link("a", "b");
  OK("rename onto another name of the inode", rename("a", "b"));
  TRUE("both names remain", exists("a") && exists("b"));
  unlink("b");
  tick();
  OK("rename", rename("a", "c"));
  struct stat after = status("c");
  EQ("the inode stays", before.st_ino, after.st_ino);
  TRUE("the change time moves", compare_times(after.st_ctim, before.st_ctim) > 0);
  TRUE("the data time stays", compare_times(after.st_mtim, before.st_mtim) == 0);
  directory("d", 0755);
  directory("d/e", 0755);
  directory("d/e/f", 0755);
  FAILS("a directory into itself", EINVAL, rename("d", "d/x"));
  FAILS("a directory into its grandchild", EINVAL, rename("d", "d/e/f/x"));
  FAILS("a directory onto its own parent", ENOTEMPTY, rename("d/e", "d"));
  FAILS("a file onto its own directory", ENOTEMPTY, (make("d/g", "g", 0644), rename("d/g", "d")));
  OK("a child to the top", rename("d/e/f", "f"));
  struct stat up, here;
  OK("stat of .. in the moved", stat("f/..", &up));
  OK("stat of .", stat(".", &here));
  EQ(".. of a moved directory", here.st_ino, up.st_ino);
  FAILS("onto a path below a file", ENOTDIR, rename("c", "c/x"));
  FAILS("to another file system", EXDEV, rename("c", "/proc/c"));
  FAILS("to a directory that is absent", ENOENT, rename("c", "none/c"));
  OK("an open file", ({
       int fd = open("c", O_RDWR);
       long renamed = rename("c", "h");
       must(pwrite(fd, "H", 1, 0) == 1, "write to a renamed file");
       close(fd);
       renamed;
     }));
  TEXT("its descriptor writes to the new name", "H", content("h"));
  OK("an open directory", ({
       int fd = open("d", O_RDONLY | O_DIRECTORY);
       long renamed = rename("d", "dd");
       close(openat(fd, "made", O_CREAT | O_WRONLY, 0600));
       close(fd);
       renamed;
     }));
  TRUE("its descriptor makes files in the new place", exists("dd/made"));
  symlink("h", "l");
  OK("a symbolic link", rename("l", "l2"));
  char target[4] = "";
  EQ("it points as before", 1, readlink("l2", target, 3));
  FORKED {
    must(chdir("dd/e") == 0, "chdir");
    OK("the parent of the working directory", rename("../../dd", "../../moved"));
    close(OK("creating in it by relative path", open("rel", O_CREAT | O_WRONLY, 0600)));
  }
  TRUE("the file is where the directory is now", exists("moved/e/rel"));
  /* Descriptors of files deep in a renamed tree. */
  make("moved/e/deep", "deep", 0644);
  int fd = open("moved/e/deep", O_RDWR);
  OK("the tree above an open file", rename("moved", "again"));
  EQ("write after that", 4, pwrite(fd, "DEEP", 4, 0));
  TEXT("seen by the new path", "DEEP", content("again/e/deep"));
  FAILS("the old path", ENOENT, access("moved/e/deep", F_OK));
  close(fd);
}

static void with_flags(void) {
  FAILS("NOREPLACE with EXCHANGE", EINVAL,
        rename_with("h", "x", RENAME_NOREPLACE | RENAME_EXCHANGE));
  FAILS("WHITEOUT with EXCHANGE", EINVAL,
        rename_with("h", "x", RENAME_WHITEOUT | RENAME_EXCHANGE));
  FAILS("an unknown flag", EINVAL, rename_with("h", "x", 1 << 5));
  FAILS("NOREPLACE onto itself", EEXIST, rename_with("h", "h", RENAME_NOREPLACE));
  OK("EXCHANGE with itself", rename_with("h", "h", RENAME_EXCHANGE));
  make("x1", "one", 0644);
  make("x2", "two", 0600);
  int fd = open("x1", O_RDWR);
  OK("EXCHANGE of two files", rename_with("x1", "x2", RENAME_EXCHANGE));
  TEXT("the first has the second's content", "two", content("x1"));
  TEXT("the second has the first's", "one", content("x2"));
  EQ("write through an old descriptor", 3, pwrite(fd, "ONE", 3, 0));
  TEXT("it went along", "ONE", content("x2"));
  close(fd);
  directory("y", 0755);
  directory("y/z", 0755);
  FAILS("EXCHANGE of a directory with its child", EINVAL, rename_with("y", "y/z", RENAME_EXCHANGE));
  FAILS("EXCHANGE of a child with its directory", EINVAL, rename_with("y/z", "y", RENAME_EXCHANGE));
  make("w", "white", 0644);
  OK("WHITEOUT", rename_with("w", "w2", RENAME_WHITEOUT));
  TEXT("the file has moved", "white", content("w2"));
  struct stat st = status("w");
  TRUE("a whiteout is a character device", S_ISCHR(st.st_mode));
  EQ("of number 0", 0, st.st_rdev);
  OCTAL("of mode 0", 0, st.st_mode & 07777);
  OK("WHITEOUT onto an existing name", rename_with("w2", "x1", RENAME_WHITEOUT));
  TEXT("the file has replaced it", "white", content("x1"));
  TRUE("a whiteout is left behind", S_ISCHR(status("w2").st_mode));
  OK("WHITEOUT with NOREPLACE to a new name",
     rename_with("x1", "x3", RENAME_WHITEOUT | RENAME_NOREPLACE));
  FAILS("WHITEOUT with NOREPLACE to an old name", EEXIST,
        rename_with("x3", "x2", RENAME_WHITEOUT | RENAME_NOREPLACE));
  OK("WHITEOUT of a directory", rename_with("y", "yy", RENAME_WHITEOUT));
  TRUE("its whiteout", S_ISCHR(status("y").st_mode));
  TRUE("the directory went along with its child", S_ISDIR(status("yy/z").st_mode));
  directory("yours", 0777);
  AS(ALICE, TEAM) {
    make("yours/w", "u", 0644);
    OK("WHITEOUT as a user", rename_with("yours/w", "yours/v", RENAME_WHITEOUT));
    TRUE("a user's whiteout", S_ISCHR(status("yours/w").st_mode));
    EQ("is the user's", ALICE, status("yours/w").st_uid);
    EQ("and the group's", TEAM, status("yours/w").st_gid);
  }
  AS(BOB, CLUB) {
    make("yours/w2", "u", 0644);
  }
  OK("WHITEOUT as root after others", rename_with("yours/w2", "yours/v2", RENAME_WHITEOUT));
  EQ("is root's", 0, status("yours/w2").st_uid);
  EQ("and root's group's", 0, status("yours/w2").st_gid);
  directory("theirs", 02777);
  chown("theirs", 0, CLUB);
  chmod("theirs", 02777);
  AS(ALICE, TEAM) {
    make("theirs/w", "u", 0644);
    OK("WHITEOUT in a set-gid directory", rename_with("theirs/w", "theirs/v", RENAME_WHITEOUT));
    EQ("has the directory's group", CLUB, status("theirs/w").st_gid);
  }
}

static void permissions(void) {
  directory("shut", 0755);
  make("shut/f", "x", 0666);
  directory("open", 0777);
  directory("sticky", 01777);
  make("sticky/root", "x", 0666);
  AS(ALICE, TEAM) {
    make("open/f", "x", 0644);
    FAILS("out of a directory without write permission", EACCES, rename("shut/f", "open/g"));
    FAILS("into one", EACCES, rename("open/f", "shut/g"));
    FAILS("within one", EACCES, rename("shut/f", "shut/g"));
    FAILS("out of a sticky directory, a foreign file", EPERM, rename("sticky/root", "open/g"));
    FAILS("over a foreign file in a sticky directory", EPERM, rename("open/f", "sticky/root"));
    make("sticky/alice", "x", 0644);
    OK("one's own in a sticky directory", rename("sticky/alice", "sticky/alice2"));
    OK("out of a sticky directory, one's own", rename("sticky/alice2", "open/alice"));
    FAILS("EXCHANGE with a foreign one in a sticky directory", EPERM,
          rename_with("open/alice", "sticky/root", RENAME_EXCHANGE));
    directory("open/dir", 0555);
    directory("open/to", 0777);
    FAILS("a directory that may not be written, to another parent", EACCES,
          rename("open/dir", "open/to/dir"));
    OK("a directory that may not be written, within its parent", rename("open/dir", "open/dir2"));
  }
  directory("sticky/hers", 0777);
  chown("sticky/hers", BOB, TEAM);
  AS(ALICE, TEAM) FAILS("a foreign directory in a sticky one", EPERM, rename("sticky/hers", "sticky/x"));
  AS(BOB, TEAM) OK("one's own directory in a sticky one", rename("sticky/hers", "sticky/bobs"));
}

/* Two processes swap names while a third must always find the name. */
static void atomic(void) {
  make("target", "0", 0644);
  pid_t writer = fork();
  if (writer == 0) {
    for (int i = 0; i < 400; i++) {
      int fd = open("next", O_CREAT | O_TRUNC | O_WRONLY, 0644);
      char text[64];
      memset(text, 'a' + i % 26, sizeof text);
      if (write(fd, text, sizeof text) != sizeof text || close(fd) != 0) _exit(1);
      if (rename("next", "target") != 0) _exit(1);
    }
    _exit(0);
  }
  long missing = 0, torn = 0, reads = 0;
  int end = 0;
  while (waitpid(writer, &end, WNOHANG) == 0) {
    int fd = open("target", O_RDONLY);
    if (fd < 0) {
      missing++;
      continue;
    }
    unsigned char text[65];
    ssize_t got = read(fd, text, sizeof text);
    if (!(got == 1 || (got == 64 && all_bytes(text, 64, text[0])))) torn++;
    reads++;
    close(fd);
  }
  EQ("write-and-rename, writer's exit", 0, end);
  EQ("the name is never missing", 0, missing);
  EQ("the content is never torn", 0, torn);
  TRUE("the reader has read", reads > 0);
}

void subject_rename(void) {
  table("rename", 0, expected);
  table("NOREPLACE", RENAME_NOREPLACE, expected_noreplace);
  table("EXCHANGE", RENAME_EXCHANGE, expected_exchange);
  plain();
  with_flags();
  permissions();
  atomic();
}
