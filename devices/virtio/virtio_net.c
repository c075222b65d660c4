/* SPDX-License-Identifier: MIT */
#include "devices/virtio/virtio_net.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/vhost_net.h"
#include "devices/virtio/virtio_net_int.h"

static struct virtio_net *to_net(struct device *dev)
{
	return container_of(dev, struct virtio_net, vdev.dev);
}

/* The queue of a pair: 5.1.2. NULL for the control queue, which comes behind those negotiated. */
static struct vnet_pair *pair_of(const struct virtio_queue *q)
{
	struct virtio_net *net = virtio_net_of(q->vdev);
	unsigned pairs = virtio_has(q->vdev, NET_F_MQ) ? net->nr_pairs : 1;

	return q->index < 2 * pairs ? &net->pairs[q->index / 2] : NULL;
}

static bool is_rx(const struct virtio_queue *q)
{
	return !(q->index & 1);
}

static bool is_ctrl(const struct virtio_queue *q)
{
	unsigned pairs = virtio_has(q->vdev, NET_F_MQ) ? virtio_net_of(q->vdev)->nr_pairs : 1;

	return q->index == 2 * pairs && virtio_has(q->vdev, NET_F_CTRL_VQ);
}

static void handle(struct virtio_queue *q)
{
	struct vnet_pair *pair = pair_of(q);

	if (is_ctrl(q))
		virtio_net_ctrl_handle(q);
	else if (!pair)
		virtio_queue_sate(q, true); /* behind those negotiated */
	else if (is_rx(q))
		virtio_net_rx_handle(pair);
	else
		virtio_net_tx_handle(pair);
}

static bool poll(struct virtio_queue *q)
{
	struct vnet_pair *pair = pair_of(q);

	return pair && is_rx(q) && virtio_net_rx_poll(pair);
}

static void cease(struct virtio_queue *q)
{
	struct vnet_pair *pair = pair_of(q);

	if (pair && is_rx(q))
		virtio_net_rx_cease(pair);
	else if (pair)
		virtio_net_tx_cease(pair);
}

static void flushed(struct virtio_queue *q, uint64_t used, uint64_t interrupt)
{
	struct vnet_pair *pair = pair_of(q);

	(void)used;
	if (pair && interrupt)
		counter_add(is_rx(q) ? &pair->rx.counts.interrupts : &pair->tx.counts.interrupts,
			    1);
}

static bool take_over(struct virtio_queue *q, const struct virtq_params *p)
{
	struct virtio_net *net = virtio_net_of(q->vdev);

	return pair_of(q) && vhost_net_start(net->vhost, q, p);
}

static void hand_back(struct virtio_queue *q)
{
	vhost_net_stop(virtio_net_of(q->vdev)->vhost, q);
}

static void rewire(struct virtio_queue *q)
{
	vhost_net_rewire(virtio_net_of(q->vdev)->vhost, q);
}

static const struct virtio_ops net_virtio_ops = {
	.handle = handle,
	.cease = cease,
	.poll = poll,
	.flushed = flushed,
	.config_read = virtio_net_config_read,
	.config_write = virtio_net_config_write,
	.features_changed = virtio_net_features_changed,
	.take_over = take_over,
	.hand_back = hand_back,
	.rewire = rewire,
};

static void pair_destroy(struct vnet_pair *pair)
{
	net_close_queue(pair->host);
	virtio_net_tx_destroy(&pair->tx);
	virtio_net_rx_destroy(&pair->rx);
}

static void net_free(struct virtio_net *net)
{
	virtio_any_unplug(&net->any);
	vhost_net_destroy(net->vhost);
	for (unsigned i = 0; i < net->nr_pairs; i++)
		pair_destroy(&net->pairs[i]);
	virtio_any_destroy(&net->any);
	free(net->ctrl.iov);
	free(net->pairs);
	free(net);
}

static void net_dev_destroy(struct device *dev)
{
	net_free(to_net(dev));
}

static int post_load(struct device *dev)
{
	return virtio_net_state_valid(to_net(dev)) ? virtio_any_post_load(dev) : -EBADMSG;
}

