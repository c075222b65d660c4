/* SPDX-License-Identifier: MIT */
#include "devices/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "devices/pci/msi.h"
#include "devices/pci/pci_host.h"

/* What a guest may write in every type 0 header (6.2.2, 6.2.4); all else is the device's. */
static const struct pci_header_reg {
	uint8_t offset;
	uint8_t width;
	uint16_t wmask;
} header_regs[] = {
	{ PCI_COMMAND, 2,
	  PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
		  PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE },
	{ PCI_CACHE_LINE_SIZE, 1, 0xff },
	{ PCI_LATENCY_TIMER, 1, 0xf8 },
	{ PCI_INTERRUPT_LINE, 1, 0xff },
};

static uint32_t config_get(const struct pci_dev *pd, unsigned offset, unsigned width)
{
	return (uint32_t)load_le(pd->s->config + offset, width);
}

void pci_set_reg(struct pci_dev *pd, unsigned offset, unsigned width, uint32_t value,
		 uint32_t wmask)
{
	assert(offset + width <= PCI_CONFIG_SIZE);
	store_le(pd->initial + offset, width, value);
	store_le(pd->wmask + offset, width, wmask);
}

void pci_dev_init(struct pci_dev *pd, struct pci_host *host, struct device *dev,
		  struct pci_state *s, const struct pci_dev_ops *ops, const struct pci_ids *ids)
{
	pd->host = host;
	pd->dev = dev;
	pd->s = s;
	pd->ops = ops;
	pd->cap_free = PCI_DEVICE_REGS;
	pci_set_reg(pd, PCI_VENDOR_ID, 2, ids->vendor, 0);
	pci_set_reg(pd, PCI_DEVICE_ID, 2, ids->device, 0);
	pci_set_reg(pd, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor, 0);
	pci_set_reg(pd, PCI_SUBSYSTEM_ID, 2, ids->subsystem, 0);
	/* Revision and class share a dword, the revision lowest. */
	pci_set_reg(pd, PCI_REVISION_ID, 4, ids->class << 8 | ids->revision, 0);
	pci_set_reg(pd, PCI_INTERRUPT_PIN, 1, ids->pin, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(header_regs); i++)
		pci_set_reg(pd, header_regs[i].offset, header_regs[i].width, 0,
			    header_regs[i].wmask);
}

void pci_bar_share(struct pci_dev *pd, unsigned bar, struct device *const *owners, unsigned nr)
{
	assert(pd->bars[bar].type != PCI_BAR_NONE && is_pow2(nr) && nr <= pd->bars[bar].size);
	pd->bars[bar].owners = owners;
	pd->bars[bar].nr_owners = nr;
}

void pci_add_bar(struct pci_dev *pd, unsigned bar, enum pci_bar_type type, uint64_t size,
		 const struct bus_ops *ops)
{
	unsigned reg = PCI_BAR0 + bar * 4;

	assert(bar < PCI_NR_BARS && pd->bars[bar].type == PCI_BAR_NONE && is_pow2(size));
	pd->bars[bar] = (struct pci_bar){ .type = type, .size = size, .ops = ops };
	pci_bar_share(pd, bar, &pd->dev, 1);
	switch (type) {
	case PCI_BAR_IO:
		assert(size >= 4 && size <= 256);
		pci_set_reg(pd, reg, 4, PCI_BAR_SPACE_IO, (uint32_t) ~(size - 1));
		break;
	case PCI_BAR_MEM64:
		assert(bar + 1 < PCI_NR_BARS && pd->bars[bar + 1].type == PCI_BAR_NONE);
		assert(size >= 16);
		pci_set_reg(pd, reg, 4, PCI_BAR_MEM_64, (uint32_t) ~(size - 1));
		pci_set_reg(pd, reg + 4, 4, 0, (uint32_t)(~(size - 1) >> 32));
		break;
	default:
		assert(size >= 16 && size <= 2 * GIB);
		pci_set_reg(pd, reg, 4, 0, (uint32_t) ~(size - 1));
		break;
	}
}

