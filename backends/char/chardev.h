/* SPDX-License-Identifier: MIT */
/*
 * A stream of bytes on the host behind a serial port.
 *
 * A front-end sends with chardev_write() and is handed input through the receive
 * hooks. Nothing is ever dropped: output that the host does not take at once is
 * kept, in order, and input waits in the host's own buffer until the front-end has
 * room for it.
 */
#ifndef BACKENDS_CHARDEV_H
#define BACKENDS_CHARDEV_H

#include "base/loop.h"
#include "base/util.h"

struct chardev;

struct chardev_ops {
	/*
	 * Takes len bytes, any thread. Returns how many were taken: fewer than len when
	 * the bounded buffer is full; tx_ready is called once there is room again.
	 */
	size_t (*write)(struct chardev *c, const uint8_t *buf, size_t len);
	/* The front-end has room (again): any thread. */
	void (*accept_input)(struct chardev *c);
	/* Writes out what is buffered, waiting for the host, at most timeout_ms. */
	void (*drain)(struct chardev *c, int timeout_ms);
	/* Once the loop has stopped. Waits for nobody: drain first. */
	void (*destroy)(struct chardev *c);
};

/* The front-end's side. Called on the event loop's thread with no lock held. */
struct chardev_handlers {
	/* How many bytes fit now; 0 stops reading until chardev_accept_input(). */
	size_t (*can_receive)(void *opaque);
	void (*receive)(void *opaque, const uint8_t *buf, size_t len);
	/* The host end takes output again. Optional. */
	void (*tx_ready)(void *opaque);
	/* A break, from the console's escape. Optional. */
	void (*receive_break)(void *opaque);
	void *opaque;
};

struct chardev {
	const struct chardev_ops *ops;
	struct chardev_handlers h;
};

/* Connects the front-end; before the loop runs. */
static inline void chardev_connect(struct chardev *c, const struct chardev_handlers *h)
{
	c->h = *h;
}

static inline size_t chardev_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	return c->ops->write(c, buf, len);
}

static inline void chardev_accept_input(struct chardev *c)
{
	c->ops->accept_input(c);
}

static inline void chardev_drain(struct chardev *c, int timeout_ms)
{
	c->ops->drain(c, timeout_ms);
}

static inline void chardev_destroy(struct chardev *c)
{
	if (c)
		c->ops->destroy(c);
}

/* What the console's escape key (Ctrl-a) leads to; on the loop's thread. */
struct console_escapes {
	void (*quit)(void *opaque); /* Ctrl-a x */
	void *opaque;
};

/*
 * The terminal or pipes on standard input and output. A terminal is set to raw mode
 * and restored on destroy, and, by a small watching process that outlives us, after
 * a crash or a kill as well. Ctrl-a is the escape key: Ctrl-a x quits, Ctrl-a b sends a break, Ctrl-a h
 * lists the keys, Ctrl-a Ctrl-a (or Ctrl-a a) sends one Ctrl-a; on a pipe input is not interpreted.
 * Must be created before any thread (it forks). Returns 0 or -errno.
 */
int chardev_stdio_create(struct loop *loop, const struct console_escapes *esc,
			 struct chardev **out) __must_check;

/* Output into a file, made new; there is no input. */
int chardev_file_create(struct loop *loop, const char *path, struct chardev **out) __must_check;

/* A pseudo-terminal; its path is written to name (size bytes). */
int chardev_pty_create(struct loop *loop, char *name, size_t size,
		       struct chardev **out) __must_check;

/* A Unix socket that listens at path, one peer at a time; output without a peer is discarded. */
int chardev_socket_create(struct loop *loop, const char *path, struct chardev **out) __must_check;

/* Discards output, has no input. */
int chardev_null_create(struct chardev **out) __must_check;

#endif
