/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends/char/stream.h"

static void file_destroy(struct chardev *c)
{
	struct stream *s = to_stream(c);

	stream_fini(s);
	free(s);
}

static const struct chardev_ops file_ops = {
	.write = stream_write,
	.accept_input = stream_accept_input,
	.drain = stream_drain,
	.destroy = file_destroy,
};

int chardev_file_create(struct loop *loop, const char *path, struct chardev **out)
{
	struct stream *s = calloc(1, sizeof(*s));
	int fd, ret;

	if (!s)
		return -ENOMEM;
	/* O_NONBLOCK: a FIFO without a reader is an error here and never a wait. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	if (fd < 0) {
		ret = -errno;
		free(s);
		return ret;
	}
	ret = stream_init(s, loop, &file_ops);
	if (ret) {
		close(fd);
		free(s);
		return ret;
	}
	signal(SIGPIPE, SIG_IGN); /* it may be a FIFO */
	stream_set_fds(s, -1, STREAM_DIRECT, fd, STREAM_DIRECT);
	*out = &s->dev;
	return 0;
}
