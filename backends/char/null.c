/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "backends/char/chardev.h"

static size_t null_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	(void)c;
	(void)buf;
	return len;
}

static void null_accept_input(struct chardev *c)
{
	(void)c;
}

static void null_drain(struct chardev *c, int timeout_ms)
{
	(void)c;
	(void)timeout_ms;
}

static void null_destroy(struct chardev *c)
{
	free(c);
}

static const struct chardev_ops null_ops = {
	.write = null_write,
	.accept_input = null_accept_input,
	.drain = null_drain,
	.destroy = null_destroy,
};

int chardev_null_create(struct chardev **out)
{
	struct chardev *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->ops = &null_ops;
	*out = c;
	return 0;
}
