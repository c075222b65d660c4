/* SPDX-License-Identifier: MIT */
/* Transfers of an IDE drive in flight: resets, and what is saved of them and may come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "base/state.h"
#include "tests/unit/ide_driver.h"

#define READY (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define SMALL 65536
#define READ_DMA 0xc8
#define READ_DMA_EXT 0x25
#define WRITE_DMA 0xca

#define DONE BM_STATUS_INTERRUPT

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

/* --- in flight --------------------------------------------------------------------------- */

static void start_write(struct ide_disk *d, unsigned unit, uint32_t lba)
{
	d->hold = true;
	ide_fill_ram(&w, IDE_DATA, 1024, 44);
	ide_prd(&w, 0, IDE_DATA, 1024, true);
	ide_lba28(&w, unit, lba, 2);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	ide_bm_start(&w, false);
	ide_disk_wait_submitted(d, 1);
}

/* CVE-2023-5088: a reset leaves what is in flight where it was going. */
static void test_soft_reset_in_flight_keeps_the_lba(void **state)
{
	uint8_t mbr[512], zero[512] = { 0 };

	(void)state;
	start_write(&w.disks[0], 0, 0x1234);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_lba28(&w, 0, 0, 1);
	ide_control(&w, 0);
	/* Not before the host has let go of the guest's memory. */
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_out(&w, ATA_COMMAND, 0xec);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_in(&w, ATA_ERROR), 1);
	assert_int_equal(w.disks[0].completed, 1);
	ide_expect_disk(&w.disks[0], 0x1234, 1024, 44);
	ide_disk_peek(&w.disks[0], 0, mbr, 512);
	assert_memory_equal(mbr, zero, 512);
	assert_false(w.irq[0].level);
	assert_int_equal(ide_cmd(&w, 0xec), READY | ATA_STATUS_DRQ);
}

static void test_soft_reset_held_while_io_ends(void **state)
{
	(void)state;
	start_write(&w.disks[0], 0, 5);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_disk_release(&w.disks[0]);
	ide_settle(&w);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_control(&w, 0);
	assert_int_equal(ide_altstatus(&w), READY);
}

/* QEMU #4052: the reset reaches the drive that has the DMA: a slave below no master. */
static void test_soft_reset_with_an_empty_master(void **state)
{
	(void)state;
	w.cur = 1;
	start_write(&w.disks[3], 1, 99);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY); /* registers are not heard */
	ide_disk_release(&w.disks[3]);
	ide_settle(&w);
	assert_int_equal(ide_altstatus(&w), 0); /* device 0 is selected now, and absent */
	ide_out(&w, ATA_DEVICE, 0xb0);
	assert_int_equal(ide_altstatus(&w), READY);
	ide_expect_disk(&w.disks[3], 99, 1024, 44);
	assert_int_equal(w.irq[1].raised, 0);
}

static void test_stopping_the_bus_master_in_flight(void **state)
{
	(void)state;
	w.disks[0].hold = true;
	/* Two chunks, of which the first is in flight. */
	for (unsigned i = 0; i < 32; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 65536), 0, i == 31);
	ide_lba48(&w, 0, 0, 4096);
	ide_out(&w, ATA_COMMAND, READ_DMA_EXT);
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[0], 1);
	ide_bm_stop(&w);
	/* Active says that memory is still being written, whatever was asked for. */
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_ACTIVE);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_bm_wait_idle(&w), 0);
	ide_settle(&w);
	assert_int_equal(w.disks[0].submitted, 1);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	ide_recover(&w);
}

/* What libata does with a command that has timed out. */
static void test_stop_and_reset_in_flight(void **state)
{
	(void)state;
	start_write(&w.disks[0], 0, 7);
	ide_bm_stop(&w);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), BM_STATUS_ACTIVE);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), 0);
}

static void test_command_while_busy_is_ignored(void **state)
{
	(void)state;
	start_write(&w.disks[0], 0, 7);
	ide_out(&w, ATA_DEVICE, 0xf0);
	ide_out(&w, ATA_LBA_LOW, 0);
	ide_out(&w, ATA_COMMAND, 0xec);
	ide_out(&w, ATA_COMMAND, 0x90);
	assert_int_equal(ide_in(&w, ATA_DEVICE), 0xe0);
	assert_int_equal(inw(&w.bus, ide_data_port(&w)), 0);
	ide_disk_release(&w.disks[0]);
	assert_int_equal(ide_wait(&w), READY);
	ide_expect_disk(&w.disks[0], 7, 1024, 44);
	assert_int_equal(w.irq[0].raised, 1);
}

