/* Device nodes, fifos and sockets. */
#include "../check.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static void nodes(void) {
  static const struct {
    const char *name;
    mode_t type;
    unsigned major, minor;
  } kinds[] = {{"char", S_IFCHR, 1, 3},        {"block", S_IFBLK, 7, 99},
               {"wide", S_IFCHR, 511, 70000},  {"wider", S_IFBLK, 4095, 1048575},
               {"fifo", S_IFIFO, 0, 0},        {"socket", S_IFSOCK, 0, 0},
               {"regular", S_IFREG, 0, 0},     {"untyped", 0, 0, 0}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const char *name = kinds[i].name;
    OK(named("mknod %s", name),
       mknod(name, kinds[i].type | 0666, makedev(kinds[i].major, kinds[i].minor)));
    struct stat st = status(name);
    mode_t type = kinds[i].type ? kinds[i].type : S_IFREG;
    EQ(named("type of %s", name), type, st.st_mode & S_IFMT);
    OCTAL(named("mode of %s", name), 0644, st.st_mode & 07777);
    EQ(named("device of %s", name), makedev(kinds[i].major, kinds[i].minor), st.st_rdev);
    FAILS(named("mknod %s again", name), EEXIST, mknod(name, kinds[i].type | 0666, 0));
    OK(named("chmod of %s", name), chmod(name, 0600));
    OCTAL(named("mode of %s after", name), 0600, mode_of(name));
    OK(named("chown of %s", name), chown(name, ALICE, TEAM));
    OK(named("rename of %s", name), rename(name, "renamed"));
    EQ(named("inode of %s stays", name), st.st_ino, status("renamed").st_ino);
    EQ(named("device of %s stays", name), st.st_rdev, status("renamed").st_rdev);
    struct timespec times[2] = {{5, 6}, {7, 8}};
    OK(named("utimensat of %s", name), utimensat(AT_FDCWD, "renamed", times, 0));
    EQ(named("nanoseconds of %s", name), 8, status("renamed").st_mtim.tv_nsec);
    OK(named("unlink of %s", name), unlink("renamed"));
  }
  FAILS("mknod of a directory", EPERM, mknod("dir", S_IFDIR | 0700, 0));
  FAILS("mknod below an absent directory", ENOENT, mknod("none/x", S_IFIFO | 0600, 0));
  directory("users", 0777);
  directory("shut", 0755);
  AS(ALICE, TEAM) {
    FAILS("a character device as a user", EPERM, mknod("users/c", S_IFCHR | 0600, makedev(1, 3)));
    FAILS("a block device as a user", EPERM, mknod("users/b", S_IFBLK | 0600, makedev(7, 9)));
    OK("a fifo as a user", mknod("users/p", S_IFIFO | 0600, 0));
    OK("a socket as a user", mknod("users/s", S_IFSOCK | 0600, 0));
    OK("a regular file as a user", mknod("users/r", S_IFREG | 0600, 0));
    FAILS("a fifo without write permission", EACCES, mkfifo("shut/p", 0600));
  }
  /* A device node on the mirror is the device. */
  mknod("null", S_IFCHR | 0666, makedev(1, 3));
  mknod("zero", S_IFCHR | 0666, makedev(1, 5));
  mknod("full", S_IFCHR | 0666, makedev(1, 7));
  mknod("nobody", S_IFCHR | 0666, makedev(60, 250));
  int fd = OK("open null", open("null", O_RDWR));
  char bytes[16] = "xxxxxxxxxxxxxxx";
  EQ("write to null", 16, write(fd, bytes, 16));
  EQ("read of null", 0, read(fd, bytes, 4));
  close(fd);
  fd = OK("open zero", open("zero", O_RDONLY));
  EQ("read of zero", 16, read(fd, bytes, 16));
  TRUE("zeros", all_bytes((unsigned char *)bytes, 16, 0));
  close(fd);
  fd = OK("open full", open("full", O_WRONLY));
  FAILS("write to full", ENOSPC, write(fd, "x", 1));
  close(fd);
  FAILS("open of a device that is not there", ENXIO, open("nobody", O_RDONLY));
}

