/* SPDX-License-Identifier: MIT */
#include "vmm/control_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"

#define SUFFIX ".sock"
#define BACKLOG 64

struct filename {
	char text[CONTROL_NAME_MAX + sizeof(SUFFIX)];
};

static struct filename filename_of(const char *name)
{
	struct filename f;

	snprintf(f.text, sizeof(f.text), "%s%s", name, SUFFIX);
	return f;
}

/* The name in "NAME.sock"; false for a file that is no machine's. */
static bool name_of(const char *file, struct control_name *name)
{
	size_t len = strlen(file), suffix = strlen(SUFFIX);

	if (len <= suffix || len - suffix > CONTROL_NAME_MAX || strcmp(file + len - suffix, SUFFIX))
		return false;
	memcpy(name->text, file, len - suffix);
	name->text[len - suffix] = '\0';
	return control_name_ok(name->text);
}

bool control_name_ok(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				  "._-");

	return len && len <= CONTROL_NAME_MAX && !name[len] && name[0] != '.';
}

/* --- the folder ----------------------------------------------------------------- */

static int find_folder(struct control_dir *d, struct err *err)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (run && *run && run[0] != '/')
		return err_set(err, -EINVAL, "XDG_RUNTIME_DIR=%s: must be an absolute path", run);
	if (run && *run)
		n = snprintf(d->path, sizeof(d->path), "%s/bantam", run);
	else if (!geteuid())
		n = snprintf(d->path, sizeof(d->path), "/run/bantam");
	else
		return err_set(err, -EINVAL,
			       "no place for a control socket: XDG_RUNTIME_DIR is not set");
	if ((size_t)n >= sizeof(d->path))
		return err_set(err, -ENAMETOOLONG, "XDG_RUNTIME_DIR=%s: too long for a socket",
			       run);
	return 0;
}

static int check_folder(const struct control_dir *d, struct err *err)
{
	struct stat st;

	if (fstat(d->fd, &st))
		return err_set(err, -errno, "%s: %s", d->path, strerror(errno));
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s: belongs to another user (uid %u)", d->path,
			       st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EPERM, "%s: others may write to it; its mode should be 0700",
			       d->path);
	return 0;
}

int control_dir_open(struct control_dir *d, bool create, struct err *err)
{
	int ret = find_folder(d, err);

	if (ret)
		return ret;
	if (create && mkdir(d->path, 0700) && errno != EEXIST)
		return err_set(err, -errno, "cannot make %s: %s", d->path, strerror(errno));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return err_set(err, -ENOTDIR, "%s: must be a folder, and no symbolic link to one",
			       d->path);
	if (d->fd < 0)
		return err_set(err, -errno, "%s: %s", d->path, strerror(errno));
	ret = check_folder(d, err);
	if (ret)
		control_dir_close(d);
	return ret;
}

void control_dir_close(struct control_dir *d)
{
	close(d->fd);
}

