/* SPDX-License-Identifier: MIT */
#include "vmm/config_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "vmm/config_keys.h"
#include "vmm/config_virtio.h"
#include "vmm/rates.h"

#define POLL_AUTO_NS 32000ull

/* What --disk fills: the disk first, and what stays text until it is all there. */
struct disk_text {
	struct disk_config disk;
	const char *rates[NR_RATES];
};

static const char *const interfaces[] = { [DISK_VIRTIO] = "virtio", [DISK_IDE] = "ide", NULL };

static const char *const formats[] = { [BLOCK_RAW] = "raw", [BLOCK_QCOW2] = "qcow2", NULL };

static const char *const engines[] = {
	[BLOCK_ENGINE_AUTO] = "auto",
	[BLOCK_ENGINE_IO_URING] = "io_uring",
	[BLOCK_ENGINE_THREADS] = "threads",
	[BLOCK_ENGINE_SYNC] = "sync",
	NULL,
};

static const char *const caches[] = {
	[BLOCK_CACHE_WRITEBACK] = "writeback",
	[BLOCK_CACHE_NONE] = "none",
	[BLOCK_CACHE_WRITETHROUGH] = "writethrough",
	[BLOCK_CACHE_UNSAFE] = "unsafe",
	NULL,
};

static const char *const on_error[] = { [DISK_REPORT] = "report", [DISK_STOP] = "stop", NULL };

static const struct config_key keys[] = {
	{ "path", offsetof(struct disk_config, path), NULL, 0, 0, "FILE" },
	{ "if", offsetof(struct disk_config, interface), interfaces, 0, 0, NULL },
	{ "format", offsetof(struct disk_config, format), formats, 0, 0, NULL },
	{ "backing", offsetof(struct disk_config, backing), config_off_on, 0, 0, NULL },
	{ "engine", offsetof(struct disk_config, engine), engines, 0, 0, NULL },
	{ "cache", offsetof(struct disk_config, cache), caches, 0, 0, NULL },
	{ "sqpoll", offsetof(struct disk_config, sqpoll), config_off_on, 0, 0, NULL },
	{ "readonly", offsetof(struct disk_config, readonly), config_off_on, 0, 0, NULL },
	{ "serial", offsetof(struct disk_config, serial), NULL, 20, 0, "STR" },
	{ "queues", offsetof(struct disk_config, queues), NULL, 0, CONFIG_MAX_QUEUES, NULL },
	{ "boot", offsetof(struct disk_config, boot), NULL, 0, CONFIG_MAX_BOOT, NULL },
	{ "iops", offsetof(struct disk_text, rates[RATE_IOPS]), NULL, 0, 0, NULL },
	{ "iops-burst", offsetof(struct disk_text, rates[RATE_IOPS_BURST]), NULL, 0, 0, NULL },
	{ "bps", offsetof(struct disk_text, rates[RATE_BPS]), NULL, 0, 0, "SIZE" },
	{ "bps-burst", offsetof(struct disk_text, rates[RATE_BPS_BURST]), NULL, 0, 0, "SIZE" },
	{ "on-error", offsetof(struct disk_config, on_error), on_error, 0, 0, NULL },
	CONFIG_VIRTIO_KEYS(struct disk_config, virtio),
};

static int parse_rates(const char *option, const struct disk_text *text, struct limit_rates *rates,
		       struct err *err)
{
	char what[64];

	snprintf(what, sizeof(what), "%s:", option);
	for (enum rate rate = 0; rate < NR_RATES; rate++)
		if (text->rates[rate] &&
		    rate_parse(rate, what, text->rates[rate], rate_field(rates, rate), err))
			return -EINVAL;
	if (rates->iops_burst && !rates->iops)
		return err_set(err, -EINVAL, "%s: iops-burst=%s: needs iops= as well", option,
			       text->rates[RATE_IOPS_BURST]);
	if (rates->bps_burst && !rates->bps)
		return err_set(err, -EINVAL, "%s: bps-burst=%s: needs bps= as well", option,
			       text->rates[RATE_BPS_BURST]);
	return 0;
}

