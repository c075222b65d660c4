/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pci/msi.h"
#include "devices/pci/pci_host.h"
#include "tests/unit/fake.h"
#include "tests/unit/virtio_driver.h"

#define BAR_IO 0
#define BAR_MEM 1
#define BAR_MEM64 2
#define MSIX_TABLE 0x800
#define MSIX_PBA 0xc00
#define VECTORS 3

/* A function with one BAR of each kind, MSI-X, and a doorbell. */
struct toy_state {
	struct pci_state pci;
	struct pci_msix_state msix;
};

struct toy {
	struct device dev;
	struct pci_dev pci;
	struct pci_msix msix;
	struct pci_msi msi;
	struct pci_eventfd doorbell;
	uint64_t last_offset, last_value;
	unsigned writes;
	struct toy_state s;
};

static struct toy *to_toy(struct device *dev)
{
	return container_of(dev, struct toy, dev);
}

static uint64_t toy_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct toy *t = to_toy(dev);

	if (offset >= MSIX_PBA && offset < 0x1000)
		return pci_msix_pba_read(&t->pci, offset - MSIX_PBA, width);
	if (offset >= MSIX_TABLE && offset < 0x1000)
		return pci_msix_read(&t->pci, offset - MSIX_TABLE, width);
	return offset + 0x1000 * (t->pci.devfn + 1u);
}

static void toy_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct toy *t = to_toy(dev);

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
	struct toy *t = to_toy(dev);

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
	PCI_STATE_FIELDS(struct toy_state, pci),
	PCI_MSIX_STATE_FIELDS(struct toy_state, msix),
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
	.state_offset = offsetof(struct toy, s),
	.pre_save = toy_pre_save,
	.post_load = toy_post_load,
};

struct machine {
	struct bus bus;
	struct fake_irq irqs[PCI_NR_ISA_IRQS];
	struct fake_msi msi;
	struct fake_power power;
	struct pci_host *host;
};

static struct toy *toy_create(struct machine *m, int devfn, uint8_t pin)
{
	const struct pci_ids ids = { 0x1234, 0x5678, 0x9abc, 0xdef0, 7, 0x020304, pin };
	struct toy *t = calloc(1, sizeof(*t));

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

static void machine_init(struct machine *m)
{
	struct pci_host_config cfg = { .name = "pci", .bus = &m->bus, .msi = &m->msi.ctl };

	bus_init(&m->bus);
	fake_msi_init(&m->msi);
	cfg.power = fake_power(&m->power);
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		cfg.irqs[i] = fake_irq(&m->irqs[i]);
	assert_int_equal(pci_host_create(&cfg, &m->host), 0);
}

static void machine_fini(struct machine *m)
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

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	machine_init(m);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	machine_fini(*state);
	free(*state);
	return 0;
}

#define cfg_in(m, devfn, reg, width) pci_cfg_in(&(m)->bus, devfn, reg, width)
#define cfg_out(m, devfn, reg, width, v) pci_cfg_out(&(m)->bus, devfn, reg, width, v)

static void test_mechanism_1(void **state)
{
	struct machine *m = *state;
	struct bus *bus = &m->bus;

	/* Linux's pci_check_type1(). */
	outb(bus, 0xcfb, 0x01);
	outl(bus, 0xcf8, 0x80000000);
	assert_int_equal(inl(bus, 0xcf8), 0x80000000);
	/* Only dword writes reach the address; reserved bits read 0. */
	outb(bus, 0xcf8, 0x44);
	outw(bus, 0xcf8, 0x4444);
	outw(bus, 0xcfa, 0x1234);
	assert_int_equal(inl(bus, 0xcf8), 0x80000000);
	outl(bus, 0xcf8, 0xffffffff);
	assert_int_equal(inl(bus, 0xcf8), 0x80fffffc);
	assert_int_equal(inb(bus, 0xcf8), 0xff);

	outl(bus, 0xcf8, 0x80000000);
	assert_int_equal(inl(bus, 0xcfc), 0x12378086);
	assert_int_equal(inw(bus, 0xcfc), 0x8086);
	assert_int_equal(inw(bus, 0xcfe), 0x1237);
	assert_int_equal(inb(bus, 0xcfd), 0x80);
	assert_int_equal(inb(bus, 0xcff), 0x12);
	/* Unaligned, across dwords: never beyond the port pair. */
	assert_int_equal(inw(bus, 0xcfd), 0x3780);
	assert_int_equal(inw(bus, 0xcff), 0xff12);
	/* Not enabled, another bus, an absent function. */
	outl(bus, 0xcf8, 0);
	assert_int_equal(inl(bus, 0xcfc), 0xffffffff);
	outl(bus, 0xcf8, 0x80010000);
	assert_int_equal(inl(bus, 0xcfc), 0xffffffff);
	assert_int_equal(cfg_in(m, 0x10, 0, 4), 0xffffffff);
	assert_int_equal(cfg_in(m, 0xff, 0xff, 1), 0xff);
	cfg_out(m, 0x10, 4, 4, 0xffffffff);
}

