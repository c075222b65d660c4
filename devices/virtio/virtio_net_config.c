/* SPDX-License-Identifier: MIT */
/* What a network card tells its driver, and what the driver may choose: VIRTIO 1.2, 5.1.3 to 5.1.5. */
#include <errno.h>
#include <string.h>

#include "devices/virtio/vhost_net.h"
#include "devices/virtio/virtio_net_int.h"

/* 5.1.4 */
#define CONFIG_MAC 0
#define CONFIG_STATUS 6
#define CONFIG_MAX_PAIRS 8
#define CONFIG_MTU 10
#define CONFIG_SPEED 12
#define CONFIG_DUPLEX 16

#define STATUS_LINK_UP 1
#define STATUS_ANNOUNCE 2
#define DUPLEX_FULL 1
#define MIN_MTU 68 /* 5.1.4.1 */

/* Both directions of each kind; where a bit of the driver's has no counterpart all must be there. */
static const struct {
	unsigned offload;
	uint64_t host, guest;
} offload_features[] = {
	{ NET_OFFLOAD_CSUM, NET_F_CSUM, NET_F_GUEST_CSUM },
	{ NET_OFFLOAD_TSO4, NET_F_HOST_TSO4, NET_F_GUEST_TSO4 },
	{ NET_OFFLOAD_TSO6, NET_F_HOST_TSO6, NET_F_GUEST_TSO6 },
	{ NET_OFFLOAD_ECN, NET_F_HOST_ECN, NET_F_GUEST_ECN },
	{ NET_OFFLOAD_UFO, NET_F_HOST_UFO, NET_F_GUEST_UFO },
	{ NET_OFFLOAD_USO, NET_F_HOST_USO, NET_F_GUEST_USO4 | NET_F_GUEST_USO6 },
};

uint64_t virtio_net_features(const struct virtio_net_config *cfg)
{
	unsigned offloads = cfg->no_offloads ? 0 : cfg->net->offloads;
	uint64_t f = NET_F_MAC | NET_F_STATUS | NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX |
		     NET_F_CTRL_RX_EXTRA | NET_F_CTRL_VLAN | NET_F_CTRL_MAC_ADDR |
		     NET_F_GUEST_ANNOUNCE;

	/* 5.1.3.1: nothing without checksums. */
	if (!(offloads & NET_OFFLOAD_CSUM))
		offloads = 0;
	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++)
		if (offloads & offload_features[i].offload)
			f |= offload_features[i].host | offload_features[i].guest;
	if (offloads)
		f |= NET_F_CTRL_GUEST_OFFLOADS;
	if (cfg->net->mtu >= MIN_MTU)
		f |= NET_F_MTU;
	if (cfg->pairs > 1)
		f |= NET_F_MQ;
	return cfg->speed ? f | NET_F_SPEED_DUPLEX : f;
}

/* NET_OFFLOAD_* of the features, sent by us (host) or taken by the guest. */
static unsigned offloads_of(uint64_t features, bool guest)
{
	unsigned offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		uint64_t bits = guest ? offload_features[i].guest : offload_features[i].host;

		if ((features & bits) == bits)
			offloads |= offload_features[i].offload;
	}
	return offloads & NET_OFFLOAD_CSUM ? offloads : 0;
}

/* What the driver has negotiated. */
static uint64_t settled_features(const struct virtio_net *net)
{
	return virtio_features_settled(&net->vdev) ? net->vdev.s->driver_features : 0;
}

void virtio_net_config_read(struct virtio_dev *vdev, unsigned offset, void *buf, unsigned len)
{
	struct virtio_net *net = virtio_net_of(vdev);
	uint8_t config[NET_CONFIG_LEN] = { 0 };
	unsigned status = vnet_get(net->s.link_down) ? 0 : STATUS_LINK_UP;

	if (vnet_get(net->s.announce))
		status |= STATUS_ANNOUNCE;
	store_le(config + CONFIG_MAC, NET_MAC_LEN, vnet_get(net->s.mac));
	store_le(config + CONFIG_STATUS, 2, status);
	store_le(config + CONFIG_MAX_PAIRS, 2, net->nr_pairs);
	store_le(config + CONFIG_MTU, 2, net->host->mtu);
	store_le(config + CONFIG_SPEED, 4, net->speed);
	config[CONFIG_DUPLEX] = DUPLEX_FULL;
	memcpy(buf, config + offset, len);
}

/* 5.1.4.2: a driver of before VIRTIO 1.0 sets its address here, byte by byte. */
void virtio_net_config_write(struct virtio_dev *vdev, unsigned offset, const void *buf,
			     unsigned len)
{
	struct virtio_net *net = virtio_net_of(vdev);
	const uint8_t *from = buf;
	uint64_t mac = vnet_get(net->s.mac);
	uint8_t bytes[NET_MAC_LEN];

	if (!vdev->s->legacy)
		return;
	store_le(bytes, NET_MAC_LEN, mac);
	for (unsigned i = 0; i < len && offset + i < NET_MAC_LEN; i++)
		bytes[offset + i] = from[i];
	vnet_set(net->s.mac, vnet_mac(bytes));
}

uint64_t virtio_net_guest_offloads(const struct virtio_net *net)
{
	return settled_features(net) & NET_F_GUEST_OFFLOADS & ~vnet_get(net->s.offloads_off);
}