static void *reset_thread(void *dev)
{
	device_reset(dev);
	return NULL;
}

/* CVE-2026-45782: memory outlives the completion; a machine's reset waits for it. */
static void test_machine_reset_drains(void **state)
{
	pthread_t thread;

	(void)state;
	start_write(&w.disks[0], 0, 40);
	pthread_create(&thread, NULL, reset_thread, w.ch[0]);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	assert_int_equal(w.disks[0].completed, 0);
	ide_disk_release(&w.disks[0]);
	pthread_join(thread, NULL);
	assert_int_equal(w.disks[0].completed, 1);
	ide_expect_disk(&w.disks[0], 40, 1024, 44);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_COMMAND), 0);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), 0);
	assert_int_equal(w.irq[0].raised, 1); /* it was over, and then reset */
	assert_false(w.irq[0].level);
}

static void *release_later(void *disk)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	ide_disk_release(disk);
	return NULL;
}

/* It waits for what the host has in hand, not for the whole command. */
static void test_machine_reset_drops_the_rest(void **state)
{
	pthread_t thread;

	(void)state;
	w.disks[0].hold = true;
	for (unsigned i = 0; i < 32; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 65536), 0, i == 31);
	ide_lba48(&w, 0, 0, 4096);
	ide_out(&w, ATA_COMMAND, READ_DMA_EXT);
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[0], 1);
	pthread_create(&thread, NULL, release_later, &w.disks[0]);
	device_reset(w.ch[0]);
	pthread_join(thread, NULL);
	ide_settle(&w);
	assert_int_equal(w.disks[0].submitted, 1);
	assert_int_equal(ide_altstatus(&w), READY);
}

static void test_destroyed_in_flight(void **state)
{
	pthread_t thread;

	(void)state;
	start_write(&w.disks[0], 0, 40);
	pthread_create(&thread, NULL, release_later, &w.disks[0]);
	ide_world_remake(&w, false);
	pthread_join(thread, NULL);
	assert_int_equal(w.disks[0].completed, 1);
}

/* --- state ------------------------------------------------------------------------------- */

static struct state_buf save(struct device *dev)
{
	struct state_buf b = { 0 };

	assert_int_equal(state_save(dev, &b), 0);
	return b;
}

static void load(struct device *dev, struct state_buf *b)
{
	assert_int_equal(state_load(dev, b->data, b->len), b->len);
	state_buf_free(b);
}

static void test_reset_equals_power_on(void **state)
{
	struct state_buf fresh, used;

	(void)state;
	fresh = save(w.ch[0]);
	ide_lba48(&w, 1, 77, 2);
	ide_cmd(&w, 0x24);
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_KEEP_SETTINGS);
	ide_bm_start(&w, true);
	ide_control(&w, ATA_CONTROL_NIEN | ATA_CONTROL_HOB);
	device_reset(w.ch[0]);
	used = save(w.ch[0]);
	assert_int_equal(fresh.len, used.len);
	assert_memory_equal(fresh.data, used.data, used.len);
	state_buf_free(&fresh);
	state_buf_free(&used);
}

/*
 * A transfer of three requests is saved after its first and goes on in another machine, when
 * that is resumed, or at once.
 */
