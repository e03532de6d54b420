/*
 * Small files, one process: creates COUNT files of 4 KiB in DIRECTORY, then stats, renames and
 * removes them. Each phase ends early after SECONDS. Prints one JSON object: for every phase the
 * number of operations and the seconds they took. Files that a cut-short phase leaves are removed
 * outside the measured time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char content[4096];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what, const char *name)
{
	fprintf(stderr, "Cannot %s \"%s\": %s\n", what, name, strerror(errno));
	exit(1);
}

static void create(int i)
{
	char name[32];
	snprintf(name, sizeof name, "a%06d", i);
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("create", name);
	if (write(fd, content, sizeof content) != sizeof content)
		fail("write", name);
	if (close(fd) != 0)
		fail("close", name);
}

static void examine(int i)
{
	char name[32];
	struct stat found;
	snprintf(name, sizeof name, "a%06d", i);
	if (stat(name, &found) != 0)
		fail("stat", name);
	if (found.st_size != sizeof content)
		errno = EIO, fail("find all of", name);
}

static void move(int i)
{
	char from[32], to[32];
	snprintf(from, sizeof from, "a%06d", i);
	snprintf(to, sizeof to, "b%06d", i);
	if (rename(from, to) != 0)
		fail("rename", from);
}

static void drop(int i)
{
	char name[32];
	snprintf(name, sizeof name, "b%06d", i);
	if (unlink(name) != 0)
		fail("unlink", name);
}

/* Runs one phase over at most `count` files and returns how many it did. */
static int phase(const char *name, void (*step)(int), int count, double seconds)
{
	double start = now();
	int i = 0;
	while (i < count && now() - start < seconds)
		step(i++);
	printf("%s\"%s\":{\"count\":%d,\"seconds\":%.6f}", step == create ? "" : ",", name, i,
	       now() - start);
	return i;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: files DIRECTORY COUNT SECONDS\n");
		return 2;
	}
	int count = atoi(argv[2]);
	double seconds = atof(argv[3]);
	memset(content, 'u', sizeof content);
	if (mkdir(argv[1], 0755) != 0 || chdir(argv[1]) != 0)
		fail("make", argv[1]);
	printf("{");
	int made = phase("create", create, count, seconds);
	phase("stat", examine, made, seconds);
	int moved = phase("rename", move, made, seconds);
	int gone = phase("unlink", drop, moved, seconds);
	printf("}\n");
	for (int i = gone; i < moved; i++)
		drop(i);
	for (int i = moved; i < made; i++) {
		char name[32];
		snprintf(name, sizeof name, "a%06d", i);
		unlink(name);
	}
	if (chdir("/") != 0 || rmdir(argv[1]) != 0)
		fail("remove", argv[1]);
	return 0;
}
