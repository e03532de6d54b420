/* Holes: SEEK_HOLE and SEEK_DATA, fallocate in all modes, blocks. */
#include "../check.h"

enum { BLOCK = 4096 };

/* The file's layout as text: D for a block with data, . for a hole, by SEEK_HOLE and SEEK_DATA. */
static const char *layout(int fd) {
  static char text[128];
  struct stat st;
  must(fstat(fd, &st) == 0, "fstat");
  long blocks = (st.st_size + BLOCK - 1) / BLOCK;
  must(blocks < (long)sizeof text, "a small file");
  memset(text, '?', sizeof text);
  text[blocks] = 0;
  off_t at = 0;
  while (at < st.st_size) {
    off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) data = st.st_size;
    for (off_t block = at / BLOCK; block < (data + BLOCK - 1) / BLOCK; block++) text[block] = '.';
    if (data >= st.st_size) break;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    for (off_t block = data / BLOCK; block < (hole + BLOCK - 1) / BLOCK; block++) text[block] = 'D';
    at = hole;
  }
  return text;
}

/* What each block holds: its first byte, 0 for zeros, ! where it is mixed. */
static const char *bytes(int fd) {
  static char text[128];
  unsigned char block[BLOCK];
  int count = 0;
  ssize_t got;
  for (off_t at = 0; (got = pread(fd, block, BLOCK, at)) > 0; at += BLOCK)
    text[count++] = !all_bytes(block, got, block[0]) ? '!' : block[0] ? (char)block[0] : '0';
  text[count] = 0;
  return text;
}

/* A file of whole blocks, each of one letter: "abcd". */
static int lettered(const char *path, const char *letters) {
  int fd = create(path, NULL, 0644);
  for (size_t i = 0; letters[i]; i++) {
    if (letters[i] == '.') continue;
    unsigned char block[BLOCK];
    memset(block, letters[i], BLOCK);
    must(pwrite(fd, block, BLOCK, i * BLOCK) == BLOCK, "pwrite");
  }
  must(ftruncate(fd, strlen(letters) * BLOCK) == 0, "ftruncate");
  /* So that delayed allocation has no say in what is data. */
  must(fsync(fd) == 0, "fsync");
  return fd;
}

static void seeking(void) {
  int fd = lettered("s", "..ab..c...");
  TEXT("layout of a sparse file", "..DD..D...", layout(fd));
  TEXT("bytes of a sparse file", "00ab00c000", bytes(fd));
  EQ("SEEK_DATA from the begin", 2 * BLOCK, lseek(fd, 0, SEEK_DATA));
  EQ("SEEK_DATA moves the offset", 2 * BLOCK, lseek(fd, 0, SEEK_CUR));
  EQ("SEEK_DATA within data", 2 * BLOCK + 5, lseek(fd, 2 * BLOCK + 5, SEEK_DATA));
  EQ("SEEK_HOLE within data", 4 * BLOCK, lseek(fd, 2 * BLOCK + 5, SEEK_HOLE));
  EQ("SEEK_HOLE within a hole", 5 * BLOCK + 7, lseek(fd, 5 * BLOCK + 7, SEEK_HOLE));
  FAILS("SEEK_DATA in the last hole", ENXIO, lseek(fd, 8 * BLOCK, SEEK_DATA));
  EQ("SEEK_HOLE in the last hole", 8 * BLOCK, lseek(fd, 8 * BLOCK, SEEK_HOLE));
  FAILS("SEEK_DATA at the end", ENXIO, lseek(fd, 10 * BLOCK, SEEK_DATA));
  FAILS("SEEK_HOLE at the end", ENXIO, lseek(fd, 10 * BLOCK, SEEK_HOLE));
  FAILS("SEEK_DATA beyond the end", ENXIO, lseek(fd, 11 * BLOCK, SEEK_DATA));
  FAILS("SEEK_DATA at a negative offset", ENXIO, lseek(fd, -1, SEEK_DATA));
  EQ("blocks in use", 3 * BLOCK / 512, status("s").st_blocks);
  close(fd);
  fd = create("full", "text", 0644);
  EQ("SEEK_HOLE of a file without holes", 4, lseek(fd, 0, SEEK_HOLE));
  EQ("SEEK_DATA of it", 1, lseek(fd, 1, SEEK_DATA));
  close(fd);
  fd = create("empty", NULL, 0644);
  FAILS("SEEK_DATA of an empty file", ENXIO, lseek(fd, 0, SEEK_DATA));
  FAILS("SEEK_HOLE of an empty file", ENXIO, lseek(fd, 0, SEEK_HOLE));
  OK("ftruncate up", ftruncate(fd, 3 * BLOCK + 1));
  TEXT("layout of a truncated up file", "....", layout(fd));
  EQ("blocks of it", 0, status("empty").st_blocks);
  close(fd);
}

