/* SPDX-License-Identifier: MIT */
#include "backends/net/tap_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TUN "/dev/net/tun"
#define FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* --- interfaces by name ------------------------------------------------------------------- */

int tap_ioctl(const char *name, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	ret = ioctl(fd, request, ifr) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

int tap_set_mtu(const char *name, unsigned mtu)
{
	struct ifreq ifr = { .ifr_mtu = (int)mtu };

	return tap_ioctl(name, SIOCSIFMTU, &ifr);
}

int tap_set_up(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int ret = tap_ioctl(name, SIOCGIFFLAGS, &ifr);

	ifr.ifr_flags |= IFF_UP;
	return ret ? ret : tap_ioctl(name, SIOCSIFFLAGS, &ifr);
}

/* --- queues ------------------------------------------------------------------------------- */

void tap_close(struct tap_host *t)
{
	while (t->nr_fds)
		close(t->fds[--t->nr_fds]);
}

/* Another queue of the interface of that name, which t->name becomes. 0 or -errno. */
static int add_queue(struct tap_host *t, const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(FLAGS | flags) };
	int fd = open(TUN, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	snprintf(t->name, sizeof(t->name), "%s", ifr.ifr_name);
	t->multi_queue = flags & IFF_MULTI_QUEUE;
	t->fds[t->nr_fds++] = fd;
	return 0;
}

static int add_queues(struct tap_host *t, const char *name, int flags, unsigned queues)
{
	int ret = add_queue(t, name, flags);

	while (!ret && t->nr_fds < queues)
		ret = add_queue(t, t->name, flags & ~IFF_TUN_EXCL);
	if (ret)
		tap_close(t);
	return ret;
}

int tap_make(struct tap_host *t, const char *pattern, unsigned queues)
{
	int ret = add_queues(t, pattern, IFF_TUN_EXCL | (queues > 1 ? IFF_MULTI_QUEUE : 0), queues);

	t->made = !ret;
	return ret;
}

/* --- by name ------------------------------------------------------------------------------ */

/* Whether it is a tap, and if so whether with or without several queues (IFF_MULTI_QUEUE). */
static bool is_tap(const char *name, int flags)
{
	struct tap_host t = { .nr_fds = 0 };

	if (add_queue(&t, name, flags))
		return false;
	tap_close(&t);
	return true;
}

static int refuse_existing(const char *name, unsigned queues, int ret, struct err *err)
{
	char owner[64];

	switch (ret) {
	case -EBUSY:
		tap_find_owner(name, owner, sizeof(owner));
		return err_set(err, ret,
			       "tap=%s: is in use by %s; another one: sudo ip tuntap add tap1 mode "
			       "tap user $USER",
			       name, owner);
	case -EPERM:
		return err_set(err, ret,
			       "tap=%s: belongs to another user; sudo ip tuntap del %s mode tap && "
			       "sudo ip tuntap add %s mode tap user $USER%s",
			       name, name, name, queues > 1 ? " multi_queue" : "");
	case -EINVAL:
		if (queues > 1 && is_tap(name, 0))
			return err_set(
				err, ret,
				"tap=%s: was made without multi_queue, and has 1 queue, not "
				"%u; sudo ip tuntap del %s mode tap && sudo ip tuntap add %s "
				"mode tap user $USER multi_queue",
				name, queues, name, name);
		return err_set(err, ret,
			       "tap=%s: is an interface, but no tap; one: sudo ip tuntap add tap0 "
			       "mode tap user $USER",
			       name);
	default:
		return err_set(err, ret, "tap=%s: %s", name, strerror(-ret));
	}
}

/* One that is there already; it has to be told as it was made. */
static int attach_existing(struct tap_host *t, const char *name, unsigned queues, struct err *err)
{
	int ret = add_queues(t, name, queues > 1 ? IFF_MULTI_QUEUE : 0, queues);

	if (ret == -EINVAL && queues == 1)
		ret = add_queues(t, name, IFF_MULTI_QUEUE, 1);
	return ret ? refuse_existing(name, queues, ret, err) : 0;
}

static int refuse_new(const char *name, unsigned queues, int ret, struct err *err)
{
	switch (ret) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return err_set(err, ret,
			       "tap=%s: this host has no " TUN "; sudo modprobe tun, and in a "
			       "container: --device " TUN,
			       name);
	case -EACCES:
		return err_set(err, ret,
			       "tap=%s: this user may not open " TUN "; sudo chmod 666 " TUN, name);
	case -EPERM:
		return err_set(err, ret,
			       "tap=%s: is not there, and making one needs CAP_NET_ADMIN; sudo ip "
			       "tuntap add %s mode tap user $USER%s && sudo ip link set %s up",
			       name, name, queues > 1 ? " multi_queue" : "", name);
	case -EINVAL:
		return err_set(err, ret, "tap=%s: is no name that an interface can have", name);
	default:
		return err_set(err, ret, "tap=%s: cannot be made: %s", name, strerror(-ret));
	}
}

