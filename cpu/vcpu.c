/* SPDX-License-Identifier: MIT */
#include "cpu/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/thread.h"
#include "cpu/coalesced_io.h"
#include "cpu/cpuid.h"
#include "cpu/exit.h"
#include "cpu/regs.h"
#include "guests/include/bantam/coalesced_io.h"

#define KICK_SIGNAL SIGUSR1

static void kick_handler(int sig)
{
	(void)sig; /* its delivery alone ends KVM_RUN */
}

int vcpu_setup_signal(void)
{
	struct sigaction sa = { .sa_handler = kick_handler };

	sigemptyset(&sa.sa_mask);
	return sigaction(KICK_SIGNAL, &sa, NULL) ? -errno : 0;
}

/* The access of the exit in run, as acct counts it; 0 where it was none. */
static uint64_t exit_access(const struct vcpu *vcpu, unsigned row)
{
	const struct kvm_run *run = vcpu->run;

	switch (row) {
	case ACCT_IO_IN:
	case ACCT_IO_OUT:
		return acct_key(BUS_PIO, row == ACCT_IO_OUT, run->io.size, run->io.port);
	case ACCT_MMIO_READ:
	case ACCT_MMIO_WRITE:
		return acct_key(BUS_MMIO, row == ACCT_MMIO_WRITE, run->mmio.len,
				run->mmio.phys_addr);
	case KVM_EXIT_HYPERCALL:
		return acct_key(BUS_PIO, true, COALESCED_IO_DOORBELL_LEN, vcpu->doorbell);
	default:
		return 0;
	}
}

/* An exit, between two readings of the time-stamp counter. */
struct timed_exit {
	unsigned row;
	uint64_t left, entered; /* the guest, and bantam again */
	uint64_t access; /* acct_key() or 0 */
	const struct acct_site *site; /* of access */
};

static void count_exit(struct vcpu *vcpu, struct timed_exit *x)
{
	struct acct *acct = &vcpu->acct;
	uint64_t ticks = x->entered - x->left;
	struct acct_site *site;

	acct_exit(acct, x->row, ticks);
	x->access = exit_access(vcpu, x->row);
	if (!x->access)
		return;
	site = acct_site(acct, vcpu->bus, x->access);
	if (x->row == KVM_EXIT_HYPERCALL)
		counter_add(&site->accesses, vcpu->accesses); /* its exits are no port's */
	else
		acct_access(site, vcpu->accesses, ticks);
	x->site = site;
}

/* What only a profile or a trace wants to know; rarely called. */
static __attribute__((noinline)) void watch_exit(struct vcpu *vcpu, const struct timed_exit *x)
{
	const uint64_t all = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	bool profiling = atomic_load_explicit(&vcpu->profiling, memory_order_acquire);
	struct kvm_run *run = vcpu->run;
	bool has_regs = run->kvm_valid_regs == all;

	if (profiling && has_regs)
		profile_exit(vcpu->profile, &run->s.regs, x->row, x->access, x->entered - x->left);
	run->kvm_valid_regs = profiling ? all : 0; /* from the next exit on */
	if (vcpu->trace) {
		const struct trace_event e = {
			.begin = x->left,
			.end = x->entered,
			.name = exit_row_name(x->row),
			.device = x->site ? x->site->device : NULL,
			.reg = x->site ? x->site->reg : NULL,
			.addr = acct_key_addr(x->access),
			.width = (uint16_t)acct_key_width(x->access),
			.rip = profiling && has_regs ? run->s.regs.regs.rip : 0,
		};

		trace_put(vcpu->trace, &e);
	}
}

/*
 * Runs the guest until somebody wants something else, which shows as EINTR:
 * whoever changes goal sets immediate_exit, and KVM_RUN then first completes the
 * access of the exit before it.
 */
static inline __attribute__((always_inline)) void run_guest(struct vcpu *vcpu, const bool counting)
{
	uint64_t entered = counting ? ticks_now() : 0;

	for (;;) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);
		uint64_t left = counting ? ticks_now() : 0;
		enum exit_action action = EXIT_CONTINUE;
		unsigned row = ACCT_SIGNAL;

		if (ret == 0)
			action = exit_handle(vcpu, &row);
		else if (errno == EINTR || errno == EAGAIN)
			action = EXIT_STOP;
		else
			action = exit_run_failed(vcpu, errno);
		if (counting) {
			struct timed_exit x = { .row = row, .left = left };

			counter_add(&vcpu->acct.run_ticks, left - entered);
			x.entered = entered = ticks_now();
			count_exit(vcpu, &x);
			if (vcpu->trace || vcpu->run->kvm_valid_regs ||
			    atomic_load_explicit(&vcpu->profiling, memory_order_relaxed)) {
				watch_exit(vcpu, &x);
				entered = ticks_now();
			}
		}
		if (action == EXIT_CONTINUE)
			continue;
		if (action == EXIT_ERROR)
			vcpu->events.crashed(vcpu->events.ctx, vcpu);
		return;
	}
}

