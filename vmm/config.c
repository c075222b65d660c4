/* SPDX-License-Identifier: MIT */
#include "vmm/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "vmm/control.h"
#include "vmm/rates.h"

#define MEMORY_MIN (16 * MIB)
#define MEMORY_MAX (1ull << 40)
#define MEMORY_DEFAULT (256 * MIB)
#define TRACE_EVENTS_MIN 1024ull
#define TRACE_EVENTS_MAX (16 * MIB)
#define TRACE_EVENTS_DEFAULT (64 * KIB)

/* The words that a value may be; its place in the list is what is stored. */
static int parse_word(const char *what, const char *value, const char *const *words, unsigned *out,
		      struct err *err)
{
	char list[128] = "";

	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			return 0;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
			 words[i]);
	}
	return err_set(err, -EINVAL, "%s=%s: must be one of: %s", what, value, list);
}

/* A key of a compound option: a string, one of words, or a number. */
struct key {
	const char *name;
	size_t offset; /* in the struct that the option fills */
	const char *const *words; /* an unsigned, which of them; NULL: it is no word */
	size_t max_len; /* of a string (const char *); 0: any */
	unsigned max; /* of a number (unsigned) from 1 on; 0: it is no number */
};

static const struct key *key_find(const struct key *keys, size_t nr, const char *name)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int key_store(const struct key *key, const char *option, char *value, void *out,
		     struct err *err)
{
	char what[64];

	snprintf(what, sizeof(what), "%s: %s", option, key->name);
	if (key->words)
		return parse_word(what, value, key->words, (unsigned *)((char *)out + key->offset),
				  err);
	if (!*value)
		return err_set(err, -EINVAL, "%s=: a value is missing", what);
	if (key->max) {
		uint64_t number;

		if (util_parse_uint(value, 1, key->max, &number))
			return err_set(err, -EINVAL, "%s=%s: must be a number from 1 to %u", what,
				       value, key->max);
		*(unsigned *)(void *)((char *)out + key->offset) = (unsigned)number;
		return 0;
	}
	if (key->max_len && strlen(value) > key->max_len)
		return err_set(err, -EINVAL, "%s=%s: %zu characters, at most %zu", what, value,
			       strlen(value), key->max_len);
	*(const char **)(void *)((char *)out + key->offset) = value;
	return 0;
}

/*
 * Cuts "key=value,key=value" apart in place; a comma in a value is written twice.
 * Each key may stand once; an unknown one is refused by listing those there are.
 */
static int parse_keys(const char *option, char *text, const struct key *keys, size_t nr, void *out,
		      struct err *err)
{
	uint64_t seen = 0;

	while (text) {
		char *name = text, *value, *dst, *src;
		const struct key *key;

		value = name + strcspn(name, "=,");
		if (*value == '=')
			*value++ = '\0';
		else
			return err_set(err, -EINVAL, "%s %.*s: must be key=value", option,
				       (int)(value - name), name);
		for (src = dst = value; *src && !(*src == ',' && src[1] != ','); src++) {
			if (*src == ',')
				src++;
			*dst++ = *src;
		}
		text = *src ? src + 1 : NULL;
		*dst = '\0';

		key = key_find(keys, nr, name);
		if (!key) {
			char list[256] = "";

			for (size_t i = 0; i < nr; i++)
				snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
					 i ? ", " : "", keys[i].name);
			return err_set(err, -EINVAL, "%s: unknown key '%s'; the keys are: %s",
				       option, name, list);
		}
		if (seen & 1ull << (key - keys))
			return err_set(err, -EINVAL, "%s: %s is given twice", option, name);
		seen |= 1ull << (key - keys);
		if (key_store(key, option, value, out, err))
			return -EINVAL;
	}
	return 0;
}

