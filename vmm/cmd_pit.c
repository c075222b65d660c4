/* SPDX-License-Identifier: MIT */
/* bantam pit: the dial of a running machine's timer. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/config.h"

static const char usage[] =
	"usage: bantam pit [NAME] "
	"[max-hz=N][,time=keep|dilate][,lost-ticks=catchup|delay|discard]\n"
	"\n"
	"  Changes how often the timer of a machine with --pit user ticks, and shows it.\n";

/* What was given becomes the request; what was not keeps a value that no key has. */
static cJSON *policy_to_json(const struct pit_policy *p)
{
	cJSON *o = cJSON_CreateObject();

	if (o && (p->max_hz == UINT_MAX || cJSON_AddNumberToObject(o, "max-hz", p->max_hz)) &&
	    (p->time == UINT_MAX || cJSON_AddStringToObject(o, "time", pit_time_words[p->time])) &&
	    (p->lost == UINT_MAX ||
	     cJSON_AddStringToObject(o, "lost-ticks", pit_lost_words[p->lost])))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static void print_state(const cJSON *o)
{
	printf("max-hz=%.0f,time=%s,lost-ticks=%s\n", cmd_number(o, "max-hz"), cmd_word(o, "time"),
	       cmd_word(o, "lost-ticks"));
	printf("asked %.2f Hz, raised %.0f, owed %.0f, dropped %.0f\n", cmd_number(o, "asked-hz"),
	       cmd_number(o, "raised"), cmd_number(o, "owed"), cmd_number(o, "dropped"));
}

static int call(const char *name, const struct pit_policy *policy, struct err *err)
{
	cJSON *args = policy_to_json(policy), *result = NULL;
	int ret = cmd_call(name, "pit", args, &result, err);

	if (!ret)
		print_state(result);
	cJSON_Delete(result);
	return ret;
}

int cmd_pit(int argc, char **argv)
{
	struct pit_policy policy = { UINT_MAX, UINT_MAX, UINT_MAX };
	const char *name = NULL;
	struct err err = { "" };
	int ret;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage, stdout);
			return cmd_written(0);
		}
		if (argv[i][0] == '-')
			return cmd_usage("pit", argv[i], "unknown option");
		if (i == argc - 1 && strchr(argv[i], '=')) {
			if (config_parse_pit_policy("policy", argv[i], &policy, &err))
				return cmd_usage("pit", NULL, err.text);
		} else if (!name) {
			name = argv[i];
		} else {
			return cmd_usage("pit", argv[i], "must be key=value,...");
		}
	}
	ret = call(name, &policy, &err);
	return ret ? cmd_failed(&err, ret) : cmd_written(0);
}