static void *vcpu_main(void *opaque)
{
	struct vcpu *vcpu = opaque;

	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->goal != VCPU_QUIT) {
		if (vcpu->goal == VCPU_PAUSE || vcpu->crash) {
			pthread_cond_wait(&vcpu->cond, &vcpu->lock);
			continue;
		}
		vcpu->running = true;
		vcpu->run->immediate_exit = 0;
		pthread_mutex_unlock(&vcpu->lock);
		if (vcpu->counting)
			run_guest(vcpu, true);
		else
			run_guest(vcpu, false);
		pthread_mutex_lock(&vcpu->lock);
		vcpu->running = false;
		pthread_cond_broadcast(&vcpu->cond);
	}
	pthread_mutex_unlock(&vcpu->lock);
	return NULL;
}

static void set_goal(struct vcpu *vcpu, enum vcpu_goal goal)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->goal = goal;
	if (goal != VCPU_RUN && vcpu->running) {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
		pthread_kill(vcpu->thread, KICK_SIGNAL);
	}
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->lock);
}

void vcpu_resume(struct vcpu *vcpu)
{
	set_goal(vcpu, VCPU_RUN);
}

int vcpu_set_profiling(struct vcpu *vcpu, const struct mem *mem, bool on)
{
	const int needed = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;

	if (on && (kvm_cap(vcpu->kvm, KVM_CAP_SYNC_REGS) & needed) != needed)
		return -EOPNOTSUPP;
	if (on && !vcpu->profile) {
		vcpu->profile = profile_create(mem);
		if (!vcpu->profile)
			return -ENOMEM;
	}
	atomic_store_explicit(&vcpu->profiling, on, memory_order_release);
	return 0;
}

void vcpu_pause(struct vcpu *vcpu)
{
	set_goal(vcpu, VCPU_PAUSE);
}

void vcpu_wait_paused(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->running)
		pthread_cond_wait(&vcpu->cond, &vcpu->lock);
	pthread_mutex_unlock(&vcpu->lock);
}

/* All signals but the kick are the main thread's business. */
static int start_thread(struct vcpu *vcpu)
{
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	ret = thread_start(&vcpu->thread, name, KICK_SIGNAL, vcpu_main, vcpu);
	vcpu->started = !ret;
	return ret;
}

static int setup(struct vcpu *vcpu, const struct vcpu_config *cfg)
{
	int ret;

	vcpu->fd = ioctl(cfg->kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)cfg->index);
	if (vcpu->fd < 0)
		return -errno;
	vcpu->run = mmap(NULL, cfg->kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return -errno;
	}
	ret = cpuid_setup(cfg->kvm, vcpu->fd, cfg->index, cfg->nr_cpus, cfg->coalesced_io);
	if (!ret)
		ret = regs_setup_power_on(vcpu->fd, cfg->index);
	if (!ret)
		ret = cpustate_save(cfg->kvm, vcpu->fd, &vcpu->power_on);
	if (!ret)
		ret = start_thread(vcpu);
	return ret;
}

int vcpu_create(struct vcpu *vcpu, const struct vcpu_config *cfg)
{
	int ret;

	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->fd = -1;
	vcpu->index = cfg->index;
	vcpu->kvm = cfg->kvm;
	vcpu->bus = cfg->bus;
	vcpu->mem = cfg->mem;
	if (cfg->coalesced_io) {
		vcpu->doorbell = PLATFORM_PORT_COALESCED_IO;
		vcpu->hypercall = cfg->coalesced_io & COALESCED_IO_F_HYPERCALL;
		acct_name(&vcpu->acct,
			  acct_key(BUS_PIO, true, COALESCED_IO_DOORBELL_LEN, vcpu->doorbell),
			  "coalesced-io", "doorbell");
	}
	vcpu->events = cfg->events;
	vcpu->counting = !cfg->uncounted;
	vcpu->trace = cfg->trace;
	vcpu->goal = VCPU_PAUSE;
	pthread_mutex_init(&vcpu->lock, NULL);
	pthread_cond_init(&vcpu->cond, NULL);
	ret = setup(vcpu, cfg);
	if (ret)
		vcpu_destroy(vcpu);
	return ret;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu->kvm)
		return;
	if (vcpu->started) {
		set_goal(vcpu, VCPU_QUIT);
		pthread_join(vcpu->thread, NULL);
	}
	profile_destroy(vcpu->profile);
	cpustate_free(&vcpu->power_on);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->kvm->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	pthread_cond_destroy(&vcpu->cond);
	pthread_mutex_destroy(&vcpu->lock);
	vcpu->kvm = NULL;
}

int vcpu_reset(struct vcpu *vcpu, const struct boot_entry *entry)
{
	int ret = cpustate_load(vcpu->kvm, vcpu->fd, &vcpu->power_on);

	vcpu->crash = NULL;
	if (!ret && entry)
		ret = regs_set_entry(vcpu->fd, entry);
	return ret;
}