static void fifos(void) {
  OK("mkfifo", mkfifo("p", 0666));
  OCTAL("mode is masked by umask", 0644, mode_of("p"));
  FAILS("writing without a reader, non-blocking", ENXIO, open("p", O_WRONLY | O_NONBLOCK));
  int reader = OK("reading without a writer, non-blocking", open("p", O_RDONLY | O_NONBLOCK));
  int writer = OK("writing with a reader", open("p", O_WRONLY | O_NONBLOCK));
  EQ("write", 5, write(writer, "hello", 5));
  char text[16] = "";
  EQ("read", 5, read(reader, text, sizeof text));
  TEXT("what was read", "hello", text);
  FAILS("read of an empty fifo", EAGAIN, read(reader, text, 1));
  FAILS("lseek of a fifo", ESPIPE, lseek(reader, 0, SEEK_SET));
  FAILS("fsync of a fifo", EINVAL, fsync(reader));
  EQ("size of a fifo", 0, size_of("p"));
  struct pollfd poller = {reader, POLLIN, 0};
  EQ("poll of an empty fifo", 0, poll(&poller, 1, 0));
  write(writer, "x", 1);
  EQ("poll of a fifo with data", 1, poll(&poller, 1, 0));
  OK("unlink while open", unlink("p"));
  EQ("it still works", 1, read(reader, text, 1));
  close(reader);
  signal(SIGPIPE, SIG_IGN);
  FAILS("write without a reader", EPIPE, write(writer, "x", 1));
  close(writer);
  mkfifo("q", 0600);
  pid_t child = fork();
  if (child == 0) {
    int fd = open("q", O_WRONLY); /* waits for the reader */
    _exit(write(fd, "met", 3) == 3 ? 0 : 1);
  }
  int fd = OK("a blocking open meets the other process", open("q", O_RDONLY));
  memset(text, 0, sizeof text);
  EQ("read from the other process", 3, read(fd, text, sizeof text));
  close(fd);
  int end;
  waitpid(child, &end, 0);
  EQ("the other process's exit", 0, end);
  FAILS("truncate of a fifo", EINVAL, truncate("q", 0));
}

static struct sockaddr_un address(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, path, sizeof name.sun_path - 1);
  return name;
}

static void sockets(void) {
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un name = address("sock");
  OK("bind", bind(server, (struct sockaddr *)&name, sizeof name));
  TRUE("it is a socket", S_ISSOCK(status("sock").st_mode));
  OCTAL("its mode", 0755, mode_of("sock"));
  int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FAILS("connect before listen", ECONNREFUSED,
        connect(client, (struct sockaddr *)&name, sizeof name));
  OK("listen", listen(server, 4));
  OK("connect", connect(client, (struct sockaddr *)&name, sizeof name));
  int peer = OK("accept", accept4(server, NULL, NULL, SOCK_CLOEXEC));
  EQ("send", 4, send(client, "ping", 4, 0));
  char text[8] = "";
  EQ("receive", 4, recv(peer, text, sizeof text, 0));
  FAILS("open of a socket", ENXIO, open("sock", O_RDWR));
  int second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FAILS("bind to an existing name", EADDRINUSE,
        bind(second, (struct sockaddr *)&name, sizeof name));
  OK("rename of a socket", rename("sock", "moved"));
  struct sockaddr_un moved = address("moved");
  OK("connect to the renamed", connect(second, (struct sockaddr *)&moved, sizeof moved));
  OK("chmod of the socket", chmod("moved", 0600));
  AS(ALICE, TEAM) {
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    FAILS("connect without permission", EACCES,
          connect(other, (struct sockaddr *)&moved, sizeof moved));
  }
  OK("unlink of the socket", unlink("moved"));
  EQ("the connection lives on", 4, send(client, "pong", 4, 0));
  int third = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FAILS("connect to a removed socket", ENOENT,
        connect(third, (struct sockaddr *)&moved, sizeof moved));
  int packets = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un datagram = address("dgram");
  OK("bind of a datagram socket", bind(packets, (struct sockaddr *)&datagram, sizeof datagram));
  int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  EQ("sendto by path", 3,
     sendto(sender, "abc", 3, 0, (struct sockaddr *)&datagram, sizeof datagram));
  EQ("it arrives", 3, recv(packets, text, sizeof text, 0));
  close(server), close(client), close(peer), close(second), close(third);
  close(packets), close(sender);
}

void subject_special(void) {
  nodes();
  fifos();
  sockets();
}
