/* SPDX-License-Identifier: MIT */
/*
 * The console on standard input and output, with true terminals and pipes: each test
 * forks a process that has one end of them as its 0 and 1 and plays the machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "backends/char/chardev.h"

#define BIG (1u << 20)

static void sleep_us(unsigned us)
{
	nanosleep(&(struct timespec){ us / 1000000, (long)(us % 1000000) * 1000 }, NULL);
}

/* --- the forked process: a guest behind the console --------------------------- */

enum guest_kind {
	GUEST_ECHO, /* sends back what it reads */
	GUEST_DEAF, /* never reads */
	GUEST_PRINT, /* sends BIG bytes of pattern and is done */
	GUEST_FLOOD, /* never stops sending */
	GUEST_SAY, /* sends one line and is done */
};

struct guest {
	enum guest_kind kind;
	struct loop *loop;
	struct chardev *c;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint8_t rx[16];
	size_t rx_len;
	bool ready; /* tx_ready since the last write that was refused */
	bool stop;
	unsigned breaks;
};

static size_t can_receive(void *opaque)
{
	struct guest *g = opaque;
	size_t n;

	pthread_mutex_lock(&g->lock);
	n = g->kind == GUEST_DEAF ? 0 : sizeof(g->rx) - g->rx_len;
	pthread_mutex_unlock(&g->lock);
	return n;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct guest *g = opaque;

	pthread_mutex_lock(&g->lock);
	if (len > sizeof(g->rx) - g->rx_len)
		abort();
	memcpy(g->rx + g->rx_len, buf, len);
	g->rx_len += len;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void tx_ready(void *opaque)
{
	struct guest *g = opaque;

	pthread_mutex_lock(&g->lock);
	g->ready = true;
	pthread_cond_signal(&g->cond);
	pthread_mutex_unlock(&g->lock);
}

static void receive_break(void *opaque)
{
	struct guest *g = opaque;

	(void)!chardev_write(g->c, (const uint8_t *)"<break>\n", 8);
}

static void guest_send(struct guest *g, const uint8_t *buf, size_t len)
{
	while (len) {
		size_t n;

		pthread_mutex_lock(&g->lock);
		g->ready = false;
		pthread_mutex_unlock(&g->lock);
		n = chardev_write(g->c, buf, len);
		buf += n;
		len -= n;
		pthread_mutex_lock(&g->lock);
		while (len && !g->ready && !g->stop)
			pthread_cond_wait(&g->cond, &g->lock);
		if (g->stop)
			len = 0;
		pthread_mutex_unlock(&g->lock);
	}
}

static uint8_t pattern(size_t i)
{
	uint8_t b = (uint8_t)(i * 31 >> 3);

	/* Neither the escape key nor what output processing changes. */
	return b == 1 || b == '\n' || b == '\r' || b == '\t' ? 'x' : b;
}

static bool stopped(struct guest *g)
{
	bool stop;

	pthread_mutex_lock(&g->lock);
	stop = g->stop;
	pthread_mutex_unlock(&g->lock);
	return stop;
}

static void *guest_main(void *opaque)
{
	struct guest *g = opaque;
	uint8_t buf[100];

	if (g->kind == GUEST_SAY)
		guest_send(g, (const uint8_t *)"said\n", 5);
	for (size_t done = 0, all = g->kind == GUEST_PRINT   ? BIG
				    : g->kind == GUEST_FLOOD ? SIZE_MAX
							     : 0;
	     done < all && !stopped(g); done += sizeof(buf)) {
		size_t n = all - done < sizeof(buf) ? all - done : sizeof(buf);

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(done + i);
		guest_send(g, buf, n);
	}
	if (g->kind == GUEST_SAY || g->kind == GUEST_PRINT)
		loop_stop(g->loop);
	while (g->kind == GUEST_ECHO && !stopped(g)) {
		size_t n;

		pthread_mutex_lock(&g->lock);
		while (!g->rx_len && !g->stop)
			pthread_cond_wait(&g->cond, &g->lock);
		n = g->rx_len;
		memcpy(buf, g->rx, n);
		g->rx_len = 0;
		pthread_mutex_unlock(&g->lock);
		chardev_accept_input(g->c);
		guest_send(g, buf, n);
	}
	return NULL;
}

static void quit(void *opaque)
{
	loop_stop(opaque);
}

/* Never returns. Exit status 0, or the errno of a create that failed. */
static void machine(enum guest_kind kind, int ready_fd)
{
	struct loop loop;
	struct guest g = { .kind = kind, .loop = &loop };
	struct console_escapes esc = { quit, &loop };
	pthread_t t;
	int ret;

	pthread_mutex_init(&g.lock, NULL);
	pthread_cond_init(&g.cond, NULL);
	if (loop_init(&loop))
		_exit(100);
	ret = chardev_stdio_create(&loop, &esc, &g.c);
	if (ret)
		_exit(-ret);
	chardev_connect(g.c, &(struct chardev_handlers){ can_receive, receive, tx_ready,
							 receive_break, &g });
	if (pthread_create(&t, NULL, guest_main, &g) || write(ready_fd, "r", 1) != 1)
		_exit(101);
	close(ready_fd);
	if (loop_run(&loop))
		_exit(102);
	/* As vCPUs are paused first. */
	pthread_mutex_lock(&g.lock);
	g.stop = true;
	pthread_cond_signal(&g.cond);
	pthread_mutex_unlock(&g.lock);
	pthread_join(t, NULL);
	chardev_drain(g.c, kind == GUEST_FLOOD ? 100 : 20000);
	chardev_destroy(g.c);
	_exit(0);
}

/* --- the test's side ------------------------------------------------------------ */

struct run {
	pid_t pid;
	int master; /* of the terminal, or -1 */
	int slave; /* kept open, to look at the settings */
	struct termios before;
};

/* Starts a machine with in and out as its 0 and 1; returns when its console is set up. */
static pid_t start(enum guest_kind kind, int in, int out)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* Without cmocka's handlers, which would go on with the tests in here. */
		for (int sig = 1; sig < NSIG; sig++)
			signal(sig, SIG_DFL);
		/* A test that fails leaves nothing behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		dup2(in, 0);
		dup2(out, 1);
		/* Only what it was given: our own ends would keep every pipe open. */
		dup2(ready[1], 3);
		close_range(4, ~0u, 0);
		machine(kind, 3);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static struct run open_terminal(void)
{
	struct run r = { .master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) };
	char name[64];

	assert_true(r.master >= 0);
	assert_int_equal(grantpt(r.master) ?: unlockpt(r.master), 0);
	assert_int_equal(ptsname_r(r.master, name, sizeof(name)), 0);
	r.slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(r.slave >= 0);
	/* Something of its own to restore. */
	assert_int_equal(tcgetattr(r.slave, &r.before), 0);
	r.before.c_cc[VINTR] = 0x1c;
	r.before.c_iflag |= IXANY;
	assert_int_equal(tcsetattr(r.slave, TCSANOW, &r.before), 0);
	assert_int_equal(tcgetattr(r.slave, &r.before), 0);
	assert_true(r.before.c_lflag & ICANON);
	return r;
}