int config_disk(struct config *cfg, const char *option, char *value, struct err *err)
{
	struct disk_config *disk = &cfg->disks[cfg->nr_disks];
	struct disk_text text = { 0 };

	if (cfg->nr_disks == CONFIG_MAX_DISKS)
		return err_set(err, -EINVAL, "%s: at most %d disks", option, CONFIG_MAX_DISKS);
	if (config_keys(option, value, keys, ARRAY_SIZE(keys), &text, err) ||
	    parse_rates(option, &text, &text.disk.rates, err))
		return -EINVAL;
	*disk = text.disk;
	if (!disk->path)
		return err_set(err, -EINVAL, "%s: path=FILE is missing", option);
	if (disk->backing && disk->format != BLOCK_QCOW2)
		return err_set(err, -EINVAL, "%s: backing=on is for format=qcow2", option);
	if (disk->sqpoll && disk->engine != BLOCK_ENGINE_AUTO &&
	    disk->engine != BLOCK_ENGINE_IO_URING)
		return err_set(err, -EINVAL,
			       "%s: sqpoll=on: needs engine=io_uring, or auto, not %s", option,
			       engines[disk->engine]);
	if (disk->interface != DISK_VIRTIO && (disk->queues || config_virtio_any(&disk->virtio)))
		return err_set(err, -EINVAL,
			       "%s: queues, threads, poll, ioeventfd, bus, virtio, packed, "
			       "event-idx and flr are keys of if=virtio",
			       option);
	disk->virtio.poll_ns = POLL_AUTO_NS;
	if (config_virtio_check(cfg, &disk->virtio, disk->queues, option, err))
		return -EINVAL;
	for (unsigned i = 0; disk->boot && i < cfg->nr_disks; i++)
		if (cfg->disks[i].boot == disk->boot)
			return err_set(err, -EINVAL, "%s: boot=%u: another disk has that place",
				       option, disk->boot);
	cfg->nr_disks++;
	return 0;
}

int config_cdrom(struct config *cfg, const char *option, char *value, struct err *err)
{
	struct disk_config *disk = &cfg->disks[cfg->nr_disks];

	if (cfg->nr_disks == CONFIG_MAX_DISKS)
		return err_set(err, -EINVAL, "%s: at most %d disks", option, CONFIG_MAX_DISKS);
	disk->path = value;
	disk->interface = DISK_IDE;
	disk->readonly = true;
	disk->cdrom = true;
	cfg->nr_disks++;
	return 0;
}

int config_place_ide(struct config *cfg, struct err *err)
{
	static const unsigned for_cdroms[CONFIG_MAX_IDE] = { 2, 3, 1, 0 };
	bool taken[CONFIG_MAX_IDE] = { false };
	unsigned disks = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < cfg->nr_disks; i++) {
			struct disk_config *d = &cfg->disks[i];

			if (d->interface != DISK_IDE || d->cdrom != pass)
				continue;
			if (disks++ == CONFIG_MAX_IDE)
				return err_set(
					err, -EINVAL, "%s %s: a PC has places for %d IDE drives",
					d->cdrom ? "--cdrom" : "--disk", d->path, CONFIG_MAX_IDE);
			for (unsigned k = 0; k < CONFIG_MAX_IDE; k++) {
				d->ide = d->cdrom ? for_cdroms[k] : k;
				if (!taken[d->ide])
					break;
			}
			taken[d->ide] = true;
		}
	}
	return 0;
}

unsigned config_boot_order(const struct config *cfg, unsigned order[CONFIG_MAX_DISKS])
{
	unsigned n = 0;

	for (unsigned place = 1; place <= CONFIG_MAX_BOOT; place++)
		for (unsigned i = 0; i < cfg->nr_disks; i++)
			if (cfg->disks[i].boot == place)
				order[n++] = i;
	for (unsigned i = 0; i < cfg->nr_disks; i++)
		if (!cfg->disks[i].boot)
			order[n++] = i;
	return n;
}

void config_disk_print_keys(void)
{
	config_keys_print(keys, ARRAY_SIZE(keys));
}
