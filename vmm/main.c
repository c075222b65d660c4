/* SPDX-License-Identifier: MIT */
/*
 * The command line: the only place that exits and the only one that speaks to the
 * user about what went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/cmd.h"
#include "vmm/config.h"
#include "vmm/machine.h"

#ifndef BANTAM_VERSION
#define BANTAM_VERSION "unknown"
#endif

static int cmd_run(int argc, char **argv);
static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

struct command {
	const char *name;
	int (*fn)(int argc, char **argv); /* without the command's own word; the exit status */
	const char *help;
};

static const struct command commands[] = {
	{ "run", cmd_run, "run a guest in the foreground; bantam run --help lists its options" },
	{ "list", cmd_list, "name the machines that run" },
	{ "info", cmd_info, "what a machine has, and what its network cards have moved" },
	{ "top", cmd_top, "watch a machine's exits live" },
	{ "exits", cmd_exits, "what a machine's exits cost; two runs compared" },
	{ "profile", cmd_profile, "which guest functions exit: switch it on and off, print it" },
	{ "resize", cmd_resize, "give a running machine's disk another size" },
	{ "throttle", cmd_throttle,
	  "limit a running machine's disk or network, or show its limits" },
	{ "link", cmd_link, "plug in the cable of a machine's network card, or pull it out" },
	{ "resume", cmd_resume, "go on with a machine that a disk's error has stopped" },
	{ "pit", cmd_pit, "how often a machine's timer ticks: show it, change it" },
	{ "version", cmd_version, "print bantam's version" },
	{ "help", cmd_help, "print this" },
};

static int usage(const char *err)
{
	log_error("%s", err);
	return STATUS_USAGE;
}

static int run(const struct config *cfg)
{
	struct machine_result result = { 0 };
	struct err err = { "" };
	int ret = cfg->dump_dtb ? machine_dump_dtb(cfg, &err) : machine_run(cfg, &result, &err);

	if (ret) {
		log_error("%s", err.text[0] ? err.text : strerror(-ret));
		return STATUS_ERROR;
	}
	if (result.signal)
		return cmd_die_by(result.signal);
	return result.crashed ? STATUS_CRASHED : STATUS_OK;
}

static int cmd_run(int argc, char **argv)
{
	struct config cfg;
	struct err err = { "" };
	int status;

	switch (config_parse(&cfg, argc, argv, &err)) {
	case CONFIG_HELP:
		config_print_help();
		status = cmd_written(0);
		break;
	case CONFIG_USAGE:
		status = usage(err.text);
		break;
	case CONFIG_RUN:
	default:
		status = run(&cfg);
		break;
	}
	config_free(&cfg);
	return status;
}

/*
 * A standard descriptor that is closed would be given to the next file opened: a disk
 * image, which console output would then be written into.
 */
static bool open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd >= 0 && !close(fd);
}

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("bantam %s\n", BANTAM_VERSION);
	return cmd_written(0);
}

static int cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("usage: bantam COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	return cmd_written(0);
}

int main(int argc, char **argv)
{
	const char *word;
	char err[128];

	if (!open_standard_fds())
		return STATUS_ERROR;
	if (argc < 2)
		return usage("a command is missing; see bantam help");
	word = argv[1];
	if (!strcmp(word, "--version"))
		word = "version";
	else if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		word = "help";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(word, commands[i].name))
			return commands[i].fn(argc - 2, argv + 2);
	snprintf(err, sizeof(err), "%.60s: unknown command; see bantam help", argv[1]);
	return usage(err);
}
