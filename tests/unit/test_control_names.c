/* SPDX-License-Identifier: MIT */
/* The control sockets' folder: names, who may be in it, who is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/control_rig.h"
#include "vmm/cmd.h"

/* --- names, the folder, the socket ------------------------------------------------- */

static bool exists(const struct crig *m, const char *file)
{
	struct stat st;

	return !lstat(crig_path(m, file), &st);
}

static void connect_fails(const char *name, int want, const char *line)
{
	struct control_client *c;
	struct err err = { "" };

	assert_int_equal(control_connect(name, &c, &err), want);
	assert_string_equal(err.text, line);
}

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
	struct crig *m = *state;
	mode_t old = umask(0);
	struct err err;
	struct stat st;

	assert_int_equal(crig_serve(m, "vm", &m->control, &err), 0);
	umask(old);
	assert_int_equal(stat(crig_path(m, ""), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(stat(crig_path(m, "vm.sock"), &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	crig_assert_well("vm");
}

/* A folder that is not fit is refused by both sides. */
static void refuse_folder(struct crig *m, int want, const char *what)
{
	struct control_client *c;
	struct control *control;
	struct err err, err2 = { "" };

	assert_int_equal(crig_serve(m, "vm", &control, &err), want);
	assert_non_null(strstr(err.text, what));
	assert_non_null(strstr(err.text, m->run));
	assert_int_equal(control_connect("vm", &c, &err2), want);
	assert_string_equal(err.text, err2.text);
}

static void test_folder_refused(void **state)
{
	struct crig *m = *state;
	char real[128], folder[128];

	snprintf(real, sizeof(real), "%s/real", m->run);
	snprintf(folder, sizeof(folder), "%s/bantam", m->run);
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, folder), 0);
	refuse_folder(m, -ENOTDIR, "symbolic link");
	assert_int_equal(unlink(folder), 0);

	assert_int_equal(mkdir(crig_path(m, ""), 0700), 0);
	assert_int_equal(chmod(crig_path(m, ""), 0770), 0);
	refuse_folder(m, -EPERM, "0700");
	assert_int_equal(chmod(crig_path(m, ""), 0702), 0);
	refuse_folder(m, -EPERM, "0700");
	assert_int_equal(chmod(crig_path(m, ""), 0700), 0);
	if (!geteuid()) {
		assert_int_equal(chown(crig_path(m, ""), 65534, (gid_t)-1), 0);
		refuse_folder(m, -EPERM, "another user");
	}
}

static void test_runtime_dir(void **state)
{
	struct crig *m = *state;
	struct control *control;
	struct err err;
	char deep[200];

	setenv("XDG_RUNTIME_DIR", "relative", 1);
	assert_int_equal(crig_serve(m, "vm", &control, &err), -EINVAL);
	assert_string_equal(err.text, "XDG_RUNTIME_DIR=relative: must be an absolute path");

	snprintf(deep, sizeof(deep), "%s/none", m->run);
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(crig_serve(m, "vm", &control, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/none/bantam"));
	connect_fails("vm", -ENOENT, "vm: no machine of that name is running");

	memset(deep, 'd', sizeof(deep));
	memcpy(deep, m->run, strlen(m->run));
	deep[strlen(m->run)] = '/';
	deep[104] = '\0';
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(crig_serve(m, "vm", &control, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "too long for a socket"));
	deep[90] = '\0';
	assert_int_equal(mkdir(deep, 0700), 0);
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(crig_serve(m, "machine", &control, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "machine.sock: too long for a socket (at most 107"));
	assert_int_equal(crig_serve(m, "vm", &control, &err), 0);
	crig_assert_well("vm");
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
	struct crig *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(crig_serve(m, "../vm", &control, &err), -EINVAL);
	assert_string_equal(err.text, "../vm: cannot be a machine's name");
	connect_fails("../vm", -EINVAL, "../vm: cannot be a machine's name");
}

static void test_in_the_way(void **state)
{
	struct crig *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(close(creat(crig_path(m, "file.sock"), 0600)), 0);
	assert_int_equal(crig_serve(m, "file", &control, &err), -ENOTSOCK);
	assert_non_null(strstr(err.text, "file.sock: is in the way"));
	assert_int_equal(symlink("vm.sock", crig_path(m, "link.sock")), 0);
	assert_int_equal(crig_serve(m, "link", &control, &err), -ENOTSOCK);
	assert_true(exists(m, "file.sock"));
	assert_true(exists(m, "link.sock"));
}

static void test_removed_in_the_end(void **state)
{
	struct crig *m = *state;
	struct control *other;
	struct err err;

	assert_int_equal(crig_serve(m, "other", &other, &err), 0);
	assert_true(exists(m, "vm.sock"));
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
	assert_false(exists(m, "vm.sock"));
	/* Somebody else's by now. */
	assert_true(exists(m, "other.sock"));
	assert_int_equal(unlink(crig_path(m, "other.sock")), 0);
	assert_int_equal(close(creat(crig_path(m, "other.sock"), 0600)), 0);
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
	struct crig *m = *state;
	struct control *b, *a;
	struct control_client *c;
	struct err err;

	expect_list("");
	connect_fails(NULL, -ENOENT, "no machine is running");
	connect_fails("vm", -ENOENT, "vm: no machine of that name is running");
	assert_int_equal(crig_serve(m, "b", &b, &err), 0);
	c = crig_connect(NULL);
	assert_string_equal(control_client_name(c), "b");
	control_close(c);
	assert_int_equal(crig_serve(m, "a.sock", &a, &err), 0);
	assert_int_equal(close(creat(crig_path(m, "file.sock"), 0600)), 0);
	assert_int_equal(close(creat(crig_path(m, "junk"), 0600)), 0);
	expect_list("a.sock b ");
	connect_fails(NULL, -ENOTUNIQ, "several machines are running; name one of: a.sock, b");
	connect_fails("c", -ENOENT, "c: no machine of that name is running; there are: a.sock, b");
	iothread_stop(&m->io);
	control_destroy(a);
	control_destroy(b);
}

static void test_list_many(void **state)
{
	struct crig *m = *state;
	struct control *c[12];
	struct err err = { "" };
	struct control_client *client;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		char name[CONTROL_NAME_MAX + 1];

		snprintf(name, sizeof(name), "machine-with-a-long-name-%02u", i);
		assert_int_equal(crig_serve(m, name, &c[i], &err), 0);
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
	struct crig *m = *state;
	struct control *control;
	struct err err;

	assert_int_equal(crig_serve(m, "vm", &control, &err), -EADDRINUSE);
	assert_string_equal(err.text, "vm: a machine of that name is running");
	crig_assert_well("vm");
}

/* In a forked process, with a loop of its own: an epoll set is shared with the parent. */
static int serve_in_child(struct crig *m, const char *name)
{
	struct control *control;
	struct err err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return iothread_start(&m->io, "child") ?: crig_serve(m, name, &control, &err);
}

/* A machine that was killed: its socket stays behind. */
static void leave_stale(struct crig *m, const char *name)
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
	struct crig *m = *state;
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
	assert_int_equal(crig_serve(m, "vm", &m->control, &err), 0);
	crig_assert_well("vm");
}

/* Nobody touches a name while somebody else is at it. */
static void test_lock(void **state)
{
	struct crig *m = *state;
	pid_t taker, looker;
	int dir;

	leave_stale(m, "a");
	leave_stale(m, "b");
	dir = open(crig_path(m, ""), O_RDONLY | O_DIRECTORY);
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
	struct crig *m = *state;

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
		close(crig_raw_connect(m, "vm.sock"));
		for (unsigned i = 0; i < RACERS; i++) {
			kill(pid[i], SIGKILL);
			assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
		}
		close(said[0]);
		close(said[1]);
		expect_list("");
	}
}

/* --- bantam list ----------------------------------------------------------------------------- */

static void test_cmd_list(void **state)
{
	struct crig *m = *state;
	int out = dup(STDOUT_FILENO), fd;
	char text[64] = "", *more[] = { "more" };

	fd = open(crig_path(m, "out"), O_RDWR | O_CREAT | O_TRUNC, 0600);
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
		cmocka_unit_test_setup_teardown(test_modes, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_folder_refused, crig_setup_folder,
						crig_teardown),
		cmocka_unit_test_setup_teardown(test_runtime_dir, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_no_runtime_dir, crig_setup_folder,
						crig_teardown),
		cmocka_unit_test_setup_teardown(test_bad_names, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_in_the_way, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_removed_in_the_end, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_list, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_list_many, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_taken, crig_setup, crig_teardown),
		cmocka_unit_test_setup_teardown(test_stale, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_lock, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_race, crig_setup_folder, crig_teardown),
		cmocka_unit_test_setup_teardown(test_cmd_list, crig_setup, crig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
