/* SPDX-License-Identifier: MIT */
#include "base/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

#define LOOP_ENDED UINT64_MAX /* as gen_done: nothing runs there any more */

static void loop_wake(struct loop *loop)
{
	loop->woken = true;
	eventfd_write(loop->wakefd, 1);
}

/* Runs the posts queued so far and lets loop_sync() go on. */
static void loop_run_posts(void *opaque, uint32_t events)
{
	struct loop *loop = opaque;
	eventfd_t n;

	(void)events;
	loop->woken = false;
	eventfd_read(loop->wakefd, &n);
	pthread_mutex_lock(&loop->lock);

	struct loop_post *post = loop->posts;

	/* Not those queued meanwhile: a post that posts itself would keep everything else out. */
	loop->posts = NULL;
	while (post) {
		struct loop_post *next = post->next;
		void (*fn)(void *) = post->fn;
		void *arg = post->opaque;

		post->queued = false;
		pthread_mutex_unlock(&loop->lock);
		fn(arg);
		pthread_mutex_lock(&loop->lock);
		post = next;
	}
	pthread_mutex_unlock(&loop->lock);
}

int loop_init(struct loop *loop)
{
	int ret;

	memset(loop, 0, sizeof(*loop));
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0)
		return -errno;
	loop->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wakefd < 0) {
		ret = -errno;
		close(loop->epfd);
		return ret;
	}
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->cond, NULL);
	loop->wake_src = (struct loop_src){ loop->wakefd, loop_run_posts, loop };
	ret = loop_add(loop, &loop->wake_src, EPOLLIN);
	if (ret)
		loop_destroy(loop);
	return ret;
}

void loop_destroy(struct loop *loop)
{
	close(loop->wakefd);
	close(loop->epfd);
	pthread_cond_destroy(&loop->cond);
	pthread_mutex_destroy(&loop->lock);
}

static int loop_ctl(struct loop *loop, int op, struct loop_src *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(loop->epfd, op, src->fd, &ev) ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_src *src, uint32_t events)
{
	return loop_ctl(loop, EPOLL_CTL_ADD, src, events);
}

int loop_mod(struct loop *loop, struct loop_src *src, uint32_t events)
{
	return loop_ctl(loop, EPOLL_CTL_MOD, src, events);
}

void loop_del(struct loop *loop, struct loop_src *src)
{
	(void)loop_ctl(loop, EPOLL_CTL_DEL, src, 0);
}

void loop_post(struct loop *loop, struct loop_post *post)
{
	pthread_mutex_lock(&loop->lock);
	if (!post->queued) {
		struct loop_post **end = &loop->posts;

		while (*end)
			end = &(*end)->next;
		post->queued = true;
		post->next = NULL;
		*end = post;
	}
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
}

void loop_sync(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);

	uint64_t want = ++loop->gen_wanted;

	loop_wake(loop);
	while (loop->gen_done < want && !loop->stop)
		pthread_cond_wait(&loop->cond, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

struct loop_call {
	struct loop_post post;
	struct loop *loop;
	void (*fn)(void *opaque);
	void *opaque;
	bool made; /* guarded by the loop's lock */
};

static void make_call(void *opaque)
{
	struct loop_call *c = opaque;
	struct loop *loop = c->loop;

	c->fn(c->opaque);
	pthread_mutex_lock(&loop->lock);
	c->made = true; /* and gone once the lock is free */
	pthread_cond_broadcast(&loop->cond);
	pthread_mutex_unlock(&loop->lock);
}

void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
	struct loop_call c = { .loop = loop, .fn = fn, .opaque = opaque };
	bool made;

	c.post = (struct loop_post){ .fn = make_call, .opaque = &c };
	loop_post(loop, &c.post);
	pthread_mutex_lock(&loop->lock);
	while (!c.made && loop->gen_done != LOOP_ENDED)
		pthread_cond_wait(&loop->cond, &loop->lock);
	made = c.made;
	for (struct loop_post **p = &loop->posts; !made && *p; p = &(*p)->next) {
		if (*p == &c.post) {
			*p = c.post.next;
			break;
		}
	}
	pthread_mutex_unlock(&loop->lock);
	if (!made)
		fn(opaque);
}

static void sync_reached(struct loop *loop, uint64_t gen)
{
	pthread_mutex_lock(&loop->lock);
	if (loop->gen_done < gen) {
		loop->gen_done = gen;
		pthread_cond_broadcast(&loop->cond);
	}
	pthread_mutex_unlock(&loop->lock);
}

void loop_set_polling(struct loop *loop, uint64_t max_ns)
{
	loop_polling_init(&loop->polling, max_ns);
}

void loop_add_poller(struct loop *loop, struct loop_poller *p)
{
	p->next = loop->pollers;
	loop->pollers = p;
}

void loop_del_poller(struct loop *loop, struct loop_poller *p)
{
	struct loop_poller **at = &loop->pollers;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
}