static void test_bridges(void **state)
{
	struct machine *m = *state;
	struct toy *t;

	assert_int_equal(cfg_in(m, 0x00, 0x08, 4), 0x06000002);
	assert_int_equal(cfg_in(m, 0x00, 0x2c, 4), 0x11001af4);
	assert_int_equal(cfg_in(m, 0x00, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(cfg_in(m, 0x08, 0x00, 4), 0x70008086);
	assert_int_equal(cfg_in(m, 0x08, 0x08, 4), 0x06010000);
	assert_int_equal(cfg_in(m, 0x08, PCI_HEADER_TYPE, 1), 0x80);
	/* PAM, by read-modify-write of dwords as SeaBIOS does. */
	assert_int_equal(cfg_in(m, 0x00, 0x58, 4), 0);
	cfg_out(m, 0x00, 0x58, 4, 0x33333033);
	cfg_out(m, 0x00, 0x5c, 4, 0x33333333);
	assert_int_equal(cfg_in(m, 0x00, 0x58, 4), 0x33333000);
	assert_int_equal(cfg_in(m, 0x00, 0x5c, 4), 0x33333333);
	/* Identity is not for writing. */
	cfg_out(m, 0x00, 0x00, 4, 0);
	cfg_out(m, 0x00, 0x0c, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 0x00, 0x00, 4), 0x12378086);
	assert_int_equal(cfg_in(m, 0x00, 0x0c, 4), 0x0000f8ff);
	/* PIRQ registers: off at power-on, bits 6:4 do not exist. */
	assert_int_equal(cfg_in(m, 0x08, 0x60, 4), 0x80808080);
	cfg_out(m, 0x08, 0x60, 4, 0xff7b0b0a);
	assert_int_equal(cfg_in(m, 0x08, 0x60, 4), 0x8f0b0b0a);

	/* A slot says that it has more functions when it has. */
	t = toy_create(m, 0x01, 1);
	assert_int_equal(cfg_in(m, 0x00, PCI_HEADER_TYPE, 1), 0x80);
	device_reset(&m->host->dev);
	assert_int_equal(cfg_in(m, 0x00, PCI_HEADER_TYPE, 1), 0x80);
	device_destroy(&t->dev);
}

static void test_reset_port(void **state)
{
	struct machine *m = *state;

	outb(&m->bus, 0xcf9, 0x02);
	assert_int_equal(inb(&m->bus, 0xcf9), 0x02);
	assert_int_equal(m->power.requests, 0);
	outb(&m->bus, 0xcf9, 0x06);
	assert_int_equal(m->power.requests, 1);
	assert_int_equal(m->power.last, POWER_RESET);
	/* The dword at 0xcf8 is the address, whatever its second byte. */
	outl(&m->bus, 0xcf8, 0x80000600);
	assert_int_equal(m->power.requests, 1);
	device_reset(&m->host->dev);
	assert_int_equal(inb(&m->bus, 0xcf9), 0);
	assert_int_equal(inl(&m->bus, 0xcf8), 0);
}

static void test_names(void **state)
{
	static const struct {
		uint16_t port;
		const char *name;
	} ports[] = { { 0xcf8, "config-address" },
		      { 0xcf9, "reset-control" },
		      { 0xcfc, "config-data" },
		      { 0xcff, "config-data" } };
	struct machine *m = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(ports); i++) {
		const char *dev, *reg;

		assert_true(bus_name(&m->bus, BUS_PIO, ports[i / 2].port, i & 1, &dev, &reg));
		assert_string_equal(dev, "pci");
		assert_string_equal(reg, ports[i / 2].name);
	}
}

