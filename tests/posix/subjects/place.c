/* Being somewhere: working directories, chroot, mounts on it; executing from it. */
#include "../check.h"

#include <sys/mount.h>
#include <sched.h>

static void working_directory(void) {
  directory("wd", 0755);
  char path[PATH_MAX], *base = getcwd(NULL, 0);
  TRUE("getcwd", base != NULL);
  FORKED {
    OK("chdir", chdir("wd"));
    TRUE("getcwd there", getcwd(path, sizeof path) && strcmp(path, named("%s/wd", base)) == 0);
    OK("rename of it", rename("../wd", "../dw"));
    TRUE("getcwd follows", getcwd(path, sizeof path) && strcmp(path, named("%s/dw", base)) == 0);
    make("here", "x", 0644);
    TRUE("files go to the new place", exists("../dw/here"));
    unlink("here");
    OK("rmdir of it", rmdir("../dw"));
    FAILS("getcwd in a removed directory", ENOENT, getcwd(path, sizeof path) ? 0 : -1);
    FAILS("creating there", ENOENT, open("x", O_CREAT | O_WRONLY, 0600));
    FAILS("mkdir there", ENOENT, mkdir("x", 0700));
    struct stat st;
    OK("stat of . there", stat(".", &st));
    EQ("it has no links", 0, st.st_nlink);
    DIR *entries = opendir(".");
    TRUE("it can be opened", entries != NULL);
    TRUE("and is empty", entries && readdir(entries) == NULL);
    OK("chdir to .. there", chdir(".."));
  }
  make("file", "x", 0644);
  FAILS("chdir to a file", ENOTDIR, chdir("file"));
  FAILS("chdir to nothing", ENOENT, chdir("none"));
  directory("closed", 0600);
  AS(ALICE, TEAM) FAILS("chdir without search permission", EACCES, chdir("closed"));
  int fd = open(".", O_RDONLY | O_DIRECTORY);
  FORKED {
    chdir("/");
    OK("fchdir", fchdir(fd));
    TRUE("back here", exists("file"));
  }
  close(fd);
}

static void roots(void) {
  directory("root", 0755);
  directory("root/in", 0755);
  make("root/in/f", "inside", 0644);
  FORKED {
    OK("chroot", chroot("root"));
    OK("chdir to /", chdir("/"));
    TEXT("an absolute path", "inside", content("/in/f"));
    TRUE("nothing above", !exists("/../file"));
    symlink("/in/f", "/l");
    TEXT("an absolute link", "inside", content("/l"));
  }
  AS(ALICE, TEAM) FAILS("chroot as a user", EPERM, chroot("root"));
}

static void mounts(void) {
  directory("m", 0755);
  directory("m/point", 0755);
  directory("m/bound", 0755);
  make("m/f", "x", 0644);
  make("m/target", "x", 0644);
  FORKED {
    must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
         "a mount namespace");
    OK("mounting a tmpfs on it", mount("none", "m/point", "tmpfs", 0, NULL));
    FAILS("rmdir of a mount point", EBUSY, rmdir("m/point"));
    FAILS("rename of a mount point", EBUSY, rename("m/point", "m/x"));
    FAILS("rename onto a mount point", EBUSY, rename("m/bound", "m/point"));
    FAILS("rename into the mount", EXDEV, rename("m/f", "m/point/f"));
    FAILS("link into the mount", EXDEV, link("m/f", "m/point/f"));
    struct stat a = status("m"), b = status("m/point");
    TRUE("it is another device", a.st_dev != b.st_dev);
    make("m/point/in", "x", 0644);
    OK("unmounting", umount("m/point"));
    TRUE("what lay below is empty", !exists("m/point/in"));
    OK("a bind mount", mount("m", "m/bound", NULL, MS_BIND, NULL));
    TEXT("the same file", "x", content("m/bound/f"));
    FAILS("rename between binds", EXDEV, rename("m/f", "m/bound/g"));
    FAILS("link between binds", EXDEV, link("m/f", "m/bound/g"));
    OK("read-only", mount(NULL, "m/bound", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    FAILS("writing there", EROFS, open("m/bound/f", O_WRONLY));
    FAILS("creating in a read-only bind", EROFS, open("m/bound/n", O_CREAT | O_WRONLY, 0600));
    FAILS("chmod there", EROFS, chmod("m/bound/f", 0600));
    FAILS("unlink there", EROFS, unlink("m/bound/f"));
    FAILS("access W_OK there", EROFS, access("m/bound/f", W_OK));
    OK("reading there", close(open("m/bound/f", O_RDONLY)));
    OK("unmounting it", umount("m/bound"));
    OK("binding a file", mount("m/f", "m/target", NULL, MS_BIND, NULL));
    FAILS("unlink of a mount point", EBUSY, unlink("m/target"));
    OK("unmounting the file", umount("m/target"));
    OK("then unlink", unlink("m/target"));
    OK("nosuid and noexec binds", mount("m", "m/bound", NULL, MS_BIND, NULL));
    umount2("m/bound", MNT_DETACH);
  }
}

/* Runs a program; its exit status, 200 + errno % 50 where it could not be executed. */
static int run(const char *path, char *const arguments[]) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    execv(path, arguments);
    _exit(200 + errno);
  }
  int end;
  waitpid(child, &end, 0);
  return WIFEXITED(end) ? WEXITSTATUS(end) : -WTERMSIG(end);
}

