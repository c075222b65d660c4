/* SPDX-License-Identifier: MIT */
/* A virtio disk as a PCI function: its registers, its interrupts, and how it comes to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "tests/unit/virtio_rig.h"

static void test_identity(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;

	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, 0, 4), 0x10421af4);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, 8, 4), 0x01000001);
	assert_int_equal(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(d->notify.space, BUS_PIO);
	assert_int_equal(d->common.space, BUS_MMIO);
	assert_int_equal(d->common.length, 0x3c);
	assert_true(vdrv_features(d) & VIRTIO_F_VERSION_1);
	assert_true(vdrv_features(d) & VIRTIO_F_INDIRECT_DESC);
	assert_true(vdrv_features(d) & VIRTIO_F_EVENT_IDX);
	assert_true(vdrv_features(d) & VRIG_F_FLUSH);
	assert_false(vdrv_features(d) & VRIG_F_RO);
	vdrv_common_out(d, 0, 4, 2);
	assert_int_equal(vdrv_common_in(d, 4, 4), 0);
	assert_int_equal(vdrv_device_in(d, 0, 4), 64);
	assert_int_equal(vdrv_device_in(d, 4, 4), 0);
	assert_int_equal(vdrv_device_in(d, 12, 4), VRIG_QSIZE - 2);
	assert_int_equal(vdrv_device_in(d, 20, 4), 512);
	assert_int_equal(vdrv_device_in(d, 20, 1), 0);
	assert_int_equal(vdrv_device_in(d, 21, 1), 2);
	assert_int_equal(vdrv_device_in(d, 58, 2), 0);
	assert_int_equal(vdrv_device_in(d, 60, 4), 0); /* behind its end */
	assert_int_equal(vdrv_common_in(d, 0x12, 2), 1);
}

static void test_handshake(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;

	assert_int_equal(vdrv_status(d), 0);
	assert_false(vdrv_start(d, 0)); /* without VERSION_1 */
	vdrv_driver_ok(d);
	assert_int_equal(vdrv_status(d), 3);
	assert_false(vdrv_start(d, VIRTIO_F_VERSION_1 | 1ull << 50)); /* never offered */
	assert_true(vdrv_start(d, VIRTIO_F_VERSION_1));
	/* Settled: later words change nothing. */
	vdrv_common_out(d, 0x08, 4, 0);
	vdrv_common_out(d, 0x0c, 4, 0xffffffff);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
	/* Bits do not go away one by one, and NEEDS_RESET is not the driver's. */
	vdrv_set_status(d, 0x41);
	assert_int_equal(vdrv_status(d), 0x0b);
	vdrv_set_status(d, 0x8b);
	assert_int_equal(vdrv_status(d), 0x8b);
	vdrv_set_status(d, 0);
	assert_int_equal(vdrv_status(d), 0);
	vdrv_common_out(d, 0x08, 4, 1);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
	/* A word of features that does not exist. */
	vdrv_common_out(d, 0x08, 4, 2);
	vdrv_common_out(d, 0x0c, 4, 0xffffffff);
	assert_int_equal(vdrv_common_in(d, 0x0c, 4), 0);
}

