/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "backends/block/nbd_int.h"

#define MAX_RANGE (1 * GIB) /* of a command without data: the protocol counts in 32 bits */

/* --- scattered buffers -------------------------------------------------------------------- */

/* How much lies in one piece at p. */
static size_t contiguous(const struct block_req *req, const struct place *p)
{
	return p->iov < req->nr_iov ? req->iov[p->iov].iov_len - p->offset : 0;
}

static char *address(const struct block_req *req, const struct place *p)
{
	return (char *)req->iov[p->iov].iov_base + p->offset;
}

static void advance(const struct block_req *req, struct place *p, size_t n)
{
	while (p->iov < req->nr_iov && n >= req->iov[p->iov].iov_len - p->offset) {
		n -= req->iov[p->iov].iov_len - p->offset;
		*p = (struct place){ p->iov + 1, 0 };
	}
	p->offset += n;
}

static void copy(const struct block_req *req, struct place p, char *buf, size_t n, bool to_buf)
{
	while (n) {
		size_t k = min_u64(n, contiguous(req, &p));

		if (to_buf)
			memcpy(buf, address(req, &p), k);
		else
			memcpy(address(req, &p), buf, k);
		advance(req, &p, k);
		buf += k;
		n -= k;
	}
}

/* --- commands ----------------------------------------------------------------------------- */

/* From inside of libnbd, which must not be called in here. */
static int completed(void *opaque, int *error)
{
	struct nbd_cmd *c = opaque;
	struct nbd_queue *q = c->queue;

	c->error = *error;
	c->next = NULL;
	*q->finished_end = c;
	q->finished_end = &c->next;
	return 1; /* libnbd may forget it */
}

static int64_t call(struct nbd_cmd *c)
{
	const struct nbd_lib *lib = &c->queue->disk->lib;
	const nbd_completion_callback cb = { .callback = completed, .user_data = c };
	struct nbd_handle *h = c->queue->h;

	switch (c->op) {
	case NBD_READ:
		return lib->aio_pread(h, c->buf, c->len, c->offset, cb, 0);
	case NBD_WRITE:
		return lib->aio_pwrite(h, c->buf, c->len, c->offset, cb, c->flags);
	case NBD_ZERO:
		return lib->aio_zero(h, c->len, c->offset, cb, c->flags);
	case NBD_TRIM:
		return lib->aio_trim(h, c->len, c->offset, cb, 0);
	case NBD_FLUSH:
	default:
		return lib->aio_flush(h, cb, 0);
	}
}

static void issue(struct nbd_cmd *c)
{
	int error = EIO;

	if (call(c) < 0)
		completed(c, &error); /* it was not taken, and nobody else will say so */
}

static struct nbd_cmd *cmd_get(struct nbd_queue *q, struct nbd_req *r, enum nbd_op op)
{
	struct nbd_cmd *c = q->free_cmds;

	q->free_cmds = c->next;
	c->r = r;
	c->op = op;
	c->flags = 0;
	c->bounced = c->merge = false;
	r->in_flight++;
	q->in_flight++;
	return c;
}

static void cmd_put(struct nbd_cmd *c)
{
	struct nbd_queue *q = c->queue;

	c->r->in_flight--;
	q->in_flight--;
	q->alone = false;
	c->next = q->free_cmds;
	q->free_cmds = c;
}

/* What is to be written, into the buffer; without data it is zeroes. */
static void fill_bounce(struct nbd_cmd *c)
{
	const struct block_req *req = c->r->req;

	if (req->op == BLOCK_WRITE)
		copy(req, c->place, c->bounce + c->skip, c->part, true);
	else
		memset(c->bounce + c->skip, 0, c->part);
}

/* --- from a request to its commands ------------------------------------------------------- */

static bool is_write(const struct block_req *req)
{
	return req->op == BLOCK_WRITE || req->op == BLOCK_WRITE_ZEROES;
}

static bool is_durable(const struct nbd_disk *d, const struct block_req *req)
{
	return is_write(req) && (req->durable || d->cache == BLOCK_CACHE_WRITETHROUGH) &&
	       (d->flushes || d->fua) && d->cache != BLOCK_CACHE_UNSAFE;
}

static uint32_t write_flags(const struct nbd_disk *d, const struct block_req *req)
{
	uint32_t flags = 0;

	if (d->fua && is_durable(d, req))
		flags |= LIBNBD_CMD_FLAG_FUA;
	if (req->op == BLOCK_WRITE_ZEROES && d->zeroes && !req->unmap)
		flags |= LIBNBD_CMD_FLAG_NO_HOLE;
	return flags;
}

static enum nbd_op command_op(const struct nbd_disk *d, const struct block_req *req)
{
	switch (req->op) {
	case BLOCK_READ:
		return NBD_READ;
	case BLOCK_DISCARD:
		return NBD_TRIM;
	case BLOCK_WRITE_ZEROES:
		return d->zeroes ? NBD_ZERO : NBD_WRITE;
	default:
		return NBD_WRITE;
	}
}

