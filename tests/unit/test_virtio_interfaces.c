/* SPDX-License-Identifier: MIT */
/* What each of a virtio device's interfaces has of its own: modern and legacy PCI, MMIO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/virtio_rig.h"

/* 4.1.2: by its ids a driver knows what it has before it. */
static void test_pci_identity(void **state)
{
	static const struct {
		enum virtio_pci_mode mode;
		uint32_t ids, subsystem;
		uint8_t revision;
		uint32_t io_size;
		bool modern;
	} want[] = {
		{ VIRTIO_PCI_MODERN, 0x10421af4, 0x11001af4, 1, 8, true },
		{ VIRTIO_PCI_TRANSITIONAL, 0x10011af4, 0x00021af4, 0, 256, true },
		{ VIRTIO_PCI_LEGACY, 0x10011af4, 0x00021af4, 0, 256, false },
	};
	struct vrig *m = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		struct vrig_variant v = { .mode = want[i].mode, .kind = VDRV_LEGACY };
		uint32_t command;

		vrig_create_as(m, &v);
		assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, 0, 4), want[i].ids);
		assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_SUBSYSTEM_VENDOR_ID, 4),
				 want[i].subsystem);
		assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_REVISION_ID, 1),
				 want[i].revision);
		command = pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2);
		pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2, 0);
		pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_BAR0, 4, 0xffffffff);
		assert_int_equal(~(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_BAR0, 4) & ~3u) + 1,
				 want[i].io_size);
		pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_BAR0, 4, 0xc000);
		pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2, command);
		assert_int_equal(!!pci_cap_find(&m->bus, VRIG_DEVFN, PCI_CAP_VENDOR, 0),
				 want[i].modern);
		assert_true(pci_cap_find(&m->bus, VRIG_DEVFN, PCI_CAP_MSIX, 0));
		assert_false(pci_cap_find(&m->bus, VRIG_DEVFN, PCI_CAP_AF, 0));
		vrig_destroy(m);
	}
}

/* 4.1.4.8: the registers, what a queue that is not there says, and the end of a queue. */
static void test_legacy_registers(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;

	m->no_msi = true;
	vrig_create_as(m, &vrig_variants[VRIG_AS_LEGACY]);
	assert_int_equal(vdrv_features(d) & (VRIG_LEGACY_FEATURES | 1ull << 32),
			 VRIG_LEGACY_FEATURES);
	/* Nothing is heard before the driver has said that it is there. */
	vdrv_reg_out(d, 4, 4, VRIG_F_FLUSH);
	vdrv_reg_out(d, 8, 4, VRIG_RING(0) / 4096);
	assert_int_equal(vdrv_reg_in(d, 4, 4), 0);
	assert_int_equal(vdrv_reg_in(d, 8, 4), 0);
	vdrv_set_status(d, 0x0b);
	assert_int_equal(vdrv_status(d), 0x03); /* FEATURES_OK is unknown */
	vdrv_reg_out(d, 4, 4, 0xffffffff);
	assert_int_equal(vdrv_reg_in(d, 4, 4), vdrv_reg_in(d, 0, 4));
	vdrv_reg_out(d, 4, 4, VRIG_F_FLUSH);
	vdrv_reg_out(d, 0x0e, 2, 2);
	assert_int_equal(vdrv_reg_in(d, 0x0e, 2), 2);
	assert_int_equal(vdrv_reg_in(d, 0x0c, 2), 0);
	vdrv_reg_out(d, 8, 4, VRIG_RING(0) / 4096);
	assert_int_equal(vdrv_reg_in(d, 8, 4), 0);
	vdrv_reg_out(d, 0x0e, 2, 0);
	assert_int_equal(vdrv_reg_in(d, 0x0c, 2), VRIG_QSIZE);
	assert_int_equal(vdrv_reg_in(d, 0x0c, 4), VRIG_QSIZE);
	/* A ring that cannot be. */
	vdrv_reg_out(d, 8, 4, VRIG_RAM / 4096);
	assert_int_equal(vdrv_status(d), 0x43);
	vdrv_set_status(d, 0);
	assert_int_equal(vdrv_status(d), 0);

	/* Old drivers use the disk before DRIVER_OK, and without bus mastering (3.1.2). */
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO);
	vdrv_set_status(d, 3);
	vdrv_reg_out(d, 4, 4, VRIG_F_FLUSH);
	vdrv_queue_setup(d, m->q, 0, VRIG_QSIZE, VRIG_RING(0), false);
	assert_int_equal(vdrv_reg_in(d, 8, 4), VRIG_RING(0) / 4096);
	vrig_read(m->q, 6);
	vdrv_reg_out(d, 4, 4, VRIG_LEGACY_FEATURES); /* too late */
	assert_int_equal(vdrv_reg_in(d, 4, 4), VRIG_F_FLUSH);
	vdrv_reg_out(d, 8, 4, VRIG_RING(1) / 4096); /* frozen, too */
	assert_int_equal(vdrv_reg_in(d, 8, 4), VRIG_RING(0) / 4096);
	vdrv_reg_out(d, 8, 4, 0);
	assert_int_equal(vdrv_reg_in(d, 8, 4), 0);
	vrig_add_read(m->q, 0, 6);
	vdrv_kick(m->q);
	vrig_check_none_used(m->q, 10);
	vdrv_queue_setup(d, m->q, 0, VRIG_QSIZE, VRIG_RING(1), false);
	vrig_read(m->q, 8);
}

