/*
 * Readers and a writer for files whose every byte tells in which period it was written.
 *
 *   mapped write DIRECTORY PERIOD   makes or overwrites the files, by write, by mapping, by rename
 *   mapped check DIRECTORY PERIOD   reads them by read, by O_DIRECT, by shared and private mapping
 *   mapped hold DIRECTORY           maps every file; then for each period given on standard input
 *                                   looks at the mappings made at the begin, and at new ones
 *
 * Every byte of a file must be the letter of the period, else it is stale: it is said which byte, by
 * which way of reading. `hold` answers each line with `fresh` or `stale: ...`; a line `remap` makes
 * the mappings anew. Exit: 0 right, 1 wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 12, PAGE = 4096 };

/* Sizes from less than a page to more than what is read ahead. */
static const size_t sizes[FILES] = {100,    PAGE,    PAGE + 1, 3 * PAGE,  9000,      65536,
                                    131072, 131073, 500000,   1024 * 1024, 1500000, 4096 * 700};

static const char *place(const char *directory, int file, const char *suffix) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/period%d%s", directory, file, suffix);
  return path;
}

static char letter(const char *period) { return 'A' + atoi(period) % 26; }

static int broken(const char *what, int file) {
  printf("not ok %s of file %d: %s\n", what, file, strerrorname_np(errno));
  return 1;
}

/* The place of the first byte that is not the period's, or -1. */
static long stale(const char *bytes, size_t length, char wanted) {
  for (size_t i = 0; i < length; i++)
    if (bytes[i] != wanted) return (long)i;
  return -1;
}

static int write_all(const char *directory, const char *period) {
  for (int file = 0; file < FILES; file++) {
    char *bytes = malloc(sizes[file]);
    memset(bytes, letter(period), sizes[file]);
    /* A third each: in place by write, in place by mapping, whole by rename. */
    bool renamed = file % 3 == 2;
    const char *path = place(directory, file, renamed ? ".new" : "");
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) return broken("opening", file);
    struct stat st;
    fstat(fd, &st);
    if (file % 3 == 1 && st.st_size == (off_t)sizes[file]) {
      char *map = mmap(NULL, sizes[file], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (map == MAP_FAILED) return broken("mapping", file);
      memcpy(map, bytes, sizes[file]);
      if (msync(map, sizes[file], MS_SYNC) != 0) return broken("msync", file);
      munmap(map, sizes[file]);
    } else {
      for (size_t at = 0; at < sizes[file];) {
        ssize_t part = pwrite(fd, bytes + at, sizes[file] - at, at);
        if (part <= 0) return broken("writing", file);
        at += part;
      }
    }
    if (fsync(fd) != 0 || close(fd) != 0) return broken("fsync", file);
    char from[4096];
    strcpy(from, path);
    if (renamed && rename(from, place(directory, file, "")) != 0) return broken("renaming", file);
    free(bytes);
  }
  return 0;
}

static int told(const char *way, int file, long at, char got, char wanted) {
  printf("stale: byte %ld of file %d by %s is %c, expected %c\n", at, file, way, got, wanted);
  return 1;
}

static int check_file(const char *directory, int file, char wanted) {
  size_t size = sizes[file];
  const char *path = place(directory, file, "");
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return broken("opening", file);
  struct stat st;
  if (fstat(fd, &st) != 0 || st.st_size != (off_t)size) return broken("the size", file);
  char *bytes = NULL;
  if (posix_memalign((void **)&bytes, PAGE, size + PAGE) != 0) return 1;
  /* Mapped first: reading must not be what makes the pages fresh. */
  int kinds[] = {MAP_PRIVATE, MAP_SHARED};
  for (int kind = 0; kind < 2; kind++) {
    char *map = mmap(NULL, size, PROT_READ, kinds[kind], fd, 0);
    /* A read-only follower may refuse shared mappings; private ones must work. */
    if (map == MAP_FAILED && kind == 1 && errno == ENODEV) continue;
    if (map == MAP_FAILED) return broken("mapping", file);
    long at = stale(map, size, wanted);
    char got = at < 0 ? 0 : map[at];
    munmap(map, size);
    if (at >= 0) return told(kind ? "a new shared mapping" : "a new private mapping", file, at, got, wanted);
  }
  size_t have = 0;
  ssize_t part;
  while (have < size && (part = pread(fd, bytes + have, size - have, have)) > 0) have += part;
  if (have != size) return broken("reading", file);
  long at = stale(bytes, size, wanted);
  if (at >= 0) return told("read", file, at, bytes[at], wanted);
  close(fd);
  fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd >= 0) {
    memset(bytes, 0, size);
    have = 0;
    while (have < size && (part = pread(fd, bytes + have, (size - have + PAGE - 1) & -PAGE, have)) > 0)
      have += part;
    at = stale(bytes, size, wanted);
    if (at >= 0) return told("O_DIRECT", file, at, bytes[at], wanted);
    close(fd);
  }
  free(bytes);
  return 0;
}

static int check_all(const char *directory, const char *period) {
  for (int file = 0; file < FILES; file++)
    if (check_file(directory, file, letter(period)) != 0) return 1;
  return 0;
}

static int hold(const char *directory) {
  char *maps[FILES] = {0}, line[64];
  strcpy(line, "remap\n");
  do {
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, "remap") == 0) {
      for (int file = 0; file < FILES; file++) {
        if (maps[file]) munmap(maps[file], sizes[file]);
        int fd = open(place(directory, file, ""), O_RDONLY | O_CLOEXEC);
        maps[file] = fd < 0 ? MAP_FAILED : mmap(NULL, sizes[file], PROT_READ, MAP_PRIVATE, fd, 0);
        if (maps[file] == MAP_FAILED) return broken("mapping", file);
        close(fd);
        /* Every page becomes present. */
        volatile char sum = 0;
        for (size_t at = 0; at < sizes[file]; at += PAGE) sum += maps[file][at];
      }
      puts("mapped");
    } else {
      int wrong = 0;
      for (int file = 0; file < FILES && !wrong; file++) {
        /* What was replaced by rename is another file: its old mapping rightly shows the old one. */
        long at = file % 3 == 2 ? -1 : stale(maps[file], sizes[file], letter(line));
        if (at >= 0) wrong = told("an old mapping", file, at, maps[file][at], letter(line));
      }
      if (!wrong && check_all(directory, line) == 0) puts("fresh");
    }
    fflush(stdout);
  } while (fgets(line, sizeof line, stdin));
  return 0;
}

int main(int count, char **arguments) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (count == 4 && !strcmp(arguments[1], "write")) return write_all(arguments[2], arguments[3]);
  if (count == 4 && !strcmp(arguments[1], "check")) return check_all(arguments[2], arguments[3]);
  if (count == 3 && !strcmp(arguments[1], "hold")) return hold(arguments[2]);
  fprintf(stderr, "usage: mapped write|check DIRECTORY PERIOD | mapped hold DIRECTORY\n");
  return 2;
}
