/* SPDX-License-Identifier: MIT */
/* DATA SET MANAGEMENT: lists of ranges that a disk may forget. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/state.h"
#include "tests/unit/ide_driver.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define SECTORS 65536
#define IDENTIFY 0xec
#define DATA_SET_MANAGEMENT 0x06

static struct ide_world w;

static int setup(void **state)
{
	(void)state;
	ide_world_init(&w, (int64_t[]){ SECTORS, SECTORS, IDE_CD(64), IDE_NONE }, true);
	w.disks[1].b.limits.discard_align = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ide_world_destroy(&w);
	return 0;
}

static void entry(unsigned i, uint64_t lba, uint16_t n)
{
	store_le((uint8_t *)ide_ram(&w, IDE_DATA) + 8 * (uint64_t)i, 8, lba | (uint64_t)n << 48);
}

/* A command for a list of so many sectors; the bus master is not started. */
static void begin(unsigned unit, uint16_t sectors)
{
	ide_lba48(&w, unit, 0, sectors);
	ide_out(&w, ATA_FEATURES, 0);
	ide_out(&w, ATA_FEATURES, ATA_DATA_SET_TRIM);
	ide_out(&w, ATA_COMMAND, DATA_SET_MANAGEMENT);
}

static uint8_t trim(unsigned unit, uint16_t sectors)
{
	ide_prd(&w, 0, (uint32_t)IDE_DATA, (uint16_t)(sectors * BLOCK_SECTOR), true);
	begin(unit, sectors);
	ide_bm_start(&w, false);
	return ide_wait(&w);
}

static void expect_discard(unsigned i, uint64_t lba, uint64_t n)
{
	assert_true(w.disks[0].submitted > i);
	assert_int_equal(w.disks[0].ops[i], BLOCK_DISCARD);
	assert_int_equal(w.disks[0].offsets[i], lba * BLOCK_SECTOR);
	assert_int_equal(w.disks[0].lens[i], n * BLOCK_SECTOR);
}

static void expect_refused(uint8_t status)
{
	assert_int_equal(status, READY | ATA_STATUS_ERR);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(w.disks[0].submitted, 0);
	assert_int_equal(w.disks[1].submitted, 0);
}

/* --- what is announced --------------------------------------------------------------- */

static void identify(unsigned unit, uint16_t words[256])
{
	ide_lba28(&w, unit, 0, 0);
	assert_int_equal(ide_cmd(&w, IDENTIFY), READY | ATA_STATUS_DRQ);
	ide_read_block(&w, words, 512);
}

static void test_announced(void **state)
{
	uint16_t words[256];

	(void)state;
	identify(0, words);
	assert_int_equal(words[169], 1);
	assert_int_equal(words[105], 8);
	assert_int_equal(words[69], 0); /* what it reads then is not promised */
	assert_true(words[80] & 0x80); /* older drives' word 169 nobody reads */
	identify(1, words);
	assert_int_equal(words[169], 0);
	assert_int_equal(words[105], 0);
}

/* --- lists ----------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
	static const uint8_t zeroes[BLOCK_SECTOR];
	uint8_t got[BLOCK_SECTOR], want[BLOCK_SECTOR];

	(void)state;
	ide_disk_fill(&w.disks[0], 0, 32, 1);
	ide_disk_peek(&w.disks[0], 16, want, sizeof(want));
	entry(0, 8, 8);
	entry(1, 0, 0); /* an empty one says nothing */
	entry(2, SECTORS - 1, 1);
	entry(63, 20, 65535 - 20);
	assert_int_equal(trim(0, 1), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_INTERRUPT);
	assert_true(w.irq[0].level);
	assert_int_equal(w.disks[0].submitted, 3);
	expect_discard(0, 8, 8);
	expect_discard(1, SECTORS - 1, 1);
	expect_discard(2, 20, 65535 - 20);
	ide_disk_peek(&w.disks[0], 15, got, sizeof(got));
	assert_memory_equal(got, zeroes, sizeof(got));
	ide_disk_peek(&w.disks[0], 16, got, sizeof(got));
	assert_memory_equal(got, want, sizeof(got));
}

static void test_long_list_in_pieces(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8 * 64; i++)
		entry(i, 2 * (uint64_t)i, i % 64 == 63);
	for (unsigned i = 0; i < 64; i++)
		ide_prd(&w, i, (uint32_t)IDE_DATA + i * 64, 64, i == 63);
	begin(0, 8);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(w.disks[0].submitted, 8);
	for (unsigned i = 0; i < 8; i++)
		expect_discard(i, 2 * (uint64_t)(i * 64 + 63), 1);
}