/* The modern registers mean nothing to a device with a legacy driver, and the other way round. */
static void test_one_interface_at_a_time(void **state)
{
	struct vrig *m = *state;
	struct vdrv modern;

	m->no_msi = true;
	vrig_create_as(m, &vrig_variants[VRIG_AS_LEGACY]);
	assert_true(vdrv_probe(&modern, &m->bus, &m->mem, VRIG_DEVFN));
	vrig_start(m, m->v->features);
	vrig_read(m->q, 1);
	vdrv_set_status(&modern, 0x0f);
	assert_int_equal(vdrv_status(&modern), 0x07);
	vdrv_common_out(&modern, 0x08, 4, 0);
	vdrv_common_out(&modern, 0x0c, 4, 0);
	vdrv_common_out(&modern, 0x1c, 2, 1);
	assert_int_equal(vdrv_reg_in(&m->d, 4, 4), VRIG_LEGACY_FEATURES);
	vrig_read(m->q, 2);
	/* Either one's reset is a reset. */
	vdrv_set_status(&modern, 0);
	assert_int_equal(vdrv_status(&m->d), 0);
	assert_true(vdrv_start(&modern, VRIG_MODERN_FEATURES));
	vdrv_set_status(&m->d, 0x07);
	assert_int_equal(vdrv_status(&m->d), 0x0b);
	vdrv_reg_out(&m->d, 4, 4, 0);
	vdrv_reg_out(&m->d, 8, 4, VRIG_RING(0) / 4096);
	assert_int_equal(vdrv_reg_in(&m->d, 8, 4), 0);
	assert_int_equal(vdrv_reg_in(&m->d, 4, 4), (uint32_t)VRIG_MODERN_FEATURES);
	vdrv_set_status(&m->d, 0);
	assert_int_equal(vdrv_status(&modern), 0);
}

/* A legacy device's BAR 1 is for MSI-X alone. */
static void test_no_modern_interface(void **state)
{
	struct vrig *m = *state;
	const char *dev, *reg;
	uint64_t bar;
	uint32_t v = 0x0f;

	vrig_create_as(m, &vrig_variants[VRIG_LEGACY]);
	bar = pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_BAR0 + 4, 4) & ~15u;
	bus_write(&m->bus, BUS_MMIO, bar + 0x14, &v, 1);
	assert_int_equal(vdrv_status(&m->d), 0);
	for (unsigned i = 0; i < 0x200; i += 4) {
		v = 0xee;
		bus_read(&m->bus, BUS_MMIO, bar + i, &v, 4);
		assert_int_equal(v, 0);
	}
	assert_true(bus_name(&m->bus, BUS_MMIO, bar, true, &dev, &reg));
	assert_null(reg);
	assert_true(bus_name(&m->bus, BUS_MMIO, bar + 0x800, true, &dev, &reg));
	assert_string_equal(reg, "msix");
}

/* With MSI-X two more registers stand before the device configuration. */
static void test_legacy_msix(void **state)
{
	struct vrig *m = *state;

	vrig_create_as(m, &vrig_variants[VRIG_AS_LEGACY]);
	m->d.msix_cap = pci_cap_find(&m->bus, VRIG_DEVFN, PCI_CAP_MSIX, 0);
	m->d.msix_table.space = BUS_MMIO;
	m->d.msix_table.addr = (pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_BAR0 + 4, 4) & ~15u) + 0x800;
	assert_int_equal(vdrv_reg_in(&m->d, 0x14, 4), VRIG_SECTORS);
	vrig_start(m, m->v->features);
	assert_int_equal(vdrv_reg_in(&m->d, 0x18, 4), VRIG_SECTORS);
	vdrv_reg_out(&m->d, 0x14, 2, 7);
	assert_int_equal(vdrv_reg_in(&m->d, 0x14, 2), 0xffff);
	vdrv_reg_out(&m->d, 0x14, 2, 0);
	assert_int_equal(vdrv_reg_in(&m->d, 0x14, 2), 0);
	vdrv_reg_out(&m->d, 0x0e, 2, 0);
	vdrv_reg_out(&m->d, 0x16, 2, 1);
	assert_int_equal(vdrv_reg_in(&m->d, 0x14, 4), 0x10000);
	vrig_settle(m);
	(void)vrig_take(m, 1);
	vrig_read(m->q, 3);
	assert_int_equal(vrig_take_soon(m, 1), 1);
	assert_int_equal(vdrv_isr(&m->d), 0);
}

