/* SPDX-License-Identifier: MIT */
/*
 * KVM's own binary statistics (api.rst 4.133, KVM_GET_STATS_FD), by the names it
 * gives them. They see what never reaches user space: exits that the kernel
 * handled itself.
 */
#ifndef CPU_KVMSTATS_H
#define CPU_KVMSTATS_H

#include "base/util.h"

struct kvmstat {
	char name[48];
	uint64_t value; /* of a histogram: the sum of its buckets */
	bool histogram;
	bool peak; /* a maximum or an instantaneous value: never summed */
};

struct kvmstats {
	struct kvmstat *stats;
	size_t nr;
};

/*
 * The statistics' own fd of a VM's or a vCPU's, for close(); -errno, -ENOTTY where this host's
 * KVM has none. A vCPU's is opened before it runs: KVM has the call wait until KVM_RUN returns,
 * and that of a CPU which sleeps may not return for long.
 */
int kvmstats_open(int fd) __must_check;

/*
 * Reads what kvmstats_open() has opened. 0 or -errno. Any thread, whatever the vCPU does.
 * kvmstats_free() after success.
 */
int kvmstats_read(int stats_fd, struct kvmstats *out) __must_check;
void kvmstats_free(struct kvmstats *s);

/* Adds b's values to a's of the same name (two vCPUs of one VM); peaks take the larger. */
void kvmstats_add(struct kvmstats *a, const struct kvmstats *b);

/* The value of name; 0 where there is no such. */
uint64_t kvmstats_get(const struct kvmstats *s, const char *name);

#endif
