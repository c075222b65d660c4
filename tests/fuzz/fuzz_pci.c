/* SPDX-License-Identifier: MIT */
/*
 * Configuration accesses, BAR accesses, interrupts and notifications as fuzz orders
 * them, on two functions. Afterwards the line is up exactly if somebody holds it, BARs
 * on the bus are where the registers say, and nothing is left behind.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/state.h"
#include "devices/pci/msi.h"
#include "devices/pci/pci_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	struct toy_state s;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static struct toy *to_toy(struct device *dev)
{
	return container_of(dev, struct toy, dev);
}

static uint64_t toy_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct toy *t = to_toy(dev);

	return offset & 0x800 ? pci_msix_read(&t->pci, offset & 0x7ff, width)
			      : pci_msix_pba_read(&t->pci, offset, width);
}

static void toy_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	if (offset & 0x800)
		pci_msix_write(&to_toy(dev)->pci, offset & 0x7ff, width, value);
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

static const struct state_desc toy_state = { 1, toy_fields, ARRAY_SIZE(toy_fields) };

static const struct device_ops toy_ops = {
	.type = "toy",
	.reset = toy_reset,
	.destroy = toy_destroy,
	.state = &toy_state,
	.state_offset = offsetof(struct toy, s),
	.pre_save = toy_pre_save,
	.post_load = toy_post_load,
};

struct fake_ctl {
	struct msi_ctl ctl;
	int fds[64];
	unsigned used;
};

static int ctl_alloc(struct msi_ctl *ctl, int *fd)
{
	struct fake_ctl *c = container_of(ctl, struct fake_ctl, ctl);

	for (int i = 0; i < 64; i++) {
		if (c->fds[i])
			continue;
		*fd = c->fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		c->used++;
		return i;
	}
	return -1;
}

static void ctl_free(struct msi_ctl *ctl, int id)
{
	struct fake_ctl *c = container_of(ctl, struct fake_ctl, ctl);

	check(c->fds[id]);
	close(c->fds[id]);
	c->fds[id] = 0;
	c->used--;
}

/* Refuses some messages, as a controller that is full would. */
static int ctl_set(struct msi_ctl *ctl, int id, uint64_t addr, uint32_t data, bool masked)
{
	check(container_of(ctl, struct fake_ctl, ctl)->fds[id]);
	return !masked && (addr ^ data) % 7 == 3 ? -1 : 0;
}

static void line_set(void *ctx, unsigned line, bool level)
{
	bool *lines = ctx;

	check(lines[line] != level); /* only changes are told */
	lines[line] = level;
}

static struct toy *toy_create(struct pci_host *host, const char *name, int devfn, unsigned vectors)
{
	const struct pci_ids ids = { 0x1234, 0x5678, 1, 2, 3, 0x040506, 1 };
	struct toy *t = calloc(1, sizeof(*t));

