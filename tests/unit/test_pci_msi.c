/* SPDX-License-Identifier: MIT */
/* MSI-X and MSI; what a function saves of itself, them included. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"
#include "tests/unit/pci_rig.h"

static unsigned msix_cap(struct pci_rig *m)
{
	return pci_cap_find(&m->bus, 0x20, PCI_CAP_MSIX, 0);
}

static void test_msix_table(void **state)
{
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
	unsigned cap = msix_cap(m);
	uint64_t table;

	assert_int_equal(pci_assign(m->host), 0);
	table = cfg_in(m, 0x20, PCI_BAR0 + 4, 4) + MSIX_TABLE;
	assert_int_equal(cfg_in(m, 0x20, cap + 2, 2), VECTORS - 1);
	assert_int_equal(cfg_in(m, 0x20, cap + 4, 4), MSIX_TABLE | BAR_MEM);
	assert_int_equal(cfg_in(m, 0x20, cap + 8, 4), MSIX_PBA | BAR_MEM);
	cfg_out(m, 0x20, cap + 2, 2, 0xffff);
	assert_int_equal(cfg_in(m, 0x20, cap + 2, 2), 0xc000 | (VECTORS - 1));

	/* Entries, in pieces of every width. */
	for (unsigned i = 0; i < VECTORS; i++)
		assert_int_equal(bus_in(&m->bus, BUS_MMIO, table + i * 16 + 12, 4), 1);
	for (unsigned width = 1; width <= 8; width *= 2) {
		for (unsigned at = 0; at < VECTORS * 16; at += width)
			bus_out(&m->bus, BUS_MMIO, table + at, width,
				0x1122334455667788ull * (at + width));
		for (unsigned at = 0; at < VECTORS * 16; at += width) {
			uint64_t want = 0x1122334455667788ull * (at + width) & width_mask(width);

			if (at % 16 >= 12)
				want &= at % 16 == 12;
			else if (at % 16 == 8 && width == 8)
				want &= 0x1ffffffff;
			assert_int_equal(bus_in(&m->bus, BUS_MMIO, table + at, width), want);
		}
	}
	/* Behind the last entry there is nothing; a straddling access ends there. */
	for (unsigned at = VECTORS * 16; at < 0x400; at += 4) {
		bus_out(&m->bus, BUS_MMIO, table + at, 4, 0xffffffff);
		assert_int_equal(bus_in(&m->bus, BUS_MMIO, table + at, 4), 0);
	}
	for (unsigned i = VECTORS * 16; i < sizeof(t->s.msix.table); i++)
		assert_int_equal(t->s.msix.table[i], 0);
	bus_out(&m->bus, BUS_MMIO, table + VECTORS * 16 - 4, 8, ~0ull);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, table + VECTORS * 16 - 4, 8), 1);
	device_destroy(&t->dev);
}

static void entry_out(struct pci_rig *m, unsigned vec, unsigned field, uint32_t v)
{
	uint64_t bar = cfg_in(m, 0x20, PCI_BAR0 + 4, 4);

	bus_out(&m->bus, BUS_MMIO, bar + MSIX_TABLE + vec * 16 + field, 4, v);
}

static uint64_t pba(struct pci_rig *m)
{
	return bus_in(&m->bus, BUS_MMIO, cfg_in(m, 0x20, PCI_BAR0 + 4, 4) + MSIX_PBA, 8);
}

static unsigned taken(struct pci_rig *m, struct pci_toy *t, unsigned vec)
{
	return fake_msi_take(&m->msi, t->msix.vec[vec].id);
}

