/* SPDX-License-Identifier: MIT */
/* The register file and the commands without DMA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ide_geometry.h"
#include "tests/unit/ide_driver.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define OFFERS (READY | ATA_STATUS_DRQ)
#define FAILED (READY | ATA_STATUS_ERR)
#define SMALL 20160 /* 20 cylinders of 16 heads of 63 sectors */
#define LARGE (300ull << 21) /* 300 GiB */

static struct ide_world w;

/* Two disks on the first channel, one slave without a master on the second. */
static int setup(void **state)
{
	(void)state;
	ide_world_init(&w, (int64_t[]){ SMALL, LARGE, IDE_NONE, 4096 }, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ide_world_destroy(&w);
	return 0;
}

static void get_string(const uint16_t *words, unsigned n, char *out)
{
	for (unsigned i = 0; i < n; i++) {
		out[2 * i] = (char)(words[i] >> 8);
		out[2 * i + 1] = (char)words[i];
	}
	out[2 * n] = 0;
}

/* --- identify, geometry ---------------------------------------------------------------- */

static void test_identify(void **state)
{
	uint16_t words[256];
	char text[41];
	uint8_t sum = 0;

	(void)state;
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[0], 0x0040);
	assert_int_equal(words[1], 20);
	assert_int_equal(words[3], 16);
	assert_int_equal(words[6], 63);
	get_string(&words[27], 20, text);
	assert_string_equal(text, "bantam disk                             ");
	get_string(&words[10], 10, text);
	assert_string_equal(text, "ide0-0              ");
	assert_int_equal(words[60] | words[61] << 16, SMALL);
	assert_int_equal(words[57] | words[58] << 16, SMALL);
	assert_int_equal(words[47], 0x8010);
	assert_int_equal(words[59], 0x0110);
	assert_int_equal(words[63], 7); /* MWDMA 0-2, none selected */
	assert_int_equal(words[88], 0); /* a PIIX3 has no Ultra DMA */
	assert_true(words[83] & 0x0400);
	assert_false((words[82] | words[85]) & 1); /* SMART */
	for (unsigned i = 0; i < 256; i++)
		sum += (uint8_t)(words[i] + (words[i] >> 8));
	assert_int_equal(sum, 0);

	ide_read_identity(&w, 1, words);
	get_string(&words[10], 10, text);
	assert_string_equal(text, "ide0-1              ");
	assert_int_equal(words[60] | (uint32_t)words[61] << 16, 0x0fffffff);
	assert_int_equal(words[100] | (uint64_t)words[101] << 16 | (uint64_t)words[102] << 32,
			 LARGE);
	assert_int_equal(words[1], 16383);
	assert_int_equal(words[93], 0x4b00);
}

static void test_identify_interrupts_and_counts_its_words(void **state)
{
	uint8_t byte[513];

	(void)state;
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_cmd(&w, 0xec), OFFERS);
	assert_true(w.irq[0].level);
	assert_int_equal(ide_in(&w, ATA_STATUS), OFFERS);
	assert_false(w.irq[0].level);
	/* In bytes, and one more than there are. */
	for (unsigned i = 0; i < 513; i++)
		byte[i] = inb(&w.bus, ide_data_port(&w));
	assert_int_equal(byte[0], 0x40);
	assert_int_equal(byte[54], 'a'); /* "ba", swapped */
	assert_int_equal(byte[512], 0);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(w.irq[0].raised, 1); /* none at the end */
}

static void test_geometry(void **state)
{
	static const uint64_t sizes[] = {
		1, 62, 63, 64, 1007, 1008, 1009, SMALL, LARGE, 1ull << 48
	};
	struct ide_geometry g;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		g = ide_geometry(sizes[i]);
		assert_true(g.cylinders && g.heads && g.sectors);
		assert_true((uint64_t)g.cylinders * g.heads * g.sectors <= sizes[i]);
	}
	g = ide_geometry(SMALL + 1007);
	assert_int_equal(g.cylinders, 20);
}

