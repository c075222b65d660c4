/* SPDX-License-Identifier: MIT */
/* Where a machine has its virtio devices. The main thread's. */
#ifndef VMM_VIRTIO_WIRE_H
#define VMM_VIRTIO_WIRE_H

#include "devices/virtio/virtio_any.h"
#include "vmm/machine.h"

/* The place of one more, where it is on PCI in that slot; each is asked for once. */
struct virtio_place virtio_wire(struct machine *m, const struct virtio_options *o, int slot);

#endif