static struct run start_on_terminal(enum guest_kind kind)
{
	struct run r = open_terminal();

	r.pid = start(kind, r.slave, r.slave);
	return r;
}

static void close_terminal(struct run *r)
{
	close(r->master);
	close(r->slave);
}

static bool is_raw(const struct run *r)
{
	struct termios t;

	assert_int_equal(tcgetattr(r->slave, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) && !(t.c_iflag & (ICRNL | IXON)) &&
	       (t.c_oflag & OPOST);
}

static bool same(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && !memcmp(a->c_cc, b->c_cc, VEOL2 + 1);
}

static bool is_restored(const struct run *r)
{
	struct termios t;

	assert_int_equal(tcgetattr(r->slave, &t), 0);
	return same(&t, &r->before);
}

static bool within_2s(bool (*is)(const struct run *), const struct run *r)
{
	for (unsigned i = 0; i < 2000 && !is(r); i++)
		sleep_us(1000);
	return is(r);
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The machine's child: the process that watches the terminal. */
static pid_t watcher_of(pid_t pid)
{
	char path[64], buf[64] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	(void)!read(fd, buf, sizeof(buf) - 1);
	close(fd);
	return atoi(buf);
}

/* Orphans come to us, who wait for them; otherwise they might stay as zombies. */
static bool is_gone(pid_t pid)
{
	for (unsigned i = 0; i < 2000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid || (kill(pid, 0) && errno == ESRCH))
			return true;
		sleep_us(1000);
	}
	return false;
}

static void type(const struct run *r, const char *s)
{
	assert_int_equal(write(r->master, s, strlen(s)), (ssize_t)strlen(s));
}

/* Reads until want came by; false when nothing more comes. */
static bool see(int fd, const char *want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[8192];
	size_t len = 0;

	while (poll(&p, 1, 2000) > 0 && len < sizeof(buf)) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		if (memmem(buf, len, want, strlen(want)))
			return true;
	}
	return false;
}

