/* SPDX-License-Identifier: MIT */
/* An IDE channel and its two drives: who answers, interrupts, resets, register names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

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

static void test_diagnostic(void **state)
{
	(void)state;
	ide_lba28(&w, 1, 0x123456, 9);
	assert_int_equal(ide_cmd(&w, 0x90), READY);
	assert_true(w.irq[0].level);
	assert_int_equal(ide_in(&w, ATA_ERROR), 1);
	assert_int_equal(ide_in(&w, ATA_DEVICE), 0);
	for (unsigned unit = 0; unit < 2; unit++) {
		ide_out(&w, ATA_DEVICE, (uint8_t)(0xa0 | unit << 4));
		assert_int_equal(ide_in(&w, ATA_COUNT), 1);
		assert_int_equal(ide_in(&w, ATA_LBA_LOW), 1);
		assert_int_equal(ide_in(&w, ATA_LBA_MID), 0);
		assert_int_equal(ide_in(&w, ATA_LBA_HIGH), 0);
	}
}

static void test_absent_slave(void **state)
{
	(void)state;
	ide_world_destroy(&w);
	ide_world_init(&w, (int64_t[]){ SMALL, IDE_NONE, IDE_NONE, IDE_NONE }, false);
	ide_out(&w, ATA_DEVICE, 0xb0);
	assert_int_equal(ide_in(&w, ATA_STATUS), 0);
	assert_int_equal(ide_altstatus(&w), 0);
	assert_int_equal(ide_cmd(&w, 0xec), 0);
	assert_int_equal(w.irq[0].raised, 0);
	/* The master answers for it (firmware looks for this), the status apart. */
	ide_out(&w, ATA_COUNT, 0x55);
	ide_out(&w, ATA_LBA_LOW, 0xaa);
	assert_int_equal(ide_in(&w, ATA_COUNT), 0x55);
	assert_int_equal(ide_in(&w, ATA_LBA_LOW), 0xaa);
	assert_int_equal(ide_in(&w, ATA_DEVICE), 0xb0);
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(ide_cmd(&w, 0xff), FAILED);
	ide_out(&w, ATA_DEVICE, 0xb0);
	assert_int_equal(ide_in(&w, ATA_ERROR), ATA_ERROR_ABRT);
	assert_int_equal(ide_in(&w, ATA_STATUS), 0);
	/* A channel without drives floats. */
	w.cur = 1;
	assert_int_equal(ide_in(&w, ATA_STATUS), 0xff);
	assert_int_equal(ide_altstatus(&w), 0xff);
}

static void test_absent_master(void **state)
{
	uint16_t words[256];

	(void)state;
	w.cur = 1;
	assert_int_equal(ide_in(&w, ATA_STATUS), 0);
	ide_read_identity(&w, 1, words);
	assert_int_equal(words[60], 4096);
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_int_equal(ide_in(&w, ATA_STATUS), 0);
}

static void test_interrupt_follows_selection_and_nien(void **state)
{
	(void)state;
	ide_lba28(&w, 0, 0, 1);
	ide_cmd(&w, 0x20);
	assert_true(w.irq[0].level);
	ide_out(&w, ATA_DEVICE, 0xb0); /* the other drive has nothing to say */
	assert_false(w.irq[0].level);
	ide_in(&w, ATA_STATUS); /* acknowledges the other's, which is none */
	ide_out(&w, ATA_DEVICE, 0xa0);
	assert_true(w.irq[0].level);
	ide_control(&w, ATA_CONTROL_NIEN);
	assert_false(w.irq[0].level);
	ide_control(&w, 0);
	assert_true(w.irq[0].level);
	ide_altstatus(&w);
	assert_true(w.irq[0].level);
	ide_in(&w, ATA_STATUS);
	assert_false(w.irq[0].level);
}

