/* Locks between processes: fcntl, open file description locks, flock, leases. */
#include "../check.h"

#include <sys/file.h>

static struct flock range(short type, off_t from, off_t length) {
  return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
}
static long lock(int fd, short type, off_t from, off_t length) {
  struct flock lock_ = range(type, from, length);
  return fcntl(fd, F_SETLK, &lock_);
}
static long lock_ofd(int fd, short type, off_t from, off_t length) {
  struct flock lock_ = range(type, from, length);
  return fcntl(fd, F_OFD_SETLK, &lock_);
}

/* What another process finds: the type of the first lock in its way, as fcntl gives it. */
static void other_sees(const char *name, short wanted, off_t from, off_t length, pid_t owner) {
  FORKED {
    int fd = open("f", O_RDWR);
    struct flock found = range(F_WRLCK, from, length);
    must(fcntl(fd, F_GETLK, &found) == 0, "F_GETLK");
    EQ(name, wanted, found.l_type);
    if (wanted != F_UNLCK) TRUE(named("%s, by its owner", name), found.l_pid == owner);
  }
}

static void records(void) {
  int fd = create("f", "0123456789", 0644);
  OK("a write lock", lock(fd, F_WRLCK, 0, 100));
  other_sees("another process sees it", F_WRLCK, 50, 10, getpid());
  other_sees("but not beside it", F_UNLCK, 100, 10, 0);
  FORKED {
    int own = open("f", O_RDWR);
    FAILS("another write lock", EAGAIN, lock(own, F_WRLCK, 99, 1));
    FAILS("a read lock below a write lock", EAGAIN, lock(own, F_RDLCK, 0, 1));
    OK("a lock beside it", lock(own, F_WRLCK, 100, 50));
  }
  other_sees("which went with its process", F_UNLCK, 100, 50, 0);
  OK("unlocking the middle", lock(fd, F_UNLCK, 40, 20));
  other_sees("the middle is free", F_UNLCK, 40, 20, 0);
  other_sees("the left is held", F_WRLCK, 39, 1, getpid());
  other_sees("the right is held", F_WRLCK, 60, 1, getpid());
  OK("changing a part to reading", lock(fd, F_RDLCK, 60, 10));
  FORKED {
    int own = open("f", O_RDWR);
    OK("two readers", lock(own, F_RDLCK, 60, 10));
    FAILS("a writer beside readers", EAGAIN, lock(own, F_WRLCK, 60, 10));
  }
  close(open("f", O_RDONLY));
  other_sees("closing any descriptor drops the process's locks", F_UNLCK, 0, 100, 0);
  OK("a lock to the end of everything", lock(fd, F_WRLCK, 5, 0));
  other_sees("reaches far", F_WRLCK, 1 * GIB, 1, getpid());
  OK("all unlocked", lock(fd, F_UNLCK, 0, 0));
  int reader = open("f", O_RDONLY), writer = open("f", O_WRONLY);
  FAILS("a write lock by a reader", EBADF, lock(reader, F_WRLCK, 0, 1));
  FAILS("a read lock by a writer", EBADF, lock(writer, F_RDLCK, 0, 1));
  FAILS("a lock at a negative offset", EINVAL, lock(fd, F_WRLCK, -5, 1));
  close(reader);
  close(writer);
  /* Waiting for a lock. */
  OK("a lock to wait for", lock(fd, F_WRLCK, 0, 10));
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    int own = open("f", O_RDWR);
    struct flock wanted = range(F_WRLCK, 0, 10);
    (void)!write(ready[1], "r", 1);
    if (fcntl(own, F_SETLKW, &wanted) != 0) _exit(1);
    _exit(pwrite(own, "W", 1, 0) == 1 ? 0 : 2);
  }
  char byte;
  must(read(ready[0], &byte, 1) == 1, "the child is about to wait");
  pwrite(fd, "P", 1, 0);
  lock(fd, F_UNLCK, 0, 10);
  int end;
  waitpid(child, &end, 0);
  EQ("the waiting process gets the lock", 0, end);
  TEXT("after the first had written", "W123456789", content("f"));
  /* Two processes that wait for each other. */
  int up[2], down[2];
  must(pipe(up) == 0 && pipe(down) == 0, "pipes");
  OK("the first of two locks", lock(fd, F_WRLCK, 0, 1));
  child = fork();
  if (child == 0) {
    int own = open("f", O_RDWR);
    if (lock(own, F_WRLCK, 1, 1) != 0) _exit(1);
    (void)!write(up[1], "1", 1);
    struct flock wanted = range(F_WRLCK, 0, 1);
    fcntl(own, F_SETLKW, &wanted); /* waits; or is the one told of the deadlock */
    _exit(0);
  }
  must(read(up[0], &byte, 1) == 1, "the child has its lock");
  struct flock wanted = range(F_WRLCK, 1, 1);
  long result = fcntl(fd, F_SETLKW, &wanted);
  TRUE("a deadlock is noticed", result == 0 || errno == EDEADLK);
  lock(fd, F_UNLCK, 0, 0);
  waitpid(child, &end, 0);
  close(fd);
  close(ready[0]), close(ready[1]), close(up[0]), close(up[1]), close(down[0]), close(down[1]);
}

