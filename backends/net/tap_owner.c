/* SPDX-License-Identifier: MIT */
/* Who has a tap open: what /proc tells of the descriptors of those that we may look into. */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/net/tap_host.h"

/* Whether the process's descriptor is a /dev/net/tun that is attached to name. */
static bool is_queue(const char *pid, const char *fd, const char *name)
{
	char path[64 + 2 * NAME_MAX], line[128], link[32], wanted[IFNAMSIZ + 8];
	bool found = false;
	ssize_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return false;
	link[len] = '\0';
	if (strcmp(link, "/dev/net/tun"))
		return false;
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	snprintf(wanted, sizeof(wanted), "iff:\t%s\n", name);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strcmp(line, wanted);
	if (f)
		fclose(f);
	return found;
}

static bool has_queue(const char *pid, const char *name)
{
	char path[32 + NAME_MAX];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)))
		found = isdigit((unsigned char)d->d_name[0]) && is_queue(pid, d->d_name, name);
	if (dir)
		closedir(dir);
	return found;
}

static void describe(const char *pid, char *out, size_t size)
{
	char path[32 + NAME_MAX], comm[32] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = '\0';
	if (f)
		fclose(f);
	snprintf(out, size, "%s (process %.20s)", comm, pid);
}

void tap_find_owner(const char *name, char *out, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	snprintf(out, size, "another process");
	while (proc && (d = readdir(proc))) {
		if (isdigit((unsigned char)d->d_name[0]) && has_queue(d->d_name, name)) {
			describe(d->d_name, out, size);
			break;
		}
	}
	if (proc)
		closedir(proc);
}
