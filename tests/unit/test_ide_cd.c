/* SPDX-License-Identifier: MIT */
/* A CD-ROM drive on the bus: what surrounds the packets. The packets are test_atapi.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"
#include "devices/ide/atapi.h"
#include "tests/unit/ide_driver.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define OFFERS (READY | ATA_STATUS_DRQ)
#define FAILED (READY | ATA_STATUS_ERR)
#define DISC 4000 /* sectors: 1000 blocks */
#define BLOCK 2048

enum { REASON_PACKET = 1, REASON_DATA_IN = 2, REASON_STATUS = 3 };

static struct ide_world w;

/* A disk and a CD; then an empty drive. */
static int setup(void **state)
{
	(void)state;
	ide_world_init(&w, (int64_t[]){ 4096, IDE_CD(DISC), IDE_EMPTY_CD, IDE_NONE }, false);
	ide_out(&w, ATA_DEVICE, 0xb0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ide_world_destroy(&w);
	return 0;
}

/* Sends a packet; the status when BSY falls. */
static uint8_t packet(bool dma, uint16_t limit, const uint8_t cdb[12])
{
	ide_out(&w, ATA_FEATURES, dma);
	ide_out(&w, ATA_LBA_MID, (uint8_t)limit);
	ide_out(&w, ATA_LBA_HIGH, (uint8_t)(limit >> 8));
	assert_int_equal(ide_cmd(&w, 0xa0), OFFERS);
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_PACKET);
	ide_write_block(&w, cdb, 12);
	return dma ? 0 : ide_wait(&w);
}

static void request_sense(uint8_t sense[18])
{
	uint8_t status;

	status = packet(false, 18, (uint8_t[12]){ 0x03, [4] = 18 });
	assert_int_equal(status, OFFERS);
	ide_read_block(&w, sense, 18);
	assert_int_equal(ide_wait(&w), READY);
}

/* After a reset the first command tells of it. */
static void clear_attention(void)
{
	uint8_t sense[18];

	for (unsigned i = 0; i < 4 && packet(false, 0, (uint8_t[12]){ 0 }) != READY; i++)
		request_sense(sense);
	ide_in(&w, ATA_STATUS);
}

static const uint8_t *read10(uint32_t lba, uint16_t n)
{
	static uint8_t cdb[12];

	memset(cdb, 0, sizeof(cdb));
	cdb[0] = 0x28;
	cdb[4] = (uint8_t)(lba >> 8);
	cdb[5] = (uint8_t)lba;
	cdb[7] = (uint8_t)(n >> 8);
	cdb[8] = (uint8_t)n;
	return cdb;
}

static void test_signature_and_identify(void **state)
{
	uint16_t words[256];
	uint8_t status;

	(void)state;
	assert_int_equal(ide_altstatus(&w), 0); /* not ready before its first command */
	assert_int_equal(ide_in(&w, ATA_LBA_MID), 0x14);
	assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0xeb);
	assert_int_equal(ide_in(&w, ATA_COUNT), 1);
	/* It is no disk, and says what it is instead: to IDENTIFY DEVICE and READ SECTORS. */
	for (unsigned i = 0; i < 2; i++) {
		ide_out(&w, ATA_LBA_MID, 0);
		assert_int_equal(ide_cmd(&w, i ? 0x20 : 0xec), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
		assert_int_equal(ide_in(&w, ATA_LBA_MID), 0x14);
		assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0xeb);
	}
	status = ide_cmd(&w, 0xa1);
	assert_int_equal(status, OFFERS);
	ide_read_block(&w, words, 512);
	assert_int_equal(words[0] >> 14, 2);
	assert_int_equal(words[0] >> 8 & 0x1f, 5);
	assert_int_equal(words[63], 7);
	assert_int_equal(ide_altstatus(&w), READY);
}

