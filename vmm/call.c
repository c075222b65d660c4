/* SPDX-License-Identifier: MIT */
#include "vmm/call.h"

#include <errno.h>
#include <string.h>

static void make(void *opaque)
{
	struct call *c = opaque;

	pthread_mutex_lock(&c->lock);
	if (c->fn)
		c->ret = c->fn(c->opaque, c->err);
	c->fn = NULL;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void call_init(struct call *c, struct loop *loop)
{
	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->post = (struct loop_post){ .fn = make, .opaque = c };
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
}

int call_make(struct call *c, int (*fn)(void *opaque, struct err *err), void *opaque,
	      struct err *err)
{
	int ret;

	pthread_mutex_lock(&c->lock);
	c->fn = fn;
	c->opaque = opaque;
	c->err = err;
	if (!c->closed)
		loop_post(c->loop, &c->post);
	while (c->fn && !c->closed)
		pthread_cond_wait(&c->cond, &c->lock);
	if (c->fn)
		c->ret = err_set(err, -ESHUTDOWN, "the machine is at its end");
	c->fn = NULL;
	ret = c->ret;
	pthread_mutex_unlock(&c->lock);
	return ret;
}

void call_close(struct call *c)
{
	pthread_mutex_lock(&c->lock);
	c->closed = true;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void call_destroy(struct call *c)
{
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
}
