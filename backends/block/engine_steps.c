/* SPDX-License-Identifier: MIT */
/* What a request asks of the host, call by call. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/block/engine.h"

/* So that no call keeps its thread, or the file's locks in the kernel, for ever. */
#define RANGE_MAX (256 * MIB)

static bool finish(struct engine_req *er, int result)
{
	er->result = result;
	return false;
}

static bool failed(struct engine_req *er, long ret)
{
	/* A transfer that includes a sync may have been the only one to hear that it failed. */
	if (ret == -EIO && er->durable)
		er->eq->img->flush_failed = true;
	return finish(er, ret == -ENOSPC || ret == -EDQUOT ? -ENOSPC : -EIO);
}

static bool sync_call(struct engine_req *er)
{
	if (er->eq->img->flush_failed)
		return finish(er, -EIO);
	er->phase = ENGINE_MAKE_DURABLE;
	er->call = (struct engine_call){ .kind = ENGINE_SYNC };
	return true;
}

static bool all_done(struct engine_req *er)
{
	return er->durable && er->unsynced ? sync_call(er) : finish(er, 0);
}

/* --- the submitter's buffers --------------------------------------------------------- */

static void skip_empty(struct engine_req *er)
{
	while (er->nr_iov && er->skip == er->iov->iov_len) {
		er->iov++;
		er->nr_iov--;
		er->skip = 0;
	}
}

static void advance(struct engine_req *er, uint64_t n)
{
	er->offset += n;
	er->left -= n;
	while (n && er->nr_iov) {
		size_t part = min_u64(n, er->iov->iov_len - er->skip);

		er->skip += part;
		n -= part;
		skip_empty(er);
	}
}

/* Between the bounce buffer and what comes next of the submitter's. */
static void copy(struct engine_req *er, size_t n)
{
	const struct iovec *iov = er->iov;
	char *p = er->bounce + er->head;
	size_t skip = er->skip;

	if (er->req->op == BLOCK_WRITE_ZEROES) {
		memset(p, 0, n);
		return;
	}
	for (unsigned left = er->nr_iov; n && left; left--, iov++) {
		size_t part = min_u64(n, iov->iov_len - skip);
		char *theirs = (char *)iov->iov_base + skip;

		if (er->req->op == BLOCK_READ)
			memcpy(theirs, p, part);
		else
			memcpy(p, theirs, part);
		p += part;
		n -= part;
		skip = 0;
	}
}

/* Whether O_DIRECT takes it as it is. */
static bool is_aligned(const struct engine_req *er)
{
	const struct image *img = er->eq->img;

	if ((er->offset | er->left) % img->io_align)
		return false;
	for (unsigned i = 0; i < er->nr_iov; i++)
		if ((uintptr_t)er->iov[i].iov_base % img->mem_align ||
		    er->iov[i].iov_len % img->io_align)
			return false;
	return true;
}

/* --- transfers ------------------------------------------------------------------------- */

static bool transfer_call(struct engine_req *er, enum engine_call_kind kind, uint64_t offset,
			  const struct iovec *iov, unsigned nr_iov)
{
	bool dsync = kind == ENGINE_WRITE && er->durable && !er->eq->img->no_dsync;

	er->call = (struct engine_call){
		.kind = kind,
		.flags = dsync ? RWF_DSYNC : 0,
		.offset = offset,
		.iov = iov,
		.nr_iov = nr_iov,
	};
	return true;
}

static bool own_call(struct engine_req *er, enum engine_call_kind kind, uint64_t offset, void *buf,
		     size_t len)
{
	er->own = (struct iovec){ buf, len };
	return transfer_call(er, kind, offset, &er->own, 1);
}

