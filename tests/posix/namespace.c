/*
 * Random operations on names by several processes, on a directory and on a shadow of it.
 *
 *   namespace TARGET SHADOW [--seed N] [--operations N] [--processes N] [--trace] [--keep]
 *
 * TARGET is the directory under test, SHADOW a plain one on the file system behind it. Every
 * operation runs on both, and its result (the errno, or what it returned) must be the same. Each
 * process has a tree of its own, where it works beside the others, and all have one in common, where
 * a lock makes the order of operations the same on both sides. Some operations run as other users;
 * files stay open over renames and removals. At the end the trees are compared: types, modes, owners,
 * links, sizes, contents, targets, devices, attributes. Exit: 0 the same, 1 different, 2 usage.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { SIDES = 2, SLOTS = 6, PATHS = 96, TEXT = 2048, HISTORY = 40 };

static const char *roots[SIDES];
static int root_fds[SIDES], slots[SLOTS][SIDES], process;
static uint64_t state;
static uint64_t first_seed = 1;
static long operations = 5000, current;
static int processes = 4;
static bool trace;
static char history[HISTORY][256];
static pthread_mutex_t *lock;

static uint64_t chance(uint64_t below) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) % below;
}

/* What an operation is about: drawn once, then carried out on both sides. */
struct draw {
  int kind;
  char a[PATHS], b[PATHS];
  unsigned mode, user, value, flags;
  int slot;
};

/* An operation's result as text: "ok", an errno, or what was read. */
struct result {
  char text[TEXT];
};

static void said(struct result *result, long outcome) {
  if (outcome == -1) snprintf(result->text, TEXT, "%s", strerrorname_np(errno));
  else snprintf(result->text, TEXT, "ok");
}

static void described(struct result *result, long outcome, const struct stat *st) {
  if (outcome == -1) return said(result, outcome);
  snprintf(result->text, TEXT, "%06o links %lu owner %u:%u size %ld device %lx", st->st_mode,
           (unsigned long)st->st_nlink, st->st_uid, st->st_gid,
           S_ISDIR(st->st_mode) ? 0 : (long)st->st_size, (unsigned long)st->st_rdev);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted names of a directory; their number, or -1. The caller frees them. */
static int names_of(int at, const char *path, char ***names) {
  int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  DIR *entries = fdopendir(fd);
  int count = 0, space = 0;
  *names = NULL;
  struct dirent *entry;
  while ((entry = readdir(entries))) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (count == space) *names = realloc(*names, (space = space * 2 + 16) * sizeof **names);
    (*names)[count++] = strdup(entry->d_name);
  }
  closedir(entries);
  if (count) qsort(*names, count, sizeof **names, by_name);
  return count;
}

static void listed(struct result *result, int at, const char *path) {
  char **names;
  int count = names_of(at, path, &names);
  if (count < 0) return said(result, -1);
  size_t used = snprintf(result->text, TEXT, "%d:", count);
  for (int i = 0; i < count; i++) {
    if (used < TEXT) used += snprintf(result->text + used, TEXT - used, " %s", names[i]);
    free(names[i]);
  }
  free(names);
}

static void read_out(struct result *result, int fd) {
  ssize_t got = fd < 0 ? -1 : pread(fd, result->text, TEXT - 1, 0);
  if (got < 0) said(result, -1);
  else result->text[got] = 0;
}

static long with(int fd, long outcome) {
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return fd < 0 ? -1 : outcome;
}

/* A path as /proc gives it: for the calls that know no descriptor to start from. */
static const char *full(int side, const char *path) {
  static char text[PATHS + 64];
  snprintf(text, sizeof text, "/proc/self/fd/%d/%s", root_fds[side], path);
  return text;
}

