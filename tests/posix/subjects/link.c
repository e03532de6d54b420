/* link, linkat, unlink, unlinkat, and files without a name. */
#include "../check.h"

#include <sys/xattr.h>

static void hard_links(void) {
  make("a", "text", 0644);
  struct stat before = status("a");
  tick();
  OK("link", link("a", "b"));
  struct stat a = status("a"), b = status("b");
  EQ("both names are one inode", a.st_ino, b.st_ino);
  EQ("links after link", 2, a.st_nlink);
  TRUE("link changes the change time", compare_times(a.st_ctim, before.st_ctim) > 0);
  TRUE("link leaves the data time", compare_times(a.st_mtim, before.st_mtim) == 0);
  int fd = open("b", O_WRONLY);
  EQ("write through the second name", 4, write(fd, "TEXT", 4));
  close(fd);
  TEXT("seen through the first", "TEXT", content("a"));
  OK("chmod through the first", chmod("a", 0600));
  OCTAL("seen through the second", 0600, mode_of("b"));
  directory("sub", 0755);
  OK("link into another directory", link("b", "sub/c"));
  EQ("links after that", 3, links_of("a"));
  OK("unlink of the first name", unlink("a"));
  EQ("links after unlink", 2, links_of("b"));
  TEXT("content stays", "TEXT", content("sub/c"));
  OK("truncate through another name", truncate("sub/c", 2));
  EQ("size seen through the other", 2, size_of("b"));
  FAILS("link to an existing name", EEXIST, link("b", "sub/c"));
  FAILS("link of an absent file", ENOENT, link("none", "new"));
  FAILS("link below an absent directory", ENOENT, link("b", "none/new"));
  FAILS("link below a file", ENOTDIR, link("b", "b/new"));
  FAILS("link of a path through a file", ENOTDIR, link("b/x", "new"));
  FAILS("link of a directory", EPERM, link("sub", "new"));
  FAILS("link to another file system", EXDEV, link("b", "/dev/conformance-link"));
  FAILS("link from another file system", EXDEV, link("/proc/self/status", "new"));
  FAILS("linkat with unknown flags", EINVAL, linkat(AT_FDCWD, "b", AT_FDCWD, "new", 0x8));
  symlink("b", "sym");
  OK("link of a symbolic link", link("sym", "sym2"));
  TRUE("it is a link itself", S_ISLNK(status("sym2").st_mode));
  EQ("of the same inode", status("sym").st_ino, status("sym2").st_ino);
  OK("linkat with AT_SYMLINK_FOLLOW", linkat(AT_FDCWD, "sym", AT_FDCWD, "d", AT_SYMLINK_FOLLOW));
  EQ("follows to the file", status("b").st_ino, status("d").st_ino);
  symlink("absent", "dangling");
  OK("link of a dangling link", link("dangling", "dangling2"));
  FAILS("AT_SYMLINK_FOLLOW of a dangling link", ENOENT,
        linkat(AT_FDCWD, "dangling", AT_FDCWD, "e", AT_SYMLINK_FOLLOW));
  mkfifo("fifo", 0600);
  OK("link of a fifo", link("fifo", "fifo2"));
  EQ("links of a fifo", 2, links_of("fifo"));
  mknod("node", S_IFCHR | 0600, makedev(1, 3));
  OK("link of a device node", link("node", "node2"));
  EQ("device of the linked node", makedev(1, 3), status("node2").st_rdev);
  fd = open("b", O_RDONLY);
  OK("linkat through /proc/self/fd",
     linkat(AT_FDCWD, named("/proc/self/fd/%d", fd), AT_FDCWD, "f", AT_SYMLINK_FOLLOW));
  OK("linkat with AT_EMPTY_PATH", linkat(fd, "", AT_FDCWD, "g", AT_EMPTY_PATH));
  EQ("links after both", 5, links_of("b"));
  close(fd);
  directory("guard", 0755);
  make("guard/f", "x", 0666);
  directory("open", 0777);
  AS(ALICE, TEAM) {
    make("open/own", "x", 0600);
    FAILS("link into a directory without write permission", EACCES, link("open/own", "guard/x"));
    note("link of a foreign file, as fs.protected_hardlinks says", "%s",
         OUTCOME(link("guard/f", "open/x")));
  }
}

static void limit(void) {
  make("many", "", 0644);
  directory("farm", 0755);
  long count = 1;
  errno = 0;
  while (count < 70000 && link("many", named("farm/%ld", count)) == 0) count++;
  note("names of one file until EMLINK", "%ld %s", count, error_name(errno));
  EQ("links of that file", count, links_of("many"));
  long removed = 0;
  for (long i = 1; i < count; i++) removed += unlink(named("farm/%ld", i)) == 0;
  EQ("all the names go away again", count - 1, removed);
  EQ("one link is left", 1, links_of("many"));
}

