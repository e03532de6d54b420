/* copy_file_range, sendfile, splice, tee, vmsplice, asynchronous I/O. */
#include "../check.h"

#include <linux/aio_abi.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { SIZE = 300000 };
static unsigned char data[SIZE], got[SIZE + 8192];

static int source(const char *path) {
  int fd = create(path, NULL, 0644);
  fill(data, SIZE, 21);
  must(pwrite(fd, data, SIZE, 0) == SIZE, "pwrite");
  return fd;
}

static void copying(void) {
  int from = source("from"), to = create("to", NULL, 0644);
  loff_t in = 0, out = 0;
  EQ("copy_file_range", SIZE, copy_file_range(from, &in, to, &out, SIZE, 0));
  EQ("moves the source offset", SIZE, in);
  EQ("moves the target offset", SIZE, out);
  EQ("and the descriptor's not", 0, lseek(from, 0, SEEK_CUR));
  EQ("read back", SIZE, pread(to, got, sizeof got, 0));
  TRUE("the same bytes", memcmp(data, got, SIZE) == 0);
  EQ("at the source's end", 0, copy_file_range(from, &in, to, &out, 100, 0));
  in = SIZE - 10;
  EQ("across the source's end", 10, copy_file_range(from, &in, to, &out, 100, 0));
  EQ("the target has grown", SIZE + 10, size_of("to"));
  in = 5, out = SIZE + 5000;
  EQ("to a hole", 1000, copy_file_range(from, &in, to, &out, 1000, 0));
  EQ("read of it", 1000, pread(to, got, 1000, SIZE + 5000));
  TRUE("its bytes", memcmp(data + 5, got, 1000) == 0);
  EQ("with the descriptor's offsets", 100, copy_file_range(from, NULL, to, NULL, 100, 0));
  EQ("which move", 100, lseek(from, 0, SEEK_CUR));
  in = 0, out = 100000;
  EQ("within a file", 50000, copy_file_range(from, &in, from, &out, 50000, 0));
  EQ("read within", 50000, pread(from, got, 50000, 100000));
  TRUE("bytes within", memcmp(data, got, 50000) == 0);
  in = 0, out = 100;
  FAILS("overlapping within a file", EINVAL, copy_file_range(from, &in, from, &out, 1000, 0));
  FAILS("unknown flags", EINVAL, copy_file_range(from, &in, to, &out, 10, 8));
  int reader = open("to", O_RDONLY), writer = open("from", O_WRONLY);
  FAILS("to a read-only descriptor", EBADF, copy_file_range(from, &in, reader, &out, 10, 0));
  FAILS("from a write-only descriptor", EBADF, copy_file_range(writer, &in, to, &out, 10, 0));
  close(writer);
  int appender = open("to", O_WRONLY | O_APPEND), dir = open(".", O_RDONLY);
  FAILS("to an O_APPEND descriptor", EBADF, copy_file_range(from, &in, appender, &out, 10, 0));
  FAILS("from a directory", EISDIR, copy_file_range(dir, NULL, to, &out, 10, 0));
  mkfifo("p", 0600);
  int pipe_ = open("p", O_RDWR);
  FAILS("from a fifo", EINVAL, copy_file_range(pipe_, NULL, to, &out, 10, 0));
  close(reader), close(appender), close(dir), close(pipe_);
  /* From another file system, and to one. */
  int memory = memfd_create("outside", MFD_CLOEXEC);
  must(pwrite(memory, "from outside", 12, 0) == 12, "pwrite");
  in = out = 0;
  note("from another file system", "%s",
       OUTCOME(copy_file_range(memory, &in, to, &out, 12, 0)));
  in = out = 0;
  note("to another file system", "%s", OUTCOME(copy_file_range(from, &in, memory, &out, 12, 0)));
  close(memory);
  /* Cached and mapped bytes are what is copied. */
  unsigned char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);
  memcpy(map, "dirty", 5);
  in = out = 0;
  EQ("of a dirty mapping", 4096, copy_file_range(from, &in, to, &out, 4096, 0));
  TRUE("copies the dirt", strncmp(content("to"), "dirty", 5) == 0);
  unsigned char *target = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
  memcpy(map, "fresh", 5);
  in = out = 0;
  EQ("below a mapping", 4096, copy_file_range(from, &in, to, &out, 4096, 0));
  TRUE("is seen through it", memcmp(target, "fresh", 5) == 0);
  munmap(map, 4096);
  munmap(target, 4096);
  close(from);
  close(to);
}

