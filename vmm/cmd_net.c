/* SPDX-License-Identifier: MIT */
/* bantam info, bantam link: a running machine's network cards. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cmd.h"

#define MIB_F 1048576.0

static const char info_usage[] =
	"usage: bantam info [NAME] [--json]\n"
	"\n"
	"  What a running machine has, and what its network cards have moved: each pair of queues\n"
	"  with its frames and bytes, and the frames that were dropped, by why.\n";

static const char link_usage[] =
	"usage: bantam link [NAME] CARD up|down\n"
	"\n"
	"  Plugs the cable of a network card (net0, net1, ...) in or pulls it out.\n";

static bool is_true(const cJSON *o, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, key));
}

static void print_way(const cJSON *queue, const char *way)
{
	const cJSON *o = cJSON_GetObjectItemCaseSensitive(queue, way);

	printf("%s %.0f frames, %.0f bytes", way, cmd_number(o, "frames"), cmd_number(o, "bytes"));
}

static void print_queue(const cJSON *queue, unsigned number_of)
{
	const cJSON *dropped = cJSON_GetObjectItemCaseSensitive(queue, "dropped"), *drop;
	const char *before = "; dropped: ";

	printf("  queue %u: ", number_of);
	print_way(queue, "sent");
	printf("; ");
	print_way(queue, "received");
	cJSON_ArrayForEach(drop, dropped)
	{
		if (!cJSON_IsNumber(drop) || drop->valuedouble <= 0)
			continue;
		printf("%s%s %.0f", before, drop->string, drop->valuedouble);
		before = ", ";
	}
	putchar('\n');
}

static void print_card(const cJSON *net)
{
	const cJSON *queues = cJSON_GetObjectItemCaseSensitive(net, "queues"), *queue;
	unsigned i = 0;

	printf("%s: %s, mac=%s, link=%s", cmd_word(net, "name"), cmd_word(net, "backend"),
	       cmd_word(net, "mac"), is_true(net, "up") ? "up" : "down");
	if (cmd_number(net, "mtu") > 0)
		printf(", mtu=%.0f", cmd_number(net, "mtu"));
	printf("%s\n", is_true(net, "vhost") ? ", vhost-net moves its frames" : "");
	cJSON_ArrayForEach(queue, queues)
	{
		print_queue(queue, i++);
	}
}

static void print_info(const cJSON *info)
{
	const cJSON *nets = cJSON_GetObjectItemCaseSensitive(info, "nets"), *net;

	printf("%s: %.0f CPU%s, %.0fM of memory\n", cmd_word(info, "name"),
	       cmd_number(info, "cpus"), cmd_number(info, "cpus") > 1 ? "s" : "",
	       cmd_number(info, "memory") / MIB_F);
	cJSON_ArrayForEach(net, nets)
	{
		print_card(net);
	}
}

static int print_json(const cJSON *info)
{
	char *text = cJSON_Print(info);

	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

int cmd_info(int argc, char **argv)
{
	const char *name = NULL;
	cJSON *result = NULL;
	struct err err = { "" };
	bool json = false;
	int ret;

	if (cmd_wants_help(argc, argv))
		return cmd_print_help(info_usage);
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (argv[i][0] == '-')
			return cmd_usage("info", argv[i], "unknown option");
		else if (name)
			return cmd_usage("info", argv[i], "one machine at a time");
		else
			name = argv[i];
	}
	ret = cmd_call(name, "info", cJSON_CreateObject(), &result, &err);
	if (ret) {
		cJSON_Delete(result);
		return cmd_failed(&err, ret);
	}
	if (json)
		ret = print_json(result);
	else
		print_info(result);
	cJSON_Delete(result);
	return cmd_written(ret);
}

int cmd_link(int argc, char **argv)
{
	cJSON *args, *result = NULL;
	struct err err = { "" };
	bool up;
	int ret;

	if (cmd_wants_help(argc, argv))
		return cmd_print_help(link_usage);
	for (int i = 0; i < argc; i++)
		if (argv[i][0] == '-')
			return cmd_usage("link", argv[i], "unknown option");
	if (argc < 2 || argc > 3)
		return cmd_usage("link", NULL, "a card and a word are needed: net0 up, net0 down");
	up = !strcmp(argv[argc - 1], "up");
	if (!up && strcmp(argv[argc - 1], "down"))
		return cmd_usage("link", argv[argc - 1], "must be up or down");
	args = cJSON_CreateObject();
	if (!cJSON_AddStringToObject(args, "net", argv[argc - 2]) ||
	    !cJSON_AddBoolToObject(args, "up", up)) {
		cJSON_Delete(args);
		args = NULL;
	}
	ret = cmd_call(argc == 3 ? argv[0] : NULL, "link", args, &result, &err);
	cJSON_Delete(result);
	return ret ? cmd_failed(&err, ret) : STATUS_OK;
}
