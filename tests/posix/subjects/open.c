/* open, openat, openat2: creation, flags, refusals. */
#include "../check.h"

#include <linux/openat2.h>
#include <sys/syscall.h>

static void creation(void) {
  int fd = OK("O_CREAT makes a file", open("new", O_CREAT | O_RDWR, 0666));
  OCTAL("a new file's mode is masked by umask", 0644, mode_of("new"));
  EQ("a new file is empty", 0, size_of("new"));
  EQ("a new file has one link", 1, links_of("new"));
  EQ("a new file has no blocks", 0, status("new").st_blocks);
  close(fd);
  FAILS("O_EXCL refuses an existing file", EEXIST, open("new", O_CREAT | O_EXCL | O_RDWR, 0600));
  close(OK("O_CREAT opens an existing file", open("new", O_CREAT | O_RDWR, 0777)));
  OCTAL("O_CREAT leaves an existing mode", 0644, mode_of("new"));
  umask(0);
  close(OK("O_CREAT with set-id and sticky bits", open("bits", O_CREAT | O_RDWR, 07755)));
  OCTAL("set-id and sticky bits are taken", 07755, mode_of("bits"));
  umask(0777);
  fd = OK("O_CREAT with umask 0777 opens for writing", open("shut", O_CREAT | O_RDWR, 0666));
  EQ("a file of mode 0 is written by its creator", 3, write(fd, "abc", 3));
  close(fd);
  OCTAL("umask 0777 gives mode 0", 0, mode_of("shut"));
  umask(022);
  OK("creat", close(creat("made", 0640)));
  OCTAL("creat's mode", 0640, mode_of("made"));
  FAILS("O_CREAT below a missing directory", ENOENT, open("none/new", O_CREAT | O_RDWR, 0600));
  FAILS("O_CREAT below a file", ENOTDIR, open("new/new", O_CREAT | O_RDWR, 0600));
  FAILS("O_CREAT with a trailing slash", EISDIR, open("fresh/", O_CREAT | O_RDWR, 0600));
  TRUE("a refused trailing slash makes nothing", !exists("fresh"));
  directory("team", 0777);
  AS(ALICE, TEAM) {
    close(OK("O_CREAT as a user", open("team/alice", O_CREAT | O_WRONLY, 0600)));
    EQ("owner of a new file", ALICE, status("team/alice").st_uid);
    EQ("group of a new file", TEAM, status("team/alice").st_gid);
    int own = OK("O_CREAT with mode 0400 for writing", open("team/ro", O_CREAT | O_WRONLY, 0400));
    EQ("a read-only file is written by its creator", 1, write(own, "x", 1));
    close(own);
    FAILS("a second open of it for writing", EACCES, open("team/ro", O_WRONLY));
  }
}

