/* SPDX-License-Identifier: MIT */
/*
 * What the tests of network back-ends share: a queue whose loop is run by hand, so that all is one
 * thread's, and a fake back-end for layers to stand on.
 */
#ifndef TESTS_UNIT_NET_HOST_H
#define TESTS_UNIT_NET_HOST_H

#include "backends/net/net.h"
#include "tests/unit/fake.h"

#define NET_HOST_FRAMES 1024

struct net_host_frame {
	struct virtio_net_hdr_v1 hdr;
	size_t len; /* of data */
	uint8_t *data;
};

/* A queue, and what has come in by it. */
struct net_host {
	struct loop loop;
	struct host_clock clock;
	struct timer timer;
	struct net_queue *q;
	bool keep; /* when called, frames are left where they are */
	unsigned readable, writable; /* calls */
	unsigned lost; /* frames whose reception failed */
	int error; /* of the last one of those */
	struct net_host_frame frames[NET_HOST_FRAMES];
	unsigned nr, taken;
};

void net_host_init(struct net_host *h);
void net_host_destroy(struct net_host *h);

/* Opens a queue on h's loop, and wants frames. */
void net_host_open(struct net_host *h, struct net *net);
void net_host_close(struct net_host *h);

/* Runs the loop for that long. */
void net_host_run(struct net_host *h, unsigned ms);
/* Runs it until there is a frame, which is taken; NULL after ms without. */
const struct net_host_frame *net_host_take(struct net_host *h, unsigned ms);

/* Sends a frame with a header of zeros, or with hdr; net_send()'s result; then net_kick(). */
int net_host_send(struct net_host *h, const void *frame, size_t len);
int net_host_send_hdr(struct net_host *h, const struct virtio_net_hdr_v1 *hdr, const void *frame,
		      size_t len);

/* A back-end: what is sent is kept, what is received is made. */
struct stub_net {
	struct net net;
	struct net_queue q;
	struct net_queue_config cfg;
	unsigned nr_open;
	bool wanted;
	unsigned kicks;
	unsigned offloads, queues; /* as they were set */
	bool destroyed;
	int send_error; /* what sending gives, where it is not 0 */
	unsigned sent;
	size_t sent_bytes; /* with headers */
	unsigned waiting; /* frames to be received */
	size_t waiting_len; /* of each, without header */
};

void stub_net_init(struct stub_net *f);

#endif
