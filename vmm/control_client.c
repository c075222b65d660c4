/* SPDX-License-Identifier: MIT */
#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/control_line.h"
#include "vmm/control_path.h"

struct control_client {
	int fd; /* -1 once an answer did not come: a late one would be taken for the next */
	char name[CONTROL_NAME_MAX + 1];
};

/* --- who is there ----------------------------------------------------------------- */

/* As control_dir_names(), with a line; a folder that nobody has made yet holds nobody. */
static int list_names(struct control_name **names, size_t *nr, struct err *err)
{
	struct control_dir dir;
	int ret = control_dir_open(&dir, false, err);

	*names = NULL;
	*nr = 0;
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	ret = control_dir_names(&dir, names, nr);
	if (ret)
		err_set(err, ret, "%s: %s", dir.path, strerror(-ret));
	control_dir_close(&dir);
	return ret;
}

int control_list(void (*fn)(void *ctx, const char *name), void *ctx, struct err *err)
{
	struct control_name *names;
	size_t nr;
	int ret = list_names(&names, &nr, err);

	for (size_t i = 0; i < nr; i++)
		fn(ctx, names[i].text);
	free(names);
	return ret;
}

/* Ends a line with the names there are: as many as it has room for. */
static int say_names(const struct control_name *names, size_t nr, int ret, const char *what,
		     struct err *err)
{
	char list[256];
	size_t n = 0;

	list[0] = '\0';
	for (size_t i = 0; i < nr && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s %s", i ? "," : "",
				      names[i].text);
	return err_set(err, ret, "%s%s%s%s", what, nr ? ":" : "", list,
		       n < sizeof(list) ? "" : " ...");
}

static int find_only(char name[CONTROL_NAME_MAX + 1], struct err *err)
{
	struct control_name *names;
	size_t nr;
	int ret = list_names(&names, &nr, err);

	if (!ret && nr == 1)
		memcpy(name, names[0].text, sizeof(names[0].text));
	else if (!ret && !nr)
		ret = err_set(err, -ENOENT, "no machine is running");
	else if (!ret)
		ret = say_names(names, nr, -ENOTUNIQ, "several machines are running; name one of",
				err);
	free(names);
	return ret;
}

static int no_such_machine(const char *name, struct err *err)
{
	struct control_name *names;
	char what[CONTROL_NAME_MAX + 80];
	size_t nr;
	int ret = list_names(&names, &nr, err);

	if (ret)
		return ret;
	snprintf(what, sizeof(what), "%s: no machine of that name is running%s", name,
		 nr ? "; there are" : "");
	ret = say_names(names, nr, -ENOENT, what, err);
	free(names);
	return ret;
}

static int connect_to(const char *name, struct err *err)
{
	struct control_dir dir;
	int fd = control_dir_open(&dir, false, err);

	if (fd == -ENOENT)
		return no_such_machine(name, err);
	if (fd)
		return fd;
	fd = control_dir_connect(&dir, name);
	control_dir_close(&dir);
	if (fd == -ENOENT)
		return no_such_machine(name, err);
	if (fd < 0)
		return err_set(err, fd, "%s: cannot reach it: %s", name,
			       fd == -EAGAIN ? "it does not answer" : strerror(-fd));
	return fd;
}

int control_connect(const char *name, struct control_client **out, struct err *err)
{
	struct control_client *c = calloc(1, sizeof(*c));
	int ret = 0;

	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	if (!name)
		ret = find_only(c->name, err);
	else if (control_name_ok(name))
		snprintf(c->name, sizeof(c->name), "%s", name);
	else
		ret = err_set(err, -EINVAL, "%s: cannot be a machine's name", name);
	if (!ret) {
		c->fd = connect_to(c->name, err);
		ret = c->fd < 0 ? c->fd : 0;
	}
	if (ret) {
		free(c);
		return ret;
	}
	*out = c;
	return 0;
}

const char *control_client_name(const struct control_client *c)
{
	return c->name;
}