static void quits(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);
	pid_t watcher = watcher_of(r.pid);

	(void)state;
	assert_true(is_raw(&r));
	assert_true(watcher > 0);
	type(&r, "hi");
	assert_true(see(r.master, "hi"));
	/* Ctrl-c, Ctrl-z, Ctrl-\, Ctrl-s and Ctrl-q are the guest's. */
	type(&r, "\x03\x1a\x1c\x13\x11.");
	assert_true(see(r.master, "\x03\x1a\x1c\x13\x11."));
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	assert_true(is_gone(watcher));
	close_terminal(&r);
}

static void escapes(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);

	(void)state;
	type(&r, "1\x01\x01-\x01"
		 "a2");
	assert_true(see(r.master, "1\x01-\x01"
				  "2"));
	type(&r, "3\x01q4"); /* no such key */
	assert_true(see(r.master, "34"));
	type(&r, "\x01");
	sleep_us(10000);
	type(&r, "h"); /* the two need not come together */
	assert_true(see(r.master, "Ctrl-a x"));
	type(&r, "\x01?");
	assert_true(see(r.master, "Ctrl-a x"));
	type(&r, "\x01"
		 "c");
	assert_true(see(r.master, "no monitor"));
	type(&r, "\x01"
		 "b");
	assert_true(see(r.master, "<break>"));
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	close_terminal(&r);
}

static void quits_though_guest_is_deaf(void **state)
{
	struct run r = start_on_terminal(GUEST_DEAF);
	char buf[3000];

	(void)state;
	memset(buf, 'p', sizeof(buf));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(r.master, buf, sizeof(buf)), sizeof(buf));
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close_terminal(&r);
}

/* Every way out that gives us no chance. */
static void restored_after_death(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGHUP, SIGINT, SIGSEGV, SIGABRT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct run r = start_on_terminal(GUEST_ECHO);
		pid_t watcher = watcher_of(r.pid);

		assert_true(is_raw(&r));
		kill(r.pid, signals[i]);
		assert_true(exit_status(r.pid) != 0);
		assert_true(within_2s(is_restored, &r));
		assert_true(is_gone(watcher));
		close_terminal(&r);
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
	struct run r = start_on_terminal(GUEST_ECHO);
	pid_t watcher = watcher_of(r.pid);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		kill(watcher, signals[i]);
	/* It has nothing of ours open but the terminal and its pipe. */
	for (unsigned i = 0; i < 2000 && open_fds(watcher) != 2; i++)
		sleep_us(1000);
	assert_int_equal(open_fds(watcher), 2);
	/* Nor does the group's end end it. */
	assert_true(getsid(watcher) == watcher);
	kill(-r.pid, SIGKILL);
	(void)exit_status(r.pid);
	assert_true(within_2s(is_restored, &r));
	assert_true(is_gone(watcher));
	close_terminal(&r);
}