static void unlinking(void) {
  directory("u", 0755);
  make("u/f", "x", 0644);
  FAILS("unlink of an absent file", ENOENT, unlink("u/none"));
  FAILS("unlink of a directory", EISDIR, unlink("u"));
  FAILS("unlink below a file", ENOTDIR, unlink("u/f/x"));
  FAILS("unlinkat with unknown flags", EINVAL, unlinkat(AT_FDCWD, "u/f", 0x8));
  FAILS("unlinkat AT_REMOVEDIR of a file", ENOTDIR, unlinkat(AT_FDCWD, "u/f", AT_REMOVEDIR));
  OK("unlink of a file", unlink("u/f"));
  TRUE("it is gone", !exists("u/f"));
  symlink("nowhere", "u/l");
  OK("unlink of a dangling link", unlink("u/l"));
  OK("unlinkat AT_REMOVEDIR", unlinkat(AT_FDCWD, "u", AT_REMOVEDIR));
  directory("sticky", 01777);
  directory("shut", 0755);
  make("shut/f", "x", 0666);
  make("sticky/root", "x", 0666);
  AS(ALICE, TEAM) {
    make("sticky/alice", "x", 0666);
    FAILS("unlink in a directory without write permission", EACCES, unlink("shut/f"));
    FAILS("unlink of a foreign file in a sticky directory", EPERM, unlink("sticky/root"));
  }
  AS(BOB, TEAM) FAILS("unlink of another user's there", EPERM, unlink("sticky/alice"));
  AS(ALICE, TEAM) OK("unlink of one's own there", unlink("sticky/alice"));
}

