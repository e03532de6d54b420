/* POSIX access control lists, as the kernel sees them: system.posix_acl_access and _default. */
#include "../check.h"

#include <sys/xattr.h>

/* The layout of linux/posix_acl_xattr.h, and its tags. */
enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };
struct entry {
  uint16_t tag, permissions;
  uint32_t id;
};
struct list {
  uint32_t version;
  struct entry entries[16];
};

#define NOBODY 0xffffffffu
#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

/* Sets a list given as entries; their number comes from the array. */
#define SET(path, which, ...)                                                                      \
  ({                                                                                               \
    struct entry given_[] = {__VA_ARGS__};                                                         \
    struct list list_ = {.version = 2};                                                            \
    memcpy(list_.entries, given_, sizeof given_);                                                  \
    setxattr((path), (which), &list_, 4 + sizeof given_, 0);                                       \
  })

/* A list as text: "u::rw- u:20001:r-- g::r-- m::rw- o::---", or the error. */
static const char *text(const char *path, const char *which) {
  struct list list;
  ssize_t size = getxattr(path, which, &list, sizeof list);
  if (size < 0) return error_name(errno);
  static char result[512];
  result[0] = 0;
  for (size_t i = 0; i < (size - 4) / sizeof(struct entry); i++) {
    struct entry e = list.entries[i];
    const char *tag = e.tag <= USER ? "u" : e.tag <= GROUP ? "g" : e.tag == MASK ? "m" : "o";
    char id[16] = "";
    if (e.tag == USER || e.tag == GROUP) snprintf(id, sizeof id, "%u", e.id);
    sprintf(result + strlen(result), "%s%s:%s:%c%c%c", i ? " " : "", tag, id,
            e.permissions & 4 ? 'r' : '-', e.permissions & 2 ? 'w' : '-',
            e.permissions & 1 ? 'x' : '-');
  }
  return strdup(result);
}

