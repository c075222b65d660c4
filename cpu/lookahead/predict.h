/* SPDX-License-Identifier: MIT */
/*
 * Which of a guest's port accesses are soon followed by another: a profile of its own, so that
 * it learns while --profile is off too. An access is known by its instruction, its port, and the
 * port of the one before: most of a kernel's go through a few functions.
 *
 * It learns from exits, by how long the guest has run since the one before, and from runs, by
 * whether they have got to another access. One from which a run was in vain is left alone for a
 * while, twice as long each time.
 *
 * One writer, the vCPU's thread; readers see each counter whole (base/counter.h).
 */
#ifndef CPU_LOOKAHEAD_PREDICT_H
#define CPU_LOOKAHEAD_PREDICT_H

#include "base/counter.h"

#define AHEAD_SITES 1024

struct ahead_port {
	uint16_t port;
	bool write;
};

/* An access, as far as the predictor tells them apart. */
struct ahead_site {
	_Atomic uint64_t rip; /* written last; 0: free */
	struct ahead_port port;
	struct ahead_port before; /* that of the access before it */
	_Atomic uint64_t exits; /* to user space */
	_Atomic uint64_t runs; /* that began behind it */
	_Atomic uint64_t avoided; /* accesses that were made in a run, without an exit */
	uint8_t score; /* how sure it is that more follows */
	uint8_t vain; /* runs without success, in a row */
	uint16_t wait; /* how often it is not to be tried */
};

struct ahead_predictor {
	struct ahead_site sites[AHEAD_SITES]; /* a hash */
	unsigned nr_sites;
	struct ahead_site *last; /* the access before; NULL: none, or no place for it */
	struct ahead_port last_port;
	uint64_t least; /* ticks in the guest between two exits; 0: none yet */
	uint64_t trip; /* ticks that a soon following exit takes, on average; 0: none yet */
};

/*
 * The site of an access, which is then the last one; made if it is new. NULL when the table is
 * full, or rip is 0: not known.
 */
struct ahead_site *ahead_site(struct ahead_predictor *p, uint64_t rip, struct ahead_port port);

/* That access was an exit, ticks in the guest after the one before, whose site was last. */
void ahead_learn_exit(struct ahead_predictor *p, struct ahead_site *last, struct ahead_site *site,
		      uint64_t ticks);

/* In a run, more has followed site, or has not. */
void ahead_learn_run(struct ahead_site *site, bool followed);

/* Whether it is worth to look further than site. */
bool ahead_expects_more(struct ahead_site *site);

#endif
