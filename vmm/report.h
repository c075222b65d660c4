/* SPDX-License-Identifier: MIT */
/*
 * What the guest's exits cost, for people and for programs. A report is a copy, so
 * it may be taken while the guest runs; main thread.
 */
#ifndef VMM_REPORT_H
#define VMM_REPORT_H

#include <stdio.h>

#include "cpu/acct.h"
#include "cpu/kvmstats.h"

struct vcpu;

struct report_row {
	uint64_t count;
	uint64_t ns; /* in user space, total */
	uint64_t max_ns;
};

struct report_cpu {
	struct report_row rows[ACCT_NR_ROWS];
	uint64_t run_ns; /* inside KVM_RUN */
	uint64_t accesses;
};

struct report {
	uint64_t wall_ns; /* since the guest first ran */
	unsigned nr_cpus;
	struct report_cpu *cpus;
	struct report_cpu total;
	bool has_kvm; /* this host's KVM gives its statistics */
	struct kvmstats vm;
	struct kvmstats vcpu; /* of all vCPUs together */
};

/* When the guest first ran, on both clocks: what ticks are measured against. */
struct report_start {
	uint64_t ticks;
	uint64_t ns;
};

void report_start(struct report_start *start);

/* 0 or -errno; report_free() after success. */
int report_take(struct report *r, const struct report_start *start, struct vcpu *vcpus,
		unsigned nr_cpus, int vm_fd) __must_check;
void report_free(struct report *r);

void report_print(const struct report *r, FILE *out);

/* Writes the JSON form (docs/exits.md) to fd. 0 or -errno. */
int report_write_json(const struct report *r, int fd) __must_check;

#endif
