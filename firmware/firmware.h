/* SPDX-License-Identifier: MIT */
/*
 * What a guest finds at power-on: the kernel and its initrd in RAM, the command
 * line, the memory map, the ACPI tables and the flattened device tree.
 *
 * Every function runs on the thread that starts or resets the machine, while no
 * vCPU runs. None keeps anything: firmware_load() may be called any number of
 * times, whatever the guest has left in RAM, and then reads the files again.
 *
 * How a guest finds the device tree (the blob is at PLATFORM_FDT_BASE + 16):
 *   PVH      its address is in %edx at entry, a register that the protocol leaves
 *            undefined; a guest that relies on it checks the magic d0 0d fe ed.
 *   bzImage  the entry of type SETUP_DTB (2) in boot_params.hdr.setup_data.
 *
 * Specifications: Linux Documentation/arch/x86/boot.rst; Xen docs/misc/pvh.pandoc
 * and xen/include/public/arch-x86/hvm/start_info.h; ACPI 6.4; the Devicetree
 * Specification 0.4. docs/boot.md has the layout.
 */
#ifndef FIRMWARE_FIRMWARE_H
#define FIRMWARE_FIRMWARE_H

#include "base/boot.h"
#include "base/err.h"
#include "base/mem.h"

/* The longest command line, without its NUL; a bzImage may take less (its cmdline_size). */
#define FIRMWARE_CMDLINE_MAX 32767

/* Facts about the machine, which ACPI and the device tree tell the guest. */
#define FIRMWARE_COM1 (1u << 0)
#define FIRMWARE_COM2 (1u << 1)
#define FIRMWARE_COM3 (1u << 2)
#define FIRMWARE_COM4 (1u << 3)
#define FIRMWARE_RTC (1u << 4)
#define FIRMWARE_PVPANIC (1u << 5) /* at PLATFORM_PORT_PVPANIC */
#define FIRMWARE_DEBUG_EXIT (1u << 6) /* at PLATFORM_PORT_DEBUG_EXIT */
#define FIRMWARE_PM_TIMER (1u << 7) /* at PLATFORM_PORT_PM_BASE + 8; costs a boot some 30 exits */
#define FIRMWARE_GPE (1u << 8) /* the GPE0 block at PLATFORM_PORT_GPE_BASE */
#define FIRMWARE_I8042 (1u << 9) /* a keyboard to probe; port 0x64 resets without it too */
#define FIRMWARE_PCI (1u << 10) /* the host bridge and its windows */
#define FIRMWARE_COALESCED_IO (1u << 11) /* its doorbell */

/* A file opened by the caller, which keeps it open as long as the machine may be reset. */
struct firmware_file {
	int fd; /* -1: none */
	uint64_t size; /* bytes, by fstat() */
	const char *path; /* for messages */
};

struct firmware_config {
	struct firmware_file kernel;
	struct firmware_file initrd; /* optional */
	const char *cmdline; /* NULL is "" */
	unsigned nr_cpus; /* 1..PLATFORM_MAX_CPUS; the APIC ids are 0..nr_cpus - 1 */
	unsigned nr_virtio_mmio; /* devices at PLATFORM_VIRTIO_MMIO_BASE, which no bus can find */
	uint32_t facts; /* FIRMWARE_*, or-ed */
};

/*
 * Puts everything into guest RAM and says how the first vCPU starts. The kernel is
 * recognised by its bytes: "HdrS" at 0x202 is a bzImage, an ELF needs the Xen PVH
 * note. Returns 0, or -errno with one line for the user in err, which names the
 * option, its value and what would be right: -ENOEXEC for a file that is not what it
 * should be, -E2BIG for what does not fit, -EINVAL for a config that is none, and
 * whatever reading a file gave. After an error guest RAM holds anything.
 */
int firmware_load(struct mem *mem, const struct firmware_config *cfg, struct boot_entry *entry,
		  struct err *err) __must_check;

/*
 * Writes the device tree of the machine into buf: what firmware_load() gives its
 * guest, and what --dump-dtb writes for a machine without a kernel. initrd_gpa is
 * where cfg->initrd lies, 0 where there is none or it is not loaded. Returns the length
 * of the blob, -ENOSPC where it is more than size, -EINVAL for a config that is none.
 */
int firmware_fdt_build(const struct firmware_config *cfg, const struct mem *mem,
		       uint64_t initrd_gpa, void *buf, size_t size) __must_check;

/*
 * The device tree that firmware_load() has put into guest RAM, and its length in
 * bytes. Valid until the first vCPU runs: then these bytes are the guest's. NULL
 * where there is none.
 */
const void *firmware_fdt_find(const struct mem *mem, size_t *len) __must_check;

#endif
