/* SPDX-License-Identifier: MIT */
#include "vmm/config_virtio.h"

#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "vmm/config_keys.h"

#define POLL_MAX_NS 1000000ull

const char *const config_virtio_buses[] = {
	[VIRTIO_ON_PCI] = "pci", [VIRTIO_ON_MMIO] = "mmio", NULL
};

const char *const config_virtio_kinships[] = { [VIRTIO_TRANSITIONAL] = "transitional",
					       [VIRTIO_MODERN] = "modern",
					       [VIRTIO_LEGACY] = "legacy",
					       NULL };

bool config_virtio_any(const struct virtio_options *o)
{
	return o->threads || o->poll || o->no_ioeventfd || o->bus || o->kinship || o->packed ||
	       o->no_event_idx || o->flr;
}

unsigned config_nr_mmio(const struct config *cfg)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cfg->nr_disks; i++)
		n += cfg->disks[i].virtio.bus == VIRTIO_ON_MMIO;
	for (unsigned i = 0; i < cfg->nr_nets; i++)
		n += cfg->nets[i].virtio.bus == VIRTIO_ON_MMIO;
	return n;
}

int config_virtio_check(const struct config *cfg, struct virtio_options *o, unsigned queues,
			const char *option, struct err *err)
{
	bool mmio = o->bus == VIRTIO_ON_MMIO;

	if (queues && o->threads > queues)
		return err_set(err, -EINVAL, "%s: threads=%u: there %s %u queue%s for them", option,
			       o->threads, queues == 1 ? "is" : "are", queues,
			       queues == 1 ? "" : "s");
	if (o->poll && !strcmp(o->poll, "off"))
		o->poll_ns = 0;
	else if (o->poll && strcmp(o->poll, "auto") &&
		 util_parse_uint(o->poll, 1, POLL_MAX_NS, &o->poll_ns))
		return err_set(err, -EINVAL,
			       "%s: poll=%s: must be auto, off, or 1 to %llu nanoseconds", option,
			       o->poll, POLL_MAX_NS);
	if (mmio && (o->kinship || o->flr))
		return err_set(err, -EINVAL, "%s: virtio and flr are keys of bus=pci", option);
	if (o->packed && o->kinship == VIRTIO_LEGACY)
		return err_set(err, -EINVAL,
			       "%s: packed=on: a device with virtio=legacy has split rings only",
			       option);
	if (mmio && config_nr_mmio(cfg) == PLATFORM_VIRTIO_MMIO_NR)
		return err_set(err, -EINVAL, "%s: bus=mmio: there is room for %d of them", option,
			       PLATFORM_VIRTIO_MMIO_NR);
	return 0;
}
