/* SPDX-License-Identifier: MIT */
/* A pcapng file with one Ethernet interface, into a buffer of whole blocks; lengths are bytes. */
#ifndef BACKENDS_NET_PCAPNG_H
#define BACKENDS_NET_PCAPNG_H

#include <sys/uio.h>

#include "base/util.h"

#define PCAPNG_HEAD_MAX 256 /* of what begins a file, and of what ends it */
#define PCAPNG_FRAME_EXTRA 64 /* what a frame may take besides its own bytes */

enum pcapng_direction { PCAPNG_INBOUND = 1, PCAPNG_OUTBOUND = 2 };

struct pcapng_frame {
	uint64_t time; /* ns since 1970 */
	enum pcapng_direction direction;
	uint32_t queue;
	uint32_t len;
};

/* All return how much of to is used now. name: up to 32 bytes of it. */
size_t pcapng_head(uint8_t *to, const char *name);
/* The frame's bytes: what iov holds behind its first skip ones. */
size_t pcapng_frame(uint8_t *to, const struct pcapng_frame *f, const struct iovec *iov,
		    unsigned nr_iov, size_t skip);
/* At the end: how many frames there were, and how many of them are not in the file. */
size_t pcapng_statistics(uint8_t *to, uint64_t time, uint64_t frames, uint64_t left_out);

#endif
