/* SPDX-License-Identifier: MIT */
#include "backends/net/user_sockets.h"

#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 64

static const struct {
	uint8_t slirp;
	uint32_t epoll;
} event_bits[] = {
	{ SLIRP_POLL_IN, EPOLLIN },   { SLIRP_POLL_OUT, EPOLLOUT }, { SLIRP_POLL_PRI, EPOLLPRI },
	{ SLIRP_POLL_ERR, EPOLLERR }, { SLIRP_POLL_HUP, EPOLLHUP },
};

int user_sockets_init(struct user_sockets *s)
{
	*s = (struct user_sockets){ .epfd = epoll_create1(EPOLL_CLOEXEC) };
	return s->epfd < 0 ? -errno : 0;
}

void user_sockets_destroy(struct user_sockets *s)
{
	close(s->epfd);
	free(s->fds);
}

/* Room for that descriptor; NULL where there is no memory. */
static struct user_socket *reserve(struct user_sockets *s, int fd)
{
	if (fd >= s->nr_fds) {
		int nr = (int)align_up((uint64_t)fd + 1, BATCH);
		struct user_socket *fds = realloc(s->fds, (size_t)nr * sizeof(*fds));

		if (!fds)
			return NULL;
		memset(fds + s->nr_fds, 0, (size_t)(nr - s->nr_fds) * sizeof(*fds));
		s->fds = fds;
		s->nr_fds = nr;
	}
	return &s->fds[fd];
}

static int tell_kernel(struct user_sockets *s, int op, int fd, uint8_t events)
{
	struct epoll_event ev = { .data.fd = fd };

	for (size_t i = 0; i < ARRAY_SIZE(event_bits); i++)
		if (events & event_bits[i].slirp)
			ev.events |= event_bits[i].epoll;
	return epoll_ctl(s->epfd, op, fd, &ev) ? -errno : 0;
}

void user_sockets_begin(struct user_sockets *s)
{
	for (int fd = 0; fd < s->nr_fds; fd++)
		s->fds[fd].seen = false;
}

int user_sockets_add(int fd, int events, void *opaque)
{
	struct user_sockets *s = opaque;
	struct user_socket *sock = fd < 0 ? NULL : reserve(s, fd);
	int ret = 0;

	if (!sock)
		return -1;
	sock->seen = true;
	if (sock->asked == events)
		return fd;
	if (sock->asked)
		ret = tell_kernel(s, EPOLL_CTL_MOD, fd, (uint8_t)events);
	if (!sock->asked || ret == -ENOENT)
		ret = tell_kernel(s, EPOLL_CTL_ADD, fd, (uint8_t)events);
	sock->asked = ret ? 0 : (uint8_t)events;
	return fd;
}

void user_sockets_end(struct user_sockets *s)
{
	for (int fd = 0; fd < s->nr_fds; fd++)
		if (s->fds[fd].asked && !s->fds[fd].seen)
			user_sockets_forget(s, fd);
}

void user_sockets_clear(struct user_sockets *s)
{
	for (int fd = 0; fd < s->nr_fds; fd++)
		s->fds[fd].ready = 0;
}

void user_sockets_collect(struct user_sockets *s)
{
	struct epoll_event evs[BATCH];
	int n = epoll_wait(s->epfd, evs, BATCH, 0);

	user_sockets_clear(s);
	for (int i = 0; i < n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(event_bits); k++)
			if (evs[i].events & event_bits[k].epoll)
				s->fds[evs[i].data.fd].ready |= event_bits[k].slirp;
}

int user_sockets_ready(int idx, void *opaque)
{
	const struct user_sockets *s = opaque;

	return idx >= 0 && idx < s->nr_fds ? s->fds[idx].ready : 0;
}

void user_sockets_forget(struct user_sockets *s, int fd)
{
	if (fd < 0 || fd >= s->nr_fds)
		return;
	if (s->fds[fd].asked)
		(void)tell_kernel(s, EPOLL_CTL_DEL, fd, 0);
	s->fds[fd] = (struct user_socket){ 0 };
}
