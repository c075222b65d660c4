/* SPDX-License-Identifier: MIT */
#include "tests/unit/stdio_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/char/chardev.h"

void srig_init(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
}

void srig_sleep_us(unsigned us)
{
	nanosleep(&(struct timespec){ us / 1000000, (long)(us % 1000000) * 1000 }, NULL);
}

static uint8_t pattern(size_t i)
{
	uint8_t b = (uint8_t)(i * 31 >> 3);

	/* Neither the escape key nor what output processing changes. */
	return b == 1 || b == '\n' || b == '\r' || b == '\t' ? 'x' : b;
}

void srig_fill(uint8_t *buf, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(at + i);
}

void srig_check(const uint8_t *buf, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], pattern(at + i));
}

/* --- the forked process: a guest behind the console --------------------------- */

struct guest {
	enum srig_guest kind;
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
	for (size_t done = 0, all = g->kind == GUEST_PRINT   ? SRIG_BIG
				    : g->kind == GUEST_FLOOD ? SIZE_MAX
							     : 0;
	     done < all && !stopped(g); done += sizeof(buf)) {
		size_t n = all - done < sizeof(buf) ? all - done : sizeof(buf);

		srig_fill(buf, n, done);
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
static void machine(enum srig_guest kind, int ready_fd)
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

pid_t srig_start(enum srig_guest kind, int in, int out)
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

struct srig srig_terminal(void)
{
	struct srig r = { .master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) };
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

struct srig srig_on_terminal(enum srig_guest kind)
{
	struct srig r = srig_terminal();

	r.pid = srig_start(kind, r.slave, r.slave);
	return r;
}

void srig_close(struct srig *r)
{
	close(r->master);
	close(r->slave);
}

bool srig_is_raw(const struct srig *r)
{
	struct termios t;

	assert_int_equal(tcgetattr(r->slave, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) && !(t.c_iflag & (ICRNL | IXON)) &&
	       (t.c_oflag & OPOST);
}

bool srig_same(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && !memcmp(a->c_cc, b->c_cc, VEOL2 + 1);
}

bool srig_is_restored(const struct srig *r)
{
	struct termios t;

	assert_int_equal(tcgetattr(r->slave, &t), 0);
	return srig_same(&t, &r->before);
}

bool srig_within_2s(bool (*is)(const struct srig *), const struct srig *r)
{
	for (unsigned i = 0; i < 2000 && !is(r); i++)
		srig_sleep_us(1000);
	return is(r);
}

int srig_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void srig_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	(void)srig_status(pid);
}

pid_t srig_watcher(pid_t pid)
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

void srig_type(const struct srig *r, const char *s)
{
	assert_int_equal(write(r->master, s, strlen(s)), (ssize_t)strlen(s));
}

void srig_quit(const struct srig *r)
{
	srig_type(r, "\x01x");
	assert_int_equal(srig_status(r->pid), 0);
	assert_true(srig_is_restored(r));
}

bool srig_see(int fd, const char *want)
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
