/* SPDX-License-Identifier: MIT */
#include "tests/unit/tap_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/net/tap_host.h"

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Why there cannot be a network of our own with taps; NULL: there is one. */
static const char *enter_namespace(void)
{
	uid_t uid = getuid();
	char map[32];
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return "this host lets us have no network namespace";
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	if (uid &&
	    (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map)))
		return "this host lets us have no user namespace";
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "/dev/net/tun cannot be opened";
	close(fd);
	return tap_set_up("lo") ? "its network cannot be set up" : NULL;
}

bool tap_rig_enter(void)
{
	const char *why = enter_namespace();

	if (why)
		printf("1..1\nok 1 - taps # SKIP %s\n", why);
	return !why;
}

bool tap_rig_is_there(const char *name)
{
	return if_nametoindex(name) != 0;
}

int tap_rig_open_fd(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

struct net *tap_rig_open(const struct tap_config *cfg)
{
	struct err err = { "" };
	struct net *net = NULL;

	if (tap_open(cfg, &net, &err))
		fail_msg("%s", err.text);
	return net;
}

int tap_rig_packet(const char *name, uint16_t type, bool header)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(type),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	const struct timeval limit = { .tv_sec = TAP_RIG_WAIT / 1000 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type)), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (header)
		assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	return fd;
}

size_t tap_rig_frame(uint8_t *frame, size_t len, uint8_t seed)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	frame[12] = TAP_RIG_TYPE >> 8;
	frame[13] = TAP_RIG_TYPE & 0xff;
	for (size_t i = 14; i < len; i++)
		frame[i] = (uint8_t)(seed + i);
	return len;
}

const struct net_host_frame *tap_rig_take(struct net_host *h)
{
	const struct net_host_frame *f;

	do
		f = net_host_take(h, TAP_RIG_WAIT);
	while (f && (f->len < 14 || f->data[12] != TAP_RIG_TYPE >> 8 ||
		     f->data[13] != (TAP_RIG_TYPE & 0xff)));
	return f;
}
