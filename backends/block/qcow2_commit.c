/* SPDX-License-Identifier: MIT */
/* The file, and the order in which what the writer has changed gets there. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/block/qcow2_impl.h"
#include "base/log.h"

int qcow2_pread(struct qcow2 *q, void *buf, uint64_t len, uint64_t off)
{
	uint64_t have = off < q->file_end ? min_u64(len, q->file_end - off) : 0;

	memset((char *)buf + have, 0, len - have);
	return image_io_read(q->io, buf, have, off);
}

int qcow2_pwritev(struct qcow2 *q, const struct iovec *iov, unsigned nr_iov, uint64_t len,
		  uint64_t off)
{
	int ret = image_io_write(q->io, iov, nr_iov, len, off);

	if (ret)
		return ret;
	q->unsynced = true;
	pthread_mutex_lock(&q->lock);
	q->file_end = max_u64(q->file_end, off + len);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

int qcow2_pwrite(struct qcow2 *q, const void *buf, uint64_t len, uint64_t off)
{
	const struct iovec iov = { (void *)(uintptr_t)buf, len };

	return qcow2_pwritev(q, &iov, 1, len, off);
}

void *qcow2_buffer(const struct qcow2 *q, uint64_t len)
{
	/* Smaller clusters than that are copied anyway. */
	uint64_t align = min_u64(q->img.mem_align, qcow2_cluster_size(q));

	align = max_u64(align, sizeof(max_align_t));
	return aligned_alloc(align, align_up(len, align));
}

int qcow2_sync(struct qcow2 *q)
{
	int ret;

	if (q->img.cache == BLOCK_CACHE_UNSAFE)
		return 0;
	if (!q->img.flush_failed) {
		do
			ret = fdatasync(q->img.fd);
		while (ret && errno == EINTR);
		if (ret)
			q->img.flush_failed = true;
	}
	if (q->img.flush_failed)
		return -EIO;
	q->unsynced = false;
	return 0;
}

static int write_l1(struct qcow2 *q)
{
	uint32_t from = q->l1_dirty_from, n = q->l1_dirty_to - from;
	int ret;

	if (!n)
		return 0;
	ret = qcow2_pwrite(q, q->l1 + from, (uint64_t)n * QCOW2_ENTRY,
			   q->h.l1_offset + (uint64_t)from * QCOW2_ENTRY);
	if (!ret)
		q->l1_dirty_from = q->l1_dirty_to = 0;
	return ret;
}

static int write_mapping(struct qcow2 *q)
{
	int ret = qcow2_cache_write(&q->refblocks, false) ?: qcow2_cache_write(&q->l2, true);

	if (!ret && q->unsynced)
		ret = qcow2_sync(q);
	if (ret)
		return ret;
	qcow2_cache_link(&q->l2);
	return qcow2_cache_write(&q->l2, false) ?: write_l1(q);
}

/* What was freed before this commit waits for the requests that were let in before it. */
static void start_settling(struct qcow2 *q)
{
	struct qcow2_frees empty = q->settling;

	if (q->settling.nr || !q->frees.nr)
		return;
	q->settling = q->frees;
	q->frees = empty;
	pthread_mutex_lock(&q->lock);
	q->epoch = !q->epoch;
	pthread_mutex_unlock(&q->lock);
}

int qcow2_commit(struct qcow2 *q, bool durable)
{
	int ret;

	if (q->corrupt)
		return -EIO;
	ret = q->unflushed ? write_mapping(q) : qcow2_cache_write(&q->refblocks, false);
	if (ret || !durable)
		return ret;
	ret = qcow2_sync(q);
	if (ret)
		return ret;
	pthread_mutex_lock(&q->lock);
	q->unflushed = false;
	pthread_mutex_unlock(&q->lock);
	start_settling(q);
	return qcow2_free_settle(q);
}

int qcow2_mark_corrupt(struct qcow2 *q, const char *what, uint64_t off)
{
	if (q->corrupt || q->img.readonly)
		return -EIO;
	pthread_mutex_lock(&q->lock);
	q->corrupt = true;
	pthread_mutex_unlock(&q->lock);
	log_error("%s: is corrupt and is not written any more: %s, at offset %" PRIu64
		  "; 'qemu-img check' tells more",
		  q->img.path, what, off);
	q->h.incompatible |= QCOW2_INCOMPAT_CORRUPT;
	if (qcow2_header_write_features(q) || qcow2_sync(q))
		log_error("%s: cannot be marked corrupt", q->img.path);
	return -EIO;
}
