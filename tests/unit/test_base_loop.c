/* SPDX-License-Identifier: MIT */
/* base/loop.h: sources, posts, timers, and what other threads may do to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "tests/unit/fake.h"

#define MS 1000000ull

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* Waits for *n to reach want, for up to two seconds. */
static void wait_for(const atomic_uint *n, unsigned want)
{
	for (unsigned i = 0; i < 2000 && *n < want; i++)
		sleep_ms(1);
	assert_true(*n >= want);
}

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

struct reader {
	struct loop *loop;
	struct loop_src src;
	atomic_uint calls;
	uint32_t events;
	bool stop;
};

static void reader_fn(void *opaque, uint32_t events)
{
	struct reader *r = opaque;
	char buf[64];

	r->events = events;
	if (events & EPOLLIN)
		assert_true(read(r->src.fd, buf, sizeof(buf)) >= 0);
	r->calls++;
	if (r->stop)
		loop_stop(r->loop);
}

static void sources(void **state)
{
	struct loop loop;
	struct reader r = { .loop = &loop, .stop = true };
	int fds[2], plain;

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	r.src = (struct loop_src){ fds[0], reader_fn, &r };
	assert_int_equal(loop_add(&loop, &r.src, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &r.src, EPOLLIN), -EEXIST);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(r.calls, 1);
	assert_int_equal(r.events, EPOLLIN);
	loop_del(&loop, &r.src);
	loop_del(&loop, &r.src); /* harmless */
	assert_int_equal(loop_mod(&loop, &r.src, EPOLLIN), -ENOENT);
	/* A regular file cannot be watched; the caller is told. */
	plain = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(loop_add(&loop, &(struct loop_src){ plain, reader_fn, &r }, EPOLLIN),
			 -EPERM);
	assert_int_equal(loop_add(&loop, &(struct loop_src){ -1, reader_fn, &r }, EPOLLIN), -EBADF);
	close(plain);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(&loop);
}