static void test_chs_reads_what_lba_reads(void **state)
{
	uint8_t want[512], got[512];

	(void)state;
	/* Cylinder 3, head 5, sector 7. */
	ide_disk_fill(&w.disks[0], (3 * 16 + 5) * 63 + 6, 1, 9);
	ide_pattern(want, 512, 9);
	ide_lba28(&w, 0, 7 | 3 << 8, 1);
	ide_out(&w, ATA_DEVICE, 0xa5);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	ide_read_block(&w, got, 512);
	assert_memory_equal(got, want, 512);
	/* Sectors count from 1; heads and cylinders end. */
	static const struct {
		uint32_t cyl_sector;
		uint8_t device;
	} bad[] = { { 0 | 3 << 8, 0xa5 }, { 64 | 3 << 8, 0xa5 }, { 1 | 20 << 8, 0xa0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ide_lba28(&w, 0, bad[i].cyl_sector, 1);
		ide_out(&w, ATA_DEVICE, bad[i].device);
		assert_int_equal(ide_cmd(&w, 0x20), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
	}
}

static void test_initialize_device_parameters(void **state)
{
	uint16_t words[256];
	uint8_t want[512], got[512];

	(void)state;
	ide_out(&w, ATA_COUNT, 17);
	ide_out(&w, ATA_DEVICE, 0xa3);
	assert_int_equal(ide_cmd(&w, 0x91), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[3], 16); /* the default stays what it was */
	assert_int_equal(words[55], 4);
	assert_int_equal(words[56], 17);
	assert_int_equal(words[54], SMALL / (4 * 17));
	/* Cylinder 2, head 1, sector 4. */
	ide_disk_fill(&w.disks[0], (2 * 4 + 1) * 17 + 3, 1, 5);
	ide_pattern(want, 512, 5);
	ide_lba28(&w, 0, 4 | 2 << 8, 1);
	ide_out(&w, ATA_DEVICE, 0xa1);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	ide_read_block(&w, got, 512);
	assert_memory_equal(got, want, 512);
	ide_out(&w, ATA_DEVICE, 0xa4); /* the fifth of four heads */
	assert_int_equal(ide_cmd(&w, 0x20), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
}

/* CVE-2015-6855: no division by a geometry that is none. */
static void test_initialize_device_parameters_of_zero(void **state)
{
	(void)state;
	ide_out(&w, ATA_COUNT, 0);
	ide_out(&w, ATA_DEVICE, 0xaf);
	assert_int_equal(ide_cmd(&w, 0x91), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	ide_lba28(&w, 0, 1, 1);
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
}

/* --- PIO ---------------------------------------------------------------------------------- */

static void read_sectors(uint8_t opcode, unsigned n, unsigned per_block)
{
	uint8_t *got = malloc(n * 512), *want = malloc(n * 512);
	unsigned raised = w.irq[0].raised, blocks = 0;

	ide_pattern(want, n * 512, 3);
	assert_int_equal(ide_cmd(&w, opcode), OFFERS);
	for (unsigned at = 0; at < n; blocks++) {
		unsigned k = (unsigned)min_u64(per_block, n - at);

		assert_int_equal(ide_wait(&w), OFFERS);
		assert_int_equal(ide_in(&w, ATA_STATUS), OFFERS);
		ide_read_block(&w, got + at * 512, k * 512);
		at += k;
	}
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(w.irq[0].raised - raised, blocks);
	assert_memory_equal(got, want, n * 512);
	free(got);
	free(want);
}

static void test_read_sectors(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 100, 256, 3);
	ide_lba28(&w, 0, 100, 5);
	read_sectors(0x20, 5, 1);
	ide_lba28(&w, 0, 100, 0); /* 256 */
	read_sectors(0x21, 256, 1);
	ide_lba48(&w, 0, 100, 100);
	read_sectors(0x24, 100, 1);
	/* Read ahead: a command of 100 sectors asks the host twice. */
	assert_int_equal(w.disks[0].submitted, 1 + 4 + 2);
}

static void test_read_multiple_interrupts_once_a_block(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 7, 50, 3);
	ide_lba28(&w, 0, 7, 50);
	read_sectors(0xc4, 50, 16);
	ide_out(&w, ATA_COUNT, 8);
	assert_int_equal(ide_cmd(&w, 0xc6), READY);
	ide_lba48(&w, 0, 7, 50);
	ide_in(&w, ATA_STATUS);
	read_sectors(0x29, 50, 8);
}

static void test_set_multiple(void **state)
{
	static const uint8_t bad[] = { 3, 17, 32, 255 };
	uint16_t words[256];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ide_lba28(&w, 0, 0, bad[i]);
		assert_int_equal(ide_cmd(&w, 0xc6), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	}
	ide_lba28(&w, 0, 0, 0);
	assert_int_equal(ide_cmd(&w, 0xc6), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[59], 0);
	ide_lba28(&w, 0, 0, 1);
	assert_int_equal(ide_cmd(&w, 0xc4), FAILED);
	assert_int_equal(ide_cmd(&w, 0xc5), FAILED);
}

static void write_sectors(uint8_t opcode, unsigned n, unsigned per_block, unsigned seed)
{
	uint8_t *data = malloc(n * 512);
	unsigned raised = w.irq[0].raised, blocks = 0;

	ide_pattern(data, n * 512, seed);
	/* The first block is asked for without an interrupt. */
	assert_int_equal(ide_cmd(&w, opcode), OFFERS);
	for (unsigned at = 0; at < n; blocks++) {
		unsigned k = (unsigned)min_u64(per_block, n - at);

		assert_int_equal(ide_wait(&w), OFFERS);
		ide_in(&w, ATA_STATUS);
		ide_write_block(&w, data + at * 512, k * 512);
		at += k;
	}
	assert_int_equal(ide_wait(&w), READY);
	assert_true(w.irq[0].level);
	ide_in(&w, ATA_STATUS);
	assert_int_equal(w.irq[0].raised - raised, blocks);
	free(data);
}

static void expect_on_disk(struct ide_disk *d, uint64_t sector, unsigned n, unsigned seed)
{
	uint8_t *got = malloc(n * 512), *want = malloc(n * 512);

	ide_pattern(want, n * 512, seed);
	ide_disk_peek(d, sector, got, n * 512);
	assert_memory_equal(got, want, n * 512);
	free(got);
	free(want);
}

static void test_write_sectors(void **state)
{
	(void)state;
	ide_lba28(&w, 0, 200, 3);
	write_sectors(0x30, 3, 1, 11);
	expect_on_disk(&w.disks[0], 200, 3, 11);
	ide_lba28(&w, 0, 300, 40);
	write_sectors(0xc5, 40, 16, 12);
	expect_on_disk(&w.disks[0], 300, 40, 12);
	ide_lba48(&w, 0, 400, 300);
	write_sectors(0x34, 300, 1, 13);
	expect_on_disk(&w.disks[0], 400, 300, 13);
	ide_lba48(&w, 0, 800, 17);
	write_sectors(0x39, 17, 16, 14);
	expect_on_disk(&w.disks[0], 800, 17, 14);
	expect_on_disk(&w.disks[0], 200, 3, 11);
}

static void test_lba48_past_128_gib(void **state)
{
	uint64_t lba = (1ull << 28) + 77;

	(void)state;
	ide_lba48(&w, 1, lba, 3);
	write_sectors(0x34, 3, 1, 21);
	expect_on_disk(&w.disks[1], lba, 3, 21);
	ide_lba48(&w, 1, lba, 3);
	ide_disk_fill(&w.disks[1], lba, 3, 3);
	read_sectors(0x24, 3, 1);
	ide_lba48(&w, 1, LARGE - 1, 2);
	assert_int_equal(ide_cmd(&w, 0x24), FAILED);
	ide_lba48(&w, 1, LARGE - 1, 1);
	assert_int_equal(ide_cmd(&w, 0x24), OFFERS);
}

/* What a command of 28 bits cannot address it does not reach from below either. */
static void test_lba28_ends_at_28_bits(void **state)
{
	static const uint8_t opcodes[] = { 0x20, 0x30, 0x40, 0xc4, 0xc5, 0xc8, 0xca };
	uint8_t buf[512];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		ide_lba28(&w, 1, 0x0fffffff, 2);
		assert_int_equal(ide_cmd(&w, opcodes[i]), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
	}
	assert_int_equal(w.disks[1].submitted, 0);
	ide_lba28(&w, 1, 0x0fffffff, 1);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	ide_read_block(&w, buf, 512);
	ide_lba48(&w, 1, 0x0fffffff, 2);
	assert_int_equal(ide_cmd(&w, 0x42), READY);
}

static void test_high_order_bytes(void **state)
{
	(void)state;
	ide_lba48(&w, 0, 0x112233445566, 0x7788);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 0x66);
	assert_int_equal(ide_in(&w, ATA_COUNT), 0x88);
	ide_control(&w, ATA_CONTROL_HOB);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 0x33);
	assert_int_equal(ide_in(&w, ATA_LBA_MID), 0x22);
	assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0x11);
	assert_int_equal(ide_in(&w, ATA_COUNT), 0x77);
	ide_out(&w, ATA_LBA_MID, 0x99); /* any write puts it back */
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 0x66);
}

