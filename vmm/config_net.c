/* SPDX-License-Identifier: MIT */
#include "vmm/config_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/virtio/virtq.h"
#include "vmm/config_keys.h"
#include "vmm/config_virtio.h"
#include "vmm/rates.h"

#define MIN_MTU 68 /* RFC 791's */
#define MAX_MTU 65521
#define MAX_FD 65535

/* What --net fills: the card first, and what stays text until it is all there. */
struct net_text {
	struct net_config net;
	const char *fds, *mac;
	const char *forwards[CONFIG_MAX_FORWARDS];
	const char *rates[NR_NET_RATES];
};

static const char *const vhosts[] = {
	[NET_VHOST_AUTO] = "auto",
	[NET_VHOST_OFF] = "off",
	[NET_VHOST_ON] = "on",
	NULL,
};
static const char *const up_down[] = { "up", "down", NULL };

static const struct config_key keys[] = {
	{ "user", offsetof(struct net_config, user), config_alone, 0, 0, NULL },
	{ "tap", offsetof(struct net_config, tap), NULL, 0, 0, "NAME" },
	{ "bridge", offsetof(struct net_config, bridge), NULL, 0, 0, "NAME" },
	{ "fd", offsetof(struct net_text, fds), NULL, 0, 0, "N[:N ...]" },
	{ "mac", offsetof(struct net_text, mac), NULL, 0, 0, "MAC" },
	{ "queues", offsetof(struct net_config, queues), NULL, 0, NET_MAX_QUEUES, NULL },
	{ "forward", offsetof(struct net_text, forwards), config_many, 0, CONFIG_MAX_FORWARDS,
	  "tcp|udp:[ADDRESS:]PORT:GUESTPORT" },
	{ "restrict", offsetof(struct net_config, restricted), config_off_on, 0, 0, NULL },
	{ "mtu", offsetof(struct net_config, mtu), NULL, 0, MAX_MTU, NULL },
	{ "vhost", offsetof(struct net_config, vhost), vhosts, 0, 0, NULL },
	{ "offloads", offsetof(struct net_config, no_offloads), config_on_off, 0, 0, NULL },
	{ "link", offsetof(struct net_config, link_down), up_down, 0, 0, NULL },
	{ "capture", offsetof(struct net_config, capture), NULL, 0, 0, "FILE" },
	{ "pps", offsetof(struct net_text, rates[NET_RATE_PPS]), NULL, 0, 0, NULL },
	{ "bps", offsetof(struct net_text, rates[NET_RATE_BPS]), NULL, 0, 0, "SIZE" },
	{ "queue-size", offsetof(struct net_config, queue_size), NULL, 0, VIRTQ_MAX_SIZE, NULL },
	CONFIG_VIRTIO_KEYS(struct net_config, virtio),
};

/* Takes text up to the next colon, or its end; NULL: nothing is left. */
static char *take_part(char **text)
{
	char *part = *text, *colon = part ? strchr(part, ':') : NULL;

	if (colon)
		*colon++ = '\0';
	*text = colon;
	return part;
}

static int parse_fds(struct net_config *net, const char *option, const char *text, struct err *err)
{
	char copy[128], *rest = copy;
	const char *part;
	uint64_t fd;

	if (strlen(text) >= sizeof(copy))
		return err_set(err, -EINVAL, "%s: fd=%.60s: is too long", option, text);
	strcpy(copy, text);
	while ((part = take_part(&rest))) {
		if (util_parse_uint(part, 3, MAX_FD, &fd))
			return err_set(err, -EINVAL,
				       "%s: fd=%s: must be descriptors from 3 on, such as 3 or 3:4",
				       option, text);
		if (net->nr_fds == NET_MAX_QUEUES)
			return err_set(err, -EINVAL, "%s: fd=%s: at most %d queues", option, text,
				       NET_MAX_QUEUES);
		for (unsigned i = 0; i < net->nr_fds; i++)
			if (net->fds[i] == (int)fd)
				return err_set(err, -EINVAL, "%s: fd=%s: %s is given twice", option,
					       text, part);
		net->fds[net->nr_fds++] = (int)fd;
	}
	return 0;
}

static int parse_mac(uint8_t mac[NET_MAC_LEN], const char *option, const char *text,
		     struct err *err)
{
	static const char digits[] = "0123456789abcdefABCDEF:";
	unsigned b[NET_MAC_LEN], any = 0;
	int end = 0;

	if (strlen(text) != 17 || strspn(text, digits) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != NET_MAC_LEN ||
	    end != 17)
		return err_set(err, -EINVAL, "%s: mac=%.60s: must be such as 52:54:00:12:34:56",
			       option, text);
	for (unsigned i = 0; i < NET_MAC_LEN; i++) {
		mac[i] = (uint8_t)b[i];
		any |= b[i];
	}
	if (!any || mac[0] & 1)
		return err_set(err, -EINVAL, "%s: mac=%s: is no address that one card can have%s",
			       option, text, any ? ": its first byte is odd" : "");
	return 0;
}

