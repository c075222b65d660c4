/* SPDX-License-Identifier: MIT */
#include "cpu/coalesced_pio.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "cpu/kvm.h"
#include "cpu/vcpu.h"

int coalesced_pio_init(struct coalesced_pio *c, const struct kvm *kvm, const struct vcpu *vcpu,
		       struct bus *bus)
{
	/* The page of the shared area where the ring is. */
	uint64_t at = (uint64_t)kvm_cap(kvm, KVM_CAP_COALESCED_MMIO) * PAGE_SIZE_4K;

	if (!at || !kvm_cap(kvm, KVM_CAP_COALESCED_PIO) || at + PAGE_SIZE_4K > kvm->run_size)
		return -EOPNOTSUPP;
	c->vm_fd = kvm->vm_fd;
	c->bus = bus;
	c->ring = (void *)((char *)vcpu->run + at);
	c->size = (PAGE_SIZE_4K - sizeof(*c->ring)) / sizeof(c->ring->coalesced_mmio[0]);
	pthread_mutex_init(&c->lock, NULL);
	return 0;
}

void coalesced_pio_destroy(struct coalesced_pio *c)
{
	if (c->ring)
		pthread_mutex_destroy(&c->lock);
	c->ring = NULL;
}

void coalesced_pio_post(struct coalesced_pio *c, uint64_t port, uint64_t len, bool add)
{
	struct kvm_coalesced_mmio_zone zone = {
		.addr = port,
		.size = (uint32_t)len,
		.pio = 1,
	};

	/* Where it fails, writes exit as they do without. */
	(void)ioctl(c->vm_fd, add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO,
		    &zone);
}

static bool is_empty(const struct coalesced_pio *c)
{
	return __atomic_load_n(&c->ring->first, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&c->ring->last, __ATOMIC_ACQUIRE);
}

void coalesced_pio_sync(struct coalesced_pio *c)
{
	unsigned left = c->size;

	if (is_empty(c))
		return;
	pthread_mutex_lock(&c->lock);
	/* What is written meanwhile may wait: more than a ring's worth nobody has to take. */
	while (left-- && !is_empty(c)) {
		uint32_t first = c->ring->first % c->size;
		const struct kvm_coalesced_mmio *e = &c->ring->coalesced_mmio[first];

		bus_write_posted(c->bus, e->phys_addr, e->data, e->len);
		__atomic_store_n(&c->ring->first, (first + 1) % c->size, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&c->lock);
}