/* A shell that has set the terminal meanwhile keeps what it set. */
static void watcher_yields(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);
	pid_t watcher = watcher_of(r.pid);
	struct termios mine = r.before, t;

	(void)state;
	mine.c_lflag &= ~(tcflag_t)ECHO;
	kill(r.pid, SIGSTOP);
	assert_int_equal(tcsetattr(r.slave, TCSANOW, &mine), 0);
	kill(r.pid, SIGKILL);
	(void)exit_status(r.pid);
	assert_true(is_gone(watcher));
	assert_int_equal(tcgetattr(r.slave, &t), 0);
	assert_true(same(&t, &mine));
	close_terminal(&r);
}

/* Whoever waits for the end of our output is not held up by the watcher. */
static void watcher_holds_no_output(void **state)
{
	struct run r = open_terminal();
	struct pollfd p;
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	r.pid = start(GUEST_ECHO, r.slave, fds[1]);
	close(fds[1]);
	assert_true(is_raw(&r));
	type(&r, "typed\r");
	assert_true(see(fds[0], "typed\r"));
	kill(r.pid, SIGKILL);
	(void)exit_status(r.pid);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(read(fds[0], &c, 1), 0);
	assert_true(within_2s(is_restored, &r));
	close(fds[0]);
	close_terminal(&r);
}

static void job_control(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);
	int status;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(is_raw(&r));
		kill(r.pid, SIGTSTP);
		assert_int_equal(waitpid(r.pid, &status, WUNTRACED), r.pid);
		assert_true(WIFSTOPPED(status));
		assert_true(is_restored(&r));
		kill(r.pid, SIGCONT);
		assert_true(within_2s(is_raw, &r));
		type(&r, "back");
		assert_true(see(r.master, "back"));
	}
	/* Stopped the hard way the terminal stays raw, and is set again on return. */
	kill(r.pid, SIGSTOP);
	assert_int_equal(waitpid(r.pid, &status, WUNTRACED), r.pid);
	assert_int_equal(tcsetattr(r.slave, TCSANOW, &r.before), 0);
	kill(r.pid, SIGCONT);
	assert_true(within_2s(is_raw, &r));
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close_terminal(&r);
}

/* Input nobody read does not become a command line of the user's shell. */
static void unread_input_is_discarded(void **state)
{
	struct run r = start_on_terminal(GUEST_DEAF);
	struct pollfd p = { .fd = r.slave, .events = POLLIN };

	(void)state;
	kill(r.pid, SIGSTOP);
	type(&r, "rm -rf /\n");
	kill(r.pid, SIGKILL);
	(void)exit_status(r.pid);
	assert_true(within_2s(is_restored, &r));
	assert_int_equal(poll(&p, 1, 0), 0);
	close_terminal(&r);
}

