/* SPDX-License-Identifier: MIT */
/*
 * An ATAPI CD-ROM drive: the PACKET protocol by PIO and DMA, and its commands.
 *
 * cd=P on the command line is the drive's place (0 and 1: first channel, 2 and 3: second),
 * blocks=N what the disc has. Its first 512 bytes hold 100000 * P, and so on (lib/sector.h).
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/sector.h"

#define BLOCK 2048
#define MAX_BLOCKS 64
#define REASON 0x03
#define REASON_PACKET 0x01
#define REASON_DATA_IN 0x02
#define REASON_STATUS 0x03
#define SENSE_ILLEGAL 5
#define SENSE_ATTENTION 6
#define SENSE_NOT_READY 2

struct cd {
	struct ide ide;
	unsigned base, blocks;
	struct ide_got got;
};

static uint8_t buf[BLOCK * MAX_BLOCKS] __attribute__((aligned(0x10000)));
static struct ide_prd table[8] __attribute__((aligned(64)));

#define PACKET(...) ((const uint8_t[12]){ __VA_ARGS__ })

/* By PIO; what came is in buf. */
static int packet_by(struct cd *cd, const uint8_t *p, uint16_t limit)
{
	memset(buf, 0, sizeof(buf));
	return ide_packet(&cd->ide, p, buf, sizeof(buf), limit, &cd->got);
}

static int packet(struct cd *cd, const uint8_t *p)
{
	return packet_by(cd, p, 0xfffe);
}

static bool holds(const struct cd *cd, unsigned lba, unsigned blocks)
{
	return cd->got.len == blocks * BLOCK &&
	       !sectors_wrong(buf, cd->base + lba * 4, blocks * 4, false);
}

static bool works(struct cd *cd)
{
	return ide_ok(packet(cd, PACKET(0x28, 0, 0, 0, 0, 7, 0, 0, 1))) && holds(cd, 7, 1);
}

/* Fails with CHECK CONDITION and the sense, of which the key is in the error register. */
static bool fails(struct cd *cd, const uint8_t *p, unsigned key, unsigned asc, const char *what)
{
	int status = packet(cd, p);
	unsigned error = ide_read(&cd->ide, IDE_ERROR);
	bool ok = status >= 0 && (status & (IDE_ERR | IDE_DRQ)) == IDE_ERR && error >> 4 == key;
	unsigned got_key, got_asc;

	(void)packet(cd, PACKET(0x03, 0, 0, 0, 18));
	got_key = buf[2] & 0xf;
	got_asc = buf[12];
	if (!ok || got_key != key || got_asc != asc)
		print("# status 0x%x, error 0x%x, sense %x/%02x\n", (unsigned)status, error,
		      got_key, got_asc);
	return tap(ok && got_key == key && got_asc == asc, "%s: sense %x/%02x", what, key, asc);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool signature(const struct ide *d)
{
	ide_select(d, 0);
	return ide_read(d, IDE_COUNT) == 1 && ide_read(d, IDE_LBA_LOW) == 1 &&
	       ide_read(d, IDE_LBA_MID) == 0x14 && ide_read(d, IDE_LBA_HIGH) == 0xeb;
}

/* --- the drive ------------------------------------------------------------------------ */

static void test_drive(struct cd *cd)
{
	static const uint8_t refused[] = { IDE_CMD_IDENTIFY, IDE_CMD_READ, IDE_CMD_READ_DMA,
					   IDE_CMD_WRITE_EXT, IDE_CMD_READ_MULTIPLE };
	const struct ide *d = &cd->ide;
	struct ide_regs r = { .command = IDE_CMD_IDENTIFY_PACKET, .count = 1 };
	uint16_t id[256];

	tap(ide_reset(d) && signature(d), "the signature of a packet drive");
	tap_is(ide_read(d, IDE_STATUS) & (IDE_BSY | IDE_DRQ | IDE_DRDY), 0, "it is not ready");
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		struct ide_regs no = { .command = refused[i], .count = 1 };
		int status = ide_command(d, &no);

		tap(status >= 0 && status & IDE_ERR && ide_read(d, IDE_ERROR) & IDE_ABRT,
		    "command %02x is for disks", refused[i]);
		if (refused[i] == IDE_CMD_IDENTIFY || refused[i] == IDE_CMD_READ)
			tap(signature(d), "and shows the signature");
	}
	tap(ide_ok(ide_pio_in(d, &r, id, sizeof(id), sizeof(id), 2)), "IDENTIFY PACKET DEVICE");
	tap_is(id[0] & 0xdf83, 0x8580, "a removable CD-ROM drive with packets of 12 bytes");
	tap_is(id[49] & 0x300, 0x300, "LBA and DMA");
	r.command = IDE_CMD_SET_FEATURES;
	r.features = 3;
	r.count = 0x22;
	tap(ide_ok(ide_command(d, &r)), "multiword DMA mode 2");
}

