/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include "backends/char/stream.h"

/* How often it is looked whether somebody has opened the other end: no event tells. */
#define LOOK_NS 200000000

struct pty {
	struct stream stream;
	int master;
	struct loop_src look; /* a timerfd, running while nobody has the other end open */
};

static void look_often(struct pty *p, bool on)
{
	struct itimerspec its = { 0 };

	if (on) {
		its.it_value.tv_nsec = LOOK_NS;
		its.it_interval.tv_nsec = LOOK_NS;
	}
	timerfd_settime(p->look.fd, 0, &its, NULL);
}

static void pty_hangup(struct stream *s)
{
	stream_set_fds(s, -1, STREAM_DIRECT, -1, STREAM_DIRECT);
	look_often(container_of(s, struct pty, stream), true);
}

static void on_look(void *opaque, uint32_t events)
{
	struct pty *p = opaque;
	struct pollfd pfd = { .fd = p->master };
	uint64_t n;
	int in, out;

	(void)events;
	if (read(p->look.fd, &n, sizeof(n)) < 0)
		return;
	if (poll(&pfd, 1, 0) < 0 || (pfd.revents & POLLHUP))
		return;
	in = fcntl(p->master, F_DUPFD_CLOEXEC, 3);
	out = fcntl(p->master, F_DUPFD_CLOEXEC, 3);
	if (in < 0 || out < 0) {
		if (in >= 0)
			close(in);
		return;
	}
	look_often(p, false);
	stream_set_fds(&p->stream, in, STREAM_DIRECT, out, STREAM_DIRECT);
}

static void pty_destroy(struct chardev *c)
{
	struct pty *p = container_of(to_stream(c), struct pty, stream);

	loop_del(p->stream.loop, &p->look);
	close(p->look.fd);
	stream_fini(&p->stream);
	close(p->master);
	free(p);
}

static const struct chardev_ops pty_ops = {
	.write = stream_write,
	.accept_input = stream_accept_input,
	.drain = stream_drain,
	.destroy = pty_destroy,
};

/* Opens a pair, its terminal in raw mode. The master, or -errno. */
static int open_pair(char *name, size_t size)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), slave, err;
	struct termios t;

	if (master < 0)
		return -errno;
	if (grantpt(master) || unlockpt(master))
		goto fail;
	err = ptsname_r(master, name, size);
	if (err) {
		close(master);
		return -err;
	}
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		goto fail;
	if (!tcgetattr(slave, &t)) {
		cfmakeraw(&t);
		tcsetattr(slave, TCSANOW, &t);
	}
	/* Once opened and closed, the master reports a hang-up until somebody comes. */
	close(slave);
	return master;
fail:
	err = -errno;
	close(master);
	return err;
}

int chardev_pty_create(struct loop *loop, char *name, size_t size, struct chardev **out)
{
	struct pty *p = calloc(1, sizeof(*p));
	int fd, ret;

	if (!p)
		return -ENOMEM;
	p->master = open_pair(name, size);
	if (p->master < 0) {
		ret = p->master;
		goto free_pty;
	}
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		goto close_master;
	}
	p->look = (struct loop_src){ fd, on_look, p };
	ret = loop_add(loop, &p->look, EPOLLIN);
	if (ret)
		goto close_timer;
	ret = stream_init(&p->stream, loop, &pty_ops);
	if (ret)
		goto del_timer;
	p->stream.hangup = pty_hangup;
	look_often(p, true);
	*out = &p->stream.dev;
	return 0;
del_timer:
	loop_del(loop, &p->look);
close_timer:
	close(p->look.fd);
close_master:
	close(p->master);
free_pty:
	free(p);
	return ret;
}
