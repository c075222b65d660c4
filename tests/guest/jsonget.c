/* SPDX-License-Identifier: MIT */
/*
 * Prints a value out of a JSON file for the test scripts:
 *
 *	jsonget FILE KEY.KEY...		a key of an object, or an index of an array
 *
 * An object or array prints as its length. Exit status 1: no JSON, or no such value.
 */
#include <cjson/cJSON.h>
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

static cJSON *find(cJSON *item, char *path)
{
	for (char *key = strtok(path, "."); key && item; key = strtok(NULL, "."))
		item = cJSON_IsArray(item) ? cJSON_GetArrayItem(item, atoi(key))
					   : cJSON_GetObjectItemCaseSensitive(item, key);
	return item;
}

int main(int argc, char **argv)
{
	char *text;
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
	item = find(root, argv[2]);
	if (cJSON_IsNumber(item))
		printf("%.0f\n", item->valuedouble);
	else if (cJSON_IsString(item))
		printf("%s\n", item->valuestring);
	else if (item)
		printf("%d\n", cJSON_GetArraySize(item));
	cJSON_Delete(root);
	free(text);
	return item ? 0 : 1;
}