static void saved_in_mid_dma(bool paused)
{
	struct state_buf b[2];
	unsigned n = 6144;

	ide_disk_fill(&w.disks[0], 0, n, 7);
	for (unsigned i = 0; i < n / 128; i++)
		ide_prd(&w, i, (uint32_t)(IDE_DATA + i * 65536), 0, i == n / 128 - 1);
	w.disks[0].hold = true;
	ide_lba48(&w, 0, 0, (uint16_t)n);
	ide_out(&w, ATA_COMMAND, READ_DMA_EXT);
	ide_bm_start(&w, true);
	ide_disk_wait_submitted(&w.disks[0], 1);

	pthread_t thread;

	pthread_create(&thread, NULL, release_later, &w.disks[0]);
	ide_channel_pause(w.ch[0]);
	pthread_join(thread, NULL);
	assert_int_equal(w.disks[0].submitted, 1);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	b[0] = save(w.ch[0]);
	b[1] = save(w.fn);

	ide_world_remake(&w, false);
	if (paused)
		ide_channel_pause(w.ch[0]);
	load(w.fn, &b[1]);
	load(w.ch[0], &b[0]);
	ide_settle(&w);
	if (paused) {
		assert_int_equal(w.disks[0].submitted, 1);
		ide_channel_resume(w.ch[0]);
	}
	assert_int_equal(ide_wait(&w), READY);
	assert_int_equal(ide_bm_in(&w, BM_STATUS), DONE);
	assert_true(w.irq[0].level);
	ide_expect_ram(&w, IDE_DATA, n * 512, 7);
	assert_int_equal(w.disks[0].submitted, 3);
}

static void test_saved_in_mid_dma(void **state)
{
	(void)state;
	saved_in_mid_dma(true);
}

static void test_saved_in_mid_dma_and_loaded_running(void **state)
{
	(void)state;
	saved_in_mid_dma(false);
}

static void test_saved_in_mid_pio(void **state)
{
	struct state_buf b[2];
	uint8_t got[1024], want[1024];

	(void)state;
	ide_disk_fill(&w.disks[1], 9, 2, 3);
	ide_pattern(want, 1024, 3);
	ide_lba28(&w, 1, 9, 2);
	assert_int_equal(ide_cmd(&w, 0x20), READY | ATA_STATUS_DRQ);
	ide_read_block(&w, got, 100);
	b[0] = save(w.ch[0]);
	b[1] = save(w.fn);
	ide_world_remake(&w, false);
	load(w.fn, &b[1]);
	load(w.ch[0], &b[0]);
	assert_true(w.irq[0].level);
	ide_in(&w, ATA_STATUS);
	ide_read_block(&w, got + 100, 412);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY | ATA_STATUS_DRQ);
	ide_read_block(&w, got + 512, 512);
	assert_memory_equal(got, want, 1024);
	assert_int_equal(ide_altstatus(&w), READY);
}

/* What the last command has left behind, on the other drive, is not the next one's. */
static void test_saved_in_identify_after_a_larger_drive(void **state)
{
	struct state_buf b;

	(void)state;
	ide_world_destroy(&w);
	ide_world_init(&w, (int64_t[]){ SMALL, 4 * SMALL, IDE_NONE, IDE_NONE }, false);
	ide_lba28(&w, 1, 4 * SMALL - 1, 1);
	assert_int_equal(ide_cmd(&w, 0x40), READY);
	ide_lba28(&w, 0, 0, 0);
	assert_int_equal(ide_cmd(&w, 0xec), READY | ATA_STATUS_DRQ);
	b = save(w.ch[0]);
	load(w.ch[0], &b);
}

static void test_state_round_trip(void **state)
{
	struct ide_world other;

	(void)state;
	ide_world_init(&other, (int64_t[]){ SMALL, SMALL, IDE_NONE, SMALL }, false);
	ide_prd(&w, 0, IDE_DATA, 512, true);
	ide_lba28(&w, 1, 9, 2);
	ide_out(&w, ATA_COMMAND, READ_DMA);
	ide_bm_start(&w, true);
	ide_bm_wait_idle(&w);
	check_state_round_trip(w.ch[0], other.ch[0]);
	check_state_round_trip(w.fn, other.fn);
	ide_world_destroy(&other);
}

/* The same field of the stream, with the CRC made right again. */
static ssize_t load_with(struct state_buf *b, const char *field, uint64_t v)
{
	size_t n = strlen(field), at = 0, crc = b->len - 4;
	uint8_t old[8];
	ssize_t ret;

	for (size_t i = 0; i + n + 1 < b->len && !at; i++)
		if (b->data[i] == n && !memcmp(b->data + i + 1, field, n))
			at = i + 1 + n;
	assert_true(at);

	unsigned size = (unsigned)load_le(b->data + at, 4);

	at += 8;
	memcpy(old, b->data + at, size);
	store_le(b->data + at, size, v);
	store_le(b->data + crc, 4, util_crc32(0, b->data, crc));
	ret = state_load(w.ch[0], b->data, b->len);
	memcpy(b->data + at, old, size);
	store_le(b->data + crc, 4, util_crc32(0, b->data, crc));
	return ret;
}