static int lock_folder(const struct control_dir *d)
{
	while (flock(d->fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void unlock_folder(const struct control_dir *d)
{
	flock(d->fd, LOCK_UN);
}

/* --- its sockets ---------------------------------------------------------------- */

static int address_of(const struct control_dir *d, const char *name, struct sockaddr_un *addr)
{
	int n;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s" SUFFIX, d->path, name);
	return (size_t)n < sizeof(addr->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Connects. -ECONNREFUSED where there is a socket and nobody behind it. */
static int try_connect(const struct control_dir *d, const char *name)
{
	struct filename file = filename_of(name);
	struct sockaddr_un addr;
	struct stat st;
	int fd, ret = address_of(d, name, &addr);

	if (ret)
		return ret;
	if (fstatat(d->fd, file.text, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	/* The kernel refuses a connection to any other file as if it were a dead socket. */
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

/* With the lock held, so that who does not listen by now is dead. */
static int connect_locked(const struct control_dir *d, const char *name)
{
	int fd = try_connect(d, name);

	if (fd != -ECONNREFUSED)
		return fd;
	return unlinkat(d->fd, filename_of(name).text, 0) && errno != ENOENT ? -errno : -ENOENT;
}

int control_dir_connect(const struct control_dir *d, const char *name)
{
	int fd = try_connect(d, name), ret;

	if (fd != -ECONNREFUSED)
		return fd;
	ret = lock_folder(d);
	if (ret)
		return ret;
	fd = connect_locked(d, name);
	unlock_folder(d);
	return fd;
}

static int bind_locked(const struct control_dir *d, const char *name,
		       const struct sockaddr_un *addr, struct control_socket *s)
{
	struct filename file = filename_of(name);
	struct stat st;
	int fd = connect_locked(d, name), ret;

	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -EAGAIN)
		return -EADDRINUSE;
	if (fd != -ENOENT)
		return fd;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	/*
	 * Linux gives the file the socket's own mode, less the umask, which is the whole
	 * process's and not ours to change: there is no moment in which it is wider.
	 */
	if (fchmod(s->fd, S_IRUSR | S_IWUSR) ||
	    bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		ret = -errno;
		goto close_fd;
	}
	if (listen(s->fd, BACKLOG) || fstatat(d->fd, file.text, &st, AT_SYMLINK_NOFOLLOW)) {
		ret = -errno;
		goto unlink;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
unlink:
	unlinkat(d->fd, file.text, 0);
close_fd:
	close(s->fd);
	return ret;
}

int control_dir_bind(const struct control_dir *d, const char *name, struct control_socket *out,
		     struct err *err)
{
	struct sockaddr_un addr;
	int ret = address_of(d, name, &addr);

	if (!ret)
		ret = lock_folder(d);
	if (!ret) {
		ret = bind_locked(d, name, &addr, out);
		unlock_folder(d);
	}
	switch (ret) {
	case 0:
		return 0;
	case -EADDRINUSE:
		return err_set(err, ret, "%s: a machine of that name is running", name);
	case -ENAMETOOLONG:
		return err_set(err, ret,
			       "%s/%s" SUFFIX ": too long for a socket (at most %zu bytes)",
			       d->path, name, sizeof(addr.sun_path) - 1);
	case -ENOTSOCK:
		return err_set(err, ret, "%s/%s" SUFFIX ": is in the way, and no socket", d->path,
			       name);
	default:
		return err_set(err, ret, "%s/%s" SUFFIX ": %s", d->path, name, strerror(-ret));
	}
}

void control_dir_unbind(const struct control_dir *d, const char *name, struct control_socket *s)
{
	struct filename file = filename_of(name);
	bool locked = !lock_folder(d);
	struct stat st;

	if (!fstatat(d->fd, file.text, &st, AT_SYMLINK_NOFOLLOW) && st.st_dev == s->dev &&
	    st.st_ino == s->ino)
		unlinkat(d->fd, file.text, 0);
	close(s->fd);
	if (locked)
		unlock_folder(d);
}

/* --- all of them ------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
	const struct control_name *x = a, *y = b;

	return strcmp(x->text, y->text);
}

/* Adds the machine behind a file to the list, if there is one. 0 or -ENOMEM. */
static int add_name(const struct control_dir *d, const char *file, struct control_name **names,
		    size_t *nr)
{
	struct control_name name, *more;
	int fd;

	if (!name_of(file, &name))
		return 0;
	fd = control_dir_connect(d, name.text);
	if (fd < 0 && fd != -EAGAIN)
		return 0;
	if (fd >= 0)
		close(fd);
	more = reallocarray(*names, *nr + 1, sizeof(**names));
	if (!more)
		return -ENOMEM;
	more[(*nr)++] = name;
	*names = more;
	return 0;
}

int control_dir_names(const struct control_dir *d, struct control_name **names, size_t *nr)
{
	/* Not a duplicate of d's, which would share its position. */
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	struct dirent *entry;
	DIR *dir;

	*names = NULL;
	*nr = 0;
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		ret = -errno;
		close(fd);
		return ret;
	}
	while (!ret && (entry = readdir(dir)))
		ret = add_name(d, entry->d_name, names, nr);
	closedir(dir);
	if (ret) {
		free(*names);
		*names = NULL;
		return ret;
	}
	if (*nr)
		qsort(*names, *nr, sizeof(**names), compare_names);
	return 0;
}
