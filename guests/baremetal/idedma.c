/* SPDX-License-Identifier: MIT */
/*
 * The IDE controller's bus master, its interrupts, and what goes wrong: tables of any kind,
 * resets in mid-transfer, commands to a busy drive and to none, both channels at a time.
 *
 * The command line and the disks are as in ide.c; disk 0 is the one that is tried, disk 1 and
 * disk 2 too where they are there. Without a disk on the second channel no CD is there either.
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/sector.h"

#define MAX_SECTORS 512
#define BYTES(n) ((n)*SECTOR_SIZE)
#define PAGE 4096
#define NR_PIECES 8
#define NOT_RAM 0xe0000000u

struct disk {
	struct ide ide;
	unsigned sectors, base; /* sectors 0: not there */
};

static uint8_t buf[BYTES(MAX_SECTORS)] __attribute__((aligned(0x10000)));
static uint8_t second[BYTES(MAX_SECTORS)] __attribute__((aligned(0x10000)));
static struct ide_prd table[0x10000 / sizeof(struct ide_prd)] __attribute__((aligned(0x10000)));

static uint32_t addr(const void *p)
{
	return (uint32_t)(uintptr_t)p;
}

static struct ide_regs regs(uint8_t command, unsigned lba, unsigned count)
{
	return (struct ide_regs){ .command = command, .lba = lba, .count = count };
}

/* A sector by PIO, which holds what it should. */
static bool works(const struct disk *k)
{
	struct ide_regs r = regs(IDE_CMD_READ, 55, 1);

	memset(buf, 0, SECTOR_SIZE);
	return ide_ok(ide_pio_in(&k->ide, &r, buf, SECTOR_SIZE, SECTOR_SIZE, 2)) &&
	       sector_holds(buf, k->base + 55, false);
}

static bool recovers(const struct disk *k)
{
	return ide_reset(&k->ide) && works(k);
}

/* --- good tables ---------------------------------------------------------------------- */

static void test_sizes(const struct disk *k)
{
	static const struct {
		uint8_t command;
		uint16_t lba, count;
	} reads[] = {
		{ IDE_CMD_READ_DMA, 20, 1 },     { IDE_CMD_READ_DMA, 21, 8 },
		{ IDE_CMD_READ_DMA, 200, 128 }, /* a region of 64 KiB */
		{ IDE_CMD_READ_DMA, 300, 256 },  { IDE_CMD_READ_DMA_EXT, 19, 1 },
		{ IDE_CMD_READ_DMA_EXT, 17, 3 }, { IDE_CMD_READ_DMA_EXT, 400, 512 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		struct ide_regs r = regs(reads[i].command, reads[i].lba, reads[i].count);
		int status;

		memset(buf, 0, sizeof(buf));
		status = ide_dma(&k->ide, &r, buf, BYTES(r.count), true);
		tap(ide_ok(status) && !sectors_wrong(buf, k->base + reads[i].lba, r.count, false),
		    "command %02x, %u sectors", r.command, r.count);
		tap_is((unsigned)status >> 8 & IDE_BM_MASK, IDE_BM_INTERRUPT,
		       "the bus master has an interrupt and is done");
	}
}

/* Regions of these sizes, eight sectors in all, at odd words. */
static const uint16_t pieces[NR_PIECES] = { 2, 510, 24, 1000, 512, 514, 1022, 512 };

static uint8_t *piece_at(unsigned i)
{
	return second + PAGE * i + 2 * i + 6;
}

static void scatter_table(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		table[i] = (struct ide_prd){ addr(piece_at(i)), pieces[i % NR_PIECES],
					     i + 1 < n ? 0 : IDE_PRD_END };
}

/* Between buf and the regions. */
static void scatter(unsigned n, bool gather)
{
	uint8_t *p = buf;

	for (unsigned i = 0; i < n; p += pieces[i++ % NR_PIECES])
		memcpy(gather ? p : piece_at(i), gather ? piece_at(i) : p, pieces[i % NR_PIECES]);
}

static void scattered_write(const struct disk *k, uint8_t command, unsigned lba, unsigned count)
{
	unsigned n = count / 8 * NR_PIECES;
	struct ide_regs r = regs(command, lba, count);
	int status;

	sectors_fill(buf, k->base + lba, count);
	scatter_table(n);
	scatter(n, false);
	status = ide_dma_by(&k->ide, &r, table, false);
	tap(ide_ok(status), "command %02x, %u sectors from %u regions", command, count, n);
	tap_is((unsigned)status >> 8 & IDE_BM_MASK, IDE_BM_INTERRUPT, "the bus master is done");
}

static void test_scattered(const struct disk *k)
{
	struct ide_regs r = regs(IDE_CMD_READ_DMA, 700, 8);

	memset(second, 0, sizeof(second));
	scatter_table(NR_PIECES);
	tap(ide_ok(ide_dma_by(&k->ide, &r, table, true)), "eight regions of odd sizes");
	scatter(NR_PIECES, true);
	tap_is(sectors_wrong(buf, k->base + 700, 8, false), 0, "they hold what they should");
	for (unsigned i = 0, bad = 0; i < NR_PIECES; i++) {
		bad += piece_at(i)[-1] || piece_at(i)[pieces[i]];
		if (i + 1 == NR_PIECES)
			tap_is(bad, 0, "and nothing is beside them");
	}
	scattered_write(k, IDE_CMD_WRITE_DMA, 8, 8);
	scattered_write(k, IDE_CMD_WRITE_DMA_EXT, 1000, 64);
	sector_fill(buf, k->base + 100, true);
	r = regs(IDE_CMD_WRITE_DMA_EXT, 100, 1);
	tap(ide_ok(ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false)), "one sector");
	r = regs(IDE_CMD_READ_DMA_EXT, 1000, 64);
	tap(ide_ok(ide_dma(&k->ide, &r, buf, BYTES(64), true)), "read again");
	tap_is(sectors_wrong(buf, k->base + 1000, 64, true), 0, "as it was written");
	r = regs(IDE_CMD_FLUSH, 0, 0);
	tap(ide_ok(ide_command(&k->ide, &r)), "FLUSH CACHE");
}