enum {
  CREATE, APPEND, TRUNCATE, MKDIR, RMDIR, UNLINK, LINK, SYMLINK, RENAME, MKNOD, CHMOD, CHOWN, SETXATTR,
  REMOVEXATTR, TIMES, STAT, LIST, READLINK, READ, OPEN_SLOT, SLOT_WRITE, SLOT_TRUNCATE, SLOT_STAT,
  SLOT_READ, SLOT_CHMOD, SLOT_LINK, SLOT_ALLOCATE, TEMPORARY, ACCESS, KINDS
};

static void carry_out(const struct draw *d, int side, struct result *result) {
  int at = root_fds[side], *slot = &slots[d->slot][side], fd;
  char text[64];
  struct stat st;
  result->text[0] = 0;
  errno = 0;
  switch (d->kind) {
    case CREATE:
      fd = openat(at, d->a, O_CREAT | O_WRONLY | O_NONBLOCK | O_CLOEXEC | (d->flags & 1 ? O_EXCL : 0) |
                                (d->flags & 2 ? O_TRUNC : 0), d->mode);
      return said(result, with(fd, 0));
    case APPEND:
      fd = openat(at, d->a, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
      snprintf(text, sizeof text, "%u by %d;", d->value, process);
      return said(result, with(fd, fd < 0 ? -1 : write(fd, text, strlen(text))));
    case TRUNCATE: return said(result, truncate(full(side, d->a), d->value % 5000));
    case MKDIR: return said(result, mkdirat(at, d->a, d->mode | 0300));
    case RMDIR: return said(result, unlinkat(at, d->a, AT_REMOVEDIR));
    case UNLINK: return said(result, unlinkat(at, d->a, 0));
    case LINK: return said(result, linkat(at, d->a, at, d->b, d->flags & 1 ? AT_SYMLINK_FOLLOW : 0));
    case SYMLINK: return said(result, symlinkat(d->b, at, d->a));
    case RENAME: return said(result, renameat2(at, d->a, at, d->b, d->flags & 7));
    case MKNOD: {
      static const mode_t types[] = {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFREG};
      mode_t type = types[d->value % 5];
      return said(result, mknodat(at, d->a, type | d->mode, makedev(1 + d->value % 7, d->value % 300)));
    }
    case CHMOD: return said(result, fchmodat(at, d->a, d->mode | (d->flags & 1 ? 06000 : 0), 0));
    case CHOWN:
      return said(result, fchownat(at, d->a, d->value % 3 ? 20000 + d->value % 3 : 0,
                                   d->value % 4 ? 30000 + d->value % 4 : 0, AT_SYMLINK_NOFOLLOW));
    case SETXATTR:
      snprintf(text, sizeof text, "%s.n%u", d->flags & 4 ? "trusted" : "user", d->value % 3);
      return said(result, lsetxattr(full(side, d->a), text, &d->value, sizeof d->value, d->flags & 3));
    case REMOVEXATTR:
      snprintf(text, sizeof text, "user.n%u", d->value % 3);
      return said(result, lremovexattr(full(side, d->a), text));
    case TIMES: {
      struct timespec times[2] = {{d->value, d->value % 1000000000}, {d->value / 2, 7}};
      return said(result, utimensat(at, d->a, times, AT_SYMLINK_NOFOLLOW));
    }
    case STAT: return described(result, fstatat(at, d->a, &st, AT_SYMLINK_NOFOLLOW), &st);
    case LIST: return listed(result, at, d->a);
    case READLINK: {
      ssize_t got = readlinkat(at, d->a, result->text, TEXT - 1);
      if (got < 0) return said(result, -1);
      result->text[got] = 0;
      return;
    }
    case READ:
      fd = openat(at, d->a, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
      if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) read_out(result, fd);
      else said(result, fd < 0 ? -1 : 0);
      with(fd, 0);
      return;
    case OPEN_SLOT:
      if (*slot >= 0) close(*slot);
      *slot = openat(at, d->a, O_RDWR | O_NONBLOCK | O_CLOEXEC | (d->flags & 1 ? O_CREAT : 0), d->mode);
      if (*slot >= 0 && (fstat(*slot, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(*slot);
        *slot = -1;
        return said(result, 0);
      }
      return said(result, *slot < 0 ? -1 : 0);
    case SLOT_WRITE:
      snprintf(text, sizeof text, "slot %u", d->value);
      return said(result, pwrite(*slot, text, strlen(text), d->value % 3000));
    case SLOT_TRUNCATE: return said(result, ftruncate(*slot, d->value % 3000));
    case SLOT_STAT: return described(result, fstat(*slot, &st), &st);
    case SLOT_READ: return read_out(result, *slot);
    case SLOT_CHMOD: return said(result, fchmod(*slot, d->mode));
    case SLOT_LINK: return said(result, linkat(*slot, "", at, d->b, AT_EMPTY_PATH));
    case SLOT_ALLOCATE:
      return said(result, fallocate(*slot, d->flags & 1 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0,
                                    d->value % 9000, 1 + d->value % 5000));
    case TEMPORARY:
      fd = openat(at, d->a, O_TMPFILE | O_RDWR | O_CLOEXEC, d->mode);
      if (fd >= 0 && write(fd, "temporary", 9) != 9) errno = EIO;
      return said(result, with(fd, fd < 0 ? -1 : linkat(fd, "", at, d->b, AT_EMPTY_PATH)));
    case ACCESS: return said(result, faccessat(at, d->a, d->value % 8, AT_EACCESS));
  }
}

static const char *const kind_names[] = {
    "create", "append", "truncate", "mkdir", "rmdir", "unlink", "link", "symlink", "rename", "mknod",
    "chmod", "chown", "setxattr", "removexattr", "times", "stat", "list", "readlink", "read",
    "open slot", "slot write", "slot truncate", "slot stat", "slot read", "slot chmod", "slot link",
    "slot allocate", "temporary", "access"};

/* The first four names are directories more often than not, so that paths lead somewhere. */
static void some_path(char *path, const char *top, bool directory) {
  static const char *const names[] = {"a", "b", "c", "d", "e", "\xff", "long-name-of-a-file", "h"};
  int length = snprintf(path, PATHS, "%s", top);
  for (int depth = chance(10) < 5 ? 0 : 1 + chance(2); depth > 0; depth--)
    length += snprintf(path + length, PATHS - length, "/%s", names[chance(4)]);
  bool odd = chance(6) == 0;
  snprintf(path + length, PATHS - length, "/%s", names[chance(4) + (directory == odd ? 4 : 0)]);
}

/* How often each kind of operation is drawn, in the order of the kinds. */
static const int weights[KINDS] = {8, 4, 4, 8, 4, 6, 5, 3, 12, 4, 4, 3, 3, 2, 3, 5,
                                   3, 2, 4, 6, 2, 1, 2, 2, 1, 1, 2, 2,  2};

static int some_kind(void) {
  int total = 0, kind = 0;
  for (int i = 0; i < KINDS; i++) total += weights[i];
  for (int pick = chance(total); (pick -= weights[kind]) >= 0;) kind++;
  return kind;
}

static struct draw draw(const char *own, bool *common) {
  struct draw d = {.kind = some_kind(), .slot = chance(SLOTS), .value = chance(1u << 30)};
  *common = chance(3) == 0;
  const char *top = *common ? "common" : own;
  bool directory = d.kind == MKDIR || d.kind == RMDIR || d.kind == LIST ||
                   (d.kind == RENAME && chance(3) == 0);
  some_path(d.a, top, directory);
  some_path(d.b, top, directory);
  d.mode = chance(3) ? 0755 : chance(01000);
  d.user = chance(4) == 0 ? 20001 + chance(2) : 0;
  /* Of every eight draws two have no flags, so that plain renames are common. */
  d.flags = chance(4) == 0 ? 0 : chance(8);
  if (d.kind == RENAME && chance(2)) d.flags = 0;
  if (d.kind == TEMPORARY) snprintf(d.a, PATHS, "%s", top);
  /* An open file may be one of the common tree: its slot belongs to the lock as well. */
  if (d.kind >= OPEN_SLOT && d.kind <= SLOT_ALLOCATE) *common = true;
  return d;
}

static void mismatch(const struct draw *d, const struct result *results) {
  static char report[HISTORY * 280];
  size_t used = snprintf(report, sizeof report,
                         "not ok process %d operation %ld: %s %s %s mode %o flags %u user %u value %u\n"
                         "  shadow: %s\n  target: %s\n  before it:\n",
                         process, current, kind_names[d->kind], d->a, d->b, d->mode, d->flags, d->user,
                         d->value, results[1].text, results[0].text);
  for (long i = current > HISTORY ? current - HISTORY : 0; i < current; i++)
    if (used < sizeof report)
      used += snprintf(report + used, sizeof report - used, "    %s\n", history[i % HISTORY]);
  fputs(report, stdout);
  fflush(stdout);
}

static int work(void) {
  char own[16];
  snprintf(own, sizeof own, "own%d", process);
  state = first_seed * 1000003 + process;
  for (int i = 0; i < SLOTS; i++) slots[i][0] = slots[i][1] = -1;
  for (current = 0; current < operations; current++) {
    bool common;
    struct draw d = draw(own, &common);
    static struct result results[SIDES];
    if (common) pthread_mutex_lock(lock);
    for (int side = 0; side < SIDES; side++) {
      if (d.user) setfsgid(30001), setfsuid(d.user);
      carry_out(&d, side, &results[side]);
      if (d.user) setfsuid(0), setfsgid(0);
    }
    snprintf(history[current % HISTORY], sizeof history[0], "%s%s %s %s mode %o flags %u user %u: %.60s",
             common ? "common " : "", kind_names[d.kind], d.a, d.b, d.mode, d.flags, d.user,
             results[1].text);
    if (trace) printf("%d %ld %s\n", process, current, history[current % HISTORY]);
    bool same = strcmp(results[0].text, results[1].text) == 0;
    if (!same) mismatch(&d, results);
    if (common) pthread_mutex_unlock(lock);
    if (!same) return 1;
  }
  return 0;
}

static long differences;

static void differ(const char *path, const char *what, const char *target, const char *shadow) {
  if (differences++ < 20)
    printf("not ok %s: %s: target %.100s, shadow %.100s\n", path, what, target, shadow);
}

static void compare_attributes(const char *path) {
  static char lists[SIDES][4096];
  char text[SIDES][2048] = {"", ""};
  for (int side = 0; side < SIDES; side++) {
    char name[600];
    snprintf(name, sizeof name, "%s", full(side, path));
    ssize_t length = llistxattr(name, lists[side], sizeof lists[side]);
    char *sorted[64];
    int count = 0;
    for (char *at = lists[side]; at < lists[side] + length && count < 64; at += strlen(at) + 1)
      sorted[count++] = at;
    qsort(sorted, count, sizeof *sorted, by_name);
    for (int i = 0; i < count; i++) {
      unsigned value = 0;
      lgetxattr(name, sorted[i], &value, sizeof value);
      sprintf(text[side] + strlen(text[side]), "%s=%u ", sorted[i], value);
    }
  }
  if (strcmp(text[0], text[1])) differ(path, "attributes", text[0], text[1]);
}

static void compare(const char *path) {
  static struct result results[SIDES];
  struct stat st = {0};
  for (int side = 0; side < SIDES; side++)
    described(&results[side], fstatat(root_fds[side], path, &st, AT_SYMLINK_NOFOLLOW), &st);
  if (strcmp(results[0].text, results[1].text)) {
    differ(path, "status", results[0].text, results[1].text);
    return;
  }
  compare_attributes(path);
  int kind = S_ISREG(st.st_mode) ? READ : S_ISLNK(st.st_mode) ? READLINK : STAT;
  struct draw d = {.kind = kind};
  snprintf(d.a, PATHS, "%s", path);
  for (int side = 0; side < SIDES; side++) carry_out(&d, side, &results[side]);
  if (strcmp(results[0].text, results[1].text)) differ(path, "content", results[0].text, results[1].text);
  if (!S_ISDIR(st.st_mode)) return;
  char **names[SIDES];
  int counts[SIDES];
  for (int side = 0; side < SIDES; side++) counts[side] = names_of(root_fds[side], path, &names[side]);
  if (counts[0] != counts[1]) {
    differ(path, "number of names", "another", "another");
    return;
  }
  for (int i = 0; i < counts[0]; i++) {
    if (strcmp(names[0][i], names[1][i])) differ(path, "names", names[0][i], names[1][i]);
    char child[PATHS];
    if (snprintf(child, PATHS, "%s/%s", path, names[1][i]) < PATHS) compare(child);
    free(names[0][i]);
    free(names[1][i]);
  }
  free(names[0]);
  free(names[1]);
}

static void clear(int at, const char *path) {
  char **names;
  int count = names_of(at, path, &names);
  for (int i = 0; i < count; i++) {
    char child[4096];
    snprintf(child, sizeof child, "%s/%s", path, names[i]);
    if (unlinkat(at, child, 0) != 0) {
      clear(at, child);
      unlinkat(at, child, AT_REMOVEDIR);
    }
    free(names[i]);
  }
  if (count >= 0) free(names);
}

int main(int count, char **arguments) {
  bool keep = false;
  int given = 0;
  for (int i = 1; i < count; i++) {
    const char *word = arguments[i], *value = i + 1 < count ? arguments[i + 1] : "";
    if (!strcmp(word, "--trace")) trace = true;
    else if (!strcmp(word, "--keep")) keep = true;
    else if (!strcmp(word, "--seed")) first_seed = strtoull(value, NULL, 10), i++;
    else if (!strcmp(word, "--operations")) operations = atol(value), i++;
    else if (!strcmp(word, "--processes")) processes = atoi(value), i++;
    else if (given < SIDES) roots[given++] = word;
  }
  if (given < SIDES || geteuid() != 0 || processes < 1) {
    fprintf(stderr, "usage (as root): namespace TARGET SHADOW [--seed N] [--operations N] "
                    "[--processes N] [--trace] [--keep]\n");
    return 2;
  }
  umask(022);
  setvbuf(stdout, NULL, _IOLBF, 0);
  lock = mmap(NULL, sizeof *lock, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(lock, &attributes);
  for (int side = 0; side < SIDES; side++) {
    root_fds[side] = open(roots[side], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fds[side] < 0) {
      perror(roots[side]);
      return 2;
    }
    for (int i = -1; i < processes; i++) {
      char top[16] = "common";
      if (i >= 0) snprintf(top, sizeof top, "own%d", i);
      clear(root_fds[side], top);
      unlinkat(root_fds[side], top, AT_REMOVEDIR);
      if (mkdirat(root_fds[side], top, 0700) != 0 || fchmodat(root_fds[side], top, 0777, 0) != 0) {
        perror(top);
        return 2;
      }
    }
  }
  for (process = 0; process < processes; process++)
    if (fork() == 0) exit(work());
  int failures = 0, end;
  while (waitpid(-1, &end, 0) > 0) failures += end != 0;
  compare("common");
  for (int i = 0; i < processes; i++) {
    char top[16];
    snprintf(top, sizeof top, "own%d", i);
    compare(top);
  }
  if (!keep)
    for (int side = 0; side < SIDES; side++)
      for (int i = -1; i < processes; i++) {
        char top[16] = "common";
        if (i >= 0) snprintf(top, sizeof top, "own%d", i);
        clear(root_fds[side], top);
        unlinkat(root_fds[side], top, AT_REMOVEDIR);
      }
  if (failures || differences) {
    printf("not ok %d processes failed, %ld differences; seed %llu\n", failures, differences,
           (unsigned long long)first_seed);
    return 1;
  }
  printf("ok %d processes, %ld operations each, seed %llu\n", processes, operations,
         (unsigned long long)first_seed);
  return 0;
}