static void hangup(void **state)
{
	struct iothread t;
	struct reader r = { 0 };
	int fds[2];

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	r.src = (struct loop_src){ fds[0], reader_fn, &r };
	assert_int_equal(loop_add(&t.loop, &r.src, 0), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	sleep_ms(20);
	assert_int_equal(r.calls, 0);
	close(fds[1]);
	wait_for(&r.calls, 1);
	loop_del(&t.loop, &r.src);
	loop_sync(&t.loop);
	assert_true(r.events & EPOLLHUP);
	close(fds[0]);
	iothread_stop(&t);
}

/* A source deletes another that is ready as well: the other must not be called. */
struct pair {
	struct loop *loop;
	struct loop_src src[2];
	unsigned calls;
};

static void delete_other(void *opaque, uint32_t events)
{
	struct pair *p = opaque;

	(void)events;
	p->calls++;
	for (int i = 0; i < 2; i++) {
		loop_del(p->loop, &p->src[i]);
		memset(&p->src[i], 0xa5, sizeof(p->src[i])); /* as freed memory */
	}
}

static void deleted_by_another(void **state)
{
	struct loop loop;
	struct pair p = { .loop = &loop };
	struct loop_post post = { stop_loop, &loop, false, NULL };
	int fd[2];

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	for (int i = 0; i < 2; i++) {
		fd[i] = eventfd(1, EFD_CLOEXEC);
		p.src[i] = (struct loop_src){ fd[i], delete_other, &p };
		assert_int_equal(loop_add(&loop, &p.src[i], EPOLLIN), 0);
	}
	loop_post(&loop, &post);
	assert_int_equal(loop_run(&loop), 0);
	assert_true(p.calls <= 1);
	close(fd[0]);
	close(fd[1]);
	loop_destroy(&loop);
}

struct order {
	struct loop *loop;
	struct loop_post post[3];
	unsigned n;
	int seen[8];
	struct loop_post again;
	unsigned again_left;
	int wake;
};

static void first(void *opaque)
{
	struct order *o = opaque;

	o->seen[o->n++] = 1;
}

static void second(void *opaque)
{
	struct order *o = opaque;

	o->seen[o->n++] = 2;
}

static void post_order(void **state)
{
	struct loop loop;
	struct order o = { .loop = &loop };

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	o.post[0] = (struct loop_post){ first, &o, false, NULL };
	o.post[1] = (struct loop_post){ second, &o, false, NULL };
	o.post[2] = (struct loop_post){ stop_loop, &loop, false, NULL };
	loop_post(&loop, &o.post[0]);
	loop_post(&loop, &o.post[1]);
	loop_post(&loop, &o.post[0]); /* queued already */
	loop_post(&loop, &o.post[2]);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(o.n, 2);
	assert_int_equal(o.seen[0], 1);
	assert_int_equal(o.seen[1], 2);
	assert_false(o.post[0].queued);
	loop_destroy(&loop);
}

/* A post that posts itself again must leave room for everything else. */
static void repost(void *opaque)
{
	struct order *o = opaque;

	if (!o->n++)
		eventfd_write(o->wake, 1);
	if (--o->again_left)
		loop_post(o->loop, &o->again);
	else
		loop_stop(o->loop); /* nothing else got through */
}

static void post_again(void **state)
{
	struct loop loop;
	struct order o = { .loop = &loop, .again_left = 1000 };
	struct reader r = { .loop = &loop, .stop = true };

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	o.wake = eventfd(0, EFD_CLOEXEC);
	r.src = (struct loop_src){ o.wake, reader_fn, &r };
	assert_int_equal(loop_add(&loop, &r.src, EPOLLIN), 0);
	o.again = (struct loop_post){ repost, &o, false, NULL };
	loop_post(&loop, &o.again);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(r.calls, 1);
	assert_true(o.n < 1000);
	close(r.src.fd);
	loop_destroy(&loop);
}

struct flood {
	struct loop *loop;
	struct loop_post post[4];
	atomic_uint calls;
	atomic_uint posted;
};

static void count(void *opaque)
{
	atomic_uint *n = opaque;

	(*n)++;
}

static void *flood_main(void *opaque)
{
	struct flood *f = opaque;

	for (unsigned i = 0; i < 20000; i++)
		loop_post(f->loop, &f->post[i % 4]);
	return NULL;
}

static void posts_from_threads(void **state)
{
	struct iothread t;
	struct flood f[2];
	pthread_t th[2];

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	for (int i = 0; i < 2; i++) {
		memset(&f[i], 0, sizeof(f[i]));
		f[i].loop = &t.loop;
		for (int k = 0; k < 4; k++)
			f[i].post[k] = (struct loop_post){ count, &f[i].calls, false, NULL };
		assert_int_equal(pthread_create(&th[i], NULL, flood_main, &f[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(th[i], NULL);
	/* The last of each was not lost. */
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 4; k++) {
			unsigned before = f[i].calls;

			while (f[i].post[k].queued)
				sleep_ms(1);
			loop_post(&t.loop, &f[i].post[k]);
			wait_for(&f[i].calls, before + 1);
		}
	iothread_stop(&t);
}

static void slow(void *opaque, uint32_t events)
{
	struct reader *r = opaque;
	eventfd_t n;

	(void)events;
	eventfd_read(r->src.fd, &n);
	r->calls++;
	sleep_ms(50);
	r->events = 0x600d;
}

static void sync_waits(void **state)
{
	struct iothread t;
	struct reader r = { 0 };

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	loop_sync(&t.loop); /* idle: returns */
	r.src = (struct loop_src){ eventfd(0, EFD_CLOEXEC), slow, &r };
	assert_int_equal(loop_add(&t.loop, &r.src, EPOLLIN), 0);
	eventfd_write(r.src.fd, 1);
	wait_for(&r.calls, 1);
	loop_del(&t.loop, &r.src);
	loop_sync(&t.loop);
	assert_int_equal(r.events, 0x600d);
	close(r.src.fd);
	iothread_stop(&t);
	iothread_stop(&t); /* harmless */
}

struct caller {
	struct loop *loop;
	struct loop_src src;
	atomic_uint events, calls;
	bool stop;
	unsigned events_seen; /* by the call */
	pthread_t thread;
};

/* Says that it is there, stays until the loop is wanted, and goes on being called. */
static void busy(void *opaque, uint32_t events)
{
	struct caller *c = opaque;

	(void)events;
	c->events++;
	for (unsigned i = 0; !c->loop->woken && i < 2000; i++)
		sleep_ms(1);
	(void)loop_mod(c->loop, &c->src, EPOLLIN | EPOLLONESHOT);
	c->events++;
	if (c->stop)
		loop_stop(c->loop);
}

static void delete_busy(void *opaque)
{
	struct caller *c = opaque;

	loop_del(c->loop, &c->src);
	c->events_seen = c->events;
	c->thread = pthread_self();
	c->calls++;
}

static void caller_start(struct caller *c, struct iothread *t)
{
	c->loop = &t->loop;
	c->src = (struct loop_src){ eventfd(1, EFD_CLOEXEC), busy, c };
	assert_int_equal(loop_add(&t->loop, &c->src, EPOLLIN | EPOLLONESHOT), 0);
	wait_for(&c->events, 1);
}

static void call_between(void **state)
{
	struct iothread t;
	struct caller c = { 0 };

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	for (unsigned i = 0; i < 100; i++) {
		memset(&c, 0, sizeof(c));
		caller_start(&c, &t);
		loop_call(&t.loop, delete_busy, &c);
		assert_int_equal(c.calls, 1);
		assert_true(pthread_equal(c.thread, t.thread));
		assert_int_equal(c.events_seen % 2, 0);
		loop_sync(&t.loop);
		assert_int_equal(c.events, c.events_seen);
		close(c.src.fd);
	}
	iothread_stop(&t);
}

/* It is made all the same where the loop ends first, or has ended, by the caller. */
static void call_ended(void **state)
{
	struct iothread t;
	struct caller c;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		memset(&c, 0, sizeof(c));
		assert_int_equal(iothread_start(&t, "test"), 0);
		c.stop = true;
		caller_start(&c, &t);
		loop_call(&t.loop, delete_busy, &c);
		assert_int_equal(c.calls, 1);
		assert_true(pthread_equal(c.thread, pthread_self()));
		assert_int_equal(c.events_seen, 2);
		assert_null(t.loop.posts);
		iothread_join(&t);
		loop_call(&t.loop, delete_busy, &c);
		assert_int_equal(c.calls, 2);
		assert_null(t.loop.posts);
		iothread_stop(&t);
		close(c.src.fd);
	}
}

static void never_started(void **state)
{
	struct iothread t = { 0 };

	(void)state;
	iothread_stop(&t);
}

struct mask {
	sigset_t set;
	struct loop_post post;
	atomic_uint done;
};

static void get_mask(void *opaque)
{
	struct mask *m = opaque;

	pthread_sigmask(SIG_SETMASK, NULL, &m->set);
	m->done++;
}

static void signals_blocked(void **state)
{
	struct iothread t;
	struct mask m = { .post = { get_mask, &m, false, NULL } };
	sigset_t own;

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	loop_post(&t.loop, &m.post);
	wait_for(&m.done, 1);
	assert_int_equal(sigismember(&m.set, SIGTERM), 1);
	assert_int_equal(sigismember(&m.set, SIGUSR1), 1);
	pthread_sigmask(SIG_SETMASK, NULL, &own);
	assert_int_equal(sigismember(&own, SIGTERM), 0);
	iothread_stop(&t);
}

struct ticker {
	struct timer timer;
	atomic_uint fired;
	atomic_ullong at;
	uint64_t period;
	unsigned left;
};

static void tick(void *opaque)
{
	struct ticker *t = opaque;

	t->at = clock_now(t->timer.clock);
	t->fired++;
	if (t->left && --t->left)
		timer_arm(&t->timer, t->at + t->period);
}

static void host_timers(void **state)
{
	struct iothread t;
	struct host_clock hc;
	struct ticker a = { 0 }, b = { 0 }, c = { 0 };
	uint64_t start;

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	assert_int_equal(host_clock_init(&hc, &t.loop), 0);
	timer_init(&a.timer, &hc.clock, tick, &a);
	timer_init(&b.timer, &hc.clock, tick, &b);
	timer_init(&c.timer, &hc.clock, tick, &c);
	start = clock_now(&hc.clock);
	assert_true(clock_wall(&hc.clock) > 1700000000ull * NSEC_PER_SEC);

	/* Later first, then an earlier one; one that is taken back. */
	timer_arm(&a.timer, start + 60 * MS);
	timer_arm(&b.timer, start + 20 * MS);
	timer_arm(&c.timer, start + 10 * MS);
	timer_arm(&c.timer, TIMER_OFF);
	wait_for(&b.fired, 1);
	assert_true(b.at >= start + 20 * MS);
	wait_for(&a.fired, 1);
	assert_true(a.at >= start + 60 * MS);
	assert_true(b.at <= a.at);
	assert_int_equal(c.fired, 0);
	assert_int_equal(b.fired, 1);

	/* In the past, and at zero: at once. */
	timer_arm(&a.timer, start);
	wait_for(&a.fired, 2);
	timer_arm(&a.timer, 0);
	wait_for(&a.fired, 3);
	/* Re-armed from its own callback. */
	c.left = 10;
	c.period = MS;
	timer_arm(&c.timer, clock_now(&hc.clock) + MS);
	wait_for(&c.fired, 10);
	/* Put off, twice over. */
	timer_arm(&b.timer, clock_now(&hc.clock) + 5 * MS);
	timer_arm(&b.timer, clock_now(&hc.clock) + 10000 * MS);
	sleep_ms(20);
	assert_int_equal(b.fired, 1);
	/* The far future does not overflow. */
	timer_arm(&a.timer, UINT64_MAX - 1);
	sleep_ms(10);
	assert_int_equal(a.fired, 3);
	timer_arm(&b.timer, TIMER_OFF);
	timer_arm(&a.timer, TIMER_OFF);
	iothread_stop(&t);
	/* The loop's descriptors are gone with the thread; the clock's own is still there. */
	close(hc.src.fd);
	pthread_mutex_destroy(&hc.lock);
}

static void timer_storm(void **state)
{
	struct iothread t;
	struct host_clock hc;
	struct ticker a[8] = { 0 };
	uint64_t end;

	(void)state;
	assert_int_equal(iothread_start(&t, "test"), 0);
	assert_int_equal(host_clock_init(&hc, &t.loop), 0);
	for (unsigned i = 0; i < 8; i++)
		timer_init(&a[i].timer, &hc.clock, tick, &a[i]);
	end = clock_now(&hc.clock) + 100 * MS;
	for (unsigned i = 0; clock_now(&hc.clock) < end; i++)
		timer_arm(&a[i % 8].timer, clock_now(&hc.clock) + i % 3 * 1000);
	sleep_ms(20);
	/* Whatever was armed last has fired: nothing is stuck. */
	for (unsigned i = 0; i < 8; i++) {
		unsigned before = a[i].fired;

		assert_true(before > 0);
		timer_arm(&a[i].timer, clock_now(&hc.clock));
		wait_for(&a[i].fired, before + 1);
	}
	iothread_stop(&t);
	close(hc.src.fd);
	pthread_mutex_destroy(&hc.lock);
}

static void fake_fn(void *opaque)
{
	struct ticker *t = opaque;

	t->fired++;
	t->at = clock_now(t->timer.clock);
	if (t->left && --t->left)
		timer_arm(&t->timer, t->at + t->period);
}

/* The fake that all device tests stand on. */
static void fake_clock_works(void **state)
{
	struct fake_clock fc;
	struct ticker a = { .period = 10, .left = 3 }, b = { 0 };

	(void)state;
	fake_clock_init(&fc);
	timer_init(&a.timer, &fc.clock, fake_fn, &a);
	timer_init(&b.timer, &fc.clock, fake_fn, &b);
	timer_arm(&a.timer, 10);
	timer_arm(&b.timer, 100);
	fake_clock_advance(&fc, 9);
	assert_int_equal(a.fired, 0);
	fake_clock_advance(&fc, 21);
	assert_int_equal(a.fired, 3);
	assert_int_equal(a.at, 30);
	timer_arm(&b.timer, TIMER_OFF);
	fake_clock_advance(&fc, 1000);
	assert_int_equal(b.fired, 0);
	timer_arm(&b.timer, 5); /* long past: at once, and time does not go back */
	fake_clock_advance(&fc, 0);
	assert_int_equal(b.fired, 1);
	assert_int_equal(clock_now(&fc.clock), 1030);
}

struct counted_clock {
	struct clock clock;
	unsigned arms;
	uint64_t last;
};

static void counted_arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	struct counted_clock *c = container_of(clock, struct counted_clock, clock);

	(void)t;
	c->arms++;
	c->last = deadline;
}

static void timer_wanted(void **state)
{
	static const struct clock_ops ops = { .arm = counted_arm };
	struct counted_clock c = { .clock.ops = &ops };
	struct timer t;

	(void)state;
	timer_init(&t, &c.clock, NULL, NULL);
	timer_want(&t, TIMER_OFF);
	assert_int_equal(c.arms, 0);
	timer_want(&t, 5 * MS);
	timer_want(&t, 5 * MS);
	assert_int_equal(c.arms, 1);
	timer_want(&t, 4 * MS);
	assert_int_equal(c.arms, 2);
	assert_int_equal(c.last, 4 * MS);
	/* It has fired: the same time is news again, and off is none. */
	timer_came(&t);
	timer_want(&t, TIMER_OFF);
	assert_int_equal(c.arms, 2);
	timer_want(&t, 4 * MS);
	assert_int_equal(c.arms, 3);
	timer_want(&t, TIMER_OFF);
	assert_int_equal(c.last, TIMER_OFF);
}

static void log_lines(void **state)
{
	int fds[2], saved = dup(STDERR_FILENO);
	char buf[4096], longer[3000];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	dup2(fds[1], STDERR_FILENO);
	errno = EXDEV;
	log_error("%s: %d", "disk", 5);
	assert_int_equal(errno, EXDEV);
	log_warn("%%s");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	log_error("%s", longer);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(fds[0], buf, sizeof(buf));
	assert_true(n > 0);
	assert_memory_equal(buf, "bantam: disk: 5\nbantam: warning: %s\nbantam: xxx", 46);
	assert_int_equal(buf[n - 1], '\n');
	assert_int_equal(buf[n - 2], 'x');
	assert_true(n < 1200);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources),
		cmocka_unit_test(hangup),
		cmocka_unit_test(deleted_by_another),
		cmocka_unit_test(post_order),
		cmocka_unit_test(post_again),
		cmocka_unit_test(posts_from_threads),
		cmocka_unit_test(sync_waits),
		cmocka_unit_test(call_between),
		cmocka_unit_test(call_ended),
		cmocka_unit_test(never_started),
		cmocka_unit_test(signals_blocked),
		cmocka_unit_test(host_timers),
		cmocka_unit_test(timer_storm),
		cmocka_unit_test(fake_clock_works),
		cmocka_unit_test(timer_wanted),
		cmocka_unit_test(log_lines),
	};

	return cmocka_run_group_tests_name("base_loop", tests, NULL, NULL);
}
