/* SPDX-License-Identifier: MIT */
/* Configuration space, BARs and where they are, INTx. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/platform.h"
#include "tests/unit/pci_rig.h"

static void test_mechanism_1(void **state)
{
	struct pci_rig *m = *state;
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
	struct pci_rig *m = *state;
	struct pci_toy *t;

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
	t = pci_rig_toy(m, 0x01, 1);
	assert_int_equal(cfg_in(m, 0x00, PCI_HEADER_TYPE, 1), 0x80);
	device_reset(&m->host->dev);
	assert_int_equal(cfg_in(m, 0x00, PCI_HEADER_TYPE, 1), 0x80);
	device_destroy(&t->dev);
}

static void test_reset_port(void **state)
{
	struct pci_rig *m = *state;

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
	struct pci_rig *m = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(ports); i++) {
		const char *dev, *reg;

		assert_true(bus_name(&m->bus, BUS_PIO, ports[i / 2].port, i & 1, &dev, &reg));
		assert_string_equal(dev, "pci");
		assert_string_equal(reg, ports[i / 2].name);
	}
}

static void test_attach(void **state)
{
	struct pci_rig *m = *state;
	struct pci_toy *a = pci_rig_toy(m, -1, 1), *b = pci_rig_toy(m, -1, 1);
	struct pci_toy c = { 0 };
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

static uint32_t size_bar(struct pci_rig *m, unsigned devfn, unsigned bar)
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
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
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
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
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
	struct pci_rig *m = *state;
	struct pci_toy *a = pci_rig_toy(m, 0x20, 1), *b = pci_rig_toy(m, 0x28, 1);

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
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
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
	struct pci_rig *m = *state;
	struct pci_toy *t[3];

	for (unsigned i = 0; i < 3; i++)
		t[i] = pci_rig_toy(m, -1, 1);
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
	struct pci_rig *m = *state;
	/* 5 - 1 = link 0, 9 - 1 = link 0, 6 - 1 = link 1: one line behind all three. */
	struct pci_toy *a = pci_rig_toy(m, 5 << 3, 1), *b = pci_rig_toy(m, 9 << 3, 1);
	struct pci_toy *c = pci_rig_toy(m, 6 << 3, 1);
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
	struct pci_rig *m = *state;
	/* Slot 4: INTA .. INTD lead to links 3, 0, 1, 2; a pin 0 leads nowhere. */
	static const uint8_t irq[] = { 0, 7, 3, 4, 6 };

	assert_int_equal(pci_assign(m->host), 0);
	cfg_out(m, 0x08, 0x60, 4, 0x07060403);
	for (uint8_t pin = 0; pin <= 4; pin++) {
		struct pci_toy *t = pci_rig_toy(m, 4 << 3, pin);

		pci_intx_set(&t->pci, true);
		for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
			assert_int_equal(m->irqs[i].level, pin && i == irq[pin]);
		device_destroy(&t->dev);
	}
}

static void test_capability_list(void **state)
{
	struct pci_rig *m = *state;
	struct pci_toy t = { 0 };
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

struct racer {
	struct pci_rig *m;
	struct pci_toy *t;
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
static bool pulled(struct pci_rig *m)
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
	struct pci_rig *m = *state;
	struct pci_toy *t = pci_rig_toy(m, 0x20, 1);
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
		cmocka_unit_test_setup_teardown(test_mechanism_1, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_bridges, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_reset_port, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_names, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_attach, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_bar_sizing, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_command_and_moves, pci_rig_setup,
						pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_overlap_is_refused, pci_rig_setup,
						pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_doorbell_moves, pci_rig_setup,
						pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_assign, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_intx, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_pins, pci_rig_setup, pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_capability_list, pci_rig_setup,
						pci_rig_teardown),
		cmocka_unit_test_setup_teardown(test_threads, pci_rig_setup, pci_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
