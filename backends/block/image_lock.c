/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/block/image_host.h"
#include "base/log.h"

/*
 * Of a process that has just ended the kernel may still be finishing writes (io_uring's rings are
 * taken down behind its back), and until then its lock is there and nobody has it. It is tried
 * again and again: what tells of the end of an open file (inotify) comes before its locks go, and
 * to wait for a lock (F_OFD_SETLKW) has no limit.
 */
#define LINGER_TRIES 200
#define LINGER_US 10000
#define LET_GO_MS 2000

struct holder {
	long pid; /* 0: not found */
	char name[32];
};

/* Whether an open file has a lock (proc(5), fdinfo) that keeps us out. */
static bool has_lock(const char *fdinfo, bool readonly)
{
	FILE *f = fopen(fdinfo, "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5) && (!readonly || strstr(line, " WRITE "));
	if (f)
		fclose(f);
	return found;
}

/* Looks through the open files of a process. Ours without its own, which waits for the lock. */
static bool holds(long pid, const struct image *img, const struct stat *file)
{
	bool self = pid == (long)getpid(), found = false;
	const struct dirent *entry;
	char path[64];
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%ld/fdinfo", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (!isdigit((unsigned char)entry->d_name[0]) || (self && fd == img->fd))
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/fdinfo/%d", pid, fd);
		if (!has_lock(path, img->readonly))
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/fd/%d", pid, fd);
		found = !stat(path, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void read_name(struct holder *h)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/comm", h->pid);
	f = fopen(path, "re");
	if (f && fgets(h->name, sizeof(h->name), f))
		h->name[strcspn(h->name, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* The lock of an open file names no process, but the process's files show the lock. */
static void find_holder(const struct image *img, struct holder *h)
{
	struct flock fl = { .l_type = img->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	const struct dirent *entry;
	struct stat file;
	DIR *dir = NULL;

	*h = (struct holder){ 0 };
	if (!fcntl(img->fd, F_OFD_GETLK, &fl) && fl.l_type != F_UNLCK && fl.l_pid > 0)
		h->pid = fl.l_pid;
	else if (!fstat(img->fd, &file))
		dir = opendir("/proc");
	while (dir && !h->pid && (entry = readdir(dir))) {
		long pid = atol(entry->d_name);

		if (isdigit((unsigned char)entry->d_name[0]) && holds(pid, img, &file))
			h->pid = pid;
	}
	if (dir)
		closedir(dir);
	if (h->pid)
		read_name(h);
}

static bool take_lock(const struct image *img)
{
	struct flock fl = { .l_type = img->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	/* It covers the whole file, which also meets the byte ranges of other VMMs. */
	return !fcntl(img->fd, F_OFD_SETLK, &fl);
}

static bool in_use(void)
{
	return errno == EAGAIN || errno == EACCES;
}

int image_lock(const struct image *img, struct err *err)
{
	char who[96] = "another process";
	struct holder h = { 0 };
	unsigned waited = 0;

	while (!take_lock(img)) {
		if (!in_use()) {
			log_warn("--disk %s: cannot be locked (%s); do not use it twice", img->path,
				 strerror(errno));
			return 0;
		}
		find_holder(img, &h);
		if (h.pid || waited++ == LINGER_TRIES)
			break;
		usleep(LINGER_US);
	}
	if (waited <= LINGER_TRIES && !h.pid)
		return 0;
	if (h.pid == (long)getpid())
		snprintf(who, sizeof(who), "another disk of this machine");
	else if (h.pid)
		snprintf(who, sizeof(who), "process %ld (%s)", h.pid, h.name);
	return err_set(err, -EBUSY, "%s: is in use by %s%s", img->path, who,
		       img->readonly ? ", which writes to it" : "");
}

/* Tells of the end of whatever has the file open for writing. -1: cannot. */
static int watch_ends(int fd)
{
	int watch = inotify_init1(IN_CLOEXEC);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (watch < 0 || inotify_add_watch(watch, path, IN_CLOSE_WRITE) >= 0)
		return watch;
	close(watch);
	return -1;
}

void image_let_go(struct image *img)
{
	struct flock fl = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	struct pollfd end = { .fd = -1, .events = POLLIN };

	if (!img->readonly && img->engine == BLOCK_ENGINE_IO_URING)
		end.fd = watch_ends(img->fd);
	(void)fcntl(img->fd, F_OFD_SETLK, &fl);
	close(img->fd);
	img->fd = -1;
	if (end.fd < 0)
		return;
	(void)poll(&end, 1, LET_GO_MS);
	close(end.fd);
}
