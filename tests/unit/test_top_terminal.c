/* SPDX-License-Identifier: MIT */
/* bantam top on a true terminal, which it has to give back, and without one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "tests/unit/top_rig.h"
#include "vmm/cmd.h"

#define TIMEOUT_MS 20000
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

struct session {
	pid_t pid;
	int tty; /* the terminal's side */
	struct termios before;
	char out[1 << 20];
	size_t len, seen;
};

/* In a new process: becomes bantam top, which is this program (see main). */
static _Noreturn void exec_top(char *const args[])
{
	char *argv[16] = { (char *)"test_top_terminal", (char *)"--top" };

	for (size_t i = 0; args[i]; i++)
		argv[2 + i] = args[i];
	execv("/proc/self/exe", argv);
	_exit(99);
}

static struct session *start(unsigned rows, unsigned cols, char *const args[])
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	struct session *s = calloc(1, sizeof(*s));
	int slave;

	assert_int_equal(openpty(&s->tty, &slave, NULL, NULL, &ws), 0);
	assert_int_equal(tcgetattr(s->tty, &s->before), 0);
	s->pid = fork();
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(s->tty);
		login_tty(slave);
		exec_top(args);
	}
	close(slave);
	return s;
}

#define START(rows, cols, ...) start(rows, cols, (char *[]){ __VA_ARGS__, NULL })

/* Reads what there is by then; false at the end. */
static bool more(struct session *s)
{
	struct pollfd pfd = { .fd = s->tty, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, TIMEOUT_MS), 1);
	if (s->len == sizeof(s->out) - 1)
		return false;
	n = read(s->tty, s->out + s->len, sizeof(s->out) - 1 - s->len);
	if (n <= 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		assert_true(s->out[s->len + (size_t)i] != '\0');
	s->len += (size_t)n;
	return true;
}

/* Waits until text has been written behind what was seen last. */
static void expect(struct session *s, const char *text)
{
	for (;;) {
		const char *at = strstr(s->out + s->seen, text);

		if (at) {
			s->seen = (size_t)(at - s->out) + strlen(text);
			return;
		}
		if (!more(s)) {
			print_error("the end instead of \"%s\", after %.500s\n", text,
				    s->out + s->seen);
			fail();
		}
	}
}

static void type(struct session *s, const char *keys)
{
	assert_int_equal(write(s->tty, keys, strlen(keys)), strlen(keys));
}

static void assert_given_back(const struct session *s)
{
	struct termios now;

	assert_int_equal(tcgetattr(s->tty, &now), 0);
	assert_int_equal(now.c_lflag, s->before.c_lflag);
	assert_int_equal(now.c_iflag, s->before.c_iflag);
	assert_int_equal(now.c_oflag, s->before.c_oflag);
	assert_memory_equal(now.c_cc, s->before.c_cc, sizeof(now.c_cc));
}

static void assert_taken(const struct session *s)
{
	struct termios now;

	assert_int_equal(tcgetattr(s->tty, &now), 0);
	assert_false(now.c_lflag & (ICANON | ECHO));
	assert_true(now.c_lflag & ISIG);
}

/* Waits for the end; its wait status. The last that was written is how a terminal is left. */
static int finish(struct session *s, const char *last)
{
	int status;

	while (more(s))
		;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(s->len >= strlen(last));
	assert_string_equal(s->out + s->len - strlen(last), last);
	assert_given_back(s);
	close(s->tty);
	free(s);
	return status;
}

static void test_quit(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "0.1");

	(void)state;
	expect(s, ENTER);
	expect(s, "vm  up 0:00:02");
	expect(s, "evil?[2J??name");
	expect(s, "\033[24;1H\033[1mq quit");
	assert_taken(s);
	expect(s, "vm  up 0:00:06");
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_interrupt_key(void **state)
{
	struct session *s = START(24, 80, "vm");

	(void)state;
	expect(s, "q quit");
	type(s, "\003");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_killed(void **state)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGQUIT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct session *s = START(24, 80, "vm");
		int status;

		expect(s, "q quit");
		kill(s->pid, signals[i]);
		status = finish(s, LEAVE);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
	}
}

static void test_machine_ends(void **state)
{
	struct session *s = START(24, 80, "--interval", "0.1");

	expect(s, "q quit");
	top_rig_end(*state);
	assert_int_equal(finish(s, LEAVE "bantam: vm has ended\r\n"), 0);
}