/* Less than a block of the server's: it is read, and for a write changed and written back. */
static void issue_part(struct nbd_queue *q, struct nbd_req *r, uint64_t len)
{
	const struct nbd_disk *d = q->disk;
	struct nbd_cmd *c = cmd_get(q, r, NBD_READ);

	c->offset = align_down(r->pos, d->min_block);
	c->len = d->min_block;
	c->buf = c->bounce;
	c->bounced = true;
	c->skip = r->pos - c->offset;
	c->part = len;
	c->place = r->place;
	c->merge = is_write(r->req);
	c->flags = write_flags(d, r->req) & ~LIBNBD_CMD_FLAG_NO_HOLE;
	q->alone = c->merge;
	issue(c);
}

/* Whole blocks; returns how many bytes. */
static uint64_t issue_blocks(struct nbd_queue *q, struct nbd_req *r)
{
	const struct nbd_disk *d = q->disk;
	const struct block_req *req = r->req;
	struct nbd_cmd *c = cmd_get(q, r, command_op(d, req));
	uint64_t left = r->end - r->pos, piece = contiguous(req, &r->place);

	c->offset = r->pos;
	c->flags = write_flags(d, req);
	if (c->op == NBD_ZERO || c->op == NBD_TRIM) {
		c->len = min_u64(left, MAX_RANGE);
	} else if (piece >= min_u64(left, NBD_BOUNCE)) {
		c->len = min_u64(min_u64(left, piece), d->max_data);
		c->buf = address(req, &r->place);
	} else {
		c->len = min_u64(min_u64(left, NBD_BOUNCE), d->max_data);
		c->buf = c->bounce;
		c->bounced = true;
	}
	c->len = align_down(c->len, d->min_block);
	c->skip = 0;
	c->part = c->len;
	c->place = r->place;
	if (c->bounced && c->op == NBD_WRITE)
		fill_bounce(c);
	left = c->len;
	issue(c);
	return left;
}

/* The next command of r's, if there may be one now. */
static bool issue_next(struct nbd_queue *q, struct nbd_req *r)
{
	uint64_t block = q->disk->min_block, within = r->pos & (block - 1);
	uint64_t left = r->end - r->pos, len;

	if (!q->free_cmds || q->alone)
		return false;
	if (!within && left >= block) {
		len = issue_blocks(q, r);
	} else {
		len = min_u64(left, block - within);
		if (is_write(r->req) && q->in_flight)
			return false; /* it may be the same block */
		if (r->req->op != BLOCK_DISCARD)
			issue_part(q, r, len);
	}
	r->pos += len;
	advance(r->req, &r->place, len);
	return true;
}

static bool issue_flush(struct nbd_queue *q, struct nbd_req *r)
{
	struct nbd_disk *d = q->disk;

	if (!q->free_cmds || q->alone)
		return false;
	if (atomic_exchange(&d->lost, false)) {
		r->result = -EIO;
	} else if (d->flushes && d->cache != BLOCK_CACHE_UNSAFE) {
		d->dirty = false;
		issue(cmd_get(q, r, NBD_FLUSH));
	}
	return true;
}

void nbd_pend(struct nbd_queue *q, struct nbd_req *r)
{
	r->issued = false;
	r->next = NULL;
	*q->pending_end = r;
	q->pending_end = &r->next;
}

/* All its commands are done, or it needs none. */
static void finish(struct nbd_queue *q, struct nbd_req *r)
{
	const struct nbd_disk *d = q->disk;
	struct block_req *req = r->req;
	int result = r->result;

	if (!result && !r->flush && is_durable(d, req) && !d->fua) {
		r->flush = true;
		nbd_pend(q, r);
		return;
	}
	r->next = q->free_reqs;
	q->free_reqs = r;
	q->done_any = true;
	req->done(req, result);
}

/* Goes on with the first request that is not all in commands; false: not now. */
bool nbd_issue_pending(struct nbd_queue *q)
{
	struct nbd_req *r = q->pending;

	if (!r || (q->state != NBD_UP && !r->result))
		return false;
	if (!r->result && r->flush && !issue_flush(q, r))
		return false;
	if (!r->result && !r->flush && r->pos < r->end) {
		if (!issue_next(q, r))
			return false;
		if (r->pos < r->end)
			return true;
	}
	q->pending = r->next;
	if (!q->pending)
		q->pending_end = &q->pending;
	r->issued = true;
	if (!r->in_flight)
		finish(q, r);
	return true;
}

/* --- what has come back ------------------------------------------------------------------- */

static bool is_change(enum nbd_op op)
{
	return op == NBD_WRITE || op == NBD_ZERO;
}

static void command_done(struct nbd_queue *q, struct nbd_cmd *c)
{
	struct nbd_req *r = c->r;

	if (c->error) {
		r->result = c->error == ENOSPC ? -ENOSPC : -EIO;
	} else if (c->merge) {
		c->merge = false;
		c->op = NBD_WRITE;
		fill_bounce(c);
		issue(c);
		return;
	} else if (c->bounced && c->op == NBD_READ) {
		copy(r->req, c->place, c->bounce + c->skip, c->part, false);
	}
	if (is_change(c->op))
		q->disk->dirty = true;
	cmd_put(c);
	if (!r->in_flight && r->issued)
		finish(q, r);
}

bool nbd_reap(struct nbd_queue *q)
{
	struct nbd_cmd *c = q->finished;

	if (!c)
		return false;
	q->finished = c->next;
	if (!q->finished)
		q->finished_end = &q->finished;
	command_done(q, c);
	return true;
}
