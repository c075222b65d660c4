/* SPDX-License-Identifier: MIT */
/*
 * bantam resize, bantam throttle, bantam resume: what is done to a running machine's disks, and how
 * its networks are throttled.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cmd.h"
#include "vmm/rates.h"

static const char resize_usage[] =
	"usage: bantam resize [NAME] DISK SIZE [--shrink]\n"
	"\n"
	"  Gives a virtio disk of a running machine another size, such as 20G, and tells its\n"
	"  guest. DISK is disk0, disk1, ... in the order of its command line. What lies behind a\n"
	"  smaller size is lost: --shrink says that this is meant.\n";

static const char throttle_usage[] =
	"usage: bantam throttle [NAME] DISK[,iops=N][,bps=SIZE][,iops-burst=N][,bps-burst=SIZE]\n"
	"       bantam throttle [NAME] CARD[,pps=N][,bps=SIZE]\n"
	"\n"
	"  Limits the requests and the bytes that a disk of a running machine takes a second; off\n"
	"  is no limit. After idling it takes as many at once as its burst says, 0 being what\n"
	"  comes in a tenth of a second. Of a network card it is frames and bytes, each way. What\n"
	"  is not named stays as it is; without any the limits are printed.\n";

static const char resume_usage[] =
	"usage: bantam resume [NAME]\n"
	"\n"
	"  Goes on with a machine that has stopped because of a disk with on-error=stop: the\n"
	"  requests that failed are tried again.\n";

/* Of up to max words the options are left out; -1: too many. */
static int words(int argc, char **argv, const char *option, bool *given, const char **out, int max)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (option && !strcmp(argv[i], option)) {
			*given = true;
			continue;
		}
		if (n == max)
			return -1;
		out[n++] = argv[i];
	}
	return n;
}

int cmd_resize(int argc, char **argv)
{
	const char *word[3], *name = NULL;
	cJSON *args, *result = NULL;
	struct err err = { "" };
	bool shrink = false;
	uint64_t size;
	int n, ret;

	if (cmd_wants_help(argc, argv))
		return cmd_print_help(resize_usage);
	n = words(argc, argv, "--shrink", &shrink, word, 3);
	for (int i = 0; i < n; i++)
		if (word[i][0] == '-')
			return cmd_usage("resize", word[i], "unknown option");
	if (n < 2)
		return cmd_usage("resize", NULL, "a disk and a size are needed");
	if (n == 3)
		name = word[0];
	if (util_parse_size(word[n - 1], &size) || !size || size % BLOCK_SECTOR)
		return cmd_usage("resize", word[n - 1],
				 "must be a size such as 20G, a multiple of 512");
	args = cJSON_CreateObject();
	if (!cJSON_AddStringToObject(args, "disk", word[n - 2]) ||
	    !cJSON_AddNumberToObject(args, "size", (double)size) ||
	    !cJSON_AddBoolToObject(args, "shrink", shrink)) {
		cJSON_Delete(args);
		args = NULL;
	}
	ret = cmd_call(name, "resize", args, &result, &err);
	cJSON_Delete(result);
	return ret ? cmd_failed(&err, ret) : STATUS_OK;
}

/* "iops=N" into args, a disk's rates or a network's. 0, or -errno with a line in err. */
static int add_rate(cJSON *args, bool net, char *text, struct err *err)
{
	const char *const *names = net ? net_rate_names : rate_names;
	unsigned nr = net ? NR_NET_RATES : NR_RATES;
	char *value = strchr(text, '=');
	uint64_t number;

	if (value)
		*value++ = '\0';
	for (unsigned i = 0; value && i < nr; i++) {
		if (strcmp(text, names[i]))
			continue;
		if (net ? net_rate_parse(i, "throttle:", value, &number, err)
			: rate_parse(i, "throttle:", value, &number, err))
			return -EINVAL;
		return cJSON_AddNumberToObject(args, text, (double)number) ? 0 : -ENOMEM;
	}
	return err_set(err, -EINVAL, "throttle: %.60s: must be one of: %s", text,
		       net ? "pps=N, bps=SIZE" : "iops=N, iops-burst=N, bps=SIZE, bps-burst=SIZE");
}

static int print_rates(const char *name, bool net, const cJSON *result)
{
	const char *const *names = net ? net_rate_names : rate_names;
	unsigned nr = net ? NR_NET_RATES : NR_RATES;

	printf("%s", name);
	for (unsigned i = 0; i < nr; i++) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(result, names[i]);
		uint64_t n = cJSON_IsNumber(item) ? (uint64_t)item->valuedouble : 0;

		if (n)
			printf(",%s=%" PRIu64, names[i], n);
		else if (net || i == RATE_IOPS || i == RATE_BPS)
			printf(",%s=off", names[i]);
	}
	putchar('\n');
	return cmd_written(0);
}

int cmd_throttle(int argc, char **argv)
{
	const char *word[2], *what, *name = NULL;
	cJSON *args, *result = NULL;
	struct err err = { "" };
	char text[256], *save = NULL;
	bool show = true, net;
	int n, ret, status = STATUS_OK;

	if (cmd_wants_help(argc, argv))
		return cmd_print_help(throttle_usage);
	n = words(argc, argv, NULL, NULL, word, 2);
	for (int i = 0; i < n; i++)
		if (word[i][0] == '-')
			return cmd_usage("throttle", word[i], "unknown option");
	if (n < 1)
		return cmd_usage("throttle", NULL,
				 "a disk or a card is needed, such as disk0 or net0");
	if (n == 2)
		name = word[0];
	if (strlen(word[n - 1]) >= sizeof(text))
		return cmd_usage("throttle", NULL, "the limits are too long");
	strcpy(text, word[n - 1]);
	what = strtok_r(text, ",", &save) ?: "";
	net = !strncmp(what, "net", 3);
	args = cJSON_CreateObject();
	ret = cJSON_AddStringToObject(args, net ? "net" : "disk", what) ? 0 : -ENOMEM;
	for (char *key; !ret && (key = strtok_r(NULL, ",", &save)); show = false)
		ret = add_rate(args, net, key, &err);
	if (ret) {
		cJSON_Delete(args);
		status = cmd_failed(&err, ret);
		return ret == -EINVAL ? STATUS_USAGE : status;
	}
	ret = cmd_call(name, "throttle", args, &result, &err);
	if (ret)
		status = cmd_failed(&err, ret);
	else if (show)
		status = print_rates(what, net, result);
	cJSON_Delete(result);
	return status;
}

int cmd_resume(int argc, char **argv)
{
	const char *name = NULL;
	cJSON *result = NULL;
	struct err err = { "" };
	int n, ret;

	if (cmd_wants_help(argc, argv))
		return cmd_print_help(resume_usage);
	n = words(argc, argv, NULL, NULL, &name, 1);
	if (n < 0)
		return cmd_usage("resume", argv[1], "one machine at a time");
	if (name && name[0] == '-')
		return cmd_usage("resume", name, "unknown option");
	ret = cmd_call(name, "resume", cJSON_CreateObject(), &result, &err);
	cJSON_Delete(result);
	return ret ? cmd_failed(&err, ret) : STATUS_OK;
}
