/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/ide/ata.h"

static void channel_reset(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);

	ide_io_drain(ch);
	ide_power_on(ch);
}

static void channel_pre_save(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);

	ide_io_drain(ch);
	ide_io_continue(ch);
}

static void channel_destroy(struct device *dev)
{
	struct ide_channel *ch = to_channel(dev);

	if (ch->has_ports) {
		(void)bus_remove(ch->bus, BUS_PIO, ch->port);
		(void)bus_remove(ch->bus, BUS_PIO, ch->control_port);
	}
	ide_channel_pause(dev);
	for (unsigned unit = 0; unit < IDE_NR_DRIVES; unit++)
		block_close_queue(ch->drives[unit].queue);
	ide_io_destroy(ch);
	free(ch);
}

static const struct device_ops channel_ops = {
	.type = "ide-channel",
	.reset = channel_reset,
	.destroy = channel_destroy,
	.state = &ide_channel_state_desc,
	.state_offset = offsetof(struct ide_channel, s),
	.pre_save = channel_pre_save,
	.post_load = ide_post_load,
};

void ide_channel_set_decoded(struct device *dev, bool on)
{
	to_channel(dev)->decoded = on;
}

void ide_channel_set_master(struct device *dev, bool on)
{
	struct ide_channel *ch = to_channel(dev);

	device_lock(dev);
	ch->master = on;
	ide_dma_poll(ch);
	device_unlock(dev);
}

static int add_drive(struct ide_channel *ch, unsigned unit, const struct ide_drive_config *cfg)
{
	struct ide_drive *drive = &ch->drives[unit];
	struct block_queue_config qc = { .loop = ch->loop, .depth = 1 };

	drive->present = cfg->cdrom || cfg->block;
	drive->cdrom = cfg->cdrom;
	drive->block = cfg->block;
	drive->stages = cfg->stages;
	if (!drive->block)
		return 0;
	if (!drive->cdrom)
		drive->sectors = drive->block->size / BLOCK_SECTOR;
	if (!drive->cdrom && !drive->sectors)
		return -EINVAL;
	return block_open_queue(drive->block, &qc, &drive->queue);
}

/* The one that the user gave, or what tells it from the machine's others. */
static void set_serial(struct ide_channel *ch, unsigned unit)
{
	struct ide_drive *drive = &ch->drives[unit];

	if (drive->block && drive->block->serial[0])
		snprintf(drive->serial, sizeof(drive->serial), "%s", drive->block->serial);
	else
		snprintf(drive->serial, sizeof(drive->serial), "%.16s-%u", ch->dev.name, unit);
}

static int add_ports(struct ide_channel *ch)
{
	int ret;

	if (!ch->drives[0].present && !ch->drives[1].present)
		return 0;
	ret = bus_add(ch->bus, BUS_PIO, ch->port, ATA_NR_REGS, &ch->dev, &ide_command_bus_ops);
	if (ret)
		return ret;
	ret = bus_add(ch->bus, BUS_PIO, ch->control_port, 1, &ch->dev, &ide_control_bus_ops);
	if (ret)
		(void)bus_remove(ch->bus, BUS_PIO, ch->port);
	ch->has_ports = !ret;
	return ret;
}

int ide_channel_create(const struct ide_channel_config *cfg, struct device **out)
{
	struct ide_channel *ch = calloc(1, sizeof(*ch));
	int ret;

	if (!ch)
		return -ENOMEM;
	device_init(&ch->dev, &channel_ops, cfg->name);
	ch->bus = cfg->bus;
	ch->mem = cfg->mem;
	ch->irq = cfg->irq;
	ch->port = cfg->port;
	ch->control_port = cfg->control_port;
	ch->udma = cfg->udma;
	ret = ide_io_init(ch, cfg->loop);
	for (unsigned unit = 0; unit < IDE_NR_DRIVES && !ret; unit++) {
		ret = add_drive(ch, unit, &cfg->drives[unit]);
		set_serial(ch, unit);
	}
	if (!ret)
		ret = add_ports(ch);
	if (ret) {
		channel_destroy(&ch->dev);
		return ret;
	}
	ide_power_on(ch);
	*out = &ch->dev;
	return 0;
}
