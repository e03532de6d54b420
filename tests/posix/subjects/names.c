/* Names: any byte, the limits of a name and a path, trailing slashes, dots. */
#include "../check.h"

static char *repeated(char letter, size_t length) {
  char *text = malloc(length + 1);
  memset(text, letter, length);
  text[length] = 0;
  return text;
}

static void every_byte(void) {
  directory("bytes", 0755);
  int made = 0, found = 0, right = 0;
  for (int byte = 1; byte < 256; byte++) {
    if (byte == '/') continue;
    char name[] = {'n', (char)byte, 'x', 0};
    char path[16] = "bytes/";
    strcat(path, name);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0) continue;
    made += write(fd, name, 3) == 3;
    close(fd);
  }
  EQ("a file for every byte but / and NUL", 254, made);
  DIR *entries = opendir("bytes");
  struct dirent *entry;
  while ((entry = readdir(entries))) {
    if (entry->d_name[0] != 'n') continue;
    found++;
    char path[300];
    snprintf(path, sizeof path, "bytes/%s", entry->d_name);
    right += memcmp(content(path), entry->d_name, 3) == 0;
  }
  closedir(entries);
  EQ("readdir gives each back", 254, found);
  EQ("each is the file that it names", 254, right);
  static const char *const odd[] = {" ",        "  lead", "trail ",         "-rf",  "a\nb",
                                    "\xff\xfe", "...",    "\xc3\x28",       "*?[",  "a\\b",
                                    "\x7f",     "a:b",    "e\xcc\x81-nfd", "\xc3\xa9-nfc"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    OK(named("mkdir of odd name %zu", i), mkdir(odd[i], 0700));
    OK(named("rename of odd name %zu", i), rename(odd[i], "plain"));
    OK(named("rename back of odd name %zu", i), rename("plain", odd[i]));
    OK(named("rmdir of odd name %zu", i), rmdir(odd[i]));
  }
}

/* Every call that makes or takes a name, with one of 255 and one of 256 bytes. */
static void name_limit(void) {
  char *fits = repeated('f', NAME_MAX), *other = repeated('g', NAME_MAX);
  char *over = repeated('f', NAME_MAX + 1);
  int fd = OK("create with 255 bytes", open(fits, O_CREAT | O_EXCL | O_RDWR, 0644));
  EQ("write to it", 4, write(fd, "text", 4));
  close(fd);
  TEXT("read of it", "text", content(fits));
  OK("link with 255 bytes", link(fits, other));
  OK("rename onto itself's link with 255 bytes", rename(fits, other));
  OK("unlink with 255 bytes", unlink(fits));
  OK("rename with 255 bytes", rename(other, fits));
  OK("unlink of the renamed", unlink(fits));
  OK("mkdir with 255 bytes", mkdir(fits, 0700));
  OK("rmdir with 255 bytes", rmdir(fits));
  OK("symlink with 255 bytes", symlink("x", fits));
  OK("unlink of the link", unlink(fits));
  OK("mkfifo with 255 bytes", mkfifo(fits, 0600));
  OK("unlink of the fifo", unlink(fits));
  make("short", "x", 0644);
  struct stat st;
  char target[8];
  FAILS("open of 256 bytes", ENAMETOOLONG, open(over, O_RDONLY));
  FAILS("create of 256 bytes", ENAMETOOLONG, open(over, O_CREAT | O_RDWR, 0600));
  FAILS("stat of 256 bytes", ENAMETOOLONG, stat(over, &st));
  FAILS("lstat of 256 bytes", ENAMETOOLONG, lstat(over, &st));
  FAILS("mkdir of 256 bytes", ENAMETOOLONG, mkdir(over, 0700));
  FAILS("rmdir of 256 bytes", ENAMETOOLONG, rmdir(over));
  FAILS("unlink of 256 bytes", ENAMETOOLONG, unlink(over));
  FAILS("symlink of 256 bytes", ENAMETOOLONG, symlink("x", over));
  FAILS("readlink of 256 bytes", ENAMETOOLONG, readlink(over, target, sizeof target));
  FAILS("link from 256 bytes", ENAMETOOLONG, link(over, "new"));
  FAILS("link to 256 bytes", ENAMETOOLONG, link("short", over));
  FAILS("rename from 256 bytes", ENAMETOOLONG, rename(over, "new"));
  FAILS("rename to 256 bytes", ENAMETOOLONG, rename("short", over));
  FAILS("mkfifo of 256 bytes", ENAMETOOLONG, mkfifo(over, 0600));
  FAILS("mknod of 256 bytes", ENAMETOOLONG, mknod(over, S_IFREG | 0600, 0));
  FAILS("chmod of 256 bytes", ENAMETOOLONG, chmod(over, 0600));
  FAILS("chown of 256 bytes", ENAMETOOLONG, chown(over, 0, 0));
  FAILS("truncate of 256 bytes", ENAMETOOLONG, truncate(over, 0));
  FAILS("access of 256 bytes", ENAMETOOLONG, access(over, F_OK));
  FAILS("utimensat of 256 bytes", ENAMETOOLONG, utimensat(AT_FDCWD, over, NULL, 0));
  FAILS("chdir of 256 bytes", ENAMETOOLONG, chdir(over));
  FAILS("256 bytes in the middle of a path", ENAMETOOLONG, stat(named("%s/x", over), &st));
  TRUE("the short name is still there", exists("short"));
  /* 127 two-byte characters and one byte: the limit counts bytes. */
  char wide[256] = "";
  for (int i = 0; i < 127; i++) strcat(wide, "\xc3\xa9");
  strcat(wide, "x");
  OK("255 bytes of UTF-8", mkdir(wide, 0700));
  OK("its removal", rmdir(wide));
  free(fits), free(other), free(over);
}

