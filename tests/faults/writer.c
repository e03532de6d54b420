/*
 * A writer that never stops by itself: writes, appends, creates, renames and syncs in a directory, and
 * keeps the longest time that one call took. SIGTERM ends it; it then prints one line:
 *   calls N errors N longest_us N first_error TEXT
 * With a file as second argument it writes that line there every 100 ms as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static long calls, errors, longest;
static char first_error[256] = "none";

static void end(int signal) {
  (void)signal;
  ended = 1;
}

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void count(const char *what, long start, long result) {
  long took = now() - start;
  calls++;
  if (took > longest) longest = took;
  if (result >= 0) return;
  if (errors++ == 0) snprintf(first_error, sizeof first_error, "%s: %s", what, strerror(errno));
}

static void report(const char *file) {
  char line[400], next[4200];
  int n = snprintf(line, sizeof line, "calls %ld errors %ld longest_us %ld first_error %s\n", calls,
                   errors, longest, first_error);
  if (file == NULL) {
    if (write(1, line, n) != n) exit(1);
    return;
  }
  snprintf(next, sizeof next, "%s.next", file);
  int fd = open(next, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (fd < 0 || write(fd, line, n) != n) exit(1);
  close(fd);
  rename(next, file);
}

int main(int argc, char **argv) {
  if (argc < 2 || chdir(argv[1]) != 0) return 2;
  const char *file = argc > 2 ? argv[2] : NULL;
  signal(SIGTERM, end);
  char block[8192];
  mkdir("writer", 0755);
  int data = open("writer/data", O_CREAT | O_RDWR, 0644);
  if (data < 0) return 3;
  unsigned seed = 1;
  long reported = 0;
  for (long i = 0; !ended; i++) {
    memset(block, 'a' + i % 26, sizeof block);
    long start = now();
    count("pwrite", start, pwrite(data, block, sizeof block, (rand_r(&seed) % 512) * 8192L));
    if (i % 16 == 0) {
      start = now();
      count("fdatasync", start, fdatasync(data));
    }
    if (i % 4 == 0) {
      char name[64], other[64];
      snprintf(name, sizeof name, "writer/f%ld", i % 200);
      snprintf(other, sizeof other, "writer/g%ld", i % 120);
      start = now();
      int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0640);
      count("open", start, fd);
      if (fd >= 0) {
        start = now();
        count("append", start, write(fd, block, 100 + i % 3000));
        close(fd);
      }
      start = now();
      count("rename", start, rename(name, other));
    }
    if (file != NULL && now() - reported > 100000) {
      reported = now();
      report(file);
    }
  }
  fsync(data);
  report(NULL);
  return errors == 0 ? 0 : 1;
}