	device_init(&t->dev, &toy_ops, name);
	pci_dev_init(&t->pci, host, &t->dev, &t->s.pci, NULL, &ids);
	pci_add_bar(&t->pci, 0, PCI_BAR_IO, 16, &toy_bus_ops);
	pci_add_bar(&t->pci, 1, PCI_BAR_MEM32, 0x1000, &toy_bus_ops);
	pci_add_bar(&t->pci, 4, PCI_BAR_MEM64, 0x1000, &toy_bus_ops);
	check(!pci_msix_add(&t->pci, &t->msix, &t->s.msix, vectors, 1, 0x800, 0));
	check(!pci_msi_add(&t->pci, &t->msi));
	check(!pci_dev_attach(&t->pci, devfn));
	t->doorbell = (struct pci_eventfd){ .offset = 4,
					    .width = 2,
					    .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	check(!pci_bar_add_eventfd(&t->pci, 0, &t->doorbell));
	return t;
}

static unsigned bars_mapped(const struct toy *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		n += t->pci.bars[i].mapped;
	return n;
}

struct world {
	struct bus bus;
	struct fake_ctl ctl;
	bool lines[PCI_NR_ISA_IRQS];
	struct pci_host *host;
	struct toy *t[2];
};

static void round_trip(struct toy *t)
{
	struct state_buf a = { 0 }, b = { 0 };

	check(!state_save(&t->dev, &a));
	check(state_load(&t->dev, a.data, a.len) == (ssize_t)a.len);
	check(!state_save(&t->dev, &b));
	check(a.len == b.len && !memcmp(a.data, b.data, a.len));
	state_buf_free(&a);
	state_buf_free(&b);
}

static void step(struct world *w, const uint8_t *op)
{
	uint64_t v = load_le(op + 4, 4);
	unsigned width = 1u << (op[1] & 3);
	struct toy *t = w->t[op[1] >> 2 & 1];
	uint64_t addr;

	switch (op[0] % 8) {
	case 0: /* what matters in one step: address and data */
		v = 0x80000000u | (uint64_t)t->pci.devfn << 8 | op[2];
		bus_write(&w->bus, BUS_PIO, 0xcf8, &v, 4);
		v = load_le(op + 4, 4);
		bus_write(&w->bus, BUS_PIO, 0xcfc + (op[3] & 3), &v, width);
		bus_read(&w->bus, BUS_PIO, 0xcfc + (op[3] & 3), &v, width);
		break;
	case 1:
		bus_write(&w->bus, BUS_PIO, 0xcf8 + (op[2] & 7), &v, width);
		break;
	case 2:
		bus_read(&w->bus, BUS_PIO, 0xcf8 + (op[2] & 7), &v, width);
		break;
	case 3:
		addr = t->pci.bars[1].addr + load_le(op + 2, 2) % 0x1000;
		bus_write(&w->bus, BUS_MMIO, addr, &v, width);
		bus_read(&w->bus, BUS_MMIO, addr, &v, width);
		break;
	case 4:
		bus_write(&w->bus, BUS_PIO, (uint16_t)(t->pci.bars[0].addr + (op[2] & 15)), &v,
			  width);
		break;
	case 5:
		pci_intx_set(&t->pci, op[2] & 1);
		break;
	case 6:
		pci_msix_notify(&t->pci, op[2]);
		pci_msi_notify(&t->pci);
		break;
	default:
		if (op[2] % 8 == 0)
			device_reset(&t->dev);
		else if (op[2] % 8 == 1)
			(void)!pci_assign(w->host);
		else if (op[2] % 8 == 2)
			device_reset(&w->host->dev);
		else
			round_trip(t);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct msi_ctl_ops ctl_ops = { ctl_alloc, ctl_free, ctl_set };
	struct world w = { .ctl.ctl.ops = &ctl_ops };
	struct pci_host_config cfg = { .name = "pci", .bus = &w.bus, .msi = &w.ctl.ctl };

	bus_init(&w.bus);
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		cfg.irqs[i] = (struct irq){ line_set, w.lines, i };
	check(!pci_host_create(&cfg, &w.host));
	w.t[0] = toy_create(w.host, "toy0", -1, 3);
	w.t[1] = toy_create(w.host, "toy1", 0x11, PCI_MSIX_MAX / 2);
	check(!pci_assign(w.host));
	for (; size >= 8; data += 8, size -= 8)
		step(&w, data);

	check(w.bus.tables[BUS_PIO].nr_ranges + w.bus.tables[BUS_MMIO].nr_ranges ==
	      1 + bars_mapped(w.t[0]) + bars_mapped(w.t[1]));
	device_destroy(&w.t[0]->dev);
	device_destroy(&w.t[1]->dev);
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		check(!w.lines[i]);
	check(!w.host->nr_refused && !w.ctl.used);
	device_destroy(&w.host->dev);
	check(!w.bus.tables[BUS_PIO].nr_ranges && !w.bus.tables[BUS_MMIO].nr_ranges &&
	      !w.bus.tables[BUS_PIO].nr_eventfds);
	bus_destroy(&w.bus);
	return 0;
}
