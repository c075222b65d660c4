/* SPDX-License-Identifier: MIT */
#include "tests/unit/control_rig.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

static int verb_echo(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct crig *m = ctx;

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
	struct crig *m = ctx;
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

int crig_serve(struct crig *m, const char *name, struct control **out, struct err *err)
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

int crig_setup_folder(void **state)
{
	struct crig *m = calloc(1, sizeof(*m));

	strcpy(m->run, "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(m->run));
	setenv("XDG_RUNTIME_DIR", m->run, 1);
	assert_int_equal(iothread_start(&m->io, "control"), 0);
	*state = m;
	return 0;
}

int crig_setup(void **state)
{
	struct crig *m;
	struct err err;

	crig_setup_folder(state);
	m = *state;
	assert_int_equal(crig_serve(m, "vm", &m->control, &err), 0);
	return 0;
}

int crig_teardown(void **state)
{
	struct crig *m = *state;

	iothread_stop(&m->io);
	control_destroy(m->control);
	remove_all(m->run);
	free(m);
	return 0;
}

const char *crig_path(const struct crig *m, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/bantam/%s", m->run, file);
	return path;
}

struct control_client *crig_connect(const char *name)
{
	struct control_client *c = NULL;
	struct err err = { "" };
	int ret = control_connect(name, &c, &err);

	if (ret)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	return c;
}

void crig_assert_well(const char *name)
{
	struct control_client *c = crig_connect(name);
	cJSON *args = cJSON_CreateObject(), *result;
	struct err err = { "" };

	cJSON_AddNumberToObject(args, "n", 7);
	assert_int_equal(control_call(c, "echo", args, CRIG_TIMEOUT_MS, &result, &err), 0);
	assert_true(cJSON_Compare(args, result, true));
	cJSON_Delete(args);
	cJSON_Delete(result);
	control_close(c);
}

int crig_raw_connect(const struct crig *m, const char *file)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/bantam/%s", m->run, file);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}