/* --- bad tables ----------------------------------------------------------------------- */

/* READ DMA of as many sectors by a table that may be wrong: the bus master's status. */
static unsigned attempt(const struct disk *k, const struct ide_prd *prds, unsigned count)
{
	struct ide_regs r = regs(IDE_CMD_READ_DMA, 500, count);
	unsigned status;

	memset(buf, 0x5a, BYTES(32));
	ide_dma_prepare(&k->ide, prds, true);
	ide_issue(&k->ide, &r);
	ide_dma_start(&k->ide);
	status = ide_dma_wait(&k->ide);
	(void)ide_dma_stop(&k->ide);
	return status;
}

static unsigned attempt_region(const struct disk *k, uint32_t at, uint16_t count)
{
	table[0] = (struct ide_prd){ at, count, IDE_PRD_END };
	return attempt(k, table, 8);
}

static uint32_t ram_end(void)
{
	const struct start_info *si = start_info();
	const struct start_memmap *map = (const struct start_memmap *)(uintptr_t)si->memmap;
	uint64_t end = 0;

	for (uint32_t i = 0; i < si->memmap_entries; i++)
		if (map[i].type == 1 && map[i].addr < NOT_RAM && map[i].addr + map[i].size > end)
			end = map[i].addr + map[i].size;
	return (uint32_t)end;
}