static void test_the_drives_are_two(void **state)
{
	uint8_t a[512], b[512], want[512];

	(void)state;
	ide_disk_fill(&w.disks[0], 5, 1, 31);
	ide_disk_fill(&w.disks[1], 5, 1, 32);
	ide_lba28(&w, 0, 5, 1);
	ide_cmd(&w, 0x20);
	ide_read_block(&w, a, 512);
	ide_lba28(&w, 1, 5, 1);
	ide_cmd(&w, 0x20);
	ide_read_block(&w, b, 512);
	ide_pattern(want, 512, 31);
	assert_memory_equal(a, want, 512);
	ide_pattern(want, 512, 32);
	assert_memory_equal(b, want, 512);
	/* A command for the other ends what the first had on offer. */
	ide_lba28(&w, 0, 5, 1);
	ide_cmd(&w, 0x20);
	ide_out(&w, ATA_DEVICE, 0xf0);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_int_equal(inw(&w.bus, ide_data_port(&w)), 0);
	assert_int_equal(ide_cmd(&w, 0x20), OFFERS);
	ide_read_block(&w, b, 512);
	assert_memory_equal(b, want, 512);
	ide_out(&w, ATA_DEVICE, 0xe0);
	assert_int_equal(ide_altstatus(&w), READY);
}

static void test_command_while_drq_is_ignored(void **state)
{
	uint8_t buf[512], want[512];

	(void)state;
	ide_disk_fill(&w.disks[0], 0, 1, 4);
	ide_pattern(want, 512, 4);
	ide_lba28(&w, 0, 0, 1);
	ide_cmd(&w, 0x20);
	assert_int_equal(ide_cmd(&w, 0xec), OFFERS);
	ide_read_block(&w, buf, 512);
	assert_memory_equal(buf, want, 512);
}

static void test_soft_reset(void **state)
{
	uint16_t words[256];
	unsigned raised;

	(void)state;
	ide_lba28(&w, 0, 0, 4);
	ide_cmd(&w, 0xc6);
	ide_lba28(&w, 1, 0, 1);
	ide_cmd(&w, 0x20);
	ide_control(&w, ATA_CONTROL_SRST);
	assert_int_equal(ide_altstatus(&w), ATA_STATUS_BSY);
	raised = w.irq[0].raised;
	ide_out(&w, ATA_LBA_MID, 0x77); /* not heard */
	ide_out(&w, ATA_COMMAND, 0xec); /* nor this */
	ide_control(&w, 0);
	assert_int_equal(ide_altstatus(&w), READY);
	assert_false(w.irq[0].level);
	assert_int_equal(w.irq[0].raised, raised);
	assert_int_equal(ide_in(&w, ATA_DEVICE), 0);
	assert_int_equal(ide_in(&w, ATA_ERROR), 1);
	assert_int_equal(ide_in(&w, ATA_COUNT), 1);
	assert_int_equal(ide_in(&w, ATA_LBA_MID), 0);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[59], 0x0110); /* the default again */
	ide_out(&w, ATA_FEATURES, ATA_FEATURE_KEEP_SETTINGS);
	ide_cmd(&w, 0xef);
	ide_out(&w, ATA_COUNT, 2);
	ide_cmd(&w, 0xc6);
	ide_control(&w, ATA_CONTROL_SRST);
	ide_control(&w, 0);
	ide_read_identity(&w, 0, words);
	assert_int_equal(words[59], 0x0102);
}