/* "tcp:2222:22", "tcp:0.0.0.0:2222:22"; the host's own address where none is given. */
static int parse_forward(struct user_forward *f, const char *text)
{
	char copy[64], *rest = copy;
	const char *parts[5];
	unsigned n = 0;
	uint64_t host, guest;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	while (n < ARRAY_SIZE(parts) && (parts[n] = take_part(&rest)))
		n++;
	*f = (struct user_forward){ .host.s_addr = htonl(INADDR_LOOPBACK) };
	if (n != 3 && n != 4)
		return -EINVAL;
	if (n == 4 && inet_pton(AF_INET, parts[1], &f->host) != 1)
		return -EINVAL;
	if (util_parse_uint(parts[n - 2], 1, UINT16_MAX, &host) ||
	    util_parse_uint(parts[n - 1], 1, UINT16_MAX, &guest))
		return -EINVAL;
	f->host_port = (uint16_t)host;
	f->guest_port = (uint16_t)guest;
	f->udp = !strcmp(parts[0], "udp");
	return f->udp || !strcmp(parts[0], "tcp") ? 0 : -EINVAL;
}

static int parse_texts(struct net_text *text, const char *option, struct err *err)
{
	struct net_config *net = &text->net;
	char what[64];

	if (text->fds && parse_fds(net, option, text->fds, err))
		return -EINVAL;
	if (text->mac && parse_mac(net->mac, option, text->mac, err))
		return -EINVAL;
	for (unsigned i = 0; i < CONFIG_MAX_FORWARDS && text->forwards[i]; i++) {
		if (parse_forward(&net->forwards[i], text->forwards[i]))
			return err_set(err, -EINVAL,
				       "%s: forward=%.60s: must be tcp or udp, [the host's "
				       "address,] its port and the guest's: tcp:2222:22, "
				       "udp:0.0.0.0:53:53",
				       option, text->forwards[i]);
		net->nr_forwards++;
	}
	snprintf(what, sizeof(what), "%s:", option);
	for (enum net_rate rate = 0; rate < NR_NET_RATES; rate++)
		if (text->rates[rate] && net_rate_parse(rate, what, text->rates[rate],
							net_rate_field(&net->rates, rate), err))
			return -EINVAL;
	return 0;
}

/* Keys that do not go together. */
static int check_user(const struct net_config *net, const char *option, struct err *err)
{
	if (!net->user && (net->nr_forwards || net->restricted))
		return err_set(err, -EINVAL, "%s: forward and restrict are keys of user", option);
	if (!net->user)
		return 0;
	if (net->queues > 1)
		return err_set(err, -EINVAL, "%s: queues=%u: user has one", option, net->queues);
	if (net->vhost == NET_VHOST_ON)
		return err_set(err, -EINVAL,
			       "%s: vhost=on: user has no descriptor that the kernel could serve",
			       option);
	if (net->mtu && net->mtu < USER_MIN_MTU)
		return err_set(err, -EINVAL, "%s: mtu=%u: must be from %u to %u with user", option,
			       net->mtu, USER_MIN_MTU, USER_MAX_MTU);
	return 0;
}

static int check_net(struct net_config *net, const char *option, struct err *err)
{
	unsigned kinds = !!net->tap + !!net->bridge + !!net->nr_fds + net->user;

	if (kinds > 1)
		return err_set(err, -EINVAL,
			       "%s: must be one of: user, tap=NAME, bridge=NAME, fd=N", option);
	net->user |= !kinds;
	if (net->nr_fds && net->queues && net->queues != net->nr_fds)
		return err_set(err, -EINVAL, "%s: queues=%u: there are %u descriptors", option,
			       net->queues, net->nr_fds);
	if (!net->queues)
		net->queues = net->nr_fds ?: 1;
	if (net->mtu && net->mtu < MIN_MTU)
		return err_set(err, -EINVAL, "%s: mtu=%u: must be from %u to %u", option, net->mtu,
			       MIN_MTU, MAX_MTU);
	if (net->vhost == NET_VHOST_ON && (net->capture || net->rates.pps || net->rates.bps))
		return err_set(err, -EINVAL,
			       "%s: vhost=on: capture, pps and bps are for frames that pass "
			       "through here: vhost=off",
			       option);
	if (net->queue_size && (net->queue_size < 4 || !is_pow2(net->queue_size)))
		return err_set(err, -EINVAL, "%s: queue-size=%u: must be a power of 2, 4 to %d",
			       option, net->queue_size, VIRTQ_MAX_SIZE);
	return check_user(net, option, err);
}

int config_net(struct config *cfg, const char *option, char *value, struct err *err)
{
	struct net_text text = { 0 };

	if (cfg->nr_nets == CONFIG_MAX_NETS)
		return err_set(err, -EINVAL, "%s: at most %d cards", option, CONFIG_MAX_NETS);
	if (config_keys(option, value, keys, ARRAY_SIZE(keys), &text, err) ||
	    parse_texts(&text, option, err) || check_net(&text.net, option, err) ||
	    config_virtio_check(cfg, &text.net.virtio, text.net.queues, option, err))
		return -EINVAL;
	cfg->nets[cfg->nr_nets++] = text.net;
	return 0;
}

void config_net_mac(uint8_t mac[NET_MAC_LEN], const char *machine, unsigned number)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
	char text[128];

	snprintf(text, sizeof(text), "%s/net%u", machine, number);
	for (const char *p = text; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
	for (unsigned i = 0; i < NET_MAC_LEN; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
	mac[0] = (uint8_t)((mac[0] & ~1u) | 2); /* of no group, administered locally */
}

void config_net_print_keys(void)
{
	config_keys_print(keys, ARRAY_SIZE(keys));
}