static void descriptions(void) {
  int one = open("f", O_RDWR), two = open("f", O_RDWR);
  OK("an OFD lock", lock_ofd(one, F_WRLCK, 0, 10));
  FAILS("another description of the same process", EAGAIN, lock_ofd(two, F_WRLCK, 5, 1));
  FAILS("a process lock against it", EAGAIN, lock(two, F_WRLCK, 0, 1));
  int copy = dup(one);
  OK("a duplicate shares it", lock_ofd(copy, F_WRLCK, 0, 10));
  close(one);
  FAILS("it lives until the last duplicate", EAGAIN, lock_ofd(two, F_WRLCK, 5, 1));
  close(copy);
  OK("and ends with it", lock_ofd(two, F_WRLCK, 5, 1));
  FORKED OK("a child that inherits it", lock_ofd(two, F_WRLCK, 5, 1));
  struct flock found = range(F_WRLCK, 0, 100);
  int three = open("f", O_RDWR);
  OK("F_OFD_GETLK", fcntl(three, F_OFD_GETLK, &found));
  EQ("finds a lock", F_WRLCK, found.l_type);
  EQ("that belongs to no process", -1, found.l_pid);
  close(three);
  close(two);
}

static void whole_files(void) {
  int one = open("f", O_RDONLY), two = open("f", O_RDONLY);
  OK("flock exclusive", flock(one, LOCK_EX | LOCK_NB));
  FAILS("flock by another description", EWOULDBLOCK, flock(two, LOCK_EX | LOCK_NB));
  FAILS("flock shared against exclusive", EWOULDBLOCK, flock(two, LOCK_SH | LOCK_NB));
  OK("to shared", flock(one, LOCK_SH | LOCK_NB));
  OK("two shared", flock(two, LOCK_SH | LOCK_NB));
  FAILS("to exclusive beside shared", EWOULDBLOCK, flock(one, LOCK_EX | LOCK_NB));
  OK("unlock", flock(two, LOCK_UN));
  FORKED {
    int own = open("f", O_RDONLY);
    OK("shared by another process", flock(own, LOCK_SH | LOCK_NB));
  }
  OK("flock exclusive again", flock(one, LOCK_EX | LOCK_NB));
  FORKED {
    int own = open("f", O_RDONLY);
    FAILS("exclusive by another process", EWOULDBLOCK, flock(own, LOCK_EX | LOCK_NB));
    OK("the inherited descriptor has it", flock(one, LOCK_EX | LOCK_NB));
  }
  OK("flock and fcntl do not meet", ({
       int own = open("f", O_RDWR);
       long locked = lock(own, F_WRLCK, 0, 0);
       close(own);
       locked;
     }));
  close(one);
  OK("closing frees it", flock(two, LOCK_EX | LOCK_NB));
  close(two);
  directory("d", 0755);
  int dir = open("d", O_RDONLY | O_DIRECTORY);
  OK("flock of a directory", flock(dir, LOCK_EX | LOCK_NB));
  close(dir);
  /* A waiting flock. */
  one = open("f", O_RDONLY);
  flock(one, LOCK_EX);
  int ready[2];
  must(pipe(ready) == 0, "pipe");
  pid_t child = fork();
  if (child == 0) {
    close(one);
    int own = open("f", O_RDONLY);
    (void)!write(ready[1], "r", 1);
    _exit(flock(own, LOCK_EX) == 0 ? 0 : 1);
  }
  char byte;
  must(read(ready[0], &byte, 1) == 1, "the child is about to wait");
  flock(one, LOCK_UN);
  int end;
  waitpid(child, &end, 0);
  EQ("a waiting flock is granted", 0, end);
  close(one), close(ready[0]), close(ready[1]);
}

