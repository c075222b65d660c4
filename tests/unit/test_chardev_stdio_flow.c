/* SPDX-License-Identifier: MIT */
/* The console on standard input and output: what goes through, by terminals, pipes and files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/unit/stdio_rig.h"

/* Feeds SRIG_BIG bytes in while reading what comes back; slow: takes its time about that. */
static void paste_through(int in, int out, bool slow)
{
	size_t sent = 0, got = 0;
	unsigned idle = 0;

	fcntl(in, F_SETFL, O_NONBLOCK);
	while (got < SRIG_BIG && idle < 4000) {
		struct pollfd p[2] = { { .fd = out, .events = POLLIN },
				       { .fd = in, .events = POLLOUT } };
		uint8_t buf[4096];
		ssize_t n;

		if (poll(p, sent < SRIG_BIG ? 2 : 1, 1) == 0)
			idle++;
		if (sent < SRIG_BIG && (p[1].revents & POLLOUT)) {
			size_t len = SRIG_BIG - sent < sizeof(buf) ? SRIG_BIG - sent : sizeof(buf);

			srig_fill(buf, len, sent);
			n = write(in, buf, len);
			if (n > 0) {
				sent += (size_t)n;
				idle = 0;
			}
		}
		if (slow && sent < SRIG_BIG / 2 && (p[1].revents & POLLOUT))
			continue;
		if (p[0].revents & POLLIN) {
			n = read(out, buf, slow ? 512 : sizeof(buf));
			assert_true(n > 0);
			srig_check(buf, (size_t)n, got);
			got += (size_t)n;
			idle = 0;
		}
	}
	assert_int_equal(got, SRIG_BIG);
}

static void check_paste_terminal(bool slow)
{
	struct srig r = srig_on_terminal(GUEST_ECHO);

	paste_through(r.master, r.master, slow);
	srig_quit(&r);
	srig_close(&r);
}

static void paste_terminal(void **state)
{
	(void)state;
	check_paste_terminal(false);
}

static void paste_terminal_slow(void **state)
{
	(void)state;
	check_paste_terminal(true);
}

static void paste_pipe(void **state)
{
	int in[2], out[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) ?: pipe2(out, O_CLOEXEC), 0);
	pid = srig_start(GUEST_ECHO, in[0], out[1]);
	close(in[0]);
	/* The description is shared with whoever gave it to us. */
	assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	close(out[1]);
	paste_through(in[1], out[0], true);
	/* Not a terminal: Ctrl-a is a byte like any other. */
	assert_int_equal(write(in[1], "\x01x\x01\x01", 4), 4);
	assert_true(srig_see(out[0], "\x01x\x01\x01"));
	/* The end of input is not the end of the guest. */
	close(in[1]);
	srig_sleep_us(20000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(srig_watcher(pid), 0);
	srig_kill(pid);
	close(out[0]);
}

static void paste_socket(void **state)
{
	int sv[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	pid = srig_start(GUEST_ECHO, sv[1], sv[1]);
	assert_int_equal(fcntl(sv[1], F_GETFL) & O_NONBLOCK, 0);
	close(sv[1]);
	paste_through(sv[0], sv[0], true);
	srig_kill(pid);
	close(sv[0]);
}

/* Reads everything, with long breaks, and compares. */
static void read_slowly(int fd)
{
	uint8_t buf[30000];
	size_t got = 0;
	ssize_t n;

	srig_sleep_us(200000);
	while (got < SRIG_BIG && (n = read(fd, buf, 1 + got % sizeof(buf))) > 0) {
		srig_check(buf, (size_t)n, got);
		got += (size_t)n;
		if (got % 3 == 0)
			srig_sleep_us(1000);
	}
	assert_int_equal(got, SRIG_BIG);
}

static void slow_reader_pipe(void **state)
{
	int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = srig_start(GUEST_PRINT, null, out[1]);
	close(out[1]);
	read_slowly(out[0]);
	assert_int_equal(read(out[0], &c, 1), 0);
	assert_int_equal(srig_status(pid), 0);
	close(out[0]);
	close(null);
}

static void slow_reader_terminal(void **state)
{
	struct srig r = srig_on_terminal(GUEST_PRINT);

	(void)state;
	read_slowly(r.master);
	assert_int_equal(srig_status(r.pid), 0);
	assert_true(srig_is_restored(&r));
	srig_close(&r);
}

/* The reader of our output leaves (| head): the guest goes on. */
static void reader_gone(void **state)
{
	int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = srig_start(GUEST_PRINT, null, out[1]);
	close(out[1]);
	assert_int_equal(read(out[0], &c, 1), 1);
	close(out[0]);
	assert_int_equal(srig_status(pid), 0);
	close(null);
}

/* A file as standard input is read to its end; as output it is shared, position and all. */
static void plain_files(void **state)
{
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	char buf[64] = { 0 }, text[4097];
	struct stat st;
	pid_t pid;

	(void)state;
	assert_int_equal(write(out, "before\n", 7), 7);
	pid = srig_start(GUEST_SAY, in, out);
	assert_int_equal(srig_status(pid), 0);
	assert_int_equal(write(out, "after\n", 6), 6);
	assert_int_equal(pread(out, buf, sizeof(buf), 0), 18);
	assert_string_equal(buf, "before\nsaid\nafter\n");

	for (unsigned i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 26);
	assert_int_equal(pwrite(in, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	lseek(in, 0, SEEK_SET);
	pid = srig_start(GUEST_ECHO, in, out);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(fstat(out, &st), 0);
		if (st.st_size >= 18 + 4096)
			break;
		srig_sleep_us(1000);
	}
	srig_kill(pid);
	assert_int_equal(st.st_size, 18 + 4096);
	assert_int_equal(pread(out, text, 26, 18), 26);
	assert_memory_equal(text, "abcdefghijklmnopqrstuvwxyz", 26);
	close(in);
	close(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paste_terminal),   cmocka_unit_test(paste_terminal_slow),
		cmocka_unit_test(paste_pipe),       cmocka_unit_test(paste_socket),
		cmocka_unit_test(slow_reader_pipe), cmocka_unit_test(slow_reader_terminal),
		cmocka_unit_test(reader_gone),      cmocka_unit_test(plain_files),
	};

	srig_init();
	return cmocka_run_group_tests_name("chardev_stdio_flow", tests, NULL, NULL);
}
