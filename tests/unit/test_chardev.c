/* SPDX-License-Identifier: MIT */
/* The character back-ends but for standard input and output: file, socket, pty, null. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "backends/char/chardev.h"

#define BIG (1u << 20)

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* What this process has used of the processor. */
static uint64_t cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The front-end: takes cap bytes at a time and keeps them all. */
struct front {
	struct chardev *c;
	pthread_mutex_t lock;
	size_t held; /* of cap: not yet read by the "guest" */
	size_t cap;
	uint8_t *in;
	atomic_size_t len;
	atomic_uint ready;
	atomic_uint polled; /* calls of can_receive */
};

struct fixture {
	struct iothread io;
	struct front f;
	char dir[32];
	char path[64];
};

static size_t can_receive(void *opaque)
{
	struct front *f = opaque;
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = f->cap - f->held;
	f->polled++;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct front *f = opaque;

	pthread_mutex_lock(&f->lock);
	assert_true(f->held + len <= f->cap);
	assert_true(f->len + len <= BIG);
	memcpy(f->in + f->len, buf, len);
	f->len += len;
	f->held += len;
	pthread_mutex_unlock(&f->lock);
}

static void tx_ready(void *opaque)
{
	struct front *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->ready++;
	pthread_mutex_unlock(&f->lock);
}

/* The guest reads what is there; as a UART, asks for more. */
static size_t guest_reads(struct front *f)
{
	size_t len;
	bool more;

	pthread_mutex_lock(&f->lock);
	more = f->held;
	f->held = 0;
	len = f->len;
	pthread_mutex_unlock(&f->lock);
	if (more)
		chardev_accept_input(f->c);
	return len;
}

static void wait_input(struct front *f, size_t len)
{
	for (unsigned i = 0; i < 20000 && guest_reads(f) < len; i++)
		nanosleep(&(struct timespec){ 0, 100000 }, NULL);
	assert_int_equal(guest_reads(f), len);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	strcpy(x->dir, "/tmp/bantam-test-XXXXXX");
	if (!mkdtemp(x->dir))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/end", x->dir);
	pthread_mutex_init(&x->f.lock, NULL);
	x->f.in = malloc(BIG);
	x->f.cap = 16;
	*state = x;
	return loop_init(&x->io.loop);
}

/* Destroys what the test made, once its thread has stopped; the loop goes last. */
static int teardown(void **state)
{
	struct fixture *x = *state;

	if (x->io.running) {
		loop_stop(&x->io.loop);
		pthread_join(x->io.thread, NULL);
	}
	chardev_destroy(x->f.c);
	loop_destroy(&x->io.loop);
	unlink(x->path);
	rmdir(x->dir);
	free(x->f.in);
	free(x);
	return 0;
}

static void *loop_main(void *opaque)
{
	(void)!loop_run(opaque);
	return NULL;
}

static void connect_and_run(struct fixture *x, struct chardev *c)
{
	x->f.c = c;
	chardev_connect(c, &(struct chardev_handlers){ .can_receive = can_receive,
						       .receive = receive,
						       .tx_ready = tx_ready,
						       .opaque = &x->f });
	assert_int_equal(pthread_create(&x->io.thread, NULL, loop_main, &x->io.loop), 0);
	x->io.running = true;
}

static size_t put(struct fixture *x, const char *s)
{
	return chardev_write(x->f.c, (const uint8_t *)s, strlen(s));
}

/* A guest that sends len pattern bytes, as fast as it is let. */
static void put_pattern(struct fixture *x, size_t len)
{
	uint8_t buf[100];
	size_t done = 0;

	while (done < len) {
		size_t n = len - done < sizeof(buf) ? len - done : sizeof(buf), taken;
		unsigned ready = x->f.ready;

		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)((done + i) * 31 >> 3);
		taken = chardev_write(x->f.c, buf, n);
		done += taken;
		for (unsigned i = 0; taken < n && x->f.ready == ready; i++) {
			assert_true(i < 50000);
			nanosleep(&(struct timespec){ 0, 100000 }, NULL);
		}
	}
}

static bool is_pattern(const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != (uint8_t)(i * 31 >> 3))
			return false;
	return true;
}

