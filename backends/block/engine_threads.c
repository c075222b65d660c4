/* SPDX-License-Identifier: MIT */
/*
 * The engine of threads: a queue has some that make the host's calls and wait in them. What they
 * have done goes back to the loop by one eventfd for as many as came together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/block/engine.h"
#include "base/thread.h"

#define MAX_WORKERS 16

struct req_list {
	struct engine_req *first;
	struct engine_req **end;
};

struct threads_queue {
	struct engine_queue eq;
	struct loop_src src; /* an eventfd, never read: each write is an edge */
	struct req_list batch; /* the loop's: started, and kept until the kick */
	pthread_t workers[MAX_WORKERS];
	unsigned nr_workers;
	atomic_uint nr_finished; /* changes with the lock held */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work; /* todo or stop */
	struct req_list todo;
	struct req_list finished;
	unsigned idle; /* workers */
	bool stop;
};

static void list_init(struct req_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct req_list *list, struct engine_req *er)
{
	er->next = NULL;
	*list->end = er;
	list->end = &er->next;
}

/* Moves all of from behind what is in to. */
static void list_join(struct req_list *to, struct req_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	list_init(from);
}

static struct threads_queue *to_threads(struct block_queue *q)
{
	return container_of(q, struct threads_queue, eq.q);
}

static struct engine_req *take_work(struct threads_queue *t)
{
	struct engine_req *er;

	while (!t->todo.first && !t->stop) {
		t->idle++;
		pthread_cond_wait(&t->work, &t->lock);
		t->idle--;
	}
	er = t->todo.first;
	if (!er)
		return NULL;
	t->todo.first = er->next;
	if (!t->todo.first)
		list_init(&t->todo);
	else if (t->idle)
		pthread_cond_signal(&t->work); /* the kick has woken one; each wakes the next */
	return er;
}

static void *worker(void *opaque)
{
	struct threads_queue *t = opaque;
	struct engine_req *er;

	pthread_mutex_lock(&t->lock);
	while ((er = take_work(t))) {
		bool first;

		pthread_mutex_unlock(&t->lock);
		while (engine_step(er, engine_call(t->eq.img, &er->call)))
			;
		pthread_mutex_lock(&t->lock);
		first = !t->finished.first;
		list_add(&t->finished, er);
		t->nr_finished++;
		if (first)
			eventfd_write(t->src.fd, 1);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void threads_kick(struct block_queue *q)
{
	struct threads_queue *t = to_threads(q);

	if (!t->batch.first)
		return;
	pthread_mutex_lock(&t->lock);
	list_join(&t->todo, &t->batch);
	if (t->idle)
		pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

static bool reap(struct threads_queue *t)
{
	struct req_list mine;
	struct engine_req *er;

	if (!atomic_load_explicit(&t->nr_finished, memory_order_relaxed))
		return false;
	list_init(&mine);
	pthread_mutex_lock(&t->lock);
	list_join(&mine, &t->finished);
	t->nr_finished = 0;
	pthread_mutex_unlock(&t->lock);
	er = mine.first;
	while (er) {
		struct engine_req *next = er->next;

		engine_end(er);
		er = next;
	}
	threads_kick(&t->eq.q);
	engine_queue_batch_end(&t->eq);
	return true;
}

static void threads_event(void *opaque, uint32_t events)
{
	(void)events;
	reap(opaque);
}

static void threads_start(struct engine_req *er)
{
	if (engine_now(er, true, ENGINE_SMALL))
		engine_end(er);
	else
		list_add(&container_of(er->eq, struct threads_queue, eq)->batch, er);
}

static bool threads_poll(struct block_queue *q)
{
	return reap(to_threads(q));
}

static void threads_close(struct block_queue *q)
{
	struct threads_queue *t = to_threads(q);

	loop_del(t->eq.cfg.loop, &t->src);
	loop_sync(t->eq.cfg.loop);
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->nr_workers; i++)
		pthread_join(t->workers[i], NULL);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	close(t->src.fd);
	engine_queue_fini(&t->eq);
	free(t);
}

static const struct block_queue_ops threads_ops = {
	.submit = engine_submit,
	.kick = threads_kick,
	.poll = threads_poll,
	.close = threads_close,
};

static int start_workers(struct threads_queue *t)
{
	unsigned nr = min_u64(t->eq.cfg.depth, MAX_WORKERS);
	int ret = 0;

	while (!ret && t->nr_workers < nr) {
		ret = thread_start(&t->workers[t->nr_workers], "block-worker", 0, worker, t);
		if (!ret)
			t->nr_workers++;
	}
	/* As many as the host gives. */
	return t->nr_workers ? 0 : ret;
}

int engine_threads_open(struct image *img, struct block *block,
			const struct block_queue_config *cfg, struct block_queue **out)
{
	const struct engine_config ec = { img, block, cfg, &threads_ops, threads_start };
	struct threads_queue *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	ret = engine_queue_init(&t->eq, &ec);
	if (ret) {
		free(t);
		return ret;
	}
	list_init(&t->batch);
	list_init(&t->todo);
	list_init(&t->finished);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	t->src = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), threads_event, t };
	ret = t->src.fd < 0 ? -errno : loop_add(cfg->loop, &t->src, EPOLLIN | EPOLLET);
	if (!ret)
		ret = start_workers(t);
	if (ret) {
		threads_close(&t->eq.q);
		return ret;
	}
	*out = &t->eq.q;
	return 0;
}
