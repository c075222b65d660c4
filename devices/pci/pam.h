/* SPDX-License-Identifier: MIT */
/*
 * The host bridge's programmable attributes (82441FX, 3.2.17) as values: each segment of the
 * memory from 0xc0000 to 1 MiB has two bits, which say whether reads and whether writes of
 * the CPUs go to the RAM there or past it, to the bus. Segments are numbered by address:
 * 0 to 11 have 16 KiB each, 12 is the 64 KiB at 0xf0000.
 */
#ifndef DEVICES_PCI_PAM_H
#define DEVICES_PCI_PAM_H

#include "base/platform.h"
#include "base/util.h"

#define PAM_NR_SEGMENTS 13

/*
 * Who is told of a segment's bits when they change; at power-on all are off. An all-zero
 * struct tells nobody. Called under the PCI host's lock.
 */
struct pam {
	void (*set)(void *ctx, unsigned segment, bool read, bool write);
	void *ctx;
};

static inline void pam_set(const struct pam *p, unsigned segment, bool read, bool write)
{
	if (p->set)
		p->set(p->ctx, segment, read, write);
}

/* The guest address and the bytes of a segment, and which one has the byte at gpa. */
static inline uint64_t pam_base(unsigned segment)
{
	return PLATFORM_SHADOW_BASE + segment * 16ull * KIB;
}

static inline uint64_t pam_size(unsigned segment)
{
	return segment == PAM_NR_SEGMENTS - 1 ? 64 * KIB : 16 * KIB;
}

static inline unsigned pam_segment(uint64_t gpa)
{
	return (unsigned)min_u64((gpa - PLATFORM_SHADOW_BASE) / (16 * KIB), PAM_NR_SEGMENTS - 1);
}

#endif
