/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "backends/char/stream.h"
#include "backends/char/term_guard.h"

#define ESCAPE 0x01 /* Ctrl-a */

struct stdio {
	struct stream stream;
	struct console_escapes esc;
	bool is_tty; /* standard input: guard and signals are in use */
	bool escaped; /* the last byte was the escape key */
	struct term_guard guard;
	struct loop_src signals; /* SIGTSTP, SIGCONT */
	sigset_t blocked; /* those that we blocked */
};

static const char help[] = "\r\n"
			   "Ctrl-a x       quit\r\n"
			   "Ctrl-a b       send a break\r\n"
			   "Ctrl-a Ctrl-a  send one Ctrl-a (or Ctrl-a a)\r\n"
			   "Ctrl-a h       this list\r\n";

static struct stdio *to_stdio(struct stream *s)
{
	return container_of(s, struct stdio, stream);
}

/* The key after the escape key. Returns true where it stands for one Ctrl-a. */
static bool escape_key(struct stdio *io, uint8_t key)
{
	const struct chardev_handlers *h = &io->stream.dev.h;

	switch (key) {
	case 'x':
		if (io->esc.quit)
			io->esc.quit(io->esc.opaque);
		return false;
	case 'b':
		if (h->receive_break)
			h->receive_break(h->opaque);
		return false;
	case 'h':
	case '?':
		stream_print(&io->stream, help);
		return false;
	case 'c':
		stream_print(&io->stream, "\r\nThere is no monitor.\r\n");
		return false;
	case 'a':
	case ESCAPE:
		return true;
	default:
		return false;
	}
}

static size_t take_escapes(struct stream *s, uint8_t *buf, size_t len)
{
	struct stdio *io = to_stdio(s);
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		if (io->escaped) {
			io->escaped = false;
			if (escape_key(io, buf[i]))
				buf[out++] = ESCAPE;
		} else if (buf[i] == ESCAPE) {
			io->escaped = true;
		} else {
			buf[out++] = buf[i];
		}
	}
	return out;
}

/* Job control: whoever stops us gets a usable terminal; it is ours again on return. */
static void on_signal(void *opaque, uint32_t events)
{
	struct stdio *io = opaque;
	struct signalfd_siginfo si;

	(void)events;
	if (read(io->signals.fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGTSTP) {
		term_guard_suspend(&io->guard);
		kill(getpid(), SIGSTOP);
	} else {
		term_guard_resume(&io->guard);
	}
}

static int watch_signals(struct stdio *io)
{
	static const int ours[] = { SIGTSTP, SIGCONT };
	sigset_t set, old;
	int fd, ret;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	io->signals = (struct loop_src){ fd, on_signal, io };
	ret = loop_add(io->stream.loop, &io->signals, EPOLLIN);
	if (ret) {
		close(fd);
		return ret;
	}
	/* Threads that are created from here on inherit it. */
	sigprocmask(SIG_BLOCK, &set, &old);
	sigemptyset(&io->blocked);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!sigismember(&old, ours[i]))
			sigaddset(&io->blocked, ours[i]);
	return 0;
}

static void unwatch_signals(struct stdio *io)
{
	loop_del(io->stream.loop, &io->signals);
	close(io->signals.fd);
	sigprocmask(SIG_UNBLOCK, &io->blocked, NULL);
}

static void stdio_destroy(struct chardev *c)
{
	struct stdio *io = to_stdio(to_stream(c));

	stream_fini(&io->stream);
	if (io->is_tty) {
		unwatch_signals(io);
		term_guard_stop(&io->guard);
	}
	free(io);
}

static const struct chardev_ops stdio_ops = {
	.write = stream_write,
	.accept_input = stream_accept_input,
	.drain = stream_drain,
	.destroy = stdio_destroy,
};

static int take_terminal(struct stdio *io)
{
	int ret;

	ret = watch_signals(io);
	if (ret)
		return ret;
	ret = term_guard_start(&io->guard, STDIN_FILENO);
	if (ret) {
		unwatch_signals(io);
		return ret;
	}
	io->is_tty = true;
	io->stream.filter = take_escapes;
	return 0;
}

int chardev_stdio_create(struct loop *loop, const struct console_escapes *esc, struct chardev **out)
{
	struct stdio *io = calloc(1, sizeof(*io));
	enum stream_mode in_mode = STREAM_DIRECT, out_mode = STREAM_DIRECT;
	int in, out_fd, ret;

	if (!io)
		return -ENOMEM;
	if (esc)
		io->esc = *esc;
	ret = stream_init(&io->stream, loop, &stdio_ops);
	if (ret) {
		free(io);
		return ret;
	}
	if (isatty(STDIN_FILENO)) {
		ret = take_terminal(io);
		if (ret) {
			stream_fini(&io->stream);
			free(io);
			return ret;
		}
	}
	/* A reader of our output that has gone is an error of write(2), not our end. */
	signal(SIGPIPE, SIG_IGN);
	/* A descriptor that was closed when we started is no input, or discards output. */
	in = stream_alias(STDIN_FILENO, O_RDONLY, &in_mode);
	out_fd = stream_alias(STDOUT_FILENO, O_WRONLY, &out_mode);
	stream_set_fds(&io->stream, in, in_mode, out_fd, out_mode);
	*out = &io->stream.dev;
	return 0;
}