static void test_attach(void **state)
{
	struct machine *m = *state;
	struct toy *a = toy_create(m, -1, 1), *b = toy_create(m, -1, 1);
	struct toy c = { 0 };
	const struct pci_ids ids = { 0 };

	assert_int_equal(a->pci.devfn, 0x10);
	assert_int_equal(b->pci.devfn, 0x18);
	pci_dev_init(&c.pci, m->host, &c.dev, &c.s.pci, NULL, &ids);
	assert_int_equal(pci_dev_attach(&c.pci, 0x10), -EEXIST);
	assert_int_equal(pci_dev_attach(&c.pci, 256), -EINVAL);
	assert_int_equal(pci_dev_attach(&c.pci, 0xff), 0);
	pci_dev_destroy(&c.pci);
	assert_int_equal(cfg_in(m, 0x10, 0, 4), 0x56781234);
	assert_int_equal(cfg_in(m, 0x10, 8, 4), 0x02030407);
	assert_int_equal(cfg_in(m, 0x10, 0x2c, 4), 0xdef09abc);
	device_destroy(&a->dev);
	assert_int_equal(cfg_in(m, 0x10, 0, 4), 0xffffffff);
	device_destroy(&b->dev);
}

static uint32_t size_bar(struct machine *m, unsigned devfn, unsigned bar)
{
	unsigned reg = PCI_BAR0 + bar * 4;
	uint32_t old = cfg_in(m, devfn, reg, 4), mask;

	cfg_out(m, devfn, reg, 4, 0xffffffff);
	mask = cfg_in(m, devfn, reg, 4);
	cfg_out(m, devfn, reg, 4, old);
	return mask;
}

static void test_bar_sizing(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
	unsigned mmio;

	assert_int_equal(size_bar(m, 0x20, 0), 0xfffffff1);
	assert_int_equal(size_bar(m, 0x20, 1), 0xfffff000);
	assert_int_equal(size_bar(m, 0x20, 2), 0xffff0004);
	assert_int_equal(size_bar(m, 0x20, 3), 0xffffffff);
	assert_int_equal(size_bar(m, 0x20, 4), 0);
	assert_int_equal(size_bar(m, 0x20, 5), 0);
	assert_int_equal(cfg_in(m, 0x20, 0x30, 4), 0); /* no ROM */
	cfg_out(m, 0x20, 0x30, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 0x20, 0x30, 4), 0);

	/* With decoding on, sizes are asked without a BAR appearing at the top. */
	assert_int_equal(pci_assign(m->host), 0);
	mmio = m->bus.tables[BUS_MMIO].nr_ranges;
	assert_int_equal(mmio, 2);
	for (unsigned bar = 0; bar < 4; bar++) {
		unsigned reg = PCI_BAR0 + bar * 4;
		uint32_t old = cfg_in(m, 0x20, reg, 4);

		cfg_out(m, 0x20, reg, 4, 0xffffffff);
		assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xfffff000, 4), 0xffffffff);
		assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xffff0000, 4), 0xffffffff);
		assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xffffffffffff0000, 4), 0xffffffff);
		assert_int_equal(inb(&m->bus, 0xfff0), 0xff);
		assert_true(m->bus.tables[BUS_MMIO].nr_ranges == (bar ? mmio - 1 : mmio));
		cfg_out(m, 0x20, reg, 4, old);
		assert_int_equal(m->bus.tables[BUS_MMIO].nr_ranges, mmio);
	}
	/* And BAR 0 means nowhere. */
	cfg_out(m, 0x20, PCI_BAR0 + 4, 4, 0);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0, 4), 0xffffffff);
	device_destroy(&t->dev);
}