static void test_attention(struct cd *cd)
{
	fails(cd, PACKET(0x00), SENSE_ATTENTION, 0x29, "a reset is told of");
	tap(ide_ok(packet(cd, PACKET(0x00))), "once");
	(void)packet(cd, PACKET(0x03, 0, 0, 0, 18));
	tap(cd->got.len == 18 && !(buf[2] & 0xf), "and then there is no sense");
}

/* One packet, step by step. */
static void test_phases(const struct cd *cd)
{
	const struct ide *d = &cd->ide;
	struct ide_regs r = { .command = IDE_CMD_PACKET, .lba = 0x080000 }; /* limit 2048 */
	const uint8_t *p = PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 2);
	unsigned lba = 3;

	tap_is((unsigned)ide_command(d, &r) & (IDE_DRQ | IDE_ERR), IDE_DRQ, "it wants a packet");
	tap_is(ide_read(d, IDE_COUNT) & REASON, REASON_PACKET, "and says so");
	rep_outsw(d->port, p, 6);
	for (unsigned i = 0; i < 2; i++, lba++) {
		tap_is((unsigned)ide_wait(d) & (IDE_DRQ | IDE_ERR), IDE_DRQ, "it has a block");
		tap_is(ide_read(d, IDE_COUNT) & REASON, REASON_DATA_IN, "and says so");
		tap_is(ide_read(d, IDE_LBA_MID) | ide_read(d, IDE_LBA_HIGH) << 8, BLOCK,
		       "its length");
		rep_insl(d->port, buf, BLOCK / 4);
		tap_is(sectors_wrong(buf, cd->base + 4 * lba, 4, false), 0, "what it holds");
	}
	tap(ide_ok(ide_wait(d)), "it is done");
	tap_is(ide_read(d, IDE_COUNT) & REASON, REASON_STATUS, "and says so");
}

/* --- its commands --------------------------------------------------------------------- */

static void test_replies(struct cd *cd)
{
	tap(ide_ok(packet(cd, PACKET(0x12, 0, 0, 0, 36))) && cd->got.len == 36, "INQUIRY");
	tap(buf[0] == 5 && buf[1] & 0x80, "a removable CD-ROM");
	tap(ide_ok(packet(cd, PACKET(0x12, 0, 0, 0, 5))) && cd->got.len == 5, "five bytes of it");
	tap(ide_ok(packet(cd, PACKET(0x12, 0, 0, 0, 0))) && !cd->got.len, "none of it");
	tap(ide_ok(packet(cd, PACKET(0x25))) && cd->got.len == 8, "READ CAPACITY");
	tap_is(be32(buf), cd->blocks - 1, "the last block");
	tap_is(be32(buf + 4), BLOCK, "its size");
	tap(ide_ok(packet(cd, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 255))) && cd->got.len == 20,
	    "READ TOC");
	tap(buf[2] == 1 && buf[3] == 1 && buf[6] == 1 && buf[14] == 0xaa, "one track, lead-out");
	tap_is(be32(buf + 16), cd->blocks, "the lead-out's block");
	tap(ide_ok(packet(cd, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255))) && buf[8] == 0x2a,
	    "MODE SENSE, capabilities");
	tap(ide_ok(packet(cd, PACKET(0x46, 0, 0, 0, 0, 0, 0, 0, 255))) && !buf[6] && buf[7] == 8,
	    "GET CONFIGURATION: it is a CD");
	tap(ide_ok(packet(cd, PACKET(0x51, 0, 0, 0, 0, 0, 0, 0, 255))) && cd->got.len == 34,
	    "READ DISC INFORMATION");
	fails(cd, PACKET(0xd7), SENSE_ILLEGAL, 0x20, "a packet that is none");
	fails(cd, PACKET(0x12, 1, 0, 0, 36), SENSE_ILLEGAL, 0x24, "vital product data");
}

