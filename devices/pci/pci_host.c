/* SPDX-License-Identifier: MIT */
#include "devices/pci/pci_host.h"

#include <errno.h>
#include <stdlib.h>

#include "base/platform.h"
#include "devices/pci/rcr.h"

#define CONFIG_ADDRESS_ENABLE 0x80000000u
#define CONFIG_ADDRESS_MASK 0x80fffffcu /* the rest is reserved and reads 0 */

/* Offsets from port 0xcf8 */
#define HOST_PORTS 8
#define HOST_RESET_CONTROL 1
#define HOST_DATA 4

/* PAM0 .. PAM6 (82441FX, 3.2.17): two segments each, in nibbles; the low one of PAM0 is reserved. */
#define BRIDGE_PAM0 0x59
#define NR_PAM_REGS 7
#define PAM_READ 0x1
#define PAM_WRITE 0x2

/* PIIX3 PIRQRC[A:D] at 0x60 .. 0x63: bit 7 off, bits 3:0 the IRQ; some are reserved. */
#define PIIX3_PIRQRC 0x60
#define PIRQRC_OFF 0x80
#define PIRQRC_IRQ 0x0f
#define PIRQRC_ALLOWED_IRQS 0xdef8

static struct pci_host *to_host(struct device *dev)
{
	return container_of(dev, struct pci_host, dev);
}

/* The IRQ that a link leads to, -1 while it leads nowhere. Called with intx_lock held. */
static int link_irq(const struct pci_host *host, unsigned link)
{
	uint8_t reg = host->pirq[link];

	if ((reg & PIRQRC_OFF) || !(PIRQRC_ALLOWED_IRQS & 1u << (reg & PIRQRC_IRQ)))
		return -1;
	return reg & PIRQRC_IRQ;
}

/* Drives every line as the links and their routes say. Called with intx_lock held. */
static void irqs_update(struct pci_host *host)
{
	unsigned levels = 0, changed;

	for (unsigned link = 0; link < PCI_NR_LINKS; link++)
		if (host->link_count[link] && link_irq(host, link) >= 0)
			levels |= 1u << link_irq(host, link);
	changed = levels ^ host->irq_levels;
	host->irq_levels = (uint16_t)levels;
	for (unsigned irq = 0; irq < PCI_NR_ISA_IRQS; irq++)
		if (changed & 1u << irq)
			irq_set(&host->irqs[irq], levels & 1u << irq);
}

static void intx_change(struct pci_dev *pd, bool level, bool disabled)
{
	struct pci_host *host = pd->host;
	bool before = pd->intx_level && !pd->intx_disabled;
	unsigned pin = pd->initial[PCI_INTERRUPT_PIN];

	pd->intx_level = level;
	pd->intx_disabled = disabled;
	if (!pin || before == (level && !disabled))
		return;

	unsigned link = PLATFORM_PCI_LINK(pd->devfn >> 3, pin - 1u);

	if (before)
		host->link_count[link]--;
	else
		host->link_count[link]++;
	irqs_update(host);
}

void pci_intx_set(struct pci_dev *pd, bool level)
{
	pthread_mutex_lock(&pd->host->intx_lock);
	intx_change(pd, level, pd->intx_disabled);
	pthread_mutex_unlock(&pd->host->intx_lock);
}

void pci_intx_disable(struct pci_dev *pd, bool disabled)
{
	pthread_mutex_lock(&pd->host->intx_lock);
	intx_change(pd, pd->intx_level, disabled);
	pthread_mutex_unlock(&pd->host->intx_lock);
}

bool pci_intx_level(struct pci_dev *pd)
{
	bool level;

	pthread_mutex_lock(&pd->host->intx_lock);
	level = pd->intx_level;
	pthread_mutex_unlock(&pd->host->intx_lock);
	return level;
}

int pci_slot_irq(struct pci_host *host, unsigned slot)
{
	int irq;

	pthread_mutex_lock(&host->intx_lock);
	irq = link_irq(host, PLATFORM_PCI_LINK(slot, 0));
	pthread_mutex_unlock(&host->intx_lock);
	return irq;
}