static void test_queue_registers(void **state)
{
	struct vrig *m = *state;
	struct vdrv *d = &m->d;

	/* A queue that is not there: reads 0, ignores all. */
	vdrv_common_out(d, 0x16, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x16, 2), 1);
	for (unsigned reg = 0x18; reg < 0x38; reg += 2) {
		vdrv_common_out(d, reg, 2, 1);
		assert_int_equal(vdrv_common_in(d, reg, 2), reg == 0x1a ? 0xffff : 0);
	}
	vdrv_common_out(d, 0x16, 2, 0xffff);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), 0);
	vdrv_common_out(d, 0x1c, 2, 1);

	vdrv_common_out(d, 0x16, 2, 0);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), VRIG_QSIZE);
	vdrv_common_out(d, 0x18, 2, 2 * VRIG_QSIZE);
	vdrv_common_out(d, 0x18, 2, 0);
	vdrv_common_out(d, 0x18, 2, 5);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), VRIG_QSIZE);
	vdrv_common_out(d, 0x18, 2, 4);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), 4);
	vdrv_common_out(d, 0x20, 4, 0x11223340);
	vdrv_common_out(d, 0x24, 4, 0x55);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), 0x11223340);
	assert_int_equal(vdrv_common_in(d, 0x24, 4), 0x55);
	/* Parts of a register: readable, not writable. */
	vdrv_common_out(d, 0x20, 1, 0xff);
	assert_int_equal(vdrv_common_in(d, 0x21, 1), 0x33);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), 0x11223340);
	/* Two registers at once. */
	assert_int_equal(vdrv_common_in(d, 0x16, 4), 4 << 16);
	assert_int_equal(vdrv_common_in(d, 0x18, 4), 0xffff0004);
	/* Vectors: those there are. */
	vdrv_common_out(d, 0x1a, 2, 2);
	assert_int_equal(vdrv_common_in(d, 0x1a, 2), 0xffff);
	vdrv_common_out(d, 0x1a, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1a, 2), 1);
	vdrv_common_out(d, 0x10, 2, 7);
	assert_int_equal(vdrv_common_in(d, 0x10, 2), 0xffff);

	/* Enabling before FEATURES_OK is too early; a ring outside RAM asks for a reset. */
	vdrv_common_out(d, 0x1c, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 0);
	assert_int_equal(vdrv_status(d), 0);
	assert_true(vdrv_start(d, VIRTIO_F_VERSION_1));
	vdrv_common_out(d, 0x24, 4, 0x55);
	vdrv_common_out(d, 0x1c, 2, 1);
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 0);
	assert_int_equal(vdrv_status(d), 0x4b);
	vdrv_set_status(d, 0);
	assert_int_equal(vdrv_status(d), 0);
	assert_int_equal(vdrv_common_in(d, 0x24, 4), 0);

	/* Enabled, a queue is frozen. */
	vrig_start(m, 0);
	vdrv_common_out(d, 0x18, 2, 2);
	vdrv_common_out(d, 0x20, 4, 0);
	vdrv_common_out(d, 0x1c, 2, 0);
	assert_int_equal(vdrv_common_in(d, 0x18, 2), VRIG_QSIZE);
	assert_int_equal(vdrv_common_in(d, 0x20, 4), VRIG_RING(0));
	assert_int_equal(vdrv_common_in(d, 0x1c, 2), 1);
}

static void test_intx(void **state)
{
	struct vrig *m = *state;

	m->no_msi = true;
	vrig_create(m);
	assert_int_equal(m->d.msix_cap, 0);
	vrig_start(m, VRIG_F_FLUSH);
	assert_false(m->irqs[10].level);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	vrig_wait_line(m, true);
	assert_true(pci_cfg_in(&m->bus, VRIG_DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(vdrv_isr(&m->d), 1);
	vrig_wait_line(m, false);
	assert_int_equal(vdrv_isr(&m->d), 0);
	/* The driver may ask for silence. */
	__atomic_store_n((uint16_t *)vrig_at(m, m->q->avail), VIRTQ_AVAIL_F_NO_INTERRUPT,
			 __ATOMIC_RELAXED);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	assert_int_equal(vdrv_isr(&m->d), 0);
	__atomic_store_n((uint16_t *)vrig_at(m, m->q->avail), 0, __ATOMIC_RELAXED);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	vrig_wait_line(m, true);
	vdrv_set_status(&m->d, 0);
	vrig_wait_line(m, false);
}

/* MSI-X there but off: the line; turned on: the line falls. */
static void test_intx_and_msix(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	vdrv_msix_enable(&m->d, false);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	vrig_wait_line(m, true);
	vdrv_msix_enable(&m->d, true);
	vrig_wait_line(m, false);
	assert_int_equal(vrig_take(m, 1), 0);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	assert_int_equal(vrig_take_soon(m, 1), 1);
	/* A vector that is masked pends. */
	bus_out(&m->bus, BUS_MMIO, m->d.msix_table.addr + 16 + 12, 4, 1);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	for (unsigned i = 0; i < VRIG_WAIT && !bus_in(&m->bus, BUS_MMIO, m->d.msix_pba.addr, 4);
	     i++)
		usleep(1000);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, m->d.msix_pba.addr, 4), 2);
	assert_int_equal(vrig_take(m, 1), 0);
	bus_out(&m->bus, BUS_MMIO, m->d.msix_table.addr + 16 + 12, 4, 0);
	assert_int_equal(vrig_take_soon(m, 1), 1);
}

static void test_bus_master(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	vrig_add(m->q, 0, VRIG_IN, 0, 512);
	vdrv_kick(m->q);
	vrig_check_none_used(m->q, 20);
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_COMMAND, 2,
		    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
}

/* The BARs move while the queue runs: doorbell and registers are where they are now. */
static void test_bars_move(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, VRIG_F_FLUSH);
	vrig_settle(m);
	usleep(20000); /* it looks once more before it sleeps */
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 1);
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_BAR0, 4, 0xe000);
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_BAR0 + 4, 4, 0xd0000000);
	vrig_add(m->q, 0, VRIG_IN, 0, 512);
	vdrv_kick(m->q); /* to where it was */
	vrig_check_none_used(m->q, 20);
	m->q->doorbell = 0xe000;
	vdrv_kick(m->q);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
	m->d.common.addr = 0xd0000000;
	assert_int_equal(vdrv_status(&m->d), 0x0f);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 1);
	/* A doorbell write of another width goes by the handler. */
	vrig_add(m->q, 0, VRIG_IN, 0, 512);
	outl(&m->bus, 0xe000, 0);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
	vdrv_set_status(&m->d, 0);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
}