static void setting(void) {
  make("f", "x", 0644);
  TEXT("a file without a list", "ENODATA", text("f", ACCESS));
  OK("setting a list", SET("f", ACCESS, {USER_OBJ, 6, NOBODY}, {USER, 7, ALICE},
                           {GROUP_OBJ, 4, NOBODY}, {GROUP, 2, CLUB}, {MASK, 6, NOBODY},
                           {OTHER, 0, NOBODY}));
  TEXT("reading it", "u::rw- u:20001:rwx g::r-- g:30002:-w- m::rw- o::---", text("f", ACCESS));
  OCTAL("the mode shows the mask", 0660, mode_of("f"));
  OK("chmod changes the mask", chmod("f", 0640));
  TEXT("the list after chmod", "u::rw- u:20001:rwx g::r-- g:30002:-w- m::r-- o::---",
       text("f", ACCESS));
  OK("chmod of all classes", chmod("f", 0751));
  TEXT("the list after that", "u::rwx u:20001:rwx g::r-- g:30002:-w- m::r-x o::--x",
       text("f", ACCESS));
  OK("a list that a mode can hold", SET("f", ACCESS, {USER_OBJ, 6, NOBODY},
                                        {GROUP_OBJ, 5, NOBODY}, {OTHER, 4, NOBODY}));
  OCTAL("becomes the mode", 0654, mode_of("f"));
  TEXT("and no list is left", "ENODATA", text("f", ACCESS));
  OK("setting one again", SET("f", ACCESS, {USER_OBJ, 6, NOBODY}, {USER, 4, BOB},
                              {GROUP_OBJ, 0, NOBODY}, {MASK, 4, NOBODY}, {OTHER, 0, NOBODY}));
  ssize_t length = listxattr("f", NULL, 0);
  EQ("it is listed", (long)sizeof ACCESS, length);
  OK("removing it", removexattr("f", ACCESS));
  OCTAL("the mode keeps the mask as group", 0640, mode_of("f"));
  TEXT("it is gone", "ENODATA", text("f", ACCESS));
  OK("removing none", removexattr("f", ACCESS));
  FAILS("a default list on a file", EACCES, SET("f", DEFAULT, {USER_OBJ, 6, NOBODY},
                                                {GROUP_OBJ, 4, NOBODY}, {OTHER, 4, NOBODY}));
  FAILS("no owner entry", EINVAL, SET("f", ACCESS, {GROUP_OBJ, 4, NOBODY}, {OTHER, 4, NOBODY}));
  FAILS("a named user without a mask", EINVAL,
        SET("f", ACCESS, {USER_OBJ, 6, NOBODY}, {USER, 4, BOB}, {GROUP_OBJ, 4, NOBODY},
            {OTHER, 4, NOBODY}));
  FAILS("entries in the wrong order", EINVAL,
        SET("f", ACCESS, {OTHER, 4, NOBODY}, {USER_OBJ, 6, NOBODY}, {GROUP_OBJ, 4, NOBODY}));
  FAILS("an unknown tag", EINVAL,
        SET("f", ACCESS, {USER_OBJ, 6, NOBODY}, {GROUP_OBJ, 4, NOBODY}, {64, 4, NOBODY},
            {OTHER, 4, NOBODY}));
  FAILS("permissions over 7", EINVAL,
        SET("f", ACCESS, {USER_OBJ, 15, NOBODY}, {GROUP_OBJ, 4, NOBODY}, {OTHER, 4, NOBODY}));
  struct list wrong = {.version = 3};
  FAILS("an unknown version", EOPNOTSUPP, setxattr("f", ACCESS, &wrong, 28, 0));
  FAILS("a broken size", EINVAL, ({
          struct list odd = {.version = 2};
          setxattr("f", ACCESS, &odd, 7, 0);
        }));
  OCTAL("the refused changed nothing", 0640, mode_of("f"));
  symlink("f", "l");
  FAILS("on a link itself", EOPNOTSUPP, ({
          struct list list = {.version = 2,
                              .entries = {{USER_OBJ, 6, NOBODY}, {GROUP_OBJ, 4, NOBODY},
                                          {OTHER, 4, NOBODY}}};
          lsetxattr("l", ACCESS, &list, 28, 0);
        }));
  make("alices", "x", 0666);
  chown("alices", ALICE, TEAM);
  AS(BOB, TEAM)
    FAILS("by somebody else", EPERM, SET("alices", ACCESS, {USER_OBJ, 6, NOBODY},
                                         {GROUP_OBJ, 4, NOBODY}, {OTHER, 4, NOBODY}));
  AS(ALICE, TEAM)
    OK("by the owner", SET("alices", ACCESS, {USER_OBJ, 6, NOBODY}, {USER, 4, BOB},
                           {GROUP_OBJ, 4, NOBODY}, {MASK, 4, NOBODY}, {OTHER, 0, NOBODY}));
  /* set-group-id goes when a stranger to the group sets a list. */
  make("sgid", "x", 0755);
  chown("sgid", ALICE, CLUB);
  chmod("sgid", 02755);
  AS(ALICE, TEAM)
    OK("by the owner, who is not in the group", SET("sgid", ACCESS, {USER_OBJ, 7, NOBODY},
                                                    {GROUP_OBJ, 5, NOBODY}, {OTHER, 5, NOBODY}));
  OCTAL("drops set-group-id", 0755, mode_of("sgid"));
}