static void test_decode_follows_the_function(void **state)
{
	(void)state;
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	ide_config_out(&w, 0x40, 2, 0);
	assert_int_equal(ide_in(&w, ATA_STATUS), 0xff);
	assert_int_equal(ide_altstatus(&w), 0xff);
	assert_int_equal(inl(&w.bus, ide_data_port(&w)), 0xffffffff);
	ide_config_out(&w, 0x40, 2, 0x8000);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	ide_config_out(&w, PCI_COMMAND, 2, 0);
	assert_int_equal(ide_in(&w, ATA_STATUS), 0xff);
	ide_config_out(&w, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(ide_in(&w, ATA_STATUS), READY);
	assert_int_equal(ide_config_in(&w, 8, 4), 0x01018000);
	assert_int_equal(ide_config_in(&w, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(ide_config_in(&w, 0x48, 4), 0); /* a PIIX3 */
}

static void test_register_names(void **state)
{
	static const struct {
		uint16_t port;
		bool write;
		const char *dev, *reg;
	} names[] = {
		{ 0x1f0, false, "ide0", "data" },
		{ 0x1f1, false, "ide0", "error" },
		{ 0x1f1, true, "ide0", "features" },
		{ 0x1f2, true, "ide0", "sector-count" },
		{ 0x1f3, true, "ide0", "lba-low" },
		{ 0x1f4, true, "ide0", "lba-mid" },
		{ 0x1f5, true, "ide0", "lba-high" },
		{ 0x1f6, true, "ide0", "device" },
		{ 0x1f7, false, "ide0", "status" },
		{ 0x1f7, true, "ide0", "command" },
		{ 0x3f6, false, "ide0", "altstatus" },
		{ 0x3f6, true, "ide0", "control" },
		{ 0x177, false, "ide1", "status" },
		{ 0x376, true, "ide1", "control" },
		{ IDE_BM_BASE, true, "ide0", "bm-command" },
		{ IDE_BM_BASE + 2, false, "ide0", "bm-status" },
		{ IDE_BM_BASE + 4, true, "ide0", "bm-prd" },
		{ IDE_BM_BASE + 10, false, "ide1", "bm-status" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const char *dev, *reg;

		assert_true(bus_name(&w.bus, BUS_PIO, names[i].port, names[i].write, &dev, &reg));
		assert_string_equal(dev, names[i].dev);
		assert_string_equal(reg, names[i].reg);
	}
}

static void test_a_real_image(void **state)
{
	char path[] = "/tmp/bantam-ide-XXXXXX";
	struct err err;
	struct block_config bc = { .path = path, .serial = "SERIAL-1" };
	struct ide_channel_config cc = {
		.name = "ide1", .bus = &w.bus, .mem = &w.mem, .port = 0x168, .control_port = 0x36e
	};
	int fd = mkstemp(path);
	uint8_t want[1024], got[1024];
	struct device *dev;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 64 * 512), 0);
	assert_int_equal(block_open(&bc, &cc.drives[0].block, &err), 0);
	assert_int_equal(ide_channel_create(&cc, &dev), 0);
	struct piix_ide_config fc = { "piix-ide2", w.host, 0x10, { dev, w.ch[1] }, false };
	struct device *fn;

	assert_int_equal(piix_ide_create(&fc, &fn), 0);
	outl(&w.bus, 0xcf8, 0x80001004);
	outw(&w.bus, 0xcfc, PCI_COMMAND_IO);
	ide_pattern(want, sizeof(want), 77);
	outb(&w.bus, 0x168 + ATA_DEVICE, 0xe0);
	outb(&w.bus, 0x168 + ATA_COUNT, 2);
	outb(&w.bus, 0x168 + ATA_LBA_LOW, 9);
	outb(&w.bus, 0x168 + ATA_COMMAND, 0xc5);
	bus_write_rep(&w.bus, BUS_PIO, 0x168, want, 2, 512);
	while (inb(&w.bus, 0x36e) & ATA_STATUS_BSY)
		;
	assert_int_equal(pread(fd, got, 1024, 9 * 512), 1024);
	assert_memory_equal(got, want, 1024);
	outb(&w.bus, 0x168 + ATA_COMMAND, 0xec);
	bus_read_rep(&w.bus, BUS_PIO, 0x168, got, 2, 256);
	assert_memory_equal(got + 20, "ESIRLA1-", 7);
	device_destroy(fn);
	device_destroy(dev);
	block_destroy(cc.drives[0].block);
	close(fd);
	unlink(path);
}

/* CVE-2015-6855 and all others: every opcode on every drive leaves a channel that works. */
static void test_every_opcode(void **state)
{
	uint16_t words[256];

	(void)state;
	for (unsigned unit = 0; unit < 2; unit++) {
		for (unsigned op = 0; op < 256; op++) {
			ide_lba28(&w, unit, 3, 1);
			ide_out(&w, ATA_COMMAND, (uint8_t)op);
			ide_control(&w, ATA_CONTROL_SRST);
			ide_control(&w, 0);
			ide_wait(&w);
		}
		ide_read_identity(&w, unit, words);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_diagnostic),         T(test_absent_slave),
		T(test_absent_master),      T(test_interrupt_follows_selection_and_nien),
		T(test_the_drives_are_two), T(test_command_while_drq_is_ignored),
		T(test_soft_reset),         T(test_decode_follows_the_function),
		T(test_register_names),     T(test_a_real_image),
		T(test_every_opcode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
