/* SPDX-License-Identifier: MIT */
/*
 * The machine as a flattened device tree (Devicetree Specification 0.4), written front to
 * back with libfdt. I/O ports are children of /isa, with the ISA binding's two address
 * cells: 1 for I/O space, and the port. It has no ranges: a port is no memory address.
 * Interrupts are I/O APIC pins with the senses of the intel,ce4100-ioapic binding.
 * A new kind of port device is a row in isa_devices[].
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/firmware.h"
#include "guests/include/bantam/coalesced_io.h"

#define PHANDLE_IOAPIC 1

#define SENSE_EDGE_RISING 0
#define SENSE_LEVEL_HIGH 2

#define ISA_IO 1
#define NO_IRQ 0xffff
#define UART_HZ 1843200

#define PCI_SPACE_MEM32 0x02000000

/* A tree in the making; after the first error nothing more is written. */
struct tree {
	void *fdt;
	int err; /* libfdt's */
};

static void begin(struct tree *t, const char *name)
{
	if (!t->err)
		t->err = fdt_begin_node(t->fdt, name);
}

static void begin_at(struct tree *t, const char *name, uint64_t unit)
{
	char full[32];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)unit);
	begin(t, full);
}

static void end(struct tree *t)
{
	if (!t->err)
		t->err = fdt_end_node(t->fdt);
}

static void prop(struct tree *t, const char *name, const void *value, size_t len)
{
	if (!t->err)
		t->err = fdt_property(t->fdt, name, value, (int)len);
}

static void prop_string(struct tree *t, const char *name, const char *value)
{
	prop(t, name, value, strlen(value) + 1);
}

static void prop_empty(struct tree *t, const char *name)
{
	prop(t, name, NULL, 0);
}

static void prop_cell(struct tree *t, const char *name, uint32_t value)
{
	if (!t->err)
		t->err = fdt_property_u32(t->fdt, name, value);
}

#define CELLS_MAX (16 * 7) /* the PCI interrupt map */

