/* SPDX-License-Identifier: MIT */
/*
 * An I/O thread's way in. What data clusters there are is read and written through the engine,
 * from this thread; zeroes are read without the host; the rest is the worker's, whole requests at
 * a time. Operations and their parts are of fixed pools.
 *
 * All on the queue's thread but qcow2_queue_complete().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/block/qcow2_impl.h"

#define MAX_RUNS 16 /* of one request; more are the worker's */
#define PART_IOV 32
#define PARTS_PER_OP 2

/* A run of a request's bytes that are in a row in the file too. */
struct run {
	uint64_t host; /* 0: zeroes */
	uint64_t len;
};

struct part {
	struct block_req req; /* to the engine */
	struct qcow2_op *op;
	struct part *next_free;
	struct iovec iov[PART_IOV];
};

struct qcow2_queue {
	struct block_queue q;
	struct block_queue_config cfg;
	struct block_queue *engine;
	struct loop_src done_src;
	pthread_mutex_t done_lock; /* guards done and done_end */
	struct qcow2_op *done; /* by the worker */
	struct qcow2_op **done_end;
	struct qcow2_op *ops, *free_ops;
	struct part *parts, *free_parts;
};

static struct qcow2_queue *to_queue(struct block_queue *q)
{
	return container_of(q, struct qcow2_queue, q);
}

static struct qcow2 *to_qcow2(struct block *b)
{
	return container_of(b, struct qcow2, b);
}

static void op_done(struct qcow2_op *op)
{
	struct qcow2_queue *q = op->queue;
	struct block_req *req = op->req;
	int result = op->result;

	op->next = q->free_ops;
	q->free_ops = op;
	req->done(req, result);
}

static void leave_flight(struct qcow2_op *op)
{
	to_qcow2(op->queue->q.block)->in_flight[op->epoch]--;
}

static void drop_part(struct qcow2_op *op, int result)
{
	if (result && !op->result)
		op->result = result;
	if (--op->parts)
		return;
	leave_flight(op);
	op_done(op);
}

static void part_done(struct block_req *req, int result)
{
	struct part *p = req->opaque;
	struct qcow2_op *op = p->op;

	p->next_free = op->queue->free_parts;
	op->queue->free_parts = p;
	drop_part(op, result);
}

/* The bytes [skip, skip + len) of a request's memory. False: in too many pieces. */
static bool cut_iov(const struct block_req *req, uint64_t skip, uint64_t len, struct part *p)
{
	const struct iovec *v = req->iov;

	if (!skip && len == req->len) {
		p->req.iov = v;
		p->req.nr_iov = req->nr_iov;
		return true;
	}
	while (skip && skip >= v->iov_len)
		skip -= v++->iov_len;
	p->req.iov = p->iov;
	for (p->req.nr_iov = 0; len; v++, skip = 0) {
		uint64_t n = min_u64(len, v->iov_len - skip);

		if (!n)
			continue;
		if (p->req.nr_iov == PART_IOV)
			return false;
		p->iov[p->req.nr_iov++] = (struct iovec){ (char *)v->iov_base + skip, n };
		len -= n;
	}
	return true;
}

static void read_zeroes(const struct block_req *req, uint64_t skip, uint64_t len)
{
	for (const struct iovec *v = req->iov; len; v++) {
		uint64_t n = skip < v->iov_len ? min_u64(len, v->iov_len - skip) : 0;

		if (n)
			memset((char *)v->iov_base + skip, 0, n);
		skip -= min_u64(skip, v->iov_len);
		len -= n;
	}
}

/* With the lock held: what the engine can do about a cluster, false for nothing. */
static bool run_of(struct qcow2 *q, bool write, uint64_t guest_off, uint64_t len, struct run *r)
{
	struct qcow2_mapping m;

	if (qcow2_map_cached(q, guest_off >> q->h.cluster_bits, &m))
		return false;
	*r = (struct run){ .len = len };
	if (m.kind == QCOW2_KIND_ZERO || (m.kind == QCOW2_KIND_NONE && !q->backing))
		return !write;
	if (m.kind != QCOW2_KIND_DATA)
		return false;
	r->host = m.host + qcow2_in_cluster(q, guest_off);
	if (r->host >= q->file_end || len > q->file_end - r->host)
		return false;
	return !write || (m.copied && !qcow2_guard_has(&q->guard, m.host >> q->h.cluster_bits));
}