static void copy(const char *from, const char *to, mode_t mode) {
  int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_EXCL | O_WRONLY, 0600);
  must(in >= 0 && out >= 0, "copying a program");
  static char buffer[65536];
  ssize_t got;
  while ((got = read(in, buffer, sizeof buffer)) > 0) must(write(out, buffer, got) == got, "write");
  must(fchmod(out, mode) == 0, "fchmod");
  close(in);
  close(out);
}

static void executing(void) {
  copy("/proc/self/exe", "program", 0755);
  char *arguments[] = {"program", "--list", NULL};
  EQ("exec of a binary", 0, ({
       fflush(stdout);
       pid_t child = fork();
       if (child == 0) {
         int null = open("/dev/null", O_WRONLY);
         dup2(null, 1);
         execv("./program", arguments);
         _exit(99);
       }
       int end;
       waitpid(child, &end, 0);
       end;
     }));
  make("script", "#!/bin/sh\nexit 7\n", 0755);
  char *nothing[] = {"x", NULL};
  EQ("exec of a script", 7, run("./script", nothing));
  chmod("script", 0644);
  EQ("exec without permission", 200 + EACCES, run("./script", nothing));
  make("garbage", "\x01\x02garbage", 0755);
  EQ("exec of garbage", 200 + ENOEXEC, run("./garbage", nothing));
  EQ("exec of a directory", 200 + EACCES, run(".", nothing));
  make("lost", "#!/none/such\n", 0755);
  EQ("exec with a missing interpreter", 200 + ENOENT, run("./lost", nothing));
  /* A program that runs cannot be written. */
  copy("/bin/sleep", "sleeper", 0755);
  int started[2];
  must(pipe2(started, O_CLOEXEC) == 0, "pipe2");
  pid_t child = fork();
  if (child == 0) {
    execl("./sleeper", "sleeper", "1000", NULL);
    _exit(99);
  }
  close(started[1]);
  char byte;
  EQ("exec closes what is close-on-exec", 0, read(started[0], &byte, 1));
  close(started[0]);
  FAILS("open for writing of a running program", ETXTBSY, open("sleeper", O_WRONLY));
  FAILS("truncate of a running program", ETXTBSY, truncate("sleeper", 0));
  OK("unlink of a running program", unlink("sleeper"));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  int writer = open("script", O_WRONLY);
  chmod("script", 0755);
  EQ("exec of a file open for writing", 200 + ETXTBSY, run("./script", nothing));
  close(writer);
  /* Set-user-id. */
  copy("/usr/bin/id", "who", 0755);
  must(chown("who", ALICE, TEAM) == 0 && chmod("who", 06755) == 0, "set-id bits");
  AS(BOB, CLUB) {
    int ends[2];
    must(pipe(ends) == 0, "pipe");
    pid_t other = fork();
    if (other == 0) {
      dup2(ends[1], 1);
      execl("./who", "who", "-u", NULL);
      _exit(99);
    }
    close(ends[1]);
    char text[32] = "";
    (void)!read(ends[0], text, sizeof text - 1);
    waitpid(other, NULL, 0);
    TEXT("a set-user-id program has its owner's rights", "20001\n", text);
  }
}

void subject_place(void) {
  working_directory();
  roots();
  mounts();
  executing();
}
