/* SPDX-License-Identifier: MIT */
/*
 * What the character back-ends share: a chardev over up to two file descriptors.
 * Private to backends/char.
 *
 * Output goes through a bounded ring. A line, or a few KiB, is written at once by
 * whoever completes it; less is written when STREAM_FLUSH_NS have passed, so that a
 * guest's byte costs no system call. When the host does not take it the ring waits
 * for EPOLLOUT, and when the ring is full the front-end does. Without an output
 * descriptor, and once the reader has gone, output is discarded.
 *
 * Input is read on the loop's thread, only as much as the front-end takes. With a
 * filter it is read ahead into a bounded buffer instead, so that the escape key works
 * while the guest does not listen.
 *
 * Threads: the loop's thread has everything to do with input; lock guards the rest.
 * The handlers of the front-end are called without it.
 */
#ifndef BACKENDS_CHAR_STREAM_H
#define BACKENDS_CHAR_STREAM_H

#include <pthread.h>

#include "backends/char/chardev.h"

/* Pages that are never used cost nothing: a ring that empties starts again at 0. */
#define STREAM_TX_SIZE (256 * KIB)
#define STREAM_RX_SIZE (64 * KIB)
#define STREAM_FLUSH_BYTES 4096
#define STREAM_FLUSH_NS 4000000 /* unseen by people, and a batch for a guest that types */

/* How to write (or read) without waiting for the host. */
enum stream_mode {
	STREAM_DIRECT, /* never waits: a regular file, or O_NONBLOCK on a description of ours */
	STREAM_SOCKET, /* a socket: MSG_DONTWAIT */
	STREAM_POLLED, /* shared with others, whose O_NONBLOCK it would be: poll, then little */
};

struct stream_end {
	int fd; /* -1: none */
	enum stream_mode mode;
	struct loop_src src;
	bool watched; /* on the loop */
};

struct stream {
	struct chardev dev;
	struct loop *loop;

	pthread_mutex_t lock; /* guards out, the ring and the flags with it */
	struct stream_end out;
	struct loop_src timer; /* its timerfd */
	bool timer_armed;
	bool refused; /* the front-end waits for tx_ready */
	bool warned;
	struct loop_post ready; /* tells it */
	size_t tx_head;
	size_t tx_len;
	uint8_t tx[STREAM_TX_SIZE];

	/* The loop's thread only. */
	struct stream_end in;
	bool eof;
	struct loop_post accept;
	size_t rx_head;
	size_t rx_len;
	uint8_t rx[STREAM_RX_SIZE];

	/* Optional: takes the escapes out of len bytes, in place; returns what is left. */
	size_t (*filter)(struct stream *s, uint8_t *buf, size_t len);
	/* Optional: the peer has gone for good, descriptors are still open. Loop's thread. */
	void (*hangup)(struct stream *s);
};

/* Prepares s with no descriptors. 0 or -errno. */
int stream_init(struct stream *s, struct loop *loop, const struct chardev_ops *ops) __must_check;

/* Writes what the host takes at once, closes what it holds. The loop has stopped by then. */
void stream_fini(struct stream *s);

/*
 * Sets or replaces (-1, -1: takes away) the descriptors, which become the stream's to
 * close; two numbers even for one socket, for the loop watches each by itself. Reading
 * starts with the loop. Before the loop runs, or on its thread. What was buffered for
 * the old peer is dropped.
 */
void stream_set_fds(struct stream *s, int in_fd, enum stream_mode in_mode, int out_fd,
		    enum stream_mode out_mode);

/*
 * A descriptor for what fd leads to that can be used without waiting and without
 * changing fd for those who share it. flags: O_RDONLY or O_WRONLY. Returns the new
 * descriptor and its mode, or -errno.
 */
int stream_alias(int fd, int flags, enum stream_mode *mode) __must_check;

/* Text of our own into the output, as far as there is room. */
void stream_print(struct stream *s, const char *text);

/* For chardev_ops. */
size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len);
void stream_accept_input(struct chardev *c);
void stream_drain(struct chardev *c, int timeout_ms);

static inline struct stream *to_stream(struct chardev *c)
{
	return container_of(c, struct stream, dev);
}

#endif
