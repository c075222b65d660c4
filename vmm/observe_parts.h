/* SPDX-License-Identifier: MIT */
/*
 * What the files behind observe.h have in common: the guest's names for its code (observe_names.c),
 * and the parts of a report that have a file of their own.
 *
 * The caller has o->lock.
 */
#ifndef VMM_OBSERVE_PARTS_H
#define VMM_OBSERVE_PARTS_H

#include "vmm/observe.h"

struct trace_point observe_now(void);

/* The function at a guest's address, by --symbols or by the guest's own table. */
bool observe_name(const struct observe *o, uint64_t addr, struct symbol *sym) __must_check;

/*
 * Names as much as can be; new code without a name (a module) is reason to look again, which waits
 * for its time unless it is to be at_once.
 */
void observe_find_names(struct observe *o, bool at_once);

/* Ticks to nanoseconds: both clocks were read when the guest first ran, and are again. */
struct observe_scale {
	uint64_t ns;
	uint64_t ticks; /* not 0 */
};

static inline uint64_t observe_ns(const struct observe_scale *s, uint64_t ticks)
{
	return mul_div(ticks, s->ns, s->ticks);
}

/* Cut where it is too long; NULL is "". */
void observe_copy(char *dst, size_t size, const char *src);

/* The profile's part, and that of lookahead. 0 or -ENOMEM. */
int observe_profile(struct observe *o, struct report *r,
		    const struct observe_scale *s) __must_check;
int observe_ahead(const struct observe *o, struct report *r,
		  const struct observe_scale *s) __must_check;

#endif