static void sending(void) {
  int from = source("s"), to = create("t", NULL, 0644);
  off_t at = 1000;
  EQ("sendfile to a file", 5000, sendfile(to, from, &at, 5000));
  EQ("moves the offset given", 6000, at);
  EQ("read of what was sent", 5000, pread(to, got, sizeof got, 0));
  TRUE("the bytes sent", memcmp(data + 1000, got, 5000) == 0);
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
  at = 0;
  EQ("sendfile to a socket", 10000, sendfile(pair[0], from, &at, 10000));
  EQ("received", 10000, recv(pair[1], got, 10000, MSG_WAITALL));
  TRUE("the bytes received", memcmp(data, got, 10000) == 0);
  close(pair[0]), close(pair[1]);
  int ends[2];
  must(pipe(ends) == 0, "pipe");
  loff_t place = 4000;
  EQ("splice from a file", 8192, ({
       ssize_t total = 0, part;
       while (total < 8192 &&
              (part = splice(from, &place, ends[1], NULL, 8192 - total, 0)) > 0)
         total += part;
       total;
     }));
  loff_t target = 123;
  EQ("splice to a file", 8192, ({
       ssize_t total = 0, part;
       while (total < 8192 && (part = splice(ends[0], NULL, to, &target, 8192 - total, 0)) > 0)
         total += part;
       total;
     }));
  EQ("read of the spliced", 8192, pread(to, got, 8192, 123));
  TRUE("the spliced bytes", memcmp(data + 4000, got, 8192) == 0);
  int appender = open("t", O_WRONLY | O_APPEND);
  must(write(ends[1], "x", 1) == 1, "write to a pipe");
  FAILS("splice to O_APPEND", EINVAL, splice(ends[0], NULL, appender, NULL, 1, 0));
  close(appender);
  int reader = open("t", O_RDONLY);
  FAILS("splice to a read-only descriptor", EBADF, splice(ends[0], NULL, reader, NULL, 1, 0));
  FAILS("splice between files", EINVAL, splice(from, &place, to, &target, 100, 0));
  close(reader);
  must(read(ends[0], got, 1) == 1, "empty the pipe");
  struct iovec part = {data, 4096};
  EQ("vmsplice", 4096, vmsplice(ends[1], &part, 1, 0));
  target = 20000;
  EQ("splice of user pages to a file", 4096, splice(ends[0], NULL, to, &target, 4096, 0));
  EQ("read of them", 4096, pread(to, got, 4096, 20000));
  TRUE("their bytes", memcmp(data, got, 4096) == 0);
  close(ends[0]), close(ends[1]), close(from), close(to);
}

/* Linux AIO as databases use it, cached and direct. */
static void asynchronous(void) {
  for (int direct = 0; direct < 2; direct++) {
    const char *kind = direct ? "direct" : "cached";
    int fd = open(named("aio-%s", kind), O_CREAT | O_RDWR | (direct ? O_DIRECT : 0), 0644);
    aio_context_t context = 0;
    OK(named("io_setup, %s", kind), syscall(SYS_io_setup, 64, &context));
    enum { COUNT = 32, UNIT = 8192 };
    unsigned char *buffer = NULL;
    must(posix_memalign((void **)&buffer, 4096, COUNT * UNIT) == 0, "posix_memalign");
    fill(buffer, COUNT * UNIT, 33);
    struct iocb requests[COUNT], *pointers[COUNT];
    struct io_event events[COUNT];
    for (int write_ = 1; write_ >= 0; write_--) {
      for (int i = 0; i < COUNT; i++) {
        requests[i] = (struct iocb){.aio_lio_opcode = write_ ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                                    .aio_fildes = fd,
                                    .aio_buf = (uint64_t)(uintptr_t)(buffer + i * UNIT),
                                    .aio_nbytes = UNIT,
                                    .aio_offset = (COUNT - 1 - i) * UNIT};
        pointers[i] = &requests[i];
      }
      const char *what = named("%s %s", kind, write_ ? "writes" : "reads");
      EQ(named("io_submit of %s", what), COUNT, syscall(SYS_io_submit, context, COUNT, pointers));
      EQ(named("io_getevents of %s", what), COUNT,
         syscall(SYS_io_getevents, context, COUNT, COUNT, events, NULL));
      bool whole = true;
      for (int i = 0; i < COUNT; i++) whole = whole && events[i].res == UNIT;
      TRUE(named("every one of %s is whole", what), whole);
      if (write_) memset(buffer, 0, COUNT * UNIT);
    }
    unsigned char *wanted = malloc(COUNT * UNIT);
    fill(wanted, COUNT * UNIT, 33);
    TRUE(named("%s reads give what was written", kind), memcmp(wanted, buffer, COUNT * UNIT) == 0);
    struct iocb sync = {.aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = fd}, *one = &sync;
    EQ(named("io_submit of fsync, %s", kind), 1, syscall(SYS_io_submit, context, 1, &one));
    EQ(named("io_getevents of fsync, %s", kind), 1,
       syscall(SYS_io_getevents, context, 1, 1, events, NULL));
    EQ(named("result of fsync, %s", kind), 0, events[0].res);
    syscall(SYS_io_destroy, context);
    free(buffer), free(wanted);
    close(fd);
  }
}

void subject_transfer(void) {
  copying();
  sending();
  asynchronous();
}