int pci_add_cap(struct pci_dev *pd, uint8_t id, const void *body, unsigned len)
{
	unsigned at = pd->cap_free;

	if (len < 2 || at + len > PCI_CONFIG_SIZE)
		return -ENOSPC;
	pd->initial[at] = id;
	pd->initial[at + 1] = 0;
	memcpy(pd->initial + at + 2, body, len - 2);
	pd->initial[pd->cap_last ? pd->cap_last + 1u : PCI_CAPABILITY_LIST] = (uint8_t)at;
	pd->initial[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	pd->cap_last = (uint8_t)at;
	/* A capability starts on a dword (6.7). Full: cap_free wraps to where nothing fits. */
	at = (unsigned)align_up(at + len, 4);
	pd->cap_free = (uint8_t)(at < PCI_CONFIG_SIZE ? at : PCI_CONFIG_SIZE - 1);
	return pd->cap_last;
}

/*
 * Where a BAR should be decoded now. Nowhere while its space is off in the command
 * register, while it is 0, and while one of its registers holds all the ones that
 * it can, which is how a guest asks for the size (6.2.5.1).
 */
static bool bar_wanted(const struct pci_dev *pd, unsigned n, uint64_t *addr)
{
	const struct pci_bar *bar = &pd->bars[n];
	unsigned reg = PCI_BAR0 + n * 4;
	uint16_t command = (uint16_t)config_get(pd, PCI_COMMAND, 2);
	uint32_t mask = (uint32_t)load_le(pd->wmask + reg, 4);
	uint32_t low = config_get(pd, reg, 4) & mask;

	if (bar->type == PCI_BAR_NONE || !pd->attached)
		return false;
	if (!(command & (bar->type == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return false;
	if (mask && low == mask)
		return false;
	*addr = low;
	if (bar->type == PCI_BAR_MEM64) {
		uint32_t high_mask = (uint32_t)load_le(pd->wmask + reg + 4, 4);
		uint32_t high = config_get(pd, reg + 4, 4) & high_mask;

		if (high == high_mask)
			return false;
		*addr |= (uint64_t)high << 32;
	}
	return *addr;
}

static enum bus_space bar_space(const struct pci_bar *bar)
{
	return bar->type == PCI_BAR_IO ? BUS_PIO : BUS_MMIO;
}

static void eventfd_bind(struct pci_dev *pd, const struct pci_bar *bar, struct pci_eventfd *e,
			 bool on)
{
	struct bus_eventfd be = {
		.addr = bar->addr + e->offset,
		.width = e->width,
		.match = e->match,
		.datamatch = e->datamatch,
		.fd = e->fd,
	};

	if (on == e->on_bus)
		return;
	/* Without it the BAR's handler gets the write: slower, not wrong. */
	if (on) {
		e->on_bus = !bus_eventfd_add(pd->host->bus, bar_space(bar), &be);
	} else {
		(void)bus_eventfd_remove(pd->host->bus, bar_space(bar), &be);
		e->on_bus = false;
	}
}

static void bar_set_refused(struct pci_dev *pd, struct pci_bar *bar, bool refused)
{
	if (bar->refused == refused)
		return;
	bar->refused = refused;
	if (refused)
		atomic_fetch_add(&pd->host->nr_refused, 1);
	else
		atomic_fetch_sub(&pd->host->nr_refused, 1);
}

static void bar_remove_parts(struct pci_dev *pd, const struct pci_bar *bar, uint64_t addr,
			     unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		(void)bus_remove(pd->host->bus, bar_space(bar),
				 addr + i * (bar->size / bar->nr_owners));
}

static void bar_unmap(struct pci_dev *pd, struct pci_bar *bar)
{
	bar_set_refused(pd, bar, false);
	if (!bar->mapped)
		return;
	for (struct pci_eventfd *e = bar->eventfds; e; e = e->next)
		eventfd_bind(pd, bar, e, false);
	bar_remove_parts(pd, bar, bar->addr, bar->nr_owners);
	bar->mapped = false;
}

static int bar_add_parts(struct pci_dev *pd, struct pci_bar *bar, uint64_t addr)
{
	uint64_t part = bar->size / bar->nr_owners;

	for (unsigned i = 0; i < bar->nr_owners; i++) {
		int ret = bus_add(pd->host->bus, bar_space(bar), addr + i * part, part,
				  bar->owners[i], bar->ops);

		if (ret) {
			bar_remove_parts(pd, bar, addr, i);
			return ret;
		}
	}
	return 0;
}

static void bar_map(struct pci_dev *pd, struct pci_bar *bar, uint64_t addr)
{
	int ret = bar_add_parts(pd, bar, addr);

	bar_set_refused(pd, bar, ret == -EEXIST || ret == -ENOSPC);
	if (ret)
		return;
	bar->mapped = true;
	bar->addr = addr;
	for (struct pci_eventfd *e = bar->eventfds; e; e = e->next)
		eventfd_bind(pd, bar, e, true);
}

/* Makes the bus agree with the registers: first what leaves, so that BARs can swap. */
static void bars_update(struct pci_dev *pd)
{
	uint64_t addr;

	for (unsigned i = 0; i < PCI_NR_BARS; i++) {
		struct pci_bar *bar = &pd->bars[i];

		if (!bar_wanted(pd, i, &addr) || (bar->mapped && bar->addr != addr))
			bar_unmap(pd, bar);
	}
	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		if (bar_wanted(pd, i, &addr) && !pd->bars[i].mapped)
			bar_map(pd, &pd->bars[i], addr);
}

void pci_bars_retry(struct pci_dev *pd)
{
	bars_update(pd);
}

int pci_bar_add_eventfd(struct pci_dev *pd, unsigned bar, struct pci_eventfd *e)
{
	struct pci_bar *b = &pd->bars[bar];

	if (e->offset >= b->size || e->width > b->size - e->offset)
		return -EINVAL;
	e->on_bus = false;
	e->next = b->eventfds;
	b->eventfds = e;
	if (b->mapped)
		eventfd_bind(pd, b, e, true);
	return 0;
}

void pci_bar_remove_eventfd(struct pci_dev *pd, unsigned bar, struct pci_eventfd *e)
{
	struct pci_bar *b = &pd->bars[bar];

	for (struct pci_eventfd **p = &b->eventfds; *p; p = &(*p)->next) {
		if (*p != e)
			continue;
		*p = e->next;
		if (b->mapped)
			eventfd_bind(pd, b, e, false);
		return;
	}
}

bool pci_bus_master(const struct pci_dev *pd)
{
	return config_get(pd, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static bool touches(unsigned offset, unsigned width, unsigned reg, unsigned len)
{
	return ranges_overlap(offset, width, reg, len);
}

uint32_t pci_config_read(struct pci_dev *pd, unsigned offset, unsigned width)
{
	uint32_t v;

	if (pd->ops && pd->ops->config_read)
		pd->ops->config_read(pd, offset, width);
	v = config_get(pd, offset, width);
	if (touches(offset, width, PCI_STATUS, 1) && pci_intx_level(pd))
		v |= (uint32_t)PCI_STATUS_INTERRUPT << ((PCI_STATUS - offset) * 8);
	return v;
}

void pci_config_write(struct pci_dev *pd, unsigned offset, unsigned width, uint32_t value)
{
	uint32_t mask = (uint32_t)load_le(pd->wmask + offset, width);
	uint32_t old = config_get(pd, offset, width);

	store_le(pd->s->config + offset, width, (old & ~mask) | (value & mask));
	if (touches(offset, width, PCI_COMMAND, 2))
		pci_intx_disable(pd, config_get(pd, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
	if (touches(offset, width, PCI_COMMAND, 2) ||
	    touches(offset, width, PCI_BAR0, 4 * PCI_NR_BARS))
		bars_update(pd);
	if (offset >= PCI_DEVICE_REGS)
		pci_msi_update(pd);
	if (pd->ops && pd->ops->config_written)
		pd->ops->config_written(pd, offset, width);
}

void pci_dev_reset(struct pci_dev *pd)
{
	memcpy(pd->s->config, pd->initial, PCI_CONFIG_SIZE);
	bars_update(pd);
	pci_msi_reset(pd);
	pci_intx_set(pd, false);
	pci_intx_disable(pd, false);
}

int pci_dev_post_load(struct pci_dev *pd)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((pd->s->config[i] ^ pd->initial[i]) & ~pd->wmask[i])
			return -EBADMSG;
	pci_intx_disable(pd, config_get(pd, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
	bars_update(pd);
	return pci_msi_post_load(pd);
}

void pci_dev_pre_save(struct pci_dev *pd)
{
	pci_msi_pre_save(pd);
}

/* Function 0 says whether its slot has others (6.2.1). */
static void slot_mark_multifunction(struct pci_host *host, unsigned slot)
{
	struct pci_dev *first = host->fns[slot << 3];

	if (!first)
		return;
	for (unsigned f = 1; f < 8; f++) {
		if (!host->fns[slot << 3 | f])
			continue;
		first->initial[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
		first->s->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
	}
}

static bool slot_empty(const struct pci_host *host, unsigned slot)
{
	for (unsigned f = 0; f < 8; f++)
		if (host->fns[slot << 3 | f])
			return false;
	return true;
}

int pci_dev_attach(struct pci_dev *pd, int devfn)
{
	struct pci_host *host = pd->host;

	if (devfn >= PCI_NR_DEVFN)
		return -EINVAL;
	for (unsigned slot = 0; slot < PCI_NR_DEVFN / 8 && devfn < 0; slot++)
		if (slot_empty(host, slot))
			devfn = (int)slot << 3;
	if (devfn < 0)
		return -ENOSPC;
	if (host->fns[devfn])
		return -EEXIST;
	host->fns[devfn] = pd;
	pd->devfn = (uint8_t)devfn;
	pd->attached = true;
	slot_mark_multifunction(host, (unsigned)devfn >> 3);
	pci_dev_reset(pd);
	return 0;
}

void pci_dev_destroy(struct pci_dev *pd)
{
	if (pd->attached) {
		pci_intx_set(pd, false);
		for (unsigned i = 0; i < PCI_NR_BARS; i++)
			bar_unmap(pd, &pd->bars[i]);
		pd->host->fns[pd->devfn] = NULL;
		pd->attached = false;
	}
	pci_msi_destroy(pd);
}
