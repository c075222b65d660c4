/* SPDX-License-Identifier: MIT */
/* The bus master: tables, directions, status bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "tests/unit/ide_driver.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define SMALL 65536
#define READ_DMA 0xc8
#define READ_DMA_EXT 0x25
#define WRITE_DMA 0xca
#define WRITE_DMA_EXT 0x35

#define DONE BM_STATUS_INTERRUPT
#define DONE_MORE (BM_STATUS_INTERRUPT | BM_STATUS_ACTIVE)

static struct ide_world w;

/* The first channel has both; the second a slave alone. */
static int setup(void **state)
{
	(void)state;
	ide_world_init(&w, (int64_t[]){ SMALL, SMALL, IDE_NONE, SMALL }, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ide_world_destroy(&w);
	return 0;
}

/* --- transfers ------------------------------------------------------------------------- */

static void test_read_and_write(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 10, 8, 1);
	ide_prd(&w, 0, IDE_DATA, 4096, true);
	ide_lba28(&w, 0, 10, 8);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	assert_true(w.irq[0].level);
	ide_expect_ram(&w, IDE_DATA, 4096, 1);
	ide_bm_stop(&w);
	ide_bm_out(&w, BM_STATUS, BM_STATUS_INTERRUPT);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), 0);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	assert_false(w.irq[0].level);

	ide_fill_ram(&w, IDE_DATA, 4096, 2);
	ide_lba48(&w, 1, 20, 8);
	ide_out(&w, ATA_COMMAND, WRITE_DMA_EXT);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_disk(&w.disks[1], 20, 4096, 2);
	/* One request each, straight from and to guest memory. */
	assert_int_equal(w.disks[0].submitted, 1);
	assert_int_equal(w.disks[1].submitted, 1);
	assert_int_equal(w.disks[1].lens[0], 4096);
}

static bool data_is_dirty(void)
{
	uint64_t page = IDE_DATA / 4096;

	return mem_dirty_fetch(&w.mem, page / 64) >> page % 64 & 1;
}

/* A copier that comes while the host still reads has to come again. */
static void test_what_was_read_is_dirty(void **state)
{
	(void)state;
	w.disks[0].hold = true;
	ide_prd(&w, 0, IDE_DATA, 4096, true);
	assert_int_equal(mem_dirty_start(&w.mem), 0);
	ide_lba28(&w, 0, 10, 8);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[0], 1);
	(void)data_is_dirty();
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	assert_true(data_is_dirty());
	ide_bm_stop(&w);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_false(data_is_dirty());
	mem_dirty_stop(&w.mem);
}

static void test_start_before_the_command(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 10, 1, 1);
	ide_prd(&w, 0, IDE_DATA, 512, true);
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_ACTIVE);
	ide_lba28(&w, 0, 10, 1);
	assert_int_equal(ide_cmd(&w, READ_DMA), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_ram(&w, IDE_DATA, 512, 1);
}

static void test_a_long_transfer_in_bounded_chunks(void **state)
{
	unsigned n = 6144; /* sectors: 3 MiB */

	(void)state;
	ide_disk_fill(&w.disks[0], 1000, n, 7);
	for (unsigned i = 0; i < n / 128; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 65536), 0, i == n / 128 - 1);
	ide_lba48(&w, 0, 1000, (uint16_t)n);
	ide_out(&w, ATA_COMMAND, READ_DMA_EXT);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_ram(&w, IDE_DATA, n * 512, 7);
	assert_int_equal(w.disks[0].submitted, 3);
	assert_int_equal(w.irq[0].raised, 1);
}

static void test_regions_that_are_no_sectors(void **state)
{
	static const uint16_t lens[] = { 2, 1022, 510, 6, 4000, 652 };
	uint8_t want[6192], got[6192];
	size_t at = 0;

	(void)state;
	_Static_assert(2 + 1022 + 510 + 6 + 4000 + 652 == 6192, "twelve sectors and 48 bytes");
	ide_disk_fill(&w.disks[0], 0, 12, 5);
	ide_pattern(want, 6144, 5);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 0x2000 + 2 * i), lens[i],
			i == ARRAY_SIZE(lens) - 1);
	ide_lba28(&w, 0, 0, 12);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE_MORE);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); at += lens[i], i++)
		memcpy(got + at, ide_ram(&w, IDE_DATA + i * 0x2000 + 2 * i), lens[i]);
	assert_memory_equal(got, want, 6144);
	ide_bm_stop(&w);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
}