static void mode(const char *title, int flags, const char *letters, long from, long length,
                 const char *want_bytes, const char *want_layout, long want_size) {
  int fd = lettered("m", letters);
  OK(title, fallocate(fd, flags, from, length));
  TEXT(named("%s: bytes", title), want_bytes, bytes(fd));
  if (want_layout) {
    fsync(fd);
    TEXT(named("%s: layout", title), want_layout, layout(fd));
  }
  EQ(named("%s: size", title), want_size, size_of("m"));
  note(named("%s: blocks", title), "%ld", (long)status("m").st_blocks);
  close(fd);
  unlink("m");
}

static void allocating(void) {
  const int keep = FALLOC_FL_KEEP_SIZE, punch = FALLOC_FL_PUNCH_HOLE | keep,
            zero = FALLOC_FL_ZERO_RANGE, collapse = FALLOC_FL_COLLAPSE_RANGE,
            insert = FALLOC_FL_INSERT_RANGE;
  mode("allocate of a hole", 0, "a..b", BLOCK, 2 * BLOCK, "a00b", NULL, 4 * BLOCK);
  mode("allocate beyond the end", 0, "ab", BLOCK, 3 * BLOCK, "ab00", NULL, 4 * BLOCK);
  mode("allocate beyond the end, odd", 0, "ab", 10, 3 * BLOCK, "ab00", NULL, 3 * BLOCK + 10);
  mode("allocate and keep the size", keep, "ab", BLOCK, 3 * BLOCK, "ab", NULL, 2 * BLOCK);
  mode("punch of blocks", punch, "abcde", BLOCK, 2 * BLOCK, "a00de", "D..DD", 5 * BLOCK);
  mode("punch of part of a block", punch, "abc", BLOCK + 1, 100, "a!c", "DDD", 3 * BLOCK);
  mode("punch over block edges", punch, "abcd", BLOCK - 1, 2 * BLOCK + 2, "!00!", "D..D", 4 * BLOCK);
  mode("punch to the end", punch, "abcd", 2 * BLOCK, 100 * BLOCK, "ab00", "DD..", 4 * BLOCK);
  mode("punch beyond the end", punch, "ab", 10 * BLOCK, BLOCK, "ab", "DD", 2 * BLOCK);
  mode("punch of everything", punch, "abcd", 0, 4 * BLOCK, "0000", "....", 4 * BLOCK);
  mode("zero of blocks", zero, "abcde", BLOCK, 2 * BLOCK, "a00de", NULL, 5 * BLOCK);
  mode("zero over block edges", zero, "abcd", BLOCK - 1, 2 * BLOCK + 2, "!00!", NULL, 4 * BLOCK);
  mode("zero across the end", zero, "ab", BLOCK, 2 * BLOCK, "a00", NULL, 3 * BLOCK);
  mode("zero across the end, kept size", zero | keep, "ab", BLOCK, 2 * BLOCK, "a0", NULL, 2 * BLOCK);
  mode("collapse in the middle", collapse, "abcde", BLOCK, 2 * BLOCK, "ade", "DDD", 3 * BLOCK);
  mode("collapse at the begin", collapse, "abcde", 0, BLOCK, "bcde", "DDDD", 4 * BLOCK);
  mode("collapse of a hole", collapse, "a..b", BLOCK, 2 * BLOCK, "ab", "DD", 2 * BLOCK);
  mode("insert in the middle", insert, "abc", BLOCK, 2 * BLOCK, "a00bc", "D..DD", 5 * BLOCK);
  mode("insert at the begin", insert, "abc", 0, BLOCK, "0abc", ".DDD", 4 * BLOCK);

  int fd = lettered("e", "abcd");
  FAILS("collapse to the end", EINVAL, fallocate(fd, collapse, 2 * BLOCK, 2 * BLOCK));
  FAILS("collapse of part of a block", EINVAL, fallocate(fd, collapse, 1, BLOCK));
  FAILS("collapse of an odd length", EINVAL, fallocate(fd, collapse, 0, 100));
  FAILS("collapse with KEEP_SIZE", EOPNOTSUPP, fallocate(fd, collapse | keep, 0, BLOCK));
  FAILS("insert at the end", EINVAL, fallocate(fd, insert, 4 * BLOCK, BLOCK));
  FAILS("insert of part of a block", EINVAL, fallocate(fd, insert, 1, BLOCK));
  FAILS("insert beyond the largest size", EFBIG, fallocate(fd, insert, 0, 16384 * GIB - 4096));
  FAILS("punch without KEEP_SIZE", EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK));
  FAILS("punch with zero", EOPNOTSUPP, fallocate(fd, punch | zero, 0, BLOCK));
  FAILS("an unknown mode", EOPNOTSUPP, fallocate(fd, 1 << 20, 0, BLOCK));
  FAILS("unshare of a file system that shares nothing", EOPNOTSUPP,
        fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, BLOCK));
  FAILS("a negative offset", EINVAL, fallocate(fd, 0, -1, 10));
  FAILS("a length of nothing", EINVAL, fallocate(fd, 0, 0, 0));
  FAILS("a negative length", EINVAL, fallocate(fd, 0, 0, -1));
  FAILS("beyond the largest size", EFBIG, fallocate(fd, keep, 16384 * GIB, BLOCK));
  FAILS("beyond the largest offset", EFBIG, fallocate(fd, keep, INT64_MAX - 10, BLOCK));
  TEXT("the refused changed nothing", "abcd", bytes(fd));
  int reader = open("e", O_RDONLY);
  FAILS("fallocate of a read-only descriptor", EBADF, fallocate(reader, 0, 0, BLOCK));
  close(reader);
  close(fd);
  fd = open(".", O_RDONLY | O_DIRECTORY);
  FAILS("fallocate of a directory", EBADF, fallocate(fd, 0, 0, BLOCK));
  close(fd);
  mkfifo("p", 0600);
  fd = open("p", O_RDWR);
  FAILS("fallocate of a fifo", ESPIPE, fallocate(fd, 0, 0, BLOCK));
  close(fd);
  mknod("null", S_IFCHR | 0600, makedev(1, 3));
  fd = open("null", O_RDWR);
  FAILS("fallocate of a device", ENODEV, fallocate(fd, 0, 0, BLOCK));
  close(fd);
  fd = open("e", O_RDWR | O_APPEND);
  OK("fallocate with O_APPEND", fallocate(fd, 0, 4 * BLOCK, BLOCK));
  EQ("write after it", 1, write(fd, "x", 1));
  EQ("goes behind the allocated", 5 * BLOCK + 1, size_of("e"));
  OK("posix_fallocate", posix_fallocate(fd, 0, 8 * BLOCK) == 0 ? 0 : -1);
  EQ("size after posix_fallocate", 8 * BLOCK, size_of("e"));
  close(fd);
}

