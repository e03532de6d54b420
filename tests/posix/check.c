#include "check.h"

#include <grp.h>
#include <sched.h>
#include <sys/ioctl.h>

const char *named(const char *format, ...) {
  static char buffers[64][512];
  static unsigned next;
  char *buffer = buffers[next++ % 64];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(buffer, sizeof buffers[0], format, arguments);
  va_end(arguments);
  return buffer;
}

const char *error_name(int error) {
  if (error == 0) return "no error";
  const char *name = strerrorname_np(error);
  return name ? name : named("errno %d", error);
}

static void passed(const char *name) {
  __atomic_add_fetch(&tally->passed, 1, __ATOMIC_RELAXED);
  printf("ok %s/%s\n", current_subject, name);
  fflush(stdout);
}

static void failed(const char *name, const char *expected, const char *seen) {
  __atomic_add_fetch(&tally->failed, 1, __ATOMIC_RELAXED);
  printf("not ok %s/%s: expected %s, seen %s\n", current_subject, name, expected, seen);
  fflush(stdout);
}

long long report_ok(const char *name, long long result, int error) {
  if (result != -1) passed(name);
  else failed(name, "success", error_name(error));
  return result;
}

long long report_fails(const char *name, int expected, long long result, int error) {
  if (result == -1 && error == expected) passed(name);
  else failed(name, error_name(expected), result == -1 ? error_name(error) : "success");
  return result;
}

void report_number(const char *name, long long expected, long long seen) {
  if (expected == seen) passed(name);
  else failed(name, named("%lld", expected), named("%lld", seen));
}

void report_octal(const char *name, unsigned expected, unsigned seen) {
  if (expected == seen) passed(name);
  else failed(name, named("%04o", expected), named("%04o", seen));
}

void report_text(const char *name, const char *expected, const char *seen) {
  if (strcmp(expected, seen) == 0) passed(name);
  else failed(name, named("'%.200s'", expected), named("'%.200s'", seen));
}

void report_true(const char *name, bool holds, const char *condition) {
  if (holds) passed(name);
  else failed(name, condition, "the opposite");
}

void note(const char *name, const char *format, ...) {
  char value[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(value, sizeof value, format, arguments);
  va_end(arguments);
  passed(named("%s = %s", name, value));
}

bool become(int user, int group, int extra) {
  fflush(stdout);
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child > 0) {
    int end = 0;
    while (waitpid(child, &end, 0) < 0 && errno == EINTR) continue;
    if (!WIFEXITED(end) || WEXITSTATUS(end) != 0)
      failed(named("process of user %d ends", user), "exit 0", named("wait status 0x%x", end));
    return false;
  }
  if (user < 0) return true;
  gid_t groups[1] = {(gid_t)extra};
  must(setgroups(extra >= 0 ? 1 : 0, groups) == 0, "setgroups");
  must(setresgid(group, group, group) == 0, "setresgid");
  must(setresuid(user, user, user) == 0, "setresuid");
  return true;
}

bool leave(void) {
  fflush(stdout);
  _exit(0);
}

void must(bool holds, const char *what) {
  if (holds) return;
  failed(named("preparation: %s", what), "success", error_name(errno));
  exit(3);
}

int create(const char *path, const char *text, mode_t mode) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must(fd >= 0, named("create %.100s", path));
  if (text) must(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write a new file");
  must(fchmod(fd, mode) == 0, "fchmod of a new file");
  return fd;
}

void make(const char *path, const char *text, mode_t mode) { close(create(path, text, mode)); }

void directory(const char *path, mode_t mode) {
  must(mkdir(path, 0700) == 0, named("mkdir %.100s", path));
  must(chmod(path, mode) == 0, "chmod of a new directory");
}

/* Takes immutable and append-only flags off on the way: a check that failed may have left them. */
static void unlock(int at, const char *name) {
  int fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  long flags = 0;
  if (ioctl(fd, _IOR('f', 2, long), &flags) == 0 && (flags & 0x30) != 0) {
    flags &= ~0x30L;
    ioctl(fd, _IOW('f', 1, long), &flags);
  }
  close(fd);
}

static void remove_below(int at, const char *name) {
  struct stat st;
  if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
    if (unlinkat(at, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0) return;
    if (errno == EPERM) unlock(at, name);
  }
  if (!S_ISDIR(st.st_mode)) {
    unlinkat(at, name, 0);
    return;
  }
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  DIR *entries = fdopendir(fd);
  struct dirent *entry;
  while (entries && (entry = readdir(entries)))
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) remove_below(fd, entry->d_name);
  closedir(entries);
  unlinkat(at, name, AT_REMOVEDIR);
}

void remove_tree(const char *path) { remove_below(AT_FDCWD, path); }

struct stat status(const char *path) {
  struct stat st;
  must(lstat(path, &st) == 0, named("lstat %.100s", path));
  return st;
}

bool exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

unsigned mode_of(const char *path) { return status(path).st_mode & 07777; }
long long size_of(const char *path) { return status(path).st_size; }
long long links_of(const char *path) { return status(path).st_nlink; }

const char *content_of(int fd) {
  static char buffers[4][4096];
  static unsigned next;
  char *buffer = buffers[next++ % 4];
  ssize_t got = pread(fd, buffer, sizeof buffers[0] - 1, 0);
  if (got < 0) return named("<%s>", error_name(errno));
  buffer[got] = 0;
  return buffer;
}

const char *content(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return named("<%s>", error_name(errno));
  const char *text = content_of(fd);
  close(fd);
  return text;
}

void fill(unsigned char *bytes, size_t length, unsigned seed) {
  uint32_t state = seed * 2654435761u + 1;
  for (size_t i = 0; i < length; i++) {
    state = state * 1664525u + 1013904223u;
    bytes[i] = (unsigned char)((state >> 24) | 1); /* never zero: zero means a hole */
  }
}

bool all_bytes(const unsigned char *bytes, size_t length, unsigned char value) {
  for (size_t i = 0; i < length; i++)
    if (bytes[i] != value) return false;
  return true;
}

int compare_times(struct timespec a, struct timespec b) {
  if (a.tv_sec != b.tv_sec) return a.tv_sec < b.tv_sec ? -1 : 1;
  if (a.tv_nsec != b.tv_nsec) return a.tv_nsec < b.tv_nsec ? -1 : 1;
  return 0;
}

void tick(void) {
  static int fd = -1;
  if (fd < 0) {
    fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
      fd = create("tick-file", "", 0600);
      unlink("tick-file");
    }
  }
  /* Two coarse steps: a time read at the very edge of one step must be left behind as well. */
  struct timespec begin, now;
  clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  for (int steps = 0; steps < 2; steps++) {
    do {
      must(sched_yield() == 0, "sched_yield");
      clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (compare_times(now, begin) <= 0);
    begin = now;
  }
  fchmod(fd, 0600);
}
