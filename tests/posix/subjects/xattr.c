/* Extended attributes. */
#include "../check.h"

#include <sys/xattr.h>

static void basic(void) {
  make("f", "x", 0644);
  char value[256] = "";
  OK("setxattr", setxattr("f", "user.one", "first", 5, 0));
  EQ("getxattr", 5, getxattr("f", "user.one", value, sizeof value));
  TEXT("its value", "first", value);
  EQ("the size only", 5, getxattr("f", "user.one", NULL, 0));
  FAILS("into a short buffer", ERANGE, getxattr("f", "user.one", value, 4));
  OK("replacing", setxattr("f", "user.one", "2nd", 3, 0));
  EQ("getxattr after it", 3, getxattr("f", "user.one", value, sizeof value));
  FAILS("XATTR_CREATE of an existing one", EEXIST,
        setxattr("f", "user.one", "x", 1, XATTR_CREATE));
  OK("XATTR_REPLACE of an existing one", setxattr("f", "user.one", "3rd", 3, XATTR_REPLACE));
  FAILS("XATTR_REPLACE of an absent one", ENODATA,
        setxattr("f", "user.two", "x", 1, XATTR_REPLACE));
  OK("XATTR_CREATE of an absent one", setxattr("f", "user.two", "x", 1, XATTR_CREATE));
  FAILS("both flags, existing", EEXIST,
        setxattr("f", "user.two", "x", 1, XATTR_CREATE | XATTR_REPLACE));
  FAILS("unknown flags", EINVAL, setxattr("f", "user.two", "x", 1, 0x10));
  FAILS("getxattr of an absent one", ENODATA, getxattr("f", "user.none", value, sizeof value));
  FAILS("removexattr of an absent one", ENODATA, removexattr("f", "user.none"));
  OK("an empty value", setxattr("f", "user.empty", "", 0, 0));
  EQ("its length", 0, getxattr("f", "user.empty", value, sizeof value));
  OK("a binary value", setxattr("f", "user.binary", "\0\xff\0\n", 4, 0));
  EQ("getxattr of it", 4, getxattr("f", "user.binary", value, sizeof value));
  TRUE("its bytes", memcmp(value, "\0\xff\0\n", 4) == 0);
  OK("any bytes in a name", setxattr("f", "user.\xff\n \x01", "n", 1, 0));
  EQ("found again", 1, getxattr("f", "user.\xff\n \x01", value, sizeof value));
  OK("removing it", removexattr("f", "user.\xff\n \x01"));
  ssize_t total = listxattr("f", NULL, 0);
  EQ("listxattr's size", (long)(sizeof "user.one" + sizeof "user.two" + sizeof "user.empty" +
                                sizeof "user.binary"), total);
  FAILS("listxattr into a short buffer", ERANGE, listxattr("f", value, 5));
  EQ("listxattr", total, listxattr("f", value, sizeof value));
  int found = 0;
  for (char *name = value; name < value + total; name += strlen(name) + 1)
    found += !strcmp(name, "user.one") + !strcmp(name, "user.two") +
             !strcmp(name, "user.empty") + !strcmp(name, "user.binary");
  EQ("every name once", 4, found);
  OK("removexattr", removexattr("f", "user.two"));
  FAILS("it is gone", ENODATA, getxattr("f", "user.two", value, sizeof value));
  int fd = open("f", O_RDONLY);
  OK("fsetxattr of a read-only descriptor", fsetxattr(fd, "user.fd", "d", 1, 0));
  EQ("fgetxattr", 1, fgetxattr(fd, "user.fd", value, sizeof value));
  OK("fremovexattr", fremovexattr(fd, "user.fd"));
  close(fd);
  fd = open("f", O_PATH);
  FAILS("fsetxattr of O_PATH", EBADF, fsetxattr(fd, "user.fd", "d", 1, 0));
  OK("setxattr through /proc/self/fd",
     setxattr(named("/proc/self/fd/%d", fd), "user.proc", "p", 1, 0));
  close(fd);
  link("f", "g");
  EQ("another name has it too", 1, getxattr("g", "user.proc", value, sizeof value));
  rename("f", "h");
  EQ("rename keeps it", 1, getxattr("h", "user.proc", value, sizeof value));
  FAILS("an absent file", ENOENT, setxattr("none", "user.a", "x", 1, 0));
  OK("on a directory", (directory("d", 0755), setxattr("d", "user.d", "dir", 3, 0)));
  EQ("read from a directory", 3, getxattr("d", "user.d", value, sizeof value));
}