static void path_limit(void) {
  char *path = malloc(3 * PATH_MAX);
  struct stat st;
  path[0] = 0;
  while (strlen(path) + 2 < PATH_MAX - 1) strcat(path, "./");
  size_t short_by = PATH_MAX - 1 - strlen(path);
  memset(path + strlen(path), 'p', short_by);
  path[PATH_MAX - 1] = 0;
  EQ("a path of PATH_MAX - 1 bytes", PATH_MAX - 1, strlen(path));
  OK("creating through it", close(open(path, O_CREAT | O_RDWR, 0600)));
  OK("stat through it", stat(path, &st));
  OK("unlink through it", unlink(path));
  memset(path, '/', PATH_MAX);
  path[PATH_MAX] = 0;
  FAILS("a path of PATH_MAX bytes", ENAMETOOLONG, stat(path, &st));
  FAILS("opening a path of PATH_MAX bytes", ENAMETOOLONG, open(path, O_RDONLY));
  FAILS("mkdir of a path of PATH_MAX bytes", ENAMETOOLONG, mkdir(path, 0700));
  FAILS("rename to a path of PATH_MAX bytes", ENAMETOOLONG, rename("short", path));
  FAILS("symlink with a target of PATH_MAX bytes", ENAMETOOLONG, symlink(path, "long"));
  free(path);
  /* A tree deeper than PATH_MAX, reached step by step. */
  char *step = repeated('d', 200);
  bool made = true;
  FORKED {
    for (int depth = 0; depth < 30 && made; depth++)
      made = mkdir(step, 0755) == 0 && chdir(step) == 0;
    TRUE("a tree of 30 directories, 6,000 bytes deep", made);
    int fd = OK("a file down there", open("deep", O_CREAT | O_RDWR, 0644));
    EQ("written down there", 4, write(fd, "deep", 4));
    close(fd);
    TEXT("read down there", "deep", content("deep"));
    char *cwd = malloc(3 * PATH_MAX);
    OK("rename down there", rename("deep", "deeper"));
    TRUE("getcwd down there", syscall(79, cwd, 3 * PATH_MAX) > 0 || errno == ENAMETOOLONG);
    OK("unlink down there", unlink("deeper"));
    bool removed = true;
    for (int depth = 0; depth < 30 && removed; depth++)
      removed = chdir("..") == 0 && rmdir(step) == 0;
    TRUE("removed from the bottom", removed);
  }
  free(step);
}

static void slashes_and_dots(void) {
  directory("d", 0755);
  make("f", "x", 0644);
  symlink("d", "l");
  struct stat st;
  OK("stat of a directory with slashes", stat("d///", &st));
  FAILS("stat of a file with a slash", ENOTDIR, stat("f/", &st));
  FAILS("stat of a file with slash dot", ENOTDIR, stat("f/.", &st));
  OK("lstat of a link with a slash follows", lstat("l/", &st));
  TRUE("it is the directory", S_ISDIR(st.st_mode));
  OK("mkdir with a trailing slash", mkdir("e/", 0700));
  OK("rename of a directory with slashes", rename("e/", "g/"));
  OK("rmdir with a trailing slash", rmdir("g/"));
  FAILS("unlink with a trailing slash", ENOTDIR, unlink("f/"));
  FAILS("link to a trailing slash", ENOENT, link("f", "h/"));
  FAILS("rename of a file to a trailing slash", ENOTDIR, rename("f", "h/"));
  FAILS("symlink with a trailing slash", ENOENT, symlink("x", "h/"));
  FAILS("mkfifo with a trailing slash", ENOENT, mkfifo("h/", 0600));
  FAILS("rmdir of a link with a slash", ENOTDIR, rmdir("l/"));
  FAILS("mkdir of .", EEXIST, mkdir(".", 0700));
  FAILS("mkdir of ..", EEXIST, mkdir("..", 0700));
  FAILS("rmdir of .", EINVAL, rmdir("."));
  FAILS("rmdir of d/.", EINVAL, rmdir("d/."));
  FAILS("rmdir of d/..", ENOTEMPTY, rmdir("d/.."));
  FAILS("unlink of .", EISDIR, unlink("."));
  FAILS("rename of .", EBUSY, rename(".", "x"));
  FAILS("rename of ..", EBUSY, rename("..", "x"));
  FAILS("rename to .", EBUSY, rename("d", "."));
  FAILS("link to .", EEXIST, link("f", "."));
  FAILS("symlink to ..", EEXIST, symlink("x", ".."));
  OK("a path through d/../f", stat("d/../f", &st));
  FAILS("a path through a file and ..", ENOTDIR, stat("f/../f", &st));
  FAILS("a path through an absent name and ..", ENOENT, stat("absent/../f", &st));
}

void subject_names(void) {
  every_byte();
  name_limit();
  path_limit();
  slashes_and_dots();
}