static void test_empty_list(void **state)
{
	(void)state;
	assert_int_equal(trim(0, 1), READY);
	assert_int_equal(w.disks[0].submitted, 0);
}

/* --- what is refused ------------------------------------------------------------------- */

static void test_refused(void **state)
{
	(void)state;
	expect_refused(trim(0, 0));
	expect_refused(trim(0, 9));
	expect_refused(trim(1, 1)); /* it cannot discard */
	w.disks[0].b.readonly = true;
	expect_refused(trim(0, 1));
	w.disks[0].b.readonly = false;
	ide_lba48(&w, 0, 0, 1);
	ide_out(&w, ATA_FEATURES, 0);
	expect_refused(ide_cmd(&w, DATA_SET_MANAGEMENT));
	w.cur = 1;
	ide_lba48(&w, 0, 0, 1);
	ide_out(&w, ATA_FEATURES, ATA_DATA_SET_TRIM);
	assert_true(ide_cmd(&w, DATA_SET_MANAGEMENT) & ATA_STATUS_ERR);
}

/* What follows a range beyond the end is not looked at; what came before is done. */
static void test_beyond_the_end(void **state)
{
	(void)state;
	entry(0, 16, 8);
	entry(1, SECTORS - 1, 2);
	entry(2, 32, 8);
	assert_int_equal(trim(0, 1), READY | ATA_STATUS_ERR);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
	assert_int_equal(w.disks[0].submitted, 1);
	expect_discard(0, 16, 8);

	entry(0, (1ull << 48) - 1, 65535);
	assert_int_equal(trim(0, 1), READY | ATA_STATUS_ERR);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_IDNF);
	assert_int_equal(w.disks[0].submitted, 1);
	/* And the drive still works. */
	entry(0, 40, 8);
	entry(1, 0, 0);
	entry(2, 0, 0);
	assert_int_equal(trim(0, 1), READY);
	expect_discard(1, 40, 8);
}

static void test_host_fails(void **state)
{
	(void)state;
	w.disks[0].fails = 1;
	entry(0, 16, 8);
	entry(1, 32, 8);
	assert_int_equal(trim(0, 1), READY | ATA_STATUS_ERR | ATA_STATUS_DF);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(w.disks[0].submitted, 1);
}

/* The list is not there in full: nothing of it is done, and the guest resets. */
static void test_short_table(void **state)
{
	(void)state;
	entry(0, 16, 8);
	ide_prd(&w, 0, (uint32_t)IDE_DATA, 256, true);
	begin(0, 1);
	ide_bm_start(&w, false);
	assert_false(ide_bm_wait_idle(&w) & BM_STATUS_ERROR);
	ide_settle(&w);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	assert_int_equal(w.disks[0].submitted, 0);
	/* A table with the rest of it does finish it. */
	ide_bm_out(&w, BM_COMMAND, 0);
	ide_prd(&w, 0, (uint32_t)IDE_DATA + 256, 256, true);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	expect_discard(0, 16, 8);
}

static void test_table_outside_of_memory(void **state)
{
	(void)state;
	ide_prd(&w, 0, 0xfffff000, 512, true);
	begin(0, 1);
	ide_bm_start(&w, false);
	assert_true(ide_bm_wait_idle(&w) & BM_STATUS_ERROR);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(w.disks[0].submitted, 0);
}

/* The guest changes its list while the drive is at work: the drive has a copy. */
static void test_list_is_copied(void **state)
{
	(void)state;
	w.disks[0].hold = true;
	entry(0, 16, 8);
	entry(1, 32, 8);
	ide_prd(&w, 0, (uint32_t)IDE_DATA, 512, true);
	begin(0, 1);
	ide_bm_start(&w, false);
	ide_disk_wait_submitted(&w.disks[0], 1);
	entry(1, SECTORS, 65535);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	expect_discard(1, 32, 8);
}

/* --- in mid-command ---------------------------------------------------------------------- */

static void test_reset_drops_the_rest(void **state)
{
	(void)state;
	w.disks[0].hold = true;
	entry(0, 16, 8);
	entry(1, 32, 8);
	ide_prd(&w, 0, (uint32_t)IDE_DATA, 512, true);
	begin(0, 1);
	ide_bm_start(&w, false);
	ide_disk_wait_submitted(&w.disks[0], 1);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	ide_settle(&w);
	assert_int_equal(w.disks[0].submitted, 1);
}

