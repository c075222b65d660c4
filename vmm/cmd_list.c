/* SPDX-License-Identifier: MIT */
/* bantam list: the machines that run, a line each. */
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/control.h"

static const char usage[] = "usage: bantam list\n"
			    "\n"
			    "  The names of your machines that run, a line each.\n";

static void print_name(void *ctx, const char *name)
{
	(void)ctx;
	puts(name);
}

int cmd_list(int argc, char **argv)
{
	struct err err = { "" };
	int ret;

	if (argc && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		fputs(usage, stdout);
		return cmd_written(0);
	}
	if (argc)
		return cmd_usage("list", argv[0],
				 argv[0][0] == '-' ? "unknown option" : "takes no argument");
	ret = control_list(print_name, NULL, &err);
	return ret ? cmd_failed(&err, ret) : cmd_written(0);
}
