/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues: VIRTIO 1.2, section 2.7.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "devices/virtio/virtq_ring.h"

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

int virtq_split_init(struct virtq *vq, const struct virtq_params *p)
{
	if (!is_pow2(p->size))
		return -EINVAL;
	/* 2.7: the descriptor table on 16 bytes, the available ring on 2, the used ring on 4. */
	if (p->desc & 15 || p->avail & 1 || p->used & 3)
		return -EINVAL;
	vq->desc = mem_at_const(vq->mem, p->desc, sizeof(struct virtq_desc) * p->size);
	vq->avail = mem_at_const(vq->mem, p->avail, avail_bytes(p));
	vq->used = mem_at(vq->mem, p->used, used_bytes(p));
	return vq->desc && vq->avail && vq->used ? 0 : -EINVAL;
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
			/* It may end a chain; its own WRITE flag means nothing (2.7.5.3.2). */
			if (indirect)
				return virtq_break(vq, "an indirect table in an indirect table");
			table = virtq_indirect(vq, d.addr, d.len, d.flags, &entries);
			if (!table)
				return -EPROTO;
			indirect = true;
			i = 0;
			continue; /* cannot come back here: no table in a table */
		}
		ret = virtq_buf_add(vq, buf, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (ret)
			return ret;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return 1;
		i = d.next;
		steps++;
	}
	return virtq_break(vq, "a chain without an end");
}

unsigned virtq_split_pending(const struct virtq *vq)
{
	return (unsigned)min_u64((uint16_t)(virtq_get16(vq->avail + AVAIL_IDX) - vq->next_avail),
				 vq->size);
}

int virtq_split_pop(struct virtq *vq, struct virtq_buf *buf)
{
	/* Acquire: the entries and descriptors were written before idx (2.7.13.3). */
	uint16_t idx = virtq_get16(vq->avail + AVAIL_IDX);
	uint16_t pending = (uint16_t)(idx - vq->next_avail);
	int ret;

	if (!pending)
		return 0;
	if (pending > vq->size)
		return virtq_break(vq, "an available index that has run away");
	if (vq->in_flight == vq->size)
		return virtq_break(vq, "more buffers than the queue holds");
	buf->head = virtq_get16(vq->avail + AVAIL_RING + 2ul * (vq->next_avail % vq->size));
	if (buf->head >= vq->size)
		return virtq_break(vq, "a head beyond the table");
	ret = walk_chain(vq, buf);
	if (ret > 0)
		vq->next_avail++;
	return ret;
}

void virtq_split_push(struct virtq *vq, const struct virtq_buf *buf, uint32_t written)
{
	char *elem = vq->used + USED_RING + (vq->next_used % vq->size) * USED_ELEM_SIZE;

	store_le(elem, 4, buf->head);
	store_le(elem + 4, 4, written);
	mem_mark(vq->mem, elem, USED_ELEM_SIZE);
	vq->next_used++;
}

bool virtq_split_publish(struct virtq *vq)
{
	uint16_t old = vq->published, event;
	bool first = vq->first;

	/* Release: buffers and elements are there before the index says so (2.7.8.2). */
	virtq_put16(vq, vq->used + USED_IDX, vq->next_used);
	vq->published = vq->next_used;
	vq->first = false;
	/* Against the guest's order, event first, then a look at idx: one of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vq->event_idx)
		return !(virtq_get16(vq->avail + AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	event = virtq_get16(vq->avail + AVAIL_RING + 2ul * vq->size);
	/*
	 * 2.7.7.2: notify when the index passes used_event. What was published before a
	 * restore may not have been told: the first time always notifies.
	 */
	return first || (uint16_t)(vq->published - event - 1) < (uint16_t)(vq->published - old);
}

void virtq_split_disable_kicks(struct virtq *vq)
{
	/* With EVENT_IDX an avail_event that stays behind does it. */
	if (!vq->event_idx)
		virtq_put16(vq, vq->used + USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
}

bool virtq_split_enable_kicks(struct virtq *vq)
{
	if (vq->event_idx)
		virtq_put16(vq, vq->used + USED_RING + USED_ELEM_SIZE * vq->size, vq->next_avail);
	else
		virtq_put16(vq, vq->used + USED_FLAGS, 0);
	/* 2.7.10: then look again, for a guest that looked before. */
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_get16(vq->avail + AVAIL_IDX) != vq->next_avail;
}