static bool straight_call(struct engine_req *er)
{
	struct engine_queue *eq = er->eq;
	enum engine_call_kind kind = er->req->op == BLOCK_READ ? ENGINE_READ : ENGINE_WRITE;

	er->phase = ENGINE_STRAIGHT;
	if (er->req->op == BLOCK_WRITE_ZEROES) {
		unsigned pages = min_u64(er->left / PAGE_SIZE_4K, ENGINE_ZERO_IOVS);

		if (pages)
			return transfer_call(er, kind, er->offset, eq->zeroes, pages);
		return own_call(er, kind, er->offset, eq->zeroes->iov_base, er->left);
	}
	/* The iovec is the submitter's: the rest of a piece that was split goes by itself. */
	if (er->skip)
		return own_call(er, kind, er->offset, (char *)er->iov->iov_base + er->skip,
				er->iov->iov_len - er->skip);
	return transfer_call(er, kind, er->offset, er->iov, min_u64(er->nr_iov, IOV_MAX));
}

static bool bounced_write(struct engine_req *er)
{
	copy(er, er->want);
	er->phase = ENGINE_BOUNCED;
	return own_call(er, ENGINE_WRITE, er->offset - er->head, er->bounce, er->span);
}

static bool bounced_call(struct engine_req *er)
{
	uint64_t align = er->eq->img->io_align;
	uint64_t base = align_down(er->offset, align);

	er->head = er->offset - base;
	er->want = min_u64(er->left, ENGINE_BOUNCE - er->head);
	er->span = align_up(er->head + er->want, align);
	er->filled = 0;
	if (er->req->op != BLOCK_READ && er->span == er->want)
		return bounced_write(er);
	er->phase = er->req->op == BLOCK_READ ? ENGINE_BOUNCED : ENGINE_FILL;
	return own_call(er, ENGINE_READ, base, er->bounce, er->span);
}

static bool next_transfer(struct engine_req *er)
{
	return er->phase == ENGINE_STRAIGHT ? straight_call(er) : bounced_call(er);
}

static bool first_transfer(struct engine_req *er)
{
	skip_empty(er);
	er->phase = er->bounce && !is_aligned(er) ? ENGINE_BOUNCED : ENGINE_STRAIGHT;
	return next_transfer(er);
}

/* n bytes of what the request wants are done. */
static bool transferred(struct engine_req *er, uint64_t n)
{
	if (!n)
		return finish(er, -EIO); /* the file was cut under us */
	er->unsynced |= er->call.kind == ENGINE_WRITE && !er->call.flags;
	advance(er, min_u64(n, er->left));
	return er->left ? next_transfer(er) : all_done(er);
}

static bool straight_step(struct engine_req *er, uint64_t n)
{
	/* What is left must stay aligned for O_DIRECT. */
	return transferred(er, n < er->left ? align_down(n, er->eq->img->io_align) : n);
}

static bool bounced_step(struct engine_req *er, uint64_t n)
{
	if (er->call.kind == ENGINE_WRITE)
		n = align_down(n, er->eq->img->io_align);
	n = n > er->head ? min_u64(n - er->head, er->want) : 0;
	if (er->call.kind == ENGINE_READ)
		copy(er, n);
	return transferred(er, n);
}

/* O_DIRECT reads a part of a block only at the end of the file: behind it are zeroes. */
static bool fill_step(struct engine_req *er, uint64_t n)
{
	er->filled += n;
	if (!n || n % er->eq->img->io_align) {
		memset(er->bounce + er->filled, 0, er->span - er->filled);
		er->filled = er->span;
	}
	if (er->filled < er->span)
		return own_call(er, ENGINE_READ, er->offset - er->head + er->filled,
				er->bounce + er->filled, er->span - er->filled);
	return bounced_write(er);
}

/* --- zeroes and discards --------------------------------------------------------------- */

static bool range_call(struct engine_req *er, enum engine_phase phase)
{
	er->phase = phase;
	er->call = (struct engine_call){
		.kind = ENGINE_FALLOCATE,
		.flags = phase == ENGINE_ZERO_RANGE ? FALLOC_FL_ZERO_RANGE
						    : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		.offset = er->offset,
		.len = min_u64(er->left, RANGE_MAX),
	};
	if (phase == ENGINE_FREE && er->eq->img->discard == IMAGE_BLKDISCARD)
		er->call.kind = ENGINE_DISCARD;
	return true;
}

/* Holes make no file longer. */
static bool can_punch(const struct engine_req *er)
{
	const struct image *img = er->eq->img;
	struct stat st;

	if (!er->req->unmap || img->no_punch)
		return false;
	return img->device ||
	       (!fstat(img->fd, &st) && er->offset + er->left <= (uint64_t)st.st_size);
}

