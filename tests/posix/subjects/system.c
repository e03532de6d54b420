/* statfs, syncing, advice, file handles, memory of attributes. */
#include "../check.h"

#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

static void sizes(void) {
  make("f", "x", 0644);
  struct statfs a, b;
  OK("statfs", statfs(".", &a));
  int fd = open("f", O_RDONLY);
  OK("fstatfs", fstatfs(fd, &b));
  TRUE("both agree", a.f_blocks == b.f_blocks && a.f_bsize == b.f_bsize);
  close(fd);
  note("block size", "%ld", (long)a.f_bsize);
  note("fragment size", "%ld", (long)a.f_frsize);
  note("longest name", "%ld", (long)a.f_namelen);
  note("blocks", "%lld", (long long)a.f_blocks);
  note("inodes", "%lld", (long long)a.f_files);
  note("type", "0x%lx", (unsigned long)a.f_type);
  TRUE("free blocks are not more than all", a.f_bfree <= a.f_blocks && a.f_bavail <= a.f_bfree);
  TRUE("free inodes are not more than all", a.f_ffree <= a.f_files);
  fd = create("grow", NULL, 0644);
  must(fallocate(fd, 0, 0, 512 * MIB) == 0, "fallocate");
  fsync(fd);
  statfs(".", &b);
  TRUE("half a GiB taken is seen", (long long)(a.f_bfree - b.f_bfree) * a.f_bsize > 256 * MIB);
  close(fd);
  unlink("grow");
  FAILS("statfs of an absent file", ENOENT, statfs("none", &a));
  FAILS("statfs through a file", ENOTDIR, statfs("f/x", &a));
  EQ("pathconf of links", 65000, pathconf(".", _PC_LINK_MAX));
  EQ("pathconf of names", 255, pathconf(".", _PC_NAME_MAX));
  struct stat st = status("f");
  EQ("st_blksize", 4096, st.st_blksize);
  EQ("blocks of a small file after fsync", 8, ({
       int own = open("f", O_RDWR);
       fsync(own);
       close(own);
       status("f").st_blocks;
     }));
  struct stat up = status("..");
  TRUE("one device number", st.st_dev == up.st_dev);
}

static void syncing(void) {
  int fd = create("s", "0123456789", 0644);
  OK("fsync", fsync(fd));
  OK("fdatasync", fdatasync(fd));
  OK("syncfs", syncfs(fd));
  sync();
  OK("sync_file_range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE |
                                                      SYNC_FILE_RANGE_WAIT_BEFORE |
                                                      SYNC_FILE_RANGE_WAIT_AFTER));
  FAILS("sync_file_range with unknown flags", EINVAL, sync_file_range(fd, 0, 0, 64));
  int reader = open("s", O_RDONLY);
  OK("fsync of a read-only descriptor", fsync(reader));
  close(reader);
  int path = open("s", O_PATH);
  FAILS("fsync of O_PATH", EBADF, fsync(path));
  close(path);
  int dir = open(".", O_RDONLY | O_DIRECTORY);
  OK("fsync of a directory", fsync(dir));
  OK("fdatasync of a directory", fdatasync(dir));
  OK("syncfs of a directory", syncfs(dir));
  close(dir);
  OK("posix_fadvise DONTNEED", posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) ? -1 : 0);
  OK("posix_fadvise WILLNEED", posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED) ? -1 : 0);
  OK("posix_fadvise SEQUENTIAL", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL) ? -1 : 0);
  OK("readahead", readahead(fd, 0, 4096));
  TEXT("content after all that", "0123456789", content_of(fd));
  close(fd);
}

static void handles(void) {
  make("h", "handle", 0644);
  union {
    struct file_handle handle;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  } by = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
  int mount = 0;
  OK("name_to_handle_at", name_to_handle_at(AT_FDCWD, "h", &by.handle, &mount, 0));
  int dir = open(".", O_RDONLY | O_DIRECTORY);
  int fd = OK("open_by_handle_at", open_by_handle_at(dir, &by.handle, O_RDONLY));
  TEXT("is that file", "handle", fd < 0 ? "" : content_of(fd));
  close(fd);
  rename("h", "i");
  fd = OK("open_by_handle_at after rename", open_by_handle_at(dir, &by.handle, O_RDWR));
  EQ("writes", 1, fd < 0 ? 0 : pwrite(fd, "H", 1, 0));
  close(fd);
  unlink("i");
  FAILS("open_by_handle_at after unlink", ESTALE, open_by_handle_at(dir, &by.handle, O_RDONLY));
  close(dir);
}

static void statx_fields(void) {
  make("x", "0123456789", 0640);
  struct statx x;
  OK("statx", statx(AT_FDCWD, "x", AT_STATX_FORCE_SYNC, STATX_ALL, &x));
  EQ("basic fields", STATX_BASIC_STATS, x.stx_mask & STATX_BASIC_STATS);
  EQ("size", 10, x.stx_size);
  OCTAL("mode", 0640, x.stx_mode & 07777);
  EQ("links", 1, x.stx_nlink);
  OK("statx without syncing", statx(AT_FDCWD, "x", AT_STATX_DONT_SYNC, STATX_ALL, &x));
  EQ("size without syncing", 10, x.stx_size);
  int fd = open("x", O_WRONLY | O_APPEND);
  (void)!write(fd, "+", 1);
  OK("statx of a descriptor", statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
  EQ("its size", 11, x.stx_size);
  close(fd);
  statx(AT_FDCWD, "x", 0, STATX_SIZE, &x);
  EQ("size by name after an append", 11, x.stx_size);
  FAILS("statx with unknown flags", EINVAL, statx(AT_FDCWD, "x", 0x80000, STATX_ALL, &x));
  FAILS("statx of an absent file", ENOENT, statx(AT_FDCWD, "none", 0, STATX_ALL, &x));
}

void subject_system(void) {
  sizes();
  syncing();
  handles();
  statx_fields();
}
