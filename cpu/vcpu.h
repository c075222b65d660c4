/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU and its thread.
 *
 * A vCPU is created paused, runs after vcpu_resume(), and stops at an instruction
 * boundary for vcpu_pause(): any port or memory access under way is complete by
 * then, so that its registers may be read, saved and changed. All functions are the
 * main thread's but for those that say otherwise.
 */
#ifndef CPU_VCPU_H
#define CPU_VCPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/boot.h"
#include "base/bus.h"
#include "base/mem.h"
#include "base/trace.h"
#include "cpu/acct.h"
#include "cpu/cpustate.h"
#include "cpu/kvm.h"
#include "cpu/lookahead/lookahead.h"
#include "cpu/profile.h"

struct vcpu;

/* Called on the vCPU's thread, which stops after it. */
struct vcpu_events {
	/* The guest cannot go on: vcpu->crash says why. */
	void (*crashed)(void *ctx, struct vcpu *vcpu);
	void *ctx;
};

enum vcpu_goal { VCPU_PAUSE, VCPU_RUN, VCPU_QUIT };

struct vcpu {
	unsigned index; /* also its local APIC id */
	int fd;
	int stats_fd; /* KVM's statistics of it (cpu/kvmstats.h); negative: there are none */
	struct kvm *kvm;
	struct bus *bus;
	struct mem *mem;
	uint16_t doorbell; /* of coalesced I/O; 0: it is not offered */
	bool hypercall; /* it can be rung by that as well */
	unsigned accesses; /* of the exit at hand, if it was to a port or memory */
	struct kvm_run *run; /* shared with the kernel; valid between two KVM_RUNs */
	struct acct acct;
	bool counting; /* constant; off for those alone who measure what counting costs */
	struct trace_ring *trace; /* NULL: no trace; constant while the vCPU runs */
	struct profile *profile; /* made before profiling is first set, and kept */
	atomic_bool profiling;
	struct lookahead *ahead; /* NULL: --coalesce is something else */
	struct cpustate power_on;
	struct vcpu_events events;

	pthread_t thread;
	pthread_mutex_t lock; /* guards goal, running, cond */
	pthread_cond_t cond;
	enum vcpu_goal goal;
	bool running; /* the thread is, or may be, inside KVM_RUN */
	bool started; /* the thread exists */

	/* Why it crashed, a constant string; NULL while it has not. Valid when paused. */
	const char *crash;
	int crash_errno; /* KVM_RUN's own failure, or 0 */
};

enum vcpu_ahead {
	VCPU_AHEAD_OFF,
	VCPU_AHEAD_AUTO, /* where it pays */
	VCPU_AHEAD_ALWAYS,
};

struct vcpu_config {
	struct kvm *kvm;
	struct bus *bus;
	struct mem *mem;
	unsigned index;
	unsigned nr_cpus;
	uint32_t coalesced_io; /* COALESCED_IO_F_*: how the guest may ring; 0: not at all */
	struct vcpu_events events;
	struct trace_ring *trace; /* where its exits are written down; NULL: nowhere */
	bool uncounted; /* no accounts: to measure what they cost */
	enum vcpu_ahead ahead;
};

/* Creates the vCPU, its CPUID and power-on state, and its (paused) thread. 0 or -errno. */
int vcpu_create(struct vcpu *vcpu, const struct vcpu_config *cfg) __must_check;

/* Ends the thread and frees all. Harmless on a zeroed struct. */
void vcpu_destroy(struct vcpu *vcpu);

/* Back to power-on; entry is where the first vCPU starts, NULL for the others. Paused. */
int vcpu_reset(struct vcpu *vcpu, const struct boot_entry *entry) __must_check;

void vcpu_resume(struct vcpu *vcpu);

/*
 * Asks the vCPU to stop; vcpu_wait_paused() returns when it has. Any thread may ask, the
 * vCPU's own from inside a handler too: it then stops before its next instruction.
 */
void vcpu_pause(struct vcpu *vcpu);
void vcpu_wait_paused(struct vcpu *vcpu);

/*
 * Switches the profile on or off; it goes on where it was. Any thread, one at a time.
 * 0, -ENOMEM, or -EOPNOTSUPP where this KVM does not give registers with an exit.
 */
int vcpu_set_profiling(struct vcpu *vcpu, const struct mem *mem, bool on) __must_check;

/* Whether this KVM gives and takes registers with an exit, which VCPU_AHEAD_* needs. */
bool vcpu_can_look_ahead(const struct kvm *kvm);

/*
 * After an exit for a port access that has been handled, on the vCPU's thread: goes on behind it
 * in user space where that is worth while (cpu/lookahead/). ticks: what the guest has run;
 * interrupts: kvm->raised when it was entered. True: vcpu->run has the next exit already.
 * (vcpu_ahead.c)
 */
bool vcpu_look_ahead(struct vcpu *vcpu, uint64_t ticks, uint64_t interrupts) __must_check;

/*
 * Takes the no-op handler for the signal that interrupts KVM_RUN; once a process,
 * before the first vcpu_create().
 */
int vcpu_setup_signal(void) __must_check;

#endif