static void resize(struct session *s, unsigned rows, unsigned cols)
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

	assert_int_equal(ioctl(s->tty, TIOCSWINSZ, &ws), 0);
}

static void test_resize(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "3600");

	(void)state;
	expect(s, "\033[24;1H\033[1mq quit");
	resize(s, 40, 200);
	expect(s, "accesses/s");
	expect(s, "out uart0.thr");
	expect(s, "\033[40;1H\033[1mq quit");
	resize(s, 5, 30);
	expect(s, "\033[1;1Hneeds 40x10\033[K\033[2;1H\033[J");
	resize(s, 10, 40);
	expect(s, "\033[10;1H\033[1mq quit  s sort  r reverse  p profile  c\033[0m");
	resize(s, 0, 0);
	expect(s, "\033[24;1H\033[1mq quit");
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

static void test_stopped(void **state)
{
	struct session *s = START(24, 80, "vm", "--interval", "3600");
	int status;

	(void)state;
	expect(s, "q quit");
	type(s, "\032");
	expect(s, LEAVE);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_true(WIFSTOPPED(status));
	assert_given_back(s);
	kill(s->pid, SIGCONT);
	expect(s, ENTER);
	expect(s, "q quit");
	assert_taken(s);
	/* Stopped without a word, its terminal set by somebody else. */
	kill(s->pid, SIGSTOP);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_int_equal(tcsetattr(s->tty, TCSANOW, &s->before), 0);
	kill(s->pid, SIGCONT);
	expect(s, "\033[?25l");
	expect(s, "q quit");
	assert_taken(s);
	type(s, "q");
	assert_int_equal(finish(s, LEAVE), 0);
}

/* The uptime that is drawn next: it grows with every report that is shown. */
static void take_uptime(struct session *s, char buf[16])
{
	size_t from;

	expect(s, "vm  up ");
	from = s->seen;
	expect(s, "  2 CPUs");
	snprintf(buf, 16, "%.*s", (int)(s->seen - from), s->out + from);
}

static void test_keys(void **state)
{
	struct top_rig *m = *state;
	char held[16], now[16];
	struct session *s = START(24, 80, "vm", "--interval", "2", "--sort", "count");

	expect(s, "by count  every 2s");
	type(s, "s");
	expect(s, "by time  every 2s");
	type(s, "sr");
	expect(s, "by name reversed");
	type(s, "c");
	expect(s, "since its start");
	type(s, "crs\033[A\033Oq\033[5~\033");
	expect(s, "by count  every 2s");
	type(s, "+");
	expect(s, "every 4s");
	type(s, "-------------");
	expect(s, "every 0.1s");
	type(s, "h");
	expect(s, "space  hold the picture");
	type(s, "?");
	expect(s, "reason");
	expect(s, "hot functions: the profile is off; p switches it on");
	type(s, "p");
	expect(s, "hot functions: no exits");
	assert_true(m->profiling);
	type(s, "p");
	expect(s, "hot functions: the profile is off; p switches it on");
	assert_false(m->profiling);
	assert_int_equal(m->profiles, 2);
	type(s, " ");
	expect(s, "PAUSED");
	/* The picture stays, and it goes on looking whether there is a machine. */
	take_uptime(s, held);
	for (unsigned i = 0; i < 5; i++) {
		take_uptime(s, now);
		assert_string_equal(now, held);
	}
	top_rig_end(m);
	assert_int_equal(finish(s, LEAVE "bantam: vm has ended\r\n"), 0);
}

/* A machine that stands still, and one that speaks nonsense. */
static void test_no_answer(void **state)
{
	struct top_rig *m = *state;
	struct session *s = START(24, 80, "vm", "--interval", "0.1");

	expect(s, "q quit");
	m->deaf = true;
	expect(s, "vm: the machine does not answer");
	m->deaf = false;
	expect(s, "q quit");
	m->broken = true;
	expect(s, LEAVE "bantam: vm: ");
	assert_int_equal(WEXITSTATUS(finish(s, "\r\n")), STATUS_ERROR);
}

/* A terminal that takes nothing keeps nobody from ending it. */
static void test_stuck_terminal(void **state)
{
	struct top_rig *m = *state;
	struct session *s = START(400, 400, "vm", "--interval", "0.1");
	uint64_t reports;
	int status = 0;

	expect(s, "vm");
	for (reports = m->reports; m->reports < reports + 5;)
		poll(NULL, 0, 10);
	kill(s->pid, SIGTERM);
	for (unsigned i = 0; i < TIMEOUT_MS / 10 && !status; i++) {
		assert_true(waitpid(s->pid, &status, WNOHANG) >= 0);
		poll(NULL, 0, 10);
	}
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_given_back(s);
	close(s->tty);
	free(s);
}