void control_close(struct control_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

/* --- a request and its answer ------------------------------------------------------ */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (!n)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* The request's line, on the heap, not a string. 0 or -errno. */
static int make_request(const char *verb, const cJSON *args, char **line, size_t *len)
{
	cJSON *root = cJSON_CreateObject(), *copy = args ? cJSON_Duplicate(args, true) : NULL;

	*line = NULL;
	if (cJSON_AddStringToObject(root, "verb", verb) &&
	    (!args || cJSON_AddItemToObject(root, "args", copy))) {
		copy = NULL;
		*line = cJSON_PrintUnformatted(root);
	}
	cJSON_Delete(copy);
	cJSON_Delete(root);
	if (!*line)
		return -ENOMEM;
	*len = strlen(*line);
	if (*len > CONTROL_MAX_REQUEST) {
		free(*line);
		return -E2BIG;
	}
	(*line)[(*len)++] = '\n';
	return 0;
}

static int send_request(int fd, const char *line, size_t len, int64_t deadline)
{
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, line + sent, len - sent, MSG_NOSIGNAL);
		int ret = n < 0 ? -errno : 0;

		if (n > 0)
			sent += (size_t)n;
		if (ret == -EAGAIN)
			ret = wait_for(fd, POLLOUT, deadline);
		if (ret && ret != -EINTR)
			return ret;
	}
	return 0;
}

struct text {
	char *buf;
	size_t len, room;
};

static int grow(struct text *t)
{
	size_t room = t->room ? t->room * 2 : 64 * KIB;
	char *buf = realloc(t->buf, room);

	if (!buf)
		return -ENOMEM;
	t->buf = buf;
	t->room = room;
	return 0;
}

/* Reads up to a line break, which is left out. */
static int receive_line(int fd, struct text *t, int64_t deadline)
{
	for (;;) {
		const char *end;
		ssize_t n;
		int ret = t->len < t->room ? 0 : grow(t);

		if (!ret)
			ret = wait_for(fd, POLLIN, deadline);
		if (ret)
			return ret;
		n = recv(fd, t->buf + t->len, t->room - t->len, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return !n || errno == ECONNRESET ? -EPIPE : -errno;
		end = memchr(t->buf + t->len, '\n', (size_t)n);
		t->len += (size_t)n;
		if (end && end + 1 != t->buf + t->len)
			return -EPROTO;
		if (t->len > CONTROL_MAX_ANSWER)
			return -EPROTO;
		if (end) {
			t->len--;
			return 0;
		}
	}
}

/* The answer's result, or the machine's line. */
static int take_answer(const struct control_client *c, const struct text *t, cJSON **result,
		       struct err *err)
{
	cJSON *root = cJSON_ParseWithLength(t->buf, t->len);
	const cJSON *ok = cJSON_GetObjectItemCaseSensitive(root, "ok");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
	int ret = -EPROTO;

	if (cJSON_IsTrue(ok)) {
		*result = cJSON_DetachItemFromObjectCaseSensitive(root, "result");
		if (cJSON_IsNull(*result)) {
			cJSON_Delete(*result);
			*result = NULL;
		}
		ret = 0;
	} else if (cJSON_IsFalse(ok) && cJSON_IsString(error)) {
		ret = err_set(err, -EREMOTEIO, "%s: %s", c->name, error->valuestring);
	}
	cJSON_Delete(root);
	return ret;
}

/* Gives the connection up: whatever came next would not be what was asked for. */
static int lose(struct control_client *c, int ret, struct err *err)
{
	close(c->fd);
	c->fd = -1;
	switch (ret) {
	case -EPIPE:
		return err_set(err, ret, "%s: the machine has ended", c->name);
	case -ETIMEDOUT:
		return err_set(err, ret, "%s: the machine does not answer", c->name);
	case -EPROTO:
		return err_set(err, ret, "%s: the machine answers nonsense", c->name);
	default:
		return err_set(err, ret, "%s: %s", c->name, strerror(-ret));
	}
}

int control_call(struct control_client *c, const char *verb, const struct cJSON *args,
		 int timeout_ms, struct cJSON **result, struct err *err)
{
	int64_t deadline = now_ms() + timeout_ms;
	struct text answer = { 0 };
	char *line;
	size_t len;
	int ret;

	*result = NULL;
	if (c->fd < 0)
		return err_set(err, -EPIPE, "%s: the connection is lost", c->name);
	ret = make_request(verb, args, &line, &len);
	if (ret)
		return err_set(err, ret, "%s: %s: %s", c->name, verb, strerror(-ret));
	ret = send_request(c->fd, line, len, deadline);
	free(line);
	/* Who closes on us may have said why. */
	if (!ret || ret == -EPIPE || ret == -ECONNRESET)
		ret = receive_line(c->fd, &answer, deadline);
	if (!ret)
		ret = take_answer(c, &answer, result, err);
	free(answer.buf);
	return !ret || ret == -EREMOTEIO ? ret : lose(c, ret, err);
}
