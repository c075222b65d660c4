/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU's exits cost, and what they touched. Each vCPU writes its own struct,
 * nobody else does, so there is no lock; readers on other threads see each counter
 * whole, though not all of one instant (base/counter.h). Always on: two reads of the
 * time-stamp counter an exit, a histogram's bucket, and a hash for port and memory accesses.
 */
#ifndef CPU_ACCT_H
#define CPU_ACCT_H

#include <linux/kvm.h>

#include "base/bus.h"
#include "base/hist.h"
#include "base/util.h"

/*
 * A row an exit reason, by KVM's number; reasons that this header does not know
 * share the last of those. Port and memory accesses have one row a direction, and
 * a KVM_RUN that a signal ended (a kick) has one as well.
 */
enum {
	ACCT_REASONS = 48,
	ACCT_OTHER = ACCT_REASONS - 1,
	ACCT_IO_IN = KVM_EXIT_IO,
	ACCT_MMIO_READ = KVM_EXIT_MMIO,
	ACCT_IO_OUT = ACCT_REASONS,
	ACCT_MMIO_WRITE,
	ACCT_SIGNAL,
	ACCT_NR_ROWS,
};

/* Distinct accesses that are counted each by itself; a guest may invent as many as it likes. */
#define ACCT_SITES 1024

/* One address, accessed in one direction with one width. */
struct acct_site {
	_Atomic uint64_t key; /* acct_key(), written last; 0: free */
	const char *device; /* who answered when it was first seen: NULL, nobody */
	const char *reg; /* NULL: it does not say */
	_Atomic uint64_t count;
	_Atomic uint64_t accesses; /* each element of a string counted */
	_Atomic uint64_t ticks;
	_Atomic uint64_t max;
};

struct acct {
	struct hist rows
		[ACCT_NR_ROWS]; /* ticks of user space, from KVM_RUN's return to its next call */
	_Atomic uint64_t run_ticks; /* inside KVM_RUN: the guest, and KVM on its behalf */
	struct acct_site sites[ACCT_SITES]; /* a hash by key */
	struct acct_site lost[BUS_NR_SPACES][2]; /* by space and direction, when sites are full */
	unsigned nr_sites; /* the writer's own */
};

/* An access as one number, never 0; addresses have at most 52 bits, width is 1, 2, 4 or 8. */
static inline uint64_t acct_key(enum bus_space space, bool write, unsigned width, uint64_t addr)
{
	return addr << 8 | width << 3 | (uint64_t)write << 2 | (uint64_t)space << 1 | 1;
}

static inline uint64_t acct_key_addr(uint64_t key)
{
	return key >> 8;
}

static inline unsigned acct_key_width(uint64_t key)
{
	return key >> 3 & 0xf;
}

static inline bool acct_key_write(uint64_t key)
{
	return key & 4;
}

static inline enum bus_space acct_key_space(uint64_t key)
{
	return key & 2 ? BUS_MMIO : BUS_PIO;
}

/* Names what is no device's. Before the vCPU runs; the strings are constant. */
void acct_name(struct acct *a, uint64_t key, const char *device, const char *reg);

/* Finds a place for key, and its name on the bus; the slow way of acct_site(). */
struct acct_site *acct_site_new(struct acct *a, struct bus *bus, uint64_t key);

static inline unsigned acct_hash(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 54) % ACCT_SITES;
}

/* The site of an access, on the vCPU's thread; never NULL. */
static inline struct acct_site *acct_site(struct acct *a, struct bus *bus, uint64_t key)
{
	struct acct_site *site = &a->sites[acct_hash(key)];

	if (__builtin_expect(counter_get(&site->key) == key, 1))
		return site;
	return acct_site_new(a, bus, key);
}

static inline void acct_exit(struct acct *a, unsigned row, uint64_t ticks)
{
	hist_add(&a->rows[row], ticks);
}

static inline void acct_access(struct acct_site *site, unsigned accesses, uint64_t ticks)
{
	counter_add(&site->count, 1);
	counter_add(&site->accesses, accesses);
	counter_add(&site->ticks, ticks);
	counter_max(&site->max, ticks);
}

#endif
