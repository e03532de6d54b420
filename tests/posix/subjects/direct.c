/* O_DIRECT, and its coherence with cached and mapped access. */
#include "../check.h"

enum { UNIT = 4096 };

static unsigned char *aligned(size_t length) {
  void *memory = NULL;
  must(posix_memalign(&memory, UNIT, length) == 0, "posix_memalign");
  return memory;
}

static void plain(void) {
  int fd = OK("O_DIRECT creates", open("d", O_CREAT | O_RDWR | O_DIRECT, 0644));
  unsigned char *out = aligned(2 * MIB), *in = aligned(2 * MIB);
  fill(out, 2 * MIB, 11);
  EQ("write of 4 KiB", UNIT, pwrite(fd, out, UNIT, 0));
  EQ("read of 4 KiB", UNIT, pread(fd, in, UNIT, 0));
  TRUE("the same bytes", memcmp(in, out, UNIT) == 0);
  EQ("write of 2 MiB", 2 * MIB, pwrite(fd, out, 2 * MIB, UNIT));
  EQ("size", 2 * MIB + UNIT, size_of("d"));
  EQ("read of 2 MiB", 2 * MIB, pread(fd, in, 2 * MIB, UNIT));
  TRUE("the same 2 MiB", memcmp(in, out, 2 * MIB) == 0);
  EQ("write beyond the end", UNIT, pwrite(fd, out, UNIT, 4 * MIB));
  EQ("size after it", 4 * MIB + UNIT, size_of("d"));
  EQ("read of the hole", UNIT, pread(fd, in, UNIT, 3 * MIB));
  TRUE("zeros", all_bytes(in, UNIT, 0));
  EQ("read at the end", 0, pread(fd, in, UNIT, 4 * MIB + UNIT));
  EQ("read across the end", UNIT, pread(fd, in, 2 * UNIT, 4 * MIB));
  OK("ftruncate to an odd size", ftruncate(fd, UNIT + 100));
  EQ("read across an odd end", UNIT + 100, pread(fd, in, 2 * UNIT, 0));
  struct iovec parts[2] = {{out, UNIT}, {out + UNIT, UNIT}};
  EQ("pwritev of two parts", 2 * UNIT, pwritev(fd, parts, 2, 0));
  EQ("the size after", 2 * UNIT, size_of("d"));
  OK("fsync", fsync(fd));
  close(fd);
  fd = OK("O_DIRECT with O_APPEND", open("d", O_WRONLY | O_DIRECT | O_APPEND));
  EQ("appending", UNIT, write(fd, out, UNIT));
  EQ("grows", 3 * UNIT, size_of("d"));
  close(fd);
  fd = OK("O_DIRECT with O_SYNC", open("d", O_WRONLY | O_DIRECT | O_SYNC));
  EQ("synchronous write", UNIT, pwrite(fd, out, UNIT, 0));
  close(fd);
  fd = open("d", O_RDWR);
  OK("F_SETFL gives O_DIRECT", fcntl(fd, F_SETFL, O_DIRECT));
  EQ("write with O_DIRECT set later", UNIT, pwrite(fd, out + UNIT, UNIT, 0));
  EQ("read with it", UNIT, pread(fd, in, UNIT, 0));
  TRUE("same bytes with it", memcmp(in, out + UNIT, UNIT) == 0);
  close(fd);
  free(out), free(in);
}

static void unaligned(void) {
  int fd = open("u", O_CREAT | O_RDWR | O_DIRECT, 0644);
  unsigned char *memory = aligned(4 * UNIT);
  memset(memory, 'u', 4 * UNIT);
  must(pwrite(fd, memory, 4 * UNIT, 0) == 4 * UNIT, "pwrite");
  TEXT("write at an odd offset", "EINVAL", OUTCOME(pwrite(fd, memory, UNIT, 10)));
  TEXT("write of an odd length", "EINVAL", OUTCOME(pwrite(fd, memory, 100, 0)));
  TEXT("read at an odd offset", "EINVAL", OUTCOME(pread(fd, memory, UNIT, 10)));
  TEXT("read of an odd length", "EINVAL", OUTCOME(pread(fd, memory, 100, 0)));
  TEXT("write from odd memory", "EINVAL", OUTCOME(pwrite(fd, memory + 1, UNIT, 0)));
  TEXT("read into odd memory", "EINVAL", OUTCOME(pread(fd, memory + 1, UNIT, 0)));
  OK("write of 512 bytes at 512", pwrite(fd, memory, 512, 512));
  OK("read of 512 bytes at 512", pread(fd, memory, 512, 512));
  close(fd);
}