/* What --disk fills: the disk first, and what stays text until it is all there. */
struct disk_text {
	struct disk_config disk;
	const char *rates[NR_RATES];
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

static int parse_disk(struct config *cfg, const char *option, char *value, struct err *err)
{
	static const char *const interfaces[] = {
		[DISK_VIRTIO] = "virtio", [DISK_IDE] = "ide", NULL
	};
	static const char *const formats[] = { [DISK_RAW] = "raw", NULL };
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
	static const char *const off_on[] = { "off", "on", NULL };
	static const char *const on_off[] = { "on", "off", NULL };
	static const char *const on_error[] = {
		[DISK_REPORT] = "report", [DISK_STOP] = "stop", NULL
	};
	static const struct key keys[] = {
		{ "path", offsetof(struct disk_config, path), NULL, 0, 0 },
		{ "if", offsetof(struct disk_config, interface), interfaces, 0, 0 },
		{ "format", offsetof(struct disk_config, format), formats, 0, 0 },
		{ "engine", offsetof(struct disk_config, engine), engines, 0, 0 },
		{ "cache", offsetof(struct disk_config, cache), caches, 0, 0 },
		{ "sqpoll", offsetof(struct disk_config, sqpoll), off_on, 0, 0 },
		{ "readonly", offsetof(struct disk_config, readonly), off_on, 0, 0 },
		{ "serial", offsetof(struct disk_config, serial), NULL, 20, 0 },
		{ "ioeventfd", offsetof(struct disk_config, no_ioeventfd), on_off, 0, 0 },
		{ "boot", offsetof(struct disk_config, boot), NULL, 0, CONFIG_MAX_BOOT },
		{ "iops", offsetof(struct disk_text, rates[RATE_IOPS]), NULL, 0, 0 },
		{ "iops-burst", offsetof(struct disk_text, rates[RATE_IOPS_BURST]), NULL, 0, 0 },
		{ "bps", offsetof(struct disk_text, rates[RATE_BPS]), NULL, 0, 0 },
		{ "bps-burst", offsetof(struct disk_text, rates[RATE_BPS_BURST]), NULL, 0, 0 },
		{ "on-error", offsetof(struct disk_config, on_error), on_error, 0, 0 },
	};
	struct disk_config *disk = &cfg->disks[cfg->nr_disks];
	struct disk_text text = { 0 };

	if (cfg->nr_disks == CONFIG_MAX_DISKS)
		return err_set(err, -EINVAL, "%s: at most %d disks", option, CONFIG_MAX_DISKS);
	if (parse_keys(option, value, keys, ARRAY_SIZE(keys), &text, err) ||
	    parse_rates(option, &text, &text.disk.rates, err))
		return -EINVAL;
	*disk = text.disk;
	if (!disk->path)
		return err_set(err, -EINVAL, "%s: path=FILE is missing", option);
	if (disk->sqpoll && disk->engine != BLOCK_ENGINE_AUTO &&
	    disk->engine != BLOCK_ENGINE_IO_URING)
		return err_set(err, -EINVAL,
			       "%s: sqpoll=on: needs engine=io_uring, or auto, not %s", option,
			       engines[disk->engine]);
	for (unsigned i = 0; disk->boot && i < cfg->nr_disks; i++)
		if (cfg->disks[i].boot == disk->boot)
			return err_set(err, -EINVAL, "%s: boot=%u: another disk has that place",
				       option, disk->boot);
	cfg->nr_disks++;
	return 0;
}

static int parse_cdrom(struct config *cfg, const char *option, char *value, struct err *err)
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

/* Disks take the places in order; a CD-ROM likes to be the second channel's master. */
static int place_ide(struct config *cfg, struct err *err)
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

static int parse_serial(struct config *cfg, const char *option, char *value, struct err *err)
{
	static const struct {
		const char *word;
		enum serial_kind kind;
		bool path;
	} kinds[] = {
		{ "stdio", SERIAL_STDIO, false }, { "pty", SERIAL_PTY, false },
		{ "file", SERIAL_FILE, true },    { "socket", SERIAL_SOCKET, true },
		{ "none", SERIAL_NONE, false },
	};
	struct serial_config *s = &cfg->serials[cfg->nr_serials];
	char *path = strchr(value, '=');

	if (cfg->nr_serials == CONFIG_MAX_SERIALS)
		return err_set(err, -EINVAL, "%s %s: a PC has %d serial ports", option, value,
			       CONFIG_MAX_SERIALS);
	if (path)
		*path++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(value, kinds[i].word) || kinds[i].path != (path && *path))
			continue;
		for (unsigned k = 0; k < cfg->nr_serials; k++)
			if (kinds[i].kind == SERIAL_STDIO && cfg->serials[k].kind == SERIAL_STDIO)
				return err_set(err, -EINVAL, "%s stdio: only one port can have it",
					       option);
		s->kind = kinds[i].kind;
		s->path = path;
		cfg->nr_serials++;
		return 0;
	}
	return err_set(err, -EINVAL,
		       "%s %s%s%s: must be stdio, pty, file=PATH, socket=PATH or none", option,
		       value, path ? "=" : "", path ? path : "");
}