static void test_command_and_moves(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
	const uint64_t id = 0x1000 * 0x21;

	cfg_out(m, 0x20, PCI_BAR0, 4, 0xd000);
	cfg_out(m, 0x20, PCI_BAR0 + 4, 4, 0xd0000000);
	cfg_out(m, 0x20, PCI_BAR0 + 8, 4, 0xd0010000);
	cfg_out(m, 0x20, PCI_BAR0 + 12, 4, 0x12);
	assert_int_equal(inb(&m->bus, 0xd000), 0xff); /* not before it is enabled */
	cfg_out(m, 0x20, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(inl(&m->bus, 0xd004), id + 4);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xd0000010, 4), 0xffffffff);
	cfg_out(m, 0x20, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
	assert_int_equal(inl(&m->bus, 0xd004), 0xffffffff);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xd0000010, 4), id + 0x10);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0x12d001fff8, 8), id + 0xfff8);
	/* Moved byte by byte; the low bits do not exist. */
	cfg_out(m, 0x20, PCI_BAR0 + 4 + 3, 1, 0xe0);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xd0000010, 4), 0xffffffff);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xe0000010, 4), id + 0x10);
	cfg_out(m, 0x20, PCI_BAR0 + 4, 2, 0x1fff);
	assert_int_equal(cfg_in(m, 0x20, PCI_BAR0 + 4, 4), 0xe0001000);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xe0001010, 4), id + 0x10);
	bus_out(&m->bus, BUS_MMIO, 0xe0001020, 4, 0x55);
	assert_int_equal(t->last_offset, 0x20);
	assert_int_equal(t->last_value, 0x55);
	/* I/O beyond the ports is nowhere. */
	cfg_out(m, 0x20, PCI_BAR0, 4, 0x10000);
	cfg_out(m, 0x20, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_ranges, 1);
	/* Bits of the command register that do not exist. */
	cfg_out(m, 0x20, PCI_COMMAND, 4, 0xffffffff);
	assert_int_equal(cfg_in(m, 0x20, PCI_COMMAND, 4), 0x00100547);
	device_reset(&t->dev);
	assert_int_equal(cfg_in(m, 0x20, PCI_COMMAND, 4), 0x00100000);
	assert_int_equal(m->bus.tables[BUS_MMIO].nr_ranges, 0);
	device_destroy(&t->dev);
}

static void test_overlap_is_refused(void **state)
{
	struct machine *m = *state;
	struct toy *a = toy_create(m, 0x20, 1), *b = toy_create(m, 0x28, 1);

	assert_int_equal(pci_assign(m->host), 0);

	uint32_t at = cfg_in(m, 0x20, PCI_BAR0 + 4, 4);
	uint32_t away = cfg_in(m, 0x28, PCI_BAR0 + 4, 4);

	/* b over a: a stays where it is, b is nowhere. */
	cfg_out(m, 0x28, PCI_BAR0 + 4, 4, at);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, at, 4), 0x1000 * 0x21);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, away, 4), 0xffffffff);
	assert_int_equal(m->host->nr_refused, 1);
	/* a leaves: b gets its place. */
	cfg_out(m, 0x20, PCI_BAR0 + 4, 4, away);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, at, 4), 0x1000 * 0x29);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, away, 4), 0x1000 * 0x21);
	assert_int_equal(m->host->nr_refused, 0);
	/* Over mechanism 1 itself: it survives. */
	cfg_out(m, 0x20, PCI_BAR0, 4, 0xcf0);
	assert_int_equal(cfg_in(m, 0x20, PCI_BAR0, 4), 0xcf1);
	assert_int_equal(m->host->nr_refused, 1);
	/* Within one function, too. */
	cfg_out(m, 0x20, PCI_BAR0 + 4, 4, 0xd0000000);
	cfg_out(m, 0x20, PCI_BAR0 + 8, 4, 0xd0000000);
	assert_int_equal(bus_in(&m->bus, BUS_MMIO, 0xd0000000, 4), 0x1000 * 0x21);
	device_destroy(&a->dev);
	assert_int_equal(m->host->nr_refused, 0);
	device_destroy(&b->dev);
}