static void test_reads(struct cd *cd)
{
	static const struct {
		uint16_t limit, blocks, want;
	} reads[] = {
		{ 2048, 1, 1 },    { 2048, 5, 5 },    { 512, 2, 8 },  { 0xfffe, 1, 1 },
		{ 0xfffe, 64, 0 }, { 0xffff, 40, 0 }, { 1001, 1, 0 }, { 4096, 4, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		uint8_t n = (uint8_t)reads[i].blocks;
		bool ok = ide_ok(packet_by(cd, PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, n),
					   reads[i].limit)) &&
			  holds(cd, 9, n);

		tap(ok && (!reads[i].want || cd->got.blocks == reads[i].want),
		    "READ 10 of %u, at most %u bytes at a time: %u", n, reads[i].limit,
		    cd->got.blocks);
	}
	tap(ide_ok(packet(cd, PACKET(0xa8, 0, 0, 0, 0, 11, 0, 0, 0, 3))) && holds(cd, 11, 3),
	    "READ 12");
	tap(ide_ok(packet(cd, PACKET(0xbe, 0, 0, 0, 0, 12, 0, 0, 2, 0x10))) && holds(cd, 12, 2),
	    "READ CD");
	tap(ide_ok(packet(cd, PACKET(0x28, 0, 0, 0, 0, 12))) && !cd->got.len, "READ 10 of none");
	tap(ide_ok(packet(cd, PACKET(0x28, 0, 0, 0, (uint8_t)((cd->blocks - 1) >> 8),
				     (uint8_t)(cd->blocks - 1), 0, 0, 1))) &&
		    holds(cd, cd->blocks - 1, 1),
	    "the last block");
	fails(cd, PACKET(0x28, 0, 0, 0, (uint8_t)(cd->blocks >> 8), (uint8_t)cd->blocks, 0, 0, 1),
	      SENSE_ILLEGAL, 0x21, "past the end");
	fails(cd,
	      PACKET(0x28, 0, 0, 0, (uint8_t)((cd->blocks - 1) >> 8), (uint8_t)(cd->blocks - 1), 0,
		     0, 2),
	      SENSE_ILLEGAL, 0x21, "over the end");
	fails(cd, PACKET(0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), SENSE_ILLEGAL,
	      0x21, "far past the end");
	tap(works(cd), "it works all the same");
}

static void test_dma(struct cd *cd)
{
	const uint32_t at = (uint32_t)(uintptr_t)buf;
	int status;

	memset(buf, 0, sizeof(buf));
	table[0] = (struct ide_prd){ at, 0, 0 };
	table[1] = (struct ide_prd){ at + 0x10000, 0, IDE_PRD_END };
	status = ide_packet_dma(&cd->ide, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, MAX_BLOCKS), table);
	cd->got.len = sizeof(buf);
	tap(ide_ok(status) && holds(cd, 20, MAX_BLOCKS), "READ 10 of 64 by DMA");
	tap_is((unsigned)status >> 8 & 7, IDE_BM_INTERRUPT, "the bus master is done");
	memset(buf, 0, BLOCK);
	table[0] = (struct ide_prd){ at, 36, IDE_PRD_END };
	status = ide_packet_dma(&cd->ide, PACKET(0x12, 0, 0, 0, 36), table);
	tap(ide_ok(status) && buf[0] == 5 && buf[4] == 31, "INQUIRY by DMA");
	status = ide_packet_dma(&cd->ide, PACKET(0x00), table);
	tap(ide_ok(status), "a packet without data, by DMA");
	status = ide_packet_dma(&cd->ide, PACKET(0xd7), table);
	tap(status >= 0 && status & IDE_ERR, "one that fails");
	table[0] = (struct ide_prd){ 0xe0000000, BLOCK, IDE_PRD_END };
	(void)ide_packet_dma(&cd->ide, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 1), table);
	tap(ide_reset(&cd->ide) && signature(&cd->ide), "DMA to where no RAM is, and a reset");
	(void)packet(cd, PACKET(0x00));
	tap(works(cd), "it works");
}

/* --- the tray ------------------------------------------------------------------------- */

