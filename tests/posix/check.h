/*
 * The frame of the conformance suite: named checks, other users, helpers.
 *
 * A subject is a function that runs in a process of its own, with a fresh empty directory as its
 * working directory, umask 022, as root. Every check has a name that is unique in the whole run, so
 * that two runs (plain directory, mirror) can be compared line by line.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Users and groups that need no entry in /etc/passwd. */
enum { ALICE = 20001, BOB = 20002, TEAM = 30001, CLUB = 30002 };

#define KIB 1024LL
#define MIB (1024LL * KIB)
#define GIB (1024LL * MIB)

struct subject {
  const char *name;
  void (*run)(void);
};

extern const struct subject subjects[];

/* Shared by every process of a run. */
struct tally {
  long passed;
  long failed;
};
extern struct tally *tally;
extern const char *current_subject;

/* Formats a name into one of several static buffers, so that a few may live at the same time. */
const char *named(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *error_name(int error);

long long report_ok(const char *name, long long result, int error);
long long report_fails(const char *name, int expected, long long result, int error);
void report_number(const char *name, long long expected, long long seen);
void report_octal(const char *name, unsigned expected, unsigned seen);
void report_text(const char *name, const char *expected, const char *seen);
void report_true(const char *name, bool holds, const char *condition);
/* A value that this suite does not judge, but that must not depend on the file system. */
void note(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The call must return something other than -1; its value is the macro's. */
#define OK(name, call)                                                                             \
  ({                                                                                               \
    errno = 0;                                                                                     \
    long long ok_result_ = (long long)(call);                                                      \
    report_ok((name), ok_result_, errno);                                                          \
  })
/* The call must return -1 with this errno. */
#define FAILS(name, expected, call)                                                                \
  ({                                                                                               \
    errno = 0;                                                                                     \
    long long fails_result_ = (long long)(call);                                                   \
    report_fails((name), (expected), fails_result_, errno);                                        \
  })
/* Success or an errno, as text, for tables of expectations: "ok" or "EEXIST". */
#define OUTCOME(call)                                                                              \
  ({                                                                                               \
    errno = 0;                                                                                     \
    long long outcome_result_ = (long long)(call);                                                 \
    outcome_result_ == -1 ? error_name(errno) : "ok";                                              \
  })
#define EQ(name, expected, seen) report_number((name), (long long)(expected), (long long)(seen))
#define OCTAL(name, expected, seen) report_octal((name), (unsigned)(expected), (unsigned)(seen))
#define TEXT(name, expected, seen) report_text((name), (expected), (seen))
#define TRUE(name, condition) report_true((name), (condition), #condition)

/*
 * AS(user, group) { ... } runs the block in a child process with these ids and no other group,
 * AS_MEMBER adds one supplementary group, FORKED only forks. The parent waits for the child.
 */
bool become(int user, int group, int extra);
bool leave(void);
#define AS(user, group) for (bool as_ = become((user), (group), -1); as_; as_ = leave())
#define AS_MEMBER(user, group, extra)                                                              \
  for (bool as_ = become((user), (group), (extra)); as_; as_ = leave())
#define FORKED for (bool as_ = become(-1, -1, -1); as_; as_ = leave())

/* Helpers of which every subject wants some; they end the subject when they cannot do their work. */
void must(bool holds, const char *what);
int create(const char *path, const char *content, mode_t mode);
void make(const char *path, const char *content, mode_t mode);
void directory(const char *path, mode_t mode);
void remove_tree(const char *path);
struct stat status(const char *path);
bool exists(const char *path);
unsigned mode_of(const char *path);
long long size_of(const char *path);
long long links_of(const char *path);
/* The file's content as text, "" when it is empty, "<error>" when it cannot be read. */
const char *content(const char *path);
const char *content_of(int fd);
void fill(unsigned char *bytes, size_t length, unsigned seed);
bool all_bytes(const unsigned char *bytes, size_t length, unsigned char value);
/* Waits until the file system's clock gives a change time later than any given before. */
void tick(void);
int compare_times(struct timespec a, struct timespec b);

#endif
