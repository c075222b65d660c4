/* SPDX-License-Identifier: MIT */
/*
 * The device tree read back with libfdt, and by dtc with every warning an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "firmware/firmware.h"

#define TREE_SIZE (64 * KIB)
#define ALL                                                                             \
	(FIRMWARE_COM1 | FIRMWARE_COM2 | FIRMWARE_COM3 | FIRMWARE_COM4 | FIRMWARE_RTC | \
	 FIRMWARE_PVPANIC | FIRMWARE_DEBUG_EXIT | FIRMWARE_PM_TIMER | FIRMWARE_GPE |    \
	 FIRMWARE_PCI | FIRMWARE_COALESCED_IO)

struct tree {
	struct mem mem;
	struct firmware_config cfg;
	uint64_t fdt[TREE_SIZE / 8];
	int len;
};

static void build(struct tree *t, uint64_t ram, unsigned nr_cpus, uint32_t facts, uint64_t initrd)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(mem_init(&t->mem, ram), 0);
	t->cfg = (struct firmware_config){
		.kernel = { .fd = -1 },
		.initrd = { .fd = initrd ? 0 : -1, .size = 12345 },
		.cmdline = "console=ttyS0",
		.nr_cpus = nr_cpus,
		.facts = facts,
	};
	t->len = firmware_fdt_build(&t->cfg, &t->mem, initrd, t->fdt, sizeof(t->fdt));
	assert_true(t->len > 0);
	assert_int_equal(fdt_check_full(t->fdt, (size_t)t->len), 0);
	assert_int_equal(fdt_totalsize(t->fdt), t->len);
}

/* A property of exactly n cells. */
static void check_cells(const struct tree *t, const char *path, const char *name, unsigned n,
			const uint32_t *want)
{
	int node = fdt_path_offset(t->fdt, path), len = -1;
	const fdt32_t *p = fdt_getprop(t->fdt, node, name, &len);

	if (len != (int)(n * 4))
		fail_msg("%s:%s: %d bytes, not %u", path, name, len, n * 4);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(fdt32_to_cpu(p[i]), want[i]);
}

#define CHECK_CELLS(t, path, name, ...)                                     \
	check_cells(t, path, name, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4, \
		    (uint32_t[]){ __VA_ARGS__ })

static void check_string(const struct tree *t, const char *path, const char *name, const char *want)
{
	const char *s = fdt_getprop(t->fdt, fdt_path_offset(t->fdt, path), name, NULL);

	assert_non_null(s);
	assert_string_equal(s, want);
}

static bool exists(const struct tree *t, const char *path)
{
	return fdt_path_offset(t->fdt, path) >= 0;
}

static void test_memory(void **state)
{
	static struct tree t;

	(void)state;
	build(&t, 64 * MIB, 1, ALL, 0);
	CHECK_CELLS(&t, "/memory@0", "reg", 0, 0, 0, 64 * MIB);
	mem_destroy(&t.mem);
	build(&t, 3 * GIB, 1, ALL, 0);
	CHECK_CELLS(&t, "/memory@0", "reg", 0, 0, 0, 0xc0000000);
	mem_destroy(&t.mem);
	build(&t, 9 * GIB, 1, ALL, 0);
	CHECK_CELLS(&t, "/memory@0", "reg", 0, 0, 0, 0xc0000000, 1, 0, 1, 0x80000000);
	mem_destroy(&t.mem);
}

static void test_cpus(void **state)
{
	static struct tree t;
	char path[32];

	(void)state;
	build(&t, 64 * MIB, PLATFORM_MAX_CPUS, ALL, 0);
	for (uint32_t i = 0; i < PLATFORM_MAX_CPUS; i++) {
		snprintf(path, sizeof(path), "/cpus/cpu@%x", i);
		CHECK_CELLS(&t, path, "reg", i);
		check_string(&t, path, "device_type", "cpu");
	}
	assert_false(exists(&t, "/cpus/cpu@ff"));
	mem_destroy(&t.mem);
}