/* The window in configuration space does what the BARs do, and no more (4.1.4.9). */
static void test_pci_cfg_window(void **state)
{
	struct vrig *m = *state;
	struct bus *bus = &m->bus;
	unsigned cap = 0;

	do
		cap = pci_cap_find(bus, VRIG_DEVFN, PCI_CAP_VENDOR, cap);
	while (cap && pci_cfg_in(bus, VRIG_DEVFN, cap + 3, 1) != 5);
	assert_int_not_equal(cap, 0);
	vrig_start(m, VRIG_F_FLUSH);

	pci_cfg_out(bus, VRIG_DEVFN, cap + 4, 1, m->d.common.bar);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 8, 4, 0x14);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 12, 4, 1);
	assert_int_equal(pci_cfg_in(bus, VRIG_DEVFN, cap + 16, 1), 0x0f);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 8, 4, 0x16);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 12, 4, 2);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 16, 2, 0x1234);
	assert_int_equal(vdrv_common_in(&m->d, 0x16, 2), 0x1234);
	/* The doorbell. */
	vrig_add(m->q, 0, VRIG_IN, 0, 512);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 4, 1, m->d.notify.bar);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 8, 4, 0);
	pci_cfg_out(bus, VRIG_DEVFN, cap + 16, 2, 0);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
	/* Nonsense reads what was written last, and does nothing. */
	static const uint32_t bad[][3] = {
		{ 1, 0x14, 0 },
		{ 1, 0x14, 3 },
		{ 1, 0x14, 8 },
		{ 1, 0x1000, 4 },
		{ 1, 0xfffffffc, 4 },
		{ 1, 0x15, 2 },
		{ 5, 0, 4 },
		{ 6, 0, 4 },
		{ 255, 0, 4 },
		{ 0, 0xfffffffe, 2 },
		{ 1, 0x14, 0xffffffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		pci_cfg_out(bus, VRIG_DEVFN, cap + 4, 1, bad[i][0]);
		pci_cfg_out(bus, VRIG_DEVFN, cap + 8, 4, bad[i][1]);
		pci_cfg_out(bus, VRIG_DEVFN, cap + 12, 4, bad[i][2]);
		pci_cfg_out(bus, VRIG_DEVFN, cap + 16, 4, 0);
		assert_int_equal(pci_cfg_in(bus, VRIG_DEVFN, cap + 16, 4), 0);
	}
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

static void test_create_errors(void **state)
{
	struct vrig *m = *state;
	struct virtio_blk_config cfg = { .name = "virtio-blk1",
					 .at.pci = m->host,
					 .at.devfn = VRIG_DEVFN,
					 .at.mem = &m->mem,
					 .block = &m->disk.b };
	struct device *dev, *many[8];
	unsigned n = 0;

	assert_int_equal(virtio_blk_create(&cfg, &dev), -EEXIST);
	cfg.at.devfn = -1;
	cfg.queues = VIRTIO_MAX_QUEUES + 1;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	cfg.queues = 1;
	cfg.at.queue_size = 100;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	cfg.at.queue_size = 2 * VIRTQ_MAX_SIZE;
	assert_int_equal(virtio_blk_create(&cfg, &dev), -EINVAL);
	/* Too few vectors for the last: all that it took is given back. */
	cfg.at.queue_size = 0;
	cfg.queues = VIRTIO_MAX_QUEUES;
	while (n < ARRAY_SIZE(many) && !virtio_blk_create(&cfg, &many[n]))
		n++;
	assert_int_equal(n, FAKE_MSI_VECTORS / (VIRTIO_MAX_QUEUES + 1));
	while (n)
		device_destroy(many[--n]);
	assert_int_equal(virtio_blk_create(&cfg, &dev), 0);
	assert_int_equal(pci_cfg_in(&m->bus, 0x18, 0, 4), 0x10421af4);
	device_destroy(dev);
	assert_int_equal(pci_cfg_in(&m->bus, 0x18, 0, 4), 0xffffffff);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity, vrig_setup_image),        T(test_handshake, vrig_setup_image),
		T(test_queue_registers, vrig_setup_image), T(test_intx, vrig_setup_image_none),
		T(test_intx_and_msix, vrig_setup_image),   T(test_bus_master, vrig_setup_image),
		T(test_bars_move, vrig_setup_image),       T(test_pci_cfg_window, vrig_setup_image),
		T(test_create_errors, vrig_setup_image),
	};

	return cmocka_run_group_tests_name("virtio_blk_pci", tests, NULL, NULL);
}