static void test_tray(struct cd *cd)
{
	const uint8_t *poll = PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);

	tap(ide_ok(packet(cd, PACKET(0x1e, 0, 0, 0, 1))), "locked");
	fails(cd, PACKET(0x1b, 0, 0, 0, 2), SENSE_ILLEGAL, 0x53, "it does not open");
	tap(ide_ok(packet(cd, PACKET(0x1e, 0, 0, 0, 0))), "unlocked");
	tap(ide_ok(packet(cd, PACKET(0x1b, 0, 0, 0, 2))), "it opens");
	fails(cd, PACKET(0x00), SENSE_NOT_READY, 0x3a, "no disc");
	fails(cd, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), SENSE_NOT_READY, 0x3a, "nothing to read");
	tap(ide_ok(packet(cd, poll)) && (buf[5] & 3) == 1, "the event says that it is open");
	tap(ide_ok(packet(cd, PACKET(0x1b, 0, 0, 0, 3))), "it closes");
	tap(ide_ok(packet(cd, poll)) && (buf[4] & 0xf) == 2 && (buf[5] & 3) == 2,
	    "the event says that there is a disc");
	fails(cd, PACKET(0x00), SENSE_ATTENTION, 0x28, "which may be another");
	tap(works(cd), "it is the same");
}

/* --- resets and interrupts ------------------------------------------------------------ */

static bool mid_read(struct cd *cd)
{
	struct ide_regs r = { .command = IDE_CMD_PACKET, .lba = 0x080000 };
	int status = ide_command(&cd->ide, &r);

	rep_outsw(cd->ide.port, PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 4), 6);
	status = ide_wait(&cd->ide);
	rep_insw(cd->ide.port, buf, 100);
	return status >= 0 && status & IDE_DRQ;
}

static void test_resets(struct cd *cd)
{
	struct ide_regs r = { .command = IDE_CMD_DEVICE_RESET };

	tap(mid_read(cd), "in the middle of a block");
	ide_select(&cd->ide, 0);
	ide_write(&cd->ide, IDE_COMMAND, IDE_CMD_DEVICE_RESET);
	tap(ide_wait(&cd->ide) >= 0 && signature(&cd->ide), "DEVICE RESET");
	tap_is(ide_alternate(&cd->ide) & (IDE_BSY | IDE_DRQ), 0, "nothing is left of it");
	(void)packet(cd, PACKET(0x00));
	tap(works(cd), "it works");
	tap(mid_read(cd), "in the middle of a block");
	tap(ide_reset(&cd->ide) && signature(&cd->ide), "a reset");
	tap_is(ide_alternate(&cd->ide) & (IDE_BSY | IDE_DRQ), 0, "nothing is left of it");
	(void)packet(cd, PACKET(0x00));
	tap(works(cd), "it works");
	(void)ide_command(&cd->ide, &r);
	r.command = IDE_CMD_PACKET;
	(void)ide_command(&cd->ide, &r); /* with a limit of 0 */
	tap(ide_reset(&cd->ide) && signature(&cd->ide), "a reset where a packet was wanted");
	(void)packet(cd, PACKET(0x00));
	tap(works(cd), "it works");
}

static void test_interrupts(struct cd *cd)
{
	volatile unsigned *count = &irq_seen.count[VECTOR_IRQ(cd->ide.irq)];
	unsigned then;

	pic_unmask(cd->ide.irq);
	sti();
	delay_us(3000); /* for one that the PIC has kept */
	then = *count;
	(void)packet_by(cd, PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 2), BLOCK);
	delay_us(3000);
	tap_is(*count - then, 3, "two blocks and the status: interrupts");
	then = *count;
	(void)packet(cd, PACKET(0x00));
	delay_us(3000);
	tap_is(*count - then, 1, "no data: interrupts");
	then = *count;
	table[0] = (struct ide_prd){ (uint32_t)(uintptr_t)buf, 4 * BLOCK, IDE_PRD_END };
	(void)ide_packet_dma(&cd->ide, PACKET(0x28, 0, 0, 0, 0, 3, 0, 0, 4), table);
	delay_us(3000);
	tap_is(*count - then, 1, "four blocks by DMA: interrupts");
	cli();
	pic_mask_all();
}

int main(void)
{
	unsigned devfn = ide_find(), place = cmdline_number("cd=", 2);
	struct cd cd;

	if (!tap(devfn != PCI_NONE, "there is an IDE controller"))
		return 0;
	cd = (struct cd){ .ide = ide_place(devfn, place),
			  .base = 100000 * place,
			  .blocks = cmdline_number("blocks=", 1000) };
	test_drive(&cd);
	test_attention(&cd);
	test_phases(&cd);
	test_replies(&cd);
	test_reads(&cd);
	test_dma(&cd);
	test_tray(&cd);
	test_resets(&cd);
	test_interrupts(&cd);
	return 0;
}