static void test_chosen(void **state)
{
	static struct tree t;

	(void)state;
	build(&t, 64 * MIB, 1, ALL, 0x1fffff000);
	check_string(&t, "/chosen", "bootargs", "console=ttyS0");
	check_string(&t, "/chosen", "stdout-path", "serial0");
	check_string(&t, "/aliases", "serial0", "/isa/serial@3f8");
	CHECK_CELLS(&t, "/chosen", "linux,initrd-start", 1, 0xfffff000);
	CHECK_CELLS(&t, "/chosen", "linux,initrd-end", 2, 12345 - 0x1000);
	mem_destroy(&t.mem);
	/* no initrd; the first port that is there; no command line */
	build(&t, 64 * MIB, 1, FIRMWARE_COM2 | FIRMWARE_COM3, 0);
	assert_null(
		fdt_getprop(t.fdt, fdt_path_offset(t.fdt, "/chosen"), "linux,initrd-start", NULL));
	check_string(&t, "/chosen", "stdout-path", "serial1");
	check_string(&t, "/aliases", "serial1", "/isa/serial@2f8");
	t.cfg.cmdline = NULL;
	assert_true(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, sizeof(t.fdt)) > 0);
	check_string(&t, "/chosen", "bootargs", "");
	mem_destroy(&t.mem);
}

static void test_devices(void **state)
{
	static const struct {
		uint32_t fact;
		const char *path, *compatible;
		uint32_t reg[3];
		unsigned nr_irq;
		uint32_t irq[2];
	} devices[] = {
		{ FIRMWARE_COM1, "/isa/serial@3f8", "ns16550a", { 1, 0x3f8, 8 }, 2, { 4, 0 } },
		{ FIRMWARE_COM2, "/isa/serial@2f8", "ns16550a", { 1, 0x2f8, 8 }, 2, { 3, 0 } },
		{ FIRMWARE_COM3, "/isa/serial@3e8", "ns16550a", { 1, 0x3e8, 8 }, 2, { 4, 0 } },
		{ FIRMWARE_COM4, "/isa/serial@2e8", "ns16550a", { 1, 0x2e8, 8 }, 2, { 3, 0 } },
		{ FIRMWARE_RTC, "/isa/rtc@70", "motorola,mc146818", { 1, 0x70, 2 }, 2, { 8, 0 } },
		{ FIRMWARE_PVPANIC,
		  "/isa/pvpanic@505",
		  "qemu,pvpanic-isa",
		  { 1, 0x505, 1 },
		  0,
		  { 0 } },
		{ FIRMWARE_DEBUG_EXIT,
		  "/isa/debug-exit@f4",
		  "qemu,isa-debug-exit",
		  { 1, 0xf4, 4 },
		  0,
		  { 0 } },
		{ FIRMWARE_COALESCED_IO,
		  "/isa/coalesced-io@520",
		  "bantam,coalesced-io",
		  { 1, 0x520, 4 },
		  0,
		  { 0 } },
	};
	static struct tree t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
		build(&t, 64 * MIB, 1, ALL & ~devices[i].fact, 0);
		assert_false(exists(&t, devices[i].path));
		mem_destroy(&t.mem);
		build(&t, 64 * MIB, 1, devices[i].fact, 0);
		check_string(&t, devices[i].path, "compatible", devices[i].compatible);
		check_cells(&t, devices[i].path, "reg", 3, devices[i].reg);
		if (devices[i].nr_irq)
			check_cells(&t, devices[i].path, "interrupts", 2, devices[i].irq);
		assert_false(exists(&t, "/pci@c0000000"));
		mem_destroy(&t.mem);
	}
	build(&t, 64 * MIB, 1, ALL, 0);
	CHECK_CELLS(&t, "/isa/serial@3f8", "clock-frequency", 1843200);
	CHECK_CELLS(&t, "/isa/power@600", "reg", 1, 0x600, 16);
	CHECK_CELLS(&t, "/isa/power@600", "interrupts", 9, 2);
	CHECK_CELLS(&t, "/isa/reset@cf9", "reg", 1, 0xcf9, 1);
	CHECK_CELLS(&t, "/interrupt-controller@fec00000", "reg", 0, 0xfec00000, 0, 0x1000);
	CHECK_CELLS(&t, "/lapic@fee00000", "reg", 0, 0xfee00000, 0, 0x1000);
	mem_destroy(&t.mem);
}