static void test_beyond_the_end(void **state)
{
	static const uint8_t opcodes[] = { 0x20, 0x30, 0x40, 0xc4, 0xc5, 0xc8, 0xca };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		ide_lba28(&w, 0, SMALL - 1, 2);
		assert_int_equal(ide_cmd(&w, opcodes[i]), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
		ide_lba28(&w, 0, 0x0fffffff, 0);
		assert_int_equal(ide_cmd(&w, opcodes[i]), FAILED);
	}
	ide_lba48(&w, 0, 0xffffffffffff, 0);
	assert_int_equal(ide_cmd(&w, 0x25), FAILED);
	assert_int_equal(w.disks[0].submitted, 0);
}

static void test_a_bad_sector_is_named(void **state)
{
	uint8_t buf[512];

	(void)state;
	w.disks[0].bad = 105 * 512 + 3;
	ide_lba28(&w, 0, 100, 20);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	/* Those before it still come. */
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(ide_wait(&w), OFFERS);
		ide_read_block(&w, buf, 512);
	}
	assert_int_equal(ide_wait(&w), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_UNC);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 105);
	ide_lba48(&w, 0, 100, 20);
	assert_int_equal(ide_cmd(&w, 0x42), FAILED);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 105);
	ide_lba28(&w, 0, 105, 1);
	assert_int_equal(ide_cmd(&w, 0x30), OFFERS);
	ide_write_block(&w, buf, 512);
	assert_int_equal(ide_wait(&w), FAILED | ATA_STATUS_DF);
}