/* More regions than an iovec holds, of which none ends where a sector does. */
static void test_thousands_of_tiny_regions(void **state)
{
	unsigned n = 4096, len = 6; /* 24576 bytes: 48 sectors */

	(void)state;
	ide_fill_ram(&w, IDE_DATA, n * len, 9);
	for (unsigned i = 0; i < n; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * len), (uint16_t)len, i == n - 1);
	ide_lba28(&w, 0, 64, 48);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_disk(&w.disks[0], 64, n * len, 9);
	assert_true(w.disks[0].submitted > 1);
}

/* And some of which none ends where a sector does, as far as there is room. */
static void test_regions_that_never_end_with_a_sector(void **state)
{
	unsigned sectors = 600;

	(void)state;
	ide_fill_ram(&w, IDE_DATA, sectors * 512, 9);
	ide_prd(&w, 0, IDE_DATA, 256, false);
	for (unsigned i = 1; i < sectors; i++)
		ide_prd(&w, i, IDE_DATA + i * 512 - 256, 512, false);
	ide_prd(&w, sectors, (uint32_t)(IDE_DATA + sectors * 512 - 256), 256, true);
	ide_lba48(&w, 0, 64, (uint16_t)sectors);
	ide_out(&w, ATA_COMMAND, WRITE_DMA_EXT);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_disk(&w.disks[0], 64, sectors * 512, 9);
	for (unsigned i = 0; i < w.disks[0].submitted; i++)
		assert_int_equal(w.disks[0].lens[i] % 512, 0);
}

static void test_odd_addresses_and_lengths_lose_their_last_bit(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 0, 1, 5);
	memset(ide_ram(&w, IDE_DATA), 0xee, 1024);
	ide_prd(&w, 0, IDE_DATA + 1, 513, true);
	ide_lba28(&w, 0, 0, 1);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	ide_expect_ram(&w, IDE_DATA, 512, 5);
	assert_int_equal(*(uint8_t *)ide_ram(&w, IDE_DATA + 512), 0xee);
}

static void test_registers(void **state)
{
	(void)state;
	outl(&w.bus, IDE_BM_BASE + BM_TABLE, 0x12345677);
	assert_int_equal(inl(&w.bus, IDE_BM_BASE + BM_TABLE), 0x12345674);
	assert_int_equal(inb(&w.bus, IDE_BM_BASE + BM_TABLE + 1), 0x56);
	ide_bm_out(&w, BM_COMMAND, 0xfe);
	assert_int_equal(ide_bm_in(&w, BM_COMMAND), BM_COMMAND_TO_MEMORY);
	ide_bm_out(&w, BM_STATUS, 0xff);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), 0x60); /* not simplex */
	ide_bm_out(&w, BM_STATUS, 0x20);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), 0x20);
	assert_int_equal(inl(&w.bus, IDE_BM_BASE), 0x00200008);
	assert_int_equal(inl(&w.bus, IDE_BM_BASE + BM_NR_REGS), 0);
}

static void test_both_channels_at_a_time(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 3, 2, 1);
	ide_disk_fill(&w.disks[3], 3, 2, 2);
	w.disks[0].hold = true;
	ide_prd(&w, 0, IDE_DATA, 1024, true);
	ide_lba28(&w, 0, 3, 2);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[0], 1);
	w.cur = 1;
	ide_prd(&w, 0, IDE_DATA + 0x1000, 1024, true);
	ide_lba28(&w, 1, 3, 2);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_true(w.irq[1].level);
	assert_false(w.irq[0].level);
	ide_expect_ram(&w, IDE_DATA + 0x1000, 1024, 2);
	w.cur = 0;
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	ide_expect_ram(&w, IDE_DATA, 1024, 1);
}

/* The registers name the bad sector, and those before it have arrived. */
static void test_a_disk_error(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 10, 2, 1);
	w.disks[0].bad = 12 * 512;
	for (unsigned i = 0; i < 6; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 700), 700, i == 5);
	ide_lba28(&w, 0, 10, 8);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY | ATA_STATUS_ERR);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_UNC);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 12);
	ide_expect_ram(&w, IDE_DATA, 1024, 1);
	assert_true(ide_bm_in(&w, BM_STATUS) & BM_STATUS_INTERRUPT);
	assert_false(ide_bm_in(&w, BM_STATUS) & BM_STATUS_ERROR); /* that is the bus's */
}

/* What could not be read at once, but by the sector, is no error. */
static void test_a_disk_error_that_passes(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 10, 8, 1);
	w.disks[0].fails = 1;
	ide_prd(&w, 0, IDE_DATA, 4096, true);
	ide_lba28(&w, 0, 10, 8);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_ram(&w, IDE_DATA, 4096, 1);
	assert_int_equal(w.disks[0].submitted, 1 + 8);
}

