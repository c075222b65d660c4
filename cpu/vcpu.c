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
#include "cpu/kvmstats.h"
#include "cpu/regs.h"
#include "guests/include/bantam/coalesced_io.h"

#define KICK_SIGNAL SIGUSR1

/*
 * Some 100 us, what devices take included: an interrupt that only the host's kernel knows of
 * waits for the end of the run.
 */
#define AHEAD_MAX_TICKS (256 * KIB)

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
	unsigned count; /* of its elements */
	struct acct_site *site; /* of access */
};

/* While vcpu->run still tells what it was. */
static void describe_exit(struct vcpu *vcpu, struct timed_exit *x)
{
	x->access = exit_access(vcpu, x->row);
	if (!x->access)
		return;
	x->count = vcpu->accesses;
	x->site = acct_site(&vcpu->acct, vcpu->bus, x->access);
}

static void count_exit(struct vcpu *vcpu, const struct timed_exit *x)
{
	uint64_t ticks = x->entered - x->left;

	acct_exit(&vcpu->acct, x->row, ticks);
	if (!x->site)
		return;
	if (x->row == KVM_EXIT_HYPERCALL)
		counter_add(&x->site->accesses, x->count); /* its exits are no port's */
	else
		acct_access(x->site, x->count, ticks);
}

static const uint64_t profile_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;

/* What only a profile or a trace wants to know; rarely called. */
static __attribute__((noinline)) void watch_exit(struct vcpu *vcpu, const struct timed_exit *x)
{
	bool profiling = atomic_load_explicit(&vcpu->profiling, memory_order_acquire);
	struct kvm_run *run = vcpu->run;
	bool has_regs = (run->kvm_valid_regs & profile_regs) == profile_regs;

	if (profiling && has_regs)
		profile_exit(vcpu->profile, &run->s.regs, x->row, x->access, x->entered - x->left);
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

/* What the next exit is to tell of the guest's registers. */
static uint64_t wanted_regs(const struct vcpu *vcpu)
{
	if (atomic_load_explicit(&vcpu->profiling, memory_order_relaxed))
		return profile_regs;
	return vcpu->ahead && lookahead_is_on(vcpu->ahead) ? KVM_SYNC_X86_REGS : 0;
}

static bool is_watched(const struct vcpu *vcpu)
{
	return vcpu->trace || vcpu->run->kvm_valid_regs & KVM_SYNC_X86_SREGS ||
	       atomic_load_explicit(&vcpu->profiling, memory_order_relaxed);
}

/*
 * Runs the guest until somebody wants something else, which shows as EINTR:
 * whoever changes goal sets immediate_exit, and KVM_RUN then first completes the
 * access of the exit before it.
 */
static inline __attribute__((always_inline)) void run_guest(struct vcpu *vcpu, const bool counting,
							    const bool ahead)
{
	const bool timing = counting || ahead;
	uint64_t entered = timing ? ticks_now() : 0;
	bool exited = false; /* already: KVM_RUN has been called */
	uint64_t interrupts = 0;

	for (;;) {
		int ret;

		/* What is raised from here on, the guest may leave before it has taken it. */
		if (ahead && !exited)
			interrupts = atomic_load(&vcpu->kvm->raised);
		ret = exited ? 0 : ioctl(vcpu->fd, KVM_RUN, 0);

		struct timed_exit x = { .row = ACCT_SIGNAL, .left = timing ? ticks_now() : 0 };
		uint64_t guest = x.left - entered;
		enum exit_action action = EXIT_CONTINUE;

		if (ret == 0)
			action = exit_handle(vcpu, &x.row);
		else if (errno == EINTR || errno == EAGAIN)
			action = EXIT_STOP;
		else
			action = exit_run_failed(vcpu, errno);
		if (counting) {
			counter_add(&vcpu->acct.run_ticks, guest);
			x.entered = entered = ticks_now();
			describe_exit(vcpu, &x);
			if (is_watched(vcpu)) {
				watch_exit(vcpu, &x);
				entered = ticks_now();
			}
		}
		exited = false;
		if (ahead && action == EXIT_CONTINUE &&
		    (x.row == ACCT_IO_IN || x.row == ACCT_IO_OUT)) {
			uint64_t began = entered;

			exited = vcpu_look_ahead(vcpu, guest, interrupts);
			entered = ticks_now();
			x.entered += entered - began;
		}
		vcpu->run->kvm_valid_regs = wanted_regs(vcpu);
		if (counting)
			count_exit(vcpu, &x);
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
		if (vcpu->ahead)
			run_guest(vcpu, vcpu->counting, true);
		else if (vcpu->counting)
			run_guest(vcpu, true, false);
		else
			run_guest(vcpu, false, false);
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
	if (on && (kvm_cap(vcpu->kvm, KVM_CAP_SYNC_REGS) & (int)profile_regs) != (int)profile_regs)
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

static int create_ahead(struct vcpu *vcpu, const struct vcpu_config *cfg)
{
	const struct lookahead_config ahead = {
		.mem = cfg->mem,
		.bus = cfg->bus,
		.acct = cfg->uncounted ? NULL : &vcpu->acct,
		.pause = &vcpu->run->immediate_exit,
		.interrupts = &cfg->kvm->raised,
		.max_ticks = AHEAD_MAX_TICKS,
		.always = cfg->ahead == VCPU_AHEAD_ALWAYS,
	};

	if (cfg->ahead == VCPU_AHEAD_OFF)
		return 0;
	vcpu->ahead = lookahead_create(&ahead);
	return vcpu->ahead ? 0 : -ENOMEM;
}

static int setup(struct vcpu *vcpu, const struct vcpu_config *cfg)
{
	int ret;

	vcpu->fd = ioctl(cfg->kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)cfg->index);
	if (vcpu->fd < 0)
		return -errno;
	vcpu->stats_fd = kvmstats_open(vcpu->fd);
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
		ret = create_ahead(vcpu, cfg);
	if (!ret)
		ret = start_thread(vcpu);
	return ret;
}

int vcpu_create(struct vcpu *vcpu, const struct vcpu_config *cfg)
{
	int ret;

	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->fd = vcpu->stats_fd = -1;
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
	lookahead_destroy(vcpu->ahead);
	profile_destroy(vcpu->profile);
	cpustate_free(&vcpu->power_on);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->kvm->run_size);
	if (vcpu->stats_fd >= 0)
		close(vcpu->stats_fd);
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
