/* SPDX-License-Identifier: MIT */
/*
 * What the two kinds of virtqueue share, and what virtq.c calls of each: for
 * devices/virtio/virtq*.c only. Contracts are those of the functions of virtq.h
 * with the kind left out; init finds sizes checked, pop an empty buffer.
 */
#ifndef DEVICES_VIRTIO_VIRTQ_RING_H
#define DEVICES_VIRTIO_VIRTQ_RING_H

#include "devices/virtio/virtq.h"

/* Acquire and release cost nothing on x86, so no access is weaker. */
static inline uint16_t virtq_get16(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}

static inline void virtq_put16(struct virtq *vq, void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE);
	mem_mark(vq->mem, p, sizeof(v));
}

/* Adds one descriptor's bytes to buf, which the device writes (in) or reads. 0 or -EPROTO. */
int virtq_buf_add(struct virtq *vq, struct virtq_buf *buf, uint64_t addr, uint32_t len,
		  bool in) __must_check;

/*
 * An indirect table's pointer, and how many descriptors it has. flags: of the descriptor that
 * refers to it. NULL: the queue is broken.
 */
const void *virtq_indirect(struct virtq *vq, uint64_t addr, uint32_t len, uint16_t flags,
			   uint32_t *entries) __must_check;

int virtq_split_init(struct virtq *vq, const struct virtq_params *p) __must_check;
unsigned virtq_split_pending(const struct virtq *vq);
int virtq_split_pop(struct virtq *vq, struct virtq_buf *buf) __must_check;
void virtq_split_push(struct virtq *vq, const struct virtq_buf *buf, uint32_t written);
bool virtq_split_publish(struct virtq *vq) __must_check;
void virtq_split_disable_kicks(struct virtq *vq);
bool virtq_split_enable_kicks(struct virtq *vq) __must_check;

int virtq_packed_init(struct virtq *vq, const struct virtq_params *p) __must_check;
unsigned virtq_packed_pending(const struct virtq *vq);
int virtq_packed_pop(struct virtq *vq, struct virtq_buf *buf) __must_check;
void virtq_packed_unpop(struct virtq *vq, const struct virtq_buf *buf);
void virtq_packed_push(struct virtq *vq, const struct virtq_buf *buf, uint32_t written);
bool virtq_packed_publish(struct virtq *vq) __must_check;
void virtq_packed_disable_kicks(struct virtq *vq);
bool virtq_packed_enable_kicks(struct virtq *vq) __must_check;

#endif