/* The back-end may go on with what it was told before: such frames are dropped. */
static int offloads_changed(struct virtio_net *net)
{
	unsigned offloads = offloads_of(virtio_net_guest_offloads(net), true);

	atomic_store(&net->rx_offloads, offloads);
	return net_set_offloads(net->host, offloads);
}

int virtio_net_set_guest_offloads(struct virtio_net *net, uint64_t on)
{
	uint64_t negotiated = settled_features(net) & NET_F_GUEST_OFFLOADS;
	uint64_t off = vnet_get(net->s.offloads_off);
	int ret;

	if (on & ~negotiated)
		return -EINVAL;
	vnet_set(net->s.offloads_off, negotiated & ~on);
	ret = offloads_changed(net);
	if (ret) {
		vnet_set(net->s.offloads_off, off);
		(void)!offloads_changed(net);
	}
	return ret;
}

/* Has the threads look at what has changed. */
static void wake_queues(struct virtio_net *net)
{
	for (unsigned i = 0; i < 2 * net->nr_pairs; i++)
		virtio_queue_kick(&net->vdev.queues[i]);
	vhost_net_update(net->vhost);
}

int virtio_net_set_pairs(struct virtio_net *net, uint16_t pairs)
{
	int ret = net_set_queues(net->host, pairs);

	if (ret)
		return ret;
	vnet_set(net->s.pairs, pairs);
	/* Those that come into use have buffers for which nobody kicks any more. */
	wake_queues(net);
	return 0;
}

static void settings_reset(struct virtio_net *net)
{
	struct virtio_net_state *s = &net->s;

	s->mac = net->mac;
	s->offloads_off = 0;
	s->pairs = 1;
	s->announce = 0;
	s->rx_mode = NET_RX_PROMISC; /* for a driver that knows nothing of filters */
	s->macs_open = s->nr_macs = 0;
	memset(s->macs, 0, sizeof(s->macs));
	memset(s->vlans, 0, sizeof(s->vlans));
}

void virtio_net_features_changed(struct virtio_dev *vdev, uint64_t features)
{
	struct virtio_net *net = virtio_net_of(vdev);

	if (!virtio_features_settled(vdev))
		settings_reset(net);
	net->mergeable = features & NET_F_MRG_RXBUF;
	net->hdr_len = net->mergeable || (features & VIRTIO_F_VERSION_1) ? NET_HDR_LEN
									 : NET_LEGACY_HDR_LEN;
	net->tx_offloads = offloads_of(features, false);
	(void)!offloads_changed(net);
	(void)!net_set_queues(net->host, net->s.pairs);
}

static bool all_zero(const uint64_t *v, size_t n)
{
	while (n && !*v) {
		v++;
		n--;
	}
	return !n;
}

bool virtio_net_state_valid(const struct virtio_net *net)
{
	const struct virtio_net_state *s = &net->s;
	uint64_t features = settled_features(net);

	if (!s->pairs || s->pairs > (features & NET_F_MQ ? net->nr_pairs : 1))
		return false;
	if (s->offloads_off & ~(features & NET_F_GUEST_OFFLOADS))
		return false;
	if (s->offloads_off && !(features & NET_F_CTRL_GUEST_OFFLOADS))
		return false;
	if (s->announce && !(features & NET_F_GUEST_ANNOUNCE))
		return false;
	if (!(features & NET_F_CTRL_RX_EXTRA) && s->rx_mode >= NET_RX_ALLUNI)
		return false;
	if (!(features & NET_F_CTRL_RX) &&
	    (s->nr_macs || s->macs_open ||
	     (s->rx_mode & (NET_RX_PROMISC | NET_RX_ALLMULTI)) != NET_RX_PROMISC))
		return false;
	if (!(features & NET_F_CTRL_VLAN) && !all_zero(s->vlans, ARRAY_SIZE(s->vlans)))
		return false;
	return all_zero(s->macs + s->nr_macs, NET_MAX_MACS - s->nr_macs);
}

static struct virtio_net *to_net(struct device *dev)
{
	return container_of(dev, struct virtio_net, vdev.dev);
}

/* The device's lock held. False where the driver knows no announcements. */
static bool ask_to_announce(struct virtio_net *net)
{
	if (!(settled_features(net) & NET_F_GUEST_ANNOUNCE) ||
	    !(net->vdev.s->status & VIRTIO_STATUS_DRIVER_OK))
		return false;
	vnet_set(net->s.announce, 1);
	return true;
}

void virtio_net_announce(struct device *dev)
{
	device_lock(dev);
	if (ask_to_announce(to_net(dev)))
		virtio_config_changed(virtio_of(dev));
	device_unlock(dev);
}

void virtio_net_set_link(struct device *dev, bool up)
{
	struct virtio_net *net = to_net(dev);

	device_lock(dev);
	if (up == (bool)net->s.link_down) {
		vnet_set(net->s.link_down, !up);
		if (up)
			(void)ask_to_announce(net);
		virtio_config_changed(&net->vdev);
		/* One that waits for buffers is to drop what comes all the same. */
		wake_queues(net);
	}
	device_unlock(dev);
}

bool virtio_net_link(struct device *dev)
{
	return !vnet_get(to_net(dev)->s.link_down);
}