/* Locks keep counters right: the usual read, add one, write. */
static void counting(void) {
  enum { PROCESSES = 4, ROUNDS = 150 };
  long zero = 0;
  int fd = create("counter", NULL, 0644);
  must(pwrite(fd, &zero, sizeof zero, 0) == sizeof zero, "pwrite");
  for (int kind = 0; kind < 3; kind++)
    for (int process = 0; process < PROCESSES; process++)
      if (fork() == 0) {
        int own = open("counter", O_RDWR);
        for (int i = 0; i < ROUNDS; i++) {
          struct flock held = range(F_WRLCK, 0, 8);
          if (kind == 0 && fcntl(own, F_SETLKW, &held) != 0) _exit(1);
          if (kind == 1 && fcntl(own, F_OFD_SETLKW, &held) != 0) _exit(1);
          if (kind == 2 && flock(own, LOCK_EX) != 0) _exit(1);
          long value;
          if (pread(own, &value, sizeof value, kind * 64) != sizeof value) value = 0;
          value++;
          if (pwrite(own, &value, sizeof value, kind * 64) != sizeof value) _exit(2);
          held.l_type = F_UNLCK;
          if (kind == 0) fcntl(own, F_SETLK, &held);
          if (kind == 1) fcntl(own, F_OFD_SETLK, &held);
          if (kind == 2) flock(own, LOCK_UN);
        }
        _exit(0);
      }
  int failures = 0, end;
  while (waitpid(-1, &end, 0) > 0) failures += end != 0;
  EQ("counting processes", 0, failures);
  static const char *const kinds[] = {"fcntl", "OFD", "flock"};
  for (int kind = 0; kind < 3; kind++) {
    long value = 0;
    pread(fd, &value, sizeof value, kind * 64);
    EQ(named("a counter under %s locks", kinds[kind]), (long)PROCESSES * ROUNDS, value);
  }
  close(fd);
}

static void leases(void) {
  make("lease", "x", 0644);
  int fd = open("lease", O_RDONLY);
  TEXT("F_SETLEASE for reading", "ok", OUTCOME(fcntl(fd, F_SETLEASE, F_RDLCK)));
  EQ("F_GETLEASE", F_RDLCK, fcntl(fd, F_GETLEASE));
  TEXT("F_SETLEASE off", "ok", OUTCOME(fcntl(fd, F_SETLEASE, F_UNLCK)));
  close(fd);
  fd = open("lease", O_RDWR);
  TEXT("F_SETLEASE for writing", "ok", OUTCOME(fcntl(fd, F_SETLEASE, F_WRLCK)));
  FORKED FAILS("a non-blocking open breaks it", EWOULDBLOCK, open("lease", O_RDONLY | O_NONBLOCK));
  fcntl(fd, F_SETLEASE, F_UNLCK);
  close(fd);
}

void subject_locks(void) {
  signal(SIGIO, SIG_IGN);
  records();
  descriptions();
  whole_files();
  counting();
  leases();
}
