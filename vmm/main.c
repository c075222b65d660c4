/* SPDX-License-Identifier: MIT */
/*
 * The command line: the only place that exits and the only one that speaks to the
 * user about what went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/config.h"
#include "vmm/machine.h"

#ifndef BANTAM_VERSION
#define BANTAM_VERSION "unknown"
#endif

/* See bantam(1), EXIT STATUS. */
enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_USAGE = 2, STATUS_CRASHED = 3 };

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: bantam COMMAND ...\n\n"
		"  run        run a guest in the foreground; bantam run --help lists its options\n"
		"  version    print bantam's version\n"
		"  help       print this\n");
}

static int usage(const char *err)
{
	log_error("%s", err);
	return STATUS_USAGE;
}

/* A signal that ended us ends us as it would have: the parent sees it. */
static int die_by(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return STATUS_ERROR;
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
		return die_by(result.signal);
	return result.crashed ? STATUS_CRASHED : STATUS_OK;
}

/* What was asked for has not been said unless it has been written. */
static int printed(void)
{
	if (!fflush(stdout))
		return STATUS_OK;
	log_error("standard output: %s", strerror(errno));
	return STATUS_ERROR;
}

static int cmd_run(int argc, char **argv)
{
	struct config cfg;
	struct err err = { "" };
	int status;

	switch (config_parse(&cfg, argc, argv, &err)) {
	case CONFIG_HELP:
		config_print_help();
		status = printed();
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

int main(int argc, char **argv)
{
	char err[128];

	if (!open_standard_fds())
		return STATUS_ERROR;
	if (argc < 2)
		return usage("a command is missing; see bantam help");
	if (!strcmp(argv[1], "run"))
		return cmd_run(argc - 2, argv + 2);
	if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version")) {
		printf("bantam %s\n", BANTAM_VERSION);
		return printed();
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(stdout);
		return printed();
	}
	snprintf(err, sizeof(err), "%.60s: unknown command; see bantam help", argv[1]);
	return usage(err);
}
