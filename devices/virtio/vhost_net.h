/* SPDX-License-Identifier: MIT */
/*
 * The host's kernel serves a network card's queue pairs: vhost-net. It takes descriptors and frames
 * itself, so only what it says of them is checked by us: nothing. The control queue stays ours.
 *
 * A queue is the kernel's from its start to its stop, and our own thread's where the kernel cannot
 * serve what the driver has negotiated: packed rings, a header of 10 bytes. The filters of the
 * control queue do not apply, nor are frames counted.
 *
 * The kernel waits for the queue's kick_fd, and writes to the eventfd of its MSI-X vector; where it
 * has none, to one of ours, for which the queue's thread notifies.
 */
#ifndef DEVICES_VIRTIO_VHOST_NET_H
#define DEVICES_VIRTIO_VHOST_NET_H

#include "base/err.h"
#include "devices/virtio/virtio_net.h"

struct vhost_net;
struct virtio_net;
struct virtio_queue;
struct virtq_params;

/*
 * Opens a node for each pair: net->vhost. 0 with net->vhost NULL where there is none and cfg->vhost
 * is AUTO, else -errno with a line in err.
 */
int vhost_net_create(struct virtio_net *net, const struct virtio_net_config *cfg,
		     struct err *err) __must_check;
/* No queue is the kernel's any more. NULL is destroyed already. */
void vhost_net_destroy(struct vhost_net *v);

/* For struct virtio_ops; the device's lock held. v NULL: nothing is done. */
bool vhost_net_start(struct vhost_net *v, struct virtio_queue *q, const struct virtq_params *p);
void vhost_net_stop(struct vhost_net *v, struct virtio_queue *q);
void vhost_net_rewire(struct vhost_net *v, struct virtio_queue *q);

/* The cable, or how many pairs are in use, has changed. Any thread. */
void vhost_net_update(struct vhost_net *v);

/* Queues that run are the kernel's, or would be if any ran. */
bool vhost_net_serves(const struct vhost_net *v);

#endif