/* --- state --------------------------------------------------------------------------------- */

struct saved {
	struct state_buf ch, fn;
};

static struct saved save(void)
{
	struct saved s = { 0 };

	assert_int_equal(state_save(w.ch[0], &s.ch), 0);
	assert_int_equal(state_save(w.fn, &s.fn), 0);
	return s;
}

static void load(struct saved *s)
{
	assert_int_equal(state_load(w.fn, s->fn.data, s->fn.len), s->fn.len);
	assert_int_equal(state_load(w.ch[0], s->ch.data, s->ch.len), s->ch.len);
	state_buf_free(&s->fn);
	state_buf_free(&s->ch);
}

static void move_house(void)
{
	struct saved s = save();

	ide_world_remake(&w, true);
	load(&s);
}

static void test_saved_in_mid_list(void **state)
{
	(void)state;
	entry(0, 16, 8);
	entry(32, 48, 8);
	ide_prd(&w, 0, (uint32_t)IDE_DATA, 256, true);
	begin(0, 1);
	move_house();
	ide_bm_start(&w, false);
	ide_bm_wait_idle(&w);
	move_house();
	ide_bm_out(&w, BM_COMMAND, 0);
	ide_prd(&w, 0, (uint32_t)IDE_DATA + 256, 256, true);
	ide_bm_start(&w, false);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(w.disks[0].submitted, 2);
	expect_discard(0, 16, 8);
	expect_discard(1, 48, 8);
}

static void *release_later(void *opaque)
{
	struct timespec soon = { .tv_nsec = 20000000 };

	nanosleep(&soon, NULL);
	ide_disk_release(opaque);
	return NULL;
}

/* Paused while the host does the first of two ranges. */
static struct saved save_between_ranges(void)
{
	struct saved s;
	pthread_t thread;

	w.disks[0].hold = true;
	entry(0, 16, 8);
	entry(1, 32, 8);
	ide_prd(&w, 0, (uint32_t)IDE_DATA, 512, true);
	begin(0, 1);
	ide_bm_start(&w, false);
	ide_disk_wait_submitted(&w.disks[0], 1);
	pthread_create(&thread, NULL, release_later, &w.disks[0]);
	ide_channel_pause(w.ch[0]);
	pthread_join(thread, NULL);
	s = save();
	ide_world_remake(&w, true);
	return s;
}

static void test_saved_between_ranges(void **state)
{
	struct saved s = save_between_ranges();

	(void)state;
	assert_int_equal(w.disks[0].submitted, 1);
	load(&s);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(w.disks[0].submitted, 2);
	expect_discard(1, 32, 8);
}

/* Gives a field of a saved channel another value; the checksum is made to fit. */
static void forge(struct state_buf *b, const char *field, uint32_t v)
{
	size_t n = strlen(field);
	uint8_t *p = memmem(b->data, b->len, field, n);

	assert_non_null(p);
	assert_int_equal(p[-1], n);
	store_le(p + n + 8, (unsigned)load_le(p + n, 4), v);
	store_le(b->data + b->len - 4, 4, util_crc32(0, b->data, b->len - 4));
}

static void test_hostile_state(void **state)
{
	struct saved s = save_between_ranges();
	static const struct {
		const char *field;
		uint32_t right, wrong;
	} fields[] = {
		{ "pos", 8, 12 }, /* within an entry: the last would reach past the buffer */
		{ "len", 512, 520 },
		{ "end", 512, 256 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		forge(&s.ch, fields[i].field, fields[i].wrong);
		assert_int_equal(state_load(w.ch[0], s.ch.data, s.ch.len), -EBADMSG);
		forge(&s.ch, fields[i].field, fields[i].right);
	}
	w.disks[0].b.readonly = true;
	assert_int_equal(state_load(w.ch[0], s.ch.data, s.ch.len), -EBADMSG);
	w.disks[0].b.readonly = false;
	load(&s);
	assert_int_equal(ide_wait(&w), READY);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_announced),
		T(test_ranges),
		T(test_long_list_in_pieces),
		T(test_empty_list),
		T(test_refused),
		T(test_beyond_the_end),
		T(test_host_fails),
		T(test_short_table),
		T(test_table_outside_of_memory),
		T(test_list_is_copied),
		T(test_reset_drops_the_rest),
		T(test_saved_in_mid_list),
		T(test_saved_between_ranges),
		T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
