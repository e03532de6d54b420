/*
 * Random operations on one file against a model in memory.
 *
 *   exerciser FILE [--seed N] [--operations N] [--size BYTES] [--check-from N] [--trace] [--keep]
 *
 * Reads, writes, maps, truncates, allocates, punches, copies through three descriptors (cached,
 * direct, appending) and a shared mapping; after each operation the size, and regularly every byte by
 * every way of reading, must be the model's. The same seed makes the same operations: a failure
 * prints the operations that led to it and the line that replays it. `--check-from` leaves out all
 * comparisons before an operation. What the file system does not support (found out by trying it once
 * before) is left out without changing the rest. Exit: 0 all the same, 1 a difference, 2 usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { UNIT = 4096, HISTORY = 64 };

static const char *path;
static uint64_t seed = 1;
static long operations = 20000, current, check_from;
static size_t room = 768 * 1024;
static bool trace;

static unsigned char *model, *scratch, *map;
static size_t size;
static int cached = -1, direct = -1, appending = -1, outside = -1, ends[2];
static char history[HISTORY][120];
static long remembered;

/* splitmix64: a state of one word, so that a seed says everything. */
static uint64_t chance(uint64_t below) {
  uint64_t z = (seed += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) % below;
}

static uint64_t first_seed;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("not ok %s: operation %ld: ", path, current);
  vprintf(format, arguments);
  printf("\nthe last operations:\n");
  for (long i = remembered > HISTORY ? remembered - HISTORY : 0; i < remembered; i++)
    printf("  %s\n", history[i % HISTORY]);
  printf("replay: exerciser FILE --seed %llu --operations %ld --size %zu --check-from %ld\n",
         (unsigned long long)first_seed, current + 1, room, current);
  exit(1);
}

static void told(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void told(const char *format, ...) {
  char *line = history[remembered++ % HISTORY];
  int length = snprintf(line, sizeof history[0], "%ld: ", current);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line + length, sizeof history[0] - length, format, arguments);
  if (trace) puts(line);
}

static void expect(long got, long wanted, const char *what) {
  if (got != wanted)
    fail("%s: expected %ld, seen %ld%s%s", what, wanted, got, got < 0 ? " " : "",
         got < 0 ? strerrorname_np(errno) : "");
}

static void compare(const unsigned char *got, size_t from, size_t length, const char *what) {
  if (current < check_from || memcmp(got, model + from, length) == 0) return;
  size_t at = 0;
  while (got[at] == model[from + at]) at++;
  size_t wrong = at;
  while (wrong < length && got[wrong] != model[from + wrong]) wrong++;
  fail("%s: byte %zu is 0x%02x, expected 0x%02x (%zu bytes differ from there, size %zu)", what,
       from + at, got[at], model[from + at], wrong - at, size);
}

static void open_all(void) {
  cached = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
  appending = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (cached < 0 || appending < 0) fail("open: %s", strerrorname_np(errno));
  map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, cached, 0);
  if (map == MAP_FAILED) fail("mmap: %s", strerrorname_np(errno));
}

static void close_all(void) {
  munmap(map, room);
  close(cached);
  close(appending);
  if (direct >= 0) close(direct);
}

/* A range that begins below `limit`, mostly short, at times on unit edges. */
static void some_range(size_t limit, size_t *from, size_t *length) {
  *from = limit ? chance(limit) : 0;
  *length = 1 + chance(chance(4) == 0 ? 128 * 1024 : chance(2) ? 9000 : 300);
  if (chance(4) == 0) *from -= *from % UNIT;
  if (chance(4) == 0) *length += UNIT - *length % UNIT;
  if (*from + *length > room) *length = room - *from;
}

static void grow(size_t to) {
  if (to <= size) return;
  memset(model + size, 0, to - size);
  size = to;
}

static void invent(size_t length) {
  uint64_t letters = chance(UINT64_MAX);
  for (size_t i = 0; i < length; i++) scratch[i] = (unsigned char)((letters >> (i % 8 * 8)) + i / 8);
}

static void written(size_t from, size_t length) {
  grow(from + length);
  memcpy(model + from, scratch, length);
}

static void op_write(void) {
  size_t from, length;
  some_range(chance(3) ? size + 1 : room, &from, &length);
  if (length == 0) return;
  told("write %zu+%zu", from, length);
  invent(length);
  if (chance(3) == 0 && length > 2) {
    size_t first = 1 + chance(length - 1);
    struct iovec parts[2] = {{scratch, first}, {scratch + first, length - first}};
    int flags = chance(8) == 0 ? RWF_DSYNC : 0;
    expect(pwritev2(cached, parts, 2, from, flags), length, "pwritev2");
  } else expect(pwrite(cached, scratch, length, from), length, "pwrite");
  written(from, length);
}

static void op_append(void) {
  size_t from = size, length = 1 + chance(5000);
  if (from + length > room) return;
  told("append %zu+%zu", from, length);
  invent(length);
  expect(write(appending, scratch, length), length, "append");
  written(from, length);
}

