/* SPDX-License-Identifier: MIT */
/* The console on standard input and output: the terminal, which is taken and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/unit/stdio_rig.h"

/* Orphans come to us, who wait for them; otherwise they might stay as zombies. */
static bool is_gone(pid_t pid)
{
	for (unsigned i = 0; i < 2000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid || (kill(pid, 0) && errno == ESRCH))
			return true;
		srig_sleep_us(1000);
	}
	return false;
}

static void quits(void **state)
{
	struct srig r = srig_on_terminal(GUEST_ECHO);
	pid_t watcher = srig_watcher(r.pid);

	(void)state;
	assert_true(srig_is_raw(&r));
	assert_true(watcher > 0);
	srig_type(&r, "hi");
	assert_true(srig_see(r.master, "hi"));
	/* Ctrl-c, Ctrl-z, Ctrl-\, Ctrl-s and Ctrl-q are the guest's. */
	srig_type(&r, "\x03\x1a\x1c\x13\x11.");
	assert_true(srig_see(r.master, "\x03\x1a\x1c\x13\x11."));
	srig_quit(&r);
	assert_true(is_gone(watcher));
	srig_close(&r);
}

static void escapes(void **state)
{
	struct srig r = srig_on_terminal(GUEST_ECHO);

	(void)state;
	srig_type(&r, "1\x01\x01-\x01"
		      "a2");
	assert_true(srig_see(r.master, "1\x01-\x01"
				       "2"));
	srig_type(&r, "3\x01q4"); /* no such key */
	assert_true(srig_see(r.master, "34"));
	srig_type(&r, "\x01");
	srig_sleep_us(10000);
	srig_type(&r, "h"); /* the two need not come together */
	assert_true(srig_see(r.master, "Ctrl-a x"));
	srig_type(&r, "\x01?");
	assert_true(srig_see(r.master, "Ctrl-a x"));
	srig_type(&r, "\x01"
		      "c");
	assert_true(srig_see(r.master, "no monitor"));
	srig_type(&r, "\x01"
		      "b");
	assert_true(srig_see(r.master, "<break>"));
	srig_quit(&r);
	srig_close(&r);
}

static void quits_though_guest_is_deaf(void **state)
{
	struct srig r = srig_on_terminal(GUEST_DEAF);
	char buf[3000];

	(void)state;
	memset(buf, 'p', sizeof(buf));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(r.master, buf, sizeof(buf)), sizeof(buf));
	srig_quit(&r);
	srig_close(&r);
}

/* Every way out that gives us no chance. */
static void restored_after_death(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGHUP, SIGINT, SIGSEGV, SIGABRT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct srig r = srig_on_terminal(GUEST_ECHO);
		pid_t watcher = srig_watcher(r.pid);

		assert_true(srig_is_raw(&r));
		kill(r.pid, signals[i]);
		assert_true(srig_status(r.pid) != 0);
		assert_true(srig_within_2s(srig_is_restored, &r));
		assert_true(is_gone(watcher));
		srig_close(&r);
	}
}

static unsigned open_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void watcher_is_hardy(void **state)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE, SIGTTOU, SIGTSTP
	};
	struct srig r = srig_on_terminal(GUEST_ECHO);
	pid_t watcher = srig_watcher(r.pid);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		kill(watcher, signals[i]);
	/* It has nothing of ours open but the terminal and its pipe. */
	for (unsigned i = 0; i < 2000 && open_fds(watcher) != 2; i++)
		srig_sleep_us(1000);
	assert_int_equal(open_fds(watcher), 2);
	/* Nor does the group's end end it. */
	assert_true(getsid(watcher) == watcher);
	kill(-r.pid, SIGKILL);
	(void)srig_status(r.pid);
	assert_true(srig_within_2s(srig_is_restored, &r));
	assert_true(is_gone(watcher));
	srig_close(&r);
}

/* A shell that has set the terminal meanwhile keeps what it set. */
static void watcher_yields(void **state)
{
	struct srig r = srig_on_terminal(GUEST_ECHO);
	pid_t watcher = srig_watcher(r.pid);
	struct termios mine = r.before, t;

	(void)state;
	mine.c_lflag &= ~(tcflag_t)ECHO;
	kill(r.pid, SIGSTOP);
	assert_int_equal(tcsetattr(r.slave, TCSANOW, &mine), 0);
	srig_kill(r.pid);
	assert_true(is_gone(watcher));
	assert_int_equal(tcgetattr(r.slave, &t), 0);
	assert_true(srig_same(&t, &mine));
	srig_close(&r);
}

/* Whoever waits for the end of our output is not held up by the watcher. */
static void watcher_holds_no_output(void **state)
{
	struct srig r = srig_terminal();
	struct pollfd p;
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	r.pid = srig_start(GUEST_ECHO, r.slave, fds[1]);
	close(fds[1]);
	assert_true(srig_is_raw(&r));
	srig_type(&r, "typed\r");
	assert_true(srig_see(fds[0], "typed\r"));
	srig_kill(r.pid);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(read(fds[0], &c, 1), 0);
	assert_true(srig_within_2s(srig_is_restored, &r));
	close(fds[0]);
	srig_close(&r);
}

