/* SPDX-License-Identifier: MIT */
/* The control socket, its clients, and those who mean it ill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/control_rig.h"

#define BIG (1u << 20)

/* --- clients -------------------------------------------------------------------- */

/* Writes what the other side takes; it may close before it has read all. */
static void raw_write(int fd, const void *buf, size_t len)
{
	while (len) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n < 0)
			return;
		buf = (const char *)buf + n;
		len -= (size_t)n;
	}
}

static void raw_say(int fd, const char *line)
{
	raw_write(fd, line, strlen(line));
}

/* A line without its break into buf; false at the end. */
static bool raw_line(int fd, char *buf, size_t size)
{
	size_t n = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, CRIG_TIMEOUT_MS), 1);
		assert_true(n < size);
		if (recv(fd, buf + n, 1, 0) != 1)
			return false;
		if (buf[n] == '\n') {
			buf[n] = '\0';
			return true;
		}
		n++;
	}
}

static void raw_expect(int fd, const char *want)
{
	char line[4096];

	assert_true(raw_line(fd, line, sizeof(line)));
	assert_string_equal(line, want);
}

static void raw_expect_end(int fd)
{
	char line[4096];

	assert_false(raw_line(fd, line, sizeof(line)));
}

/* --- requests and answers --------------------------------------------------------------- */

static void call_fails(const char *verb, const cJSON *args, int want, const char *line)
{
	struct control_client *c = crig_connect("vm");
	struct err err = { "" };
	cJSON *result;

	assert_int_equal(control_call(c, verb, args, CRIG_TIMEOUT_MS, &result, &err), want);
	assert_string_equal(err.text, line);
	assert_null(result);
	/* The machine said no: the connection is good. */
	assert_int_equal(control_call(c, "nothing", NULL, CRIG_TIMEOUT_MS, &result, &err), 0);
	control_close(c);
}

static void test_call(void **state)
{
	struct control_client *c = crig_connect("vm");
	struct err err = { "" };
	cJSON *args = cJSON_CreateObject(), *result;

	(void)state;
	assert_int_equal(control_call(c, "nothing", NULL, CRIG_TIMEOUT_MS, &result, &err), 0);
	assert_null(result);
	assert_int_equal(control_call(c, "echo", NULL, CRIG_TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_IsObject(result));
	assert_null(result->child);
	cJSON_Delete(result);
	cJSON_AddStringToObject(args, "text", "a line\nbreak, \"quotes\" and \xc3\xa4");
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(control_call(c, "echo", args, CRIG_TIMEOUT_MS, &result, &err), 0);
		assert_true(cJSON_Compare(args, result, true));
		cJSON_Delete(result);
	}
	call_fails("fail", NULL, -EREMOTEIO, "vm: it \"cannot\" be?done");
	call_fails("fly\033[2J", NULL, -EREMOTEIO,
		   "vm: fly?[2J: no such verb; there are: echo, nothing, fail, big");
	cJSON_AddTrueToObject(args, "silent");
	call_fails("fail", args, -EREMOTEIO, "vm: No space left on device");
	cJSON_Delete(args);
	control_close(c);
}

static int call_big(struct control_client *c, size_t bytes, cJSON **result, struct err *err)
{
	cJSON *args = cJSON_CreateObject();
	int ret;

	cJSON_AddNumberToObject(args, "bytes", (double)bytes);
	ret = control_call(c, "big", args, CRIG_TIMEOUT_MS, result, err);
	cJSON_Delete(args);
	return ret;
}

static void test_big_answer(void **state)
{
	struct control_client *c = crig_connect("vm");
	struct err err = { "" };
	cJSON *result;

	(void)state;
	assert_int_equal(call_big(c, 5 * BIG + 3, &result, &err), 0);
	assert_int_equal(strlen(result->valuestring), 5 * BIG + 3);
	cJSON_Delete(result);
	assert_int_equal(call_big(c, 64 * BIG, &result, &err), -EREMOTEIO);
	assert_string_equal(err.text, "vm: the answer is too long");
	assert_int_equal(call_big(c, 1, &result, &err), 0);
	cJSON_Delete(result);
	control_close(c);
}

