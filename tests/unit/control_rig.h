/* SPDX-License-Identifier: MIT */
/*
 * A machine that is nothing but a control socket, in a runtime folder of its own, with verbs for
 * every kind of answer. What cannot be made fails the test.
 */
#ifndef TESTS_UNIT_CONTROL_RIG_H
#define TESTS_UNIT_CONTROL_RIG_H

#include "vmm/control.h"

#define CRIG_TIMEOUT_MS 20000

struct crig {
	char run[64]; /* $XDG_RUNTIME_DIR */
	struct iothread io;
	struct control *control;
	_Atomic unsigned calls; /* of any verb */
};

/* Of a test: the folder alone, or with a machine named vm in it. */
int crig_setup_folder(void **state);
int crig_setup(void **state);
int crig_teardown(void **state);

/* One more machine, or the first. As control_serve(). */
int crig_serve(struct crig *m, const char *name, struct control **out, struct err *err);

/* Of a file in bantam's folder. Valid until the next call. */
const char *crig_path(const struct crig *m, const char *file);

struct control_client *crig_connect(const char *name);
/* The machine is well: a new client's request is answered. */
void crig_assert_well(const char *name);
/* The socket alone. */
int crig_raw_connect(const struct crig *m, const char *file);

#endif