/* Feeds BIG bytes in while reading what comes back; slow: takes its time about that. */
static void paste_through(int in, int out, bool slow)
{
	size_t sent = 0, got = 0;
	unsigned idle = 0;

	fcntl(in, F_SETFL, O_NONBLOCK);
	while (got < BIG && idle < 4000) {
		struct pollfd p[2] = { { .fd = out, .events = POLLIN },
				       { .fd = in, .events = POLLOUT } };
		uint8_t buf[4096];
		ssize_t n;

		if (poll(p, sent < BIG ? 2 : 1, 1) == 0)
			idle++;
		if (sent < BIG && (p[1].revents & POLLOUT)) {
			size_t len = BIG - sent < sizeof(buf) ? BIG - sent : sizeof(buf);

			for (size_t i = 0; i < len; i++)
				buf[i] = pattern(sent + i);
			n = write(in, buf, len);
			if (n > 0) {
				sent += (size_t)n;
				idle = 0;
			}
		}
		if (slow && sent < BIG / 2 && (p[1].revents & POLLOUT))
			continue;
		if (p[0].revents & POLLIN) {
			n = read(out, buf, slow ? 512 : sizeof(buf));
			assert_true(n > 0);
			for (ssize_t i = 0; i < n; i++)
				assert_int_equal(buf[i], pattern(got + (size_t)i));
			got += (size_t)n;
			idle = 0;
		}
	}
	assert_int_equal(got, BIG);
}

static void paste_terminal(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);

	(void)state;
	paste_through(r.master, r.master, false);
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	close_terminal(&r);
}

static void paste_terminal_slow(void **state)
{
	struct run r = start_on_terminal(GUEST_ECHO);

	(void)state;
	paste_through(r.master, r.master, true);
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	close_terminal(&r);
}

static void paste_pipe(void **state)
{
	int in[2], out[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC) ?: pipe2(out, O_CLOEXEC), 0);
	pid = start(GUEST_ECHO, in[0], out[1]);
	close(in[0]);
	/* The description is shared with whoever gave it to us. */
	assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	close(out[1]);
	paste_through(in[1], out[0], true);
	/* Not a terminal: Ctrl-a is a byte like any other. */
	assert_int_equal(write(in[1], "\x01x\x01\x01", 4), 4);
	assert_true(see(out[0], "\x01x\x01\x01"));
	/* The end of input is not the end of the guest. */
	close(in[1]);
	sleep_us(20000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(watcher_of(pid), 0);
	kill(pid, SIGKILL);
	(void)exit_status(pid);
	close(out[0]);
}

