/* SPDX-License-Identifier: MIT */
#include "vmm/bios.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "devices/pc/fw_cfg.h"
#include "devices/pci/shadow.h"
#include "firmware/fwcfg.h"
#include "firmware/rom.h"

/* Where packages put it: Debian's, and QEMU's own copy elsewhere. */
static const char *const seabios_paths[] = {
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
};

static const char *find_seabios(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(seabios_paths); i++)
		if (!access(seabios_paths[i], R_OK))
			return seabios_paths[i];
	return NULL;
}

int bios_open_rom(struct machine *m, struct err *err)
{
	const char *path = m->cfg->firmware;
	int ret;

	if (path && !strcmp(path, CONFIG_SEABIOS)) {
		path = find_seabios();
		if (!path)
			return err_set(err, -ENOENT,
				       "--firmware seabios: there is no %s; install the package "
				       "seabios, or name an image as --firmware FILE",
				       seabios_paths[0]);
	}
	ret = machine_open_file(&m->rom, "--firmware", path, err);
	if (ret || !path)
		return ret;
	return rom_load(&m->mem, &m->rom, err);
}

int bios_open_log(struct machine *m, struct err *err)
{
	const char *path = m->cfg->firmware_log;
	int ret = path ? chardev_file_create(&m->loop, path, &m->firmware_log) : 0;

	return ret ? err_set(err, ret, "--firmware-log %s: %s", path, strerror(-ret)) : 0;
}

/* Disk number i, as the firmware finds it. */
static struct fwcfg_boot boot_device(const struct config *cfg, unsigned i)
{
	const struct disk_config *d = &cfg->disks[i];

	if (d->interface == DISK_IDE)
		return (struct fwcfg_boot){
			.kind = FWCFG_BOOT_IDE,
			.slot = PLATFORM_PCI_IDE >> 3,
			.function = PLATFORM_PCI_IDE & 7,
			.channel = d->ide / IDE_NR_DRIVES,
			.drive = d->ide % IDE_NR_DRIVES,
		};
	return (struct fwcfg_boot){
		.kind = FWCFG_BOOT_VIRTIO_BLK,
		.slot = MACHINE_DISK_SLOT(i),
	};
}

int bios_shadow_create(struct machine *m, struct device **out)
{
	const struct shadow_config cfg = {
		.name = "shadow",
		.bus = &m->bus,
		.mem = &m->mem,
		.slots = { .set = kvm_shadow_set, .ctx = &m->kvm },
	};

	return shadow_create(&cfg, out);
}

int bios_fw_cfg_create(struct machine *m, struct device **out)
{
	struct fw_cfg_config cfg = { .name = "fw-cfg", .bus = &m->bus, .mem = &m->mem };
	struct fwcfg_boot boot[CONFIG_MAX_DISKS];
	struct fwcfg_config contents = { .machine = &m->firmware, .mem = &m->mem, .boot = boot };
	unsigned order[CONFIG_MAX_DISKS];
	struct fwcfg f;
	int ret;

	contents.nr_boot = config_boot_order(m->cfg, order);
	for (unsigned i = 0; i < contents.nr_boot; i++)
		boot[i] = boot_device(m->cfg, order[i]);
	ret = fwcfg_build(&f, &contents);
	if (!ret) {
		cfg.items = f.items;
		cfg.nr_items = f.nr_items;
		ret = fw_cfg_create(&cfg, out);
	}
	fwcfg_free(&f);
	return ret;
}
