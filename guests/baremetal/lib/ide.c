/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/ide.h"

#define CLASS_IDE 0x0101
#define TIMING_DECODE 0x8000 /* of a channel, at 0x40 and 0x42 of the function */

#define WAIT_ROUNDS 3

unsigned ide_find(void)
{
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		if (pci_read(devfn, 0, 2) == 0xffff || pci_read(devfn, 10, 2) != CLASS_IDE)
			continue;
		pci_write(devfn, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
		for (unsigned reg = 0x40; reg <= 0x42; reg += 2)
			pci_write(devfn, reg, 2, pci_read(devfn, reg, 2) | TIMING_DECODE);
		return devfn;
	}
	return PCI_NONE;
}

struct ide ide_place(unsigned devfn, unsigned n)
{
	bool second = n & 2;

	return (struct ide){
		.port = second ? 0x170 : 0x1f0,
		.control = second ? 0x376 : 0x3f6,
		.bm = (uint16_t)(pci_bar(devfn, 4) + (second ? 8 : 0)),
		.irq = second ? 15 : 14,
		.device = n & 1 ? IDE_SLAVE : 0,
	};
}

uint8_t ide_read(const struct ide *d, unsigned reg)
{
	return inb((uint16_t)(d->port + reg));
}

void ide_write(const struct ide *d, unsigned reg, uint8_t v)
{
	outb((uint16_t)(d->port + reg), v);
}

uint8_t ide_alternate(const struct ide *d)
{
	return inb(d->control);
}

void ide_control(const struct ide *d, uint8_t v)
{
	outb(d->control, v);
}

void ide_select(const struct ide *d, uint8_t bits)
{
	ide_write(d, IDE_DEVICE, 0xa0 | d->device | bits);
	for (unsigned i = 0; i < 4; i++) /* 400 ns on hardware */
		(void)ide_alternate(d);
}

/* Whether a wait that began at start has gone on for some three seconds. */
static bool expired(uint32_t start)
{
	return ((pm_timer() - start) & 0xffffff) > 3 * PLATFORM_PM_TIMER_HZ;
}

bool ide_until(const struct ide *d, uint8_t mask, uint8_t value)
{
	for (unsigned i = 0; i < WAIT_ROUNDS; i++)
		for (uint32_t start = pm_timer(); !expired(start);)
			if ((ide_alternate(d) & mask) == value)
				return true;
	return false;
}

bool ide_ok(int status)
{
	return status >= 0 && (status & (IDE_ERR | IDE_DF | IDE_DRQ | IDE_DRDY)) == IDE_DRDY;
}

int ide_wait(const struct ide *d)
{
	return ide_until(d, IDE_BSY, 0) ? ide_read(d, IDE_STATUS) : -1;
}

/* As the registers have it: sector number, cylinder low and high, head. */
uint64_t ide_chs(unsigned cylinder, unsigned head, unsigned sector)
{
	return sector | (uint64_t)cylinder << 8 | (uint64_t)head << 24;
}

uint64_t ide_address(const struct ide *d)
{
	uint64_t v = 0;

	ide_control(d, IDE_HOB);
	for (unsigned reg = IDE_LBA_HIGH; reg >= IDE_LBA_LOW; reg--)
		v = v << 8 | ide_read(d, reg);
	ide_control(d, 0);
	for (unsigned reg = IDE_LBA_HIGH; reg >= IDE_LBA_LOW; reg--)
		v = v << 8 | ide_read(d, reg);
	return v;
}

static bool is_ext(uint8_t command)
{
	switch (command) {
	case IDE_CMD_READ_EXT:
	case IDE_CMD_READ_DMA_EXT:
	case IDE_CMD_READ_MULTIPLE_EXT:
	case IDE_CMD_WRITE_EXT:
	case IDE_CMD_WRITE_DMA_EXT:
	case IDE_CMD_WRITE_MULTIPLE_EXT:
	case IDE_CMD_VERIFY_EXT:
	case IDE_CMD_FLUSH_EXT:
	case IDE_CMD_DATA_SET_MANAGEMENT:
		return true;
	default:
		return false;
	}
}

void ide_issue(const struct ide *d, const struct ide_regs *r)
{
	bool ext = is_ext(r->command);

	ide_select(d, (uint8_t)((r->chs ? 0 : IDE_LBA) | (ext ? 0 : r->lba >> 24 & 0xf)));
	if (ext) {
		ide_write(d, IDE_COUNT, (uint8_t)(r->count >> 8));
		ide_write(d, IDE_LBA_LOW, (uint8_t)(r->lba >> 24));
		ide_write(d, IDE_LBA_MID, (uint8_t)(r->lba >> 32));
		ide_write(d, IDE_LBA_HIGH, (uint8_t)(r->lba >> 40));
	}
	ide_write(d, IDE_FEATURES, r->features);
	ide_write(d, IDE_COUNT, (uint8_t)r->count);
	ide_write(d, IDE_LBA_LOW, (uint8_t)r->lba);
	ide_write(d, IDE_LBA_MID, (uint8_t)(r->lba >> 8));
	ide_write(d, IDE_LBA_HIGH, (uint8_t)(r->lba >> 16));
	ide_write(d, IDE_COMMAND, r->command);
}

int ide_command(const struct ide *d, const struct ide_regs *r)
{
	ide_issue(d, r);
	return ide_wait(d);
}

static void data_in(const struct ide *d, void *buf, uint32_t len, unsigned width)
{
	if (width == 4)
		rep_insl(d->port, buf, len / 4);
	else
		rep_insw(d->port, buf, len / 2);
}

