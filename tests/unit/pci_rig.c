/* SPDX-License-Identifier: MIT */
#include "tests/unit/pci_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/state.h"

static struct pci_toy *to_toy(struct device *dev)
{
	return container_of(dev, struct pci_toy, dev);
}

static uint64_t toy_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct pci_toy *t = to_toy(dev);

	if (offset >= MSIX_PBA && offset < 0x1000)
		return pci_msix_pba_read(&t->pci, offset - MSIX_PBA, width);
	if (offset >= MSIX_TABLE && offset < 0x1000)
		return pci_msix_read(&t->pci, offset - MSIX_TABLE, width);
	return offset + 0x1000 * (t->pci.devfn + 1u);
}

static void toy_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct pci_toy *t = to_toy(dev);

	if (offset >= MSIX_TABLE && offset < MSIX_PBA) {
		pci_msix_write(&t->pci, offset - MSIX_TABLE, width, value);
		return;
	}
	t->last_offset = offset;
	t->last_value = value;
	t->writes++;
}

static const struct bus_ops toy_bus_ops = {
	.max_width = 8,
	.read = toy_read,
	.write = toy_write,
};

static void toy_reset(struct device *dev)
{
	pci_dev_reset(&to_toy(dev)->pci);
}

static void toy_destroy(struct device *dev)
{
	struct pci_toy *t = to_toy(dev);

	pci_dev_destroy(&t->pci);
	if (t->doorbell.fd > 0)
		close(t->doorbell.fd);
	free(t);
}

static int toy_post_load(struct device *dev)
{
	return pci_dev_post_load(&to_toy(dev)->pci);
}

static void toy_pre_save(struct device *dev)
{
	pci_dev_pre_save(&to_toy(dev)->pci);
}

static const struct state_field toy_fields[] = {
	PCI_STATE_FIELDS(struct pci_toy_state, pci),
	PCI_MSIX_STATE_FIELDS(struct pci_toy_state, msix),
};

static const struct state_desc toy_state = {
	.version = 1,
	.fields = toy_fields,
	.nr_fields = ARRAY_SIZE(toy_fields),
};

static const struct device_ops toy_ops = {
	.type = "toy",
	.reset = toy_reset,
	.destroy = toy_destroy,
	.state = &toy_state,
	.state_offset = offsetof(struct pci_toy, s),
	.pre_save = toy_pre_save,
	.post_load = toy_post_load,
};

struct pci_toy *pci_rig_toy(struct pci_rig *m, int devfn, uint8_t pin)
{
	const struct pci_ids ids = { 0x1234, 0x5678, 0x9abc, 0xdef0, 7, 0x020304, pin };
	struct pci_toy *t = calloc(1, sizeof(*t));

	device_init(&t->dev, &toy_ops, "toy");
	pci_dev_init(&t->pci, m->host, &t->dev, &t->s.pci, NULL, &ids);
	pci_add_bar(&t->pci, BAR_IO, PCI_BAR_IO, 16, &toy_bus_ops);
	pci_add_bar(&t->pci, BAR_MEM, PCI_BAR_MEM32, 0x1000, &toy_bus_ops);
	pci_add_bar(&t->pci, BAR_MEM64, PCI_BAR_MEM64, 0x10000, &toy_bus_ops);
	assert_int_equal(
		pci_msix_add(&t->pci, &t->msix, &t->s.msix, VECTORS, BAR_MEM, MSIX_TABLE, MSIX_PBA),
		0);
	assert_int_equal(pci_msi_add(&t->pci, &t->msi), 0);
	assert_int_equal(pci_dev_attach(&t->pci, devfn), 0);
	return t;
}

void pci_rig_init(struct pci_rig *m)
{
	struct pci_host_config cfg = { .name = "pci", .bus = &m->bus, .msi = &m->msi.ctl };

	bus_init(&m->bus);
	fake_msi_init(&m->msi);
	cfg.power = fake_power(&m->power);
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		cfg.irqs[i] = fake_irq(&m->irqs[i]);
	assert_int_equal(pci_host_create(&cfg, &m->host), 0);
}

void pci_rig_fini(struct pci_rig *m)
{
	device_destroy(&m->host->dev);
	/* Nothing is left behind. */
	assert_int_equal(m->bus.tables[BUS_PIO].nr_ranges, 0);
	assert_int_equal(m->bus.tables[BUS_MMIO].nr_ranges, 0);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
	for (unsigned i = 0; i < FAKE_MSI_VECTORS; i++)
		assert_false(m->msi.vec[i].used);
	bus_destroy(&m->bus);
}

int pci_rig_setup(void **state)
{
	struct pci_rig *m = calloc(1, sizeof(*m));

	pci_rig_init(m);
	*state = m;
	return 0;
}

int pci_rig_teardown(void **state)
{
	pci_rig_fini(*state);
	free(*state);
	return 0;
}
