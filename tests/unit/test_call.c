/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "vmm/call.h"

static int twice(void *opaque, struct err *err)
{
	int *n = opaque;

	*n *= 2;
	return *n < 100 ? *n : err_set(err, -ERANGE, "%d is too much", *n);
}

static void test_made(void **state)
{
	struct iothread io;
	struct call call;
	struct err err = { "" };
	int n = 21;

	(void)state;
	assert_int_equal(iothread_start(&io, "loop"), 0);
	call_init(&call, &io.loop);
	assert_int_equal(call_make(&call, twice, &n, &err), 42);
	assert_int_equal(call_make(&call, twice, &n, &err), 84);
	assert_string_equal(err.text, "");
	assert_int_equal(call_make(&call, twice, &n, &err), -ERANGE);
	assert_string_equal(err.text, "168 is too much");
	call_close(&call);
	assert_int_equal(call_make(&call, twice, &n, &err), -ESHUTDOWN);
	assert_int_equal(n, 168);
	iothread_stop(&io);
	call_destroy(&call);
}

struct waiter {
	struct call call;
	int n, ret;
	struct err err;
};

static void wait_for_it(void *opaque)
{
	struct waiter *w = opaque;

	w->ret = call_make(&w->call, twice, &w->n, &w->err);
}

static bool is_waiting(struct call *c)
{
	bool waiting;

	pthread_mutex_lock(&c->lock);
	waiting = c->fn;
	pthread_mutex_unlock(&c->lock);
	return waiting;
}

/* The loop that it waits for never runs. */
static void test_closed(void **state)
{
	struct waiter w = { .n = 1 };
	struct loop_post post = { .fn = wait_for_it, .opaque = &w };
	struct iothread io;
	struct loop loop;

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(iothread_start(&io, "waiter"), 0);
	call_init(&w.call, &loop);
	loop_post(&io.loop, &post);
	while (!is_waiting(&w.call))
		;
	call_close(&w.call);
	iothread_stop(&io);
	assert_int_equal(w.ret, -ESHUTDOWN);
	assert_int_equal(w.n, 1);
	call_destroy(&w.call);
	loop_destroy(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