/* Takes the routes over from the ISA bridge's config space. */
static void pirq_update(struct pci_host *host)
{
	pthread_mutex_lock(&host->intx_lock);
	for (unsigned i = 0; i < PCI_NR_LINKS; i++)
		host->pirq[i] = host->s.isa.config[PIIX3_PIRQRC + i];
	irqs_update(host);
	pthread_mutex_unlock(&host->intx_lock);
}

static void isa_config_written(struct pci_dev *pd, unsigned offset, unsigned width)
{
	if (ranges_overlap(offset, width, PIIX3_PIRQRC, PCI_NR_LINKS))
		pirq_update(pd->host);
}

/* The nibble of a segment: by address, but the last one is in the first register. */
static uint8_t pam_bits(const struct pci_host *host, unsigned segment)
{
	unsigned nibble = segment == PAM_NR_SEGMENTS - 1 ? 1 : segment + 2;

	return host->s.bridge.config[BRIDGE_PAM0 + nibble / 2] >> nibble % 2 * 4 &
	       (PAM_READ | PAM_WRITE);
}

/* Tells of the segments that have changed. */
static void pam_update(struct pci_host *host)
{
	for (unsigned i = 0; i < PAM_NR_SEGMENTS; i++) {
		uint8_t bits = pam_bits(host, i);

		if (bits == host->pam_told[i])
			continue;
		host->pam_told[i] = bits;
		pam_set(&host->pam, i, bits & PAM_READ, bits & PAM_WRITE);
	}
}

static void bridge_config_written(struct pci_dev *pd, unsigned offset, unsigned width)
{
	if (ranges_overlap(offset, width, BRIDGE_PAM0, NR_PAM_REGS))
		pam_update(pd->host);
}

/* The bridges are the host itself: its lock is held already. */
static void fn_lock(struct pci_host *host, struct pci_dev *pd)
{
	if (pd->dev != &host->dev)
		device_lock(pd->dev);
}

static void fn_unlock(struct pci_host *host, struct pci_dev *pd)
{
	if (pd->dev != &host->dev)
		device_unlock(pd->dev);
}

static struct pci_dev *addressed_fn(const struct pci_host *host)
{
	uint32_t a = host->s.address;

	if (!(a & CONFIG_ADDRESS_ENABLE) || (a >> 16 & 0xff))
		return NULL;
	return host->fns[a >> 8 & 0xff];
}

static uint64_t host_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct pci_host *host = to_host(dev);
	struct pci_dev *pd;
	uint32_t v;

	if (offset < HOST_DATA) {
		if (offset == 0 && width == 4)
			return host->s.address;
		if (offset == HOST_RESET_CONTROL && width == 1)
			return host->s.reset_control;
		return ~0ull;
	}
	pd = addressed_fn(host);
	if (!pd)
		return ~0ull;
	fn_lock(host, pd);
	v = pci_config_read(pd, (host->s.address & 0xfc) + (unsigned)(offset - HOST_DATA), width);
	fn_unlock(host, pd);
	return v;
}

/* Something may have moved out of the way of a BAR that was refused. */
static void retry_refused(struct pci_host *host)
{
	for (unsigned i = 0; i < PCI_NR_DEVFN && atomic_load(&host->nr_refused); i++) {
		struct pci_dev *pd = host->fns[i];

		if (!pd)
			continue;
		fn_lock(host, pd);
		pci_bars_retry(pd);
		fn_unlock(host, pd);
	}
}

static void host_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct pci_host *host = to_host(dev);
	struct pci_dev *pd;

	if (offset < HOST_DATA) {
		if (offset == 0 && width == 4) {
			host->s.address = (uint32_t)value & CONFIG_ADDRESS_MASK;
		} else if (offset == HOST_RESET_CONTROL && width == 1) {
			rcr_write(&host->power, &host->s.reset_control, (uint8_t)value);
		}
		return;
	}
	pd = addressed_fn(host);
	if (!pd)
		return;
	fn_lock(host, pd);
	pci_config_write(pd, (host->s.address & 0xfc) + (unsigned)(offset - HOST_DATA), width,
			 (uint32_t)value);
	fn_unlock(host, pd);
	retry_refused(host);
}

