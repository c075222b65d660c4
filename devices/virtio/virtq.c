/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Where things are in the two rings (2.7.6, 2.7.8); an event index follows each. */
#define AVAIL_FLAGS 0
#define AVAIL_IDX 2
#define AVAIL_RING 4
#define USED_FLAGS 0
#define USED_IDX 2
#define USED_RING 4
#define USED_ELEM_SIZE 8ul

static uint64_t avail_bytes(const struct virtq_params *p)
{
	return AVAIL_RING + 2ull * p->size + (p->event_idx ? 2 : 0);
}

static uint64_t used_bytes(const struct virtq_params *p)
{
	return USED_RING + (uint64_t)USED_ELEM_SIZE * p->size + (p->event_idx ? 2 : 0);
}

/* Acquire and release cost nothing on x86, so no access is weaker. */
static uint16_t get16(const char *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void used_put16(struct virtq *vq, size_t offset, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)(vq->used + offset), v, __ATOMIC_RELEASE);
	mem_mark(vq->mem, vq->used + offset, sizeof(v));
}

int virtq_init(struct virtq *vq, struct mem *mem, const struct virtq_params *p)
{
	*vq = (struct virtq){ .mem = mem };
	if (!is_pow2(p->size) || p->size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	/* 2.7: the descriptor table on 16 bytes, the available ring on 2, the used ring on 4. */
	if (p->desc & 15 || p->avail & 1 || p->used & 3)
		return -EINVAL;
	vq->desc = mem_at_const(mem, p->desc, sizeof(struct virtq_desc) * p->size);
	vq->avail = mem_at_const(mem, p->avail, avail_bytes(p));
	vq->used = mem_at(mem, p->used, used_bytes(p));
	if (!vq->desc || !vq->avail || !vq->used)
		return -EINVAL;
	vq->size = p->size;
	vq->indirect = p->indirect;
	vq->event_idx = p->event_idx;
	vq->next_avail = p->next_avail;
	vq->next_used = vq->published = p->next_used;
	vq->first = true;
	return 0;
}

int virtq_break(struct virtq *vq, const char *why)
{
	if (!vq->broken)
		vq->broken = why;
	return -EPROTO;
}

/*
 * Copies a descriptor. The fence keeps the compiler from fetching a field a second
 * time from memory that the guest may have changed since it was checked.
 */
static struct virtq_desc desc_copy(const struct virtq_desc *table, unsigned i)
{
	struct virtq_desc d;

	memcpy(&d, table + i, sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	return d;
}

/* Adds what a descriptor describes to buf. */
static int buf_add(struct virtq *vq, struct virtq_buf *buf, const struct virtq_desc *d)
{
	bool in = d->flags & VIRTQ_DESC_F_WRITE;
	struct iovec *iov;
	void *p;

	if (!in && buf->nr_in)
		return virtq_break(vq, "a readable descriptor after a writable one"); /* 2.7.4.2 */
	if (!d->len)
		return 0;
	/* Read-only memory may be read from; discarding const is what struct iovec asks for. */
	p = in ? mem_at(vq->mem, d->addr, d->len) : (void *)mem_at_const(vq->mem, d->addr, d->len);
	if (!p)
		return virtq_break(vq, "a buffer outside RAM");
	if (buf->nr_out + buf->nr_in == buf->max_iov)
		return virtq_break(vq, "a chain longer than the queue");
	iov = &buf->iov[buf->nr_out + buf->nr_in];
	*iov = (struct iovec){ p, d->len };
	if (in) {
		buf->nr_in++;
		buf->in_len += d->len;
	} else {
		buf->nr_out++;
		buf->out_len += d->len;
	}
	return 0;
}

/*
 * Switches the walk to an indirect table (2.7.5.3): it may end a chain but not lie in
 * another table, and its own WRITE flag means nothing.
 */
static int enter_indirect(struct virtq *vq, const struct virtq_desc *d,
			  const struct virtq_desc **table, uint32_t *entries, bool nested)
{
	if (!vq->indirect)
		return virtq_break(vq, "an indirect table that was not negotiated");
	if (nested)
		return virtq_break(vq, "an indirect table in an indirect table");
	if (d->flags & VIRTQ_DESC_F_NEXT)
		return virtq_break(vq, "an indirect table amid a chain");
	if (!d->len || d->len % sizeof(*d))
		return virtq_break(vq, "an indirect table of no whole number of descriptors");
	*table = mem_at_const(vq->mem, d->addr, d->len);
	if (!*table)
		return virtq_break(vq, "an indirect table outside RAM");
	*entries = d->len / (uint32_t)sizeof(*d);
	return 0;
}

static int walk_chain(struct virtq *vq, struct virtq_buf *buf)
{
	const struct virtq_desc *table = vq->desc;
	uint32_t entries = vq->size;
	uint32_t i = buf->head;
	bool indirect = false; /* not told from table: it may be the queue's own again */

	/* The bound on steps is what ends a loop; 2.7.5.3.1 forbids longer chains. */
	for (unsigned steps = 0; steps < vq->size;) {
		struct virtq_desc d;
		int ret;

		if (i >= entries)
			return virtq_break(vq, "a descriptor beyond the table");
		d = desc_copy(table, i);
		if (d.flags & VIRTQ_DESC_F_INDIRECT) {
			ret = enter_indirect(vq, &d, &table, &entries, indirect);
			if (ret)
				return ret;
			indirect = true;
			i = 0;
			continue; /* cannot come back here: no table in a table */
		}
		ret = buf_add(vq, buf, &d);
		if (ret)
			return ret;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return 1;
		i = d.next;
		steps++;
	}
	return virtq_break(vq, "a chain without an end");
}

unsigned virtq_pending(const struct virtq *vq)
{
	return (unsigned)min_u64((uint16_t)(get16(vq->avail + AVAIL_IDX) - vq->next_avail),
				 vq->size);
}

int virtq_pop(struct virtq *vq, struct virtq_buf *buf)
{
	uint16_t idx, pending;

	if (vq->broken)
		return -EPROTO;
	/* Acquire: the entries and descriptors were written before idx (2.7.13.3). */
	idx = get16(vq->avail + AVAIL_IDX);
	pending = (uint16_t)(idx - vq->next_avail);
	if (!pending)
		return 0;
	if (pending > vq->size)
		return virtq_break(vq, "an available index that has run away");
	if (vq->in_flight == vq->size)
		return virtq_break(vq, "more buffers than the queue holds");
	buf->nr_out = buf->nr_in = 0;
	buf->out_len = buf->in_len = 0;
	buf->head = get16(vq->avail + AVAIL_RING + 2ul * (vq->next_avail % vq->size));
	if (buf->head >= vq->size)
		return virtq_break(vq, "a head beyond the table");

	int ret = walk_chain(vq, buf);

	if (ret < 0)
		return ret;
	buf->out = buf->iov;
	buf->in = buf->iov + buf->nr_out;
	vq->next_avail++;
	vq->in_flight++;
	return 1;
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
	char *elem = vq->used + USED_RING + (vq->next_used % vq->size) * USED_ELEM_SIZE;

	mark_written(vq, buf, written);
	store_le(elem, 4, buf->head);
	store_le(elem + 4, 4, min_u64(written, UINT32_MAX));
	mem_mark(vq->mem, elem, USED_ELEM_SIZE);
	vq->next_used++;
	vq->in_flight--;
}

bool virtq_publish(struct virtq *vq)
{
	uint16_t old = vq->published, event;
	bool first = vq->first;

	if (vq->next_used == old)
		return false;
	/* Release: buffers and elements are there before the index says so (2.7.8.2). */
	used_put16(vq, USED_IDX, vq->next_used);
	vq->published = vq->next_used;
	vq->first = false;
	/* Against the guest's order, event first, then a look at idx: one of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vq->event_idx)
		return !(get16(vq->avail + AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	event = get16(vq->avail + AVAIL_RING + 2ul * vq->size);
	/*
	 * 2.7.7.2: notify when the index passes used_event. What was published before a
	 * restore may not have been told: the first time always notifies.
	 */
	return first || (uint16_t)(vq->published - event - 1) < (uint16_t)(vq->published - old);
}

void virtq_disable_kicks(struct virtq *vq)
{
	/* With EVENT_IDX an avail_event that stays behind does it. */
	if (!vq->event_idx)
		used_put16(vq, USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
}

bool virtq_enable_kicks(struct virtq *vq)
{
	if (vq->broken)
		return false;
	if (vq->event_idx)
		used_put16(vq, USED_RING + USED_ELEM_SIZE * vq->size, vq->next_avail);
	else
		used_put16(vq, USED_FLAGS, 0);
	/* 2.7.10: then look again, for a guest that looked before. */
	atomic_thread_fence(memory_order_seq_cst);
	return get16(vq->avail + AVAIL_IDX) != vq->next_avail;
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