static void test_doorbell_moves(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
	eventfd_t n;

	t->doorbell.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->doorbell.offset = 4;
	t->doorbell.width = 2;
	assert_int_equal(pci_bar_add_eventfd(&t->pci, BAR_IO, &t->doorbell), 0);
	assert_int_equal(m->bus.tables[BUS_PIO].nr_eventfds, 0);
	cfg_out(m, 0x20, PCI_BAR0, 4, 0xd000);
	cfg_out(m, 0x20, PCI_COMMAND, 2, PCI_COMMAND_IO);
	outw(&m->bus, 0xd004, 1);
	assert_int_equal(eventfd_read(t->doorbell.fd, &n), 0);
	assert_int_equal(t->writes, 0);
	outl(&m->bus, 0xd004, 1); /* another width is the handler's */
	assert_int_equal(t->writes, 1);
	cfg_out(m, 0x20, PCI_BAR0, 4, 0xe000);
	outw(&m->bus, 0xd004, 1);
	assert_int_equal(eventfd_read(t->doorbell.fd, &n), -1);
	outw(&m->bus, 0xe004, 1);
	assert_int_equal(eventfd_read(t->doorbell.fd, &n), 0);
	pci_bar_remove_eventfd(&t->pci, BAR_IO, &t->doorbell);
	outw(&m->bus, 0xe004, 1);
	assert_int_equal(t->writes, 2);
	/* One that does not lie in the BAR. */
	t->doorbell.offset = 15;
	assert_int_equal(pci_bar_add_eventfd(&t->pci, BAR_IO, &t->doorbell), -EINVAL);
	t->doorbell.offset = 4;
	assert_int_equal(pci_bar_add_eventfd(&t->pci, BAR_IO, &t->doorbell), 0);
	device_destroy(&t->dev);
}