/* How the zeroes come about: the cheapest way that the host has not refused. */
static bool zeroes_call(struct engine_req *er)
{
	const struct image *img = er->eq->img;

	if ((er->offset | er->left) % img->range_align)
		return first_transfer(er);
	if (can_punch(er))
		return range_call(er, ENGINE_PUNCH);
	if (!img->no_zero_range)
		return range_call(er, ENGINE_ZERO_RANGE);
	return first_transfer(er);
}

static bool refused(long ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL || ret == -ENOTTY;
}

static bool range_step(struct engine_req *er, long ret)
{
	struct image *img = er->eq->img;

	if (!ret) {
		er->unsynced = true;
		advance(er, er->call.len);
		return er->left ? range_call(er, er->phase) : all_done(er);
	}
	if (er->phase == ENGINE_FREE)
		return refused(ret) ? finish(er, -EOPNOTSUPP) : failed(er, ret);
	if (!refused(ret))
		return failed(er, ret);
	if (er->phase == ENGINE_PUNCH)
		img->no_punch = true;
	else
		img->no_zero_range = true;
	return zeroes_call(er);
}

/* Devices free whole blocks only, and need not free any. */
static bool discard_call(struct engine_req *er)
{
	uint64_t align = er->eq->img->range_align;
	uint64_t from = align_up(er->offset, align);
	uint64_t to = align_down(er->offset + er->left, align);

	if (from >= to)
		return finish(er, 0);
	er->offset = from;
	er->left = to - from;
	return range_call(er, ENGINE_FREE);
}

/* --- from one to the next ---------------------------------------------------------------- */

static void take_request(struct engine_req *er)
{
	const struct block_req *req = er->req;

	er->durable = false;
	er->unsynced = false;
	er->offset = req->offset;
	er->left = req->len;
	er->iov = req->iov;
	er->nr_iov = req->nr_iov;
	er->skip = 0;
}

bool engine_first_transfer(struct engine_req *er)
{
	take_request(er);
	return er->left ? first_transfer(er) : finish(er, 0);
}

bool engine_first_step(struct engine_req *er)
{
	const struct block_req *req = er->req;
	const struct image *img = er->eq->img;
	bool changes = req->op == BLOCK_WRITE || req->op == BLOCK_WRITE_ZEROES;
	bool durable = req->durable || img->cache == BLOCK_CACHE_WRITETHROUGH;

	take_request(er);
	er->durable = changes && durable && img->cache != BLOCK_CACHE_UNSAFE;
	if (req->op == BLOCK_FLUSH)
		return img->readonly || img->cache == BLOCK_CACHE_UNSAFE ? finish(er, 0)
									 : sync_call(er);
	if (!er->left)
		return finish(er, 0);
	switch (req->op) {
	case BLOCK_DISCARD:
		return img->discard == IMAGE_NO_DISCARD ? finish(er, -EOPNOTSUPP)
							: discard_call(er);
	case BLOCK_WRITE_ZEROES:
		er->nr_iov = 0;
		return zeroes_call(er);
	default:
		return first_transfer(er);
	}
}

bool engine_step(struct engine_req *er, long ret)
{
	struct image *img = er->eq->img;

	if (ret == -EINTR || ret == -EAGAIN)
		return true;
	if (er->phase == ENGINE_MAKE_DURABLE) {
		if (ret < 0)
			img->flush_failed = true;
		return finish(er, ret < 0 ? -EIO : 0);
	}
	if (er->call.kind == ENGINE_FALLOCATE || er->call.kind == ENGINE_DISCARD)
		return range_step(er, ret);
	if (ret == -EOPNOTSUPP && er->call.flags) {
		img->no_dsync = true;
		er->call.flags = 0;
		return true;
	}
	if (ret < 0)
		return failed(er, ret);
	if (er->phase == ENGINE_FILL)
		return fill_step(er, (uint64_t)ret);
	return er->phase == ENGINE_BOUNCED ? bounced_step(er, (uint64_t)ret)
					   : straight_step(er, (uint64_t)ret);
}