/* CVE-2015-5154, CVE-2020-29443: index < end <= buffer at the data port, in any width. */
static void test_data_port_never_leaves_its_block(void **state)
{
	uint8_t all[4096], want[512];

	(void)state;
	ide_disk_fill(&w.disks[0], 0, 1, 1);
	ide_disk_fill(&w.disks[0], 1, 1, 2);
	ide_pattern(want, 512, 1);
	ide_lba28(&w, 0, 0, 1);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	memset(all, 0xee, sizeof(all));
	bus_read_rep(&w.bus, BUS_PIO, ide_data_port(&w), all, 4, 1024);
	assert_memory_equal(all, want, 512);
	for (unsigned i = 512; i < sizeof(all); i++)
		assert_int_equal(all[i], 0);
	/* Reads while the drive wants to be written, and the reverse, move nothing. */
	ide_lba28(&w, 0, 0, 1);
	assert_int_equal(ide_cmd(&w, 0x30), OFFERS);
	assert_int_equal(inl(&w.bus, ide_data_port(&w)), 0);
	for (unsigned i = 0; i < 511; i++)
		outb(&w.bus, ide_data_port(&w), 0x11);
	assert_int_equal(ide_altstatus(&w), OFFERS);
	outl(&w.bus, ide_data_port(&w), 0x22222233); /* one byte of it fits */
	assert_int_equal(ide_wait(&w), READY);
	ide_disk_peek(&w.disks[0], 0, all, 1024);
	assert_int_equal(all[510], 0x11);
	assert_int_equal(all[511], 0x33);
	ide_pattern(want, 512, 2);
	assert_memory_equal(all + 512, want, 512);
	bus_write_rep(&w.bus, BUS_PIO, ide_data_port(&w), all, 2, 2048);
	assert_int_equal(ide_altstatus(&w), READY);
}

static void test_dword_and_word_access_agree(void **state)
{
	uint8_t a[512], b[512];

	(void)state;
	ide_disk_fill(&w.disks[0], 0, 1, 8);
	ide_lba28(&w, 0, 0, 1);
	ide_cmd(&w, 0x20);
	for (unsigned i = 0; i < 512; i += 4)
		store_le(a + i, 4, inl(&w.bus, ide_data_port(&w)));
	ide_cmd(&w, 0x20);
	for (unsigned i = 0; i < 512; i += 2)
		store_le(b + i, 2, inw(&w.bus, ide_data_port(&w)));
	assert_memory_equal(a, b, 512);
	ide_pattern(b, 512, 8);
	assert_memory_equal(a, b, 512);
}

/* --- commands without data ---------------------------------------------------------------------- */