static void prop_cells(struct tree *t, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t be[CELLS_MAX];

	for (size_t i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(cells[i]);
	prop(t, name, be, n * sizeof(*be));
}

#define PROP_CELLS(t, name, ...)                               \
	prop_cells(t, name, (const uint32_t[]){ __VA_ARGS__ }, \
		   sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

/* Devices behind I/O ports. */
static const struct isa_device {
	const char *node;
	const char *compatible;
	uint32_t fact; /* what the machine must have; 0: always there */
	uint32_t clock; /* Hz, 0 for none */
	uint16_t port;
	uint16_t len;
	uint16_t irq;
} isa_devices[] = {
	{ "rtc", "motorola,mc146818", FIRMWARE_RTC, 0, PLATFORM_PORT_RTC_INDEX, 2,
	  PLATFORM_IRQ_RTC },
	{ "debug-exit", "qemu,isa-debug-exit", FIRMWARE_DEBUG_EXIT, 0, PLATFORM_PORT_DEBUG_EXIT, 4,
	  NO_IRQ },
	{ "serial", "ns16550a", FIRMWARE_COM4, UART_HZ, PLATFORM_PORT_COM4, 8, PLATFORM_IRQ_COM2 },
	{ "serial", "ns16550a", FIRMWARE_COM2, UART_HZ, PLATFORM_PORT_COM2, 8, PLATFORM_IRQ_COM2 },
	{ "serial", "ns16550a", FIRMWARE_COM3, UART_HZ, PLATFORM_PORT_COM3, 8, PLATFORM_IRQ_COM1 },
	{ "serial", "ns16550a", FIRMWARE_COM1, UART_HZ, PLATFORM_PORT_COM1, 8, PLATFORM_IRQ_COM1 },
	{ "pvpanic", "qemu,pvpanic-isa", FIRMWARE_PVPANIC, 0, PLATFORM_PORT_PVPANIC, 1, NO_IRQ },
	{ "coalesced-io", COALESCED_IO_COMPATIBLE, FIRMWARE_COALESCED_IO, 0,
	  PLATFORM_PORT_COALESCED_IO, 4, NO_IRQ },
	{ "power", "bantam,pm1", 0, 0, PLATFORM_PORT_PM_BASE, PLATFORM_PORT_PM_LEN,
	  PLATFORM_IRQ_SCI },
	{ "reset", "bantam,reset", 0, 0, PLATFORM_PORT_RESET, 1, NO_IRQ },
};

/* The consoles, best first. */
static const struct {
	uint32_t fact;
	uint16_t port;
	const char *alias;
} consoles[] = {
	{ FIRMWARE_COM1, PLATFORM_PORT_COM1, "serial0" },
	{ FIRMWARE_COM2, PLATFORM_PORT_COM2, "serial1" },
	{ FIRMWARE_COM3, PLATFORM_PORT_COM3, "serial2" },
	{ FIRMWARE_COM4, PLATFORM_PORT_COM4, "serial3" },
};

static void add_chosen(struct tree *t, const struct firmware_config *cfg, uint64_t initrd_gpa)
{
	begin(t, "chosen");
	prop_string(t, "bootargs", cfg->cmdline ? cfg->cmdline : "");
	if (cfg->initrd.fd >= 0 && initrd_gpa) {
		uint64_t last = initrd_gpa + cfg->initrd.size;

		PROP_CELLS(t, "linux,initrd-start", (uint32_t)(initrd_gpa >> 32),
			   (uint32_t)initrd_gpa);
		PROP_CELLS(t, "linux,initrd-end", (uint32_t)(last >> 32), (uint32_t)last);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(consoles); i++) {
		if (cfg->facts & consoles[i].fact) {
			prop_string(t, "stdout-path", consoles[i].alias);
			break;
		}
	}
	end(t);
}

static void add_aliases(struct tree *t, const struct firmware_config *cfg)
{
	begin(t, "aliases");
	for (unsigned i = 0; i < ARRAY_SIZE(consoles); i++) {
		char path[32];

		snprintf(path, sizeof(path), "/isa/serial@%x", consoles[i].port);
		if (cfg->facts & consoles[i].fact)
			prop_string(t, consoles[i].alias, path);
	}
	end(t);
}

static void add_cpus(struct tree *t, unsigned nr_cpus)
{
	begin(t, "cpus");
	prop_cell(t, "#address-cells", 1);
	prop_cell(t, "#size-cells", 0);
	for (unsigned i = 0; i < nr_cpus; i++) {
		begin_at(t, "cpu", i);
		prop_string(t, "device_type", "cpu");
		prop_cell(t, "reg", i); /* the APIC id */
		end(t);
	}
	end(t);
}

static void add_memory(struct tree *t, const struct mem *mem)
{
	uint64_t top = mem_high_end(mem), base = PLATFORM_HIGH_RAM_BASE;
	uint64_t size = top ? top - base : 0;
	const uint32_t cells[] = {
		0,
		0,
		0,
		(uint32_t)mem_low_end(mem),
		(uint32_t)(base >> 32),
		(uint32_t)base,
		(uint32_t)(size >> 32),
		(uint32_t)size,
	};

	begin_at(t, "memory", 0);
	prop_string(t, "device_type", "memory");
	prop_cells(t, "reg", cells, top ? 8 : 4);
	end(t);
}

static void add_apics(struct tree *t)
{
	begin_at(t, "interrupt-controller", PLATFORM_IOAPIC_BASE);
	prop_string(t, "compatible", "intel,ce4100-ioapic");
	prop_empty(t, "interrupt-controller");
	prop_cell(t, "#address-cells", 0);
	prop_cell(t, "#interrupt-cells", 2);
	PROP_CELLS(t, "reg", 0, PLATFORM_IOAPIC_BASE, 0, 0x1000);
	prop_cell(t, "phandle", PHANDLE_IOAPIC);
	end(t);
	begin_at(t, "lapic", PLATFORM_LAPIC_BASE);
	prop_string(t, "compatible", "intel,ce4100-lapic");
	PROP_CELLS(t, "reg", 0, PLATFORM_LAPIC_BASE, 0, 0x1000);
	end(t);
}

static void add_isa(struct tree *t, uint32_t facts)
{
	begin(t, "isa");
	prop_string(t, "compatible", "isa");
	prop_cell(t, "#address-cells", 2);
	prop_cell(t, "#size-cells", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(isa_devices); i++) {
		const struct isa_device *d = &isa_devices[i];

		if (d->fact && !(facts & d->fact))
			continue;
		begin_at(t, d->node, d->port);
		prop_string(t, "compatible", d->compatible);
		PROP_CELLS(t, "reg", ISA_IO, d->port, d->len);
		if (d->clock)
			prop_cell(t, "clock-frequency", d->clock);
		if (d->irq != NO_IRQ)
			PROP_CELLS(t, "interrupts", d->irq,
				   d->irq == PLATFORM_IRQ_SCI ? SENSE_LEVEL_HIGH
							      : SENSE_EDGE_RISING);
		end(t);
	}
	end(t);
}

/*
 * The host bridge. Its functions are discovered through the two configuration ports, which
 * config-ports names (no binding has mechanism 1); io-ports is the window of its I/O BARs,
 * first port and length. The interrupt map looks at the low two bits of the device number
 * only: the wiring repeats every four slots.
 */
static void add_pci(struct tree *t)
{
	uint32_t map[16 * 7];
	unsigned n = 0;

	for (uint32_t slot = 0; slot < 4; slot++) {
		for (uint32_t pin = 0; pin < 4; pin++) {
			map[n++] = slot << 11;
			map[n++] = 0;
			map[n++] = 0;
			map[n++] = pin + 1;
			map[n++] = PHANDLE_IOAPIC;
			map[n++] = PLATFORM_PCI_GSI(slot, pin);
			map[n++] = SENSE_LEVEL_HIGH;
		}
	}
	begin_at(t, "pci", PLATFORM_PCI_MMIO_BASE);
	prop_string(t, "compatible", "bantam,pci-mechanism-1");
	prop_string(t, "device_type", "pci");
	prop_cell(t, "#address-cells", 3);
	prop_cell(t, "#size-cells", 2);
	prop_cell(t, "#interrupt-cells", 1);
	PROP_CELLS(t, "bus-range", 0, 0);
	PROP_CELLS(t, "config-ports", PLATFORM_PORT_PCI_ADDR, PLATFORM_PORT_PCI_DATA);
	PROP_CELLS(t, "io-ports", PLATFORM_PCI_IO_BASE, PLATFORM_PCI_IO_END - PLATFORM_PCI_IO_BASE);
	PROP_CELLS(t, "ranges", PCI_SPACE_MEM32, 0, PLATFORM_PCI_MMIO_BASE, 0,
		   PLATFORM_PCI_MMIO_BASE, 0, PLATFORM_PCI_MMIO_END - PLATFORM_PCI_MMIO_BASE);
	PROP_CELLS(t, "interrupt-map-mask", 3 << 11, 0, 0, 7);
	prop_cells(t, "interrupt-map", map, n);
	end(t);
}

static void add_virtio_mmio(struct tree *t, unsigned n)
{
	uint32_t base = PLATFORM_VIRTIO_MMIO_BASE + n * PLATFORM_VIRTIO_MMIO_SIZE;

	begin_at(t, "virtio", base);
	prop_string(t, "compatible", "virtio,mmio");
	PROP_CELLS(t, "reg", 0, base, 0, PLATFORM_VIRTIO_MMIO_SIZE);
	PROP_CELLS(t, "interrupts", PLATFORM_IRQ_VIRTIO_MMIO + n, SENSE_LEVEL_HIGH);
	end(t);
}

int firmware_fdt_build(const struct firmware_config *cfg, const struct mem *mem,
		       uint64_t initrd_gpa, void *buf, size_t size)
{
	struct tree t = { .fdt = buf };

	if (cfg->nr_cpus < 1 || cfg->nr_cpus > PLATFORM_MAX_CPUS ||
	    cfg->nr_virtio_mmio > PLATFORM_VIRTIO_MMIO_NR || size > INT32_MAX)
		return -EINVAL;
	t.err = fdt_create(buf, (int)size);
	if (!t.err)
		t.err = fdt_finish_reservemap(buf);
	begin(&t, "");
	prop_cell(&t, "#address-cells", 2);
	prop_cell(&t, "#size-cells", 2);
	prop_string(&t, "compatible", "bantam,pc");
	prop_string(&t, "model", "bantam");
	prop_cell(&t, "interrupt-parent", PHANDLE_IOAPIC);
	add_chosen(&t, cfg, initrd_gpa);
	add_aliases(&t, cfg);
	add_cpus(&t, cfg->nr_cpus);
	add_memory(&t, mem);
	add_apics(&t);
	add_isa(&t, cfg->facts);
	if (cfg->facts & FIRMWARE_PCI)
		add_pci(&t);
	for (unsigned i = 0; i < cfg->nr_virtio_mmio; i++)
		add_virtio_mmio(&t, i);
	end(&t);
	if (!t.err)
		t.err = fdt_finish(buf);
	if (t.err)
		return t.err == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
	return (int)fdt_totalsize(buf);
}

const void *firmware_fdt_find(const struct mem *mem, size_t *len)
{
	uint64_t base = PLATFORM_FDT_BASE + 16, size = PLATFORM_FDT_END - base;
	const void *fdt = mem_at_const(mem, base, size);

	if (!fdt || fdt_check_header(fdt) || fdt_totalsize(fdt) > size)
		return NULL;
	*len = fdt_totalsize(fdt);
	return fdt;
}
