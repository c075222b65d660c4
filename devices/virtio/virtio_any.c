/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_any.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_QUEUE_SIZE 256

static struct virtio_any *to_any(struct device *dev)
{
	return container_of(dev, struct virtio_any, vdev.dev);
}

uint16_t virtio_place_queue_size(const struct virtio_place *at)
{
	uint16_t size = at->queue_size ? at->queue_size : DEFAULT_QUEUE_SIZE;

	return is_pow2(size) && size >= 4 && size <= VIRTQ_MAX_SIZE ? size : 0;
}

static int start_threads(struct virtio_any *any, unsigned nr)
{
	any->threads = calloc(nr, sizeof(*any->threads));
	if (!any->threads)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		char name[32];
		int ret;

		snprintf(name, sizeof(name), i ? "%s/%u" : "%s", any->vdev.dev.name, i);
		ret = iothread_start(&any->threads[i], name);
		if (ret)
			return ret;
		any->nr_threads++;
		loop_set_polling(&any->threads[i].loop, any->at.poll_ns);
	}
	return 0;
}

int virtio_any_prepare(struct virtio_any *any, const struct virtio_kind *kind,
		       const struct virtio_place *at, const char *name, unsigned nr)
{
	any->kind = kind;
	any->at = *at;
	device_init(&any->vdev.dev, at->pci ? kind->pci_ops : kind->mmio_ops, name);
	if (at->loop)
		return 0;
	return start_threads(any, at->threads ? (unsigned)min_u64(at->threads, nr) : nr);
}

struct loop *virtio_any_loop(struct virtio_any *any, unsigned i)
{
	return any->at.loop ? any->at.loop : &any->threads[i % any->nr_threads].loop;
}

int virtio_any_plug(struct virtio_any *any, union virtio_any_state *s, uint64_t features,
		    struct loop *const *loops, unsigned nr_queues)
{
	const struct virtio_place *at = &any->at;
	const struct virtio_kind *kind = any->kind;
	const struct virtio_config virtio = {
		.ops = kind->ops,
		.mem = at->mem,
		.loops = loops,
		.features = features,
		.config_len = kind->config_len,
		.queue_size = virtio_place_queue_size(at),
		.nr_queues = nr_queues,
		.packed = at->packed,
		.no_event_idx = at->no_event_idx,
	};
	const struct virtio_pci_config pci = {
		.host = at->pci,
		.devfn = at->devfn,
		.type = kind->type,
		.legacy_id = kind->legacy_id,
		.class = kind->class,
		.s = &s->vp,
		.mode = at->mode,
		.flr = at->flr,
		.no_ioeventfd = at->no_ioeventfd,
		.virtio = virtio,
	};
	const struct virtio_mmio_config mmio = {
		.bus = at->bus,
		.base = at->base,
		.irq = at->irq,
		.type = kind->type,
		.s = &s->vm,
		.no_ioeventfd = at->no_ioeventfd,
		.virtio = virtio,
	};

	return at->pci ? virtio_pci_init(&any->vp, &pci) : virtio_mmio_init(&any->vm, &mmio);
}

void virtio_any_unplug(struct virtio_any *any)
{
	if (any->at.pci)
		virtio_pci_destroy(&any->vp);
	else
		virtio_mmio_destroy(&any->vm);
	for (unsigned i = 0; i < any->nr_threads; i++)
		iothread_join(&any->threads[i]);
}

void virtio_any_destroy(struct virtio_any *any)
{
	for (unsigned i = 0; i < any->nr_threads; i++)
		iothread_stop(&any->threads[i]);
	free(any->threads);
}

void virtio_any_reset(struct device *dev)
{
	if (to_any(dev)->at.pci)
		virtio_pci_reset(dev);
	else
		virtio_mmio_reset(dev);
}

void virtio_any_pre_save(struct device *dev)
{
	if (to_any(dev)->at.pci)
		virtio_pci_pre_save(dev);
	else
		virtio_mmio_pre_save(dev);
}

int virtio_any_post_load(struct device *dev)
{
	return to_any(dev)->at.pci ? virtio_pci_post_load(dev) : virtio_mmio_post_load(dev);
}