static void data_out(const struct ide *d, const void *buf, uint32_t len, unsigned width)
{
	if (width == 4)
		rep_outsl(d->port, buf, len / 4);
	else
		rep_outsw(d->port, buf, len / 2);
}

static bool wants_data(int status)
{
	return status >= 0 && (status & (IDE_ERR | IDE_DF | IDE_DRQ)) == IDE_DRQ;
}

int ide_pio_in(const struct ide *d, const struct ide_regs *r, void *buf, uint32_t len,
	       uint32_t block, unsigned width)
{
	int status = ide_command(d, r);
	uint8_t *p = buf;

	while (len && wants_data(status)) {
		uint32_t n = len < block ? len : block;

		data_in(d, p, n, width);
		p += n;
		len -= n;
		status = ide_wait(d);
	}
	return status;
}

int ide_pio_out(const struct ide *d, const struct ide_regs *r, const void *buf, uint32_t len,
		uint32_t block, unsigned width)
{
	int status = ide_command(d, r);
	const uint8_t *p = buf;

	while (len && wants_data(status)) {
		uint32_t n = len < block ? len : block;

		data_out(d, p, n, width);
		p += n;
		len -= n;
		status = ide_wait(d);
	}
	return status;
}

void ide_dma_prepare(const struct ide *d, const struct ide_prd *table, bool to_memory)
{
	outb(d->bm + IDE_BM_COMMAND, to_memory ? IDE_BM_TO_MEMORY : 0);
	outl(d->bm + IDE_BM_TABLE, (uint32_t)(uintptr_t)table);
	outb(d->bm + IDE_BM_STATUS, IDE_BM_ERROR | IDE_BM_INTERRUPT);
}

void ide_dma_start(const struct ide *d)
{
	outb(d->bm + IDE_BM_COMMAND, inb(d->bm + IDE_BM_COMMAND) | IDE_BM_START);
}

uint8_t ide_dma_stop(const struct ide *d)
{
	uint8_t status = inb(d->bm + IDE_BM_STATUS);

	outb(d->bm + IDE_BM_COMMAND, inb(d->bm + IDE_BM_COMMAND) & ~IDE_BM_START);
	return status;
}

unsigned ide_dma_wait(const struct ide *d)
{
	for (uint32_t start = pm_timer(); !expired(start);) {
		uint8_t status = inb(d->bm + IDE_BM_STATUS) & IDE_BM_MASK;

		if (!(status & IDE_BM_ACTIVE) || status & IDE_BM_INTERRUPT)
			return status;
	}
	return ~0u;
}

/* The bus master may have stopped though the drive still waits: then it does until a reset. */
static int dma_end(const struct ide *d)
{
	unsigned master;

	ide_dma_start(d);
	for (unsigned i = 0; i < WAIT_ROUNDS; i++)
		if ((master = ide_dma_wait(d)) != ~0u)
			break;
	(void)ide_dma_stop(d);
	if (ide_alternate(d) & (IDE_BSY | IDE_DRQ))
		return -1;
	return ide_wait(d) | (int)master << 8;
}

int ide_dma_by(const struct ide *d, const struct ide_regs *r, const struct ide_prd *table,
	       bool to_memory)
{
	ide_dma_prepare(d, table, to_memory);
	ide_issue(d, r);
	return dma_end(d);
}

int ide_dma(const struct ide *d, const struct ide_regs *r, void *buf, uint32_t len, bool to_memory)
{
	static struct ide_prd table[64] __attribute__((aligned(4096)));
	uint32_t at = (uint32_t)(uintptr_t)buf;
	unsigned n = 0;

	for (; len && n < ARRAY_SIZE(table); n++) {
		uint32_t part = 0x10000 - (at & 0xffff); /* a region must not cross 64 KiB */

		part = part < len ? part : len;
		table[n] = (struct ide_prd){ at, (uint16_t)part, 0 };
		at += part;
		len -= part;
	}
	if (!n || len)
		return -1;
	table[n - 1].end = IDE_PRD_END;
	return ide_dma_by(d, r, table, to_memory);
}

bool ide_reset(const struct ide *d)
{
	ide_control(d, IDE_SRST);
	delay_us(10);
	ide_control(d, 0);
	delay_us(2000);
	return ide_until(d, IDE_BSY, 0);
}

/* Until the drive wants the packet, which it then gets. */
static int packet_out(const struct ide *d, const uint8_t packet[12], uint8_t features,
		      uint16_t limit)
{
	const struct ide_regs r = { .command = IDE_CMD_PACKET,
				    .features = features,
				    .lba = (uint64_t)limit << 8 };
	int status = ide_command(d, &r);

	if (!wants_data(status))
		return -1;
	data_out(d, packet, 12, 2);
	return 0;
}

int ide_packet(const struct ide *d, const uint8_t packet[12], void *buf, uint32_t len,
	       uint16_t limit, struct ide_got *got)
{
	uint8_t *p = buf;
	int status;

	*got = (struct ide_got){ 0, 0 };
	if (packet_out(d, packet, 0, limit))
		return -1;
	for (status = ide_wait(d); wants_data(status); status = ide_wait(d)) {
		uint32_t n = ide_read(d, IDE_LBA_MID) | (uint32_t)ide_read(d, IDE_LBA_HIGH) << 8;

		if (!n || n + (n & 1) > len - got->len)
			return -1;
		data_in(d, p + got->len, n + (n & 1), 2); /* an odd byte comes in a word */
		got->len += n;
		got->blocks++;
	}
	return status;
}

int ide_packet_dma(const struct ide *d, const uint8_t packet[12], const struct ide_prd *table)
{
	ide_dma_prepare(d, table, true);
	if (packet_out(d, packet, 1, 0))
		return -1;
	return dma_end(d);
}
