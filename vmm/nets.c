/* SPDX-License-Identifier: MIT */
#include "vmm/nets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/net/capture.h"
#include "backends/net/tap.h"
#include "devices/virtio/virtio_net.h"
#include "vmm/config_net.h"
#include "vmm/rates.h"
#include "vmm/virtio_wire.h"

/* --- opening ------------------------------------------------------------------------------ */

static int open_user(const struct machine *m, const struct net_config *n, struct net **out,
		     struct err *err)
{
	const struct user_config cfg = {
		.restricted = n->restricted,
		.forwards = n->forwards,
		.nr_forwards = n->nr_forwards,
		.hostname = m->cfg->name,
		.mtu = (uint16_t)n->mtu,
	};

	return user_open(&cfg, out, err);
}

static int open_tap(const struct net_config *n, struct net **out, struct err *err)
{
	const struct tap_config cfg = {
		.name = n->tap,
		.bridge = n->bridge,
		.fds = n->fds,
		.nr_fds = n->nr_fds,
		.queues = n->queues,
		.mtu = (uint16_t)n->mtu,
	};

	return tap_open(&cfg, out, err);
}

/* The limits first, below: what they hold back has not been seen yet. */
static int stack(struct machine *m, unsigned i, struct err *err)
{
	const struct net_config *n = &m->cfg->nets[i];
	const struct net_limit_config limit = { .below = m->nets[i], .rates = n->rates };
	struct capture_config capture = { .path = n->capture };
	char name[16];
	int ret = net_limit_create(&limit, &m->net_limits[i]);

	if (ret)
		return err_set(err, ret, "%s", strerror(-ret));
	capture.below = m->nets[i] = m->net_limits[i];
	if (!n->capture)
		return 0;
	snprintf(name, sizeof(name), "net%u", i);
	capture.name = name;
	return capture_create(&capture, &m->nets[i], err);
}

int nets_open(struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < m->cfg->nr_nets; i++) {
		const struct net_config *n = &m->cfg->nets[i];
		struct err why = { "" };
		int ret = n->user ? open_user(m, n, &m->nets[i], &why)
				  : open_tap(n, &m->nets[i], &why);

		if (!ret)
			ret = stack(m, i, &why);
		if (ret)
			return err_set(err, ret, "--net %s", why.text);
	}
	return 0;
}

/* --- wiring ------------------------------------------------------------------------------- */

static int add_card(struct machine *m, unsigned i, struct err *err)
{
	static const enum virtio_net_vhost vhosts[] = {
		[NET_VHOST_AUTO] = VIRTIO_NET_VHOST_AUTO,
		[NET_VHOST_OFF] = VIRTIO_NET_VHOST_OFF,
		[NET_VHOST_ON] = VIRTIO_NET_VHOST_ON,
	};
	static const uint8_t none[NET_MAC_LEN];
	const struct net_config *n = &m->cfg->nets[i];
	struct err why = { "" };
	char name[24];
	struct virtio_net_config cfg = {
		.name = name,
		.at = virtio_wire(m, &n->virtio, MACHINE_NET_SLOT(i)),
		.net = m->nets[i],
		.no_offloads = n->no_offloads,
		.pairs = n->queues,
		.vhost = vhosts[n->vhost],
	};
	int ret;

	cfg.at.queue_size = (uint16_t)n->queue_size;
	snprintf(name, sizeof(name), "virtio-net%u", i);
	memcpy(cfg.mac, n->mac, sizeof(cfg.mac));
	if (!memcmp(n->mac, none, sizeof(none)))
		config_net_mac(cfg.mac, m->name, i);
	memcpy(m->macs[i], cfg.mac, sizeof(cfg.mac));
	ret = virtio_net_create(&cfg, &m->net_cards[i], &why);
	if (ret && why.text[0])
		return err_set(err, ret, "net%u: %.480s", i, why.text);
	ret = machine_add(m, ret, &m->net_cards[i], name, err);
	if (ret)
		return ret;
	observe_doorbells(&m->observe, virtio_of(m->net_cards[i]));
	if (n->link_down)
		virtio_net_set_link(m->net_cards[i], false);
	return 0;
}

int nets_wire(struct machine *m, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < m->cfg->nr_nets && !ret; i++)
		ret = add_card(m, i, err);
	return ret;
}

/* --- while the machine runs --------------------------------------------------------------- */

static int find(const struct machine *m, const char *name, unsigned *out, struct err *err)
{
	unsigned nr = m->cfg->nr_nets;
	char last[32] = "";
	uint64_t i;

	if (!strncmp(name, "net", 3) && nr && !util_parse_uint(name + 3, 0, nr - 1, &i)) {
		*out = (unsigned)i;
		return 0;
	}
	if (nr > 1)
		snprintf(last, sizeof(last), " to net%u", nr - 1);
	return err_set(err, -ENOENT, "%.40s: no such network card; %s%s", name,
		       nr ? "there is net0" : "there is none", last);
}

