/* SPDX-License-Identifier: MIT */
/*
 * Which frames the guest wants: VIRTIO 1.2, 5.1.6.5.1 to 5.1.6.5.3.
 *
 * The control queue's thread changes the tables while others look at them. A frame that seems
 * unwanted while they change is let through: filtering is best effort, but what is wanted must come.
 */
#include "devices/virtio/virtio_net_int.h"

#define TYPE_VLAN 0x8100 /* IEEE 802.1Q */
#define VLAN_ID 0x0fff
#define MAC_GROUP 1 /* of an address as a number */

static bool mac_listed(const struct virtio_net *net, uint64_t mac)
{
	unsigned nr = (unsigned)min_u64(vnet_get(net->s.nr_macs), NET_MAX_MACS);

	for (unsigned i = 0; i < nr; i++)
		if (vnet_get(net->s.macs[i]) == mac)
			return true;
	return false;
}

static bool wants_group(const struct virtio_net *net, uint64_t mac, uint8_t mode)
{
	if (mac == NET_MAC_MAX)
		return !(mode & NET_RX_NOBCAST);
	if (mode & NET_RX_NOMULTI)
		return false;
	return (mode & NET_RX_ALLMULTI) || (vnet_get(net->s.macs_open) & 2) || mac_listed(net, mac);
}

static bool wants_unicast(const struct virtio_net *net, uint64_t mac, uint8_t mode)
{
	if (mode & NET_RX_NOUNI)
		return false;
	return (mode & NET_RX_ALLUNI) || (vnet_get(net->s.macs_open) & 1) ||
	       mac == vnet_get(net->s.mac) || mac_listed(net, mac);
}

/* Frames without a tag, or with one that names no VLAN but a priority, belong to none. */
static bool wants_vlan(const struct virtio_net *net, const uint8_t *frame, size_t len)
{
	unsigned id;

	if (!virtio_has(&net->vdev, NET_F_CTRL_VLAN) || len < NET_FILTER_LEN ||
	    (frame[12] << 8 | frame[13]) != TYPE_VLAN)
		return true;
	id = (unsigned)(frame[14] << 8 | frame[15]) & VLAN_ID;
	return !id || (vnet_get(net->s.vlans[id / 64]) >> id % 64 & 1);
}

static bool wants(const struct virtio_net *net, const uint8_t *frame, size_t len)
{
	uint64_t mac = vnet_mac(frame);
	uint8_t mode = vnet_get(net->s.rx_mode);

	if (mode & NET_RX_PROMISC)
		return true;
	if (!wants_vlan(net, frame, len))
		return false;
	return mac & MAC_GROUP ? wants_group(net, mac, mode) : wants_unicast(net, mac, mode);
}

bool virtio_net_filter_wants(const struct virtio_net *net, const uint8_t *frame, size_t len)
{
	unsigned before = atomic_load(&net->filter_changes);

	return wants(net, frame, len) || before & 1 || atomic_load(&net->filter_changes) != before;
}

void virtio_net_filter_begin(struct virtio_net *net)
{
	atomic_fetch_add(&net->filter_changes, 1);
}

void virtio_net_filter_end(struct virtio_net *net)
{
	atomic_fetch_add(&net->filter_changes, 1);
}