static int parse_cpus(struct config *cfg, const char *option, char *value, struct err *err)
{
	if (util_parse_uint(value, 1, PLATFORM_MAX_CPUS, &cfg->nr_cpus))
		return err_set(err, -EINVAL, "%s %s: must be a number from 1 to %d", option, value,
			       PLATFORM_MAX_CPUS);
	return 0;
}

static int parse_memory(struct config *cfg, const char *option, char *value, struct err *err)
{
	int ret = util_parse_size(value, &cfg->memory);

	if (ret == -EINVAL)
		return err_set(err, -EINVAL, "%s %s: must be a size such as 512M or 2G", option,
			       value);
	if (ret || cfg->memory < MEMORY_MIN || cfg->memory > MEMORY_MAX)
		return err_set(err, -EINVAL, "%s %s: must be from 16M to 1T", option, value);
	if (cfg->memory % MIB)
		return err_set(err, -EINVAL, "%s %s: must be a whole number of MiB, such as 512M",
			       option, value);
	return 0;
}

static int parse_pit(struct config *cfg, const char *option, char *value, struct err *err)
{
	static const char *const words[] = { [PIT_KERNEL] = "kernel", [PIT_NONE] = "none", NULL };

	return parse_word(option, value, words, &cfg->pit, err);
}

static int parse_exits(struct config *cfg, const char *option, char *value, struct err *err)
{
	if (value && !*value)
		return err_set(err, -EINVAL, "%s=: a file name is missing", option);
	cfg->exits = true;
	cfg->exits_json = value;
	return 0;
}

static int parse_name(struct config *cfg, const char *option, char *value, struct err *err)
{
	if (!control_name_ok(value))
		return err_set(
			err, -EINVAL,
			"%s %.80s: must be 1 to %d letters, digits, '-', '_' and '.', no '.' first",
			option, value, CONTROL_NAME_MAX);
	cfg->name = value;
	return 0;
}

/* FILE[,events=N]: a file name may have commas, the key is at the end. */
static int parse_trace(struct config *cfg, const char *option, char *value, struct err *err)
{
	char *comma = strrchr(value, ',');

	cfg->trace_events = TRACE_EVENTS_DEFAULT;
	if (comma && !strncmp(comma, ",events=", 8)) {
		const char *number = comma + 8;

		if (util_parse_uint(number, TRACE_EVENTS_MIN, TRACE_EVENTS_MAX, &cfg->trace_events))
			return err_set(err, -EINVAL,
				       "%s: events=%s: must be a number from %llu to %llu", option,
				       number, TRACE_EVENTS_MIN, TRACE_EVENTS_MAX);
		*comma = '\0';
	}
	if (!*value)
		return err_set(err, -EINVAL, "%s: a file name is missing", option);
	cfg->trace = value;
	return 0;
}

static int parse_no_reboot(struct config *cfg, const char *option, char *value, struct err *err)
{
	(void)option;
	(void)value;
	(void)err;
	cfg->no_reboot = true;
	return 0;
}

enum arg { ARG_NONE, ARG_OPTIONAL, ARG_NEEDED };

struct option {
	const char *name;
	enum arg arg;
	bool again; /* may be given more than once */
	const char *meta; /* what stands for the value in the help */
	const char *help;
	size_t string; /* without parse: the const char * in struct config, given once */
	int (*parse)(struct config *cfg, const char *option, char *value, struct err *err);
};

