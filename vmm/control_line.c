/* SPDX-License-Identifier: MIT */
#include "vmm/control_line.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Prints root, which may be NULL, and deletes it. */
static struct control_answer print(cJSON *root)
{
	struct control_answer a = { .text = root ? cJSON_PrintUnformatted(root) : NULL };

	if (a.text) {
		/* In the place of the string's end. */
		a.len = strlen(a.text);
		a.text[a.len++] = '\n';
	}
	cJSON_Delete(root);
	return a;
}

static struct control_answer failure(const char *why)
{
	cJSON *root = cJSON_CreateObject();

	if (!cJSON_AddBoolToObject(root, "ok", false) ||
	    !cJSON_AddStringToObject(root, "error", why)) {
		cJSON_Delete(root);
		root = NULL;
	}
	return print(root);
}

/* Takes result, NULL: null. */
static struct control_answer success(cJSON *result)
{
	cJSON *root = cJSON_CreateObject();
	struct control_answer a;

	if (!result)
		result = cJSON_CreateNull();
	if (!cJSON_AddBoolToObject(root, "ok", true) ||
	    !cJSON_AddItemToObject(root, "result", result)) {
		cJSON_Delete(result);
		cJSON_Delete(root);
		root = NULL;
	}
	a = print(root);
	if (a.len <= CONTROL_MAX_ANSWER)
		return a;
	cJSON_free(a.text);
	return failure("the answer is too long");
}

struct control_answer control_answer_refuse(const char *why)
{
	struct control_answer a = failure(why);

	a.close = true;
	return a;
}

struct control_answer control_answer_too_long(void)
{
	char why[80];

	snprintf(why, sizeof(why), "a request is one line of at most %d bytes",
		 CONTROL_MAX_REQUEST);
	return control_answer_refuse(why);
}

static struct control_answer unknown_verb(const struct control_verbs *verbs, const char *name)
{
	char why[512];
	size_t n = 0;

	/* Whoever prints the line shall not print what the client made of it. */
	for (; n < 32 && name[n]; n++)
		why[n] = (char)(name[n] > ' ' && name[n] <= '~' ? name[n] : '?');
	n += (size_t)snprintf(why + n, sizeof(why) - n, ": no such verb; there are:");
	for (size_t i = 0; i < verbs->nr && n < sizeof(why); i++)
		n += (size_t)snprintf(why + n, sizeof(why) - n, "%s %s", i ? "," : "",
				      verbs->list[i].name);
	return failure(why);
}

static struct control_answer call(const struct control_verbs *verbs, const char *name,
				  const cJSON *args)
{
	const struct control_verb *verb = NULL;
	struct err err = { "" };
	cJSON *result = NULL;
	int ret;

	for (size_t i = 0; i < verbs->nr && !verb; i++)
		if (!strcmp(verbs->list[i].name, name))
			verb = &verbs->list[i];
	if (!verb)
		return unknown_verb(verbs, name);
	ret = verb->fn(verbs->ctx, args, &result, &err);
	if (!ret)
		return success(result);
	cJSON_Delete(result);
	return failure(err.text[0] ? err.text : strerror(-ret));
}

struct control_answer control_answer_line(const struct control_verbs *verbs, char *line, size_t len)
{
	cJSON *request = NULL, *none = NULL;
	const cJSON *verb, *args;
	struct control_answer a;

	/* A string to the parser, and nothing behind its end that it would not see. */
	line[len] = '\0';
	if (strlen(line) == len)
		request = cJSON_ParseWithLengthOpts(line, len + 1, NULL, true);
	verb = cJSON_GetObjectItemCaseSensitive(request, "verb");
	args = cJSON_GetObjectItemCaseSensitive(request, "args");
	if (request && !args)
		args = none = cJSON_CreateObject();
	if (!cJSON_IsObject(request) || !cJSON_IsString(verb) || !cJSON_IsObject(args))
		a = control_answer_refuse("a request is {\"verb\": \"...\", \"args\": {...}}");
	else
		a = call(verbs, verb->valuestring, args);
	cJSON_Delete(none);
	cJSON_Delete(request);
	return a;
}
