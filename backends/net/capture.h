/* SPDX-License-Identifier: MIT */
/*
 * Writes down what goes through a network, as pcapng (draft-ietf-opsawg-pcapng): frames as the
 * guest's card sees them, so one that leaves segments or a checksum to the receiver is one frame and
 * without; nanoseconds of CLOCK_REALTIME, the direction (inbound is to the guest) and the queue.
 *
 * A frame is copied into a buffer on its queue's thread, and a thread of the capture's own writes
 * that out, as soon as there is anything in it: no queue ever waits for a disk, the file is whole up
 * to a moment ago while the machine runs, and after a kill. Where the disk is so slow that
 * CAPTURE_BUFFER fills up, frames are left out, and counted in the file's last block.
 */
#ifndef BACKENDS_NET_CAPTURE_H
#define BACKENDS_NET_CAPTURE_H

#include "backends/net/net.h"

#define CAPTURE_BUFFER (8 * MIB) /* and as much again, that is being written */

struct capture_config {
	struct net *below; /* the layer's from then on */
	const char *path; /* made, or emptied */
	const char *name; /* of the interface, for whoever reads it: "net0" */
};

/* 0, or -errno with a line in err and below as it was. */
int capture_create(const struct capture_config *cfg, struct net **out,
		   struct err *err) __must_check;

#endif
