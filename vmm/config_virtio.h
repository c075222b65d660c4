/* SPDX-License-Identifier: MIT */
/* The keys that virtio devices have in common, whatever they are. */
#ifndef VMM_CONFIG_VIRTIO_H
#define VMM_CONFIG_VIRTIO_H

#include "vmm/config.h"
#include "vmm/config_keys.h"

extern const char *const config_virtio_buses[];
extern const char *const config_virtio_kinships[];

/* Entries of a table of struct config_key: s has a struct virtio_options m. */
#define CONFIG_VIRTIO_KEYS(s, m)                                                          \
	{ "threads", offsetof(s, m.threads), NULL, 0, CONFIG_MAX_QUEUES, NULL },          \
		{ "poll", offsetof(s, m.poll), NULL, 0, 0, "auto|off|NS" },               \
		{ "ioeventfd", offsetof(s, m.no_ioeventfd), config_on_off, 0, 0, NULL },  \
		{ "bus", offsetof(s, m.bus), config_virtio_buses, 0, 0, NULL },           \
		{ "virtio", offsetof(s, m.kinship), config_virtio_kinships, 0, 0, NULL }, \
		{ "packed", offsetof(s, m.packed), config_off_on, 0, 0, NULL },           \
		{ "event-idx", offsetof(s, m.no_event_idx), config_on_off, 0, 0, NULL },  \
	{                                                                                 \
		"flr", offsetof(s, m.flr), config_off_on, 0, 0, NULL                      \
	}

/* Any of these keys has been given, with something that is not the default. */
bool config_virtio_any(const struct virtio_options *o);

/*
 * After the keys are read: sees that they go together, for a device that is not among cfg's yet and has
 * so many queues (0: it is not said), and fills in what follows from them; poll_ns is what it is with
 * poll=auto. 0, or -EINVAL with a line in err.
 */
int config_virtio_check(const struct config *cfg, struct virtio_options *o, unsigned queues,
			const char *option, struct err *err) __must_check;

#endif