static void test_inquiry_by_pio(void **state)
{
	uint8_t all[36], parts[36];
	unsigned raised;

	(void)state;
	assert_int_equal(packet(false, 0xfffe, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_DATA_IN);
	assert_int_equal(ide_in(&w, ATA_LBA_MID) | ide_in(&w, ATA_LBA_HIGH) << 8, 36);
	ide_read_block(&w, all, 36);
	assert_int_equal(all[0], 5);
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_STATUS);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	/* The same in blocks of 14, the odd byte of the limit not counted, one interrupt each. */
	raised = w.irq[0].raised;
	assert_int_equal(packet(false, 15, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
	for (unsigned at = 0; at < 36; at += 14) {
		unsigned n = (unsigned)min_u64(14, 36 - at);

		assert_int_equal(ide_in(&w, ATA_LBA_MID), n);
		assert_int_equal(ide_in(&w, ATA_STATUS), OFFERS);
		ide_read_block(&w, parts + at, n);
	}
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	assert_int_equal(w.irq[0].raised - raised, 4);
	assert_memory_equal(parts, all, 36);
}

/* CVE-2015-5154, CVE-2020-29443: blocks that are no multiple of what is read at a time. */
static void test_an_element_never_spans_two_blocks(void **state)
{
	uint8_t all[36], got[60];

	(void)state;
	assert_int_equal(packet(false, 36, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
	ide_read_block(&w, all, 36);
	assert_int_equal(packet(false, 6, (uint8_t[12]){ 0x12, [4] = 35 }), OFFERS);
	memset(got, 0xee, sizeof(got));
	bus_read_rep(&w.bus, BUS_PIO, ide_data_port(&w), got, 4, 15);
	/* Six bytes in two dwords each; the last block has five. */
	for (unsigned i = 0; i < 6; i++) {
		unsigned n = i == 5 ? 5 : 6;

		if (i * 8 + 8 > sizeof(got))
			break;
		assert_memory_equal(got + i * 8, all + i * 6, n);
		for (unsigned k = n; k < 8; k++)
			assert_int_equal(got[i * 8 + k], 0);
	}
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(inl(&w.bus, ide_data_port(&w)), 0);
}

/* A limit of 0 is what IDENTIFY PACKET DEVICE says it is; no other is exceeded. */
static void test_byte_count_limits(void **state)
{
	static const struct {
		uint16_t limit, first;
	} limits[] = { { 0, 0xfffe },      { 1, 2 },           { 2, 2 },          { 3, 2 },
		       { 0xfffe, 0xfffe }, { 0xffff, 0xfffe }, { 0x1001, 0x1000 } };
	uint16_t words[256];

	(void)state;
	clear_attention();
	ide_cmd(&w, 0xa1);
	ide_read_block(&w, words, 512);
	assert_int_equal(words[125], 0xfffe);
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		/* No more than what is read ahead at a time. */
		uint16_t first = (uint16_t)min_u64(limits[i].first, 0x8000);

		assert_int_equal(packet(false, limits[i].limit, read10(0, 64)), OFFERS);
		assert_int_equal(ide_in(&w, ATA_LBA_MID) | ide_in(&w, ATA_LBA_HIGH) << 8, first);
		ide_out(&w, ATA_COMMAND, 0x08);
		clear_attention();
	}
}

static void init_disc(int64_t sectors)
{
	ide_world_destroy(&w);
	ide_world_init(&w, (int64_t[]){ IDE_CD(sectors), IDE_NONE, IDE_NONE, IDE_NONE }, false);
}

/* Whole blocks count, and no more of them than a READ CAPACITY can tell. */
static void test_the_disc_has_whole_blocks(void **state)
{
	static const struct {
		int64_t sectors;
		uint32_t last;
	} discs[] = { { 4003, 999 }, { 4, 0 }, { (1ll << 34) + 40, 0xfffffffe } };
	uint8_t got[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(discs); i++) {
		init_disc(discs[i].sectors);
		clear_attention();
		assert_int_equal(packet(false, 8, (uint8_t[12]){ 0x25 }), OFFERS);
		ide_read_block(&w, got, 8);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(got[k], (uint8_t)(discs[i].last >> (24 - 8 * k)));
	}
	/* The last block that can be named, where 32 bits of bytes or sectors would not do. */
	packet(false, 2048, (uint8_t[12]){ 0x28, 0, 0xff, 0xff, 0xff, 0xfe, [8] = 1 });
	assert_int_equal(ide_wait(&w), OFFERS);
	assert_true(w.disks[0].offsets[0] == 0xfffffffeull * BLOCK);
	/* Less than one block is no disc. */
	init_disc(3);
	clear_attention();
	assert_int_equal(packet(false, 8, (uint8_t[12]){ 0x25 }), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR) >> 4, 2);
}

static void read_blocks(uint32_t lba, unsigned n, uint16_t limit)
{
	uint8_t *got = malloc(n * BLOCK), *want = malloc(n * BLOCK);
	unsigned at = 0;

	ide_disk_fill(&w.disks[1], lba * 4, n * 4, lba);
	ide_pattern(want, n * BLOCK, lba);
	packet(false, limit, read10(lba, (uint16_t)n));
	while (ide_wait(&w) & ATA_STATUS_DRQ) {
		unsigned len = ide_in(&w, ATA_LBA_MID) | ide_in(&w, ATA_LBA_HIGH) << 8;

		assert_int_equal(ide_in(&w, ATA_COUNT), REASON_DATA_IN);
		assert_true(len && len <= limit && len <= n * BLOCK - at);
		ide_read_block(&w, got + at, len);
		at += len;
	}
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_STATUS);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	assert_int_equal(at, n * BLOCK);
	assert_memory_equal(got, want, n * BLOCK);
	free(got);
	free(want);
}

static void test_read_by_pio(void **state)
{
	(void)state;
	clear_attention();
	read_blocks(10, 1, 2048);
	read_blocks(20, 5, 2048);
	read_blocks(30, 100, 0xfffe);
	read_blocks(40, 7, 700);
}

static void test_read_by_dma(void **state)
{
	uint8_t *want = malloc(64 * BLOCK);

	(void)state;
	clear_attention();
	ide_disk_fill(&w.disks[1], 400, 64 * 4, 6);
	ide_pattern(want, 64 * BLOCK, 6);
	for (unsigned i = 0; i < 3; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 50000), i < 2 ? 50000 : 31072, i == 2);
	packet(true, 0, read10(100, 64));
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_INTERRUPT);
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_STATUS);
	assert_memory_equal(ide_ram(&w, IDE_DATA), want, 64 * BLOCK);
	free(want);
}

