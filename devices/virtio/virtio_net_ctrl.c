/* SPDX-License-Identifier: MIT */
/* The control queue: VIRTIO 1.2, 5.1.6.5. */
#include <errno.h>

#include "devices/virtio/virtio_net_int.h"

#define CTRL_OK 0
#define CTRL_ERR 1

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_GUEST_OFFLOADS };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };

/* More of them than any driver lists: what a guest can have us go through at a time. */
#define MAX_LISTED 4096
#define VARIABLE UINT8_MAX
#define MAX_DATA 8

struct command {
	uint8_t class, cmd;
	uint8_t len; /* bytes of data; VARIABLE: run() takes them from the buffer */
	uint64_t feature;
	/* data: the v of so many bytes. False: the command cannot be, and nothing has changed. */
	bool (*run)(struct virtio_net *net, const struct command *c, uint64_t v);
};

/* The numbers of the commands are those of the bits. */
static bool set_rx_mode(struct virtio_net *net, const struct command *c, uint64_t v)
{
	uint8_t mode = vnet_get(net->s.rx_mode), bit = (uint8_t)(1 << c->cmd);

	if (v > 1)
		return false;
	vnet_set(net->s.rx_mode, v ? mode | bit : mode & ~bit);
	return true;
}

struct mac_list {
	uint64_t macs[NET_MAX_MACS];
	unsigned nr;
};

/* Adds a table of the command to the list; what there is no room for is *open. */
static bool pull_macs(struct virtq_buf *buf, struct mac_list *list, bool *open)
{
	uint8_t raw[4];
	uint64_t n;

	if (!virtq_buf_pull(buf, raw, sizeof(raw)))
		return false;
	n = load_le(raw, 4);
	if (n > MAX_LISTED || n * NET_MAC_LEN > buf->out_len)
		return false;
	*open = n > NET_MAX_MACS - list->nr;
	for (uint64_t i = 0; i < n; i++) {
		uint8_t mac[NET_MAC_LEN];

		if (!virtq_buf_pull(buf, mac, sizeof(mac)))
			return false;
		if (!*open)
			list->macs[list->nr++] = vnet_mac(mac);
	}
	return true;
}

static bool set_mac_tables(struct virtio_net *net, const struct command *c, uint64_t v)
{
	struct mac_list list = { .nr = 0 };
	bool unicast, group;

	(void)c;
	(void)v;
	if (!pull_macs(&net->ctrl, &list, &unicast) || !pull_macs(&net->ctrl, &list, &group) ||
	    net->ctrl.out_len)
		return false;
	virtio_net_filter_begin(net);
	for (unsigned i = 0; i < NET_MAX_MACS; i++)
		vnet_set(net->s.macs[i], list.macs[i]);
	vnet_set(net->s.nr_macs, (uint8_t)list.nr);
	vnet_set(net->s.macs_open, (uint8_t)(unicast | group << 1));
	virtio_net_filter_end(net);
	return true;
}

static bool set_mac(struct virtio_net *net, const struct command *c, uint64_t v)
{
	(void)c;
	vnet_set(net->s.mac, v);
	return true;
}

static bool set_vlan(struct virtio_net *net, const struct command *c, uint64_t v)
{
	uint64_t *word = &net->s.vlans[v % NET_MAX_VLANS / 64], bit = 1ull << v % 64;

	if (v >= NET_MAX_VLANS)
		return false;
	vnet_set(*word, c->cmd == VLAN_ADD ? vnet_get(*word) | bit : vnet_get(*word) & ~bit);
	return true;
}

static bool announced(struct virtio_net *net, const struct command *c, uint64_t v)
{
	(void)c;
	(void)v;
	vnet_set(net->s.announce, 0);
	return true;
}

static bool set_pairs(struct virtio_net *net, const struct command *c, uint64_t v)
{
	(void)c;
	return v && v <= net->nr_pairs && !virtio_net_set_pairs(net, (uint16_t)v);
}

static bool set_offloads(struct virtio_net *net, const struct command *c, uint64_t v)
{
	(void)c;
	return !virtio_net_set_guest_offloads(net, v);
}

static const struct command commands[] = {
	{ CLASS_RX, 0, 1, NET_F_CTRL_RX, set_rx_mode },
	{ CLASS_RX, 1, 1, NET_F_CTRL_RX, set_rx_mode },
	{ CLASS_RX, 2, 1, NET_F_CTRL_RX_EXTRA, set_rx_mode },
	{ CLASS_RX, 3, 1, NET_F_CTRL_RX_EXTRA, set_rx_mode },
	{ CLASS_RX, 4, 1, NET_F_CTRL_RX_EXTRA, set_rx_mode },
	{ CLASS_RX, 5, 1, NET_F_CTRL_RX_EXTRA, set_rx_mode },
	{ CLASS_MAC, MAC_TABLE_SET, VARIABLE, NET_F_CTRL_RX, set_mac_tables },
	{ CLASS_MAC, MAC_ADDR_SET, NET_MAC_LEN, NET_F_CTRL_MAC_ADDR, set_mac },
	{ CLASS_VLAN, VLAN_ADD, 2, NET_F_CTRL_VLAN, set_vlan },
	{ CLASS_VLAN, VLAN_DEL, 2, NET_F_CTRL_VLAN, set_vlan },
	{ CLASS_ANNOUNCE, 0, 0, NET_F_GUEST_ANNOUNCE, announced },
	{ CLASS_MQ, 0, 2, NET_F_MQ, set_pairs },
	{ CLASS_GUEST_OFFLOADS, 0, 8, NET_F_CTRL_GUEST_OFFLOADS, set_offloads },
};

/* Does what net->ctrl asks for; false where that cannot be. */
static bool execute(struct virtio_net *net)
{
	uint8_t head[2], data[MAX_DATA] = { 0 };

	if (!virtq_buf_pull(&net->ctrl, head, sizeof(head)))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (c->class != head[0] || c->cmd != head[1])
			continue;
		if (!virtio_has(&net->vdev, c->feature))
			return false;
		if (c->len == VARIABLE)
			return c->run(net, c, 0);
		return net->ctrl.out_len == c->len && virtq_buf_pull(&net->ctrl, data, c->len) &&
		       c->run(net, c, load_le(data, MAX_DATA));
	}
	return false;
}

/* As virtq_pop(). */
static int run_batch(struct virtio_net *net, struct virtq *vq)
{
	for (unsigned i = 0; i < vq->size; i++) {
		int ret = virtq_pop(vq, &net->ctrl);
		uint8_t *ack;

		if (ret <= 0)
			return ret;
		ack = virtq_buf_chop(&net->ctrl);
		if (!ack) {
			virtq_push(vq, &net->ctrl, 0);
			return virtq_break(vq, "a control command without room for an answer");
		}
		*ack = execute(net) ? CTRL_OK : CTRL_ERR;
		mem_mark(vq->mem, ack, 1);
		virtq_push(vq, &net->ctrl, 1);
	}
	return 0;
}

void virtio_net_ctrl_handle(struct virtio_queue *q)
{
	int ret = run_batch(virtio_net_of(q->vdev), &q->vq);

	virtio_queue_flush(q);
	if (ret < 0)
		virtio_queue_broken(q);
}
