/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue without a device, and its driver: for tests of the rings themselves, split or packed.
 * What does not come out as it should fails the test.
 */
#ifndef TESTS_UNIT_VQ_RIG_H
#define TESTS_UNIT_VQ_RIG_H

#include "devices/virtio/virtq.h"
#include "tests/unit/virtio_driver.h"

#define VQ_RIG_MAX_SIZE 8
#define RING 0x10000ull
#define TABLE 0x20000ull /* indirect */
#define DATA 0x40000ull
#define RAM (2 * MIB)

struct vq_rig {
	struct mem mem;
	struct vdrv d; /* only its mem: there is no device here */
	struct vdrv_queue q;
	struct virtq vq;
	struct iovec iov[VQ_RIG_MAX_SIZE];
	struct virtq_buf buf;
};

/* Buffers that do not lie in RAM from end to end. */
#define VQ_RIG_OUTSIDE 6
extern const struct vdrv_seg vq_rig_outside[VQ_RIG_OUTSIDE];

/* Of a group of tests. size: up to VQ_RIG_MAX_SIZE, and as many descriptors in a buffer. */
int vq_rig_setup(void **state, uint16_t size, bool packed);
int vq_rig_teardown(void **state);

/* What the device is told of the ring. */
struct virtq_params vq_rig_params(const struct vq_rig *r, bool event_idx);
/* The same ring, empty, and both its ends at the beginning. */
void vq_rig_queue(struct vq_rig *r, bool event_idx);

/* Where gpa, which is RAM, can be written behind the device's back. */
void *vq_rig_at(struct vq_rig *r, uint64_t gpa);

/* The queue is broken by what it finds, for good, and says why; a new one works. */
void vq_rig_check_broken(struct vq_rig *r, const char *word);

/*
 * One thread calls write() over and over, this one takes what offer() (NULL: write() does it as
 * well) makes available, from the ring's beginning each time. Whatever mixture it sees, a buffer
 * that comes out lies in RAM; sound and broken ones have both been seen at the end.
 */
void vq_rig_race(struct vq_rig *r, void (*write)(struct vq_rig *r),
		 void (*offer)(struct vq_rig *r));

#endif