/* clang-format off */
static const struct option options[] = {
	{ "--kernel", ARG_NEEDED, false, "FILE", "boot this kernel: a bzImage, or an ELF with a PVH note",
	  offsetof(struct config, kernel), NULL },
	{ "--firmware", ARG_NEEDED, false, "FILE|seabios",
	  "or boot the disks as a PC does, through a BIOS: this image, or Debian's SeaBIOS",
	  offsetof(struct config, firmware), NULL },
	{ "--firmware-log", ARG_NEEDED, false, "FILE", "what the firmware tells of its work",
	  offsetof(struct config, firmware_log), NULL },
	{ "--initrd", ARG_NEEDED, false, "FILE", "the initial RAM disk to hand to it",
	  offsetof(struct config, initrd), NULL },
	{ "--append", ARG_NEEDED, false, "STRING", "the kernel's command line",
	  offsetof(struct config, append), NULL },
	{ "--cpus", ARG_NEEDED, false, "N", "virtual CPUs (1)", 0, parse_cpus },
	{ "--memory", ARG_NEEDED, false, "SIZE", "guest RAM, such as 512M or 2G (256M)", 0, parse_memory },
	{ "--disk", ARG_NEEDED, true, "path=FILE[,if=virtio|ide][,format=raw][,readonly=on|off][,serial=STR]"
	  "[,engine=auto|io_uring|threads|sync][,cache=writeback|none|writethrough|unsafe][,sqpoll=on|off]"
	  "[,ioeventfd=on|off][,boot=N][,iops=N][,bps=SIZE][,iops-burst=N][,bps-burst=SIZE]"
	  "[,on-error=report|stop]",
	  "a disk; may be given again, and is booted in this order or by N", 0, parse_disk },
	{ "--cdrom", ARG_NEEDED, true, "FILE", "a CD-ROM drive with this image; may be given again", 0, parse_cdrom },
	{ "--serial", ARG_NEEDED, true, "stdio|pty|file=PATH|socket=PATH|none",
	  "what COM1 leads to (stdio); again for COM2 to COM4", 0, parse_serial },
	{ "--pit", ARG_NEEDED, false, "kernel|none", "the interval timer (kernel)", 0, parse_pit },
	{ "--exits", ARG_OPTIONAL, false, "=FILE.json", "tell at the end what the guest's exits cost, as a table or as JSON",
	  0, parse_exits },
	{ "--profile", ARG_NEEDED, false, "FILE[.json|.svg|.folded]",
	  "tell at the end which guest functions exited: a table, a report, a flame graph",
	  offsetof(struct config, profile), NULL },
	{ "--symbols", ARG_NEEDED, false, "FILE",
	  "their names: System.map, kallsyms or a vmlinux (the guest's own memory)",
	  offsetof(struct config, symbols), NULL },
	{ "--trace", ARG_NEEDED, false, "FILE.json[,events=N]",
	  "the last N events (65536) of each CPU and disk, for Perfetto", 0, parse_trace },
	{ "--name", ARG_NEEDED, false, "NAME", "what the other commands call this machine (its process id)",
	  0, parse_name },
	{ "--dump-dtb", ARG_NEEDED, false, "FILE", "write the machine's device tree and end",
	  offsetof(struct config, dump_dtb), NULL },
	{ "--no-reboot", ARG_NONE, false, NULL, "end instead of restarting the guest", 0, parse_no_reboot },
};
/* clang-format on */

void config_print_help(void)
{
	printf("usage: bantam run --kernel FILE [options]\n"
	       "       bantam run --firmware FILE|seabios [options]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];

		printf("  %s%s%s\n        %s\n", o->name, o->arg == ARG_NEEDED ? " " : "",
		       o->meta ? o->meta : "", o->help);
	}
	printf("\nOn stdio's console: Ctrl-a x quits, Ctrl-a h lists the other keys.\n"
	       "See bantam(1).\n");
}

static const struct option *option_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && !memcmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

static int option_apply(struct config *cfg, const struct option *o, char *value, struct err *err)
{
	const char **string;

	if (o->parse)
		return o->parse(cfg, o->name, value, err);
	string = (const char **)(void *)((char *)cfg + o->string);
	if (*string)
		return err_set(err, -EINVAL, "%s %s: %s is given already", o->name, value, *string);
	*string = value;
	return 0;
}

