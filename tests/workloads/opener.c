/*
 * Many files open at once, from several processes.
 *
 *   opener make DIRECTORY FILES
 *   opener open DIRECTORY FILES PROCESSES
 *
 * `make` writes FILES files of different sizes. `open` starts PROCESSES processes that each open every
 * one of them (reading, writing or both) and hold them all; when all of them are open, each is read or
 * written through its descriptor and checked, and again after the files were renamed by a process that
 * holds none. Exit: 0 right, 1 wrong.
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
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 64, PER_DIRECTORY = 250 };

static const char *place(const char *directory, int file, const char *suffix) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/d%d/f%d%s", directory, file / PER_DIRECTORY, file, suffix);
  return path;
}

static void record(char *text, int file, int part) {
  memset(text, '.', RECORD);
  int length = snprintf(text, RECORD, "file %d part %d", file, part);
  text[length] = ' ';
  text[RECORD - 1] = '\n';
}

static int broken(const char *what, int file) {
  printf("not ok %s of file %d: %s\n", what, file, strerrorname_np(errno));
  return 1;
}

static int parts_of(int file) { return 1 + file % 100; }

static int make(const char *directory, int files) {
  char text[RECORD * 100], parent[4096];
  for (int file = 0; file < files; file++) {
    if (file % PER_DIRECTORY == 0) {
      snprintf(parent, sizeof parent, "%s/d%d", directory, file / PER_DIRECTORY);
      if (mkdir(parent, 0755) != 0) return broken("directory", file);
    }
    int fd = open(place(directory, file, ""), O_CREAT | O_EXCL | O_WRONLY, 0644);
    for (int part = 0; part < parts_of(file); part++) record(text + part * RECORD, file, part);
    if (write(fd, text, parts_of(file) * RECORD) != parts_of(file) * RECORD || close(fd) != 0)
      return broken("making", file);
  }
  return 0;
}

/* A third of the descriptors only read, a third only write, a third do both. */
static int mode_of(int file, int process) {
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR};
  return modes[(file + process) % 3];
}

static int check(int fd, int file, int process) {
  char wanted[RECORD], got[RECORD];
  int part = (file * 7 + process * 13) % parts_of(file);
  record(wanted, file, part);
  int mode = mode_of(file, process);
  /* Everybody writes the same bytes: any order of them is right. */
  if (mode != O_RDONLY && pwrite(fd, wanted, RECORD, part * RECORD) != RECORD)
    return broken("writing", file);
  if (mode == O_WRONLY) return 0;
  if (pread(fd, got, RECORD, part * RECORD) != RECORD) return broken("reading", file);
  if (memcmp(wanted, got, RECORD) == 0) return 0;
  printf("not ok file %d part %d holds: %.60s\n", file, part, got);
  return 1;
}

static int hold(const char *directory, int files, int process, int ready, int go) {
  int *fds = malloc(files * sizeof *fds);
  char byte = 'r';
  for (int step = 0; step < files; step++) {
    int file = (step * 17 + process * 101) % files;
    fds[file] = open(place(directory, file, ""), mode_of(file, process) | O_CLOEXEC);
    if (fds[file] < 0) return broken("opening", file);
  }
  for (int round = 0; round < 2; round++) {
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) return broken("waiting", round);
    for (int file = 0; file < files; file++) {
      if (check(fds[file], file, process) != 0) return 1;
      struct stat st;
      if (fstat(fds[file], &st) != 0 || st.st_size != parts_of(file) * RECORD)
        return broken("the size", file);
    }
  }
  for (int file = 0; file < files; file++)
    if (close(fds[file]) != 0) return broken("closing", file);
  return 0;
}

static int open_all(const char *directory, int files, int processes) {
  int ready[2], go[2];
  char byte;
  if (files % 17 == 0) return broken("a number of files that 17 divides", files);
  if (pipe(ready) != 0 || pipe(go) != 0) return broken("pipe", 0);
  for (int process = 0; process < processes; process++)
    if (fork() == 0) {
      close(ready[0]);
      close(go[1]);
      exit(hold(directory, files, process, ready[1], go[0]));
    }
  close(ready[1]);
  close(go[0]);
  for (int round = 0; round < 2; round++) {
    for (int process = 0; process < processes; process++)
      if (read(ready[0], &byte, 1) != 1) return broken("a process that holds the files", process);
    if (round == 1) {
      char from[4096];
      for (int file = 0; file < files; file += 3) {
        strcpy(from, place(directory, file, ""));
        if (rename(from, place(directory, file, "-renamed")) != 0) return broken("renaming", file);
        if (file % 2 == 0 && unlink(place(directory, file, "-renamed")) != 0)
          return broken("unlinking", file);
      }
    }
    for (int process = 0; process < processes; process++)
      if (write(go[1], "g", 1) != 1) return broken("starting a process", process);
  }
  int failures = 0, end;
  while (waitpid(-1, &end, 0) > 0) failures += end != 0;
  return failures != 0;
}

int main(int count, char **arguments) {
  if (count == 4 && !strcmp(arguments[1], "make")) return make(arguments[2], atoi(arguments[3]));
  if (count == 5 && !strcmp(arguments[1], "open"))
    return open_all(arguments[2], atoi(arguments[3]), atoi(arguments[4]));
  fprintf(stderr, "usage: opener make DIRECTORY FILES | opener open DIRECTORY FILES PROCESSES\n");
  return 2;
}