static void test_msix_masks(void **state)
{
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
	unsigned control = msix_cap(m) + 2;
	const int id = t->msix.vec[1].id;

	assert_int_equal(pci_assign(m->host), 0);
	/* Off: nothing is sent, nothing pends. */
	entry_out(m, 1, 12, 0);
	pci_msix_notify(&t->pci, 1);
	assert_int_equal(pba(m), 0);
	/* On, with the function masked: it pends. */
	cfg_out(m, 0x20, control, 2, PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASKALL);
	assert_true(pci_msix_enabled(&t->pci));
	pci_msix_notify(&t->pci, 1);
	assert_int_equal(pba(m), 2);
	assert_int_equal(taken(m, t, 1), 0);
	/* A masked entry is filled in without the controller being troubled. */
	entry_out(m, 1, 0, 0xfee01000);
	entry_out(m, 1, 4, 0x1);
	entry_out(m, 1, 8, 0x4041);
	assert_int_equal(m->msi.vec[id].addr, 0);
	cfg_out(m, 0x20, control, 2, PCI_MSIX_CONTROL_ENABLE);
	assert_false(m->msi.vec[id].masked);
	assert_true(m->msi.vec[id].addr == 0x1fee01000);
	assert_int_equal(m->msi.vec[id].data, 0x4041);
	assert_int_equal(pba(m), 0); /* sent: no longer ours */
	assert_int_equal(taken(m, t, 1), 1);
	/* Per-vector masks; others are not affected. */
	pci_msix_notify(&t->pci, 0);
	pci_msix_notify(&t->pci, 2);
	assert_int_equal(pba(m), 5);
	entry_out(m, 2, 12, 0);
	assert_int_equal(taken(m, t, 2), 1);
	assert_int_equal(pba(m), 1);
	entry_out(m, 2, 12, 1);
	pci_msix_notify(&t->pci, 2);
	assert_int_equal(taken(m, t, 2), 0);
	assert_int_equal(pba(m), 5);
	/* An unmasked entry that is changed takes effect at once. */
	entry_out(m, 1, 8, 0x4042);
	assert_int_equal(m->msi.vec[id].data, 0x4042);
	/* Vectors that do not exist. */
	pci_msix_notify(&t->pci, VECTORS);
	pci_msix_notify(&t->pci, 0xffff);
	pci_msix_clear_pending(&t->pci);
	assert_int_equal(pba(m), 0);
	assert_int_equal(
		bus_in(&m->bus, BUS_MMIO, cfg_in(m, 0x20, PCI_BAR0 + 4, 4) + MSIX_PBA + 8, 8), 0);
	/* Turned off: masked in the controller. */
	cfg_out(m, 0x20, control, 2, 0);
	assert_true(m->msi.vec[id].masked);
	device_destroy(&t->dev);
}

static void test_msi(void **state)
{
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
	unsigned cap = pci_cap_find(&m->bus, 0x20, PCI_CAP_MSI, 0);
	const int id = t->msi.vec.id;

	assert_int_not_equal(cap, 0);
	pci_msi_notify(&t->pci);
	cfg_out(m, 0x20, cap + 4, 4, 0xfee02003);
	cfg_out(m, 0x20, cap + 12, 2, 0x31);
	assert_true(m->msi.vec[id].masked);
	cfg_out(m, 0x20, cap + 2, 2, 0xffff);
	assert_int_equal(cfg_in(m, 0x20, cap + 2, 2), 0x81);
	assert_false(m->msi.vec[id].masked);
	assert_int_equal(m->msi.vec[id].addr, 0xfee02000);
	assert_int_equal(m->msi.vec[id].data, 0x31);
	assert_int_equal(fake_msi_take(&m->msi, id), 0);
	pci_msi_notify(&t->pci);
	assert_int_equal(fake_msi_take(&m->msi, id), 1);
	device_reset(&t->dev);
	assert_false(pci_msi_enabled(&t->pci));
	assert_true(m->msi.vec[id].masked);
	device_destroy(&t->dev);
}