static void test_a_write_error(void **state)
{
	(void)state;
	w.disks[0].bad = 12 * 512;
	ide_prd(&w, 0, IDE_DATA, 4096, true);
	ide_lba28(&w, 0, 10, 8);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY | ATA_STATUS_ERR | ATA_STATUS_DF);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 10); /* from here on nothing is certain */
	assert_int_equal(w.disks[0].submitted, 1);
}

static void test_write_through(void **state)
{
	(void)state;
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_WRITE_CACHE_OFF);
	ide_cmd(&w, 0xef);
	ide_in(&w, ATA_STATUS);
	ide_prd(&w, 0, IDE_DATA, 512, true);
	ide_lba28(&w, 0, 10, 1);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	assert_int_equal(w.disks[0].submitted, 3);
	assert_int_equal(w.disks[0].ops[2], BLOCK_FLUSH);
}

static uint64_t counted(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		n += counter_get(&h->bucket[i]);
	return n;
}

static void test_stages(void **state)
{
	struct block_stages *s = &w.stages[0];

	(void)state;
	test_read_and_write(state);
	assert_int_equal(counted(&s->stage[BLOCK_STAGE_TOTAL]), 1);
	for (unsigned i = 0; i < BLOCK_STAGE_TOTAL; i++)
		assert_int_equal(counted(&s->stage[i]), 1);
	assert_int_equal(s->silent, 0);
	assert_int_equal(counted(&w.stages[1].stage[BLOCK_STAGE_TOTAL]), 1);
	ide_control(&w, ATA_CONTROL_NIEN);
	ide_lba28(&w, 0, 0, 1);
	ide_cmd(&w, 0xe7);
	assert_int_equal(counted(&s->stage[BLOCK_STAGE_TOTAL]), 2);
	assert_int_equal(s->silent, 1);
}

/* --- tables that are wrong -------------------------------------------------------------- */

/* 0/0: the table describes less than the drive has. */
static void test_a_table_too_short(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 0, 8, 5);
	ide_prd(&w, 0, IDE_DATA, 1536, true);
	ide_lba28(&w, 0, 0, 8);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_wait_idle(&w), 0);
	ide_expect_ram(&w, IDE_DATA, 1536, 5);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY); /* it has more to give */
	assert_false(w.irq[0].level);
	/* With another table it would. */
	ide_bm_stop(&w);
	ide_prd(&w, 0, IDE_DATA + 1536, 2560, true);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	ide_expect_ram(&w, IDE_DATA, 4096, 5);
}

static void test_a_table_that_ends_within_a_sector(void **state)
{
	uint8_t before[512], after[512];

	(void)state;
	ide_disk_fill(&w.disks[0], 0, 2, 5);
	memset(ide_ram(&w, IDE_DATA), 0xee, 2048);
	ide_prd(&w, 0, IDE_DATA, 700, true);
	ide_lba28(&w, 0, 0, 2);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_wait_idle(&w), 0);
	ide_expect_ram(&w, IDE_DATA, 700, 5);
	for (unsigned i = 700; i < 2048; i++)
		assert_int_equal(*(uint8_t *)ide_ram(&w, IDE_DATA + i), 0xee);
	ide_recover(&w);
	/* Half a sector is not written. */
	ide_disk_peek(&w.disks[0], 1, before, 512);
	ide_fill_ram(&w, IDE_DATA, 2048, 6);
	ide_lba28(&w, 0, 0, 2);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_bm_wait_idle(&w), 0);
	ide_expect_disk(&w.disks[0], 0, 512, 6);
	ide_disk_peek(&w.disks[0], 1, after, 512);
	assert_memory_equal(before, after, 512);
	ide_recover(&w);
}

/* CVE-2014-9718: a table without progress ends; the walk is bounded. */
static void test_endless_and_empty_tables(void **state)
{
	(void)state;
	/* A table without an end, of the smallest regions, in front of its 64 KiB border. */
	for (unsigned i = 0; i < 8192; i++)
		ide_prd(&w, i, IDE_DATA, 2, false);
	ide_lba48(&w, 0, 0, 0);
	ide_out(&w, ATA_COMMAND, READ_DMA_EXT);
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_wait_idle(&w), BM_STATUS_ERROR);
	assert_true(w.disks[0].submitted <= 8192 / 256 + 1);
	ide_recover(&w);
	/* Zero is 64 KiB, not nothing. */
	memset(ide_ram(&w, IDE_PRD), 0, 65536);
	ide_lba48(&w, 0, 0, 1024);
	ide_out(&w, ATA_COMMAND, WRITE_DMA_EXT);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE_MORE);
	ide_recover(&w);
	/* A table at the end of what can be addressed. */
	outl(&w.bus, IDE_BM_BASE + BM_TABLE, 0xfffffffc);
	ide_lba28(&w, 0, 0, 1);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_out(&w, BM_STATUS, BM_STATUS_INTERRUPT | BM_STATUS_ERROR);
	ide_bm_out(&w, BM_COMMAND, BM_COMMAND_START | BM_COMMAND_TO_MEMORY);
	assert_int_equal(ide_bm_wait_idle(&w), BM_STATUS_ERROR);
	ide_recover(&w);
}