static void op_direct_write(void) {
  size_t from = chance(room / UNIT) * UNIT, length = (1 + chance(16)) * UNIT;
  if (direct < 0 || from + length > room) return;
  told("direct write %zu+%zu", from, length);
  invent(length);
  expect(pwrite(direct, scratch, length, from), length, "direct pwrite");
  written(from, length);
}

static void op_mapped_write(void) {
  size_t from, length;
  if (size == 0) return;
  some_range(size, &from, &length);
  if (from + length > size) length = size - from;
  told("mapped write %zu+%zu", from, length);
  invent(length);
  memcpy(map + from, scratch, length);
  memcpy(model + from, scratch, length);
  if (chance(6) == 0) expect(msync(map, room - room % UNIT, MS_SYNC), 0, "msync");
}

static void op_read(void) {
  size_t from, length;
  some_range(room, &from, &length);
  size_t wanted = from >= size ? 0 : from + length > size ? size - from : length;
  told("read %zu+%zu", from, length);
  expect(pread(cached, scratch, length, from), wanted, "pread");
  compare(scratch, from, wanted, "pread");
}

static void op_direct_read(void) {
  size_t from = chance(room / UNIT) * UNIT, length = (1 + chance(32)) * UNIT;
  if (direct < 0) return;
  if (from + length > room) length = room - from;
  size_t wanted = from >= size ? 0 : from + length > size ? size - from : length;
  told("direct read %zu+%zu", from, length);
  expect(pread(direct, scratch, length, from), wanted, "direct pread");
  compare(scratch, from, wanted, "direct pread");
}

static void op_mapped_read(void) {
  size_t from, length;
  if (size == 0) return;
  some_range(size, &from, &length);
  if (from + length > size) length = size - from;
  told("mapped read %zu+%zu", from, length);
  compare(map + from, from, length, "mapped read");
}

static void op_truncate(void) {
  size_t to = chance(3) == 0 ? chance(room) : size ? chance(size + 1) : 0;
  if (chance(5) == 0) to -= to % UNIT;
  told("truncate %zu", to);
  if (chance(2)) expect(ftruncate(cached, to), 0, "ftruncate");
  else expect(truncate(path, to), 0, "truncate");
  if (to > size) grow(to);
  size = to;
}

static bool supported[128];

static void op_allocate(void) {
  static const int modes[] = {0,
                              FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_ZERO_RANGE,
                              FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_COLLAPSE_RANGE,
                              FALLOC_FL_INSERT_RANGE};
  int mode = modes[chance(sizeof modes / sizeof *modes)];
  size_t from, length;
  some_range(room, &from, &length);
  if (length == 0) return;
  if (mode == FALLOC_FL_COLLAPSE_RANGE || mode == FALLOC_FL_INSERT_RANGE) {
    from -= from % UNIT;
    length += UNIT - length % UNIT;
    if (mode == FALLOC_FL_COLLAPSE_RANGE && from + length >= size) return;
    if (mode == FALLOC_FL_INSERT_RANGE && (from >= size || size + length > room)) return;
  }
  if (!supported[mode]) return;
  told("fallocate 0x%x %zu+%zu", mode, from, length);
  expect(fallocate(cached, mode, from, length), 0, "fallocate");
  size_t end = from + length, inside = end < size ? end : size;
  if (mode == 0) grow(end);
  if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
    if (from < inside) memset(model + from, 0, inside - from);
    if (mode == FALLOC_FL_ZERO_RANGE) grow(end);
  }
  if (mode == FALLOC_FL_COLLAPSE_RANGE) {
    memmove(model + from, model + end, size - end);
    size -= length;
  }
  if (mode == FALLOC_FL_INSERT_RANGE) {
    memmove(model + end, model + from, size - from);
    memset(model + from, 0, length);
    size += length;
  }
}

static void op_copy_range(void) {
  size_t from, length, to;
  if (size < 2) return;
  some_range(size, &from, &length);
  if (from + length > size) length = size - from;
  to = chance(room);
  if (to + length > room || (to < from + length && from < to + length)) return;
  told("copy_file_range %zu+%zu to %zu", from, length, to);
  loff_t in = from, out = to;
  for (size_t left = length; left > 0;) {
    ssize_t part = copy_file_range(cached, &in, cached, &out, left, 0);
    if (part <= 0) fail("copy_file_range: %s", part ? strerrorname_np(errno) : "nothing copied");
    left -= part;
  }
  memcpy(scratch, model + from, length);
  written(to, length);
}

static void op_splice(void) {
  size_t from, length;
  some_range(size + 1, &from, &length);
  if (length == 0) return;
  if (length > 16 * UNIT) length = 16 * UNIT;
  told("splice %zu+%zu", from, length);
  invent(length);
  loff_t in = 0, out = from;
  expect(pwrite(outside, scratch, length, 0), length, "write outside");
  for (size_t left = length; left > 0;) {
    ssize_t moved = splice(outside, &in, ends[1], NULL, left, 0);
    if (moved <= 0) fail("splice to a pipe: %s", strerrorname_np(errno));
    left -= moved;
    while (moved > 0) {
      ssize_t part = splice(ends[0], NULL, cached, &out, moved, 0);
      if (part <= 0) fail("splice to the file: %s", part ? strerrorname_np(errno) : "nothing");
      moved -= part;
    }
  }
  written(from, length);
}