/* Page cache and mapping must agree with what was cut away. */
static void cached(void) {
  int fd = lettered("c", "abcdef");
  unsigned char *map = mmap(NULL, 6 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TRUE("mapped bytes before", map[0] == 'a' && map[5 * BLOCK] == 'f');
  OK("punch of a mapped block", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK, BLOCK));
  TRUE("the mapping shows zeros", all_bytes(map + BLOCK, BLOCK, 0));
  map[2 * BLOCK] = 'X';
  OK("punch of a dirty mapped block",
     fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * BLOCK, BLOCK));
  TRUE("the dirt is gone", map[2 * BLOCK] == 0);
  map[3 * BLOCK + 7] = 'Y';
  OK("zero of part of a dirty block", fallocate(fd, FALLOC_FL_ZERO_RANGE, 3 * BLOCK + 8, 10));
  TRUE("the rest of the dirt stays", map[3 * BLOCK + 7] == 'Y' && map[3 * BLOCK + 8] == 0);
  map[5 * BLOCK + 1] = 'Z';
  OK("collapse below a dirty block", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK));
  TRUE("the dirt has moved along", map[4 * BLOCK + 1] == 'Z');
  unsigned char byte;
  EQ("read agrees", 1, pread(fd, &byte, 1, 4 * BLOCK + 1));
  EQ("with the byte", 'Z', byte);
  OK("insert below it", fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, BLOCK));
  TRUE("it has moved again", map[5 * BLOCK + 1] == 'Z');
  TEXT("all bytes", "000!e!", bytes(fd));
  munmap(map, 6 * BLOCK);
  close(fd);
}

void subject_sparse(void) {
  seeking();
  allocating();
  cached();
}