static void job_control(void **state)
{
	struct srig r = srig_on_terminal(GUEST_ECHO);
	int status;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(srig_is_raw(&r));
		kill(r.pid, SIGTSTP);
		assert_int_equal(waitpid(r.pid, &status, WUNTRACED), r.pid);
		assert_true(WIFSTOPPED(status));
		assert_true(srig_is_restored(&r));
		kill(r.pid, SIGCONT);
		assert_true(srig_within_2s(srig_is_raw, &r));
		srig_type(&r, "back");
		assert_true(srig_see(r.master, "back"));
	}
	/* Stopped the hard way the terminal stays raw, and is set again on return. */
	kill(r.pid, SIGSTOP);
	assert_int_equal(waitpid(r.pid, &status, WUNTRACED), r.pid);
	assert_int_equal(tcsetattr(r.slave, TCSANOW, &r.before), 0);
	kill(r.pid, SIGCONT);
	assert_true(srig_within_2s(srig_is_raw, &r));
	srig_quit(&r);
	srig_close(&r);
}

/* Input nobody read does not become a command line of the user's shell. */
static void unread_input_is_discarded(void **state)
{
	struct srig r = srig_on_terminal(GUEST_DEAF);
	struct pollfd p = { .fd = r.slave, .events = POLLIN };

	(void)state;
	kill(r.pid, SIGSTOP);
	srig_type(&r, "rm -rf /\n");
	srig_kill(r.pid);
	assert_true(srig_within_2s(srig_is_restored, &r));
	assert_int_equal(poll(&p, 1, 0), 0);
	srig_close(&r);
}

/* Nobody reads from the terminal: the guest waits, the escape key does not. */
static void quits_though_terminal_is_stuck(void **state)
{
	struct srig r = srig_on_terminal(GUEST_FLOOD);

	(void)state;
	srig_sleep_us(50000);
	srig_quit(&r);
	srig_close(&r);
}

/* A terminal that we may use but not open again: without a description of our own. */
static void foreign_terminal(void **state)
{
	struct srig r = srig_terminal();
	uint8_t buf[4096];
	size_t got = 0;
	ssize_t n;

	(void)state;
	if (geteuid()) {
		srig_close(&r);
		skip();
	}
	assert_int_equal(fchmod(r.slave, 0600), 0);
	assert_int_equal(seteuid(65534), 0);
	prctl(PR_SET_DUMPABLE, 1);
	r.pid = srig_start(GUEST_FLOOD, r.slave, r.slave);
	assert_int_equal(seteuid(0), 0);
	prctl(PR_SET_DUMPABLE, 1);
	srig_sleep_us(50000);
	while (got < 50000 && (n = read(r.master, buf, sizeof(buf))) > 0) {
		srig_check(buf, (size_t)n, got);
		got += (size_t)n;
	}
	assert_true(got >= 50000);
	assert_int_equal(fcntl(r.slave, F_GETFL) & O_NONBLOCK, 0);
	srig_sleep_us(50000);
	srig_quit(&r);
	srig_close(&r);
}

/* Nothing to read, nobody to read it: as a service manager starts us. */
static void null_device(void **state)
{
	struct srig r = srig_terminal();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(srig_status(srig_start(GUEST_PRINT, null, null)), 0);
	r.pid = srig_start(GUEST_ECHO, r.slave, null);
	assert_true(srig_is_raw(&r));
	srig_quit(&r);
	close(null);
	srig_close(&r);
}

/* Output to a terminal, input from elsewhere: its settings are not ours to touch. */
static void terminal_output_only(void **state)
{
	struct srig r = srig_terminal();
	int in[2];

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	r.pid = srig_start(GUEST_ECHO, in[0], r.slave);
	assert_true(srig_is_restored(&r));
	assert_int_equal(srig_watcher(r.pid), 0);
	assert_int_equal(write(in[1], "piped\n", 6), 6);
	assert_true(srig_see(r.master, "piped\r\n"));
	assert_int_equal(fcntl(r.slave, F_GETFL) & O_NONBLOCK, 0);
	srig_kill(r.pid);
	close(in[0]);
	close(in[1]);
	srig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quits),
		cmocka_unit_test(escapes),
		cmocka_unit_test(quits_though_guest_is_deaf),
		cmocka_unit_test(restored_after_death),
		cmocka_unit_test(watcher_is_hardy),
		cmocka_unit_test(watcher_yields),
		cmocka_unit_test(watcher_holds_no_output),
		cmocka_unit_test(job_control),
		cmocka_unit_test(unread_input_is_discarded),
		cmocka_unit_test(quits_though_terminal_is_stuck),
		cmocka_unit_test(foreign_terminal),
		cmocka_unit_test(null_device),
		cmocka_unit_test(terminal_output_only),
	};

	srig_init();
	return cmocka_run_group_tests_name("chardev_stdio", tests, NULL, NULL);
}