static void test_assign(void **state)
{
	struct machine *m = *state;
	struct toy *t[3];

	for (unsigned i = 0; i < 3; i++)
		t[i] = toy_create(m, -1, 1);
	for (unsigned round = 0; round < 2; round++) {
		/* Twice: from nothing, and over what a guest has left. */
		assert_int_equal(pci_assign(m->host), 0);
		assert_int_equal(m->bus.tables[BUS_MMIO].nr_ranges, 6);
		assert_int_equal(m->bus.tables[BUS_PIO].nr_ranges, 4);
		for (unsigned i = 0; i < 3; i++) {
			unsigned devfn = t[i]->pci.devfn;
			uint32_t io = cfg_in(m, devfn, PCI_BAR0, 4);
			uint32_t mem = cfg_in(m, devfn, PCI_BAR0 + 4, 4);

			assert_true(io >= PLATFORM_PCI_IO_BASE && io < PLATFORM_PCI_IO_END);
			assert_true(mem >= PLATFORM_PCI_MMIO_BASE && mem < PLATFORM_PCI_MMIO_END);
			assert_int_equal(cfg_in(m, devfn, PCI_COMMAND, 2),
					 PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
			/* Slots 2, 3, 4: PIRQB, PIRQC, PIRQD. */
			assert_int_equal(cfg_in(m, devfn, PCI_INTERRUPT_LINE, 1), i < 1 ? 10 : 11);
			assert_int_equal(pci_slot_irq(m->host, devfn >> 3), i < 1 ? 10 : 11);
		}
		assert_int_equal(cfg_in(m, 0x08, 0x60, 4), 0x0b0b0a0a);
		cfg_out(m, t[0]->pci.devfn, PCI_BAR0 + 4, 4,
			cfg_in(m, t[1]->pci.devfn, PCI_BAR0 + 4, 4));
	}
	for (unsigned i = 0; i < 3; i++)
		device_destroy(&t[i]->dev);
}

static void test_intx(void **state)
{
	struct machine *m = *state;
	/* 5 - 1 = link 0, 9 - 1 = link 0, 6 - 1 = link 1: one line behind all three. */
	struct toy *a = toy_create(m, 5 << 3, 1), *b = toy_create(m, 9 << 3, 1);
	struct toy *c = toy_create(m, 6 << 3, 1);
	const struct fake_irq *line = &m->irqs[10];

	pci_intx_set(&a->pci, true); /* PIRQs are off: nothing happens, yet it is pending */
	assert_false(line->level);
	assert_true(cfg_in(m, 5 << 3, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	assert_int_equal(pci_assign(m->host), 0);
	assert_true(line->level);
	pci_intx_set(&a->pci, true); /* again is not twice */
	pci_intx_set(&b->pci, true);
	pci_intx_set(&c->pci, true);
	pci_intx_set(&a->pci, false);
	assert_true(line->level);
	assert_false(cfg_in(m, 5 << 3, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT);
	pci_intx_set(&b->pci, false);
	assert_true(line->level);
	/* Disabled in the command register: off the line, still in the status. */
	cfg_out(m, 6 << 3, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_false(line->level);
	assert_true(cfg_in(m, 6 << 3, PCI_COMMAND, 4) & PCI_STATUS_INTERRUPT << 16);
	cfg_out(m, 6 << 3, PCI_COMMAND, 2, 0);
	assert_true(line->level);
	/* Routed elsewhere: the old line falls, the new one rises. */
	cfg_out(m, 0x08, 0x61, 1, 5);
	assert_false(line->level);
	assert_true(m->irqs[5].level);
	cfg_out(m, 0x08, 0x61, 1, 0x80);
	assert_false(m->irqs[5].level);
	assert_int_equal(pci_slot_irq(m->host, 6), -1);
	/* IRQs that the PIIX3 reserves are never driven: 0 is the timer's. */
	cfg_out(m, 0x08, 0x61, 1, 0);
	assert_false(m->irqs[0].level);
	cfg_out(m, 0x08, 0x61, 1, 11);
	assert_true(m->irqs[11].level);
	/* A device that goes, or is reset, takes its level along. */
	device_reset(&c->dev);
	assert_false(m->irqs[11].level);
	pci_intx_set(&c->pci, true);
	assert_true(m->irqs[11].level);
	device_destroy(&c->dev);
	assert_false(m->irqs[11].level);
	device_destroy(&a->dev);
	device_destroy(&b->dev);
}

static void test_pins(void **state)
{
	struct machine *m = *state;
	/* Slot 4: INTA .. INTD lead to links 3, 0, 1, 2; a pin 0 leads nowhere. */
	static const uint8_t irq[] = { 0, 7, 3, 4, 6 };

	assert_int_equal(pci_assign(m->host), 0);
	cfg_out(m, 0x08, 0x60, 4, 0x07060403);
	for (uint8_t pin = 0; pin <= 4; pin++) {
		struct toy *t = toy_create(m, 4 << 3, pin);

		pci_intx_set(&t->pci, true);
		for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
			assert_int_equal(m->irqs[i].level, pin && i == irq[pin]);
		device_destroy(&t->dev);
	}
}

static void test_capability_list(void **state)
{
	struct machine *m = *state;
	struct toy t = { 0 };
	const struct pci_ids ids = { 0 };
	uint8_t body[256] = { [0] = 0xaa };
	unsigned n = 0, cap = 0;

	pci_dev_init(&t.pci, m->host, &t.dev, &t.s.pci, NULL, &ids);
	assert_int_equal(pci_add_cap(&t.pci, 9, body, 193), -ENOSPC);
	assert_int_equal(pci_add_cap(&t.pci, 9, body, 3), 0x40);
	assert_int_equal(pci_add_cap(&t.pci, 5, body, 4), 0x44);
	assert_int_equal(pci_add_cap(&t.pci, 9, body, 184), 0x48);
	assert_int_equal(pci_add_cap(&t.pci, 9, body, 2), -ENOSPC);
	assert_int_equal(pci_dev_attach(&t.pci, 0x20), 0);
	while ((cap = pci_cap_find(&m->bus, 0x20, 9, cap)))
		n++;
	assert_int_equal(n, 2);
	assert_int_equal(pci_cap_find(&m->bus, 0x20, 5, 0), 0x44);
	assert_int_equal(cfg_in(m, 0x20, 0x40, 4), 0x00aa4409);
	cfg_out(m, 0x20, 0x40, 4, 0);
	cfg_out(m, 0x20, 0x34, 1, 0);
	assert_int_equal(cfg_in(m, 0x20, 0x40, 4), 0x00aa4409);
	pci_dev_destroy(&t.pci);
}

static unsigned msix_cap(struct machine *m)
{
	return pci_cap_find(&m->bus, 0x20, PCI_CAP_MSIX, 0);
}

static void test_msix_table(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
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

static void entry_out(struct machine *m, unsigned vec, unsigned field, uint32_t v)
{
	uint64_t bar = cfg_in(m, 0x20, PCI_BAR0 + 4, 4);

	bus_out(&m->bus, BUS_MMIO, bar + MSIX_TABLE + vec * 16 + field, 4, v);
}

static uint64_t pba(struct machine *m)
{
	return bus_in(&m->bus, BUS_MMIO, cfg_in(m, 0x20, PCI_BAR0 + 4, 4) + MSIX_PBA, 8);
}

static unsigned taken(struct machine *m, struct toy *t, unsigned vec)
{
	return fake_msi_take(&m->msi, t->msix.vec[vec].id);
}

static void test_msix_masks(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
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
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
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
	struct machine *m = *state, other = { 0 };
	struct toy *a = toy_create(m, 0x20, 1), *b;
	struct state_buf fresh = { 0 }, again = { 0 };

	machine_init(&other);
	b = toy_create(&other, 0x20, 1);
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
	machine_fini(&other);
}

/* Streams with a good checksum and contents that no guest could have brought about. */
static void test_hostile_state(void **state)
{
	struct machine *m = *state, other = { 0 };
	struct toy *a = toy_create(m, 0x20, 1), *b;
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

	machine_init(&other);
	b = toy_create(&other, 0x20, 1);
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
	machine_fini(&other);
}

struct racer {
	struct machine *m;
	struct toy *t;
	atomic_bool stop;
};

static void *race(void *opaque)
{
	struct racer *r = opaque;

	while (!r->stop) {
		(void)bus_in(&r->m->bus, BUS_MMIO, 0xd0000000, 4);
		(void)bus_in(&r->m->bus, BUS_MMIO, 0xe0000000, 4);
		pci_intx_set(&r->t->pci, true);
		pci_intx_set(&r->t->pci, false);
	}
	return NULL;
}

/* The line has been up: on a busy host that may take the other threads a while. */
static bool pulled(struct machine *m)
{
	bool raised;

	pthread_mutex_lock(&m->host->intx_lock);
	raised = m->irqs[11].raised;
	pthread_mutex_unlock(&m->host->intx_lock);
	return raised;
}

/* BARs move on one CPU while another is at them, and a third thread pulls the line. */
static void test_threads(void **state)
{
	struct machine *m = *state;
	struct toy *t = toy_create(m, 0x20, 1);
	struct racer r = { .m = m, .t = t };
	pthread_t thread[2];

	assert_int_equal(pci_assign(m->host), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, race, &r), 0);
	for (unsigned i = 0; i < 2000 || !pulled(m); i++) {
		cfg_out(m, 0x20, PCI_BAR0 + 4, 4, i & 1 ? 0xd0000000 : 0xe0000000);
		cfg_out(m, 0x20, PCI_COMMAND, 2, i & 2 ? PCI_COMMAND_INTX_DISABLE : 2);
		cfg_out(m, 0x08, 0x63, 1, i & 4 ? 0x80 : 11); /* slot 4 is on PIRQD */
	}
	r.stop = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_false(m->irqs[11].level);
	device_destroy(&t->dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mechanism_1, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bridges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_port, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_sizing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_command_and_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlap_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doorbell_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_assign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_capability_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
