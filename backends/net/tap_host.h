/* SPDX-License-Identifier: MIT */
/*
 * How a tap comes about (tap_host.c, tap_bridge.c): descriptors of /dev/net/tun that are attached to
 * one interface, with struct virtio_net_hdr before each frame. What goes wrong is told in one
 * line, with the command that mends it.
 */
#ifndef BACKENDS_NET_TAP_HOST_H
#define BACKENDS_NET_TAP_HOST_H

#include <net/if.h>

#include "backends/net/tap.h"

struct tap_host {
	char name[IFNAMSIZ];
	int fds[NET_MAX_QUEUES]; /* a queue each, not blocking */
	unsigned nr_fds;
	bool multi_queue;
	bool made; /* by us */
};

/* cfg->name, made where it is not there; with fds closed again after a failure, as those below. */
int tap_attach(struct tap_host *t, const struct tap_config *cfg, struct err *err) __must_check;

/* A new tap, joined to cfg->bridge; without the right to make one, by the helper of QEMU. */
int tap_join_bridge(struct tap_host *t, const struct tap_config *cfg, struct err *err) __must_check;

/* Those that somebody else has opened: checked. */
int tap_inherit(struct tap_host *t, const struct tap_config *cfg, struct err *err) __must_check;

void tap_close(struct tap_host *t);

/* Another queue of a new interface, name being a pattern. 0 or -errno. */
int tap_make(struct tap_host *t, const char *pattern, unsigned queues) __must_check;

/* Whose name and flags fd has; 0 or -errno. */
int tap_identify(int fd, struct ifreq *ifr) __must_check;

/* An ioctl about the interface of that name; 0 or -errno. */
int tap_ioctl(const char *name, unsigned long request, struct ifreq *ifr) __must_check;
int tap_set_mtu(const char *name, unsigned mtu) __must_check;
int tap_set_up(const char *name) __must_check;

/* "qemu-system-x86 (process 42)" for who has the tap open; "another process" if that is not seen. */
void tap_find_owner(const char *name, char *out, size_t size);

#endif