static void expect_refused(struct state_buf *b, const char *field, uint64_t v)
{
	if (load_with(b, field, v) >= 0)
		fail_msg("%s = %#llx was believed", field, (unsigned long long)v);
}

/* CVE-2013-4150, CVE-2017-16845: every count and index of a stream is checked. */
static void test_a_hostile_stream(void **state)
{
	static const struct {
		const char *field;
		uint64_t v;
	} bad[] = {
		{ "pos", 513 },
		{ "end", 40000 },
		{ "len", 40000 },
		{ "len", 511 },
		{ "phase", 4 },
		{ "phase", 1 },
		{ "phase", 0 },
		{ "op", 1 + 2 },
		{ "op", 8 },
		{ "op", 200 },
		{ "offset", 1 },
		{ "offset", 1ull << 62 },
		{ "left", 3 },
		{ "left", 1ull << 40 },
		{ "block", 0 },
		{ "block", 65024 },
		{ "unit", 2 },
		{ "drives[0].heads", 0 },
		{ "drives[0].sectors", 0 },
		{ "drives[1].multiple", 3 },
		{ "drives[1].multiple", 64 },
		{ "drives[1].mode", 0x47 },
		{ "drives[0].cylinders", 0 },
		{ "drives[0].status", 0x80 },
		{ "bm.seg_left", 0x10001 },
		{ "bm.status", 0x80 },
		{ "bm.status", 1 },
		{ "bm.table", 2 },
		{ "control", 4 },
		{ "line", 2 },
	};
	struct state_buf b;

	(void)state;
	ide_lba28(&w, 1, 9, 70);
	assert_int_equal(ide_cmd(&w, 0x20), READY | ATA_STATUS_DRQ);
	b = save(w.ch[0]);
	assert_int_equal(load_with(&b, "pos", 2), b.len);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		expect_refused(&b, bad[i].field, bad[i].v);
	state_buf_free(&b);
}

/* The same of a drive that waits for the bus master, and of one that waits for data. */
static void test_a_hostile_stream_of_a_transfer(void **state)
{
	struct state_buf b;

	(void)state;
	ide_lba28(&w, 1, 9, 70);
	ide_out(&w, ATA_COMMAND, WRITE_DMA);
	b = save(w.ch[0]);
	assert_int_equal(load_with(&b, "left", 512), b.len);
	expect_refused(&b, "left", 0); /* nothing to do, for ever */
	expect_refused(&b, "offset", SMALL * 512ull - 69 * 512);
	expect_refused(&b, "op", 2); /* READ SECTORS does not wait for it */
	expect_refused(&b, "op", 9); /* no packets for a disk */
	w.disks[1].b.readonly = true;
	expect_refused(&b, "left", 512);
	w.disks[1].b.readonly = false;
	state_buf_free(&b);
	ide_recover(&w);

	ide_lba28(&w, 1, 9, 70);
	assert_int_equal(ide_cmd(&w, 0xc5), READY | ATA_STATUS_DRQ);
	b = save(w.ch[0]);
	assert_int_equal(load_with(&b, "pos", 8190), b.len);
	expect_refused(&b, "pos", 8192);
	expect_refused(&b, "end", 512); /* less than what was asked for */
	expect_refused(&b, "left", 4096); /* less than the block */
	expect_refused(&b, "phase", 5); /* to be written, and not there yet */
	state_buf_free(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_soft_reset_in_flight_keeps_the_lba),
		T(test_soft_reset_held_while_io_ends),
		T(test_soft_reset_with_an_empty_master),
		T(test_stopping_the_bus_master_in_flight),
		T(test_stop_and_reset_in_flight),
		T(test_command_while_busy_is_ignored),
		T(test_machine_reset_drains),
		T(test_machine_reset_drops_the_rest),
		T(test_destroyed_in_flight),
		T(test_reset_equals_power_on),
		T(test_saved_in_mid_dma),
		T(test_saved_in_mid_dma_and_loaded_running),
		T(test_saved_in_mid_pio),
		T(test_saved_in_identify_after_a_larger_drive),
		T(test_state_round_trip),
		T(test_a_hostile_stream),
		T(test_a_hostile_stream_of_a_transfer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
