/* SPDX-License-Identifier: MIT */
/*
 * The image's own thread: requests that need more than the data clusters there are, one after
 * the other, so that two writes to one new cluster cannot meet.
 */
#include <errno.h>

#include "backends/block/qcow2_impl.h"
#include "base/thread.h"

static int read_request(struct qcow2 *q, const struct block_req *req)
{
	uint64_t off = req->offset;
	int ret = 0;

	for (unsigned i = 0; i < req->nr_iov && !ret; i++) {
		if (req->iov[i].iov_len)
			ret = qcow2_read(q, off, req->iov[i].iov_base, req->iov[i].iov_len);
		off += req->iov[i].iov_len;
	}
	return ret;
}

static int run_request(struct qcow2 *q, const struct block_req *req)
{
	bool durable = req->durable || q->img.cache == BLOCK_CACHE_WRITETHROUGH;
	int ret;

	switch (req->op) {
	case BLOCK_READ:
		return read_request(q, req);
	case BLOCK_WRITE:
		ret = qcow2_write(q, req->offset, req->iov, req->nr_iov, req->len);
		break;
	case BLOCK_WRITE_ZEROES:
		ret = qcow2_zero(q, req->offset, req->len, req->unmap);
		break;
	case BLOCK_DISCARD:
		ret = qcow2_discard(q, req->offset, req->len);
		break;
	default:
		return qcow2_commit(q, true);
	}
	return ret || !(durable || qcow2_free_many(q)) ? ret : qcow2_commit(q, true);
}

/* The tables of a request are read; what then needs nothing else goes back to its queue. */
static bool can_go_back(struct qcow2 *q, const struct qcow2_op *op)
{
	const struct block_req *req = op->req;
	uint64_t per_table = qcow2_table_entries(q) << q->h.cluster_bits;
	bool can;

	if (op->again || (req->op != BLOCK_READ && req->op != BLOCK_WRITE))
		return false;
	for (uint64_t off = req->offset; off < req->offset + req->len;
	     off = align_down(off, per_table) + per_table) {
		struct qcow2_mapping m;

		if (qcow2_map(q, off >> q->h.cluster_bits, &m))
			return false;
	}
	pthread_mutex_lock(&q->lock);
	can = qcow2_queue_can_do(q, req);
	pthread_mutex_unlock(&q->lock);
	return can;
}

static int run_op(struct qcow2 *q, struct qcow2_op *op)
{
	op->again = can_go_back(q, op);
	return op->again ? 0 : run_request(q, op->req);
}

static int guest_error(int ret)
{
	if (ret == -EDQUOT)
		return -ENOSPC;
	return ret && ret != -ENOSPC ? -EIO : ret;
}

/* Flushes that wait behind one another are done as one. */
static void run_jobs(struct qcow2 *q, struct qcow2_op *op)
{
	enum block_op before = BLOCK_READ;
	int ret = 0;

	while (op) {
		struct qcow2_op *next = op->next;
		enum block_op now = op->req->op;

		if (now != BLOCK_FLUSH || before != BLOCK_FLUSH) {
			pthread_mutex_lock(&q->writer);
			ret = guest_error(run_op(q, op));
			pthread_mutex_unlock(&q->writer);
		}
		op->result = ret;
		qcow2_queue_complete(op);
		before = now;
		op = next;
	}
	pthread_mutex_lock(&q->writer);
	qcow2_free_settle(q); /* marks the image itself, should it find it corrupt */
	pthread_mutex_unlock(&q->writer);
}

static void *worker_main(void *opaque)
{
	struct qcow2 *q = opaque;

	pthread_mutex_lock(&q->jobs_lock);
	for (;;) {
		struct qcow2_op *jobs = q->jobs;

		if (!jobs && q->stop)
			break;
		if (!jobs) {
			pthread_cond_wait(&q->jobs_cond, &q->jobs_lock);
			continue;
		}
		q->jobs = NULL;
		q->jobs_end = &q->jobs;
		pthread_mutex_unlock(&q->jobs_lock);
		run_jobs(q, jobs);
		pthread_mutex_lock(&q->jobs_lock);
	}
	pthread_mutex_unlock(&q->jobs_lock);
	return NULL;
}

void qcow2_worker_add(struct qcow2 *q, struct qcow2_op *op)
{
	op->next = NULL;
	pthread_mutex_lock(&q->jobs_lock);
	*q->jobs_end = op;
	q->jobs_end = &op->next;
	pthread_cond_signal(&q->jobs_cond);
	pthread_mutex_unlock(&q->jobs_lock);
}

int qcow2_worker_start(struct qcow2 *q)
{
	int ret = thread_start(&q->thread, "qcow2", 0, worker_main, q);

	q->thread_started = !ret;
	return ret;
}

void qcow2_worker_stop(struct qcow2 *q)
{
	if (!q->thread_started)
		return;
	pthread_mutex_lock(&q->jobs_lock);
	q->stop = true;
	pthread_cond_signal(&q->jobs_cond);
	pthread_mutex_unlock(&q->jobs_lock);
	pthread_join(q->thread, NULL);
	q->thread_started = false;
}
