/* SPDX-License-Identifier: MIT */
/* Reports as files. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/report/views.h"

#define FILE_MAX (256 * MIB)

/* All of a file, a pipe too, with a NUL behind; *len without it. NULL: *ret is -errno. */
static char *read_all(int fd, size_t *len, int *ret)
{
	size_t room = 64 * KIB, used = 0;
	char *text = malloc(room + 1), *more;

	*ret = -ENOMEM;
	while (text) {
		ssize_t n = read(fd, text + used, room - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || used > FILE_MAX) {
			*ret = n < 0 ? -errno : -EFBIG;
			break;
		}
		used += (size_t)n;
		if (!n) {
			text[used] = '\0';
			*len = used;
			return text;
		}
		if (used < room)
			continue;
		room *= 2;
		more = realloc(text, room + 1);
		if (!more)
			break;
		text = more;
	}
	free(text);
	return NULL;
}

/* The line that text's parser stopped in. */
static unsigned line_of(const char *text, const char *end)
{
	unsigned line = 1;

	for (; text < end; text++)
		line += *text == '\n';
	return line;
}

static int parse(const char *text, size_t len, const char *path, struct report *out,
		 struct err *err)
{
	const char *end = text;
	cJSON *json;
	int ret;

	if (strspn(text, " \t\r\n") == len)
		return err_set(err, -EINVAL,
			       "%s: empty: wanted what 'bantam run --exits=FILE.json' writes",
			       path);
	json = cJSON_ParseWithLengthOpts(text, len + 1, &end, 1);
	if (!json)
		return err_set(
			err, -EINVAL,
			"%s: line %u: not JSON: wanted what 'bantam run --exits=FILE.json' writes",
			path, line_of(text, end));
	ret = report_from_json(json, path, out, err);
	cJSON_Delete(json);
	return ret;
}

static int refuse_file(const char *path, int ret, struct err *err)
{
	if (ret == -EISDIR)
		return err_set(err, ret, "%s: a folder, where an exit report is wanted", path);
	if (ret == -EFBIG)
		return err_set(err, ret, "%s: too big for an exit report (more than %llu MiB)",
			       path, FILE_MAX / MIB);
	return err_set(err, ret, "%s: %s", path, strerror(-ret));
}

int report_load(const char *path, struct report *out, struct err *err)
{
	char *text;
	size_t len = 0;
	int fd, ret;

	memset(out, 0, sizeof(*out));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refuse_file(path, -errno, err);
	text = read_all(fd, &len, &ret);
	close(fd);
	if (!text)
		return refuse_file(path, ret, err);
	ret = parse(text, len, path, out, err);
	free(text);
	return ret;
}

int report_write_json(const struct report *r, int fd)
{
	cJSON *root = report_to_json(r);
	char *text = root ? cJSON_Print(root) : NULL;
	int ret;

	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	ret = util_write_all(fd, text, strlen(text));
	if (!ret)
		ret = util_write_all(fd, "\n", 1);
	cJSON_free(text);
	return ret;
}