/* With the lock held. How many, 0: the worker has to do it. */
static unsigned find_runs(struct qcow2 *q, const struct block_req *req, struct run *runs)
{
	uint64_t off = req->offset, end = req->offset + req->len;
	bool write = req->op == BLOCK_WRITE;
	unsigned n = 0;

	/* A durable write needs its mapping durable. */
	if (write && (q->corrupt ||
		      (q->unflushed && (req->durable || q->img.cache == BLOCK_CACHE_WRITETHROUGH))))
		return 0;
	while (off < end) {
		uint64_t in = qcow2_in_cluster(q, off);
		struct run r, *last = n ? &runs[n - 1] : NULL;

		if (!run_of(q, write, off, min_u64(end - off, qcow2_cluster_size(q) - in), &r))
			return 0;
		off += r.len;
		if (last && (last->host ? last->host + last->len == r.host : !r.host))
			last->len += r.len;
		else if (n == MAX_RUNS)
			return 0;
		else
			runs[n++] = r;
	}
	return n;
}

bool qcow2_queue_can_do(struct qcow2 *q, const struct block_req *req)
{
	struct run runs[MAX_RUNS];

	return find_runs(q, req, runs) != 0;
}

/* Parts for all runs, linked by req.next; NULL and none taken where they do not suffice. */
static struct part *take_parts(struct qcow2_queue *q, struct qcow2_op *op, const struct run *runs,
			       unsigned n)
{
	struct block_req *req = op->req;
	struct part *first = NULL;
	uint64_t skip = 0;

	for (unsigned i = 0; i < n; skip += runs[i++].len) {
		struct part *p = q->free_parts;

		if (!runs[i].host)
			continue;
		if (!p || !cut_iov(req, skip, runs[i].len, p))
			goto undo;
		q->free_parts = p->next_free;
		p->op = op;
		p->req.op = req->op;
		p->req.durable = req->durable;
		p->req.offset = runs[i].host;
		p->req.len = runs[i].len;
		p->req.done = part_done;
		p->req.opaque = p;
		p->req.next = first ? &first->req : NULL;
		first = p;
	}
	return first;
undo:
	while (first) {
		struct part *p = first;

		first = p->req.next ? container_of(p->req.next, struct part, req) : NULL;
		p->next_free = q->free_parts;
		q->free_parts = p;
	}
	return NULL;
}

static bool all_zeroes(const struct run *runs, unsigned n)
{
	return n == 1 && !runs[0].host;
}

/* Reads and writes of what is there. False: it is not, and nothing has been done. */
static bool try_engine(struct qcow2_queue *q, struct qcow2_op *op)
{
	struct qcow2 *img = to_qcow2(q->q.block);
	struct block_req *req = op->req, *r;
	struct run runs[MAX_RUNS];
	struct part *parts;
	uint64_t skip = 0;
	unsigned n;

	pthread_mutex_lock(&img->lock);
	n = find_runs(img, req, runs);
	op->epoch = img->epoch;
	if (n)
		img->in_flight[op->epoch]++;
	pthread_mutex_unlock(&img->lock);
	if (!n)
		return false;
	parts = take_parts(q, op, runs, n);
	if (!parts && !all_zeroes(runs, n)) {
		leave_flight(op);
		return false;
	}
	for (unsigned i = 0; i < n; skip += runs[i++].len)
		if (!runs[i].host)
			read_zeroes(req, skip, runs[i].len);
	op->parts = 1; /* ours, until all are on their way */
	for (r = parts ? &parts->req : NULL; r;) {
		struct block_req *next = r->next;

		op->parts++;
		q->engine->ops->submit(q->engine, r);
		r = next;
	}
	drop_part(op, 0);
	return true;
}

/* A flush that no table waits for is the engine's. */
static bool try_flush(struct qcow2_queue *q, struct qcow2_op *op)
{
	struct qcow2 *img = to_qcow2(q->q.block);
	struct part *p = q->free_parts;
	bool waiting;

	pthread_mutex_lock(&img->lock);
	waiting = img->unflushed;
	op->epoch = img->epoch;
	if (p && !waiting)
		img->in_flight[op->epoch]++;
	pthread_mutex_unlock(&img->lock);
	if (!p || waiting)
		return false;
	q->free_parts = p->next_free;
	p->op = op;
	p->req = (struct block_req){ .op = BLOCK_FLUSH, .done = part_done, .opaque = p };
	op->parts = 1;
	q->engine->ops->submit(q->engine, &p->req);
	return true;
}