static void test_no_screen(void **state)
{
	struct session *s;

	(void)state;
	setenv("TERM", "dumb", 1);
	s = START(24, 80, "vm");
	assert_int_equal(WEXITSTATUS(finish(s, "bantam: top: this terminal has no screen "
					       "(TERM=dumb); --batch prints text instead\r\n")),
			 STATUS_ERROR);
}

/* Runs a command with its output and errors in one file, and returns its exit status. */
static int run_piped(const struct top_rig *m, char *const args[], char *text, size_t size)
{
	char path[128];
	int fd, status;
	ssize_t n;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/out", m->run);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		exec_top(args);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	n = pread(fd, text, size - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return WEXITSTATUS(status);
}

static void expect_run(const struct top_rig *m, char *const args[], int want, const char *line)
{
	char text[65536];

	assert_int_equal(run_piped(m, args, text, sizeof(text)), want);
	if (!strstr(text, line))
		print_error("%s\n", text);
	assert_non_null(strstr(text, line));
}

#define EXPECT_RUN(m, want, line, ...) expect_run(m, (char *[]){ __VA_ARGS__, NULL }, want, line)

static void test_arguments(void **state)
{
	struct top_rig *m = *state;

	EXPECT_RUN(m, STATUS_ERROR, "bantam: top: no terminal; --batch prints text", "vm");
	EXPECT_RUN(m, STATUS_OK, "usage: bantam top", "vm", "--help");
	EXPECT_RUN(m, STATUS_ERROR, "no machine of that name is running; there are: vm", "none");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count: goes with --batch", "--count", "3");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count 0: must be", "--batch", "--count", "0");
	EXPECT_RUN(m, STATUS_USAGE, "top: --count : must be", "--batch", "--count");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 0.05: must be", "--interval", "0.05");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 3601: must be", "--interval", "3601");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval inf: must be", "--interval", "inf");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval 1.2.3: must be", "--interval", "1.2.3");
	EXPECT_RUN(m, STATUS_USAGE, "top: --interval : must be", "--interval", "");
	EXPECT_RUN(m, STATUS_USAGE, "top: --sort size: must be", "--sort", "size");
	EXPECT_RUN(m, STATUS_USAGE, "top: --fly: unknown option", "--fly");
	EXPECT_RUN(m, STATUS_USAGE, "top: b: one machine at a time", "a", "b");
}

static void test_batch(void **state)
{
	struct top_rig *m = *state;
	char *args[] = { (char *)"--batch", (char *)"--count", (char *)"2",    (char *)"--interval",
			 (char *)"0.1",     (char *)"--sort",  (char *)"name", NULL };
	char text[65536];
	const char *second;

	assert_int_equal(run_piped(m, args, text, sizeof(text)), STATUS_OK);
	/* The first report is what the first block is counted from. */
	assert_int_equal(m->reports, 3);
	assert_int_equal(strncmp(text, "vm  up 0:00:04  2 CPUs  by name", 31), 0);
	assert_non_null(strstr(text, "\nio-out           1000  0.10%"));
	second = strstr(text, "\n\nvm  up 0:00:06");
	assert_non_null(second);
	assert_string_equal(text + strlen(text) - 2, "\n\n");
	assert_null(strchr(text, '\033'));
}

static void *end_soon(void *opaque)
{
	struct top_rig *m = opaque;

	while (m->reports < 3)
		poll(NULL, 0, 10);
	top_rig_end(m);
	return NULL;
}

static void test_batch_until_the_end(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, end_soon, *state), 0);
	EXPECT_RUN(*state, STATUS_OK, "bantam: vm has ended\n", "--batch", "--interval", "0.1");
	pthread_join(thread, NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, top_rig_setup, top_rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_quit),
		TEST(test_interrupt_key),
		TEST(test_killed),
		TEST(test_machine_ends),
		TEST(test_resize),
		TEST(test_stopped),
		TEST(test_keys),
		TEST(test_no_answer),
		TEST(test_stuck_terminal),
		TEST(test_no_screen),
		TEST(test_arguments),
		TEST(test_batch),
		TEST(test_batch_until_the_end),
	};

	if (argc > 1 && !strcmp(argv[1], "--top"))
		return cmd_top(argc - 2, argv + 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