static void test_reply_by_dma(void **state)
{
	struct state_buf b = { 0 };
	uint8_t all[36];

	(void)state;
	assert_int_equal(packet(false, 36, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
	ide_read_block(&w, all, 36);
	memset(ide_ram(&w, IDE_DATA), 0xee, 64);
	ide_prd(&w, 0, IDE_DATA, 10, false);
	ide_prd(&w, 1, IDE_DATA + 10, 54, true);
	packet(true, 0, (uint8_t[12]){ 0x12, [4] = 35 });
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_INTERRUPT | BM_STATUS_ACTIVE);
	assert_memory_equal(ide_ram(&w, IDE_DATA), all, 35);
	assert_int_equal(*(uint8_t *)ide_ram(&w, IDE_DATA + 35), 0xee);
	/* Into a table that is too short, and on into another. */
	ide_bm_out(&w, BM_COMMAND, 0);
	ide_prd(&w, 0, IDE_DATA + 64, 20, true);
	packet(true, 0, (uint8_t[12]){ 0x12, [4] = 36 });
	ide_bm_start(&w, true);
	assert_int_equal(ide_bm_wait_idle(&w), 0);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	/* In the middle of which it can be saved. */
	assert_int_equal(state_save(w.ch[0], &b), 0);
	assert_int_equal(state_load(w.ch[0], b.data, b.len), b.len);
	state_buf_free(&b);
	ide_bm_out(&w, BM_COMMAND, 0);
	ide_prd(&w, 0, IDE_DATA + 84, 16, true);
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), READY);
	assert_memory_equal(ide_ram(&w, IDE_DATA + 64), all, 36);
}