int loop_run(struct loop *loop)
{
	struct epoll_event evs[1];
	int ret = 0;

	while (!loop->stop) {
		/*
		 * One event at a time: a batch could hold a source that the callback before
		 * it has just deleted. What a sync waits for is over once we are back here.
		 */
		uint64_t gen = loop->gen_wanted;

		if (gen != loop->gen_done)
			sync_reached(loop, gen);

		bool sleep =
			!loop->pollers || loop_poll(&loop->polling, loop->pollers, &loop->woken);
		int n = epoll_wait(loop->epfd, evs, 1, sleep ? -1 : 0);

		if (loop->pollers && sleep)
			loop_polling_slept(&loop->polling, loop_polling_now());
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			ret = -errno;
			break;
		}
		if (n) {
			struct loop_src *src = evs[0].data.ptr;

			src->fn(src->opaque, evs[0].events);
		}
	}
	sync_reached(loop, LOOP_ENDED);
	return ret;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
	loop_wake(loop);
}

static void *iothread_main(void *opaque)
{
	struct iothread *t = opaque;

	(void)loop_run(&t->loop);
	return NULL;
}

int iothread_start(struct iothread *t, const char *name)
{
	int ret;

	memset(t, 0, sizeof(*t));
	ret = loop_init(&t->loop);
	if (ret)
		return ret;
	ret = thread_start(&t->thread, name, 0, iothread_main, t);
	if (ret) {
		loop_destroy(&t->loop);
		return ret;
	}
	t->running = true;
	return 0;
}

void iothread_join(struct iothread *t)
{
	if (!t->running || t->joined)
		return;
	loop_stop(&t->loop);
	pthread_join(t->thread, NULL);
	t->joined = true;
}

void iothread_stop(struct iothread *t)
{
	iothread_join(t);
	if (t->running)
		loop_destroy(&t->loop);
	t->running = t->joined = false;
}

static struct host_clock *to_host(struct clock *clock)
{
	return container_of(clock, struct host_clock, clock);
}

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t host_now(struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t host_wall(struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

/* Sets the timerfd to the first deadline. Called with the lock held. */
static void host_program(struct host_clock *hc)
{
	struct itimerspec its = { 0 };

	if (hc->armed) {
		/* A deadline of 0 would disarm: the first nanosecond is as long past. */
		uint64_t at = max_u64(hc->armed->deadline, 1);

		its.it_value.tv_sec = (time_t)(at / NSEC_PER_SEC);
		its.it_value.tv_nsec = (long)(at % NSEC_PER_SEC);
	}
	timerfd_settime(hc->src.fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void unlink_timer(struct host_clock *hc, struct timer *t)
{
	for (struct timer **p = &hc->armed; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
}

static void host_arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	struct host_clock *hc = to_host(clock);

	pthread_mutex_lock(&hc->lock);

	struct timer *first = hc->armed;
	uint64_t first_deadline = first ? first->deadline : TIMER_OFF;

	unlink_timer(hc, t);
	t->deadline = deadline;
	if (deadline != TIMER_OFF) {
		struct timer **p = &hc->armed;

		while (*p && (*p)->deadline <= deadline)
			p = &(*p)->next;
		t->next = *p;
		*p = t;
	}
	if (hc->armed != first || (first && first->deadline != first_deadline))
		host_program(hc);
	pthread_mutex_unlock(&hc->lock);
}

static void host_expire(void *opaque, uint32_t events)
{
	struct host_clock *hc = opaque;
	uint64_t n, now;

	(void)events;
	if (read(hc->src.fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return; /* re-armed between epoll and here */
	now = host_now(&hc->clock);
	pthread_mutex_lock(&hc->lock);
	while (hc->armed && hc->armed->deadline <= now) {
		struct timer *t = hc->armed;

		hc->armed = t->next;
		t->deadline = TIMER_OFF;
		pthread_mutex_unlock(&hc->lock);
		t->fn(t->opaque);
		pthread_mutex_lock(&hc->lock);
	}
	host_program(hc);
	pthread_mutex_unlock(&hc->lock);
}

static const struct clock_ops host_clock_ops = {
	.now = host_now,
	.wall = host_wall,
	.arm = host_arm,
};

int host_clock_init(struct host_clock *hc, struct loop *loop)
{
	int fd, ret;

	memset(hc, 0, sizeof(*hc));
	hc->clock.ops = &host_clock_ops;
	hc->loop = loop;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	pthread_mutex_init(&hc->lock, NULL);
	hc->src = (struct loop_src){ fd, host_expire, hc };
	ret = loop_add(loop, &hc->src, EPOLLIN);
	if (ret) {
		pthread_mutex_destroy(&hc->lock);
		close(fd);
	}
	return ret;
}

void host_clock_destroy(struct host_clock *hc)
{
	loop_del(hc->loop, &hc->src);
	close(hc->src.fd);
	pthread_mutex_destroy(&hc->lock);
}