static const char *host_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	if (offset >= HOST_DATA)
		return "config-data";
	return offset == HOST_RESET_CONTROL ? "reset-control" : "config-address";
}

static const struct bus_ops host_bus_ops = {
	.max_width = 4,
	.read = host_read,
	.write = host_write,
	.reg_name = host_reg_name,
};

/* Gives every BAR of pd its place; called with its lock held and its decoding off. */
static int assign_fn(struct pci_dev *pd, uint64_t *mmio, uint64_t *io)
{
	uint32_t command = 0;
	int ret = 0;

	for (unsigned i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *bar = &pd->bars[i];
		bool is_io = bar->type == PCI_BAR_IO;
		uint64_t *next = is_io ? io : mmio;
		uint64_t end = is_io ? PLATFORM_PCI_IO_END : PLATFORM_PCI_MMIO_END;
		uint64_t addr;

		if (bar->type == PCI_BAR_NONE)
			continue;
		addr = align_up(*next, bar->size);
		if (addr < *next || addr > end || bar->size > end - addr) {
			ret = -ENOSPC;
			continue;
		}
		*next = addr + bar->size;
		pci_config_write(pd, PCI_BAR0 + i * 4, 4, (uint32_t)addr);
		if (bar->type == PCI_BAR_MEM64)
			pci_config_write(pd, PCI_BAR0 + i * 4 + 4, 4, 0);
		command |= is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	if (command)
		pci_config_write(pd, PCI_COMMAND, 2, command);
	if (pd->initial[PCI_INTERRUPT_PIN]) {
		int irq = pci_slot_irq(pd->host, pd->devfn >> 3);

		pci_config_write(pd, PCI_INTERRUPT_LINE, 1, irq < 0 ? 0xff : (uint32_t)irq);
	}
	return ret;
}

int pci_assign(struct pci_host *host)
{
	static const uint8_t routes[PCI_NR_LINKS] = { PLATFORM_IRQ_PCI_A, PLATFORM_IRQ_PCI_A,
						      PLATFORM_IRQ_PCI_C, PLATFORM_IRQ_PCI_C };
	uint64_t mmio = PLATFORM_PCI_MMIO_BASE, io = PLATFORM_PCI_IO_BASE;
	int ret = 0;

	device_lock(&host->dev);
	for (unsigned i = 0; i < PCI_NR_LINKS; i++)
		pci_config_write(&host->isa, PIIX3_PIRQRC + i, 1, routes[i]);
	/* All off first: nothing that is placed meets what has not moved yet. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < PCI_NR_DEVFN; i++) {
			struct pci_dev *pd = host->fns[i];

			if (!pd)
				continue;
			fn_lock(host, pd);
			if (pass == 0)
				pci_config_write(pd, PCI_COMMAND, 2, 0);
			else if (assign_fn(pd, &mmio, &io))
				ret = -ENOSPC;
			fn_unlock(host, pd);
		}
	}
	device_unlock(&host->dev);
	return ret;
}

static void host_reset(struct device *dev)
{
	struct pci_host *host = to_host(dev);

	host->s.address = 0;
	host->s.reset_control = 0;
	pci_dev_reset(&host->bridge);
	pci_dev_reset(&host->isa);
	pam_update(host);
	pirq_update(host);
}

static int host_post_load(struct device *dev)
{
	struct pci_host *host = to_host(dev);
	int ret;

	if (host->s.address & ~CONFIG_ADDRESS_MASK || host->s.reset_control & ~RCR_MASK)
		return -EBADMSG;
	ret = pci_dev_post_load(&host->bridge) ?: pci_dev_post_load(&host->isa);
	if (!ret) {
		pam_update(host);
		pirq_update(host);
	}
	return ret;
}

static void host_destroy(struct device *dev)
{
	struct pci_host *host = to_host(dev);

	pci_dev_destroy(&host->isa);
	pci_dev_destroy(&host->bridge);
	(void)bus_remove(host->bus, BUS_PIO, PLATFORM_PORT_PCI_ADDR);
	pthread_mutex_destroy(&host->intx_lock);
	free(host);
}

static const struct state_field host_fields[] = {
	STATE_U(struct pci_host_state, address),
	STATE_U(struct pci_host_state, reset_control),
	PCI_STATE_FIELDS(struct pci_host_state, bridge),
	PCI_STATE_FIELDS(struct pci_host_state, isa),
};

static const struct state_desc host_state = {
	.version = 1,
	.fields = host_fields,
	.nr_fields = ARRAY_SIZE(host_fields),
};

static const struct device_ops host_ops = {
	.type = "pci-host",
	.reset = host_reset,
	.destroy = host_destroy,
	.state = &host_state,
	.state_offset = offsetof(struct pci_host, s),
	.post_load = host_post_load,
};

/* SeaBIOS takes the subsystem as the sign of a machine that has fw_cfg. */
static const struct pci_ids bridge_ids = {
	.vendor = 0x8086,
	.device = 0x1237,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.revision = 2,
	.class = 0x060000,
};

static const struct pci_ids isa_ids = {
	.vendor = 0x8086,
	.device = 0x7000,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class = 0x060100,
};

static const struct pci_dev_ops bridge_ops = {
	.config_written = bridge_config_written,
};

static const struct pci_dev_ops isa_ops = {
	.config_written = isa_config_written,
};

static void bridges_init(struct pci_host *host)
{
	pci_dev_init(&host->bridge, host, &host->dev, &host->s.bridge, &bridge_ops, &bridge_ids);
	for (unsigned i = 0; i < NR_PAM_REGS; i++)
		pci_set_reg(&host->bridge, BRIDGE_PAM0 + i, 1, 0, i ? 0x33 : 0x30);
	pci_dev_init(&host->isa, host, &host->dev, &host->s.isa, &isa_ops, &isa_ids);
	/* The PIIX3 always says so, whether or not there is an IDE function behind it. */
	pci_set_reg(&host->isa, PCI_HEADER_TYPE, 1, PCI_HEADER_MULTIFUNCTION, 0);
	for (unsigned i = 0; i < PCI_NR_LINKS; i++)
		pci_set_reg(&host->isa, PIIX3_PIRQRC + i, 1, PIRQRC_OFF, PIRQRC_OFF | PIRQRC_IRQ);
}

int pci_host_create(const struct pci_host_config *cfg, struct pci_host **out)
{
	struct pci_host *host = calloc(1, sizeof(*host));
	int ret;

	if (!host)
		return -ENOMEM;
	device_init(&host->dev, &host_ops, cfg->name);
	pthread_mutex_init(&host->intx_lock, NULL);
	host->bus = cfg->bus;
	host->msi = cfg->msi;
	host->power = cfg->power;
	host->pam = cfg->pam;
	for (unsigned i = 0; i < PCI_NR_ISA_IRQS; i++)
		host->irqs[i] = cfg->irqs[i];
	bridges_init(host);
	ret = pci_dev_attach(&host->bridge, PLATFORM_PCI_HOST_BRIDGE)
		      ?: pci_dev_attach(&host->isa, PLATFORM_PCI_ISA_BRIDGE);
	if (!ret)
		ret = bus_add(host->bus, BUS_PIO, PLATFORM_PORT_PCI_ADDR, HOST_PORTS, &host->dev,
			      &host_bus_ops);
	if (ret) {
		pci_dev_destroy(&host->isa);
		pci_dev_destroy(&host->bridge);
		pthread_mutex_destroy(&host->intx_lock);
		free(host);
		return ret;
	}
	host_reset(&host->dev);
	*out = host;
	return 0;
}