/* Saved with a vector pending and BARs moved; a fresh function goes on from there. */
static void test_state(void **state)
{
	struct pci_rig *m = *state, other = { 0 };
	struct pci_toy *a = pci_rig_toy(m, 0x20, 1), *b;
	struct state_buf fresh = { 0 }, again = { 0 };

	pci_rig_init(&other);
	b = pci_rig_toy(&other, 0x20, 1);
	assert_int_equal(state_save(&a->dev, &fresh), 0);
	assert_int_equal(pci_assign(m->host), 0);
	cfg_out(m, 0x20, PCI_BAR0 + 4, 4, 0xd0000000);
	cfg_out(m, 0x20, msix_cap(m) + 2, 2, PCI_MSIX_CONTROL_ENABLE);
	entry_out(m, 0, 0, 0xfee03000);
	entry_out(m, 0, 8, 0x77);
	entry_out(m, 0, 12, 0);
	pci_msix_notify(&a->pci, 2);
	check_state_round_trip(&a->dev, &b->dev);
	outl(&m->bus, 0xcf8, 0x80002004);
	outb(&m->bus, 0xcf9, 2);
	check_state_round_trip(&m->host->dev, &other.host->dev);

	assert_int_equal(inl(&other.bus, 0xcf8), 0x80002004);
	assert_int_equal(inb(&other.bus, 0xcf9), 2);
	assert_int_equal(cfg_in(&other, 0x08, 0x60, 4), 0x0b0b0a0a);
	assert_int_equal(bus_in(&other.bus, BUS_MMIO, 0xd0000040, 4), 0x1000 * 0x21 + 0x40);
	assert_int_equal(pba(&other), 4);
	assert_false(other.msi.vec[b->msix.vec[0].id].masked);
	assert_int_equal(other.msi.vec[b->msix.vec[0].id].data, 0x77);
	entry_out(&other, 2, 12, 0);
	assert_int_equal(taken(&other, b, 2), 1);
	pci_intx_set(&b->pci, true);
	assert_true(other.irqs[11].level); /* routed as the loaded PIRQs say */

	/* Reset is as good as new. */
	device_reset(&b->dev);
	assert_int_equal(other.bus.tables[BUS_MMIO].nr_ranges, 0);
	assert_int_equal(state_save(&b->dev, &again), 0);
	assert_int_equal(fresh.len, again.len);
	assert_memory_equal(fresh.data, again.data, fresh.len);
	state_buf_free(&fresh);
	state_buf_free(&again);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
	pci_rig_fini(&other);
}

/* Streams with a good checksum and contents that no guest could have brought about. */
static void test_hostile_state(void **state)
{
	struct pci_rig *m = *state, other = { 0 };
	struct pci_toy *a = pci_rig_toy(m, 0x20, 1), *b;
	struct {
		void *p;
		uint8_t v;
	} lies[] = {
		{ &a->s.pci.config[PCI_VENDOR_ID], 0 },
		{ &a->s.pci.config[PCI_BAR0 + 4], 0x08 },
		{ &a->s.pci.config[PCI_CAPABILITY_LIST], 0xfc },
		{ &a->s.pci.config[PCI_HEADER_TYPE], 0x01 },
		{ &a->s.msix.table[13], 1 },
		{ &a->s.msix.table[VECTORS * 16], 1 },
	};

	pci_rig_init(&other);
	b = pci_rig_toy(&other, 0x20, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct state_buf buf = { 0 };
		uint8_t good = *(uint8_t *)lies[i].p;

		*(uint8_t *)lies[i].p = lies[i].v;
		assert_int_equal(state_save(&a->dev, &buf), 0);
		*(uint8_t *)lies[i].p = good;
		assert_int_equal(state_load(&b->dev, buf.data, buf.len), -EBADMSG);
		assert_memory_equal(&a->s, &b->s, sizeof(a->s));
		state_buf_free(&buf);
	}
	m->host->s.address = 1;

	struct state_buf buf = { 0 };

	assert_int_equal(state_save(&m->host->dev, &buf), 0);
	assert_int_equal(state_load(&other.host->dev, buf.data, buf.len), -EBADMSG);
	state_buf_free(&buf);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
	pci_rig_fini(&other);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_msix_table, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_msix_masks, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_msi, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_state, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_hostile_state, pci_rig_setup,
						pci_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
