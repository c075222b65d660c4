/* SPDX-License-Identifier: MIT */
/* The kernel's vhost nodes, played by a list of what was asked of them; no frame is moved. */
#ifndef TESTS_UNIT_FAKE_VHOST_H
#define TESTS_UNIT_FAKE_VHOST_H

#include "base/mem.h"
#include "devices/virtio/vhost.h"

#define FAKE_VHOST_LOG 64
#define FAKE_VHOST_NODES 8

struct fake_vhost_call {
	unsigned node;
	const char *request; /* "SET_OWNER": as in linux/vhost.h, without VHOST_ */
	unsigned index;
	int64_t value; /* a number, a descriptor, features */
	uint64_t desc, avail, used;
};

struct fake_vhost {
	struct vhost_sys sys;
	int open_result;
	uint64_t features;
	const char *failing; /* this request does */
	unsigned base[2 * FAKE_VHOST_NODES]; /* of each queue, what GET_VRING_BASE says */
	struct fake_vhost_call log[FAKE_VHOST_LOG];
	unsigned nr_log;
	int nodes[FAKE_VHOST_NODES];
	unsigned nr_nodes;
	struct mem_region regions[MEM_MAX_REGIONS]; /* as last told */
	unsigned nr_regions;
};

/* f is zeroed. */
void fake_vhost_init(struct fake_vhost *f);
/* The nth call of that request for a queue of the first node; NULL: there is none. */
const struct fake_vhost_call *fake_vhost_find(const struct fake_vhost *f, const char *request,
					      unsigned index, unsigned n);

#endif
