/* SPDX-License-Identifier: MIT */
/*
 * The commands beside run, and what they share. argv begins after the command's word;
 * what comes back is the exit status. Whatever goes wrong has been said by then, in one
 * line on standard error.
 */
#ifndef VMM_CMD_H
#define VMM_CMD_H

#include <cjson/cJSON.h>

#include "base/err.h"

enum { STATUS_OK, STATUS_ERROR, STATUS_USAGE, STATUS_CRASHED };

int cmd_list(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_exits(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_throttle(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_pit(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_link(int argc, char **argv);

/* Says what is wrong with arg (NULL: nothing to name) and where help is; STATUS_USAGE. */
int cmd_usage(const char *command, const char *arg, const char *what);

/* The same of an option's value. */
int cmd_usage_value(const char *command, const char *option, const char *value, const char *what);

/* Says err's line, or what -errno ret means where it has none; STATUS_ERROR. */
int cmd_failed(const struct err *err, int ret);

/*
 * What was asked for has not been said unless it has been written: flushes standard output.
 * ret: what writing it has come to so far, 0 or -errno. STATUS_OK or STATUS_ERROR.
 */
int cmd_written(int ret);

/* Whether --help or -h is among the words; and prints a command's help: STATUS_OK or STATUS_ERROR. */
bool cmd_wants_help(int argc, char **argv);
int cmd_print_help(const char *text);

/*
 * One call to the machine of that name; NULL: the only one. Takes args, NULL: there was no memory for
 * them. 0 with its answer in *result, the caller's to delete, or -errno and err.
 */
int cmd_call(const char *name, const char *verb, cJSON *args, cJSON **result,
	     struct err *err) __must_check;

/* Of an answer: the number of that name, or 0; the word, or "?". */
double cmd_number(const cJSON *o, const char *key);
const char *cmd_word(const cJSON *o, const char *key);

/* Ends the process as sig does when nobody handles it, so that the parent sees it. */
int cmd_die_by(int sig);

struct control_client;
struct report;

/* The report of a running machine; report_free() after success. 0, or -errno and a line. */
int cmd_fetch_report(struct control_client *c, int timeout_ms, struct report *out,
		     struct err *err) __must_check;

#endif