static void coherence(void) {
  make("c", NULL, 0644);
  int direct = open("c", O_RDWR | O_DIRECT), cached = open("c", O_RDWR);
  unsigned char *buffer = aligned(4 * UNIT), byte;
  memset(buffer, 'a', 4 * UNIT);
  EQ("cached write", 4 * UNIT, pwrite(cached, buffer, 4 * UNIT, 0));
  memset(buffer, 0, 4 * UNIT);
  EQ("direct read", 4 * UNIT, pread(direct, buffer, 4 * UNIT, 0));
  TRUE("sees the cached write", all_bytes(buffer, 4 * UNIT, 'a'));
  memset(buffer, 'b', UNIT);
  EQ("direct write", UNIT, pwrite(direct, buffer, UNIT, UNIT));
  EQ("cached read", 1, pread(cached, &byte, 1, UNIT));
  EQ("sees the direct write", 'b', byte);
  EQ("cached read beside it", 1, pread(cached, &byte, 1, 2 * UNIT));
  EQ("sees what was", 'a', byte);
  unsigned char *map = mmap(NULL, 4 * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, cached, 0);
  TRUE("mapped page before", map[2 * UNIT] == 'a');
  memset(buffer, 'c', UNIT);
  EQ("direct write below a mapping", UNIT, pwrite(direct, buffer, UNIT, 2 * UNIT));
  TRUE("the mapping sees it", map[2 * UNIT] == 'c');
  map[3 * UNIT] = 'm';
  EQ("direct read of a dirty page", UNIT, pread(direct, buffer, UNIT, 3 * UNIT));
  EQ("sees the mapped byte", 'm', buffer[0]);
  EQ("direct write from a mapping of the file", UNIT, pwrite(direct, map, UNIT, 3 * UNIT));
  EQ("is right", 'a', map[3 * UNIT]);
  munmap(map, 4 * UNIT);
  close(direct);
  close(cached);
  void *mapped = mmap(NULL, UNIT, PROT_READ | PROT_WRITE, MAP_SHARED,
                      direct = open("c", O_RDWR | O_DIRECT), 0);
  TRUE("mmap of an O_DIRECT descriptor", mapped != MAP_FAILED);
  if (mapped != MAP_FAILED) {
    ((char *)mapped)[0] = 'D';
    OK("msync of it", msync(mapped, UNIT, MS_SYNC));
    TRUE("is seen", content("c")[0] == 'D');
    munmap(mapped, UNIT);
  }
  close(direct);
  free(buffer);
}

/* One process writes directly, another reads through the cache: never anything but whole units. */
static void processes(void) {
  make("p", NULL, 0644);
  int fd = open("p", O_RDWR | O_DIRECT);
  unsigned char *buffer = aligned(UNIT);
  memset(buffer, 1, UNIT);
  must(pwrite(fd, buffer, UNIT, 0) == UNIT, "pwrite");
  pid_t child = fork();
  if (child == 0) {
    int own = open("p", O_RDONLY);
    unsigned char last = 0, got[UNIT];
    while (last < 200) {
      if (pread(own, got, UNIT, 0) != UNIT || got[0] < last) _exit(1);
      last = got[0];
    }
    _exit(0);
  }
  for (int value = 2; value <= 200; value++) {
    memset(buffer, value, UNIT);
    must(pwrite(fd, buffer, UNIT, 0) == UNIT, "pwrite");
  }
  int end;
  waitpid(child, &end, 0);
  EQ("a cached reader never goes back in time behind a direct writer", 0, end);
  close(fd);
  free(buffer);
}

void subject_direct(void) {
  plain();
  unaligned();
  coherence();
  processes();
}
