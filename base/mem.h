/* SPDX-License-Identifier: MIT */
/*
 * Guest physical memory: RAM below the hole, RAM above it, and ROMs.
 *
 * mem_at() is the only way from a guest address to a pointer. The regions are
 * fixed before the first vCPU runs, so lookups need no lock and any thread may
 * do them. The bytes themselves belong to a hostile guest that may write them
 * at any moment: copy what you check, before you check it.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdatomic.h>

#include "base/util.h"

#define MEM_MAX_REGIONS 8

struct mem_region {
	uint64_t gpa;
	uint64_t size;
	void *hva;
	bool readonly; /* a ROM: the guest's writes are dropped */
};

struct mem {
	struct mem_region regions[MEM_MAX_REGIONS]; /* sorted by gpa, disjoint */
	unsigned nr_regions;
	uint64_t ram_size; /* bytes of RAM, ROMs not counted */
	void *map; /* the one mapping behind all RAM */
	size_t map_size;
	/*
	 * One bit a 4 KiB page of the RAM mapping, set by mem_at(), NULL while dirty
	 * tracking is off. KVM's dirty log has the vCPUs' own writes.
	 */
	_Atomic uint64_t *dirty;
};

/*
 * Allocates ram_size bytes of zeroed RAM (a multiple of 4 KiB, at least 1 MiB),
 * backed by huge pages where the host gives them, and lays it out as platform.h
 * says. Returns 0 or -errno: -ENOMEM where the host refuses, -EINVAL for a size
 * that is none.
 */
int mem_init(struct mem *m, uint64_t ram_size) __must_check;
void mem_destroy(struct mem *m);

/*
 * Adds a ROM that holds a copy of data: gpa and size are multiples of 4 KiB. It is read-only
 * for the host too. Before the regions are made known to KVM. 0, -EINVAL, -EEXIST where it
 * overlaps a region, -ENOSPC, -ENOMEM.
 */
int mem_add_rom(struct mem *m, uint64_t gpa, const void *data, uint64_t size) __must_check;

/*
 * The pointer to len bytes at gpa, or NULL for anything that is not RAM from end
 * to end (ROM, a hole, a range that crosses a boundary or wraps around). len 0 is
 * NULL too. The range is marked dirty, so only ask for what you mean to write, or
 * use mem_at_const().
 */
void *mem_at(struct mem *m, uint64_t gpa, uint64_t len) __must_check;

/* The same for reading: finds ROM as well and marks nothing dirty. */
const void *mem_at_const(const struct mem *m, uint64_t gpa, uint64_t len) __must_check;

/* Copies; 0, or -EFAULT with nothing copied where mem_at() would give NULL. */
int mem_read(const struct mem *m, uint64_t gpa, void *buf, uint64_t len) __must_check;
int mem_write(struct mem *m, uint64_t gpa, const void *buf, uint64_t len) __must_check;

/*
 * Marks len bytes dirty that were written through a mem_at() pointer that was kept:
 * what a page's copier has fetched between mem_at() and the write is not lost.
 */
void mem_mark(struct mem *m, const void *hva, uint64_t len);

/* The end of RAM below the hole, and above it (0 where there is none). */
uint64_t mem_low_end(const struct mem *m);
uint64_t mem_high_end(const struct mem *m);

/*
 * Dirty tracking of the VMM's own writes. Start and stop only while every vCPU
 * and I/O thread is paused. mem_dirty_fetch() moves word index of the bitmap (64
 * pages of the RAM mapping: low RAM first, high RAM after it) out and clears it.
 */
int mem_dirty_start(struct mem *m) __must_check;
void mem_dirty_stop(struct mem *m);
uint64_t mem_dirty_fetch(struct mem *m, size_t word);

#endif