static void spaces(void) {
  make("s", "x", 0666);
  char value[64];
  FAILS("no namespace", EOPNOTSUPP, setxattr("s", "plain", "x", 1, 0));
  FAILS("an unknown namespace", EOPNOTSUPP, setxattr("s", "other.name", "x", 1, 0));
  FAILS("an unknown system attribute", EOPNOTSUPP, setxattr("s", "system.other", "x", 1, 0));
  FAILS("a namespace alone", EINVAL, setxattr("s", "user.", "x", 1, 0));
  FAILS("an empty name", ERANGE, setxattr("s", "", "x", 1, 0));
  OK("trusted as root", setxattr("s", "trusted.t", "t", 1, 0));
  OK("security as root", setxattr("s", "security.s", "s", 1, 0));
  EQ("getxattr of trusted", 1, getxattr("s", "trusted.t", value, sizeof value));
  EQ("getxattr of security", 1, getxattr("s", "security.s", value, sizeof value));
  EQ("listxattr as root", (long)(sizeof "trusted.t" + sizeof "security.s"),
     listxattr("s", NULL, 0));
  AS(ALICE, TEAM) {
    FAILS("trusted as a user", EPERM, setxattr("s", "trusted.u", "x", 1, 0));
    FAILS("reading trusted as a user", ENODATA, getxattr("s", "trusted.t", value, sizeof value));
    FAILS("removing trusted as a user", EPERM, removexattr("s", "trusted.t"));
    FAILS("security as a user", EPERM, setxattr("s", "security.u", "x", 1, 0));
    EQ("reading security as a user", 1, getxattr("s", "security.s", value, sizeof value));
    EQ("listxattr as a user hides trusted", (long)sizeof "security.s", listxattr("s", NULL, 0));
    OK("user with write permission", setxattr("s", "user.u", "x", 1, 0));
  }
  make("ro", "x", 0444);
  setxattr("ro", "user.u", "x", 1, 0);
  make("secret", "x", 0600);
  setxattr("secret", "user.u", "x", 1, 0);
  AS(ALICE, TEAM) {
    FAILS("user without write permission", EACCES, setxattr("ro", "user.u", "x", 1, 0));
    FAILS("removing it without write permission", EACCES, removexattr("ro", "user.u"));
    EQ("reading it with read permission", 1, getxattr("ro", "user.u", value, sizeof value));
    FAILS("reading it without", EACCES, getxattr("secret", "user.u", value, sizeof value));
    OK("listing without read permission", listxattr("secret", value, sizeof value));
  }
  directory("sticky", 01777);
  AS(ALICE, TEAM)
    FAILS("user on a foreign sticky directory", EPERM, setxattr("sticky", "user.u", "x", 1, 0));
  symlink("s", "l");
  mkfifo("p", 0666);
  mknod("n", S_IFCHR | 0666, makedev(1, 3));
  mknod("k", S_IFSOCK | 0666, 0);
  FAILS("user on a link", EPERM, lsetxattr("l", "user.u", "x", 1, 0));
  FAILS("user on a fifo", EPERM, setxattr("p", "user.u", "x", 1, 0));
  FAILS("user on a device", EPERM, setxattr("n", "user.u", "x", 1, 0));
  FAILS("user on a socket", EPERM, setxattr("k", "user.u", "x", 1, 0));
  OK("trusted on a link", lsetxattr("l", "trusted.l", "link", 4, 0));
  EQ("lgetxattr", 4, lgetxattr("l", "trusted.l", value, sizeof value));
  FAILS("getxattr follows", ENODATA, getxattr("l", "trusted.l", value, sizeof value));
  EQ("llistxattr", (long)sizeof "trusted.l", llistxattr("l", value, sizeof value));
  OK("lremovexattr", lremovexattr("l", "trusted.l"));
  OK("trusted on a fifo", setxattr("p", "trusted.p", "x", 1, 0));
  OK("trusted on a device", setxattr("n", "trusted.p", "x", 1, 0));
  OK("trusted on a socket", setxattr("k", "trusted.p", "x", 1, 0));
  EQ("read from a socket", 1, getxattr("k", "trusted.p", value, sizeof value));
}

