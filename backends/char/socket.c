/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends/char/stream.h"

struct sock {
	struct stream stream;
	struct loop_src listener;
	struct sockaddr_un addr;
};

static void on_connect(void *opaque, uint32_t events)
{
	struct sock *k = opaque;
	int in, out;

	(void)events;
	in = accept4(k->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (in < 0)
		return;
	out = fcntl(in, F_DUPFD_CLOEXEC, 3);
	if (out < 0) {
		close(in);
		return;
	}
	/* The next peer waits in the backlog until this one has gone. */
	loop_del(k->stream.loop, &k->listener);
	stream_set_fds(&k->stream, in, STREAM_SOCKET, out, STREAM_SOCKET);
}

static void sock_hangup(struct stream *s)
{
	struct sock *k = container_of(s, struct sock, stream);

	stream_set_fds(s, -1, STREAM_DIRECT, -1, STREAM_DIRECT);
	(void)!loop_add(s->loop, &k->listener, EPOLLIN);
}

static void sock_destroy(struct chardev *c)
{
	struct sock *k = container_of(to_stream(c), struct sock, stream);

	stream_fini(&k->stream);
	loop_del(k->stream.loop, &k->listener);
	unlink(k->addr.sun_path);
	close(k->listener.fd);
	free(k);
}

static const struct chardev_ops sock_ops = {
	.write = stream_write,
	.accept_input = stream_accept_input,
	.drain = stream_drain,
	.destroy = sock_destroy,
};

/* Makes way at the path: only for a socket that nobody listens to. 0 or -errno. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, ret;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	close(fd);
	if (ret != -ECONNREFUSED)
		return !ret || ret == -EAGAIN ? -EADDRINUSE : ret;
	return unlink(addr->sun_path) ? -errno : 0;
}

static int listen_at(const struct sockaddr_un *addr)
{
	int fd, ret = remove_stale(addr);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	if (listen(fd, 1)) {
		ret = -errno;
		unlink(addr->sun_path);
		close(fd);
		return ret;
	}
	return fd;
}

int chardev_socket_create(struct loop *loop, const char *path, struct chardev **out)
{
	struct sock *k;
	int fd, ret;

	if (!*path)
		return -EINVAL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	if (strlen(path) >= sizeof(k->addr.sun_path)) {
		ret = -ENAMETOOLONG;
		goto free_sock;
	}
	k->addr.sun_family = AF_UNIX;
	strcpy(k->addr.sun_path, path);
	fd = listen_at(&k->addr);
	if (fd < 0) {
		ret = fd;
		goto free_sock;
	}
	k->listener = (struct loop_src){ fd, on_connect, k };
	ret = loop_add(loop, &k->listener, EPOLLIN);
	if (ret)
		goto close_listener;
	ret = stream_init(&k->stream, loop, &sock_ops);
	if (ret)
		goto del_listener;
	k->stream.hangup = sock_hangup;
	*out = &k->stream.dev;
	return 0;
del_listener:
	loop_del(loop, &k->listener);
close_listener:
	unlink(k->addr.sun_path);
	close(fd);
free_sock:
	free(k);
	return ret;
}