static void test_flush_and_write_cache(void **state)
{
	(void)state;
	ide_lba28(&w, 0, 10, 1);
	write_sectors(0x30, 1, 1, 1);
	assert_int_equal(w.disks[0].submitted, 1);
	assert_int_equal(ide_cmd(&w, 0xe7), READY);
	assert_int_equal(w.disks[0].ops[1], BLOCK_FLUSH);
	assert_int_equal(ide_cmd(&w, 0xea), READY);
	assert_int_equal(w.disks[0].ops[2], BLOCK_FLUSH);
	/* Turned off: what was written before is flushed, and every write from now on. */
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_WRITE_CACHE_OFF);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	assert_int_equal(w.disks[0].ops[3], BLOCK_FLUSH);
	ide_in(&w, ATA_STATUS);
	ide_lba28(&w, 0, 10, 2);
	write_sectors(0x30, 2, 1, 1);
	assert_int_equal(w.disks[0].submitted, 7);
	assert_int_equal(w.disks[0].ops[6], BLOCK_FLUSH);
	w.disks[0].flush_fails = true;
	assert_int_equal(ide_cmd(&w, 0xe7), FAILED | ATA_STATUS_DF);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
}

/* It is over when the host says so, and the vCPU does not wait for that. */
static void test_flush_in_flight(void **state)
{
	(void)state;
	w.disks[0].hold = true;
	ide_out(&w, ATA_DEVICE, 0xe0);
	ide_out(&w, ATA_COMMAND, 0xe7);
	ide_disk_wait_submitted(&w.disks[0], 1);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	assert_false(w.irq[0].level);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	assert_true(w.irq[0].level);
}

static void test_set_features(void **state)
{
	static const struct {
		uint8_t mode;
		bool ok;
		uint16_t word63;
	} modes[] = {
		{ 0x00, true, 0x0007 },  { 0x01, true, 0x0007 },  { 0x0c, true, 0x0007 },
		{ 0x0d, false, 0x0007 }, { 0x22, true, 0x0407 },  { 0x21, true, 0x0207 },
		{ 0x23, false, 0x0207 }, { 0x42, false, 0x0207 }, { 0x10, false, 0x0207 },
	};
	uint16_t words[256];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		ide_lba28(&w, 0, 0, modes[i].mode);
		ide_out(&w, ATA_FEATURES, ATA_FEATURE_TRANSFER_MODE);
		assert_int_equal(ide_cmd(&w, 0xef), modes[i].ok ? READY : FAILED);
		ide_read_identity(&w, 0, words);
		assert_int_equal(words[63], modes[i].word63);
	}
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_LOOK_AHEAD_OFF);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[85] & 0x60, 0x20);
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_WRITE_CACHE_OFF);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[85] & 0x60, 0);
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_WRITE_CACHE_ON);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[85] & 0x60, 0x20);
	ide_out(&w, ATA_FEATURES, 0x05); /* power management: not here */
	assert_int_equal(ide_cmd(&w, 0xef), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
}

static void test_ultra_dma_of_a_piix4(void **state)
{
	uint16_t words[256];

	(void)state;
	ide_world_destroy(&w);
	ide_world_init(&w, (int64_t[]){ SMALL, IDE_NONE, IDE_NONE, IDE_NONE }, true);
	assert_int_equal(ide_config_in(&w, 0, 4), 0x71118086);
	ide_lba28(&w, 0, 0, 0x42);
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_TRANSFER_MODE);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[88], 0x0407);
	assert_int_equal(words[63], 0x0007);
	ide_config_out(&w, 0x48, 4, 0xffffffff);
	assert_int_equal(ide_config_in(&w, 0x48, 4), 0x3333000f);
}