static const struct state_field pci_fields[] = {
	VIRTIO_PCI_STATE_FIELDS(struct virtio_net_state, any.vp),
	NET_STATE_FIELDS(struct virtio_net_state),
};

static const struct state_field mmio_fields[] = {
	VIRTIO_MMIO_STATE_FIELDS(struct virtio_net_state, any.vm),
	NET_STATE_FIELDS(struct virtio_net_state),
};

static const struct state_desc pci_state = {
	.version = 1,
	.fields = pci_fields,
	.nr_fields = ARRAY_SIZE(pci_fields),
};

static const struct state_desc mmio_state = {
	.version = 1,
	.fields = mmio_fields,
	.nr_fields = ARRAY_SIZE(mmio_fields),
};

static const struct device_ops pci_ops = {
	.type = "virtio-net",
	.reset = virtio_any_reset,
	.destroy = net_dev_destroy,
	.state = &pci_state,
	.state_offset = offsetof(struct virtio_net, s),
	.pre_save = virtio_any_pre_save,
	.post_load = post_load,
};

static const struct device_ops mmio_ops = {
	.type = "virtio-net-mmio",
	.reset = virtio_any_reset,
	.destroy = net_dev_destroy,
	.state = &mmio_state,
	.state_offset = offsetof(struct virtio_net, s),
	.pre_save = virtio_any_pre_save,
	.post_load = post_load,
};

static const struct virtio_kind kind = {
	.pci_ops = &pci_ops,
	.mmio_ops = &mmio_ops,
	.ops = &net_virtio_ops,
	.type = VIRTIO_ID_NET,
	.legacy_id = 0x1000,
	.class = 0x020000, /* Ethernet */
	.config_len = NET_CONFIG_LEN,
};

static int pair_create(struct vnet_pair *pair, struct net *host, unsigned size, struct loop *loop)
{
	const struct net_queue_config queue = {
		.loop = loop,
		.readable = virtio_net_rx_readable,
		.writable = virtio_net_tx_writable,
		.opaque = pair,
	};
	int ret = virtio_net_tx_create(&pair->tx, size);

	if (!ret)
		ret = virtio_net_rx_create(&pair->rx, size);
	return ret ? ret : net_open_queue(host, &queue, &pair->host);
}

/* The pairs take turns at the threads; loops is filled in, the control queue's is the first. */
static int create_pairs(struct virtio_net *net, const struct virtio_net_config *cfg, unsigned nr,
			struct loop **loops)
{
	uint16_t size = virtio_place_queue_size(&cfg->at);

	net->pairs = calloc(nr, sizeof(*net->pairs));
	net->ctrl.iov = calloc(size, sizeof(*net->ctrl.iov));
	net->ctrl.max_iov = size;
	if (!net->pairs || !net->ctrl.iov)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		struct vnet_pair *pair = &net->pairs[i];
		int ret;

		loops[2 * i] = virtio_any_loop(&net->any, i);
		loops[2 * i + 1] = loops[2 * i];
		pair->net = net;
		pair->index = i;
		net->nr_pairs++;
		ret = pair_create(pair, cfg->net, size, loops[2 * i]);
		if (ret)
			return ret;
	}
	loops[2 * nr] = loops[0];
	return 0;
}

static int check_config(const struct virtio_net_config *cfg, struct err *err)
{
	uint64_t mac = vnet_mac(cfg->mac);

	if (cfg->pairs > cfg->net->max_queues || cfg->pairs > NET_MAX_QUEUES)
		return err_set(err, -EINVAL, "%s: %u queues, where the network has 1 to %u",
			       cfg->name, cfg->pairs, cfg->net->max_queues);
	if (!virtio_place_queue_size(&cfg->at))
		return err_set(err, -EINVAL,
			       "%s: queues of %u buffers, not a power of 2 from 4 to %u", cfg->name,
			       cfg->at.queue_size, VIRTQ_MAX_SIZE);
	if (!mac || mac & 1)
		return err_set(err, -EINVAL,
			       "%s: the address is none of one card: its first byte must be even",
			       cfg->name);
	return 0;
}

