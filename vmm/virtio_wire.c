/* SPDX-License-Identifier: MIT */
#include "vmm/virtio_wire.h"

#include "base/platform.h"

struct virtio_place virtio_wire(struct machine *m, const struct virtio_options *o, int slot)
{
	static const enum virtio_pci_mode modes[] = {
		[VIRTIO_TRANSITIONAL] = VIRTIO_PCI_TRANSITIONAL,
		[VIRTIO_MODERN] = VIRTIO_PCI_MODERN,
		[VIRTIO_LEGACY] = VIRTIO_PCI_LEGACY,
	};
	struct virtio_place at = {
		.mem = &m->mem,
		.devfn = slot << 3,
		.mode = modes[o->kinship],
		.flr = o->flr,
		.no_ioeventfd = o->no_ioeventfd,
		.packed = o->packed,
		.no_event_idx = o->no_event_idx,
		.threads = o->threads,
		.poll_ns = o->poll_ns,
	};

	if (o->bus == VIRTIO_ON_PCI) {
		at.pci = m->pci;
		return at;
	}
	at.bus = &m->bus;
	at.base = PLATFORM_VIRTIO_MMIO_BASE + m->nr_mmio * PLATFORM_VIRTIO_MMIO_SIZE;
	at.irq = kvm_irq(&m->kvm, PLATFORM_IRQ_VIRTIO_MMIO + m->nr_mmio);
	m->nr_mmio++;
	return at;
}
