/* SPDX-License-Identifier: MIT */
#include "backends/net/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/net/layer.h"
#include "backends/net/pcapng.h"
#include "base/log.h"
#include "base/thread.h"

struct capture_queue {
	struct net_queue q;
	struct net_queue *below;
	struct capture *capture;
	unsigned number;
};

struct capture {
	struct net_layer layer;
	int fd;
	char *path;
	pthread_t thread;
	bool running; /* there is the thread: since a queue is open; the main thread's */
	uint8_t *writing; /* the thread's */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cond; /* there is something to write, or it is the end */
	uint8_t *filling;
	size_t filled;
	uint64_t frames, left_out;
	uint32_t queues; /* bits: numbers taken */
	bool idle; /* the thread waits for something to write */
	bool failed; /* nothing is written any more */
	bool ending;
};

static uint64_t wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- the thread that writes --------------------------------------------------------------- */

/* The lock is held, and given up while it is written. */
static void write_out(struct capture *c)
{
	uint8_t *full = c->filling;
	size_t len = c->filled;
	int ret;

	c->filling = c->writing;
	c->writing = full;
	c->filled = 0;
	pthread_mutex_unlock(&c->lock);
	ret = util_write_all(c->fd, full, len);
	if (ret)
		log_error("capture=%s: %s; what comes is not captured", c->path, strerror(-ret));
	pthread_mutex_lock(&c->lock);
	c->failed |= ret != 0;
}

static void *writer_main(void *opaque)
{
	struct capture *c = opaque;

	pthread_mutex_lock(&c->lock);
	while (!c->ending || c->filled) {
		if (c->filled) {
			write_out(c);
			continue;
		}
		c->idle = true;
		pthread_cond_wait(&c->cond, &c->lock);
		c->idle = false;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static void record(struct capture_queue *q, enum pcapng_direction direction,
		   const struct iovec *iov, unsigned nr_iov, size_t len)
{
	struct pcapng_frame f = { wall(), direction, q->number, (uint32_t)(len - NET_HDR_LEN) };
	struct capture *c = q->capture;

	pthread_mutex_lock(&c->lock);
	c->frames++;
	if (c->failed || CAPTURE_BUFFER - c->filled < len + PCAPNG_FRAME_EXTRA) {
		c->left_out++;
	} else {
		c->filled += pcapng_frame(c->filling + c->filled, &f, iov, nr_iov, NET_HDR_LEN);
		if (c->idle)
			pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
}

/* --- a queue ------------------------------------------------------------------------------ */

static struct capture_queue *to_queue(struct net_queue *q)
{
	return container_of(q, struct capture_queue, q);
}

static int capture_send(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct capture_queue *q = to_queue(nq);
	int ret = net_send(q->below, iov, nr_iov);
	size_t len = 0;

	for (unsigned i = 0; i < nr_iov; i++)
		len += iov[i].iov_len;
	if (!ret)
		record(q, PCAPNG_OUTBOUND, iov, nr_iov, len);
	return ret;
}

static void capture_kick(struct net_queue *q)
{
	net_kick(to_queue(q)->below);
}

static ssize_t capture_receive(struct net_queue *nq, const struct iovec *iov, unsigned nr_iov)
{
	struct capture_queue *q = to_queue(nq);
	ssize_t ret = net_receive(q->below, iov, nr_iov);

	if (ret > 0)
		record(q, PCAPNG_INBOUND, iov, nr_iov, (size_t)ret);
	return ret;
}

static void capture_want(struct net_queue *q, bool readable)
{
	net_want(to_queue(q)->below, readable);
}

static void capture_close_queue(struct net_queue *nq)
{
	struct capture_queue *q = to_queue(nq);
	struct capture *c = q->capture;

	net_close_queue(q->below);
	pthread_mutex_lock(&c->lock);
	c->queues &= ~(1u << q->number);
	pthread_mutex_unlock(&c->lock);
	free(q);
}

static const struct net_queue_ops capture_queue_ops = {
	.send = capture_send,
	.kick = capture_kick,
	.receive = capture_receive,
	.want = capture_want,
	.close = capture_close_queue,
};

/* --- the network -------------------------------------------------------------------------- */

static struct capture *to_capture(struct net *net)
{
	return container_of(net, struct capture, layer.net);
}

static int start_thread(struct capture *c)
{
	int ret = c->running ? 0 : thread_start(&c->thread, "capture", 0, writer_main, c);

	c->running = !ret;
	return ret;
}

static int capture_open_queue(struct net *net, const struct net_queue_config *cfg,
			      struct net_queue **out)
{
	struct capture *c = to_capture(net);
	struct capture_queue *q = calloc(1, sizeof(*q));
	int ret = q ? start_thread(c) : -ENOMEM;

	if (!ret)
		ret = net_open_queue(c->layer.below, cfg, &q->below);
	if (ret) {
		free(q);
		return ret;
	}
	q->q = (struct net_queue){ .ops = &capture_queue_ops, .net = net };
	q->capture = c;
	pthread_mutex_lock(&c->lock);
	q->number = (unsigned)__builtin_ctz(~c->queues);
	c->queues |= 1u << q->number;
	pthread_mutex_unlock(&c->lock);
	*out = &q->q;
	return 0;
}

static void capture_free(struct capture *c)
{
	if (c->fd >= 0)
		close(c->fd);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c->filling);
	free(c->writing);
	free(c->path);
	free(c);
}

static void capture_destroy(struct net *net)
{
	struct capture *c = to_capture(net);

	pthread_mutex_lock(&c->lock);
	if (!c->failed && CAPTURE_BUFFER - c->filled >= PCAPNG_HEAD_MAX)
		c->filled +=
			pcapng_statistics(c->filling + c->filled, wall(), c->frames, c->left_out);
	c->ending = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
	if (c->running)
		pthread_join(c->thread, NULL);
	net_destroy(c->layer.below);
	capture_free(c);
}

static const struct net_ops capture_ops = {
	.open_queue = capture_open_queue,
	.set_offloads = net_layer_set_offloads,
	.set_queues = net_layer_set_queues,
	.destroy = capture_destroy,
};

/* The file with its first blocks, so that it can be read from the first moment on. */
static int create_file(struct capture *c, const struct capture_config *cfg)
{
	uint8_t head[PCAPNG_HEAD_MAX];

	c->fd = open(cfg->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (c->fd < 0)
		return -errno;
	return util_write_all(c->fd, head, pcapng_head(head, cfg->name));
}

int capture_create(const struct capture_config *cfg, struct net **out, struct err *err)
{
	struct capture *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	if (!c)
		return err_set(err, ret, "capture=%s: %s", cfg->path, strerror(ENOMEM));
	net_layer_init(&c->layer, &capture_ops, cfg->below);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	c->fd = -1;
	c->path = strdup(cfg->path);
	c->filling = malloc(CAPTURE_BUFFER);
	c->writing = malloc(CAPTURE_BUFFER);
	if (c->path && c->filling && c->writing)
		ret = create_file(c, cfg);
	if (ret) {
		capture_free(c);
		return err_set(err, ret, "capture=%s: %s", cfg->path, strerror(-ret));
	}
	*out = &c->layer.net;
	return 0;
}