/* Reads exactly len bytes or gives up after a while. */
static size_t read_all(int fd, uint8_t *buf, size_t len)
{
	size_t done = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (done < len && poll(&p, 1, 3000) > 0) {
		ssize_t n = read(fd, buf + done, len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static void expect_text(int fd, const char *s)
{
	uint8_t buf[256];

	assert_int_equal(read_all(fd, buf, strlen(s)), strlen(s));
	assert_memory_equal(buf, s, strlen(s));
}

static void null(void **state)
{
	struct chardev *c;

	(void)state;
	assert_int_equal(chardev_null_create(&c), 0);
	assert_int_equal(chardev_write(c, (const uint8_t *)"abc", 3), 3);
	chardev_accept_input(c);
	chardev_drain(c, 1000);
	chardev_destroy(c);
	chardev_destroy(NULL);
}

static size_t file_len(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (size_t)st.st_size;
}

static void file_output(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	uint8_t buf[32];
	int fd;

	/* Made new: what was in it is gone. */
	fd = open(x->path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "an older and longer run", 23), 23);
	close(fd);
	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), 0);
	assert_int_equal(file_len(x->path), 0);
	connect_and_run(x, c);
	/* A line is there at once, the start of one soon. */
	assert_int_equal(put(x, "line\n"), 5);
	assert_int_equal(file_len(x->path), 5);
	assert_int_equal(put(x, "pro"), 3);
	for (unsigned i = 0; i < 1000 && file_len(x->path) < 8; i++)
		sleep_ms(1);
	assert_int_equal(file_len(x->path), 8);
	assert_int_equal(put(x, "mpt"), 3);
	chardev_drain(c, 1000);
	fd = open(x->path, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 11);
	assert_memory_equal(buf, "line\nprompt", 11);
	close(fd);
}

static void file_destroy_flushes(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;

	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), 0);
	assert_int_equal(chardev_write(c, (const uint8_t *)"end", 3), 3);
	chardev_destroy(c);
	assert_int_equal(file_len(x->path), 3);
}

/* Much without a line's end is written by whoever adds to it: the loop does not run here. */
static void file_without_lines(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;

	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), 0);
	for (unsigned i = 0; i < 4095; i++)
		assert_int_equal(chardev_write(c, (const uint8_t *)"x", 1), 1);
	assert_int_equal(file_len(x->path), 0);
	assert_int_equal(chardev_write(c, (const uint8_t *)"x", 1), 1);
	assert_int_equal(file_len(x->path), 4096);
	chardev_destroy(c);
}

static void file_big(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	uint8_t *buf = malloc(BIG + 1);
	int fd;

	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	put_pattern(x, BIG);
	chardev_drain(c, 1000);
	fd = open(x->path, O_RDONLY);
	assert_int_equal(read(fd, buf, BIG + 1), BIG);
	assert_true(is_pattern(buf, BIG));
	close(fd);
	free(buf);
}

static void file_errors(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;

	assert_int_equal(chardev_file_create(&x->io.loop, "/nonexistent/file", &c), -ENOENT);
	assert_int_equal(chardev_file_create(&x->io.loop, x->dir, &c), -EISDIR);
	assert_int_equal(chardev_file_create(&x->io.loop, "", &c), -ENOENT);
	/* A FIFO without a reader must not make us wait for one. */
	assert_int_equal(mkfifo(x->path, 0600), 0);
	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), -ENXIO);
}

/* A full disk loses output, not the machine. */
static void file_full(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;

	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(chardev_file_create(&x->io.loop, "/dev/full", &c), 0);
	connect_and_run(x, c);
	put_pattern(x, BIG);
	assert_int_equal(put(x, "more\n"), 5);
}