static void flags(void) {
  make("text", "0123456789", 0644);
  symlink("text", "link");
  symlink("absent", "dangling");
  directory("dir", 0755);
  symlink("dir", "dirlink");
  int fd = OK("O_TRUNC", open("text", O_WRONLY | O_TRUNC));
  EQ("O_TRUNC empties", 0, size_of("text"));
  close(fd);
  make("keep", "0123456789", 0644);
  fd = OK("O_RDONLY", open("keep", O_RDONLY));
  FAILS("write to O_RDONLY", EBADF, write(fd, "x", 1));
  FAILS("ftruncate of O_RDONLY", EINVAL, ftruncate(fd, 0));
  close(fd);
  fd = OK("O_WRONLY", open("keep", O_WRONLY));
  char byte;
  FAILS("read of O_WRONLY", EBADF, read(fd, &byte, 1));
  close(fd);
  EQ("refused calls left the size", 10, size_of("keep"));
  FAILS("O_NOFOLLOW on a link", ELOOP, open("link", O_RDONLY | O_NOFOLLOW));
  close(OK("O_NOFOLLOW on a file", open("keep", O_RDONLY | O_NOFOLLOW)));
  close(OK("O_NOFOLLOW with O_PATH opens the link itself", open("link", O_PATH | O_NOFOLLOW)));
  FAILS("O_DIRECTORY on a file", ENOTDIR, open("keep", O_RDONLY | O_DIRECTORY));
  FAILS("O_DIRECTORY on a link to a file", ENOTDIR, open("link", O_RDONLY | O_DIRECTORY));
  close(OK("O_DIRECTORY on a directory", open("dir", O_RDONLY | O_DIRECTORY)));
  close(OK("O_DIRECTORY through a link", open("dirlink", O_RDONLY | O_DIRECTORY)));
  FAILS("O_DIRECTORY O_NOFOLLOW on a link", ENOTDIR,
        open("dirlink", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  FAILS("a directory for writing", EISDIR, open("dir", O_WRONLY));
  FAILS("a directory for both", EISDIR, open("dir", O_RDWR));
  FAILS("a directory with O_CREAT", EISDIR, open("dir", O_RDONLY | O_CREAT, 0600));
  FAILS("a directory with O_TRUNC", EISDIR, open("dir", O_RDONLY | O_TRUNC));
  FAILS("an absent file", ENOENT, open("absent", O_RDONLY));
  FAILS("a dangling link", ENOENT, open("dangling", O_RDONLY));
  FAILS("an empty path", ENOENT, open("", O_RDONLY));
  FAILS("a file with a trailing slash", ENOTDIR, open("keep/", O_RDONLY));
  FAILS("O_EXCL on a dangling link", EEXIST, open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
  close(OK("O_CREAT through a dangling link", open("dangling", O_CREAT | O_RDWR, 0600)));
  TRUE("O_CREAT made the link's target", S_ISREG(status("absent").st_mode));
  unlink("absent");
  fd = OK("O_PATH", open("keep", O_PATH));
  FAILS("read of O_PATH", EBADF, read(fd, &byte, 1));
  struct stat st;
  OK("fstat of O_PATH", fstat(fd, &st));
  FAILS("fchmod of O_PATH", EBADF, fchmod(fd, 0600));
  close(fd);
  fd = OK("O_APPEND", open("keep", O_RDWR | O_APPEND));
  EQ("lseek with O_APPEND", 2, lseek(fd, 2, SEEK_SET));
  EQ("write with O_APPEND", 2, write(fd, "AB", 2));
  TEXT("O_APPEND writes at the end", "0123456789AB", content("keep"));
  EQ("O_APPEND moves the offset to the end", 12, lseek(fd, 0, SEEK_CUR));
  EQ("pwrite with O_APPEND", 1, pwrite(fd, "C", 1, 0));
  TEXT("pwrite with O_APPEND appends (Linux)", "0123456789ABC", content("keep"));
  EQ("pwrite with O_APPEND leaves the offset", 12, lseek(fd, 0, SEEK_CUR));
  close(fd);
  fd = OK("O_RDONLY with O_TRUNC", open("keep", O_RDONLY | O_TRUNC));
  EQ("O_RDONLY with O_TRUNC empties", 0, size_of("keep"));
  close(fd);
  make("mine", "x", 0644);
  close(OK("O_NOATIME as root", open("mine", O_RDONLY | O_NOATIME)));
  AS(ALICE, TEAM) FAILS("O_NOATIME as a stranger", EPERM, open("mine", O_RDONLY | O_NOATIME));
  close(OK("O_SYNC", open("mine", O_WRONLY | O_SYNC)));
  close(OK("O_DSYNC", open("mine", O_WRONLY | O_DSYNC)));
  fd = OK("open for F_GETFL", open("mine", O_RDWR | O_APPEND | O_NONBLOCK));
  EQ("F_GETFL", O_RDWR | O_APPEND | O_NONBLOCK, fcntl(fd, F_GETFL) & ~O_LARGEFILE & ~0100000);
  OK("F_SETFL takes O_APPEND away", fcntl(fd, F_SETFL, 0));
  EQ("write at 0 after that", 1, pwrite(fd, "y", 1, 0));
  TEXT("it overwrote", "y", content("mine"));
  OK("F_SETFL gives O_APPEND", fcntl(fd, F_SETFL, O_APPEND));
  EQ("write with O_APPEND set later", 1, write(fd, "z", 1));
  TEXT("it appended", "yz", content("mine"));
  close(fd);
}

static void access_modes(void) {
  static const struct {
    mode_t mode;
    const char *reading, *writing, *both;
  } cases[] = {{0000, "EACCES", "EACCES", "EACCES"}, {0400, "ok", "EACCES", "EACCES"},
               {0200, "EACCES", "ok", "EACCES"},     {0600, "ok", "ok", "ok"},
               {0077, "EACCES", "EACCES", "EACCES"}, {0466, "ok", "EACCES", "EACCES"}};
  directory("access", 0777);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *path = named("access/f%04o", cases[i].mode);
    make(path, "x", cases[i].mode);
    chown(path, ALICE, TEAM);
    chmod(path, cases[i].mode);
    AS(ALICE, TEAM) {
      TEXT(named("owner reads %04o", cases[i].mode), cases[i].reading,
           OUTCOME(open(path, O_RDONLY)));
      TEXT(named("owner writes %04o", cases[i].mode), cases[i].writing,
           OUTCOME(open(path, O_WRONLY)));
      TEXT(named("owner opens %04o for both", cases[i].mode), cases[i].both,
           OUTCOME(open(path, O_RDWR)));
      TEXT(named("owner truncates %04o at open", cases[i].mode), cases[i].writing,
           OUTCOME(open(path, O_WRONLY | O_TRUNC)));
    }
    close(OK(named("root opens %04o for both", cases[i].mode), open(path, O_RDWR)));
  }
  make("access/guarded", "text", 0444);
  AS(ALICE, TEAM)
    FAILS("O_RDONLY with O_TRUNC without permission", EACCES,
          open("access/guarded", O_RDONLY | O_TRUNC));
  EQ("a refused O_TRUNC leaves the size", 4, size_of("access/guarded"));
  directory("access/shut", 0755);
  AS(ALICE, TEAM)
    FAILS("O_CREAT in a directory that may not be written", EACCES,
          open("access/shut/new", O_CREAT | O_RDWR, 0600));
}

static long resolve(const char *path, uint64_t flags_, uint64_t rules) {
  struct open_how how = {.flags = flags_, .resolve = rules};
  return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static void beneath(void) {
  directory("root", 0755);
  make("root/file", "x", 0644);
  symlink("../keep", "root/out");
  symlink("file", "root/in");
  close(OK("RESOLVE_BENEATH within", resolve("root/in", O_RDONLY, RESOLVE_BENEATH)));
  FAILS("RESOLVE_BENEATH upwards", EXDEV, resolve("../open/keep", O_RDONLY, RESOLVE_BENEATH));
  FAILS("RESOLVE_NO_SYMLINKS", ELOOP, resolve("root/in", O_RDONLY, RESOLVE_NO_SYMLINKS));
  close(OK("RESOLVE_NO_XDEV within", resolve("root/file", O_RDONLY, RESOLVE_NO_XDEV)));
}

static void again(void) {
  make("again", "0123", 0644);
  int fd = OK("open for reopening", open("again", O_RDONLY));
  const char *self = named("/proc/self/fd/%d", fd);
  int more = OK("reopen O_RDONLY as O_RDWR", open(self, O_RDWR));
  EQ("write through the reopened", 1, write(more, "9", 1));
  TEXT("seen through the first", "9123", content_of(fd));
  close(more);
  unlink("again");
  more = OK("reopen an unlinked file", open(self, O_RDWR));
  EQ("write to an unlinked file", 1, pwrite(more, "8", 1, 1));
  TEXT("seen through the first once more", "9823", content_of(more));
  close(more);
  more = OK("reopen an unlinked file with O_TRUNC", open(self, O_WRONLY | O_TRUNC));
  struct stat st;
  OK("fstat after that", fstat(fd, &st));
  EQ("the unlinked file is empty", 0, st.st_size);
  EQ("the unlinked file has no links", 0, st.st_nlink);
  close(more);
  close(fd);
  fd = OK("O_PATH for reopening", open("keep", O_PATH));
  more = OK("reopen O_PATH", open(named("/proc/self/fd/%d", fd), O_RDWR));
  close(more);
  close(fd);
}

static void many(void) {
  enum { HANDLES = 500 };
  static int fds[HANDLES];
  bool opened = true, wrote = true;
  for (int i = 0; i < HANDLES; i++) {
    fds[i] = open("many", O_CREAT | O_RDWR, 0644);
    opened = opened && fds[i] >= 0;
  }
  for (int i = 0; i < HANDLES; i++) wrote = wrote && pwrite(fds[i], "m", 1, i) == 1;
  TRUE("one file open 500 times", opened);
  TRUE("every handle writes", wrote);
  unlink("many");
  struct stat st;
  for (int i = 0; i < HANDLES - 1; i++) close(fds[i]);
  OK("fstat of the last handle", fstat(fds[HANDLES - 1], &st));
  EQ("size through the last handle", HANDLES, st.st_size);
  close(fds[HANDLES - 1]);
}

void subject_open(void) {
  creation();
  flags();
  access_modes();
  beneath();
  again();
  many();
}