static void test_errors(void **state)
{
	uint8_t sense[18], got[BLOCK];

	(void)state;
	clear_attention();
	/* Beyond the disc. */
	assert_int_equal(packet(false, 2048, read10(999, 2)), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), 0x50 | ATA_ERROR_ABRT);
	assert_int_equal(ide_in(&w, ATA_COUNT), REASON_STATUS);
	/* The host cannot read block 5, but those before it. */
	w.disks[1].bad = 5 * BLOCK + 9;
	packet(false, 2048, read10(3, 4));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ide_wait(&w), OFFERS);
		ide_read_block(&w, got, BLOCK);
	}
	assert_int_equal(ide_wait(&w), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR) >> 4, 3);
	request_sense(sense);
	assert_int_equal(sense[2] & 15, 3);
	ide_prd(&w, 0, IDE_DATA, 8192, true);
	packet(true, 0, read10(3, 4));
	ide_bm_start(&w, true);
	assert_int_equal(ide_wait(&w), FAILED);
	/* Overlapped commands are not for us. */
	ide_out(&w, ATA_FEATURES, 2);
	assert_int_equal(ide_cmd(&w, 0xa0), FAILED);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
}

/* CVE-2015-6855: disk commands are refused by a drive that is none. */
static void test_disk_commands_are_refused(void **state)
{
	static const uint8_t opcodes[] = { 0x10, 0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x35,
					   0x40, 0x42, 0x70, 0x91, 0xc4, 0xc5, 0xc6, 0xc8,
					   0xca, 0xe7, 0xea, 0xec, 0xf8, 0x06, 0xb0 };

	(void)state;
	for (w.cur = 0; w.cur < 2; w.cur++) {
		for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
			ide_lba28(&w, !w.cur, 0, 1);
			assert_int_equal(ide_cmd(&w, opcodes[i]), FAILED);
			assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
		}
	}
	w.cur = 0;
	assert_int_equal(w.disks[1].submitted, 0);
}

static void test_an_empty_drive(void **state)
{
	uint8_t sense[18];

	(void)state;
	w.cur = 1;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(packet(false, 2048, read10(0, 1)), FAILED);
		request_sense(sense);
	}
	assert_int_equal(sense[2] & 15, 2);
	assert_int_equal(sense[12], 0x3a); /* no medium */
}

static void test_device_reset_in_flight(void **state)
{
	(void)state;
	clear_attention();
	w.disks[1].hold = true;
	ide_prd(&w, 0, IDE_DATA, BLOCK, true);
	packet(true, 0, read10(7, 1));
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[1], 1);
	ide_out(&w, ATA_COMMAND, 0x08);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_disk_release(&w.disks[1]);
	assert_int_equal(ide_wait(&w), 0);
	assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0xeb);
	assert_int_equal(ide_in(&w, ATA_ERROR), 1);
	assert_false(w.irq[0].level);
	assert_int_equal(ide_in(&w, ATA_DEVICE), 0xb0);
	/* The disk beside it has not noticed. */
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_cmd(&w, 0xec), OFFERS);
}

