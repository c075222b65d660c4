/* SPDX-License-Identifier: MIT */
/*
 * What there is to know about a machine while it runs: its exits, its profile with
 * the guest's own names for it, the stages of its disks' requests, its trace.
 *
 * Set up on the main thread before the machine runs. Afterwards reports are taken, and
 * the profile switched, from any thread; one lock puts them in a row. No vCPU
 * or I/O thread ever waits for it.
 */
#ifndef VMM_OBSERVE_H
#define VMM_OBSERVE_H

#include <pthread.h>

#include "backends/block/stages.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/trace.h"
#include "symbols/symbols.h"
#include "vmm/report/report.h"
#include "vmm/report/trace_json.h"

struct bus;
struct vcpu;
struct virtio_dev;

#define OBSERVE_MAX_DISKS 16
#define OBSERVE_MAX_ACCOUNTS (16 * OBSERVE_MAX_DISKS) /* a disk may have several threads */

struct observe {
	const char *name; /* the machine's */
	const struct mem *mem;
	struct bus *bus;
	struct vcpu *vcpus; /* nr_vcpus of them */
	unsigned nr_vcpus;
	int vm_fd;
	struct trace trace;
	bool tracing;
	struct block_stages *disks[OBSERVE_MAX_ACCOUNTS];
	unsigned nr_disks;
	const struct virtio_dev *doorbells[OBSERVE_MAX_DISKS]; /* whose kicks are counted */
	unsigned nr_doorbells;
	struct timer tick;

	pthread_mutex_t lock; /* guards all below */
	struct trace_point started; /* when the guest first ran */
	bool profiled; /* it has been on */
	bool profiling;
	const char *symbols_path; /* --symbols, NULL: not given */
	struct symbols *file; /* from there */
	bool slide_found; /* file is moved to where the guest's kernel is */
	struct symbols *guest; /* from the guest's own memory, NULL: not found (yet) */
	size_t unnamed; /* addresses without a name when they were last looked for */
	uint64_t next_search; /* ns on CLOCK_MONOTONIC: a search is only worth so much time */
};

/* Reads symbols_path where it is not NULL; trace_events 0: no trace. 0, or -errno and a line. */
int observe_init(struct observe *o, const char *symbols_path, uint64_t trace_events,
		 struct err *err) __must_check;
/* After the vCPUs and devices that write to it are gone. Harmless on a zeroed struct. */
void observe_destroy(struct observe *o);

/* The ring of a vCPU or disk, NULL where nothing is traced: *ring. 0 or -ENOMEM. */
int observe_ring(struct observe *o, const char *thread, struct trace_ring **ring) __must_check;

/* The accounts of one more disk's I/O thread, at most OBSERVE_MAX_ACCOUNTS. NULL without memory. */
struct block_stages *observe_disk(struct observe *o, const char *name) __must_check;

/* Counts the kicks of one more device, at most OBSERVE_MAX_DISKS. */
void observe_doorbells(struct observe *o, const struct virtio_dev *vdev);

/*
 * What ticks while a profile runs, once a second: names are looked for, so that callers
 * need not be guessed. Its thread does the looking, which may take a while.
 */
void observe_set_clock(struct observe *o, struct clock *clock);

/* The guest is about to run for the first time. */
void observe_start(struct observe *o);

/* 0 or -errno; report_free() after success. running: whether the machine is. Any thread. */
int observe_report(struct observe *o, bool running, struct report *r) __must_check;

/* Switches the profile. -EOPNOTSUPP where this KVM cannot. Any thread. */
int observe_set_profile(struct observe *o, bool on) __must_check;
bool observe_profiling(struct observe *o);
/* Forgets what was profiled until now. Any thread. */
void observe_clear_profile(struct observe *o);

/* The trace as JSON. The machine stands still. 0 or -errno. */
int observe_write_trace(struct observe *o, int fd) __must_check;

#endif