static void judging(void) {
  directory("j", 0755);
  make("j/f", "x", 0600);
  SET("j/f", ACCESS, {USER_OBJ, 6, NOBODY}, {USER, 4, ALICE}, {USER, 7, BOB},
      {GROUP_OBJ, 0, NOBODY}, {GROUP, 6, CLUB}, {MASK, 6, NOBODY}, {OTHER, 2, NOBODY});
  chmod("j/f", 0662);
  AS(ALICE, TEAM) {
    OK("a named user reads", open("j/f", O_RDONLY));
    FAILS("a named user does not write", EACCES, open("j/f", O_WRONLY));
    OK("access agrees", access("j/f", R_OK));
    FAILS("access agrees on writing", EACCES, access("j/f", W_OK));
  }
  AS_MEMBER(ALICE, TEAM, CLUB)
    FAILS("a named user's entry goes before the group's", EACCES, open("j/f", O_WRONLY));
  AS(BOB, TEAM) {
    OK("another named user reads and writes", open("j/f", O_RDWR));
    FAILS("the mask takes execute away", EACCES, access("j/f", X_OK));
  }
  AS(20003, CLUB) OK("a named group reads and writes", open("j/f", O_RDWR));
  AS_MEMBER(20003, TEAM, CLUB) OK("a named supplementary group too", open("j/f", O_RDWR));
  AS(20003, TEAM) {
    FAILS("others do not read", EACCES, open("j/f", O_RDONLY));
    OK("others write", open("j/f", O_WRONLY));
  }
  AS(20003, 0) FAILS("the owning group has nothing", EACCES, open("j/f", O_WRONLY));
  chmod("j/f", 0602);
  AS(ALICE, TEAM) FAILS("with an empty mask a named user reads no more", EACCES, open("j/f", O_RDONLY));
  AS(20003, TEAM) OK("and others still write", open("j/f", O_WRONLY));
  SET("j", ACCESS, {USER_OBJ, 7, NOBODY}, {USER, 7, ALICE}, {GROUP_OBJ, 5, NOBODY},
      {MASK, 7, NOBODY}, {OTHER, 0, NOBODY});
  AS(ALICE, TEAM) OK("a named user creates in a directory", mknod("j/new", S_IFREG | 0600, 0));
  AS(BOB, TEAM) FAILS("a stranger does not even look", EACCES, access("j/f", F_OK));
}

