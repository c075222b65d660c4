/* SPDX-License-Identifier: MIT */
#include "backends/char/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define READ_CHUNK 4096

int stream_alias(int fd, int flags, enum stream_mode *mode)
{
	char path[32];
	struct stat st;
	int own;

	if (fstat(fd, &st))
		return -errno;
	*mode = STREAM_DIRECT;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		/* A new description of the same pipe or terminal: O_NONBLOCK is ours alone. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
		*mode = STREAM_POLLED;
	} else if (S_ISSOCK(st.st_mode)) {
		*mode = STREAM_SOCKET;
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		*mode = STREAM_POLLED;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own < 0 ? -errno : own;
}

static bool poll_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

/* read(2) that does not wait: bytes, 0 at the end, or -errno. */
static ssize_t end_read(const struct stream_end *e, void *buf, size_t len)
{
	ssize_t n;

	if (e->mode == STREAM_POLLED && !poll_now(e->fd, POLLIN))
		return -EAGAIN;
	if (e->mode == STREAM_SOCKET)
		n = recv(e->fd, buf, len, MSG_DONTWAIT);
	else
		n = read(e->fd, buf, len);
	return n < 0 ? -errno : n;
}

static ssize_t end_write(const struct stream_end *e, const void *buf, size_t len)
{
	ssize_t n;

	if (e->mode == STREAM_POLLED) {
		if (!poll_now(e->fd, POLLOUT))
			return -EAGAIN;
		/* What surely fits where poll says so: a pipe's page, a terminal's next byte. */
		len = isatty(e->fd) ? 1 : min_u64(len, 512);
	}
	if (e->mode == STREAM_SOCKET)
		n = send(e->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = write(e->fd, buf, len);
	return n < 0 ? -errno : n;
}

/* Returns false where the loop cannot watch it: a regular file, always ready. */
static bool end_watch(struct stream *s, struct stream_end *e, uint32_t events)
{
	if (!e->watched)
		e->watched = !loop_add(s->loop, &e->src, events);
	return e->watched;
}

static void end_unwatch(struct stream *s, struct stream_end *e)
{
	if (e->watched)
		loop_del(s->loop, &e->src);
	e->watched = false;
}

static void end_close(struct stream *s, struct stream_end *e)
{
	end_unwatch(s, e);
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

/* Lock held. */
static void arm_timer(struct stream *s)
{
	struct itimerspec its = { .it_value.tv_nsec = STREAM_FLUSH_NS };

	if (!s->timer_armed)
		s->timer_armed = !timerfd_settime(s->timer.fd, 0, &its, NULL);
}

/* Lock held. The host refuses the output for good, or for now. */
static void output_failed(struct stream *s, int err)
{
	struct stat st;

	s->tx_len = 0;
	if (!fstat(s->out.fd, &st) && S_ISREG(st.st_mode)) {
		/* A full disk may have room again. */
		if (!s->warned)
			log_warn("serial output is lost: %s", strerror(err));
		s->warned = true;
		return;
	}
	end_close(s, &s->out);
}

/* Lock held. Writes what the host takes; watches for more room where it does not. */
static void flush(struct stream *s)
{
	while (s->tx_len) {
		size_t run = min_u64(s->tx_len, STREAM_TX_SIZE - s->tx_head);
		ssize_t n = end_write(&s->out, s->tx + s->tx_head, run);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			if (!end_watch(s, &s->out, EPOLLOUT))
				arm_timer(s);
			break;
		}
		if (n < 0) {
			output_failed(s, (int)-n);
			break;
		}
		s->tx_head = (s->tx_head + (size_t)n) % STREAM_TX_SIZE;
		s->tx_len -= (size_t)n;
	}
	if (!s->tx_len) {
		s->tx_head = 0; /* the first pages stay the ones in use */
		end_unwatch(s, &s->out);
	}
	if (s->refused && s->tx_len <= STREAM_TX_SIZE / 2) {
		s->refused = false;
		loop_post(s->loop, &s->ready);
	}
}

static void on_ready(void *opaque)
{
	struct stream *s = opaque;

	if (s->dev.h.tx_ready)
		s->dev.h.tx_ready(s->dev.h.opaque);
}

static void on_writable(void *opaque, uint32_t events)
{
	struct stream *s = opaque;

	(void)events;
	pthread_mutex_lock(&s->lock);
	flush(s);
	pthread_mutex_unlock(&s->lock);
}

static void on_timer(void *opaque, uint32_t events)
{
	struct stream *s = opaque;
	uint64_t n;

	(void)events;
	if (read(s->timer.fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&s->lock);
	s->timer_armed = false;
	if (!s->out.watched)
		flush(s);
	pthread_mutex_unlock(&s->lock);
}

/* Lock held. Copies what fits into the ring. */
static size_t ring_put(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t n = min_u64(len, STREAM_TX_SIZE - s->tx_len);
	size_t tail = (s->tx_head + s->tx_len) % STREAM_TX_SIZE;
	size_t run = min_u64(n, STREAM_TX_SIZE - tail);

	memcpy(s->tx + tail, buf, run);
	memcpy(s->tx, buf + run, n - run);
	s->tx_len += n;
	return n;
}

size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct stream *s = to_stream(c);
	size_t n = len;

	if (!len)
		return 0;
	pthread_mutex_lock(&s->lock);
	if (s->out.fd >= 0) {
		n = ring_put(s, buf, len);
		s->refused |= n < len;
		if (!s->out.watched) {
			if (n < len || s->tx_len >= STREAM_FLUSH_BYTES || memchr(buf, '\n', n))
				flush(s);
			else
				arm_timer(s);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

void stream_print(struct stream *s, const char *text)
{
	pthread_mutex_lock(&s->lock);
	if (s->out.fd >= 0) {
		ring_put(s, (const uint8_t *)text, strlen(text));
		if (!s->out.watched)
			flush(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void stream_drain(struct chardev *c, int timeout_ms)
{
	struct stream *s = to_stream(c);
	uint64_t end = now_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);

	for (;;) {
		struct pollfd p = { .events = POLLOUT };
		uint64_t now = now_ms();
		bool empty;

		pthread_mutex_lock(&s->lock);
		if (s->out.fd >= 0)
			flush(s);
		empty = !s->tx_len;
		p.fd = s->out.fd;
		pthread_mutex_unlock(&s->lock);
		if (empty || now >= end)
			return;
		(void)poll(&p, 1, (int)(end - now));
	}
}

/* Hands what was read to the front-end, as much as it takes. */
static void deliver(struct stream *s)
{
	const struct chardev_handlers *h = &s->dev.h;

	while (s->rx_len) {
		size_t n = h->can_receive ? h->can_receive(h->opaque) : 0;

		n = min_u64(n, s->rx_len);
		if (!n)
			return;
		s->rx_head += n;
		s->rx_len -= n;
		h->receive(h->opaque, s->rx + s->rx_head - n, n);
	}
	s->rx_head = 0;
}

/* How much may be read now. */
static size_t read_room(struct stream *s)
{
	const struct chardev_handlers *h = &s->dev.h;

	if (s->filter)
		return min_u64(STREAM_RX_SIZE - s->rx_len, READ_CHUNK);
	if (s->rx_len || !h->can_receive)
		return 0;
	return min_u64(h->can_receive(h->opaque), READ_CHUNK);
}

static void input_ended(struct stream *s)
{
	s->eof = true;
	if (!s->hangup) {
		end_unwatch(s, &s->in);
		return;
	}
	/* A peer that only finished sending still listens: from now on its hang-up is news. */
	if (s->in.watched)
		(void)loop_mod(s->loop, &s->in.src, 0);
}

/* Reads once. False when there is nothing more to read for now. */
static bool read_some(struct stream *s)
{
	size_t room = read_room(s);
	ssize_t n;

	if (!room) {
		/* Off the loop entirely: a hang-up would be reported all the same. */
		end_unwatch(s, &s->in);
		return false;
	}
	if (s->rx_head + s->rx_len + room > STREAM_RX_SIZE) {
		memmove(s->rx, s->rx + s->rx_head, s->rx_len);
		s->rx_head = 0;
	}

	uint8_t *at = s->rx + s->rx_head + s->rx_len;

	n = end_read(&s->in, at, room);
	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n <= 0) {
		input_ended(s);
		return false;
	}
	if (s->filter)
		n = (ssize_t)s->filter(s, at, (size_t)n);
	s->rx_len += (size_t)n;
	deliver(s);
	return true;
}

static void on_readable(void *opaque, uint32_t events)
{
	struct stream *s = opaque;

	if (s->eof) {
		if (s->hangup && events & (EPOLLHUP | EPOLLERR))
			s->hangup(s);
		return;
	}
	(void)read_some(s);
}

/* The front-end has room, or reading starts. */
static void on_accept(void *opaque)
{
	struct stream *s = opaque;

	deliver(s);
	if (s->in.fd < 0 || s->eof || s->in.watched)
		return;
	/* Looked at once before it is watched: most often it is not worth watching yet. */
	if (read_room(s) && !end_watch(s, &s->in, EPOLLIN))
		while (read_some(s))
			;
}

void stream_accept_input(struct chardev *c)
{
	struct stream *s = to_stream(c);

	loop_post(s->loop, &s->accept);
}

void stream_set_fds(struct stream *s, int in_fd, enum stream_mode in_mode, int out_fd,
		    enum stream_mode out_mode)
{
	int old_in = s->in.fd, old_out;

	end_unwatch(s, &s->in);
	s->in = (struct stream_end){ in_fd, in_mode, { in_fd, on_readable, s }, false };
	s->eof = false;
	s->rx_head = 0;
	s->rx_len = 0;

	pthread_mutex_lock(&s->lock);
	end_unwatch(s, &s->out);
	old_out = s->out.fd;
	s->out = (struct stream_end){ out_fd, out_mode, { out_fd, on_writable, s }, false };
	s->tx_head = 0;
	s->tx_len = 0;
	if (s->refused) {
		s->refused = false;
		loop_post(s->loop, &s->ready);
	}
	pthread_mutex_unlock(&s->lock);

	if (old_in >= 0)
		close(old_in);
	if (old_out >= 0)
		close(old_out);
	if (in_fd >= 0)
		loop_post(s->loop, &s->accept);
}

int stream_init(struct stream *s, struct loop *loop, const struct chardev_ops *ops)
{
	int fd, ret;

	s->dev.ops = ops;
	s->loop = loop;
	s->in.fd = -1;
	s->out.fd = -1;
	s->ready = (struct loop_post){ .fn = on_ready, .opaque = s };
	s->accept = (struct loop_post){ .fn = on_accept, .opaque = s };
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	s->timer = (struct loop_src){ fd, on_timer, s };
	ret = loop_add(loop, &s->timer, EPOLLIN);
	if (ret) {
		close(fd);
		return ret;
	}
	pthread_mutex_init(&s->lock, NULL);
	return 0;
}

void stream_fini(struct stream *s)
{
	stream_drain(&s->dev, 0);
	stream_set_fds(s, -1, STREAM_DIRECT, -1, STREAM_DIRECT);
	loop_del(s->loop, &s->timer);
	close(s->timer.fd);
	pthread_mutex_destroy(&s->lock);
}