/* A file that has lost its last name lives on behind its descriptors. */
static void without_name(void) {
  make("ghost", "0123456789", 0644);
  int fd = OK("open", open("ghost", O_RDWR));
  int reader = OK("open again", open("ghost", O_RDONLY));
  tick();
  struct stat before = status("ghost");
  OK("unlink while open", unlink("ghost"));
  struct stat st;
  OK("fstat after unlink", fstat(fd, &st));
  EQ("no links", 0, st.st_nlink);
  EQ("the inode is the same", before.st_ino, st.st_ino);
  EQ("the size is the same", 10, st.st_size);
  TRUE("unlink changes the change time", compare_times(st.st_ctim, before.st_ctim) > 0);
  TEXT("still readable", "0123456789", content_of(reader));
  EQ("still writable", 3, pwrite(fd, "abc", 3, 10));
  TEXT("the other descriptor sees it", "0123456789abc", content_of(reader));
  OK("ftruncate", ftruncate(fd, 5));
  TEXT("after ftruncate", "01234", content_of(reader));
  OK("fallocate", fallocate(fd, 0, 0, 8192));
  OK("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  OK("fstat after fallocate", fstat(fd, &st));
  EQ("size after fallocate", 8192, st.st_size);
  OK("fchmod", fchmod(fd, 0600));
  OK("fchown", fchown(fd, ALICE, TEAM));
  struct timespec times[2] = {{1000, 1}, {2000, 2}};
  OK("futimens", futimens(fd, times));
  OK("fsetxattr", fsetxattr(fd, "user.ghost", "v", 1, 0));
  char value[8];
  EQ("fgetxattr", 1, fgetxattr(fd, "user.ghost", value, sizeof value));
  EQ("flistxattr finds it", (long)sizeof "user.ghost", flistxattr(fd, NULL, 0));
  OK("fremovexattr", fremovexattr(fd, "user.ghost"));
  OK("fsync", fsync(fd));
  OK("fdatasync", fdatasync(fd));
  OK("fstat at last", fstat(reader, &st));
  OCTAL("mode", 0600, st.st_mode & 07777);
  EQ("owner", ALICE, st.st_uid);
  EQ("group", TEAM, st.st_gid);
  EQ("seconds", 2000, st.st_mtim.tv_sec);
  EQ("nanoseconds", 2, st.st_mtim.tv_nsec);
  char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TRUE("mmap", map != MAP_FAILED);
  memcpy(map, "mapped", 6);
  OK("msync", msync(map, 4096, MS_SYNC));
  TEXT("the mapping is seen by read", "mapped", content_of(reader));
  make("ghost", "new", 0644);
  TEXT("a new file of the name is another", "new", content("ghost"));
  TEXT("the old one has its content", "mapped", content_of(reader));
  FAILS("linkat of an unlinked file", ENOENT, linkat(fd, "", AT_FDCWD, "risen", AT_EMPTY_PATH));
  close(fd);
  close(reader);
  TEXT("the mapping outlives the descriptors", "mapped", map);
  memcpy(map, "MAPPED", 6);
  OK("msync after close", msync(map, 4096, MS_SYNC));
  OK("munmap", munmap(map, 4096));
  /* One of two names: nothing is lost, and the other name stays right. */
  make("one", "x", 0644);
  link("one", "two");
  fd = open("one", O_RDWR);
  unlink("one");
  OK("fstat with a name left", fstat(fd, &st));
  EQ("one link left", 1, st.st_nlink);
  EQ("write with a name left", 2, pwrite(fd, "yz", 2, 0));
  TEXT("seen through the name left", "yz", content("two"));
  OK("linkat with a name left", linkat(fd, "", AT_FDCWD, "three", AT_EMPTY_PATH));
  EQ("two links", 2, links_of("three"));
  close(fd);
  /* Replaced by rename while open. */
  make("old", "old", 0644);
  make("fresh", "fresh", 0644);
  fd = open("old", O_RDWR);
  OK("rename over an open file", rename("fresh", "old"));
  TEXT("the descriptor has the old content", "old", content_of(fd));
  OK("fstat of the replaced", fstat(fd, &st));
  EQ("the replaced has no links", 0, st.st_nlink);
  EQ("the replaced is written", 1, pwrite(fd, "O", 1, 0));
  TEXT("the new file is untouched", "fresh", content("old"));
  close(fd);
  /* A symlink and a fifo by O_PATH. */
  symlink("gone", "path");
  fd = open("path", O_PATH | O_NOFOLLOW);
  unlink("path");
  char target[16] = "";
  EQ("readlinkat of an unlinked link", 4, readlinkat(fd, "", target, sizeof target));
  TEXT("its target", "gone", target);
  close(fd);
}

static void temporary(void) {
  directory("tmp", 0755);
  int fd = OK("O_TMPFILE", open("tmp", O_TMPFILE | O_RDWR, 0640));
  struct stat st;
  OK("fstat of it", fstat(fd, &st));
  EQ("it has no links", 0, st.st_nlink);
  OCTAL("its mode", 0640, st.st_mode & 07777);
  EQ("write to it", 4, write(fd, "temp", 4));
  OK("fsetxattr of it", fsetxattr(fd, "user.t", "1", 1, 0));
  OK("linkat of it through /proc/self/fd",
     linkat(AT_FDCWD, named("/proc/self/fd/%d", fd), AT_FDCWD, "tmp/named", AT_SYMLINK_FOLLOW));
  TEXT("it has a name and content", "temp", content("tmp/named"));
  EQ("and one link", 1, links_of("tmp/named"));
  EQ("and its attribute", 1, getxattr("tmp/named", "user.t", NULL, 0));
  EQ("a write after naming", 2, pwrite(fd, "TE", 2, 0));
  TEXT("is seen", "TEmp", content("tmp/named"));
  FAILS("linkat to the same name", EEXIST, linkat(fd, "", AT_FDCWD, "tmp/named", AT_EMPTY_PATH));
  OK("linkat to a second name", linkat(fd, "", AT_FDCWD, "tmp/again", AT_EMPTY_PATH));
  close(fd);
  fd = OK("O_TMPFILE with AT_EMPTY_PATH next", open("tmp", O_TMPFILE | O_WRONLY, 0600));
  OK("linkat of it", linkat(fd, "", AT_FDCWD, "tmp/empty", AT_EMPTY_PATH));
  EQ("empty file named", 0, size_of("tmp/empty"));
  close(fd);
  fd = OK("O_TMPFILE with O_EXCL", open("tmp", O_TMPFILE | O_EXCL | O_RDWR, 0600));
  FAILS("linkat of an O_EXCL one", ENOENT, linkat(fd, "", AT_FDCWD, "tmp/excl", AT_EMPTY_PATH));
  close(fd);
  FAILS("O_TMPFILE for reading only", EINVAL, open("tmp", O_TMPFILE | O_RDONLY, 0600));
  FAILS("O_TMPFILE in a file", ENOTDIR, open("tmp/empty", O_TMPFILE | O_RDWR, 0600));
  FAILS("O_TMPFILE in an absent directory", ENOENT, open("none", O_TMPFILE | O_RDWR, 0600));
  umask(077);
  fd = OK("O_TMPFILE under umask 077", open("tmp", O_TMPFILE | O_RDWR, 0666));
  umask(022);
  OK("fstat of that", fstat(fd, &st));
  OCTAL("mode of that", 0600, st.st_mode & 07777);
  char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  OK("ftruncate of it", ftruncate(fd, 4096));
  memcpy(map, "mapped", 7);
  OK("linkat of a mapped one", linkat(fd, "", AT_FDCWD, "tmp/mapped", AT_EMPTY_PATH));
  OK("msync of it", msync(map, 4096, MS_SYNC));
  TEXT("content of it", "mapped", content("tmp/mapped"));
  munmap(map, 4096);
  close(fd);
  AS(ALICE, TEAM)
    FAILS("O_TMPFILE without write permission", EACCES, open("tmp", O_TMPFILE | O_RDWR, 0600));
  directory("gid", 02777);
  chown("gid", 0, CLUB);
  chmod("gid", 02777);
  AS(ALICE, TEAM) {
    int own = OK("O_TMPFILE in a set-gid directory", open("gid", O_TMPFILE | O_RDWR, 0600));
    struct stat inherited;
    OK("fstat in it", fstat(own, &inherited));
    EQ("owner in it", ALICE, inherited.st_uid);
    EQ("group in it is inherited", CLUB, inherited.st_gid);
  }
}

void subject_link(void) {
  hard_links();
  unlinking();
  without_name();
  temporary();
  limit();
}