static void test_big_request(void **state)
{
	struct control_client *c = crig_connect("vm");
	cJSON *args = cJSON_CreateObject(), *result;
	char text[CONTROL_MAX_REQUEST + 1];
	struct err err = { "" };

	(void)state;
	memset(text, 'x', sizeof(text));
	text[CONTROL_MAX_REQUEST - strlen("{\"verb\":\"echo\",\"args\":{\"t\":\"\"}}")] = '\0';
	cJSON_AddStringToObject(args, "t", text);
	assert_int_equal(control_call(c, "echo", args, CRIG_TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_Compare(args, result, true));
	cJSON_Delete(result);
	cJSON_AddTrueToObject(args, "u");
	assert_int_equal(control_call(c, "echo", args, CRIG_TIMEOUT_MS, &result, &err), -E2BIG);
	cJSON_Delete(args);
	control_close(c);
}

/* --- clients that mean it ill -------------------------------------------------------------- */

static void test_pieces(void **state)
{
	static const char request[] = "{\"verb\": \"echo\", \"args\": {\"a\": [1]}}\r\n";
	int fd = crig_raw_connect(*state, "vm.sock");

	for (size_t i = 0; request[i]; i++) {
		raw_write(fd, request + i, 1);
		if (i == 10)
			crig_assert_well("vm");
	}
	raw_expect(fd, "{\"ok\":true,\"result\":{\"a\":[1]}}");
	/* Whoever prints an error prints nothing that a client has made of it. */
	raw_say(fd, "{\"verb\":\"f\\u001b[2J\\u009b\\u0000y\"}\n");
	raw_expect(fd, "{\"ok\":false,\"error\":\"f?[2J??: no such verb; there are: "
		       "echo, nothing, fail, big\"}");
	close(fd);
}

static void test_pipeline(void **state)
{
	int fd = crig_raw_connect(*state, "vm.sock");

	raw_say(fd, "{\"verb\":\"nothing\"}\n{\"verb\":\"fail\"}\n{\"verb\":\"echo\"}\n{\"verb\":");
	raw_expect(fd, "{\"ok\":true,\"result\":null}");
	raw_expect(fd, "{\"ok\":false,\"error\":\"it \\\"cannot\\\" be?done\"}");
	raw_expect(fd, "{\"ok\":true,\"result\":{}}");
	raw_say(fd, "\"nothing\"}\n{\"verb\":\"nothing\"}\n{\"verb");
	shutdown(fd, SHUT_WR);
	raw_expect(fd, "{\"ok\":true,\"result\":null}");
	raw_expect(fd, "{\"ok\":true,\"result\":null}");
	raw_expect_end(fd);
	close(fd);
}

static void refuse(const struct crig *m, const char *line, size_t len)
{
	int fd = crig_raw_connect(m, "vm.sock");

	raw_write(fd, line, len);
	raw_say(fd, "{\"verb\":\"nothing\"}\n");
	raw_expect(fd, "{\"ok\":false,\"error\":\"a request is {\\\"verb\\\": \\\"...\\\", "
		       "\\\"args\\\": {...}}\"}");
	raw_expect_end(fd);
	close(fd);
}

static void test_garbage(void **state)
{
	static const char in[] = "{\0\"verb\":\"nothing\"}\n";
	static const char behind[] = "{\"verb\":\"nothing\"}\0 x\n";
	static const char *const lines[] = {
		"\n",
		"hello\n",
		"GET / HTTP/1.1\r\n",
		"null\n",
		"[]\n",
		"\"verb\"\n",
		"{}\n",
		"{\"verb\":1}\n",
		"{\"verb\":\"echo\",\"args\":[]}\n",
		"{\"verb\":\"echo\",\"args\":null}\n",
		"{\"verb\":\"echo\"}{\"verb\":\"echo\"}\n",
		"{\"verb\":\"echo\"} x\n",
		"{\"VERB\":\"echo\"}\n",
		"{\"verb\":\"ec\\\n",
		"{\"verb\":\"\\ud800\"}\n",
		"\xff\xfe{\"verb\":\"echo\"}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		refuse(*state, lines[i], strlen(lines[i]));
	/* Bytes of nothing, which the parser takes for a blank and for the end. */
	refuse(*state, in, sizeof(in) - 1);
	refuse(*state, behind, sizeof(behind) - 1);
	crig_assert_well("vm");
}

static void test_deep_and_huge(void **state)
{
	static char deep[60000];
	int fd;

	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\n';
	refuse(*state, deep, sizeof(deep));
	fd = crig_raw_connect(*state, "vm.sock");
	raw_say(fd, "{\"verb\":\"echo\",\"args\":{\"a\":1e999,\"b\":-1e308,"
		    "\"c\":123456789012345678901234567890}}\n");
	raw_expect(fd, "{\"ok\":true,\"result\":{\"a\":null,\"b\":-1e+308,"
		       "\"c\":1.2345678901234568e+29}}");
	close(fd);
	crig_assert_well("vm");
}

static void test_endless_line(void **state)
{
	static char text[CONTROL_MAX_REQUEST + 1];
	int fd = crig_raw_connect(*state, "vm.sock");

	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"verb\":\"nothing\"}", 18);
	text[CONTROL_MAX_REQUEST] = '\n';
	raw_write(fd, text, sizeof(text));
	raw_expect(fd, "{\"ok\":true,\"result\":null}");
	text[CONTROL_MAX_REQUEST] = ' ';
	for (unsigned i = 0; i < 64; i++)
		raw_write(fd, text, sizeof(text));
	raw_expect(fd, "{\"ok\":false,\"error\":\"a request is one line of at most 65536 bytes\"}");
	raw_expect_end(fd);
	close(fd);
	crig_assert_well("vm");
}

/* Ten thousand requests, no answer read: it waits for itself, and costs one answer. */
static void test_deaf(void **state)
{
	struct crig *m = *state;
	int fd = crig_raw_connect(m, "vm.sock");
	char line[128];

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	snprintf(line, sizeof(line), "{\"verb\":\"big\",\"args\":{\"bytes\":%u}}\n", BIG);
	for (unsigned i = 0; i < 10000; i++)
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
			break;
	for (unsigned i = 0; i < 20; i++)
		crig_assert_well("vm");
	assert_true(m->calls <= 20 + 2);
	/* It is served as soon as it listens. */
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	for (size_t got = 0; got < 4 * BIG;) {
		static char buf[65536];
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		assert_true(n > 0);
		got += (size_t)n;
	}
	close(fd);
	crig_assert_well("vm");
}

static void test_too_many(void **state)
{
	int fds[CONTROL_MAX_CLIENTS], more;

	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		fds[i] = crig_raw_connect(*state, "vm.sock");
	raw_say(fds[CONTROL_MAX_CLIENTS - 1], "{\"verb\":\"nothing\"}\n");
	raw_expect(fds[CONTROL_MAX_CLIENTS - 1], "{\"ok\":true,\"result\":null}");
	more = crig_raw_connect(*state, "vm.sock");
	raw_expect(more, "{\"ok\":false,\"error\":\"too many clients\"}");
	raw_expect_end(more);
	close(more);
	{
		struct control_client *c = crig_connect("vm");
		struct err err = { "" };
		cJSON *result;

		assert_int_equal(control_call(c, "echo", NULL, CRIG_TIMEOUT_MS, &result, &err),
				 -EREMOTEIO);
		assert_string_equal(err.text, "vm: too many clients");
		control_close(c);
	}
	close(fds[3]);
	/* The loop takes its events in turn: it has seen the one close when it has answered another. */
	for (unsigned i = 0; i < 2; i++) {
		raw_say(fds[0], "{\"verb\":\"nothing\"}\n");
		raw_expect(fds[0], "{\"ok\":true,\"result\":null}");
	}
	crig_assert_well("vm");
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (i != 3)
			close(fds[i]);
	crig_assert_well("vm");
}

/* Even where the files' modes let him in. */
static void test_other_user(void **state)
{
	struct crig *m = *state;
	int status;
	pid_t pid;

	if (geteuid())
		skip();
	assert_int_equal(chmod(m->run, 0755), 0);
	assert_int_equal(chmod(crig_path(m, ""), 0755), 0);
	assert_int_equal(chmod(crig_path(m, "vm.sock"), 0666), 0);
	pid = fork();
	if (!pid) {
		static const char want[] =
			"{\"ok\":false,\"error\":\"this machine belongs to another user\"}\n";
		char line[256] = "";
		int fd;

		if (setuid(65534))
			_exit(2);
		fd = crig_raw_connect(m, "vm.sock");
		(void)!recv(fd, line, sizeof(line) - 1, 0);
		_exit(strcmp(line, want) != 0 || recv(fd, line, 1, 0) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	crig_assert_well("vm");
}

/* Without a descriptor left nobody is taken in, and nobody is kept busy; afterwards all are. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, low;
	struct timespec before, after;
	int first, second, lowest = dup(0);
	clockid_t clock;

	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(pthread_getcpuclockid(((struct crig *)*state)->io.thread, &clock), 0);
	low = old;
	low.rlim_cur = (rlim_t)lowest + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	first = crig_raw_connect(*state, "vm.sock");
	raw_say(first, "{\"verb\":\"nothing\"}\n");
	clock_gettime(clock, &before);
	poll(NULL, 0, 200);
	clock_gettime(clock, &after);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	second = crig_raw_connect(*state, "vm.sock");
	raw_say(second, "{\"verb\":\"nothing\"}\n");
	raw_expect(first, "{\"ok\":true,\"result\":null}");
	raw_expect(second, "{\"ok\":true,\"result\":null}");
	assert_true(after.tv_sec - before.tv_sec == 0 && after.tv_nsec - before.tv_nsec < 50000000);
	close(first);
	close(second);
}

/* --- machines that are none -------------------------------------------------------------- */

/* A listener that answers the first request with text, in pieces, and then closes, if end. */
struct impostor {
	const char *text;
	size_t len, repeat;
	bool end;
	int listener, fd;
	pthread_t thread;
};

static void *impostor_main(void *opaque)
{
	struct impostor *im = opaque;
	char request[256];

	im->fd = accept(im->listener, NULL, NULL);
	(void)!recv(im->fd, request, sizeof(request), 0);
	for (size_t i = 0; i < im->repeat; i++) {
		raw_write(im->fd, im->text, im->len / 2);
		raw_write(im->fd, im->text + im->len / 2, im->len - im->len / 2);
	}
	if (im->end)
		shutdown(im->fd, SHUT_RDWR);
	return NULL;
}

static void call_impostor(const struct crig *m, struct impostor *im, int want, const char *line)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control_client *c;
	struct err err = { "" };
	cJSON *result;

	mkdir(crig_path(m, ""), 0700);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/bantam/vm.sock", m->run);
	im->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(im->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(im->listener, 1), 0);
	assert_int_equal(pthread_create(&im->thread, NULL, impostor_main, im), 0);
	c = crig_connect("vm");
	assert_int_equal(control_call(c, "echo", NULL, want == -ETIMEDOUT ? 100 : CRIG_TIMEOUT_MS,
				      &result, &err),
			 want);
	assert_string_equal(err.text, line);
	if (want && want != -EREMOTEIO) {
		assert_int_equal(control_call(c, "echo", NULL, CRIG_TIMEOUT_MS, &result, &err),
				 -EPIPE);
		assert_string_equal(err.text, "vm: the connection is lost");
	}
	cJSON_Delete(result);
	control_close(c);
	pthread_join(im->thread, NULL);
	close(im->fd);
	close(im->listener);
	unlink(addr.sun_path);
}

static void answer_is(const struct crig *m, const char *text, bool end, int want, const char *line)
{
	struct impostor im = { .text = text, .len = strlen(text), .repeat = 1, .end = end };

	call_impostor(m, &im, want, line);
}

static void test_impostors(void **state)
{
	static const char nonsense[] = "vm: the machine answers nonsense";
	static char blanks[BIG];
	struct impostor im = { .text = blanks, .len = sizeof(blanks), .repeat = 80 };

	answer_is(*state, "{\"ok\":true,\"result\":null}\n", false, 0, "");
	answer_is(*state, "{\"ok\":true}\n", false, 0, "");
	answer_is(*state, "", false, -ETIMEDOUT, "vm: the machine does not answer");
	answer_is(*state, "{\"ok\":true", false, -ETIMEDOUT, "vm: the machine does not answer");
	answer_is(*state, "", true, -EPIPE, "vm: the machine has ended");
	answer_is(*state, "{\"ok\":true}", true, -EPIPE, "vm: the machine has ended");
	answer_is(*state, "\n", false, -EPROTO, nonsense);
	answer_is(*state, "[true]\n", false, -EPROTO, nonsense);
	answer_is(*state, "{\"ok\":1}\n", false, -EPROTO, nonsense);
	answer_is(*state, "{\"ok\":false}\n", false, -EPROTO, nonsense);
	answer_is(*state, "{\"ok\":false,\"error\":1}\n", false, -EPROTO, nonsense);
	answer_is(*state, "{\"ok\":true}\n{\"ok\":true, \"more\":1}\n", false, -EPROTO, nonsense);
	answer_is(*state, "{\"ok\":false,\"error\":\"a\\u001b[2Jb\\nc\"}\n", false, -EREMOTEIO,
		  "vm: a?[2Jb?c");
	memset(blanks, ' ', sizeof(blanks));
	call_impostor(*state, &im, -EPROTO, nonsense);
}

static void test_machine_ends(void **state)
{
	struct crig *m = *state;
	struct control_client *c = crig_connect("vm");
	struct err err = { "" };
	cJSON *result;

	assert_int_equal(control_call(c, "nothing", NULL, CRIG_TIMEOUT_MS, &result, &err), 0);
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
	assert_int_equal(control_call(c, "nothing", NULL, CRIG_TIMEOUT_MS, &result, &err), -EPIPE);
	assert_string_equal(err.text, "vm: the machine has ended");
	control_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_call, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_big_answer, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_big_request, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_pieces, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_pipeline, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_garbage, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_deep_and_huge, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_endless_line, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_deaf, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_too_many, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_other_user, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_impostors, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_machine_ends, crig_setup, crig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
