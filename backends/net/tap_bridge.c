/* SPDX-License-Identifier: MIT */
/* A tap of our own that hangs on a bridge of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/net/tap_host.h"

#define PATTERN "bantam%d"
#define MAX_MTU 65521 /* of a tap */
#define HELPER_FD 3 /* where the helper finds its end of the socket */

/* QEMU's helper has root's rights, and gives away taps on the bridges that its file names. */
static const char *const helpers[] = {
	"/usr/lib/qemu/qemu-bridge-helper",
	"/usr/libexec/qemu-bridge-helper",
};

static int receive_fd(int sock)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EPERM;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* The descriptor that the helper sends, or -errno; what it has to say is not shown. */
static int run_helper(const char *helper, const char *bridge)
{
	posix_spawn_file_actions_t actions;
	char fd_arg[16], bridge_arg[IFNAMSIZ + 8];
	char *argv[] = { (char *)helper, (char *)"--use-vnet", fd_arg, bridge_arg, NULL };
	int sv[2], ret, fd = -EPERM, status;
	pid_t pid;

	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", HELPER_FD);
	snprintf(bridge_arg, sizeof(bridge_arg), "--br=%s", bridge);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -errno;
	ret = posix_spawn_file_actions_init(&actions);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&actions, sv[1], HELPER_FD);
	if (!ret)
		ret = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
						       O_WRONLY, 0);
	if (!ret)
		ret = posix_spawn(&pid, helper, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(sv[1]);
	if (!ret) {
		fd = receive_fd(sv[0]);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(sv[0]);
	return ret ? -ret : fd;
}

static const char *find_helper(const struct tap_config *cfg)
{
	if (cfg->helper)
		return cfg->helper;
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		if (!access(helpers[i], X_OK))
			return helpers[i];
	return NULL;
}

static int ask_helper(struct tap_host *t, const struct tap_config *cfg, struct err *err)
{
	const char *helper = find_helper(cfg);
	struct tap_config got = { .nr_fds = 1 };
	int fd;

	if (!helper)
		return err_set(err, -EPERM,
			       "bridge=%s: making a tap needs CAP_NET_ADMIN; sudo ip tuntap add "
			       "tap0 mode tap user $USER && sudo ip link set tap0 master %s up, "
			       "then --net tap=tap0",
			       cfg->bridge, cfg->bridge);
	if (cfg->queues > 1)
		return err_set(err, -EPERM,
			       "bridge=%s: making a tap needs CAP_NET_ADMIN, and %s makes one of 1 "
			       "queue, not %u",
			       cfg->bridge, helper, cfg->queues);
	fd = run_helper(helper, cfg->bridge);
	if (fd < 0)
		return err_set(err, -EPERM,
			       "bridge=%s: making a tap needs CAP_NET_ADMIN, and %s refuses; sudo "
			       "chmod u+s %s && echo allow %s | sudo tee -a /etc/qemu/bridge.conf",
			       cfg->bridge, helper, helper, cfg->bridge);
	got.fds = &fd;
	return tap_inherit(t, &got, err);
}

/* The tap first gets the bridge's MTU: a bridge has that of its smallest member. */
static int join(const struct tap_host *t, const char *bridge, unsigned mtu)
{
	struct ifreq ifr = { .ifr_ifindex = (int)if_nametoindex(t->name) };
	int ret = tap_set_mtu(t->name, (unsigned)min_u64(mtu, MAX_MTU));

	if (!ret)
		ret = tap_ioctl(bridge, SIOCBRADDIF, &ifr);
	return ret ? ret : tap_set_up(t->name);
}

int tap_join_bridge(struct tap_host *t, const struct tap_config *cfg, struct err *err)
{
	struct ifreq ifr = { .ifr_mtu = 0 };
	int ret =
		strlen(cfg->bridge) < IFNAMSIZ ? tap_ioctl(cfg->bridge, SIOCGIFMTU, &ifr) : -ENODEV;

	if (ret)
		return err_set(err, ret,
			       "bridge=%s: there is no such bridge; sudo ip link add %s type "
			       "bridge && sudo ip link set %s up",
			       cfg->bridge, cfg->bridge, cfg->bridge);
	ret = tap_make(t, PATTERN, cfg->queues);
	if (ret == -EPERM || ret == -EACCES)
		return ask_helper(t, cfg, err);
	if (ret)
		return err_set(err, ret, "bridge=%s: no tap for it: %s", cfg->bridge,
			       ret == -ENOENT ? "this host has no /dev/net/tun; sudo modprobe tun"
					      : strerror(-ret));
	ret = join(t, cfg->bridge, cfg->mtu ? cfg->mtu : (unsigned)ifr.ifr_mtu);
	if (!ret)
		return 0;
	tap_close(t);
	if (ret == -EOPNOTSUPP || ret == -EINVAL)
		return err_set(err, ret,
			       "bridge=%s: is an interface, but no bridge; sudo ip link add br0 "
			       "type bridge && sudo ip link set br0 up && sudo ip link set %s "
			       "master br0",
			       cfg->bridge, cfg->bridge);
	return err_set(err, ret, "bridge=%s: cannot be joined: %s", cfg->bridge, strerror(-ret));
}