static void test_device_reset_in_the_packet(void **state)
{
	(void)state;
	assert_int_equal(ide_cmd(&w, 0xa0), OFFERS);
	outw(&w.bus, ide_data_port(&w), 0x1212);
	assert_int_equal(ide_cmd(&w, 0x08), 0);
	assert_int_equal(inw(&w.bus, ide_data_port(&w)), 0);
	assert_int_equal(packet(false, 36, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
}

/* Of either reset the next command that can fail tells, once. */
static void test_resets_are_told_of(void **state)
{
	uint8_t sense[18];

	(void)state;
	clear_attention();
	for (unsigned i = 0; i < 2; i++) {
		if (i) {
			ide_out(&w, ATA_COMMAND, 0x08);
		} else {
			ide_control(&w, ATA_CONTROL_SRST);
			ide_control(&w, 0);
			ide_out(&w, ATA_DEVICE, 0xb0);
		}
		assert_int_equal(packet(false, 36, (uint8_t[12]){ 0x12, [4] = 36 }), OFFERS);
		ide_read_block(&w, (uint8_t[36]){ 0 }, 36);
		assert_int_equal(packet(false, 0, (uint8_t[12]){ 0 }), FAILED);
		assert_int_equal(ide_in(&w, ATA_ERROR) >> 4, 6);
		request_sense(sense);
		assert_int_equal(sense[2] & 15, 6);
		assert_int_equal(sense[12], 0x29);
		assert_int_equal(packet(false, 0, (uint8_t[12]){ 0 }), READY);
	}
}

static void test_transfer_mode(void **state)
{
	uint16_t words[256];

	(void)state;
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_TRANSFER_MODE);
	ide_out(&w, ATA_COUNT, 0x22);
	assert_int_equal(ide_cmd(&w, 0xef), READY);
	ide_cmd(&w, 0xa1);
	ide_read_block(&w, words, 512);
	assert_int_equal(words[63], 0x0407);
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_WRITE_CACHE_ON);
	assert_int_equal(ide_cmd(&w, 0xef), FAILED);
}

static void test_saved_in_mid_packet(void **state)
{
	struct state_buf b[2] = { { 0 }, { 0 } };
	uint8_t cdb[12] = { 0x12, [4] = 36 }, got[36];

	(void)state;
	ide_out(&w, ATA_FEATURES, 0);
	ide_out(&w, ATA_LBA_MID, 20);
	ide_out(&w, ATA_LBA_HIGH, 0);
	ide_cmd(&w, 0xa0);
	ide_write_block(&w, cdb, 6);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(state_save(w.ch[0], &b[0]), 0);
		assert_int_equal(state_save(w.fn, &b[1]), 0);
		ide_world_remake(&w, false);
		assert_int_equal(state_load(w.fn, b[1].data, b[1].len), b[1].len);
		assert_int_equal(state_load(w.ch[0], b[0].data, b[0].len), b[0].len);
		state_buf_free(&b[0]);
		state_buf_free(&b[1]);
		if (round)
			break;
		ide_write_block(&w, cdb + 6, 6);
		assert_int_equal(ide_wait(&w), OFFERS);
		ide_read_block(&w, got, 8);
	}
	ide_read_block(&w, got + 8, 12);
	assert_int_equal(ide_in(&w, ATA_LBA_MID), 16);
	ide_read_block(&w, got + 20, 16);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(got[0], 5);
	assert_int_equal(got[4], 31);
}

static void test_every_packet(void **state)
{
	uint16_t words[256];

	(void)state;
	for (w.cur = 0; w.cur < 2; w.cur++) {
		for (unsigned op = 0; op < 512; op++) {
			uint8_t cdb[12] = { (uint8_t)op };

			ide_out(&w, ATA_DEVICE, w.cur ? 0xa0 : 0xb0);
			if (op >= 256)
				memset(cdb + 1, 0xff, 11);
			packet(false, 2, cdb);
			for (unsigned i = 0; i < 70000 && ide_wait(&w) & ATA_STATUS_DRQ; i++)
				ide_read_block(&w, words, 512);
			ide_in(&w, ATA_STATUS);
		}
		assert_int_equal(ide_cmd(&w, 0xa1), OFFERS);
	}
	w.cur = 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_signature_and_identify),
		T(test_inquiry_by_pio),
		T(test_an_element_never_spans_two_blocks),
		T(test_byte_count_limits),
		T(test_the_disc_has_whole_blocks),
		T(test_read_by_pio),
		T(test_read_by_dma),
		T(test_reply_by_dma),
		T(test_errors),
		T(test_disk_commands_are_refused),
		T(test_an_empty_drive),
		T(test_device_reset_in_flight),
		T(test_device_reset_in_the_packet),
		T(test_resets_are_told_of),
		T(test_transfer_mode),
		T(test_saved_in_mid_packet),
		T(test_every_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