static void op_sync(void) {
  int kind = chance(4);
  told("sync %d", kind);
  if (kind == 0) expect(fsync(cached), 0, "fsync");
  if (kind == 1) expect(fdatasync(cached), 0, "fdatasync");
  if (kind == 2) expect(msync(map, room - room % UNIT, MS_SYNC), 0, "msync");
  if (kind == 3) expect(posix_fadvise(cached, 0, 0, POSIX_FADV_DONTNEED), 0, "posix_fadvise");
}

static void op_reopen(void) {
  told("reopen");
  close_all();
  open_all();
}

/* Every byte by every way; and no byte of data in what SEEK_HOLE calls a hole. */
static void check_all(void) {
  told("check, size %zu", size);
  if (current < check_from) return;
  expect(pread(cached, scratch, room, 0), size, "pread of everything");
  compare(scratch, 0, size, "pread of everything");
  compare(map, 0, size, "mapping of everything");
  if (direct >= 0) {
    expect(pread(direct, scratch, room, 0), size, "direct pread of everything");
    compare(scratch, 0, size, "direct pread of everything");
  }
  size_t at = 0;
  while (at < size) {
    off_t data = lseek(cached, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) data = size;
    if (data < (off_t)at) fail("SEEK_DATA from %zu: %ld", at, (long)data);
    for (size_t i = at; i < (size_t)data; i++)
      if (model[i]) fail("SEEK_DATA from %zu skips to %ld over data at %zu", at, (long)data, i);
    if (data >= (off_t)size) break;
    off_t hole = lseek(cached, data, SEEK_HOLE);
    if (hole <= data || hole > (off_t)size) fail("SEEK_HOLE from %ld: %ld", (long)data, (long)hole);
    at = hole;
  }
}

static const struct {
  void (*run)(void);
  int weight;
} table[] = {{op_write, 20},       {op_append, 5},       {op_direct_write, 8},
             {op_mapped_write, 15}, {op_read, 12},        {op_direct_read, 6},
             {op_mapped_read, 10}, {op_truncate, 8},     {op_allocate, 14},
             {op_copy_range, 5},   {op_splice, 3},       {op_sync, 5},
             {op_reopen, 2},       {check_all, 3}};

static void find_support(void) {
  static const int modes[] = {0, 1, 3, 16, 17, 8, 32};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    ftruncate(cached, 8 * UNIT);
    supported[modes[i]] = fallocate(cached, modes[i], UNIT, UNIT) == 0;
    if (!supported[modes[i]]) printf("# fallocate mode 0x%x: %s\n", modes[i], strerrorname_np(errno));
  }
  expect(ftruncate(cached, 0), 0, "ftruncate");
}

int main(int count, char **arguments) {
  bool keep = false;
  for (int i = 1; i < count; i++) {
    const char *word = arguments[i], *value = i + 1 < count ? arguments[i + 1] : "";
    if (!strcmp(word, "--trace")) trace = true;
    else if (!strcmp(word, "--keep")) keep = true;
    else if (!strcmp(word, "--seed")) seed = strtoull(value, NULL, 10), i++;
    else if (!strcmp(word, "--operations")) operations = atol(value), i++;
    else if (!strcmp(word, "--size")) room = atol(value) / UNIT * UNIT, i++;
    else if (!strcmp(word, "--check-from")) check_from = atol(value), i++;
    else path = word;
  }
  if (!path || room == 0) {
    fprintf(stderr, "usage: exerciser FILE [--seed N] [--operations N] [--size BYTES] "
                    "[--check-from N] [--trace] [--keep]\n");
    return 2;
  }
  first_seed = seed;
  model = calloc(1, room);
  if (posix_memalign((void **)&scratch, UNIT, room + UNIT) != 0 || pipe2(ends, O_CLOEXEC) != 0) return 2;
  outside = memfd_create("outside", MFD_CLOEXEC);
  unlink(path);
  open_all();
  find_support();
  int total = 0;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) total += table[i].weight;
  for (current = 0; current < operations; current++) {
    int pick = (int)chance(total);
    size_t which = 0;
    while ((pick -= table[which].weight) >= 0) which++;
    table[which].run();
    struct stat st, by_name;
    expect(fstat(cached, &st), 0, "fstat");
    expect(stat(path, &by_name), 0, "stat");
    if (st.st_size != (off_t)size || by_name.st_size != (off_t)size)
      fail("size: fstat says %ld, stat %ld, expected %zu", (long)st.st_size, (long)by_name.st_size, size);
  }
  check_all();
  close_all();
  open_all();
  check_all();
  close_all();
  if (!keep) unlink(path);
  printf("ok %ld operations, seed %llu\n", operations, (unsigned long long)first_seed);
  return 0;
}
