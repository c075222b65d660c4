/* SPDX-License-Identifier: MIT */
/*
 * The PCI function above the channels. It decodes a PC's own ports (compatibility mode), so
 * it has no interrupt pin, and one BAR: the bus masters of both channels.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/ide/ata.h"

#define PIIX3_IDE 0x7010
#define PIIX4_IDE 0x7111
#define CLASS_IDE_BUS_MASTER 0x010180
#define BAR_BUS_MASTERS 4

#define IDETIM(channel) (0x40u + 2 * (channel))
#define IDETIM_DECODE 0x8000

/*
 * The function's own registers (82371SB, 82371AB): timings, which drivers program and nothing
 * depends on, but for the bit that turns a channel's decoding on. It is on at power-on, unlike
 * the chip's: where a kernel is booted directly no firmware does it.
 */
static const struct {
	uint8_t offset, width;
	uint16_t initial, wmask;
	bool udma; /* PIIX4 only */
} regs[] = {
	{ IDETIM(0), 2, IDETIM_DECODE, 0xf3ff, false },
	{ IDETIM(1), 2, IDETIM_DECODE, 0xf3ff, false },
	{ 0x44, 1, 0, 0xff, false }, /* SIDETIM */
	{ 0x48, 1, 0, 0x0f, true }, /* UDMACTL */
	{ 0x4a, 2, 0, 0x3333, true }, /* UDMATIM */
};

struct piix_ide_state {
	struct pci_state pci;
};

struct piix_ide {
	struct device dev;
	struct pci_dev pci;
	struct device *channels[IDE_NR_CHANNELS];
	struct piix_ide_state s;
};

static struct piix_ide *to_piix(struct device *dev)
{
	return container_of(dev, struct piix_ide, dev);
}

/* Tells the channels what the configuration space says now. */
static void update(struct piix_ide *p)
{
	const uint8_t *config = p->s.pci.config;
	bool io = load_le(config + PCI_COMMAND, 2) & PCI_COMMAND_IO;

	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		uint16_t timing = (uint16_t)load_le(config + IDETIM(i), 2);

		ide_channel_set_decoded(p->channels[i], io && (timing & IDETIM_DECODE));
		ide_channel_set_master(p->channels[i], pci_bus_master(&p->pci));
	}
}

static void config_written(struct pci_dev *pd, unsigned offset, unsigned width)
{
	(void)offset;
	(void)width;
	update(container_of(pd, struct piix_ide, pci));
}

static const struct pci_dev_ops pci_ops = {
	.config_written = config_written,
};

static void piix_reset(struct device *dev)
{
	pci_dev_reset(&to_piix(dev)->pci);
	update(to_piix(dev));
}

static void piix_destroy(struct device *dev)
{
	pci_dev_destroy(&to_piix(dev)->pci);
	free(to_piix(dev));
}

static int piix_post_load(struct device *dev)
{
	int ret = pci_dev_post_load(&to_piix(dev)->pci);

	if (!ret)
		update(to_piix(dev));
	return ret;
}

static const struct state_field piix_fields[] = {
	PCI_STATE_FIELDS(struct piix_ide_state, pci),
};

static const struct state_desc piix_state = {
	.version = 1,
	.fields = piix_fields,
	.nr_fields = ARRAY_SIZE(piix_fields),
};

static const struct device_ops piix_ops = {
	.type = "piix-ide",
	.reset = piix_reset,
	.destroy = piix_destroy,
	.state = &piix_state,
	.state_offset = offsetof(struct piix_ide, s),
	.post_load = piix_post_load,
};

int piix_ide_create(const struct piix_ide_config *cfg, struct device **out)
{
	const struct pci_ids ids = {
		.vendor = 0x8086,
		.device = cfg->udma ? PIIX4_IDE : PIIX3_IDE,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class = CLASS_IDE_BUS_MASTER,
	};
	struct piix_ide *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	device_init(&p->dev, &piix_ops, cfg->name);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++)
		p->channels[i] = cfg->channels[i];
	pci_dev_init(&p->pci, cfg->pci, &p->dev, &p->s.pci, &pci_ops, &ids);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		if (cfg->udma || !regs[i].udma)
			pci_set_reg(&p->pci, regs[i].offset, regs[i].width, regs[i].initial,
				    regs[i].wmask);
	pci_add_bar(&p->pci, BAR_BUS_MASTERS, PCI_BAR_IO, IDE_NR_CHANNELS * BM_NR_REGS,
		    &ide_bmdma_bus_ops);
	pci_bar_share(&p->pci, BAR_BUS_MASTERS, p->channels, IDE_NR_CHANNELS);
	ret = pci_dev_attach(&p->pci, cfg->devfn);
	if (ret) {
		piix_destroy(&p->dev);
		return ret;
	}
	update(p);
	*out = &p->dev;
	return 0;
}