static void inheriting(void) {
  directory("d", 0777);
  OK("a default list", SET("d", DEFAULT, {USER_OBJ, 7, NOBODY}, {USER, 6, BOB},
                           {GROUP_OBJ, 5, NOBODY}, {MASK, 7, NOBODY}, {OTHER, 4, NOBODY}));
  OCTAL("leaves the directory's own mode", 0777, mode_of("d"));
  TEXT("and its own list", "ENODATA", text("d", ACCESS));
  umask(077);
  close(OK("a file in it, under umask 077", open("d/f", O_CREAT | O_WRONLY, 0666)));
  TEXT("inherits, cut by the mode, not by umask", "u::rw- u:20002:rw- g::r-x m::rw- o::r--",
       text("d/f", ACCESS));
  OCTAL("its mode", 0664, mode_of("d/f"));
  TEXT("a file has no default list", "ENODATA", text("d/f", DEFAULT));
  close(open("d/g", O_CREAT | O_WRONLY, 0600));
  TEXT("a file created with 0600", "u::rw- u:20002:rw- g::r-x m::--- o::---", text("d/g", ACCESS));
  OCTAL("has that mode", 0600, mode_of("d/g"));
  OK("a directory in it", mkdir("d/sub", 0777));
  TEXT("inherits as its own list", "u::rwx u:20002:rw- g::r-x m::rwx o::r--", text("d/sub", ACCESS));
  TEXT("and as its default", "u::rwx u:20002:rw- g::r-x m::rwx o::r--", text("d/sub", DEFAULT));
  OK("a directory with 0700", mkdir("d/sub7", 0700));
  TEXT("inherits cut", "u::rwx u:20002:rw- g::r-x m::--- o::---", text("d/sub7", ACCESS));
  TEXT("and the whole default", "u::rwx u:20002:rw- g::r-x m::rwx o::r--", text("d/sub7", DEFAULT));
  OK("a fifo in it", mkfifo("d/p", 0666));
  TEXT("inherits too", "u::rw- u:20002:rw- g::r-x m::rw- o::r--", text("d/p", ACCESS));
  OK("a device in it", mknod("d/n", S_IFCHR | 0644, makedev(1, 3)));
  TEXT("inherits as well", "u::rw- u:20002:rw- g::r-x m::r-- o::r--", text("d/n", ACCESS));
  OK("a link in it", symlink("f", "d/l"));
  OCTAL("keeps 0777", 0777, mode_of("d/l"));
  int fd = OK("O_TMPFILE in it", open("d", O_TMPFILE | O_RDWR, 0666));
  OK("named", linkat(fd, "", AT_FDCWD, "d/t", AT_EMPTY_PATH));
  close(fd);
  TEXT("O_TMPFILE inherits", "u::rw- u:20002:rw- g::r-x m::rw- o::r--", text("d/t", ACCESS));
  umask(022);
  AS(ALICE, TEAM) {
    umask(077);
    close(open("d/alice", O_CREAT | O_WRONLY, 0660));
    TEXT("a user's file inherits", "u::rw- u:20002:rw- g::r-x m::rw- o::---",
         text("d/alice", ACCESS));
    EQ("and is the user's", ALICE, status("d/alice").st_uid);
  }
  AS(BOB, TEAM) OK("the named user may write it", open("d/alice", O_RDWR));
  OK("moving a file out keeps its list", rename("d/f", "moved"));
  TEXT("the moved file's list", "u::rw- u:20002:rw- g::r-x m::rw- o::r--", text("moved", ACCESS));
  make("outside", "x", 0640);
  OK("moving a file in gives it none", rename("outside", "d/inside"));
  TEXT("the file moved in", "ENODATA", text("d/inside", ACCESS));
  OK("a default list without names", SET("d", DEFAULT, {USER_OBJ, 7, NOBODY},
                                         {GROUP_OBJ, 5, NOBODY}, {OTHER, 0, NOBODY}));
  umask(0);
  close(open("d/plain", O_CREAT | O_WRONLY, 0666));
  umask(022);
  OCTAL("acts as a umask", 0640, mode_of("d/plain"));
  TEXT("and leaves no list", "ENODATA", text("d/plain", ACCESS));
  OK("removing the default list", removexattr("d", DEFAULT));
  TEXT("it is gone for good", "ENODATA", text("d", DEFAULT));
  close(open("d/after", O_CREAT | O_WRONLY, 0666));
  OCTAL("umask counts again", 0644, mode_of("d/after"));
  /* With set-gid on the directory as well. */
  directory("both", 0777);
  chown("both", 0, CLUB);
  chmod("both", 02777);
  SET("both", DEFAULT, {USER_OBJ, 7, NOBODY}, {USER, 7, BOB}, {GROUP_OBJ, 7, NOBODY},
      {MASK, 7, NOBODY}, {OTHER, 0, NOBODY});
  AS(ALICE, TEAM) {
    OK("a directory in a set-gid directory with a list", mkdir("both/d", 0777));
    EQ("its group", CLUB, status("both/d").st_gid);
    OCTAL("its mode in it", 02770, mode_of("both/d"));
    TEXT("its list", "u::rwx u:20002:rwx g::rwx m::rwx o::---", text("both/d", ACCESS));
  }
}

static void large(void) {
  make("large", "x", 0600);
  static struct {
    uint32_t version;
    struct entry entries[600];
  } list = {.version = 2};
  static const int counts[] = {10, 100, 250, 480, 500};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    int n = 0;
    list.entries[n++] = (struct entry){USER_OBJ, 6, NOBODY};
    for (int user = 0; user < counts[i]; user++)
      list.entries[n++] = (struct entry){USER, 4, 50000 + user};
    list.entries[n++] = (struct entry){GROUP_OBJ, 4, NOBODY};
    list.entries[n++] = (struct entry){MASK, 4, NOBODY};
    list.entries[n++] = (struct entry){OTHER, 0, NOBODY};
    size_t size = 4 + n * sizeof(struct entry);
    errno = 0;
    long set = setxattr("large", ACCESS, &list, size, 0);
    note(named("%d named users", counts[i]), "%s", set ? error_name(errno) : "ok");
    if (set == 0)
      EQ(named("read back with %d", counts[i]), size, getxattr("large", ACCESS, NULL, 0));
  }
}

void subject_acl(void) {
  setting();
  judging();
  inheriting();
  large();
}
