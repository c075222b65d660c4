/* SPDX-License-Identifier: MIT */
/*
 * Prints a value out of a JSON file for the test scripts:
 *
 *	jsonget FILE KEY.KEY...		a key of an object, or an index of an array
 *
 * A key "name=value" is the first element of an array whose member is that; several of
 * them are separated by commas: ports.address=0x80,direction=out.count
 * ARRAY.*.MEMBER is the sum over all of an array's elements.
 *
 * An object or array prints as its length. Exit status 1: no JSON, or no such value.
 */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;
	ssize_t n;

	if (!f)
		return NULL;
	/* Up to a NUL, which JSON text does not have. */
	n = getdelim(&text, &len, '\0', f);
	fclose(f);
	if (n < 0) {
		free(text);
		return NULL;
	}
	return text;
}

static bool has(const cJSON *item, const char *member, const char *want)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, member);
	char number[32];

	if (cJSON_IsString(value))
		return !strcmp(value->valuestring, want);
	if (!cJSON_IsNumber(value))
		return false;
	snprintf(number, sizeof(number), "%.0f", value->valuedouble);
	return !strcmp(number, want);
}

/* Whether item has all of "name=value,name=value". */
static bool matches(const cJSON *item, const char *words)
{
	char copy[256], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", words);
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (!value)
			return false;
		*value++ = '\0';
		if (!has(item, word, value))
			return false;
	}
	return true;
}

static cJSON *element(cJSON *array, const char *key)
{
	cJSON *item;

	if (!strchr(key, '='))
		return cJSON_GetArrayItem(array, atoi(key));
	cJSON_ArrayForEach(item, array) if (matches(item, key)) return item;
	return NULL;
}

static cJSON *find(cJSON *item, char *path)
{
	for (char *key = strtok(path, "."); key && item; key = strtok(NULL, "."))
		item = cJSON_IsArray(item) ? element(item, key)
					   : cJSON_GetObjectItemCaseSensitive(item, key);
	return item;
}

/* The sum of member over the elements of the array that path leads to. */
static double sum(cJSON *root, char *path, const char *member)
{
	const cJSON *array = find(root, path), *item;
	double total = 0;

	cJSON_ArrayForEach(item, array)
	{
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, member);

		total += cJSON_IsNumber(value) ? value->valuedouble : 0;
	}
	return total;
}

int main(int argc, char **argv)
{
	char *text, *star;
	cJSON *root, *item;
	const char *end;

	if (argc != 3) {
		fprintf(stderr, "usage: jsonget FILE KEY.KEY...\n");
		return 2;
	}
	text = read_all(argv[1]);
	root = text ? cJSON_ParseWithOpts(text, &end, 1) : NULL;
	if (!root) {
		fprintf(stderr, "jsonget: %s: no JSON\n", argv[1]);
		free(text);
		return 1;
	}
	star = strstr(argv[2], ".*.");
	if (star) {
		*star = '\0';
		printf("%.0f\n", sum(root, argv[2], star + 3));
		cJSON_Delete(root);
		free(text);
		return 0;
	}
	item = find(root, argv[2]);
	if (cJSON_IsNumber(item))
		printf("%.0f\n", item->valuedouble);
	else if (cJSON_IsString(item))
		printf("%s\n", item->valuestring);
	else if (cJSON_IsBool(item))
		printf("%s\n", cJSON_IsTrue(item) ? "true" : "false");
	else if (item)
		printf("%d\n", cJSON_GetArraySize(item));
	cJSON_Delete(root);
	free(text);
	return item ? 0 : 1;
}