int tap_attach(struct tap_host *t, const struct tap_config *cfg, struct err *err)
{
	int ret;

	if (strlen(cfg->name) >= IFNAMSIZ || strchr(cfg->name, '%'))
		return refuse_new(cfg->name, cfg->queues, -EINVAL, err);
	ret = tap_make(t, cfg->name, cfg->queues);
	if (ret == -EBUSY)
		return attach_existing(t, cfg->name, cfg->queues, err);
	if (ret)
		return refuse_new(cfg->name, cfg->queues, ret, err);
	if (cfg->mtu)
		ret = tap_set_mtu(t->name, cfg->mtu);
	if (!ret)
		ret = tap_set_up(t->name);
	if (!ret)
		return 0;
	tap_close(t);
	return err_set(err, ret, "tap=%s: cannot be set up: %s", cfg->name, strerror(-ret));
}

/* --- inherited ---------------------------------------------------------------------------- */

int tap_identify(int fd, struct ifreq *ifr)
{
	return ioctl(fd, TUNGETIFF, ifr) ? -errno : 0;
}

static int check_inherited(const struct tap_host *t, int fd, unsigned nr_fds, struct ifreq *ifr,
			   struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	int ret;

	if (flags < 0)
		return err_set(err, -errno, "fd=%d: bantam was started without this descriptor",
			       fd);
	ret = tap_identify(fd, ifr);
	if (ret || !(ifr->ifr_flags & IFF_TAP))
		return err_set(err, -EINVAL, "fd=%d: is no tap, a " TUN " after TUNSETIFF", fd);
	/* IFF_NO_PI cannot be seen: its bit tells of a filter here. */
	if (!(ifr->ifr_flags & IFF_VNET_HDR))
		return err_set(err, -EINVAL,
			       "fd=%d: %.16s must be opened with IFF_NO_PI and IFF_VNET_HDR", fd,
			       ifr->ifr_name);
	if (nr_fds > 1 && !(ifr->ifr_flags & IFF_MULTI_QUEUE))
		return err_set(err, -EINVAL,
			       "fd=%d: %.16s was made without multi_queue, and has 1 queue, not %u",
			       fd, ifr->ifr_name, nr_fds);
	if (t->nr_fds && strcmp(t->name, ifr->ifr_name))
		return err_set(err, -EINVAL, "fd=%d: is a queue of %.16s, the one before of %s", fd,
			       ifr->ifr_name, t->name);
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return err_set(err, -errno, "fd=%d: %s", fd, strerror(errno));
	return 0;
}

int tap_inherit(struct tap_host *t, const struct tap_config *cfg, struct err *err)
{
	for (unsigned i = 0; i < cfg->nr_fds; i++) {
		struct ifreq ifr = { .ifr_flags = 0 };
		int ret = check_inherited(t, cfg->fds[i], cfg->nr_fds, &ifr, err);

		if (ret) {
			tap_close(t);
			return ret;
		}
		snprintf(t->name, sizeof(t->name), "%s", ifr.ifr_name);
		t->multi_queue = ifr.ifr_flags & IFF_MULTI_QUEUE;
		t->fds[t->nr_fds++] = cfg->fds[i];
	}
	return 0;
}