static int net_init(struct virtio_net *net, const struct virtio_net_config *cfg, struct err *err)
{
	unsigned nr = cfg->pairs ? cfg->pairs : 1;
	struct virtio_place at = cfg->at;
	struct loop *loops[VIRTIO_MAX_QUEUES];
	int ret;

	if (cfg->vhost == VIRTIO_NET_VHOST_ON)
		at.packed = false; /* the kernel knows no such rings */
	ret = virtio_any_prepare(&net->any, &kind, &at, cfg->name, nr);
	if (!ret)
		ret = create_pairs(net, cfg, nr, loops);
	if (!ret)
		ret = virtio_any_plug(&net->any, &net->s.any, virtio_net_features(cfg), loops,
				      2 * nr + 1);
	if (ret)
		return err_set(err, ret, "%s: cannot be made", cfg->name);
	for (unsigned i = 0; i < nr; i++) {
		net->pairs[i].rx.q = &net->vdev.queues[2 * i];
		net->pairs[i].tx.q = &net->vdev.queues[2 * i + 1];
	}
	return cfg->vhost == VIRTIO_NET_VHOST_OFF ? 0 : vhost_net_create(net, cfg, err);
}

int virtio_net_create(const struct virtio_net_config *cfg, struct device **out, struct err *err)
{
	struct virtio_net *net;
	int ret = check_config(cfg, err);

	if (ret)
		return ret;
	net = calloc(1, sizeof(*net));
	if (!net)
		return err_set(err, -ENOMEM, "%s: out of memory", cfg->name);
	net->host = cfg->net;
	net->mac = vnet_mac(cfg->mac);
	net->speed = cfg->speed;
	net->s.link_down = cfg->link_down;
	ret = net_init(net, cfg, err);
	if (ret) {
		net_free(net);
		return ret;
	}
	*out = &net->vdev.dev;
	return 0;
}

const char *virtio_net_drop_name(enum virtio_net_drop drop)
{
	static const char *const names[VIRTIO_NET_NR_DROPS] = {
		[VIRTIO_NET_TX_LENGTH] = "tx-length", [VIRTIO_NET_TX_HEADER] = "tx-header",
		[VIRTIO_NET_TX_LINK] = "tx-link",     [VIRTIO_NET_RX_LINK] = "rx-link",
		[VIRTIO_NET_TX_HOST] = "tx-host",     [VIRTIO_NET_RX_HOST] = "rx-host",
		[VIRTIO_NET_RX_LENGTH] = "rx-length", [VIRTIO_NET_RX_HEADER] = "rx-header",
		[VIRTIO_NET_RX_FILTER] = "rx-filter",
	};

	return names[drop];
}

void virtio_net_get_stats(const struct device *dev, unsigned pair, struct virtio_net_stats *out)
{
	const struct virtio_net *net = virtio_net_of(virtio_of(dev));
	const struct vnet_pair *p = &net->pairs[pair];
	const struct vnet_counts *tx = &p->tx.counts, *rx = &p->rx.counts;

	*out = (struct virtio_net_stats){
		.tx_frames = counter_get(&tx->frames),
		.tx_bytes = counter_get(&tx->bytes),
		.tx_batches = counter_get(&tx->batches),
		.tx_stalls = counter_get(&tx->stalls),
		.tx_interrupts = counter_get(&tx->interrupts),
		.rx_frames = counter_get(&rx->frames),
		.rx_bytes = counter_get(&rx->bytes),
		.rx_batches = counter_get(&rx->batches),
		.rx_stalls = counter_get(&rx->stalls),
		.rx_interrupts = counter_get(&rx->interrupts),
	};
	for (unsigned i = 0; i < VIRTIO_NET_NR_DROPS; i++)
		out->drops[i] = counter_get(&p->drops[i]);
}

unsigned virtio_net_pairs(const struct device *dev)
{
	return virtio_net_of(virtio_of(dev))->nr_pairs;
}

unsigned virtio_net_pairs_in_use(const struct device *dev)
{
	return vnet_get(virtio_net_of(virtio_of(dev))->s.pairs);
}

bool virtio_net_uses_vhost(const struct device *dev)
{
	return vhost_net_serves(virtio_net_of(virtio_of(dev))->vhost);
}
