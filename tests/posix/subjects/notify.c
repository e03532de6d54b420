/* inotify on the directory, and waking up those who poll. */
#include "../check.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/xattr.h>

static int watcher;

/* What has been reported since the last call, as text. */
static const char *events(void) {
  static const struct {
    uint32_t bit;
    const char *name;
  } kinds[] = {{IN_ACCESS, "access"},          {IN_MODIFY, "modify"},
               {IN_ATTRIB, "attrib"},          {IN_CLOSE_WRITE, "close-write"},
               {IN_CLOSE_NOWRITE, "close"},    {IN_OPEN, "open"},
               {IN_MOVED_FROM, "from"},        {IN_MOVED_TO, "to"},
               {IN_CREATE, "create"},          {IN_DELETE, "delete"},
               {IN_DELETE_SELF, "delete-self"}, {IN_MOVE_SELF, "move-self"},
               {IN_IGNORED, "ignored"}};
  static char text[1024];
  char buffer[8192] __attribute__((aligned(8)));
  text[0] = 0;
  ssize_t length = read(watcher, buffer, sizeof buffer);
  for (char *at = buffer; length > 0 && at < buffer + length;) {
    struct inotify_event *event = (struct inotify_event *)at;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
      if (event->mask & kinds[i].bit)
        sprintf(text + strlen(text), "%s%s%s%s", *text ? " " : "", kinds[i].name,
                event->len ? ":" : "", event->len ? event->name : "");
    at += sizeof *event + event->len;
  }
  return text;
}

void subject_notify(void) {
  directory("d", 0755);
  watcher = OK("inotify_init1", inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  OK("watching a directory", inotify_add_watch(watcher, "d", IN_ALL_EVENTS & ~IN_OPEN & ~IN_ACCESS &
                                                                 ~IN_CLOSE_NOWRITE));
  TEXT("nothing yet", "", events());
  int fd = open("d/f", O_CREAT | O_RDWR, 0644);
  TEXT("create", "create:f", events());
  (void)!write(fd, "x", 1);
  TEXT("write", "modify:f", events());
  (void)!ftruncate(fd, 100);
  TEXT("ftruncate", "modify:f", events());
  fallocate(fd, 0, 0, 5000);
  TEXT("fallocate", "modify:f", events());
  fchmod(fd, 0600);
  TEXT("fchmod", "attrib:f", events());
  close(fd);
  TEXT("close", "close-write:f", events());
  setxattr("d/f", "user.a", "x", 1, 0);
  TEXT("setxattr", "attrib:f", events());
  utimensat(AT_FDCWD, "d/f", NULL, 0);
  TEXT("utimensat", "attrib:f", events());
  link("d/f", "d/l");
  TEXT("link", "create:l", events());
  rename("d/l", "d/m");
  TEXT("rename within", "from:l to:m", events());
  rename("d/m", "m");
  TEXT("rename out", "from:m", events());
  rename("m", "d/n");
  TEXT("rename in", "to:n", events());
  mkdir("d/sub", 0700);
  TEXT("mkdir", "create:sub", events());
  rmdir("d/sub");
  TEXT("rmdir", "delete:sub", events());
  symlink("x", "d/s");
  TEXT("symlink", "create:s", events());
  unlink("d/s");
  TEXT("unlink", "delete:s", events());
  make("o", "x", 0644);
  rename("o", "d/n");
  TEXT("rename over", "to:n", events());
  open("d/none", O_RDONLY);
  mkdir("d/f", 0700);
  TEXT("what fails is not reported", "", events());
  int watch = OK("watching a file", inotify_add_watch(watcher, "d/f", IN_DELETE_SELF | IN_MODIFY));
  (void)watch;
  truncate("d/f", 0);
  TEXT("truncate is seen by both", "modify:f modify", events());
  unlink("d/f");
  unlink("d/n");
  TEXT("the last unlink", "attrib delete:f delete:n", ({
         const char *seen = events();
         /* Whether the file's own end comes before or after the name's is not promised. */
         bool all = strstr(seen, "delete:f") && strstr(seen, "delete:n") &&
                    strstr(seen, "delete-self");
         all ? "attrib delete:f delete:n" : seen;
       }));
  rmdir("d");
  TEXT("the directory's own end", "delete-self ignored", events());
  /* Another process waits for an event. */
  directory("w", 0755);
  inotify_add_watch(watcher, "w", IN_CREATE);
  pid_t child = fork();
  if (child == 0) {
    make("w/by-child", "x", 0644);
    _exit(0);
  }
  struct pollfd poller = {watcher, POLLIN, 0};
  EQ("poll wakes up for another process's file", 1, poll(&poller, 1, 10000));
  TEXT("its event", "create:by-child", events());
  waitpid(child, NULL, 0);
  fd = create("poll", "x", 0644);
  poller = (struct pollfd){fd, POLLIN | POLLOUT, 0};
  EQ("a regular file is always ready", 1, poll(&poller, 1, 0));
  EQ("for both", POLLIN | POLLOUT, poller.revents);
  close(fd);
  close(watcher);
}
