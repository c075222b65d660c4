/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <semaphore.h>
#include <unistd.h>

#include "base/loop.h"

#define MAX 1000

/* One sleep of gap, after a look that found nothing. */
static void miss(struct loop_polling *p, uint64_t gap)
{
	p->idle_since = 0;
	loop_polling_missed(p, p->window);
	loop_polling_slept(p, p->window + gap);
}

static void test_off(void **state)
{
	struct loop_polling p;

	(void)state;
	loop_polling_init(&p, 0);
	for (unsigned i = 0; i < 100; i++) {
		miss(&p, 1);
		assert_int_equal(p.window, 0);
	}
}

/* The next look is twice as long as the last sleep was, within limits. */
static void test_window(void **state)
{
	struct loop_polling p;

	(void)state;
	loop_polling_init(&p, MAX);
	assert_int_equal(p.window, 0);
	loop_polling_slept(&p, 100);
	assert_int_equal(p.window, 200);
	loop_polling_slept(&p, 700);
	assert_int_equal(p.window, MAX);
	loop_polling_slept(&p, 8 * MAX - 1);
	assert_int_equal(p.window, MAX);
	loop_polling_slept(&p, 8 * MAX);
	assert_int_equal(p.window, 0);
	loop_polling_slept(&p, UINT64_MAX);
	assert_int_equal(p.window, 0);
}

/* Work comes soon, but never while it is looked for. */
static void test_never_pays(void **state)
{
	struct loop_polling p;
	uint64_t spent = 0;

	(void)state;
	loop_polling_init(&p, MAX);
	for (unsigned i = 0; i < 100000; i++) {
		spent += p.window;
		miss(&p, MAX / 2);
	}
	/* 5 looks each time, and 4096 sleeps between two times in the end. */
	assert_in_range(spent, 100 * MAX, 250 * MAX);
	assert_int_equal(p.backoff, 4096);

	/* And when it pays again, that is noticed, and remembered. */
	while (!p.window)
		miss(&p, MAX / 2);
	for (unsigned i = 0; i < 40; i++)
		loop_polling_found(&p, 10);
	assert_int_equal(p.backoff, 8);
	for (unsigned i = 0; i < 21; i++) {
		assert_int_equal(p.window, MAX);
		miss(&p, MAX / 2);
	}
	assert_int_equal(p.skip, 7);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(p.window, 0);
		miss(&p, MAX / 2);
	}
	assert_int_equal(p.window, MAX);
}

/* What is found late costs more than it is worth, too. */
static void test_found_too_late(void **state)
{
	struct loop_polling p;
	unsigned i;

	(void)state;
	loop_polling_init(&p, MAX);
	for (i = 0; i < 1000 && !p.skip; i++) {
		loop_polling_found(&p, MAX / 2 + 100);
		loop_polling_missed(&p, 0);
	}
	assert_in_range(i, 30, 50);
}

struct work {
	unsigned polled, armed, todo; /* todo: how often poll finds something */
	unsigned late; /* how often something comes before the sleep */
	atomic_bool *wake; /* set when all is done */
};

static bool poll_work(void *opaque)
{
	struct work *w = opaque;

	w->polled++;
	if (!w->todo)
		return false;
	if (!--w->todo && w->wake)
		*w->wake = true;
	return true;
}

static bool arm_work(void *opaque)
{
	struct work *w = opaque;

	w->armed++;
	if (!w->late)
		return false;
	w->late--;
	w->todo++;
	return true;
}

static void test_poll(void **state)
{
	struct work w[2] = { { .todo = 3, .late = 2 }, { .todo = 1 } };
	struct loop_poller p[2] = { { poll_work, arm_work, &w[0], &p[1] },
				    { poll_work, arm_work, &w[1], NULL } };
	atomic_bool woken = false;
	struct loop_polling polling;

	(void)state;
	loop_polling_init(&polling, 0);
	assert_true(loop_poll(&polling, p, &woken));
	assert_int_equal(w[0].todo + w[1].todo + w[0].late, 0);
	assert_int_equal(w[0].armed, 3);
	assert_int_equal(w[1].armed, 3);
	/* Nobody sleeps who was woken, or whose pollers never rest. */
	w[0] = (struct work){ .todo = 5, .wake = &woken };
	assert_false(loop_poll(&polling, p, &woken));
	assert_int_equal(w[0].armed, 0);
	woken = false;
	w[0] = (struct work){ .todo = UINT32_MAX };
	assert_false(loop_poll(&polling, p, &woken));
	assert_true(w[0].todo > 0);
	/* It looks as long as it should, and goes by what has woken it meanwhile. */
	w[0] = (struct work){ 0 };
	polling.window = 2000000;
	assert_true(loop_poll(&polling, p, &woken));
	assert_true(loop_polling_now() - polling.idle_since >= 2000000);
	assert_true(w[0].polled > 100);
}

struct pair {
	struct loop loop;
	struct work work;
	struct loop_poller poller;
	sem_t sem;
};

static void add_poller(void *opaque)
{
	struct pair *p = opaque;

	loop_add_poller(&p->loop, &p->poller);
	sem_post(&p->sem);
}

static void del_poller(void *opaque)
{
	struct pair *p = opaque;

	loop_del_poller(&p->loop, &p->poller);
	loop_del_poller(&p->loop, &p->poller); /* harmless */
	sem_post(&p->sem);
}

static void *run_loop(void *opaque)
{
	assert_int_equal(loop_run(opaque), 0);
	return NULL;
}

static void post(struct pair *p, void (*fn)(void *))
{
	struct loop_post post = { .fn = fn, .opaque = p };

	loop_post(&p->loop, &post);
	while (sem_wait(&p->sem)) /* a signal */
		;
}

/* A loop with pollers runs its posts, also where there is no end to the work; and sleeps. */
static void test_loop(void **state)
{
	struct pair p = { .work.todo = UINT32_MAX };
	pthread_t thread;
	unsigned polled;

	(void)state;
	p.poller = (struct loop_poller){ .poll = poll_work, .arm = arm_work, .opaque = &p.work };
	sem_init(&p.sem, 0, 0);
	assert_int_equal(loop_init(&p.loop), 0);
	loop_set_polling(&p.loop, 100000);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, &p.loop), 0);
	post(&p, add_poller);
	post(&p, del_poller);
	assert_true(p.work.polled > 0);
	loop_sync(&p.loop);
	p.work = (struct work){ 0 };
	post(&p, add_poller);
	usleep(20000);
	loop_sync(&p.loop);
	usleep(20000);
	/* Nothing looks for work that comes seldom. */
	post(&p, del_poller);
	polled = p.work.polled;
	assert_in_range(polled, 1, 20);
	loop_stop(&p.loop);
	pthread_join(thread, NULL);
	loop_destroy(&p.loop);
	sem_destroy(&p.sem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),        cmocka_unit_test(test_window),
		cmocka_unit_test(test_never_pays), cmocka_unit_test(test_found_too_late),
		cmocka_unit_test(test_poll),       cmocka_unit_test(test_loop),
	};

	return cmocka_run_group_tests_name("loop_poll", tests, NULL, NULL);
}