static void fifo_output(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	uint8_t *buf = malloc(BIG);
	int fd;

	assert_int_equal(mkfifo(x->path, 0600), 0);
	fd = open(x->path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(chardev_file_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	assert_int_equal(put(x, "hello\n"), 6);
	expect_text(fd, "hello\n");
	/* The reader goes: the rest is discarded, without a signal. */
	close(fd);
	put_pattern(x, BIG);
	free(buf);
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* Until the back-end has taken the connection its output would be discarded. */
static int dial_and_greet(struct fixture *x)
{
	int fd = dial(x->path);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t buf[4096];

	assert_true(fd >= 0);
	for (unsigned i = 0; i < 1000 && poll(&p, 1, 2) <= 0; i++)
		put(x, ".\n");
	sleep_ms(20);
	assert_true(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0);
	return fd;
}

static void socket_errors(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	char longer[200];
	int fd;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(chardev_socket_create(&x->io.loop, longer, &c), -ENAMETOOLONG);
	assert_int_equal(chardev_socket_create(&x->io.loop, "", &c), -EINVAL);
	assert_int_equal(chardev_socket_create(&x->io.loop, "/nonexistent/s", &c), -ENOENT);
	assert_int_equal(chardev_socket_create(&x->io.loop, x->dir, &c), -ENOTSOCK);
	/* Somebody's file is not ours to remove. */
	fd = open(x->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), -ENOTSOCK);
	assert_int_equal(access(x->path, F_OK), 0);
}

static void socket_stale(void **state)
{
	struct fixture *x = *state;
	struct chardev *c, *d;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* Left behind by a process that died. */
	strcpy(a.sun_path, x->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(access(x->path, F_OK), 0);
	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	/* One that is in use stays. */
	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &d), -EADDRINUSE);
	assert_int_equal(access(x->path, F_OK), 0);
	chardev_destroy(c);
	assert_int_equal(access(x->path, F_OK), -1);
}

static void socket_talk(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	int fd, next;

	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	/* Nobody there: discarded, however much. */
	put_pattern(x, BIG);
	fd = dial_and_greet(x);
	assert_int_equal(put(x, "to the host\n"), 12);
	expect_text(fd, "to the host\n");
	assert_int_equal(write(fd, "to the guest", 12), 12);
	wait_input(&x->f, 12);
	assert_memory_equal(x->f.in, "to the guest", 12);
	/* A second one waits for its turn, and what it sends with it. */
	next = dial(x->path);
	assert_true(next >= 0);
	assert_int_equal(write(next, "second", 6), 6);
	sleep_ms(20);
	assert_int_equal(x->f.len, 12);
	close(fd);
	wait_input(&x->f, 18);
	assert_memory_equal(x->f.in + 12, "second", 6);
	assert_int_equal(put(x, "hello\n"), 6);
	expect_text(next, "hello\n");
	close(next);
}

/* A peer that sends a lot and is done still gets the answer. */
static void socket_half_close(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	uint64_t before;
	int fd;

	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	fd = dial_and_greet(x);
	assert_int_equal(write(fd, "question", 8), 8);
	shutdown(fd, SHUT_WR);
	wait_input(&x->f, 8);
	/* Meanwhile nobody spins. */
	before = cpu_ms();
	sleep_ms(100);
	assert_true(cpu_ms() - before < 50);
	assert_int_equal(put(x, "answer\n"), 7);
	expect_text(fd, "answer\n");
	close(fd);
	fd = dial_and_greet(x);
	assert_int_equal(put(x, "again\n"), 6);
	expect_text(fd, "again\n");
	close(fd);
}

struct sender {
	int fd;
	size_t len;
	bool shut;
};

static void *send_pattern(void *opaque)
{
	struct sender *s = opaque;

	for (size_t i = 0; i < s->len; i++) {
		uint8_t b = (uint8_t)(i * 31 >> 3);

		if (write(s->fd, &b, 1) != 1)
			return "failed";
	}
	if (s->shut)
		close(s->fd);
	return NULL;
}

static void socket_paste(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	struct sender s = { .len = 200000, .shut = true };
	pthread_t t;
	void *result;

	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	s.fd = dial_and_greet(x);
	assert_int_equal(pthread_create(&t, NULL, send_pattern, &s), 0);
	wait_input(&x->f, s.len);
	pthread_join(t, &result);
	assert_null(result);
	assert_true(is_pattern(x->f.in, s.len));
}

/* While the guest does not read, nobody spins. */
static void socket_deaf_guest(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	unsigned polled = 0;
	int fd;

	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	fd = dial_and_greet(x);
	assert_int_equal(write(fd, "0123456789abcdefghijklmnopqrst", 30), 30);
	close(fd); /* a hang-up on top */
	/* On a busy machine it takes some time until all has come; who spins would never rest. */
	for (unsigned i = 0; i < 50 && (!polled || x->f.polled != polled); i++) {
		polled = x->f.polled;
		sleep_ms(100);
	}
	assert_int_equal(x->f.polled, polled);
	assert_int_equal(x->f.len, 16);
	/* It was only waiting. */
	wait_input(&x->f, 30);
	assert_memory_equal(x->f.in, "0123456789abcdefghijklmnopqrst", 30);
}

static void socket_slow_reader(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	uint8_t *buf = malloc(BIG);
	struct pollfd p = { .events = POLLIN };
	size_t len = 0;
	int fd;

	assert_int_equal(chardev_socket_create(&x->io.loop, x->path, &c), 0);
	connect_and_run(x, c);
	fd = dial_and_greet(x);
	p.fd = fd;
	/* Fill everything there is, until the guest has to wait. */
	for (;;) {
		uint8_t b[64];
		size_t taken;

		for (size_t i = 0; i < sizeof(b); i++)
			b[i] = (uint8_t)((len + i) * 31 >> 3);
		taken = chardev_write(c, b, sizeof(b));
		len += taken;
		assert_true(len < BIG);
		if (taken < sizeof(b))
			break;
	}
	sleep_ms(20);
	assert_int_equal(x->f.ready, 0);
	assert_int_equal(read_all(fd, buf, len), len);
	assert_true(is_pattern(buf, len));
	for (unsigned i = 0; i < 1000 && !x->f.ready; i++)
		sleep_ms(1);
	assert_int_equal(x->f.ready, 1);
	assert_int_equal(put(x, "more\n"), 5);
	expect_text(fd, "more\n");
	assert_int_equal(poll(&p, 1, 20), 0);

	/* A drain waits for the reader, but not for ever. */
	struct timespec a, b;

	while (put(x, "0123456789\n") == 11)
		;
	clock_gettime(CLOCK_MONOTONIC, &a);
	chardev_drain(c, 100);
	clock_gettime(CLOCK_MONOTONIC, &b);

	int64_t ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;

	assert_true(ms >= 99 && ms < 2000);
	/* A peer that leaves with the buffer full frees the guest. */
	close(fd);
	for (unsigned i = 0; i < 1000 && x->f.ready < 2; i++)
		sleep_ms(1);
	assert_int_equal(x->f.ready, 2);
	assert_int_equal(put(x, "x\n"), 2);
	free(buf);
}

static void pty_talk(void **state)
{
	struct fixture *x = *state;
	struct chardev *c;
	char name[64];
	struct termios t;
	uint8_t junk[4096];
	int fd;

	assert_int_equal(chardev_pty_create(&x->io.loop, name, 3, &c), -ERANGE);
	assert_int_equal(chardev_pty_create(&x->io.loop, name, sizeof(name), &c), 0);
	assert_memory_equal(name, "/dev/pts/", 9);
	connect_and_run(x, c);
	put_pattern(x, BIG); /* nobody there */

	for (unsigned round = 0; round < 2; round++) {
		struct pollfd p = { .events = POLLIN };
		size_t before = x->f.len;

		fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
		assert_true(fd >= 0);
		assert_int_equal(tcgetattr(fd, &t), 0);
		assert_false(t.c_lflag & (ICANON | ECHO | ISIG));
		p.fd = fd;
		for (unsigned i = 0; i < 500 && poll(&p, 1, 5) <= 0; i++)
			put(x, ".\n");
		sleep_ms(20);
		assert_true(read(fd, junk, sizeof(junk)) > 0);
		assert_int_equal(put(x, "raw\n"), 4);
		expect_text(fd, "raw\n");
		assert_int_equal(write(fd, "\3\1in", 4), 4);
		wait_input(&x->f, before + 4);
		assert_memory_equal(x->f.in + before, "\3\1in", 4);
		close(fd);
		sleep_ms(20);
		put_pattern(x, BIG); /* gone again */
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(null),
		T(file_output),
		T(file_destroy_flushes),
		T(file_without_lines),
		T(file_big),
		T(file_errors),
		T(file_full),
		T(fifo_output),
		T(socket_errors),
		T(socket_stale),
		T(socket_talk),
		T(socket_half_close),
		T(socket_paste),
		T(socket_deaf_guest),
		T(socket_slow_reader),
		T(pty_talk),
	};

	return cmocka_run_group_tests_name("chardev", tests, NULL, NULL);
}
