/* mmap: shared and private, together with read, write, truncate, and between processes. */
#include "../check.h"

#include <setjmp.h>

enum { PAGE = 4096 };

static unsigned char *map(int fd, size_t length, int protection, int flags) {
  void *memory = mmap(NULL, length, protection, flags, fd, 0);
  must(memory != MAP_FAILED, "mmap");
  return memory;
}

static sigjmp_buf escape;
static void on_bus(int number) {
  (void)number;
  siglongjmp(escape, 1);
}

static bool faults(volatile unsigned char *byte, bool writing) {
  struct sigaction action = {.sa_handler = on_bus}, before;
  sigaction(SIGBUS, &action, &before);
  bool faulted = true;
  if (sigsetjmp(escape, 1) == 0) {
    if (writing) *byte = 1;
    else (void)*byte;
    faulted = false;
  }
  sigaction(SIGBUS, &before, NULL);
  return faulted;
}

static void coherence(void) {
  int fd = create("f", "0123456789", 0644);
  unsigned char *shared = map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  TRUE("the mapping shows the file", memcmp(shared, "0123456789", 10) == 0);
  TRUE("zeros behind the end", all_bytes(shared + 10, PAGE - 10, 0));
  EQ("write", 2, pwrite(fd, "AB", 2, 2));
  TRUE("is seen in the mapping", memcmp(shared, "01AB", 4) == 0);
  shared[0] = 'M';
  TEXT("a mapped byte is seen by read", "M1AB456789", content_of(fd));
  TEXT("and by another descriptor", "M1AB456789", content("f"));
  shared[10] = 'X';
  EQ("a byte behind the end does not grow the file", 10, size_of("f"));
  OK("msync", msync(shared, PAGE, MS_SYNC));
  OK("msync MS_ASYNC", msync(shared, PAGE, MS_ASYNC));
  OK("msync MS_INVALIDATE", msync(shared, PAGE, MS_INVALIDATE));
  OK("growing by ftruncate", ftruncate(fd, 20));
  EQ("what lay behind the end is zero", 0, ({
       unsigned char byte = 9;
       must(pread(fd, &byte, 1, 10) == 1, "pread");
       byte;
     }));
  unsigned char *private = map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  private[1] = 'P';
  TEXT("a private byte is not in the file", "M1AB456789", content_of(fd));
  TRUE("nor in the shared mapping", shared[1] == '1');
  EQ("write to a page that is private by now", 1, pwrite(fd, "Q", 1, 1));
  TRUE("the private copy stays", private[1] == 'P');
  TRUE("the shared one shows it", shared[1] == 'Q');
  munmap(private, PAGE);
  /* Writing from the file's own mapping, and reading into it. */
  OK("ftruncate to two pages", ftruncate(fd, 2 * PAGE));
  unsigned char *both = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  memset(both, 'w', PAGE);
  EQ("write from the file's own mapping", PAGE, pwrite(fd, both, PAGE, PAGE));
  TRUE("it arrived", all_bytes(both + PAGE, PAGE, 'w'));
  memset(both, 'v', 100);
  EQ("read into the file's own mapping", 100, pread(fd, both + PAGE, 100, 0));
  TRUE("that arrived too", all_bytes(both + PAGE, 100, 'v') && both[PAGE + 100] == 'w');
  munmap(both, 2 * PAGE);
  close(fd);
  shared[5] = 'C';
  TRUE("the mapping outlives the descriptor", content("f")[5] == 'C');
  OK("msync after close", msync(shared, PAGE, MS_SYNC));
  munmap(shared, PAGE);
}

static void beyond_the_end(void) {
  int fd = create("end", "x", 0644);
  must(ftruncate(fd, PAGE + 100) == 0, "ftruncate");
  unsigned char *memory = map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  TRUE("no fault in the last page", !faults(memory + PAGE + 200, false));
  TRUE("SIGBUS on reading a page beyond the end", faults(memory + 2 * PAGE, false));
  TRUE("SIGBUS on writing a page beyond the end", faults(memory + 3 * PAGE, true));
  OK("ftruncate up", ftruncate(fd, 3 * PAGE));
  TRUE("no fault after growing", !faults(memory + 2 * PAGE, true));
  OK("ftruncate down", ftruncate(fd, PAGE / 2));
  TRUE("SIGBUS after shrinking", faults(memory + PAGE, false));
  memory[PAGE / 2 + 1] = 'J';
  OK("ftruncate up again", ftruncate(fd, 2 * PAGE));
  TRUE("what lay behind the end reads as zero", memory[PAGE / 2 + 1] == 0);
  TRUE("what was cut away reads as zero", all_bytes(memory + PAGE / 2, PAGE, 0));
  EQ("write by descriptor where the fault was", 1, pwrite(fd, "k", 1, PAGE));
  TRUE("is seen", memory[PAGE] == 'k');
  munmap(memory, 4 * PAGE);
  close(fd);
}

