/* SPDX-License-Identifier: MIT */
/* A machine's disks: their images opened, their controllers wired. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "devices/ide/ide.h"
#include "devices/virtio/virtio_blk.h"
#include "vmm/disks.h"
#include "vmm/virtio_wire.h"

#define DEFAULT_QUEUES 4 /* where nobody asks for more; a thread has to look at each */

int disks_open(struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < m->cfg->nr_disks; i++) {
		const struct disk_config *d = &m->cfg->disks[i];
		struct block_config bc = {
			.path = d->path,
			.engine = d->engine,
			.cache = d->cache,
			.sqpoll = d->sqpoll,
			.format = d->format,
			.backing = d->backing,
			.readonly = d->readonly,
			.serial = d->serial,
		};
		struct err why;
		int ret = block_open(&bc, &m->blocks[i], &why);

		if (ret)
			return err_set(err, ret, "%s %s", d->cdrom ? "--cdrom" : "--disk",
				       why.text);
		ret = disks_stack(m, i);
		if (ret)
			return err_set(err, ret, "disk%u: %s", i, strerror(-ret));
	}
	return 0;
}

/* How many queues a virtio disk has. */
static int count_queues(const struct machine *m, unsigned i, unsigned *out, struct err *err)
{
	const struct disk_config *d = &m->cfg->disks[i];
	unsigned max = m->blocks[i]->limits.max_queues;

	*out = d->queues ? d->queues : (unsigned)min_u64(m->cfg->nr_cpus, DEFAULT_QUEUES);
	if (!max || *out <= max)
		return 0;
	if (d->queues)
		return err_set(err, -EINVAL, "--disk %s: queues=%u: it can have at most %u",
			       d->path, d->queues, max);
	*out = max;
	return 0;
}

static int add_virtio_disk(struct machine *m, unsigned i, unsigned number, struct err *err)
{
	const struct disk_config *d = &m->cfg->disks[i];
	char name[24];
	struct virtio_blk_config cfg = {
		.name = name,
		.at = virtio_wire(m, &d->virtio, MACHINE_DISK_SLOT(i)),
		.block = m->blocks[i],
	};
	int ret = count_queues(m, i, &cfg.queues, err);

	if (ret)
		return ret;
	cfg.at.threads = (unsigned)min_u64(d->virtio.threads ? d->virtio.threads : 1, cfg.queues);
	for (unsigned k = cfg.at.threads; k-- > 0;) {
		snprintf(name, sizeof(name), k ? "virtio-blk%u/%u" : "virtio-blk%u", number, k);
		cfg.stages[k] = observe_disk(&m->observe, name);
		if (!cfg.stages[k])
			return err_set(err, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	}
	ret = virtio_blk_create(&cfg, &m->disks[i]);
	if (!ret)
		observe_doorbells(&m->observe, virtio_of(m->disks[i]));
	return machine_add(m, ret, &m->disks[i], name, err);
}

/* The drives of an IDE channel, from those of the disks that are its. */
static int fill_channel(struct machine *m, unsigned channel, struct ide_channel_config *cfg,
			struct err *err)
{
	for (unsigned i = 0; i < m->cfg->nr_disks; i++) {
		const struct disk_config *d = &m->cfg->disks[i];
		struct ide_drive_config *drive = &cfg->drives[d->ide % IDE_NR_DRIVES];
		char name[24];

		if (d->interface != DISK_IDE || d->ide / IDE_NR_DRIVES != channel)
			continue;
		snprintf(name, sizeof(name), "ide%u-%s", channel,
			 d->ide % IDE_NR_DRIVES ? "slave" : "master");
		drive->cdrom = d->cdrom;
		drive->block = m->blocks[i];
		drive->stages = observe_disk(&m->observe, name);
		if (!drive->stages)
			return err_set(err, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	}
	return 0;
}

/* Both channels and the function over them, where there is a drive at all. */
static int add_ide(struct machine *m, struct err *err)
{
	static const struct {
		const char *name;
		uint16_t port, control_port;
		unsigned irq;
	} channels[IDE_NR_CHANNELS] = {
		{ "ide0", PLATFORM_PORT_IDE0, PLATFORM_PORT_IDE0_CONTROL, PLATFORM_IRQ_IDE0 },
		{ "ide1", PLATFORM_PORT_IDE1, PLATFORM_PORT_IDE1_CONTROL, PLATFORM_IRQ_IDE1 },
	};
	struct piix_ide_config piix = {
		.name = "piix-ide",
		.pci = m->pci,
		.devfn = PLATFORM_PCI_IDE,
		.udma = true,
	};
	struct device *dev = NULL;
	bool any = false;
	int ret;

	for (unsigned i = 0; i < m->cfg->nr_disks; i++)
		any |= m->cfg->disks[i].interface == DISK_IDE;
	if (!any)
		return 0;
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		struct ide_channel_config cfg = {
			.name = channels[i].name,
			.bus = &m->bus,
			.mem = &m->mem,
			.port = channels[i].port,
			.control_port = channels[i].control_port,
			.irq = kvm_irq(&m->kvm, channels[i].irq),
			.udma = piix.udma,
		};

		ret = fill_channel(m, i, &cfg, err);
		if (ret)
			return ret;
		ret = machine_add(m, ide_channel_create(&cfg, &m->ide[i]), &m->ide[i], cfg.name,
				  err);
		if (ret)
			return ret;
		piix.channels[i] = m->ide[i];
	}
	return machine_add(m, piix_ide_create(&piix, &dev), &dev, piix.name, err);
}

int disks_wire(struct machine *m, struct err *err)
{
	unsigned number = 0;
	int ret = add_ide(m, err);

	for (unsigned i = 0; i < m->cfg->nr_disks && !ret; i++)
		if (m->cfg->disks[i].interface == DISK_VIRTIO)
			ret = add_virtio_disk(m, i, number++, err);
	return ret;
}
