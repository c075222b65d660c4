/* SPDX-License-Identifier: MIT */
/*
 * Requests of the control socket: lines of anything. Each gets one line of JSON that
 * says whether all is well, and only what is no request ends the connection.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control_line.h"

static int verb_echo(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	(void)ctx;
	(void)err;
	if (!cJSON_IsObject(args))
		abort();
	*result = cJSON_Duplicate(args, true);
	return *result ? 0 : -ENOMEM;
}

static int verb_fail(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	(void)ctx;
	(void)args;
	*result = cJSON_CreateArray();
	return err_set(err, -EINVAL, "\"no\"\n");
}

static const struct control_verb verbs[] = { { "echo", verb_echo }, { "fail", verb_fail } };

static void check(const struct control_answer *a)
{
	cJSON *answer, *ok, *error;

	if (!a->text || !a->len || a->len > CONTROL_MAX_ANSWER || memchr(a->text, '\0', a->len) ||
	    memchr(a->text, '\n', a->len) != a->text + a->len - 1)
		abort();
	answer = cJSON_ParseWithLength(a->text, a->len);
	ok = cJSON_GetObjectItemCaseSensitive(answer, "ok");
	error = cJSON_GetObjectItemCaseSensitive(answer, "error");
	if (!cJSON_IsBool(ok) || (cJSON_IsTrue(ok) && a->close) ||
	    cJSON_IsFalse(ok) != cJSON_IsString(error))
		abort();
	cJSON_Delete(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct control_verbs v = { verbs, ARRAY_SIZE(verbs), NULL };

	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = min_u64(end ? (size_t)(end - data) : size, CONTROL_MAX_REQUEST);
		struct control_answer a;
		char *line = malloc(len + 1); /* its own, so that its end is its end */

		if (!line)
			abort();
		memcpy(line, data, len);
		a = control_answer_line(&v, line, len);
		check(&a);
		free(a.text);
		free(line);
		len += end && data + len == end;
		data += len;
		size -= len;
	}
	return 0;
}
