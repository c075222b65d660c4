/* SPDX-License-Identifier: MIT */
/*
 * The in-kernel interrupt controllers and the routes into them: GSIs 0 to 23 to
 * PIC and I/O APIC pins, GSIs from 24 on to MSI messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpu/kvm.h"

#define MSI_GSI(id) (PLATFORM_NR_GSI + (unsigned)(id))
#define MAX_ROUTES (16 + PLATFORM_NR_GSI + KVM_MSI_VECTORS)

static void route_pin(struct kvm_irq_routing *t, unsigned gsi, unsigned chip, unsigned pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static void route_pins(struct kvm_irq_routing *t)
{
	for (unsigned gsi = 0; gsi < 16; gsi++) {
		if (gsi == 2)
			continue; /* the cascade: no device drives it */
		route_pin(t, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			  gsi % 8);
	}
	for (unsigned gsi = 0; gsi < PLATFORM_NR_GSI; gsi++) {
		if (gsi == 2)
			continue;
		/* The PC wires the timer to pin 2; the MADT's override says the same. */
		route_pin(t, gsi, KVM_IRQCHIP_IOAPIC, gsi == PLATFORM_IRQ_PIT ? 2 : gsi);
	}
}

/* Hands the kernel the whole table. Called with msi_lock held, or before any vector. */
static int update_routes(struct kvm *kvm)
{
	struct kvm_irq_routing *t;
	int ret;

	t = calloc(1, sizeof(*t) + MAX_ROUTES * sizeof(t->entries[0]));
	if (!t)
		return -ENOMEM;
	route_pins(t);
	for (int i = 0; i < KVM_MSI_VECTORS; i++) {
		const struct kvm_msi_vector *v = &kvm->vec[i];

		if (!v->used || !v->routed)
			continue;
		t->entries[t->nr++] = (struct kvm_irq_routing_entry){
			.gsi = MSI_GSI(i),
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)v->addr,
				   .address_hi = (uint32_t)(v->addr >> 32),
				   .data = v->data },
		};
	}
	ret = ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, t) ? -errno : 0;
	free(t);
	return ret;
}

static struct kvm *to_kvm(struct msi_ctl *ctl)
{
	return container_of(ctl, struct kvm, msi);
}

static int bind_irqfd(struct kvm *kvm, int id, bool bind)
{
	struct kvm_msi_vector *v = &kvm->vec[id];
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)v->fd,
		.gsi = MSI_GSI(id),
		.flags = bind ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (v->bound == bind)
		return 0;
	if (ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd))
		return -errno;
	v->bound = bind;
	return 0;
}

static int kvm_msi_alloc(struct msi_ctl *ctl, int *fd)
{
	struct kvm *kvm = to_kvm(ctl);
	int id;

	pthread_mutex_lock(&kvm->msi_lock);
	for (id = 0; id < KVM_MSI_VECTORS && kvm->vec[id].used; id++)
		;
	if (id == KVM_MSI_VECTORS) {
		id = -ENOSPC;
	} else {
		struct kvm_msi_vector *v = &kvm->vec[id];

		memset(v, 0, sizeof(*v));
		v->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->fd < 0) {
			id = -errno;
		} else {
			v->used = true;
			*fd = v->fd;
		}
	}
	pthread_mutex_unlock(&kvm->msi_lock);
	return id;
}

static void kvm_msi_free(struct msi_ctl *ctl, int id)
{
	struct kvm *kvm = to_kvm(ctl);

	pthread_mutex_lock(&kvm->msi_lock);
	(void)bind_irqfd(kvm, id, false);
	close(kvm->vec[id].fd);
	memset(&kvm->vec[id], 0, sizeof(kvm->vec[id]));
	pthread_mutex_unlock(&kvm->msi_lock);
}

/*
 * Changing the kernel's table waits for a grace period, so a message that a guest
 * writes piece by piece behind the mask goes to the kernel once, when unmasked.
 */
static int kvm_msi_set(struct msi_ctl *ctl, int id, uint64_t addr, uint32_t data, bool masked)
{
	struct kvm *kvm = to_kvm(ctl);
	struct kvm_msi_vector *v = &kvm->vec[id];
	int ret = 0;

	pthread_mutex_lock(&kvm->msi_lock);
	if (v->addr != addr || v->data != data) {
		v->addr = addr;
		v->data = data;
		v->routed = false;
	}
	if (masked) {
		ret = bind_irqfd(kvm, id, false);
	} else {
		if (!v->routed) {
			v->routed = true;
			ret = update_routes(kvm);
			if (ret)
				v->routed = false; /* a message that no local APIC takes */
		}
		if (!ret)
			ret = bind_irqfd(kvm, id, true);
	}
	pthread_mutex_unlock(&kvm->msi_lock);
	return ret;
}

static const struct msi_ctl_ops kvm_msi_ops = {
	.alloc = kvm_msi_alloc,
	.free = kvm_msi_free,
	.set = kvm_msi_set,
};

int kvm_create_irqchip(struct kvm *kvm, bool pit)
{
	struct kvm_pit_config cfg = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int ret;

	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0))
		return -errno;
	if (pit) {
		if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &cfg) ||
		    ioctl(kvm->vm_fd, KVM_GET_PIT2, &kvm->pit))
			return -errno;
		kvm->has_pit = true;
	}
	kvm->msi.ops = &kvm_msi_ops;
	ret = update_routes(kvm);
	if (ret)
		return ret;
	for (unsigned i = 0; i < ARRAY_SIZE(kvm->chips); i++) {
		kvm->chips[i].chip_id = i;
		if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &kvm->chips[i]))
			return -errno;
	}
	/* As firmware leaves it: the SCI and the PCI interrupts are levels. */
	kvm->chips[KVM_IRQCHIP_PIC_SLAVE].chip.pic.elcr |=
		(1u << PLATFORM_IRQ_SCI | 1u << PLATFORM_IRQ_PCI_A | 1u << PLATFORM_IRQ_PCI_C) >> 8;
	return kvm_reset_irqchip(kvm);
}

int kvm_reset_irqchip(struct kvm *kvm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kvm->chips); i++)
		if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &kvm->chips[i]))
			return -errno;
	if (kvm->has_pit && ioctl(kvm->vm_fd, KVM_SET_PIT2, &kvm->pit))
		return -errno;
	return 0;
}