/* A function level reset is a reset of all, with what is in flight let go first. */
static void test_flr(void **state)
{
	struct vrig *m = *state;
	unsigned af;

	m->cfg.at.flr = true;
	vrig_create_as(m, &vrig_variants[VRIG_TRANSITIONAL]);
	af = pci_cap_find(&m->bus, VRIG_DEVFN, PCI_CAP_AF, 0);
	assert_int_not_equal(af, 0);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, af + 1, 1), 0); /* the last one */
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, af + 2, 2), 0x0306);
	vrig_start(m, m->v->features);
	vrig_read(m->q, 4);
	pci_cfg_out(&m->bus, VRIG_DEVFN, af + 4, 1, 0xfe); /* no such bits */
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, af + 4, 2), 0);
	vrig_read(m->q, 5);
	pci_cfg_out(&m->bus, VRIG_DEVFN, af + 4, 1, 1);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, af + 4, 1), 0);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2), 0);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_BAR0, 4), 1);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_probe(m);
	assert_int_equal(vdrv_status(&m->d), 0);
	vrig_start(m, m->v->features);
	vrig_read(m->q, 6);
}

/* 4.2.2 */
static void test_mmio_registers(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;
	const char *dev, *reg;

	m->no_msi = true;
	vrig_create_as(m, &vrig_variants[VRIG_MMIO]);
	assert_int_equal(vdrv_reg_in(d, 0x008, 4), 2);
	assert_int_equal(vdrv_reg_in(d, 0x00c, 4), 0x1af4);
	vdrv_reg_out(d, 0x14, 4, 2);
	assert_int_equal(vdrv_reg_in(d, 0x10, 4), 0);
	assert_true(vdrv_features(d) & VIRTIO_F_VERSION_1);
	vdrv_reg_out(d, 0x30, 4, 1);
	assert_int_equal(vdrv_reg_in(d, 0x34, 4), VRIG_QSIZE);
	vdrv_reg_out(d, 0x30, 4, 2);
	assert_int_equal(vdrv_reg_in(d, 0x34, 4), 0);
	assert_int_equal(vdrv_reg_in(d, 0x44, 4), 0);
	vdrv_reg_out(d, 0x44, 4, 1);
	/* Written only, not there, part of one, shared memory that there is none of. */
	assert_int_equal(vdrv_reg_in(d, 0x30, 4), 0);
	assert_int_equal(vdrv_reg_in(d, 0x0f8, 4), 0);
	assert_int_equal(vdrv_reg_in(d, 1, 1), 'i');
	vdrv_reg_out(d, 0x70, 1, 1);
	assert_int_equal(vdrv_status(d), 0);
	assert_int_equal(vdrv_reg_in(d, 0xb0, 4), 0xffffffff);
	/* Configuration: any width, nothing behind its end; its generation. */
	assert_int_equal(vdrv_reg_in(d, 0x100 + 34, 2), 2);
	assert_int_equal(vdrv_reg_in(d, 0x1fc, 4), 0);
	assert_int_equal(vdrv_reg_in(d, 0xfc, 4), 0);
	device_lock(m->dev);
	virtio_config_changed(m->vdev);
	device_unlock(m->dev);
	assert_int_equal(vdrv_reg_in(d, 0xfc, 4), 1);
	/* QueueReady 0 stops a queue. */
	vrig_start(m, m->v->features);
	vrig_read(m->q, 1);
	vdrv_reg_out(d, 0x44, 4, 0);
	assert_int_equal(vdrv_reg_in(d, 0x44, 4), 0);
	vdrv_queue_setup(d, m->q, 0, VRIG_QSIZE, VRIG_RING(1), false);
	vrig_read(m->q, 2);
	/* Names, for reports. */
	assert_true(bus_name(&m->bus, BUS_MMIO, VRIG_MMIO_BASE + 0x50, true, &dev, &reg));
	assert_string_equal(dev, "virtio-blk0");
	assert_string_equal(reg, "notify");
	assert_true(bus_name(&m->bus, BUS_MMIO, VRIG_MMIO_BASE + 0x104, false, &dev, &reg));
	assert_string_equal(reg, "config");
}

static void test_pci_names(void **state)
{
	static const struct {
		uint64_t offset;
		const char *name;
	} want[] = {
		{ 0x00, "legacy.device-features" },
		{ 0x08, "legacy.queue-address" },
		{ 0x10, "legacy.notify" },
		{ 0x13, "legacy.isr" },
		{ 0x16, "legacy.vector-or-config" },
		{ 0x40, "legacy.config" },
		{ 0x80, "notify0" },
		{ 0x84, "notify1" },
	};
	struct vrig *m = *state;
	const char *dev, *reg;

	m->no_msi = true;
	vrig_create_as(m, &vrig_variants[VRIG_AS_LEGACY]);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(bus_name(&m->bus, BUS_PIO, m->d.regs.addr + want[i].offset, true, &dev,
				     &reg));
		assert_string_equal(reg, want[i].name);
	}
	assert_true(bus_name(&m->bus, BUS_PIO, m->d.regs.addr + 0x88, true, &dev, &reg));
	assert_null(reg);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, vrig_setup_image_none, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pci_identity),
		T(test_legacy_registers),
		T(test_one_interface_at_a_time),
		T(test_no_modern_interface),
		T(test_legacy_msix),
		T(test_flr),
		T(test_mmio_registers),
		T(test_pci_names),
	};

	return cmocka_run_group_tests_name("virtio_interfaces", tests, NULL, NULL);
}