static void paste_socket(void **state)
{
	int sv[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	pid = start(GUEST_ECHO, sv[1], sv[1]);
	assert_int_equal(fcntl(sv[1], F_GETFL) & O_NONBLOCK, 0);
	close(sv[1]);
	paste_through(sv[0], sv[0], true);
	kill(pid, SIGKILL);
	(void)exit_status(pid);
	close(sv[0]);
}

/* Reads everything, with long breaks, and compares. */
static void read_slowly(int fd)
{
	uint8_t buf[30000];
	size_t got = 0;
	ssize_t n;

	sleep_us(200000);
	while (got < BIG && (n = read(fd, buf, 1 + got % sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], pattern(got + (size_t)i));
		got += (size_t)n;
		if (got % 3 == 0)
			sleep_us(1000);
	}
	assert_int_equal(got, BIG);
}

static void slow_reader_pipe(void **state)
{
	int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = start(GUEST_PRINT, null, out[1]);
	close(out[1]);
	read_slowly(out[0]);
	assert_int_equal(read(out[0], &c, 1), 0);
	assert_int_equal(exit_status(pid), 0);
	close(out[0]);
	close(null);
}

static void slow_reader_terminal(void **state)
{
	struct run r = start_on_terminal(GUEST_PRINT);

	(void)state;
	read_slowly(r.master);
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close_terminal(&r);
}

/* Nobody reads from the terminal: the guest waits, the escape key does not. */
static void quits_though_terminal_is_stuck(void **state)
{
	struct run r = start_on_terminal(GUEST_FLOOD);

	(void)state;
	sleep_us(50000);
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close_terminal(&r);
}

/* A terminal that we may use but not open again: without a description of our own. */
static void foreign_terminal(void **state)
{
	struct run r = open_terminal();
	uint8_t buf[4096];
	size_t got = 0;
	ssize_t n;

	(void)state;
	if (geteuid()) {
		close_terminal(&r);
		skip();
	}
	assert_int_equal(fchmod(r.slave, 0600), 0);
	assert_int_equal(seteuid(65534), 0);
	prctl(PR_SET_DUMPABLE, 1);
	r.pid = start(GUEST_FLOOD, r.slave, r.slave);
	assert_int_equal(seteuid(0), 0);
	prctl(PR_SET_DUMPABLE, 1);
	sleep_us(50000);
	while (got < 50000 && (n = read(r.master, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], pattern(got + (size_t)i));
		got += (size_t)n;
	}
	assert_true(got >= 50000);
	assert_int_equal(fcntl(r.slave, F_GETFL) & O_NONBLOCK, 0);
	sleep_us(50000);
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close_terminal(&r);
}

/* The reader of our output leaves (| head): the guest goes on. */
static void reader_gone(void **state)
{
	int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = start(GUEST_PRINT, null, out[1]);
	close(out[1]);
	assert_int_equal(read(out[0], &c, 1), 1);
	close(out[0]);
	assert_int_equal(exit_status(pid), 0);
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
	pid = start(GUEST_SAY, in, out);
	assert_int_equal(exit_status(pid), 0);
	assert_int_equal(write(out, "after\n", 6), 6);
	assert_int_equal(pread(out, buf, sizeof(buf), 0), 18);
	assert_string_equal(buf, "before\nsaid\nafter\n");

	for (unsigned i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 26);
	assert_int_equal(pwrite(in, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	lseek(in, 0, SEEK_SET);
	pid = start(GUEST_ECHO, in, out);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(fstat(out, &st), 0);
		if (st.st_size >= 18 + 4096)
			break;
		sleep_us(1000);
	}
	kill(pid, SIGKILL);
	(void)exit_status(pid);
	assert_int_equal(st.st_size, 18 + 4096);
	assert_int_equal(pread(out, text, 26, 18), 26);
	assert_memory_equal(text, "abcdefghijklmnopqrstuvwxyz", 26);
	close(in);
	close(out);
}

/* Nothing to read, nobody to read it: as a service manager starts us. */
static void null_device(void **state)
{
	struct run r = open_terminal();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(exit_status(start(GUEST_PRINT, null, null)), 0);
	r.pid = start(GUEST_ECHO, r.slave, null);
	assert_true(is_raw(&r));
	type(&r, "\x01x");
	assert_int_equal(exit_status(r.pid), 0);
	assert_true(is_restored(&r));
	close(null);
	close_terminal(&r);
}

/* Output to a terminal, input from elsewhere: its settings are not ours to touch. */
static void terminal_output_only(void **state)
{
	struct run r = open_terminal();
	int in[2];

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	r.pid = start(GUEST_ECHO, in[0], r.slave);
	assert_true(is_restored(&r));
	assert_int_equal(watcher_of(r.pid), 0);
	assert_int_equal(write(in[1], "piped\n", 6), 6);
	assert_true(see(r.master, "piped\r\n"));
	assert_int_equal(fcntl(r.slave, F_GETFL) & O_NONBLOCK, 0);
	kill(r.pid, SIGKILL);
	(void)exit_status(r.pid);
	close(in[0]);
	close(in[1]);
	close_terminal(&r);
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
		cmocka_unit_test(paste_terminal),
		cmocka_unit_test(paste_terminal_slow),
		cmocka_unit_test(paste_pipe),
		cmocka_unit_test(paste_socket),
		cmocka_unit_test(slow_reader_pipe),
		cmocka_unit_test(slow_reader_terminal),
		cmocka_unit_test(quits_though_terminal_is_stuck),
		cmocka_unit_test(foreign_terminal),
		cmocka_unit_test(reader_gone),
		cmocka_unit_test(plain_files),
		cmocka_unit_test(null_device),
		cmocka_unit_test(terminal_output_only),
	};

	/* Orphaned watchers are ours to wait for; writing to a dead machine is no crash. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("chardev_stdio", tests, NULL, NULL);
}