static void limits(void) {
  make("limit", "x", 0644);
  char name[300] = "user.";
  memset(name + 5, 'n', 250);
  name[255] = 0;
  OK("a name of 255 bytes", setxattr("limit", name, "x", 1, 0));
  EQ("read back", 1, getxattr("limit", name, NULL, 0));
  OK("and removed", removexattr("limit", name));
  name[255] = 'n';
  name[256] = 0;
  FAILS("a name of 256 bytes", ERANGE, setxattr("limit", name, "x", 1, 0));
  FAILS("getxattr of 256 bytes", ERANGE, getxattr("limit", name, NULL, 0));
  FAILS("removexattr of 256 bytes", ERANGE, removexattr("limit", name));
  static unsigned char value[XATTR_SIZE_MAX + 1], got[XATTR_SIZE_MAX + 1];
  fill(value, sizeof value, 5);
  FAILS("a value over 64 KiB", E2BIG, setxattr("limit", "user.v", value, XATTR_SIZE_MAX + 1, 0));
  static const int sizes[] = {1, 100, 255, 256, 1000, 2000, 3000, 3900, 4000, 4096, 8192, 65536};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    errno = 0;
    long set = setxattr("limit", "user.v", value, sizes[i], 0);
    note(named("a value of %d bytes", sizes[i]), "%s", set ? error_name(errno) : "ok");
    if (set != 0) continue;
    EQ(named("read back %d bytes", sizes[i]), sizes[i],
       getxattr("limit", "user.v", got, sizeof got));
    TRUE(named("the same %d bytes", sizes[i]), memcmp(got, value, sizes[i]) == 0);
  }
  /* Many: until the file system says no. */
  make("full", "x", 0644);
  int count = 0;
  errno = 0;
  while (count < 1000 && setxattr("full", named("user.many%04d", count), value, 50, 0) == 0) count++;
  note("attributes of 50 bytes on one file", "%d %s", count, error_name(errno));
  static char list[70000];
  ssize_t length = listxattr("full", list, sizeof list);
  EQ("all of them are listed", count * (long)sizeof "user.many0000", length);
  bool right = true;
  for (int i = 0; i < count; i++)
    right = right && getxattr("full", named("user.many%04d", i), got, sizeof got) == 50 &&
            memcmp(got, value, 50) == 0;
  TRUE("all of them read back", right);
  for (int i = 0; i < count; i += 2) right = right && removexattr("full", named("user.many%04d", i)) == 0;
  TRUE("every second removed", right);
  EQ("the rest is listed", count / 2 * (long)sizeof "user.many0000", listxattr("full", NULL, 0));
}

/* security.capability goes away with a write, as set-id bits do. */
static void capabilities(void) {
  static const unsigned char capability[20] = {1, 0, 0, 2, 1, 4, 0, 0};
  make("cap", "text", 0777);
  OK("setting file capabilities", setxattr("cap", "security.capability", capability, 20, 0));
  EQ("they are there", 20, getxattr("cap", "security.capability", NULL, 0));
  int fd = open("cap", O_WRONLY);
  EQ("a write by root", 1, pwrite(fd, "x", 1, 0));
  close(fd);
  FAILS("takes them away", ENODATA, getxattr("cap", "security.capability", NULL, 0));
  setxattr("cap", "security.capability", capability, 20, 0);
  OK("truncate", truncate("cap", 1));
  FAILS("takes them away as well", ENODATA, getxattr("cap", "security.capability", NULL, 0));
  setxattr("cap", "security.capability", capability, 20, 0);
  OK("chown", chown("cap", ALICE, TEAM));
  FAILS("does so too", ENODATA, getxattr("cap", "security.capability", NULL, 0));
  setxattr("cap", "security.capability", capability, 20, 0);
  AS(ALICE, TEAM) {
    int own = open("cap", O_WRONLY);
    EQ("a write by the owner", 1, pwrite(own, "x", 1, 0));
    close(own);
  }
  FAILS("takes them away from the owner's file", ENODATA,
        getxattr("cap", "security.capability", NULL, 0));
  OK("chmod keeps them", (setxattr("cap", "security.capability", capability, 20, 0),
                          chmod("cap", 0755), getxattr("cap", "security.capability", NULL, 0)));
  OK("rename keeps them", (rename("cap", "pac"), getxattr("pac", "security.capability", NULL, 0)));
  static const unsigned char broken[20] = {9, 9, 9, 9};
  FAILS("a broken one is refused", EINVAL, setxattr("pac", "security.capability", broken, 20, 0));
}

void subject_xattr(void) {
  basic();
  spaces();
  limits();
  capabilities();
}