/* What cannot be seen from one option alone. */
static int check_whole(const struct config *cfg, struct err *err)
{
	if (!cfg->kernel && !cfg->firmware)
		return err_set(
			err, -EINVAL,
			"--kernel FILE is missing, the kernel to boot; or --firmware seabios, "
			"to boot a disk");
	if (!cfg->firmware && cfg->firmware_log)
		return err_set(err, -EINVAL, "--firmware-log %s: needs --firmware",
			       cfg->firmware_log);
	if (!cfg->firmware)
		return 0;
	if (cfg->kernel)
		return err_set(err, -EINVAL,
			       "--firmware %s: boots a disk; --kernel %s is booted without it",
			       cfg->firmware, cfg->kernel);
	if (cfg->initrd || cfg->append)
		return err_set(err, -EINVAL,
			       "--%s: needs --kernel; with --firmware the disk's own "
			       "boot loader says it",
			       cfg->initrd ? "initrd" : "append");
	return 0;
}

/* A private copy of every argument, for the parsers to cut apart. */
static char *copy_args(int argc, char **argv, char **copies)
{
	size_t total = 1;
	char *arena, *p;

	for (int i = 0; i < argc; i++)
		total += strlen(argv[i]) + 1;
	arena = p = malloc(total);
	for (int i = 0; arena && i < argc; i++) {
		size_t len = strlen(argv[i]) + 1;

		copies[i] = memcpy(p, argv[i], len);
		p += len;
	}
	return arena;
}

static enum config_result parse_args(struct config *cfg, int argc, char **argv, struct err *err)
{
	uint64_t seen = 0;

	for (int i = 0; i < argc; i++) {
		size_t len = strcspn(argv[i], "=");
		char *value = argv[i][len] ? argv[i] + len + 1 : NULL;
		const struct option *o = option_find(argv[i], len);

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return CONFIG_HELP;
		if (!o) {
			err_set(err, -EINVAL, "%.*s: unknown option; see bantam run --help",
				(int)min_u64(len, 60), argv[i]);
			return CONFIG_USAGE;
		}
		if (o->arg == ARG_NONE && value) {
			err_set(err, -EINVAL, "%s: takes no value", argv[i]);
			return CONFIG_USAGE;
		}
		if (o->arg == ARG_NEEDED && !value) {
			if (i + 1 == argc) {
				err_set(err, -EINVAL, "%s: its value is missing: %s %s", o->name,
					o->name, o->meta);
				return CONFIG_USAGE;
			}
			value = argv[++i];
		}
		if (o->arg == ARG_NEEDED && !*value && strcmp(o->name, "--append")) {
			err_set(err, -EINVAL, "%s: its value is empty; must be %s", o->name,
				o->meta);
			return CONFIG_USAGE;
		}
		if (seen & 1ull << (o - options) && !o->again && o->parse) {
			err_set(err, -EINVAL, "%s: is given twice", o->name);
			return CONFIG_USAGE;
		}
		seen |= 1ull << (o - options);
		if (option_apply(cfg, o, value, err))
			return CONFIG_USAGE;
	}
	if (place_ide(cfg, err) || check_whole(cfg, err))
		return CONFIG_USAGE;
	return CONFIG_RUN;
}

enum config_result config_parse(struct config *cfg, int argc, char **argv, struct err *err)
{
	enum config_result ret;
	char **copies;

	memset(cfg, 0, sizeof(*cfg));
	cfg->nr_cpus = 1;
	cfg->memory = MEMORY_DEFAULT;
	copies = calloc((size_t)argc + 1, sizeof(*copies));
	if (copies)
		cfg->arena = copy_args(argc, argv, copies);
	if (!copies || !cfg->arena) {
		free(copies);
		err_set(err, -ENOMEM, "out of memory");
		return CONFIG_USAGE;
	}
	ret = parse_args(cfg, argc, copies, err);
	free(copies);
	if (!cfg->nr_serials)
		cfg->serials[cfg->nr_serials++].kind = SERIAL_STDIO;
	return ret;
}

void config_free(struct config *cfg)
{
	free(cfg->arena);
	cfg->arena = NULL;
}
