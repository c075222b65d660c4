/* SPDX-License-Identifier: MIT */
/*
 * The PIIX's IDE controller (82371SB, 290550-002; 82371AB, 290562-001): two channels at the
 * ports and interrupts of a PC, each with a master and a slave, bus-master DMA, and the PCI
 * function 00:01.1 above them. The drives follow ATA/ATAPI-7 volume 1.
 *
 * Three devices, so that each channel has a lock, a state and a name of its own ("ide0",
 * "ide1": reports read ide0.status): the board creates both channels, then the function over
 * them, and destroys them in the other order.
 *
 * Threads: registers are handled by vCPUs under the channel's lock, which nobody holds while
 * the host does I/O. Commands that need the host are done on an I/O thread of the channel's
 * own: a channel has one command at a time, so it needs no more, and a slow disk on one does
 * not hold up the other. The guest sees BSY meanwhile; a reset with I/O in flight leaves it
 * set until the host is done with the guest's memory.
 *
 * Locks, outermost first: PCI host, IDE function, channel.
 */
#ifndef DEVICES_IDE_H
#define DEVICES_IDE_H

#include "backends/block/block.h"
#include "backends/block/stages.h"
#include "base/bus.h"
#include "base/device.h"
#include "base/irq.h"
#include "base/loop.h"
#include "base/mem.h"
#include "devices/pci/pci_host.h"

#define IDE_NR_CHANNELS 2
#define IDE_NR_DRIVES 2 /* of a channel */

struct ide_drive_config {
	bool cdrom; /* an ATAPI drive; without a block, one without a disc */
	/* The image, the board's, which outlives the channel; NULL and no cdrom: nothing there. */
	struct block *block;
	/* Where its requests' time is accounted, NULL: nowhere. The board's, outlives the channel. */
	struct block_stages *stages;
};

struct ide_channel_config {
	const char *name; /* "ide0" */
	struct bus *bus;
	struct mem *mem;
	uint16_t port; /* of 8 */
	uint16_t control_port; /* of 1 */
	struct irq irq;
	struct ide_drive_config drives[IDE_NR_DRIVES];
	bool udma; /* the drives do Ultra DMA; as in piix_ide_config */
	/* NULL: a thread of the channel's own. Else its thread runs while the channel lives. */
	struct loop *loop;
};

/*
 * A channel without drives claims no ports, which then float. 0 or -errno. What a guest
 * finds before a piix_ide over it has turned its decoding on is nothing.
 */
int ide_channel_create(const struct ide_channel_config *cfg, struct device **out) __must_check;

/*
 * Lets what is in flight finish, with the state complete when it returns, and starts nothing
 * new; and goes on. For the board, every vCPU paused; they take the lock, and may not be
 * called on the channel's I/O thread. A reset, a save or a load in between is fine.
 */
void ide_channel_pause(struct device *dev);
void ide_channel_resume(struct device *dev);

struct piix_ide_config {
	const char *name; /* "piix-ide" */
	struct pci_host *pci;
	int devfn; /* PLATFORM_PCI_IDE */
	struct device *channels[IDE_NR_CHANNELS]; /* of ide_channel_create() */
	/*
	 * The PIIX3's function (8086:7010) ends at multiword DMA mode 2. With this it is the
	 * PIIX4's (8086:7111), which has the registers of Ultra DMA, up to mode 2, as well.
	 */
	bool udma;
};

/* 0 or -errno. */
int piix_ide_create(const struct piix_ide_config *cfg, struct device **out) __must_check;

#endif
