/* SPDX-License-Identifier: MIT */
#include "vmm/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "vmm/config_disk.h"
#include "vmm/config_keys.h"
#include "vmm/config_net.h"
#include "vmm/control.h"

#define MEMORY_MIN (16 * MIB)
#define MEMORY_MAX (1ull << 40)
#define MEMORY_DEFAULT (256 * MIB)
#define TRACE_EVENTS_MIN 1024ull
#define TRACE_EVENTS_MAX (16 * MIB)
#define TRACE_EVENTS_DEFAULT (64 * KIB)

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

int config_parse_pit_policy(const char *option, char *text, struct pit_policy *policy,
			    struct err *err)
{
	static const struct config_key keys[] = {
		{ "max-hz", offsetof(struct pit_policy, max_hz), NULL, 0, PIT_MAX_HZ, NULL },
		{ "time", offsetof(struct pit_policy, time), pit_time_words, 0, 0, NULL },
		{ "lost-ticks", offsetof(struct pit_policy, lost), pit_lost_words, 0, 0, NULL },
	};

	return config_keys(option, text, keys, ARRAY_SIZE(keys), policy, err);
}

static int parse_pit(struct config *cfg, const char *option, char *value, struct err *err)
{
	static const char *const words[] = {
		[PIT_USER] = "user", [PIT_KERNEL] = "kernel", [PIT_NONE] = "none", NULL
	};
	char *comma = strchr(value, ',');

	if (comma)
		*comma++ = '\0';
	if (config_word(option, value, words, &cfg->pit, err))
		return -EINVAL;
	if (!comma)
		return 0;
	if (cfg->pit != PIT_USER)
		return err_set(err, -EINVAL, "%s %s,%s: only user has keys", option, value, comma);
	return config_parse_pit_policy(option, comma, &cfg->pit_policy, err);
}

static int parse_coalesce(struct config *cfg, const char *option, char *value, struct err *err)
{
	static const char *const words[] = {
		[COALESCE_OFF] = "off",
		[COALESCE_PIO] = "pio",
		[COALESCE_HYPERCALL] = "hypercall",
		[COALESCE_LOOKAHEAD] = "lookahead",
		[COALESCE_AUTO] = "auto",
		NULL,
	};

	return config_word(option, value, words, &cfg->coalesce, err);
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
	{ "--disk", ARG_NEEDED, true, "path=FILE[,KEY=VALUE ...]",
	  "a disk; may be given again, and is booted in this order, or by boot=N. The keys:", 0, config_disk },
	{ "--cdrom", ARG_NEEDED, true, "FILE", "a CD-ROM drive with this image; may be given again", 0, config_cdrom },
	{ "--net", ARG_NEEDED, true, "user|tap=NAME|bridge=NAME|fd=N[:N][,KEY=VALUE ...]",
	  "a network card: on a network without rights, or the host's; may be given again. The keys:", 0, config_net },
	{ "--serial", ARG_NEEDED, true, "stdio|pty|file=PATH|socket=PATH|none",
	  "what COM1 leads to (stdio); again for COM2 to COM4", 0, parse_serial },
	{ "--pit", ARG_NEEDED, false,
	  "user|kernel|none[,max-hz=N][,time=keep|dilate][,lost-ticks=catchup|delay|discard]",
	  "the interval timer (user with --firmware, else kernel), and how often it may tick", 0, parse_pit },
	{ "--coalesce", ARG_NEEDED, false, "off|pio|hypercall|lookahead|auto",
	  "save exits: the host keeps back port writes that show in later accesses only, or the guest "
	  "hands over lists of accesses, or its next instructions are run here, auto: where it pays (off)",
	  0, parse_coalesce },
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
		if (o->parse == config_disk)
			config_disk_print_keys();
		if (o->parse == config_net)
			config_net_print_keys();
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
	if (config_place_ide(cfg, err) || check_whole(cfg, err))
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
	cfg->pit = PIT_DEFAULT;
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
	if (cfg->pit == PIT_DEFAULT)
		cfg->pit = cfg->firmware ? PIT_USER : PIT_KERNEL;
	if (!cfg->nr_serials)
		cfg->serials[cfg->nr_serials++].kind = SERIAL_STDIO;
	return ret;
}

void config_free(struct config *cfg)
{
	free(cfg->arena);
	cfg->arena = NULL;
}