int nets_set_link(struct machine *m, const char *name, bool up, struct err *err)
{
	unsigned i = 0;
	int ret = find(m, name, &i, err);

	if (!ret)
		virtio_net_set_link(m->net_cards[i], up);
	return ret;
}

int nets_throttle(struct machine *m, const char *name, unsigned set, struct net_rates *rates,
		  struct err *err)
{
	struct net_rates now;
	unsigned i = 0;
	int ret = find(m, name, &i, err);

	if (ret)
		return ret;
	if (set && virtio_net_uses_vhost(m->net_cards[i]))
		return err_set(err, -EOPNOTSUPP,
			       "%s: the host's kernel moves its frames; a machine started with "
			       "vhost=off can be limited",
			       name);
	net_limit_get(m->net_limits[i], &now);
	for (enum net_rate rate = 0; rate < NR_NET_RATES; rate++)
		if (set & 1u << rate)
			*net_rate_field(&now, rate) = *net_rate_field(rates, rate);
	if (set)
		net_limit_set(m->net_limits[i], &now);
	*rates = now;
	return 0;
}

/* --- what is told of them ----------------------------------------------------------------- */

static bool add_counters(cJSON *queue, const char *name, uint64_t frames, uint64_t bytes,
			 uint64_t batches, uint64_t stalls, uint64_t interrupts)
{
	cJSON *o = cJSON_AddObjectToObject(queue, name);

	return o && cJSON_AddNumberToObject(o, "frames", (double)frames) &&
	       cJSON_AddNumberToObject(o, "bytes", (double)bytes) &&
	       cJSON_AddNumberToObject(o, "batches", (double)batches) &&
	       cJSON_AddNumberToObject(o, "stalls", (double)stalls) &&
	       cJSON_AddNumberToObject(o, "interrupts", (double)interrupts);
}

static bool add_queue(cJSON *queues, const struct device *card, unsigned pair)
{
	cJSON *o = cJSON_CreateObject(), *dropped;
	struct virtio_net_stats s;
	bool ok;

	if (!cJSON_AddItemToArray(queues, o)) {
		cJSON_Delete(o);
		return false;
	}
	virtio_net_get_stats(card, pair, &s);
	ok = add_counters(o, "sent", s.tx_frames, s.tx_bytes, s.tx_batches, s.tx_stalls,
			  s.tx_interrupts) &&
	     add_counters(o, "received", s.rx_frames, s.rx_bytes, s.rx_batches, s.rx_stalls,
			  s.rx_interrupts);
	dropped = cJSON_AddObjectToObject(o, "dropped");
	for (enum virtio_net_drop i = 0; ok && i < VIRTIO_NET_NR_DROPS; i++)
		ok = cJSON_AddNumberToObject(dropped, virtio_net_drop_name(i), (double)s.drops[i]);
	return ok;
}

static void describe(const struct net_config *n, char *out, size_t size)
{
	if (n->tap)
		snprintf(out, size, "tap=%s", n->tap);
	else if (n->bridge)
		snprintf(out, size, "bridge=%s", n->bridge);
	else if (n->nr_fds)
		snprintf(out, size, "fd=%d", n->fds[0]);
	else
		snprintf(out, size, "user");
}

static bool add_net(cJSON *nets, const struct machine *m, unsigned i)
{
	struct device *card = m->net_cards[i];
	const uint8_t *mac = m->macs[i];
	cJSON *o = cJSON_CreateObject(), *queues;
	char name[16], backend[64], address[3 * NET_MAC_LEN];

	if (!cJSON_AddItemToArray(nets, o)) {
		cJSON_Delete(o);
		return false;
	}
	snprintf(name, sizeof(name), "net%u", i);
	describe(&m->cfg->nets[i], backend, sizeof(backend));
	snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	if (!cJSON_AddStringToObject(o, "name", name) ||
	    !cJSON_AddStringToObject(o, "backend", backend) ||
	    !cJSON_AddStringToObject(o, "mac", address) ||
	    !cJSON_AddNumberToObject(o, "mtu", m->nets[i]->mtu) ||
	    !cJSON_AddBoolToObject(o, "up", virtio_net_link(card)) ||
	    !cJSON_AddBoolToObject(o, "vhost", virtio_net_uses_vhost(card)))
		return false;
	queues = cJSON_AddArrayToObject(o, "queues");
	for (unsigned pair = 0; pair < virtio_net_pairs(card); pair++)
		if (!add_queue(queues, card, pair))
			return false;
	return queues;
}

cJSON *nets_to_json(const struct machine *m)
{
	cJSON *nets = cJSON_CreateArray();

	for (unsigned i = 0; nets && i < m->cfg->nr_nets; i++) {
		if (!add_net(nets, m, i)) {
			cJSON_Delete(nets);
			return NULL;
		}
	}
	return nets;
}
