/* SPDX-License-Identifier: MIT */
/*
 * bantam exits, bantam profile: a report from a running machine or a file, in the
 * form that is asked for.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/cmd.h"
#include "vmm/control.h"
#include "vmm/report/report.h"

#define TIMEOUT_MS 10000

enum form { FORM_TABLE, FORM_JSON, FORM_FOLDED, FORM_SVG };

struct exits_args {
	const char *name; /* NULL: the only machine */
	const char *file;
	const char *diff[2];
	enum form form;
	enum report_weight weight;
};

static const char exits_usage[] =
	"usage: bantam exits [NAME | --file FILE.json] [--json | --folded | --svg] [--by "
	"time|count]\n"
	"       bantam exits --diff A.json B.json\n"
	"\n"
	"  What the exits of a running machine, or of one that has ended, have cost.\n"
	"\n"
	"  --file FILE.json   what --exits=FILE.json has written, not a running machine\n"
	"  --json             for programs (docs/exits.md)\n"
	"  --folded           folded stacks: device;register;function;caller\n"
	"  --svg              the same as a flame graph\n"
	"  --by time|count    what these two are as wide as (time)\n"
	"  --diff A B         two runs side by side, with the ratio B/A\n";

static const char profile_usage[] =
	"usage: bantam profile [NAME] [on | off | reset]\n"
	"\n"
	"  Switches the profile of a running machine: which guest functions exit. Without a\n"
	"  word it prints what there is. NAME may be left out where one machine runs.\n";

static int fetch(struct control_client *c, struct report *r, struct err *err)
{
	cJSON *json = NULL;
	int ret = control_call(c, "exits", NULL, TIMEOUT_MS, &json, err);

	if (!ret)
		ret = report_from_json(json, control_client_name(c), r, err);
	cJSON_Delete(json);
	return ret;
}

static int fetch_by_name(const char *name, struct report *r, struct err *err)
{
	struct control_client *c;
	int ret = control_connect(name, &c, err);

	if (ret)
		return ret;
	ret = fetch(c, r, err);
	control_close(c);
	return ret;
}

static int show(const struct report *r, const struct exits_args *a)
{
	switch (a->form) {
	case FORM_JSON:
		return cmd_written(report_write_json(r, STDOUT_FILENO));
	case FORM_FOLDED:
		return cmd_written(report_print_folded(r, a->weight, stdout));
	case FORM_SVG:
		return cmd_written(report_print_svg(r, a->weight, stdout));
	case FORM_TABLE:
	default:
		report_print(r, stdout);
		return cmd_written(0);
	}
}

static int show_diff(const char *const paths[2])
{
	struct report a = { 0 }, b = { 0 };
	struct err err = { "" };
	int ret = report_load(paths[0], &a, &err), status;

	if (!ret)
		ret = report_load(paths[1], &b, &err);
	if (ret) {
		status = cmd_failed(&err, ret);
	} else {
		report_print_diff(&a, paths[0], &b, paths[1], stdout);
		status = cmd_written(0);
	}
	report_free(&a);
	report_free(&b);
	return status;
}

/* Takes one argument, with those that belong to it; STATUS_OK, or what to end with. */
static int take_arg(struct exits_args *a, int argc, char **argv, int *i)
{
	static const struct {
		const char *word;
		enum form form;
	} forms[] = { { "--json", FORM_JSON }, { "--folded", FORM_FOLDED }, { "--svg", FORM_SVG } };
	const char *arg = argv[*i];
	int left = argc - *i - 1;

	for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
		if (strcmp(arg, forms[k].word))
			continue;
		if (a->form != FORM_TABLE)
			return cmd_usage("exits", arg, "one form at a time");
		a->form = forms[k].form;
		return STATUS_OK;
	}
	if (!strcmp(arg, "--file")) {
		if (!left)
			return cmd_usage("exits", arg, "a file is missing");
		a->file = argv[++*i];
	} else if (!strcmp(arg, "--diff")) {
		if (left < 2)
			return cmd_usage("exits", arg, "two files are needed");
		a->diff[0] = argv[++*i];
		a->diff[1] = argv[++*i];
	} else if (!strcmp(arg, "--by")) {
		const char *by = left ? argv[++*i] : "";

		if (strcmp(by, "time") && strcmp(by, "count"))
			return cmd_usage_value("exits", arg, by, "must be time or count");
		a->weight = strcmp(by, "count") ? REPORT_BY_TIME : REPORT_BY_COUNT;
	} else if (arg[0] == '-') {
		return cmd_usage("exits", arg, "unknown option");
	} else if (a->name) {
		return cmd_usage("exits", arg, "one machine at a time");
	} else {
		a->name = arg;
	}
	return STATUS_OK;
}

int cmd_exits(int argc, char **argv)
{
	struct exits_args a = { .weight = REPORT_BY_TIME };
	struct report r = { 0 };
	struct err err = { "" };
	int ret, status;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(exits_usage, stdout);
			return cmd_written(0);
		}
		status = take_arg(&a, argc, argv, &i);
		if (status)
			return status;
	}
	if ((a.name != NULL) + (a.file != NULL) + (a.diff[0] != NULL) > 1)
		return cmd_usage("exits", NULL, "NAME, --file and --diff exclude each other");
	if (a.diff[0] && a.form != FORM_TABLE)
		return cmd_usage("exits", "--diff", "is a table only");
	if (a.diff[0])
		return show_diff(a.diff);

	ret = a.file ? report_load(a.file, &r, &err) : fetch_by_name(a.name, &r, &err);
	status = ret ? cmd_failed(&err, ret) : show(&r, &a);
	report_free(&r);
	return status;
}

/* --- bantam profile ----------------------------------------------------------- */

static int switch_profile(struct control_client *c, const char *word, struct err *err)
{
	cJSON *args = cJSON_CreateObject(), *result = NULL;
	bool clear = !strcmp(word, "reset");
	int ret = -ENOMEM;

	if (args &&
	    cJSON_AddBoolToObject(args, clear ? "clear" : "on", clear || !strcmp(word, "on")))
		ret = control_call(c, "profile", args, TIMEOUT_MS, &result, err);
	cJSON_Delete(args);
	cJSON_Delete(result);
	return ret;
}

static int print_profile(struct control_client *c, struct err *err, int *status)
{
	struct report r = { 0 };
	int ret = fetch(c, &r, err);

	if (ret)
		return ret;
	if (!r.profile.present) {
		log_error("%s: no profile yet; bantam profile %s on switches it on", r.name,
			  r.name);
		*status = STATUS_ERROR;
	} else {
		report_print_hot(&r, stdout, 0);
		*status = cmd_written(0);
	}
	report_free(&r);
	return 0;
}

static bool is_switch(const char *word)
{
	return !strcmp(word, "on") || !strcmp(word, "off") || !strcmp(word, "reset");
}

int cmd_profile(int argc, char **argv)
{
	const char *name = NULL, *word = NULL;
	struct control_client *c;
	struct err err = { "" };
	int ret, status = STATUS_OK;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(profile_usage, stdout);
			return cmd_written(0);
		}
		if (argv[i][0] == '-')
			return cmd_usage("profile", argv[i], "unknown option");
		if (i == argc - 1 && is_switch(argv[i]))
			word = argv[i];
		else if (!name)
			name = argv[i];
		else
			return cmd_usage("profile", argv[i], "must be on, off or reset");
	}
	ret = control_connect(name, &c, &err);
	if (ret)
		return cmd_failed(&err, ret);
	ret = word ? switch_profile(c, word, &err) : print_profile(c, &err, &status);
	control_close(c);
	return ret ? cmd_failed(&err, ret) : status;
}
