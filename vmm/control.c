/* SPDX-License-Identifier: MIT */
/*
 * The server. A client is read from only while no answer waits for it, so what it costs is
 * one request and one answer, however slow it is and whatever it sends; and one event
 * does one request, so nobody keeps the others waiting for more than that.
 */
#include "vmm/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control_line.h"
#include "vmm/control_path.h"

struct client {
	struct control *owner;
	struct client *next;
	struct loop_src src;
	uint32_t events; /* waited for */
	bool ended; /* it sends no more */
	struct control_answer answer; /* text NULL: none waits */
	size_t sent; /* of it */
	size_t len;
	char in[CONTROL_MAX_REQUEST + 1]; /* with its line break */
};

struct control {
	struct loop *loop;
	struct control_dir dir;
	struct control_socket socket;
	char name[CONTROL_NAME_MAX + 1];
	uid_t uid; /* who may talk to us, beside root */
	struct control_verbs verbs;
	struct loop_src listener;
	struct client *clients; /* the loop's thread */
	unsigned nr_clients;
};

/* --- a client --------------------------------------------------------------------- */

static void client_free(struct client *cl)
{
	close(cl->src.fd);
	free(cl->answer.text);
	free(cl);
}

static void client_drop(struct client *cl)
{
	struct control *c = cl->owner;

	for (struct client **p = &c->clients; *p; p = &(*p)->next) {
		if (*p == cl) {
			*p = cl->next;
			break;
		}
	}
	c->nr_clients--;
	/* Closing would do, were there not a fork somewhere that has it open for a moment. */
	loop_del(c->loop, &cl->src);
	client_free(cl);
}

static char *line_end(struct client *cl)
{
	return memchr(cl->in, '\n', cl->len);
}

/* True while the connection is good, like those below. */
static bool client_read(struct client *cl)
{
	ssize_t n = recv(cl->src.fd, cl->in + cl->len, sizeof(cl->in) - cl->len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	cl->ended = !n;
	cl->len += (size_t)n;
	return true;
}

static bool client_answer(struct client *cl)
{
	char *end = line_end(cl);

	if (cl->answer.text)
		return true;
	if (end) {
		size_t line = (size_t)(end - cl->in);

		cl->answer = control_answer_line(&cl->owner->verbs, cl->in, line);
		cl->len -= line + 1;
		memmove(cl->in, end + 1, cl->len);
	} else if (cl->len == sizeof(cl->in)) {
		cl->answer = control_answer_too_long();
	} else {
		return !cl->ended;
	}
	cl->sent = 0;
	return cl->answer.text;
}

static bool client_write(struct client *cl)
{
	struct control_answer *a = &cl->answer;
	ssize_t n;

	if (!a->text)
		return true;
	n = send(cl->src.fd, a->text + cl->sent, a->len - cl->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	cl->sent += (size_t)n;
	if (cl->sent < a->len)
		return true;
	free(a->text);
	a->text = NULL;
	return !a->close;
}

/* A request that is here already is answered when there is room for its answer. */
static void client_wait(struct client *cl)
{
	uint32_t events = cl->answer.text || line_end(cl) ? EPOLLOUT : EPOLLIN;

	if (events != cl->events)
		loop_mod(cl->owner->loop, &cl->src, events);
	cl->events = events;
}

static void on_client(void *opaque, uint32_t events)
{
	struct client *cl = opaque;
	bool good = !(events & (EPOLLERR | EPOLLHUP));

	if (good && events & EPOLLIN)
		good = client_read(cl);
	if (good && client_answer(cl) && client_write(cl))
		client_wait(cl);
	else
		client_drop(cl);
}

/* --- the listener ----------------------------------------------------------------- */

static bool is_allowed(const struct control *c, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (peer.uid == c->uid || !peer.uid);
}

/* Says why in so far as there is room for it. */
static void refuse(int fd, const char *why)
{
	struct control_answer a = control_answer_refuse(why);

	if (a.text)
		(void)!send(fd, a.text, a.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	free(a.text);
	close(fd);
}

static void add_client(struct control *c, int fd)
{
	struct client *cl;

	if (!is_allowed(c, fd)) {
		refuse(fd, "this machine belongs to another user");
		return;
	}
	if (c->nr_clients == CONTROL_MAX_CLIENTS) {
		refuse(fd, "too many clients");
		return;
	}
	cl = calloc(1, sizeof(*cl));
	if (!cl) {
		refuse(fd, "out of memory");
		return;
	}
	cl->owner = c;
	cl->src = (struct loop_src){ fd, on_client, cl };
	cl->events = EPOLLIN;
	if (loop_add(c->loop, &cl->src, EPOLLIN)) {
		client_free(cl);
		return;
	}
	cl->next = c->clients;
	c->clients = cl;
	c->nr_clients++;
}

/*
 * Edge-triggered, one client an event: armed again after each that was taken. One that
 * cannot be (too many open files) waits until the next comes, and does not keep us busy.
 */
#define LISTEN_EVENTS (EPOLLIN | EPOLLET)

static void on_connect(void *opaque, uint32_t events)
{
	struct control *c = opaque;
	int fd = accept4(c->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	add_client(c, fd);
	loop_mod(c->loop, &c->listener, LISTEN_EVENTS);
}

int control_serve(struct loop *loop, const char *name, const struct control_verb *verbs,
		  size_t nr_verbs, void *ctx, struct control **out, struct err *err)
{
	struct control *c;
	int ret;

	if (!control_name_ok(name))
		return err_set(err, -EINVAL, "%s: cannot be a machine's name", name);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	c->loop = loop;
	c->uid = geteuid();
	c->verbs = (struct control_verbs){ verbs, nr_verbs, ctx };
	snprintf(c->name, sizeof(c->name), "%s", name);
	ret = control_dir_open(&c->dir, true, err);
	if (ret)
		goto free_control;
	ret = control_dir_bind(&c->dir, name, &c->socket, err);
	if (ret)
		goto close_dir;
	c->listener = (struct loop_src){ c->socket.fd, on_connect, c };
	*out = c;
	ret = loop_add(loop, &c->listener, LISTEN_EVENTS);
	if (ret) {
		err_set(err, ret, "cannot wait for clients: %s", strerror(-ret));
		goto unbind;
	}
	return 0;
unbind:
	*out = NULL;
	control_dir_unbind(&c->dir, name, &c->socket);
close_dir:
	control_dir_close(&c->dir);
free_control:
	free(c);
	return ret;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	/* The loop may be gone; where it is not, closing takes a descriptor out of it. */
	control_dir_unbind(&c->dir, c->name, &c->socket);
	while (c->clients) {
		struct client *cl = c->clients;

		c->clients = cl->next;
		client_free(cl);
	}
	control_dir_close(&c->dir);
	free(c);
}