static void test_power(void **state)
{
	static const struct {
		uint8_t opcode, then;
	} modes[] = { { 0xe0, 0x00 }, { 0x94, 0x00 }, { 0xe2, 0x00 }, { 0x96, 0x00 },
		      { 0xe1, 0x80 }, { 0x95, 0x80 }, { 0xe3, 0x80 }, { 0x97, 0x80 } };
	uint8_t buf[512];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(ide_cmd(&w, modes[i].opcode), READY);
		assert_int_equal(ide_cmd(&w, i & 1 ? 0xe5 : 0x98), READY);
		assert_int_equal(ide_in(&w, ATA_COUNT), modes[i].then);
	}
	ide_lba28(&w, 0, 0, 1);
	ide_cmd(&w, 0x20);
	ide_read_block(&w, buf, 512);
	assert_int_equal(ide_cmd(&w, 0xe5), READY);
	assert_int_equal(ide_in(&w, ATA_COUNT), 0xff);
	/* Asleep it hears nothing but a reset. */
	assert_int_equal(ide_cmd(&w, 0xe6), READY);
	ide_in(&w, ATA_STATUS);
	assert_int_equal(ide_cmd(&w, 0xec), READY);
	assert_false(w.irq[0].level);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	assert_int_equal(ide_cmd(&w, 0xec), OFFERS);
}

static void test_seek_recalibrate_verify(void **state)
{
	(void)state;
	ide_lba28(&w, 0, SMALL - 1, 1);
	assert_int_equal(ide_cmd(&w, 0x70), READY);
	assert_int_equal(ide_cmd(&w, 0x10), READY);
	assert_int_equal(ide_cmd(&w, 0x1f), READY);
	assert_int_equal(ide_cmd(&w, 0x40), READY);
	assert_int_equal(ide_cmd(&w, 0x41), READY);
	assert_int_equal(w.disks[0].submitted, 2);
	ide_lba28(&w, 0, SMALL, 1);
	assert_int_equal(ide_cmd(&w, 0x70), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
	ide_lba48(&w, 0, 0, 500);
	assert_int_equal(ide_cmd(&w, 0x42), READY);
	assert_int_equal(w.disks[0].submitted, 2 + 8);
}

static void test_native_max(void **state)
{
	(void)state;
	ide_lba28(&w, 0, 0, 1);
	assert_int_equal(ide_cmd(&w, 0xf8), READY);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW) | ide_in(&w, ATA_LBA_MID) << 8, SMALL - 1);
	ide_lba28(&w, 1, 0, 1);
	assert_int_equal(ide_cmd(&w, 0xf8), READY);
	/* The last of as many sectors as IDENTIFY DEVICE counts in 28 bits. */
	assert_int_equal(ide_in(&w, ATA_DEVICE) & 15, 15);
	assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0xff);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 0xfe);
	assert_int_equal(ide_cmd(&w, 0x27), READY);
	assert_int_equal(ide_in(&w, ATA_LBA_HIGH), (LARGE - 1) >> 16 & 0xff);
	ide_control(&w, ATA_CONTROL_HOB);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), (LARGE - 1) >> 24);
	assert_int_equal(ide_in(&w, ATA_LBA_MID), 0);
}

static void test_refused(void **state)
{
	/* NOP, DATA SET MANAGEMENT, DEVICE RESET, PACKET, IDENTIFY PACKET, SMART, security, none */
	static const uint8_t opcodes[] = { 0x00, 0x06, 0x08, 0xa0, 0xa1, 0xb0, 0xf2, 0xff };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
		ide_in(&w, ATA_STATUS);
		assert_int_equal(ide_cmd(&w, opcodes[i]), FAILED);
		assert_true(w.irq[0].level);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	}
}

static void test_a_read_only_disk(void **state)
{
	(void)state;
	w.disks[0].b.readonly = true;
	ide_lba28(&w, 0, 0, 1);
	assert_int_equal(ide_cmd(&w, 0x30), FAILED);
	assert_int_equal(ide_cmd(&w, 0xca), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identify),
		T(test_identify_interrupts_and_counts_its_words),
		T(test_geometry),
		T(test_chs_reads_what_lba_reads),
		T(test_initialize_device_parameters),
		T(test_initialize_device_parameters_of_zero),
		T(test_read_sectors),
		T(test_read_multiple_interrupts_once_a_block),
		T(test_set_multiple),
		T(test_write_sectors),
		T(test_lba48_past_128_gib),
		T(test_lba28_ends_at_28_bits),
		T(test_high_order_bytes),
		T(test_beyond_the_end),
		T(test_a_bad_sector_is_named),
		T(test_data_port_never_leaves_its_block),
		T(test_dword_and_word_access_agree),
		T(test_flush_and_write_cache),
		T(test_flush_in_flight),
		T(test_set_features),
		T(test_ultra_dma_of_a_piix4),
		T(test_power),
		T(test_seek_recalibrate_verify),
		T(test_native_max),
		T(test_refused),
		T(test_a_read_only_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
