/* SPDX-License-Identifier: MIT */
#include "vmm/cmd.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "vmm/control.h"
#include "vmm/report/report.h"

#define CALL_TIMEOUT_MS 10000

int cmd_usage(const char *command, const char *arg, const char *what)
{
	log_error("%s: %s%s%s; see bantam %s --help", command, arg ? arg : "", arg ? ": " : "",
		  what, command);
	return STATUS_USAGE;
}

int cmd_usage_value(const char *command, const char *option, const char *value, const char *what)
{
	log_error("%s: %s %.60s: %s; see bantam %s --help", command, option, value, what, command);
	return STATUS_USAGE;
}

int cmd_failed(const struct err *err, int ret)
{
	log_error("%s", err->text[0] ? err->text : strerror(-ret));
	return STATUS_ERROR;
}

int cmd_written(int ret)
{
	if (!ret && fflush(stdout))
		ret = -errno;
	if (!ret)
		return STATUS_OK;
	log_error("standard output: %s", strerror(-ret));
	return STATUS_ERROR;
}

bool cmd_wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

int cmd_print_help(const char *text)
{
	fputs(text, stdout);
	return cmd_written(0);
}

int cmd_call(const char *name, const char *verb, cJSON *args, cJSON **result, struct err *err)
{
	struct control_client *c;
	int ret = args ? control_connect(name, &c, err) : -ENOMEM;

	if (!ret) {
		ret = control_call(c, verb, args, CALL_TIMEOUT_MS, result, err);
		control_close(c);
	}
	cJSON_Delete(args);
	return ret;
}

double cmd_number(const cJSON *o, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

const char *cmd_word(const cJSON *o, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsString(item) ? item->valuestring : "?";
}

int cmd_die_by(int sig)
{
	sigset_t set;

	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return STATUS_ERROR;
}

int cmd_fetch_report(struct control_client *c, int timeout_ms, struct report *out, struct err *err)
{
	cJSON *json = NULL;
	int ret = control_call(c, "exits", NULL, timeout_ms, &json, err);

	if (!ret)
		ret = report_from_json(json, control_client_name(c), out, err);
	cJSON_Delete(json);
	return ret;
}
