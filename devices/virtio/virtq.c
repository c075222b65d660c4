/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "devices/virtio/virtq_ring.h"

int virtq_init(struct virtq *vq, struct mem *mem, const struct virtq_params *p)
{
	*vq = (struct virtq){ .mem = mem };
	if (!p->size || p->size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	vq->size = p->size;
	vq->packed = p->packed;
	vq->indirect = p->indirect;
	vq->event_idx = p->event_idx;
	vq->next_avail = p->next_avail;
	vq->next_used = vq->published = p->next_used;
	vq->first = true;
	return p->packed ? virtq_packed_init(vq, p) : virtq_split_init(vq, p);
}

int virtq_break(struct virtq *vq, const char *why)
{
	if (!vq->broken)
		vq->broken = why;
	return -EPROTO;
}

int virtq_buf_add(struct virtq *vq, struct virtq_buf *buf, uint64_t addr, uint32_t len, bool in)
{
	struct iovec *iov;
	void *p;

	if (!in && buf->nr_in)
		return virtq_break(vq, "a readable descriptor after a writable one"); /* 2.7.4.2 */
	if (!len)
		return 0;
	/* Read-only memory may be read from; discarding const is what struct iovec asks for. */
	p = in ? mem_at(vq->mem, addr, len) : (void *)mem_at_const(vq->mem, addr, len);
	if (!p)
		return virtq_break(vq, "a buffer outside RAM");
	if (buf->nr_out + buf->nr_in == buf->max_iov)
		return virtq_break(vq, "a chain longer than the queue");
	iov = &buf->iov[buf->nr_out + buf->nr_in];
	*iov = (struct iovec){ p, len };
	if (in) {
		buf->nr_in++;
		buf->in_len += len;
	} else {
		buf->nr_out++;
		buf->out_len += len;
	}
	return 0;
}

const void *virtq_indirect(struct virtq *vq, uint64_t addr, uint32_t len, uint16_t flags,
			   uint32_t *entries)
{
	const void *table = NULL;

	*entries = len / (uint32_t)sizeof(struct virtq_desc);
	if (!vq->indirect)
		virtq_break(vq, "an indirect table that was not negotiated");
	else if (flags & VIRTQ_DESC_F_NEXT)
		virtq_break(vq, "an indirect table amid a chain");
	else if (!len || len % sizeof(struct virtq_desc))
		virtq_break(vq, "an indirect table of no whole number of descriptors");
	else if (!(table = mem_at_const(vq->mem, addr, len)))
		virtq_break(vq, "an indirect table outside RAM");
	return table;
}

unsigned virtq_pending(const struct virtq *vq)
{
	return vq->packed ? virtq_packed_pending(vq) : virtq_split_pending(vq);
}

int virtq_pop(struct virtq *vq, struct virtq_buf *buf)
{
	int ret;

	if (vq->broken)
		return -EPROTO;
	buf->nr_out = buf->nr_in = 0;
	buf->out_len = buf->in_len = 0;
	ret = vq->packed ? virtq_packed_pop(vq, buf) : virtq_split_pop(vq, buf);
	if (ret <= 0)
		return ret;
	buf->out = buf->iov;
	buf->in = buf->iov + buf->nr_out;
	vq->in_flight++;
	return 1;
}

void virtq_unpop(struct virtq *vq, const struct virtq_buf *buf)
{
	if (vq->packed)
		virtq_packed_unpop(vq, buf);
	else
		vq->next_avail--;
	vq->in_flight--;
}

/* The pages were marked when they were popped, and may have been copied since. */
static void mark_written(struct virtq *vq, const struct virtq_buf *buf, uint64_t written)
{
	for (unsigned i = 0; i < buf->nr_in && written; i++) {
		uint64_t n = min_u64(buf->in[i].iov_len, written);

		mem_mark(vq->mem, buf->in[i].iov_base, n);
		written -= n;
	}
}

void virtq_push(struct virtq *vq, const struct virtq_buf *buf, uint64_t written)
{
	uint32_t len = (uint32_t)min_u64(written, UINT32_MAX);

	mark_written(vq, buf, written);
	if (vq->packed)
		virtq_packed_push(vq, buf, len);
	else
		virtq_split_push(vq, buf, len);
	vq->in_flight--;
}

bool virtq_publish(struct virtq *vq)
{
	if (vq->next_used == vq->published)
		return false;
	return vq->packed ? virtq_packed_publish(vq) : virtq_split_publish(vq);
}

void virtq_disable_kicks(struct virtq *vq)
{
	if (vq->packed)
		virtq_packed_disable_kicks(vq);
	else
		virtq_split_disable_kicks(vq);
}

bool virtq_enable_kicks(struct virtq *vq)
{
	if (vq->broken)
		return false;
	return vq->packed ? virtq_packed_enable_kicks(vq) : virtq_split_enable_kicks(vq);
}

bool virtq_buf_pull(struct virtq_buf *buf, void *dst, size_t len)
{
	char *to = dst;

	if (buf->out_len < len)
		return false;
	buf->out_len -= len;
	while (len) {
		size_t n = min_u64(buf->out->iov_len, len);

		memcpy(to, buf->out->iov_base, n);
		to += n;
		len -= n;
		buf->out->iov_base = (char *)buf->out->iov_base + n;
		buf->out->iov_len -= n;
		if (!buf->out->iov_len) {
			buf->out++;
			buf->nr_out--;
		}
	}
	/* What is checked from now on is dst, whatever the guest does to the original. */
	atomic_signal_fence(memory_order_seq_cst);
	return true;
}

uint8_t *virtq_buf_chop(struct virtq_buf *buf)
{
	struct iovec *last;
	uint8_t *p;

	if (!buf->nr_in)
		return NULL;
	last = &buf->in[buf->nr_in - 1];
	p = (uint8_t *)last->iov_base + --last->iov_len;
	buf->in_len--;
	if (!last->iov_len)
		buf->nr_in--;
	return p;
}

size_t virtq_buf_fill(struct virtq_buf *buf, const void *src, size_t len)
{
	const char *from = src;
	size_t done = 0;

	for (unsigned i = 0; i < buf->nr_in && done < len; i++) {
		size_t n = min_u64(buf->in[i].iov_len, len - done);

		memcpy(buf->in[i].iov_base, from + done, n);
		done += n;
	}
	return done;
}