static void queue_submit(struct block_queue *bq, struct block_req *req)
{
	struct qcow2_queue *q = to_queue(bq);
	struct qcow2_op *op = q->free_ops;
	bool gone = false;

	if (!op) {
		req->done(req, -EIO); /* more than cfg.depth */
		return;
	}
	q->free_ops = op->next;
	op->req = req;
	op->result = 0;
	op->again = false;
	if (req->op == BLOCK_FLUSH)
		gone = try_flush(q, op);
	else if (req->op == BLOCK_READ || req->op == BLOCK_WRITE)
		gone = try_engine(q, op);
	if (!gone)
		qcow2_worker_add(to_qcow2(bq->block), op);
}

static void queue_kick(struct block_queue *bq)
{
	block_kick(to_queue(bq)->engine);
}

void qcow2_queue_complete(struct qcow2_op *op)
{
	struct qcow2_queue *q = op->queue;

	op->next = NULL;
	pthread_mutex_lock(&q->done_lock);
	if (!q->done)
		eventfd_write(q->done_src.fd, 1);
	*q->done_end = op;
	q->done_end = &op->next;
	pthread_mutex_unlock(&q->done_lock);
}

static bool take_done(struct qcow2_queue *q)
{
	struct qcow2_op *op;

	pthread_mutex_lock(&q->done_lock);
	op = q->done;
	q->done = NULL;
	q->done_end = &q->done;
	pthread_mutex_unlock(&q->done_lock);
	if (!op)
		return false;
	while (op) {
		struct qcow2_op *next = op->next;

		if (!op->again)
			op_done(op);
		else if (!try_engine(q, op))
			qcow2_worker_add(to_qcow2(q->q.block), op);
		op = next;
	}
	block_kick(q->engine);
	if (q->cfg.batch_end)
		q->cfg.batch_end(q->cfg.opaque);
	return true;
}

static void worker_said(void *opaque, uint32_t events)
{
	struct qcow2_queue *q = opaque;
	eventfd_t n;

	(void)events;
	eventfd_read(q->done_src.fd, &n);
	take_done(q);
}

static bool queue_poll(struct block_queue *bq)
{
	struct qcow2_queue *q = to_queue(bq);
	bool engine = block_poll(q->engine);

	return take_done(q) || engine;
}

static void queue_free(struct qcow2_queue *q)
{
	block_close_queue(q->engine);
	if (q->done_src.fd >= 0)
		close(q->done_src.fd);
	pthread_mutex_destroy(&q->done_lock);
	free(q->ops);
	free(q->parts);
	free(q);
}

static void queue_close(struct block_queue *bq)
{
	struct qcow2_queue *q = to_queue(bq);

	loop_del(q->cfg.loop, &q->done_src);
	loop_sync(q->cfg.loop);
	/* The worker may be about to let go of the lock, after its last word. */
	pthread_mutex_lock(&q->done_lock);
	pthread_mutex_unlock(&q->done_lock);
	queue_free(q);
}

static const struct block_queue_ops queue_ops = {
	.submit = queue_submit,
	.kick = queue_kick,
	.poll = queue_poll,
	.close = queue_close,
};

static int make_pools(struct qcow2_queue *q)
{
	unsigned nr_ops = q->cfg.depth, nr_parts = nr_ops * PARTS_PER_OP + MAX_RUNS;

	q->ops = calloc(nr_ops, sizeof(*q->ops));
	q->parts = calloc(nr_parts, sizeof(*q->parts));
	if (!q->ops || !q->parts)
		return -ENOMEM;
	for (unsigned i = 0; i < nr_ops; i++) {
		q->ops[i].queue = q;
		q->ops[i].next = q->free_ops;
		q->free_ops = &q->ops[i];
	}
	for (unsigned i = 0; i < nr_parts; i++) {
		q->parts[i].next_free = q->free_parts;
		q->free_parts = &q->parts[i];
	}
	return 0;
}

static int open_engine(struct qcow2_queue *q)
{
	struct block_queue_config cfg = q->cfg;

	cfg.depth = q->cfg.depth * PARTS_PER_OP + MAX_RUNS;
	return image_open_queue(&to_qcow2(q->q.block)->img, q->q.block, &cfg, &q->engine);
}

int qcow2_open_queue(struct block *b, const struct block_queue_config *cfg,
		     struct block_queue **out)
{
	struct qcow2_queue *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return -ENOMEM;
	q->q = (struct block_queue){ &queue_ops, b };
	q->cfg = *cfg;
	q->done_end = &q->done;
	pthread_mutex_init(&q->done_lock, NULL);
	q->done_src = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), worker_said, q };
	ret = q->done_src.fd < 0 ? -errno : make_pools(q);
	ret = ret ?: open_engine(q) ?: loop_add(cfg->loop, &q->done_src, EPOLLIN);
	if (ret)
		queue_free(q);
	else
		*out = &q->q;
	return ret;
}