static void test_lengths(const struct disk *k)
{
	tap_is(attempt_region(k, addr(buf), BYTES(16)), IDE_BM_ACTIVE | IDE_BM_INTERRUPT,
	       "a table that is too long: an interrupt, and more to do");
	tap(ide_ok(ide_wait(&k->ide)), "the drive is done all the same");
	tap_is(sectors_wrong(buf, k->base + 500, 8, false), 0, "the data is there");
	tap(bytes_are(buf + BYTES(8), BYTES(8), 0x5a), "and no more than that");
	tap_is(attempt_region(k, addr(buf), 0), IDE_BM_ACTIVE | IDE_BM_INTERRUPT,
	       "a region of length 0 has 64 KiB");
	tap(ide_ok(ide_wait(&k->ide)) && !sectors_wrong(buf, k->base + 500, 8, false),
	    "the data is there");
	tap_is(attempt_region(k, addr(buf), BYTES(4)), 0, "a table that is too short");
	tap(recovers(k), "the disk works after a reset");
	tap_is(attempt_region(k, addr(buf), 2), 0, "a table of one word");
	tap(recovers(k), "the disk works after a reset");
	tap_is(attempt_region(k, addr(buf) + 1, BYTES(8)), IDE_BM_INTERRUPT,
	       "an odd address is the even one below");
	tap(ide_ok(ide_wait(&k->ide)) && !sectors_wrong(buf, k->base + 500, 8, false),
	    "the data is there");
	tap_is(attempt_region(k, addr(buf), BYTES(8) + 1), IDE_BM_INTERRUPT,
	       "an odd length is the even one below");
	tap(ide_ok(ide_wait(&k->ide)) && !sectors_wrong(buf, k->base + 500, 8, false),
	    "the data is there");
}