static unsigned touched;

static uint64_t trap_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	(void)width;
	touched++;
	return 0;
}

static void trap_write(struct device *dev, uint64_t offset, unsigned width, uint64_t v)
{
	(void)dev;
	(void)offset;
	(void)width;
	(void)v;
	touched++;
}

/* CVE-2024-3446: DMA reaches RAM only, never a device, and nothing past RAM. */
static void test_dma_reaches_ram_only(void **state)
{
	static const struct bus_ops trap = { .max_width = 8,
					     .read = trap_read,
					     .write = trap_write };
	static const uint32_t where[] = { 0xd0000000, IDE_RAM, IDE_RAM - 512, 0xfffffffe };

	(void)state;
	touched = 0;
	assert_int_equal(bus_add(&w.bus, BUS_MMIO, 0xd0000000, 65536, w.fn, &trap), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
		for (unsigned write = 0; write < 2; write++) {
			ide_prd(&w, 0, IDE_DATA, 512, false);
			ide_prd(&w, 1, where[i], 1024, true);
			ide_lba28(&w, 0, 0, 3);
			ide_out(&w, ATA_COMMAND, write ? WRITE_DMA : READ_DMA);
			ide_bm_start(&w, !write);
			assert_int_equal(ide_bm_wait_idle(&w), BM_STATUS_ERROR);
			ide_recover(&w);
		}
	}
	assert_int_equal(touched, 0);
	/* What came before it in the table did arrive. */
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(where); i++)
		assert_int_equal(w.disks[0].lens[i], 512);
	assert_int_equal(bus_remove(&w.bus, BUS_MMIO, 0xd0000000), 0);
}

/* A ROM can be written to disk, as any memory, and not read into. */
static void test_dma_and_rom(void **state)
{
	const uint32_t rom = 0xfffc0000;
	uint8_t bytes[4096];

	(void)state;
	ide_pattern(bytes, sizeof(bytes), 8);
	assert_int_equal(mem_add_rom(&w.mem, rom, bytes, sizeof(bytes)), 0);
	ide_prd(&w, 0, rom, 1024, true);
	ide_lba28(&w, 0, 7, 2);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	ide_expect_disk(&w.disks[0], 7, 1024, 8);
	ide_disk_fill(&w.disks[0], 7, 2, 9);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_wait_idle(&w), BM_STATUS_ERROR);
	assert_memory_equal(mem_at_const(&w.mem, rom, 4096), bytes, sizeof(bytes));
	ide_recover(&w);
}

static void test_a_wrong_direction_moves_nothing(void **state)
{
	(void)state;
	ide_prd(&w, 0, IDE_DATA, 512, true);
	ide_lba28(&w, 0, 0, 1);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, true);
	ide_settle(&w);
	assert_int_equal(w.disks[0].submitted, 0);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_ACTIVE);
	ide_recover(&w);
}

static void test_without_bus_mastering_nothing_moves(void **state)
{
	(void)state;
	ide_disk_fill(&w.disks[0], 0, 1, 5);
	ide_config_out(&w, PCI_COMMAND, 2, PCI_COMMAND_IO);
	ide_prd(&w, 0, IDE_DATA, 512, true);
	ide_lba28(&w, 0, 0, 1);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	ide_settle(&w);
	assert_int_equal(w.disks[0].submitted, 0);
	ide_config_out(&w, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	assert_int_equal(ide_wait(&w), READY);
	ide_expect_ram(&w, IDE_DATA, 512, 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read_and_write),
		T(test_what_was_read_is_dirty),
		T(test_start_before_the_command),
		T(test_a_long_transfer_in_bounded_chunks),
		T(test_regions_that_are_no_sectors),
		T(test_thousands_of_tiny_regions),
		T(test_regions_that_never_end_with_a_sector),
		T(test_odd_addresses_and_lengths_lose_their_last_bit),
		T(test_registers),
		T(test_both_channels_at_a_time),
		T(test_a_disk_error),
		T(test_a_disk_error_that_passes),
		T(test_a_write_error),
		T(test_write_through),
		T(test_stages),
		T(test_a_table_too_short),
		T(test_a_table_that_ends_within_a_sector),
		T(test_endless_and_empty_tables),
		T(test_dma_reaches_ram_only),
		T(test_dma_and_rom),
		T(test_a_wrong_direction_moves_nothing),
		T(test_without_bus_mastering_nothing_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
