/* SPDX-License-Identifier: MIT */
/*
 * A vhost node of the host's kernel: split virtqueues that are served there (linux/vhost.h, which
 * cannot be had beside devices/virtio/virtio.h: its macros clash). It knows nothing of devices.
 *
 * All calls return 0 or -errno. They may be made by any thread, one at a time for a node.
 */
#ifndef DEVICES_VIRTIO_VHOST_H
#define DEVICES_VIRTIO_VHOST_H

#include "base/mem.h"
#include "base/util.h"

/* The kernel's side, for tests to stand in for: 0, a descriptor, or -errno. */
struct vhost_sys {
	int (*open)(void *opaque, const char *path);
	int (*control)(void *opaque, int fd, unsigned long request, void *arg);
	void *opaque;
};

struct vhost {
	const struct vhost_sys *sys;
	int fd; /* -1: not open */
	uint64_t features; /* what the kernel knows, bits as a driver negotiates them */
};

struct vhost_ring {
	unsigned index; /* of the node's */
	unsigned size;
	uint16_t base; /* where to go on */
	const void *desc, *avail;
	void *used;
	int kick_fd; /* an eventfd that the driver's kicks write to */
};

/* Opens the node for this process. sys NULL: the host's kernel. */
int vhost_open(struct vhost *v, const char *path, const struct vhost_sys *sys) __must_check;
/* Harmless on one that is not open. */
void vhost_close(struct vhost *v);

int vhost_set_features(const struct vhost *v, uint64_t features) __must_check;
int vhost_set_memory(const struct vhost *v, const struct mem *mem) __must_check;
/* While nothing is attached to the ring. */
int vhost_set_ring(const struct vhost *v, const struct vhost_ring *ring) __must_check;
/* Interrupts go to this eventfd from now on. */
int vhost_set_call(const struct vhost *v, unsigned index, int fd) __must_check;
/* Of a network: what the ring's frames go through; -1: nothing, and what was begun is done. */
int vhost_attach(const struct vhost *v, unsigned index, int fd);
/* Where a ring that nothing is attached to would go on; base is left alone on error. */
int vhost_get_base(const struct vhost *v, unsigned index, uint16_t *base);

#endif