static void test_bad_tables(const struct disk *k)
{
	const struct {
		const char *name;
		uint32_t at;
	} regions[] = {
		{ "where nothing is", NOT_RAM },
		{ "across the end of RAM", ram_end() - SECTOR_SIZE },
		{ "at the local APIC", PLATFORM_LAPIC_BASE },
		{ "at the end of 32 bits", 0xfffffe00 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
		tap_is(attempt_region(k, regions[i].at, BYTES(8)) & IDE_BM_ERROR, IDE_BM_ERROR,
		       regions[i].name);
		tap(recovers(k), "the disk works after a reset");
	}
	tap_is(attempt(k, (const struct ide_prd *)(uintptr_t)NOT_RAM, 8) & IDE_BM_ERROR,
	       IDE_BM_ERROR, "a table where nothing is");
	tap(recovers(k), "the disk works after a reset");
	tap_is(attempt(k, (const struct ide_prd *)(uintptr_t)(ram_end() - 4), 8) & IDE_BM_ERROR,
	       IDE_BM_ERROR, "a table across the end of RAM");
	tap(recovers(k), "the disk works after a reset");
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (struct ide_prd){ addr(buf), 2, 0 };
	tap(attempt(k, table, 256) != ~0u, "a table without an end, of single words, ends");
	tap(recovers(k), "the disk works after a reset");
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (struct ide_prd){ addr(buf), 0, 0 };
	tap(attempt(k, table, 8) & IDE_BM_INTERRUPT, "one without an end, of 64 KiB each");
	tap(recovers(k), "the disk works after a reset");
	table[0] = (struct ide_prd){ addr(buf) + 0xfe00, BYTES(8), IDE_PRD_END };
	tap(attempt(k, table, 8) != ~0u, "a region across 64 KiB");
	tap(recovers(k), "the disk works after a reset");
}

static void test_stopped(const struct disk *k)
{
	struct ide_regs r = regs(IDE_CMD_READ_DMA_EXT, 0, MAX_SECTORS);

	scatter_table(64);
	table[63].end = 0;
	ide_dma_prepare(&k->ide, table, true);
	ide_issue(&k->ide, &r);
	ide_dma_start(&k->ide);
	(void)ide_dma_stop(&k->ide);
	tap(recovers(k), "stopped in mid-transfer: the disk works after a reset");
}

/* --- resets --------------------------------------------------------------------------- */

static bool signature(const struct ide *d)
{
	ide_select(d, 0);
	return ide_read(d, IDE_ERROR) == 1 && ide_read(d, IDE_COUNT) == 1 &&
	       ide_read(d, IDE_LBA_LOW) == 1 && !ide_read(d, IDE_LBA_MID) &&
	       !ide_read(d, IDE_LBA_HIGH) && !(ide_read(d, IDE_STATUS) & (IDE_BSY | IDE_DRQ));
}

/* Nothing reaches memory once the reset is over. */
static bool quiet(void)
{
	memset(buf, 0x5a, sizeof(buf));
	delay_us(5000);
	return bytes_are(buf, sizeof(buf), 0x5a);
}

static void reset_in_flight(const struct disk *k, uint8_t command, unsigned count, unsigned delay,
			    uint8_t select)
{
	bool write = command == IDE_CMD_WRITE_DMA_EXT;
	struct ide_regs r = regs(command, write ? 1000 : 300, count);
	struct ide other = k->ide;

	other.device = select;
	if (write)
		sectors_fill(buf, k->base + 1000, count);
	for (unsigned i = 0; i < count / 128 + !!(count % 128); i++)
		table[i] = (struct ide_prd){ addr(buf) + 0x10000 * i, 0, 0 };
	table[3].end = IDE_PRD_END;
	ide_dma_prepare(&k->ide, table, !write);
	ide_issue(&k->ide, &r);
	ide_dma_start(&k->ide);
	delay_us(delay);
	ide_write(&other, IDE_DEVICE, 0xa0 | select);
	tap(ide_reset(&k->ide) && signature(&k->ide) && quiet(),
	    "reset %u us into command %02x with drive %u selected", delay, command, select >> 4);
	(void)ide_dma_stop(&k->ide);
	tap(works(k), "the disk works");
}

static void test_resets(const struct disk *k)
{
	static const unsigned delays[] = { 0, 1, 5, 20, 100, 1000 };
	struct ide_regs r = regs(IDE_CMD_READ, 200, 4);
	const struct ide *d = &k->ide;

	for (unsigned i = 0; i < ARRAY_SIZE(delays); i++) {
		reset_in_flight(k, IDE_CMD_READ_DMA_EXT, MAX_SECTORS, delays[i], d->device);
		reset_in_flight(k, IDE_CMD_WRITE_DMA_EXT, 64, delays[i], d->device);
		reset_in_flight(k, IDE_CMD_READ_DMA_EXT, MAX_SECTORS, delays[i],
				d->device ^ IDE_SLAVE);
	}
	(void)ide_command(d, &r);
	rep_insw(d->port, buf, SECTOR_SIZE / 2);
	(void)ide_wait(d);
	rep_insw(d->port, buf, 10);
	tap(ide_reset(d) && signature(d) && works(k), "reset in the second sector of a read");
	r = regs(IDE_CMD_WRITE, 1000, 4);
	sectors_fill(buf, k->base + 1000, 4);
	(void)ide_command(d, &r);
	rep_outsw(d->port, buf, SECTOR_SIZE / 2);
	(void)ide_wait(d);
	rep_outsw(d->port, buf + SECTOR_SIZE, 10);
	tap(ide_reset(d) && signature(d) && works(k), "reset in the second sector of a write");
	ide_control(d, IDE_SRST);
	tap(ide_alternate(d) & IDE_BSY, "while SRST is up the channel is busy");
	ide_control(d, 0);
	tap(ide_until(d, IDE_BSY, 0) && works(k), "and then not");
	r = regs(IDE_CMD_DIAGNOSTIC, 0, 0);
	tap(ide_command(d, &r) >= 0 && signature(d) && works(k), "EXECUTE DEVICE DIAGNOSTIC");
}

/* --- who is spoken to ----------------------------------------------------------------- */

/* A drive that waits for the bus master does not take commands, or other registers. */
static void test_busy(const struct disk *k)
{
	struct ide_regs r = regs(IDE_CMD_READ_DMA, 600, 8);

	memset(buf, 0, BYTES(8));
	table[0] = (struct ide_prd){ addr(buf), BYTES(8), IDE_PRD_END };
	ide_dma_prepare(&k->ide, table, true);
	ide_issue(&k->ide, &r);
	tap(ide_alternate(&k->ide) & (IDE_BSY | IDE_DRQ), "a DMA command waits for the bus master");
	ide_write(&k->ide, IDE_COUNT, 1);
	ide_write(&k->ide, IDE_LBA_LOW, 1);
	ide_write(&k->ide, IDE_COMMAND, IDE_CMD_FLUSH);
	ide_write(&k->ide, IDE_COMMAND, IDE_CMD_WRITE);
	tap(ide_alternate(&k->ide) & (IDE_BSY | IDE_DRQ), "it takes no other meanwhile");
	ide_dma_start(&k->ide);
	tap_is(ide_dma_wait(&k->ide), IDE_BM_INTERRUPT, "and does what it was told first");
	(void)ide_dma_stop(&k->ide);
	tap(ide_ok(ide_wait(&k->ide)) && !sectors_wrong(buf, k->base + 600, 8, false),
	    "the data is there");
	tap(works(k), "the disk works");
}

static void test_absent_slave(const struct disk *k)
{
	struct ide slave = k->ide;
	struct ide_regs r = regs(IDE_CMD_IDENTIFY, 0, 0);

	slave.device = IDE_SLAVE;
	ide_select(&slave, 0);
	tap_is(ide_read(&slave, IDE_STATUS), 0, "an absent slave's status");
	ide_issue(&slave, &r);
	tap_is(ide_read(&slave, IDE_STATUS), 0, "it takes no command");
	r = regs(IDE_CMD_WRITE, 0, 1);
	ide_issue(&slave, &r);
	tap_is(ide_read(&slave, IDE_STATUS), 0, "nor this one");
	rep_outsw(slave.port, buf, SECTOR_SIZE / 2);
	r = regs(IDE_CMD_READ_DMA, 0, 8);
	table[0] = (struct ide_prd){ addr(buf), BYTES(8), IDE_PRD_END };
	ide_dma_prepare(&slave, table, true);
	ide_issue(&slave, &r);
	ide_dma_start(&slave);
	delay_us(2000);
	tap_is(inb(slave.bm + IDE_BM_STATUS) & IDE_BM_INTERRUPT, 0, "nor one by DMA");
	(void)ide_dma_stop(&slave);
	r = regs(IDE_CMD_DIAGNOSTIC, 0, 0);
	ide_issue(&slave, &r);
	tap(ide_wait(&k->ide) >= 0 && signature(&k->ide), "the diagnostic is the master's too");
	ide_select(&slave, 0);
	tap(ide_reset(&slave) && works(k), "a reset with it selected; the master works");
}

static void test_absent_channel(unsigned devfn)
{
	struct ide d = ide_place(devfn, 2);

	tap_is(inb(d.port + IDE_STATUS), 0xff, "an absent channel reads ones");
	outb(d.port + IDE_COMMAND, IDE_CMD_IDENTIFY);
	ide_control(&d, IDE_SRST);
	ide_control(&d, 0);
	tap_is(ide_alternate(&d), 0xff, "whatever it is told");
}

static void start_dma(const struct disk *k, struct ide_prd *prds, void *to)
{
	struct ide_regs r = regs(IDE_CMD_READ_DMA_EXT, 100, MAX_SECTORS);

	memset(to, 0, BYTES(MAX_SECTORS));
	for (unsigned i = 0; i < 4; i++)
		prds[i] = (struct ide_prd){ addr(to) + 0x10000 * i, 0, i < 3 ? 0 : IDE_PRD_END };
	ide_dma_prepare(&k->ide, prds, true);
	ide_issue(&k->ide, &r);
	ide_dma_start(&k->ide);
}

static bool end_dma(const struct disk *k, const void *to)
{
	bool ended = ide_dma_wait(&k->ide) == IDE_BM_INTERRUPT;

	(void)ide_dma_stop(&k->ide);
	return ended && ide_ok(ide_wait(&k->ide)) &&
	       !sectors_wrong((const uint8_t *)to + SECTOR_SIZE, k->base + 101, MAX_SECTORS - 1,
			      false);
}

static void test_two_channels(const struct disk *a, const struct disk *b)
{
	start_dma(a, table, buf);
	start_dma(b, table + 8, second);
	tap(end_dma(b, second), "both channels at a time: the second");
	tap(end_dma(a, buf), "and the first");
	start_dma(b, table, second);
	tap(works(a), "one by PIO");
	tap(end_dma(b, second), "while the other is at it");
}

/* A slave is a drive of its own: one's command, the other's data. */
static void test_slave(const struct disk *master, const struct disk *slave)
{
	start_dma(slave, table, buf);
	tap(end_dma(slave, buf), "the slave by DMA");
	tap(works(master) && works(slave) && works(master), "master and slave by turns");
	reset_in_flight(slave, IDE_CMD_READ_DMA_EXT, MAX_SECTORS, 5, 0);
	tap(works(master), "and so does the other");
}

/* --- interrupts ----------------------------------------------------------------------- */

static volatile unsigned *irq_count(const struct disk *k)
{
	return &irq_seen.count[VECTOR_IRQ(k->ide.irq)];
}

/* How many interrupts came since then, once no more come. */
static unsigned irqs_since(const struct disk *k, unsigned then)
{
	delay_us(3000);
	return *irq_count(k) - then;
}

static void test_interrupts(const struct disk *k)
{
	struct ide_regs flush = regs(IDE_CMD_FLUSH, 0, 0),
			multiple = regs(IDE_CMD_SET_MULTIPLE, 0, 16);
	struct ide_regs r;
	unsigned then;

	pic_unmask(k->ide.irq);
	sti();
	then = irqs_since(k, 0); /* with one that the PIC had kept */
	(void)ide_command(&k->ide, &flush);
	tap_is(irqs_since(k, then), 1, "a command without data: interrupts");
	then = *irq_count(k);
	r = regs(IDE_CMD_READ, 200, 4);
	(void)ide_pio_in(&k->ide, &r, buf, BYTES(4), SECTOR_SIZE, 2);
	tap_is(irqs_since(k, then), 4, "four sectors read by PIO: interrupts");
	then = *irq_count(k);
	r = regs(IDE_CMD_WRITE, 1000, 4);
	sectors_fill(buf, k->base + 1000, 4);
	(void)ide_pio_out(&k->ide, &r, buf, BYTES(4), SECTOR_SIZE, 2);
	tap_is(irqs_since(k, then), 4, "four sectors written by PIO: interrupts");
	(void)ide_command(&k->ide, &multiple);
	then = irqs_since(k, 0);
	r = regs(IDE_CMD_READ_MULTIPLE, 200, 33);
	(void)ide_pio_in(&k->ide, &r, buf, BYTES(33), BYTES(16), 4);
	tap_is(irqs_since(k, then), 3, "33 sectors by blocks of 16: interrupts");
	then = *irq_count(k);
	r = regs(IDE_CMD_READ_DMA, 200, 64);
	(void)ide_dma(&k->ide, &r, buf, BYTES(64), true);
	tap_is(irqs_since(k, then), 1, "64 sectors by DMA: interrupts");
	then = *irq_count(k);
	tap(ide_reset(&k->ide), "a reset");
	tap_is(irqs_since(k, then), 0, "has no interrupt");

	then = *irq_count(k);
	ide_control(&k->ide, IDE_NIEN);
	(void)ide_command(&k->ide, &flush);
	r = regs(IDE_CMD_READ_DMA, 200, 64);
	tap(ide_ok(ide_dma(&k->ide, &r, buf, BYTES(64), true)), "nIEN: a command");
	tap_is(irqs_since(k, then), 0, "and no interrupt");
	ide_issue(&k->ide, &flush);
	(void)ide_until(&k->ide, IDE_BSY, 0);
	tap_is(irqs_since(k, then), 0, "nIEN: one that is pending");
	ide_control(&k->ide, 0);
	tap_is(irqs_since(k, then), 1, "comes when nIEN goes");
	(void)ide_read(&k->ide, IDE_STATUS);
	cli();
	pic_mask_all();
}

int main(void)
{
	static const char *const keys[] = { "disk0=", "disk1=", "disk2=", "disk3=" };
	struct disk k[ARRAY_SIZE(keys)];
	unsigned devfn = ide_find();

	if (!tap(devfn != PCI_NONE, "there is an IDE controller"))
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		k[i] = (struct disk){ ide_place(devfn, i), cmdline_number(keys[i], 0), 100000 * i };
	test_sizes(&k[0]);
	test_scattered(&k[0]);
	test_lengths(&k[0]);
	test_bad_tables(&k[0]);
	test_stopped(&k[0]);
	test_resets(&k[0]);
	test_busy(&k[0]);
	test_interrupts(&k[0]);
	if (k[1].sectors)
		test_slave(&k[0], &k[1]);
	else
		test_absent_slave(&k[0]);
	if (k[2].sectors)
		test_two_channels(&k[0], &k[2]);
	else
		test_absent_channel(devfn);
	if (k[2].sectors)
		test_interrupts(&k[2]);
	return 0;
}