static void test_pci(void **state)
{
	static struct tree t;
	const char *path = "/pci@c0000000";
	const fdt32_t *map;
	uint32_t self;
	int len;

	(void)state;
	build(&t, 64 * MIB, 1, ALL, 0);
	self = fdt_get_phandle(t.fdt, fdt_path_offset(t.fdt, "/interrupt-controller@fec00000"));
	assert_int_not_equal(self, 0);
	CHECK_CELLS(&t, "/", "interrupt-parent", self);
	CHECK_CELLS(&t, path, "config-ports", 0xcf8, 0xcfc);
	CHECK_CELLS(&t, path, "io-ports", 0xc000, 0x4000);
	CHECK_CELLS(&t, path, "ranges", 0x02000000, 0, 0xc0000000, 0, 0xc0000000, 0, 0x3ec00000);
	CHECK_CELLS(&t, path, "interrupt-map-mask", 0x1800, 0, 0, 7);
	map = fdt_getprop(t.fdt, fdt_path_offset(t.fdt, path), "interrupt-map", &len);
	assert_int_equal(len, 16 * 7 * 4);
	/* every pin of every slot finds its interrupt, as a guest would look it up */
	for (uint32_t slot = 0; slot < 32; slot++) {
		for (uint32_t pin = 1; pin <= 4; pin++) {
			const fdt32_t *e = map;

			while (e < map + 16 * 7 && (fdt32_to_cpu(e[0]) != (slot << 11 & 0x1800) ||
						    fdt32_to_cpu(e[3]) != (pin & 7)))
				e += 7;
			assert_true(e < map + 16 * 7);
			assert_int_equal(fdt32_to_cpu(e[4]), self);
			assert_int_equal(fdt32_to_cpu(e[5]), PLATFORM_PCI_GSI(slot, pin - 1));
			assert_int_equal(fdt32_to_cpu(e[6]), 2); /* level, high */
		}
	}
	mem_destroy(&t.mem);
}

static void test_virtio_mmio(void **state)
{
	struct tree t;

	(void)state;
	build(&t, 64 * MIB, 1, ALL, 0);
	assert_false(exists(&t, "/virtio@fec80000"));
	t.cfg.nr_virtio_mmio = 2;
	assert_true(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, sizeof(t.fdt)) > 0);
	check_string(&t, "/virtio@fec80000", "compatible", "virtio,mmio");
	CHECK_CELLS(&t, "/virtio@fec80000", "reg", 0, 0xfec80000, 0, 0x200);
	CHECK_CELLS(&t, "/virtio@fec80000", "interrupts", 16, 2);
	CHECK_CELLS(&t, "/virtio@fec80200", "reg", 0, 0xfec80200, 0, 0x200);
	CHECK_CELLS(&t, "/virtio@fec80200", "interrupts", 17, 2);
	assert_false(exists(&t, "/virtio@fec80400"));
	t.cfg.nr_virtio_mmio = 9;
	assert_int_equal(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, sizeof(t.fdt)), -EINVAL);
	mem_destroy(&t.mem);
}

static void test_no_room(void **state)
{
	static struct tree t;
	uint8_t *buf;
	int len;

	(void)state;
	build(&t, 64 * MIB, 2, ALL, 0x2000000);
	len = t.len;
	buf = malloc((size_t)len + 8);
	assert_non_null(buf);
	for (int size = 0; size < len; size++) {
		memset(buf, 0xee, (size_t)len + 8);
		assert_int_equal(firmware_fdt_build(&t.cfg, &t.mem, 0x2000000, buf, (size_t)size),
				 -ENOSPC);
		assert_int_equal(buf[size], 0xee);
	}
	free(buf);
	assert_int_equal(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, SIZE_MAX), -EINVAL);
	t.cfg.nr_cpus = 0;
	assert_int_equal(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, sizeof(t.fdt)), -EINVAL);
	t.cfg.nr_cpus = 256;
	assert_int_equal(firmware_fdt_build(&t.cfg, &t.mem, 0, t.fdt, sizeof(t.fdt)), -EINVAL);
	mem_destroy(&t.mem);
}

static void test_dtc(void **state)
{
	static const uint32_t machines[] = { ALL, 0, FIRMWARE_COM1, FIRMWARE_PCI };
	static struct tree t;
	char cmd[160], out[4096];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		char path[] = "/tmp/test_fdt.XXXXXX";
		int fd = mkstemp(path);
		size_t n;
		FILE *f;

		assert_true(fd >= 0);
		build(&t, 5 * GIB, 2, machines[i], 0x2000000);
		assert_int_equal(util_write_all(fd, t.fdt, (size_t)t.len), 0);
		close(fd);
		snprintf(cmd, sizeof(cmd), "dtc -I dtb -O dts -o /dev/null %s 2>&1", path);
		f = popen(cmd, "r");
		assert_non_null(f);
		n = fread(out, 1, sizeof(out) - 1, f);
		out[n] = '\0';
		assert_string_equal(out, "");
		assert_int_equal(pclose(f), 0);
		unlink(path);
		mem_destroy(&t.mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),      cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_chosen),      cmocka_unit_test(test_devices),
		cmocka_unit_test(test_virtio_mmio), cmocka_unit_test(test_pci),
		cmocka_unit_test(test_no_room),     cmocka_unit_test(test_dtc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
