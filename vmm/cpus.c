/* SPDX-License-Identifier: MIT */
#include "vmm/cpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/include/bantam/coalesced_io.h"

/* Whether vCPUs look ahead; auto goes without where this KVM cannot. */
static int choose_ahead(const struct machine *m, enum vcpu_ahead *ahead, struct err *err)
{
	static const enum vcpu_ahead modes[] = {
		[COALESCE_OFF] = VCPU_AHEAD_OFF,
		[COALESCE_LOOKAHEAD] = VCPU_AHEAD_ALWAYS,
		[COALESCE_AUTO] = VCPU_AHEAD_AUTO,
	};

	*ahead = modes[m->cfg->coalesce];
	if (*ahead == VCPU_AHEAD_OFF || vcpu_can_look_ahead(&m->kvm))
		return 0;
	if (*ahead == VCPU_AHEAD_ALWAYS)
		return err_set(err, -ENOTSUP,
			       "--coalesce lookahead: this host's KVM does not give the guest's "
			       "registers with an exit (KVM_CAP_SYNC_REGS)");
	*ahead = VCPU_AHEAD_OFF;
	return 0;
}

/* The features of lists of accesses that the guest is offered; 0: none. */
static uint32_t choose_coalesced_io(struct machine *m)
{
	if (m->cfg->coalesce != COALESCE_HYPERCALL)
		return 0;
	return COALESCED_IO_F_DOORBELL |
	       (kvm_expose_hypercall(&m->kvm) ? COALESCED_IO_F_HYPERCALL : 0);
}

static int create_vcpus(struct machine *m, struct err *err)
{
	const uint32_t coalesced_io = choose_coalesced_io(m);
	enum vcpu_ahead ahead;
	int ret = choose_ahead(m, &ahead, err);

	if (ret)
		return ret;
	ret = vcpu_setup_signal();
	m->vcpus = calloc(m->cfg->nr_cpus, sizeof(*m->vcpus));
	if (!m->vcpus)
		ret = -ENOMEM;
	for (unsigned i = 0; i < m->cfg->nr_cpus && !ret; i++) {
		struct vcpu_config cfg = {
			.kvm = &m->kvm,
			.bus = &m->bus,
			.mem = &m->mem,
			.index = i,
			.nr_cpus = (unsigned)m->cfg->nr_cpus,
			.coalesced_io = coalesced_io,
			.events = { .crashed = machine_vcpu_crashed, .ctx = m },
			.ahead = ahead,
		};
		char thread[16];

		snprintf(thread, sizeof(thread), "vcpu%u", i);
		ret = observe_ring(&m->observe, thread, &cfg.trace);
		if (!ret)
			ret = vcpu_create(&m->vcpus[i], &cfg);
		m->nr_vcpus += !ret;
	}
	if (ret)
		return err_set(err, ret, "cannot create CPU %u: %s", m->nr_vcpus, strerror(-ret));
	return 0;
}

static int accelerate_bus(struct machine *m, struct err *err)
{
	int ret;

	if (m->cfg->coalesce != COALESCE_PIO)
		ret = kvm_accelerate_bus(&m->kvm, &m->bus);
	else
		ret = kvm_post_writes(&m->kvm, &m->bus, &m->vcpus[0]);
	if (ret == -EOPNOTSUPP)
		return err_set(err, ret,
			       "--coalesce pio: this host's KVM lacks KVM_CAP_COALESCED_PIO");
	if (ret)
		return err_set(err, ret, "cannot hand doorbells to KVM: %s", strerror(-ret));
	return 0;
}

int cpus_create(struct machine *m, struct err *err)
{
	int ret = create_vcpus(m, err);

	return ret ? ret : accelerate_bus(m, err);
}
