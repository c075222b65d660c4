/* SPDX-License-Identifier: MIT */
/*
 * --coalesce lookahead: after a port access that made the guest exit, its next instructions are
 * done right here, further port accesses among them, as long as they are simple ones; each access
 * so done is an exit less. docs/lookahead.md says why the guest cannot tell.
 *
 * A run stops before the first instruction that is not known here or that could fault; behind the
 * last access that the predictor expects; when an interrupt is due, the vCPU is to pause, or the
 * bounds are reached. Registers and memory are then as the CPU would have left them.
 *
 * Owned by one vCPU's thread; readers on other threads see each counter whole
 * (base/counter.h). The vCPU's side of it, what KVM has to be asked, is cpu/vcpu_ahead.c.
 */
#ifndef CPU_LOOKAHEAD_LOOKAHEAD_H
#define CPU_LOOKAHEAD_LOOKAHEAD_H

#include "base/bus.h"
#include "cpu/acct.h"
#include "cpu/lookahead/insn.h"
#include "cpu/lookahead/predict.h"
#include "cpu/lookahead/state.h"

#define AHEAD_DECODED 1024

/* What ended a run. */
enum ahead_end {
	AHEAD_END_EXPECTED, /* no more accesses were expected */
	AHEAD_END_UNKNOWN, /* an instruction that is not known here */
	AHEAD_END_REFUSED, /* one that the CPU must do: it could fault, or access a device */
	AHEAD_END_INTERRUPT, /* an interrupt is due, or the vCPU is to pause */
	AHEAD_END_BOUND, /* too many instructions, or too much time */
	AHEAD_NR_ENDS,
};

/* An instruction, as long as the guest's memory still has its bytes. */
struct ahead_decoded {
	uint64_t rip;
	bool wide;
	uint8_t bytes[AHEAD_INSN_MAX];
	struct ahead_insn insn;
};

struct lookahead_config {
	struct mem *mem;
	struct bus *bus;
	struct acct *acct; /* where accesses are counted; NULL: nowhere */
	const uint8_t *pause; /* not 0: the vCPU is to stop; written by any thread */
	const _Atomic uint64_t *interrupts; /* counts what devices have raised */
	uint64_t max_ticks; /* a run that has taken so long ends at its next access */
	bool always; /* also where it does not pay */
};

struct lookahead {
	struct lookahead_config cfg;
	struct ahead_cpu cpu;
	struct ahead_predictor predictor;
	struct ahead_decoded decoded[AHEAD_DECODED]; /* a hash */

	_Atomic uint64_t runs, avoided, insns;
	_Atomic uint64_t ticks; /* of runs, without what the devices took */
	_Atomic uint64_t ends[AHEAD_NR_ENDS];
	_Atomic uint64_t offs; /* how often it did not pay */

	/* Whether it pays: since the last look. */
	uint64_t judged_runs, judged_avoided, judged_ticks;
	_Atomic uint64_t off; /* exits until it is tried again; 0: it is on */
	uint64_t off_next;
};

/* NULL without memory. */
struct lookahead *lookahead_create(const struct lookahead_config *cfg) __must_check;
void lookahead_destroy(struct lookahead *la);

/*
 * An exit for an access to port by the instruction at rip (0: not known), after ticks in
 * the guest. True: try to go on from behind it.
 */
bool lookahead_exit(struct lookahead *la, uint64_t rip, struct ahead_port port,
		    uint64_t ticks) __must_check;

/* Whether the next exit's registers are wanted. */
static inline bool lookahead_is_on(const struct lookahead *la)
{
	return !counter_get(&la->off);
}

/*
 * Runs from regs on, which it changes; true if they have. interrupts is what *cfg.interrupts was
 * when the guest was entered: one that it may have left without having taken it ends the run.
 * began: when the work on this run did, in ticks.
 */
bool lookahead_run(struct lookahead *la, struct kvm_regs *regs, const struct kvm_sregs *sregs,
		   uint64_t interrupts, uint64_t began) __must_check;

/* It was worth a try, but the vCPU is in a state that forbids it. */
void lookahead_give_up(struct lookahead *la, uint64_t began);

#endif
