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
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/cmd.h"
#include "vmm/control.h"

#define TIMEOUT_MS 20000
#define BIG (1u << 20)

/* --- a machine ------------------------------------------------------------------ */

struct machine {
	char run[64]; /* $XDG_RUNTIME_DIR */
	struct iothread io;
	struct control *control;
	_Atomic unsigned calls; /* of any verb */
};

static int verb_echo(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;

	m->calls++;
	*result = cJSON_Duplicate(args, true);
	return *result ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int verb_nothing(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	(void)ctx;
	(void)args;
	(void)result;
	(void)err;
	return 0;
}

static int verb_fail(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	(void)ctx;
	*result = cJSON_CreateString("half an answer");
	if (cJSON_GetObjectItemCaseSensitive(args, "silent"))
		return -ENOSPC;
	return err_set(err, -EINVAL, "it \"cannot\" be\ndone");
}

static int verb_big(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct machine *m = ctx;
	size_t n = (size_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(args, "bytes"));
	char *s = malloc(n + 1);

	m->calls++;
	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	memset(s, 'x', n);
	s[n] = '\0';
	*result = cJSON_CreateString(s);
	free(s);
	return 0;
}

static const struct control_verb verbs[] = {
	{ "echo", verb_echo },
	{ "nothing", verb_nothing },
	{ "fail", verb_fail },
	{ "big", verb_big },
};

static int serve(struct machine *m, const char *name, struct control **out, struct err *err)
{
	*err = (struct err){ "" };
	return control_serve(&m->io.loop, name, verbs, ARRAY_SIZE(verbs), m, out, err);
}

static void remove_all(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

static int setup_folder(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	strcpy(m->run, "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(m->run));
	setenv("XDG_RUNTIME_DIR", m->run, 1);
	assert_int_equal(iothread_start(&m->io, "control"), 0);
	*state = m;
	return 0;
}

static int setup(void **state)
{
	struct machine *m;
	struct err err;

	setup_folder(state);
	m = *state;
	assert_int_equal(serve(m, "vm", &m->control, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	iothread_stop(&m->io);
	control_destroy(m->control);
	remove_all(m->run);
	free(m);
	return 0;
}

static const char *path_of(const struct machine *m, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/bantam/%s", m->run, file);
	return path;
}

static bool exists(const struct machine *m, const char *file)
{
	struct stat st;

	return !lstat(path_of(m, file), &st);
}

/* --- clients -------------------------------------------------------------------- */

static struct control_client *connect_ok(const char *name)
{
	struct control_client *c = NULL;
	struct err err = { "" };
	int ret = control_connect(name, &c, &err);

	if (ret)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	return c;
}

static void connect_fails(const char *name, int want, const char *line)
{
	struct control_client *c;
	struct err err = { "" };

	assert_int_equal(control_connect(name, &c, &err), want);
	assert_string_equal(err.text, line);
}

/* The machine is well: a new client's request is answered. */
static void assert_well(const char *name)
{
	struct control_client *c = connect_ok(name);
	cJSON *args = cJSON_CreateObject(), *result;
	struct err err = { "" };

	cJSON_AddNumberToObject(args, "n", 7);
	assert_int_equal(control_call(c, "echo", args, TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_Compare(args, result, true));
	cJSON_Delete(args);
	cJSON_Delete(result);
	control_close(c);
}

static int raw_connect(const struct machine *m, const char *file)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/bantam/%s", m->run, file);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

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

		assert_int_equal(poll(&pfd, 1, TIMEOUT_MS), 1);
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

/* --- names, the folder, the socket ------------------------------------------------- */

static void test_names(void **state)
{
	char longest[CONTROL_NAME_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[CONTROL_NAME_MAX] = '\0';
	assert_true(control_name_ok(longest));
	longest[CONTROL_NAME_MAX] = 'a';
	longest[CONTROL_NAME_MAX + 1] = '\0';
	assert_false(control_name_ok(longest));
	assert_true(control_name_ok("vm"));
	assert_true(control_name_ok("9-a_B.sock"));
	assert_false(control_name_ok(""));
	assert_false(control_name_ok("."));
	assert_false(control_name_ok(".."));
	assert_false(control_name_ok(".hidden"));
	assert_false(control_name_ok("../up"));
	assert_false(control_name_ok("a/b"));
	assert_false(control_name_ok("a b"));
	assert_false(control_name_ok("a\n"));
	assert_false(control_name_ok("\xc3\xa4"));
}

static void test_modes(void **state)
{
	struct machine *m = *state;
	mode_t old = umask(0);
	struct err err;
	struct stat st;

	assert_int_equal(serve(m, "vm", &m->control, &err), 0);
	umask(old);
	assert_int_equal(stat(path_of(m, ""), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(stat(path_of(m, "vm.sock"), &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_well("vm");
}

/* A folder that is not fit is refused by both sides. */
static void refuse_folder(struct machine *m, int want, const char *what)
{
	struct control_client *c;
	struct control *control;
	struct err err, err2 = { "" };

	assert_int_equal(serve(m, "vm", &control, &err), want);
	assert_non_null(strstr(err.text, what));
	assert_non_null(strstr(err.text, m->run));
	assert_int_equal(control_connect("vm", &c, &err2), want);
	assert_string_equal(err.text, err2.text);
}

static void test_folder_refused(void **state)
{
	struct machine *m = *state;
	char real[128], folder[128];

	snprintf(real, sizeof(real), "%s/real", m->run);
	snprintf(folder, sizeof(folder), "%s/bantam", m->run);
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, folder), 0);
	refuse_folder(m, -ENOTDIR, "symbolic link");
	assert_int_equal(unlink(folder), 0);

	assert_int_equal(mkdir(path_of(m, ""), 0700), 0);
	assert_int_equal(chmod(path_of(m, ""), 0770), 0);
	refuse_folder(m, -EPERM, "0700");
	assert_int_equal(chmod(path_of(m, ""), 0702), 0);
	refuse_folder(m, -EPERM, "0700");
	assert_int_equal(chmod(path_of(m, ""), 0700), 0);
	if (!geteuid()) {
		assert_int_equal(chown(path_of(m, ""), 65534, (gid_t)-1), 0);
		refuse_folder(m, -EPERM, "another user");
	}
}

static void test_runtime_dir(void **state)
{
	struct machine *m = *state;
	struct control *control;
	struct err err;
	char deep[200];

	setenv("XDG_RUNTIME_DIR", "relative", 1);
	assert_int_equal(serve(m, "vm", &control, &err), -EINVAL);
	assert_string_equal(err.text, "XDG_RUNTIME_DIR=relative: must be an absolute path");

	snprintf(deep, sizeof(deep), "%s/none", m->run);
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(serve(m, "vm", &control, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/none/bantam"));
	connect_fails("vm", -ENOENT, "vm: no machine of that name is running");

	memset(deep, 'd', sizeof(deep));
	memcpy(deep, m->run, strlen(m->run));
	deep[strlen(m->run)] = '/';
	deep[104] = '\0';
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(serve(m, "vm", &control, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "too long for a socket"));
	deep[90] = '\0';
	assert_int_equal(mkdir(deep, 0700), 0);
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(serve(m, "machine", &control, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "machine.sock: too long for a socket (at most 107"));
	assert_int_equal(serve(m, "vm", &control, &err), 0);
	assert_well("vm");
	iothread_stop(&m->io);
	control_destroy(control);
}

/* In a child without root's rights and without the variable. */
static void test_no_runtime_dir(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	pid = fork();
	if (!pid) {
		struct err err = { "" };
		struct control_client *c;
		bool ok = !setuid(65534) && !unsetenv("XDG_RUNTIME_DIR") &&
			  control_connect(NULL, &c, &err) == -EINVAL &&
			  strstr(err.text, "XDG_RUNTIME_DIR is not set");

		_exit(!ok);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_bad_names(void **state)
{
	struct machine *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(serve(m, "../vm", &control, &err), -EINVAL);
	assert_string_equal(err.text, "../vm: cannot be a machine's name");
	connect_fails("../vm", -EINVAL, "../vm: cannot be a machine's name");
}

static void test_in_the_way(void **state)
{
	struct machine *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(close(creat(path_of(m, "file.sock"), 0600)), 0);
	assert_int_equal(serve(m, "file", &control, &err), -ENOTSOCK);
	assert_non_null(strstr(err.text, "file.sock: is in the way"));
	assert_int_equal(symlink("vm.sock", path_of(m, "link.sock")), 0);
	assert_int_equal(serve(m, "link", &control, &err), -ENOTSOCK);
	assert_true(exists(m, "file.sock"));
	assert_true(exists(m, "link.sock"));
}

static void test_removed_in_the_end(void **state)
{
	struct machine *m = *state;
	struct control *other;
	struct err err;

	assert_int_equal(serve(m, "other", &other, &err), 0);
	assert_true(exists(m, "vm.sock"));
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
	assert_false(exists(m, "vm.sock"));
	/* Somebody else's by now. */
	assert_true(exists(m, "other.sock"));
	assert_int_equal(unlink(path_of(m, "other.sock")), 0);
	assert_int_equal(close(creat(path_of(m, "other.sock"), 0600)), 0);
	control_destroy(other);
	assert_true(exists(m, "other.sock"));
	control_destroy(NULL);
}

/* --- who is there ------------------------------------------------------------------- */

static void append_name(void *ctx, const char *name)
{
	strcat(ctx, name);
	strcat(ctx, " ");
}

static void expect_list(const char *want)
{
	char names[1024] = "";
	struct err err = { "" };

	assert_int_equal(control_list(append_name, names, &err), 0);
	assert_string_equal(names, want);
}

static void test_list(void **state)
{
	struct machine *m = *state;
	struct control *b, *a;
	struct control_client *c;
	struct err err;

	expect_list("");
	connect_fails(NULL, -ENOENT, "no machine is running");
	connect_fails("vm", -ENOENT, "vm: no machine of that name is running");
	assert_int_equal(serve(m, "b", &b, &err), 0);
	c = connect_ok(NULL);
	assert_string_equal(control_client_name(c), "b");
	control_close(c);
	assert_int_equal(serve(m, "a.sock", &a, &err), 0);
	assert_int_equal(close(creat(path_of(m, "file.sock"), 0600)), 0);
	assert_int_equal(close(creat(path_of(m, "junk"), 0600)), 0);
	expect_list("a.sock b ");
	connect_fails(NULL, -ENOTUNIQ, "several machines are running; name one of: a.sock, b");
	connect_fails("c", -ENOENT, "c: no machine of that name is running; there are: a.sock, b");
	iothread_stop(&m->io);
	control_destroy(a);
	control_destroy(b);
}

static void test_list_many(void **state)
{
	struct machine *m = *state;
	struct control *c[12];
	struct err err = { "" };
	struct control_client *client;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		char name[CONTROL_NAME_MAX + 1];

		snprintf(name, sizeof(name), "machine-with-a-long-name-%02u", i);
		assert_int_equal(serve(m, name, &c[i], &err), 0);
	}
	assert_int_equal(control_connect(NULL, &client, &err), -ENOTUNIQ);
	assert_non_null(strstr(err.text, "-00, machine"));
	assert_string_equal(err.text + strlen(err.text) - 4, " ...");
	iothread_stop(&m->io);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
		control_destroy(c[i]);
}

static void test_taken(void **state)
{
	struct machine *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(serve(m, "vm", &control, &err), -EADDRINUSE);
	assert_string_equal(err.text, "vm: a machine of that name is running");
	assert_well("vm");
}

/* In a forked process, with a loop of its own: an epoll set is shared with the parent. */
static int serve_in_child(struct machine *m, const char *name)
{
	struct control *control;
	struct err err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return iothread_start(&m->io, "child") ?: serve(m, name, &control, &err);
}

/* A machine that was killed: its socket stays behind. */
static void leave_stale(struct machine *m, const char *name)
{
	int fds[2], status;
	char ready;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		(void)!write(fds[1], serve_in_child(m, name) ? "n" : "y", 1);
		pause();
	}
	assert_int_equal(read(fds[0], &ready, 1), 1);
	assert_int_equal(ready, 'y');
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	close(fds[1]);
}

static void test_stale(void **state)
{
	struct machine *m = *state;
	struct err err;

	leave_stale(m, "vm");
	assert_true(exists(m, "vm.sock"));
	expect_list("");
	assert_false(exists(m, "vm.sock"));

	leave_stale(m, "vm");
	connect_fails("vm", -ENOENT, "vm: no machine of that name is running");
	assert_false(exists(m, "vm.sock"));

	leave_stale(m, "vm");
	connect_fails(NULL, -ENOENT, "no machine is running");
	assert_false(exists(m, "vm.sock"));

	leave_stale(m, "vm");
	assert_int_equal(serve(m, "vm", &m->control, &err), 0);
	assert_well("vm");
}

/* Nobody touches a name while somebody else is at it. */
static void test_lock(void **state)
{
	struct machine *m = *state;
	pid_t taker, looker;
	int dir;

	leave_stale(m, "a");
	leave_stale(m, "b");
	dir = open(path_of(m, ""), O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(dir, LOCK_EX), 0);
	taker = fork();
	if (!taker)
		_exit(serve_in_child(m, "a") != 0);
	looker = fork();
	if (!looker) {
		struct control_client *c;
		struct err err;

		_exit(control_connect("b", &c, &err) != -ENOENT);
	}
	poll(NULL, 0, 200);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	assert_true(exists(m, "a.sock"));
	assert_true(exists(m, "b.sock"));
	assert_int_equal(flock(dir, LOCK_UN), 0);
	for (unsigned i = 0; i < 2; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_false(exists(m, "b.sock"));
	close(dir);
}

/* Many that want one name at once, while others look: one gets it, and it can be reached. */
static void test_race(void **state)
{
	enum { RACERS = 8, ROUNDS = 25 };
	struct machine *m = *state;

	for (unsigned round = 0; round < ROUNDS; round++) {
		int go[2], said[2], won = 0;
		pid_t pid[RACERS];

		if (round % 2)
			leave_stale(m, "vm");
		assert_int_equal(pipe(go), 0);
		assert_int_equal(pipe(said), 0);
		for (unsigned i = 0; i < RACERS; i++) {
			pid[i] = fork();
			if (!pid[i]) {
				char byte;
				int ret;

				close(go[1]);
				(void)!read(go[0], &byte, 1);
				ret = serve_in_child(m, "vm");
				byte = ret == 0 ? 'w' : ret == -EADDRINUSE ? 'l' : '?';
				(void)!write(said[1], &byte, 1);
				pause();
			}
		}
		close(go[0]);
		close(go[1]);
		for (unsigned i = 0; i < RACERS; i++) {
			struct control_client *c;
			struct err err;
			char byte;

			/* Whoever looks meanwhile removes no socket that is being made. */
			if (!control_connect("vm", &c, &err))
				control_close(c);
			assert_int_equal(read(said[0], &byte, 1), 1);
			assert_true(byte == 'w' || byte == 'l');
			won += byte == 'w';
		}
		assert_int_equal(won, 1);
		close(raw_connect(m, "vm.sock"));
		for (unsigned i = 0; i < RACERS; i++) {
			kill(pid[i], SIGKILL);
			assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
		}
		close(said[0]);
		close(said[1]);
		expect_list("");
	}
}

/* --- requests and answers --------------------------------------------------------------- */

static void call_fails(const char *verb, const cJSON *args, int want, const char *line)
{
	struct control_client *c = connect_ok("vm");
	struct err err = { "" };
	cJSON *result;

	assert_int_equal(control_call(c, verb, args, TIMEOUT_MS, &result, &err), want);
	assert_string_equal(err.text, line);
	assert_null(result);
	/* The machine said no: the connection is good. */
	assert_int_equal(control_call(c, "nothing", NULL, TIMEOUT_MS, &result, &err), 0);
	control_close(c);
}

static void test_call(void **state)
{
	struct control_client *c = connect_ok("vm");
	struct err err = { "" };
	cJSON *args = cJSON_CreateObject(), *result;

	(void)state;
	assert_int_equal(control_call(c, "nothing", NULL, TIMEOUT_MS, &result, &err), 0);
	assert_null(result);
	assert_int_equal(control_call(c, "echo", NULL, TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_IsObject(result));
	assert_null(result->child);
	cJSON_Delete(result);
	cJSON_AddStringToObject(args, "text", "a line\nbreak, \"quotes\" and \xc3\xa4");
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(control_call(c, "echo", args, TIMEOUT_MS, &result, &err), 0);
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
	ret = control_call(c, "big", args, TIMEOUT_MS, result, err);
	cJSON_Delete(args);
	return ret;
}

static void test_big_answer(void **state)
{
	struct control_client *c = connect_ok("vm");
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
	struct control_client *c = connect_ok("vm");
	cJSON *args = cJSON_CreateObject(), *result;
	char text[CONTROL_MAX_REQUEST + 1];
	struct err err = { "" };

	(void)state;
	memset(text, 'x', sizeof(text));
	text[CONTROL_MAX_REQUEST - strlen("{\"verb\":\"echo\",\"args\":{\"t\":\"\"}}")] = '\0';
	cJSON_AddStringToObject(args, "t", text);
	assert_int_equal(control_call(c, "echo", args, TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_Compare(args, result, true));
	cJSON_Delete(result);
	cJSON_AddTrueToObject(args, "u");
	assert_int_equal(control_call(c, "echo", args, TIMEOUT_MS, &result, &err), -E2BIG);
	cJSON_Delete(args);
	control_close(c);
}

/* --- clients that mean it ill -------------------------------------------------------------- */

static void test_pieces(void **state)
{
	static const char request[] = "{\"verb\": \"echo\", \"args\": {\"a\": [1]}}\r\n";
	int fd = raw_connect(*state, "vm.sock");

	for (size_t i = 0; request[i]; i++) {
		raw_write(fd, request + i, 1);
		if (i == 10)
			assert_well("vm");
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
	int fd = raw_connect(*state, "vm.sock");

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

static void refuse(const struct machine *m, const char *line, size_t len)
{
	int fd = raw_connect(m, "vm.sock");

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
	assert_well("vm");
}

static void test_deep_and_huge(void **state)
{
	static char deep[60000];
	int fd;

	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\n';
	refuse(*state, deep, sizeof(deep));
	fd = raw_connect(*state, "vm.sock");
	raw_say(fd, "{\"verb\":\"echo\",\"args\":{\"a\":1e999,\"b\":-1e308,"
		    "\"c\":123456789012345678901234567890}}\n");
	raw_expect(fd, "{\"ok\":true,\"result\":{\"a\":null,\"b\":-1e+308,"
		       "\"c\":1.2345678901234568e+29}}");
	close(fd);
	assert_well("vm");
}

static void test_endless_line(void **state)
{
	static char text[CONTROL_MAX_REQUEST + 1];
	int fd = raw_connect(*state, "vm.sock");

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
	assert_well("vm");
}

/* Ten thousand requests, no answer read: it waits for itself, and costs one answer. */
static void test_deaf(void **state)
{
	struct machine *m = *state;
	int fd = raw_connect(m, "vm.sock");
	char line[128];

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	snprintf(line, sizeof(line), "{\"verb\":\"big\",\"args\":{\"bytes\":%u}}\n", BIG);
	for (unsigned i = 0; i < 10000; i++)
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
			break;
	for (unsigned i = 0; i < 20; i++)
		assert_well("vm");
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
	assert_well("vm");
}

static void test_too_many(void **state)
{
	int fds[CONTROL_MAX_CLIENTS], more;

	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		fds[i] = raw_connect(*state, "vm.sock");
	raw_say(fds[CONTROL_MAX_CLIENTS - 1], "{\"verb\":\"nothing\"}\n");
	raw_expect(fds[CONTROL_MAX_CLIENTS - 1], "{\"ok\":true,\"result\":null}");
	more = raw_connect(*state, "vm.sock");
	raw_expect(more, "{\"ok\":false,\"error\":\"too many clients\"}");
	raw_expect_end(more);
	close(more);
	{
		struct control_client *c = connect_ok("vm");
		struct err err = { "" };
		cJSON *result;

		assert_int_equal(control_call(c, "echo", NULL, TIMEOUT_MS, &result, &err),
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
	assert_well("vm");
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (i != 3)
			close(fds[i]);
	assert_well("vm");
}

/* Even where the files' modes let him in. */
static void test_other_user(void **state)
{
	struct machine *m = *state;
	int status;
	pid_t pid;

	if (geteuid())
		skip();
	assert_int_equal(chmod(m->run, 0755), 0);
	assert_int_equal(chmod(path_of(m, ""), 0755), 0);
	assert_int_equal(chmod(path_of(m, "vm.sock"), 0666), 0);
	pid = fork();
	if (!pid) {
		static const char want[] =
			"{\"ok\":false,\"error\":\"this machine belongs to another user\"}\n";
		char line[256] = "";
		int fd;

		if (setuid(65534))
			_exit(2);
		fd = raw_connect(m, "vm.sock");
		(void)!recv(fd, line, sizeof(line) - 1, 0);
		_exit(strcmp(line, want) != 0 || recv(fd, line, 1, 0) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_well("vm");
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
	assert_int_equal(pthread_getcpuclockid(((struct machine *)*state)->io.thread, &clock), 0);
	low = old;
	low.rlim_cur = (rlim_t)lowest + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	first = raw_connect(*state, "vm.sock");
	raw_say(first, "{\"verb\":\"nothing\"}\n");
	clock_gettime(clock, &before);
	poll(NULL, 0, 200);
	clock_gettime(clock, &after);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	second = raw_connect(*state, "vm.sock");
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

static void call_impostor(const struct machine *m, struct impostor *im, int want, const char *line)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control_client *c;
	struct err err = { "" };
	cJSON *result;

	mkdir(path_of(m, ""), 0700);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/bantam/vm.sock", m->run);
	im->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(im->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(im->listener, 1), 0);
	assert_int_equal(pthread_create(&im->thread, NULL, impostor_main, im), 0);
	c = connect_ok("vm");
	assert_int_equal(
		control_call(c, "echo", NULL, want == -ETIMEDOUT ? 100 : TIMEOUT_MS, &result, &err),
		want);
	assert_string_equal(err.text, line);
	if (want && want != -EREMOTEIO) {
		assert_int_equal(control_call(c, "echo", NULL, TIMEOUT_MS, &result, &err), -EPIPE);
		assert_string_equal(err.text, "vm: the connection is lost");
	}
	cJSON_Delete(result);
	control_close(c);
	pthread_join(im->thread, NULL);
	close(im->fd);
	close(im->listener);
	unlink(addr.sun_path);
}

static void answer_is(const struct machine *m, const char *text, bool end, int want,
		      const char *line)
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
	struct machine *m = *state;
	struct control_client *c = connect_ok("vm");
	struct err err = { "" };
	cJSON *result;

	assert_int_equal(control_call(c, "nothing", NULL, TIMEOUT_MS, &result, &err), 0);
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
	assert_int_equal(control_call(c, "nothing", NULL, TIMEOUT_MS, &result, &err), -EPIPE);
	assert_string_equal(err.text, "vm: the machine has ended");
	control_close(c);
}

/* --- bantam list ----------------------------------------------------------------------------- */

static void test_cmd_list(void **state)
{
	struct machine *m = *state;
	int out = dup(STDOUT_FILENO), fd;
	char text[64] = "", *more[] = { "more" };

	fd = open(path_of(m, "out"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);

	int status = cmd_list(0, NULL);

	dup2(out, STDOUT_FILENO);
	close(out);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 3);
	assert_string_equal(text, "vm\n");
	close(fd);
	assert_int_equal(cmd_list(1, more), STATUS_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_modes, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_folder_refused, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_runtime_dir, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_no_runtime_dir, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_bad_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_in_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_list_many, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_race, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_call, setup, teardown),
		cmocka_unit_test_setup_teardown(test_big_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_big_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipeline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deep_and_huge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deaf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_impostors, setup_folder, teardown),
		cmocka_unit_test_setup_teardown(test_machine_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cmd_list, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
