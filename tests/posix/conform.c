/*
 * POSIX conformance of a directory.
 *
 *   conform DIRECTORY [--only SUBJECT]... [--list] [--keep]
 *
 * Runs every subject (or those named) below DIRECTORY, which must be reachable for any user, and
 * prints a line a check: `ok SUBJECT/NAME`, or `not ok SUBJECT/NAME: expected X, seen Y`. Needs root.
 * Exit: 0 everything ok, 1 something not, 2 usage. `--keep` leaves the subjects' directories behind,
 * so that a mirror's two sides can be compared.
 */
#include "check.h"

#include <sys/prctl.h>

/* A subject that takes longer than this hangs: the longest needs a few seconds on a plain disk. */
enum { DEADLINE_SECONDS = 240, GRACE_SECONDS = 10 };

struct tally *tally;
const char *current_subject;

static void run_subject(const struct subject *subject) {
  current_subject = subject->name;
  fflush(stdout);
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    remove_tree(subject->name);
    if (mkdir(subject->name, 0777) != 0 || chmod(subject->name, 0777) != 0 ||
        chdir(subject->name) != 0)
      must(false, "a fresh directory for the subject");
    subject->run();
    fflush(stdout);
    exit(0);
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  bool killed = false;
  for (;;) {
    int end = 0;
    pid_t got = waitpid(child, &end, WNOHANG);
    if (got == child) {
      bool clean = WIFEXITED(end) && WEXITSTATUS(end) == 0;
      if (!clean) {
        __atomic_add_fetch(&tally->failed, 1, __ATOMIC_RELAXED);
        printf("not ok %s/runs to its end: expected exit 0, seen %s %d\n", subject->name,
               WIFSIGNALED(end) ? "signal" : "exit",
               WIFSIGNALED(end) ? WTERMSIG(end) : WEXITSTATUS(end));
      }
      kill(-child, SIGKILL); /* children that the subject lost */
      return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    long elapsed = now.tv_sec - start.tv_sec;
    if (elapsed >= DEADLINE_SECONDS && !killed) {
      killed = true;
      kill(-child, SIGKILL);
    }
    if (elapsed >= DEADLINE_SECONDS + GRACE_SECONDS) {
      __atomic_add_fetch(&tally->failed, 1, __ATOMIC_RELAXED);
      printf("not ok %s/runs to its end: expected exit 0, seen a hang that survives SIGKILL\n",
             subject->name);
      return;
    }
    struct timespec wait = {1, 0};
    sigtimedwait(&set, NULL, &wait);
  }
}

int main(int count, char **arguments) {
  const char *only[64] = {0};
  int wanted = 0;
  bool keep = false;
  const char *target = NULL;
  for (int i = 1; i < count; i++) {
    if (strcmp(arguments[i], "--list") == 0) {
      for (const struct subject *s = subjects; s->name; s++) puts(s->name);
      return 0;
    }
    if (strcmp(arguments[i], "--keep") == 0) keep = true;
    else if (strcmp(arguments[i], "--only") == 0 && i + 1 < count && wanted < 64)
      only[wanted++] = arguments[++i];
    else if (!target && arguments[i][0] != '-') target = arguments[i];
    else target = "";
  }
  if (!target || !*target || geteuid() != 0) {
    fprintf(stderr, "usage (as root): conform DIRECTORY [--only SUBJECT]... [--list] [--keep]\n");
    return 2;
  }
  if (chdir(target) != 0) {
    perror(target);
    return 2;
  }
  tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  umask(022);
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (const struct subject *s = subjects; s->name; s++) {
    bool run = wanted == 0;
    for (int i = 0; i < wanted; i++) run = run || strcmp(only[i], s->name) == 0;
    if (!run) continue;
    run_subject(s);
    if (!keep) remove_tree(s->name);
  }
  printf("# %ld ok, %ld not ok\n", tally->passed, tally->failed);
  return tally->failed ? 1 : 0;
}