static void protection(void) {
  make("ro", "readonly", 0644);
  int reader = open("ro", O_RDONLY), writer = open("ro", O_WRONLY), both = open("ro", O_RDWR);
  FAILS("shared writing of a read-only descriptor", EACCES,
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
  FAILS("mapping of a write-only descriptor", EACCES,
        mmap(NULL, PAGE, PROT_READ, MAP_SHARED, writer, 0));
  FAILS("private mapping of a write-only descriptor", EACCES,
        mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0));
  void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0);
  TRUE("private writing of a read-only descriptor", memory != MAP_FAILED);
  munmap(memory, PAGE);
  memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
  TRUE("shared reading of a read-only descriptor", memory != MAP_FAILED);
  FAILS("mprotect for writing", EACCES, mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
  munmap(memory, PAGE);
  memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, both, 0);
  OK("mprotect for writing, of O_RDWR", mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
  ((char *)memory)[0] = 'W';
  TEXT("and it writes", "Weadonly", content("ro"));
  munmap(memory, PAGE);
  FAILS("an odd offset", EINVAL, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, both, 100));
  FAILS("MAP_SYNC without DAX", EOPNOTSUPP,
        mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, both, 0));
  memory = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, both, 0);
  TRUE("mapping for execution", memory != MAP_FAILED);
  munmap(memory, PAGE);
  FAILS("msync of memory that is not mapped", ENOMEM, msync((void *)(64 * MIB), PAGE, MS_SYNC));
  close(reader), close(writer), close(both);
}

static void processes(void) {
  int fd = create("between", NULL, 0644);
  must(ftruncate(fd, 64 * PAGE) == 0, "ftruncate");
  volatile unsigned char *memory = map(fd, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  pid_t child = fork();
  if (child == 0) {
    int own = open("between", O_RDWR);
    volatile unsigned char *mine = map(own, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (int page = 0; page < 64; page++) {
      while (mine[page * PAGE] != 'q') continue;
      mine[page * PAGE + 1] = 'a';
    }
    _exit(0);
  }
  for (int page = 0; page < 64; page++) {
    memory[page * PAGE] = 'q';
    while (memory[page * PAGE + 1] != 'a')
      if (waitpid(child, NULL, WNOHANG) == child) break;
  }
  int end = 0;
  waitpid(child, &end, 0);
  bool right = true;
  for (int page = 0; page < 64; page++) {
    unsigned char pair[2];
    right = right && pread(fd, pair, 2, page * PAGE) == 2 && pair[0] == 'q' && pair[1] == 'a';
  }
  TRUE("two processes talk through 64 mapped pages, and read sees it", right);
  close(fd);
}

static void large(void) {
  enum { SIZE = 24 * 1024 * 1024 };
  int fd = create("large", NULL, 0644);
  must(ftruncate(fd, SIZE) == 0, "ftruncate");
  unsigned char *memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
  fill(memory, SIZE, 3);
  OK("msync of 24 MiB", msync(memory, SIZE, MS_SYNC));
  munmap(memory, SIZE);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  unsigned char *wanted = malloc(SIZE), *got = malloc(SIZE);
  fill(wanted, SIZE, 3);
  EQ("read of 24 MiB", SIZE, pread(fd, got, SIZE, 0));
  TRUE("is what was mapped", memcmp(wanted, got, SIZE) == 0);
  memory = map(fd, SIZE, PROT_READ, MAP_PRIVATE);
  TRUE("a new mapping agrees", memcmp(wanted, memory, SIZE) == 0);
  munmap(memory, SIZE);
  memory = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
  OK("MADV_REMOVE punches a hole", madvise(memory + MIB, MIB, MADV_REMOVE));
  TRUE("it reads as zeros", all_bytes(memory + MIB, MIB, 0));
  EQ("and by descriptor", MIB, pread(fd, got, MIB, MIB));
  TRUE("as zeros", all_bytes(got, MIB, 0));
  OK("MADV_DONTNEED drops pages", madvise(memory, MIB, MADV_DONTNEED));
  TRUE("which come back", memcmp(memory, wanted, MIB) == 0);
  unsigned char *moved = mremap(memory, SIZE, SIZE / 2, 0);
  TRUE("mremap", moved == memory);
  munmap(memory, SIZE / 2);
  close(fd);
  free(wanted), free(got);
}

static void times(void) {
  int fd = create("time", "0123456789", 0644);
  struct timespec old[2] = {{1000, 0}, {1000, 0}};
  unsigned char *memory = map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  futimens(fd, old);
  memory[0] = 'T';
  OK("msync of one byte", msync(memory, PAGE, MS_SYNC));
  fsync(fd);
  struct stat st = status("time");
  TRUE("a mapped write and msync move the data time", st.st_mtim.tv_sec > 1000);
  munmap(memory, PAGE);
  close(fd);
  struct stat again = status("time");
  TRUE("and it stays after close", compare_times(again.st_mtim, st.st_mtim) == 0);
}

void subject_mapped(void) {
  coherence();
  beyond_the_end();
  protection();
  processes();
  large();
  times();
}
