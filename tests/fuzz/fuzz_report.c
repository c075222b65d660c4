/* SPDX-License-Identifier: MIT */
/*
 * A hostile report: read, shown in every view, written and read again, which must change
 * nothing. No view may let anything but printable ASCII through.
 *
 * Input: with a first byte of 0 the rest is the JSON text. Otherwise it changes a good
 * report's JSON: three bytes name a value (two, by its place in the tree) and what is done to it;
 * a string and a number take what follows.
 */
#include <cjson/cJSON.h>

#include "tests/unit/report_sample.h"

#define MAX_CHANGES 16

struct input {
	const uint8_t *data;
	size_t left;
};

static void check(bool right)
{
	if (!right)
		abort();
}

static unsigned take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

/* --- a good report with changes ------------------------------------------------------ */

/* The n-th value below *parent, which becomes the one that has it; n is counted down. */
static cJSON *find(cJSON **parent, unsigned *n)
{
	cJSON *item;

	cJSON_ArrayForEach(item, *parent)
	{
		cJSON *below = item, *found;

		if (!(*n)--)
			return item;
		found = find(&below, n);
		if (!found)
			continue;
		*parent = below;
		return found;
	}
	return NULL;
}

static cJSON *some_string(struct input *in)
{
	char text[160];
	unsigned len = take(in) % sizeof(text);

	for (unsigned i = 0; i < len; i++)
		text[i] = (char)take(in);
	text[len] = '\0';
	return cJSON_CreateString(text);
}

static cJSON *some_number(struct input *in)
{
	static const double numbers[] = {
		0,
		1,
		-1,
		0.5,
		3,
		8,
		1e15,
		9007199254740993.0,
		18446744073709549568.0,
		18446744073709551616.0,
		1e300,
	};

	return cJSON_CreateNumber(numbers[take(in) % ARRAY_SIZE(numbers)]);
}

static cJSON *some_value(struct input *in, unsigned kind, const cJSON *old)
{
	switch (kind) {
	case 0:
		return cJSON_CreateNull();
	case 1:
		return cJSON_CreateTrue();
	case 2:
		return cJSON_CreateArray();
	case 3:
		return cJSON_CreateObject();
	case 4:
		return some_string(in);
	case 5:
		return cJSON_Duplicate(old, 1);
	default:
		return some_number(in);
	}
}

/* Puts another value into the place of one, or behind it, or takes it away. */
static void change(cJSON *root, struct input *in)
{
	unsigned n = take(in) | take(in) << 8, what = take(in);
	cJSON *parent = root, *place = find(&parent, &n), *value;

	if (!place)
		return;
	if (what & 0x80) {
		cJSON_Delete(cJSON_DetachItemViaPointer(parent, place));
		return;
	}
	value = some_value(in, what & 7, place);
	check(value);
	if (cJSON_IsArray(parent) && what & 0x40)
		cJSON_AddItemToArray(parent, value);
	else if (cJSON_IsArray(parent))
		cJSON_ReplaceItemViaPointer(parent, place, value);
	else if (what & 0x40)
		cJSON_AddItemToObject(parent, what & 0x20 ? "\x1b[2J;<\"&>" : place->string, value);
	else
		cJSON_ReplaceItemInObjectCaseSensitive(parent, place->string, value);
}

static cJSON *changed_report(struct input *in)
{
	struct report r;
	cJSON *root;

	report_sample(&r);
	root = report_to_json(&r);
	check(root);
	report_free(&r);
	for (unsigned i = 0; i < MAX_CHANGES && in->left; i++)
		change(root, in);
	return root;
}

/* --- what is done with it ------------------------------------------------------------- */

static void view_hot(const struct report *r, FILE *out)
{
	report_print_hot(r, out, 3);
}

static void view_diff(const struct report *r, FILE *out)
{
	report_print_diff(r, "a\x1b", r, "b", out);
}

static void view_folded(const struct report *r, FILE *out)
{
	check(!report_print_folded(r, REPORT_BY_COUNT, out));
	check(!report_print_folded(r, REPORT_BY_TIME, out));
}

static void view_svg(const struct report *r, FILE *out)
{
	check(!report_print_svg(r, REPORT_BY_COUNT, out));
	check(!report_print_svg(r, REPORT_BY_TIME, out));
}

static void look(const struct report *r)
{
	void (*const views[])(const struct report *r, FILE *out) = {
		report_print, view_hot, view_diff, view_folded, view_svg,
	};

	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		char *text = report_text(views[i], r);

		for (const char *p = text; *p; p++)
			check(*p == '\n' || (*p >= ' ' && *p <= '~'));
		free(text);
	}
}

static char *text_of(const struct report *r)
{
	cJSON *json = report_to_json(r);
	char *text = cJSON_PrintUnformatted(json);

	check(json && text);
	cJSON_Delete(json);
	return text;
}

static void write_and_read(const struct report *r)
{
	char *text = text_of(r), *text_again;
	cJSON *json = cJSON_Parse(text);
	struct report again, none;
	struct err err;

	check(!report_from_json(json, "again", &again, &err));
	cJSON_Delete(json);
	text_again = text_of(&again);
	check(!strcmp(text, text_again));
	free(text);
	free(text_again);
	check(!report_delta(&again, r, &none));
	check(none.wall_ns == 0 && none.nr_cpus == r->nr_cpus);
	look(&none);
	report_free(&none);
	report_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct err err = { "" };
	struct report r;
	cJSON *json;
	int ret;

	json = take(&in) ? changed_report(&in)
			 : cJSON_ParseWithLength((const char *)in.data, in.left);
	if (!json)
		return 0;
	ret = report_from_json(json, "fuzz", &r, &err);
	cJSON_Delete(json);
	check(!ret == !err.text[0] && !strchr(err.text, '\x1b'));
	if (!ret) {
		look(&r);
		write_and_read(&r);
	}
	report_free(&r);
	return 0;
}
