/* SPDX-License-Identifier: MIT */
/*
 * A network card whose queues the host's kernel serves: what it is told, and when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "devices/virtio/vhost_net.h"
#include "tests/unit/fake_vhost.h"
#include "tests/unit/net_rig.h"

#define TAP_FD 1234
#define CTRL (F(N_CTRL_VQ) | F(N_CTRL_RX) | F(N_MRG_RXBUF) | F(N_STATUS))

struct fixture {
	struct nrig *r;
	struct fake_vhost k;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	nrig_setup_none((void **)&f->r);
	fake_vhost_init(&f->k);
	f->k.features = F(15) | F(28) | F(29) | F(32) | F(27);
	f->r->net.vhost_fd = TAP_FD;
	f->r->cfg.vhost = VIRTIO_NET_VHOST_AUTO;
	f->r->cfg.vhost_sys = &f->k.sys;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	nrig_teardown((void **)&f->r);
	for (unsigned i = 0; i < f->k.nr_nodes; i++)
		assert_int_equal(fcntl(f->k.nodes[i], F_GETFD), -1);
	free(f);
	return 0;
}

static int vector_fd(const struct fixture *f, unsigned vec)
{
	return f->r->msi.vec[vec].fd;
}

static void test_start(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;
	static const char *const order[] = { "SET_OWNER",      "GET_FEATURES",   "SET_FEATURES",
					     "SET_MEM_TABLE",  "SET_VRING_NUM",  "SET_VRING_BASE",
					     "SET_VRING_ADDR", "SET_VRING_KICK", "SET_VRING_CALL",
					     "NET_SET_BACKEND" };
	const struct fake_vhost_call *c;

	nrig_create(r);
	nrig_start(r, CTRL | VIRTIO_F_EVENT_IDX, 1);
	assert_true(virtio_net_uses_vhost(r->dev));
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		assert_string_equal(f->k.log[i].request, order[i]);
	/* Without what is none of its business. */
	assert_int_equal(f->k.log[2].value, F(15) | F(28) | F(29) | F(32));
	assert_int_equal(f->k.nr_regions, r->mem.nr_regions);
	assert_int_equal(f->k.regions[0].gpa, r->mem.regions[0].gpa);
	assert_int_equal(f->k.regions[0].size, r->mem.regions[0].size);
	assert_ptr_equal(f->k.regions[0].hva, r->mem.regions[0].hva);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_NUM", i, 0)->value, NRIG_QSIZE);
		assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_BASE", i, 0)->value, 0);
		c = fake_vhost_find(&f->k, "SET_VRING_ADDR", i, 0);
		assert_ptr_equal(c->desc, mem_at(&r->mem, r->q[i].desc, 1));
		assert_ptr_equal(c->avail, mem_at(&r->mem, r->q[i].avail, 1));
		assert_ptr_equal(c->used, mem_at(&r->mem, r->q[i].used, 1));
		assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_KICK", i, 0)->value,
				 virtio_of(r->dev)->queues[i].kick_fd);
		assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_CALL", i, 0)->value,
				 vector_fd(f, i + 1));
		assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", i, 0)->value, TAP_FD);
	}
	/* The frames are the kernel's; the control queue is ours. */
	nrig_offer_tx(r, &r->q[NRIG_TX0], 0, NULL, 60);
	vdrv_kick(&r->q[NRIG_TX0]);
	nrig_not_used(r, &r->q[NRIG_TX0]);
	assert_int_equal(r->net.nr_sent, 0);
	assert_int_equal(nrig_ctrl(r, 0, 0, "\0", 1), 0);
	assert_int_equal(r->net.nr_wants, 0);
}

static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;
	const struct virtio_dev *vdev;

	nrig_create(r);
	nrig_start(r, CTRL, 1);
	vdev = virtio_of(r->dev);
	f->k.base[0] = 7;
	f->k.base[1] = 65535;
	virtio_pause(r->dev);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 1)->value, -1);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 1, 1)->value, -1);
	assert_int_equal(vdev->s->next_avail[0], 7);
	assert_int_equal(vdev->s->next_used[0], 7);
	assert_int_equal(vdev->s->next_avail[1], 65535);
	assert_int_equal(vdev->s->next_used[1], 65535);
	f->k.nr_log = 0;
	virtio_resume(r->dev);
	assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_BASE", 0, 0)->value, 7);
	assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_BASE", 1, 0)->value, 65535);
	f->k.nr_log = 0;
	vdrv_set_status(&r->d, 0);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 0)->value, -1);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 1, 0)->value, -1);
}

static bool line(struct nrig *r)
{
	bool level;

	pthread_mutex_lock(&r->host->intx_lock);
	level = r->irq.level;
	pthread_mutex_unlock(&r->host->intx_lock);
	return level;
}

/* A vector is the kernel's to signal; without one it is a descriptor of ours. */
static void test_calls(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;
	int relay;

	nrig_create(r);
	nrig_start(r, CTRL, 1);
	vdrv_common_out(&r->d, 0x16, 2, 0);
	vdrv_common_out(&r->d, 0x1a, 2, 2);
	assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_CALL", 0, 1)->value, vector_fd(f, 2));
	assert_null(fake_vhost_find(&f->k, "SET_VRING_CALL", 1, 1));
	vdrv_msix_enable(&r->d, false);
	relay = (int)fake_vhost_find(&f->k, "SET_VRING_CALL", 0, 2)->value;
	assert_int_not_equal(relay, vector_fd(f, 2));
	assert_int_not_equal(relay, fake_vhost_find(&f->k, "SET_VRING_CALL", 1, 1)->value);
	assert_false(line(r));
	eventfd_write(relay, 1);
	for (unsigned i = 0; i < NRIG_WAIT && !line(r); i++)
		usleep(1000);
	assert_int_equal(vdrv_isr(&r->d), 1);
	assert_false(line(r));
	/* One that comes with the stop is not lost. */
	eventfd_write(relay, 1);
	virtio_pause(r->dev);
	assert_int_equal(vdrv_isr(&r->d), 1);
	virtio_resume(r->dev);
	vdrv_msix_enable(&r->d, true);
	assert_int_equal(fake_vhost_find(&f->k, "SET_VRING_CALL", 0, 4)->value, vector_fd(f, 2));
}

static void test_link(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;

	nrig_create(r);
	nrig_start(r, CTRL, 1);
	virtio_net_set_link(r->dev, false);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 1)->value, -1);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 1, 1)->value, -1);
	f->k.nr_log = 0;
	nrig_start(r, CTRL, 1);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 0)->value,
			 -1); /* of the reset */
	assert_null(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 1));
	virtio_net_set_link(r->dev, true);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 0, 1)->value, TAP_FD);
	assert_int_equal(fake_vhost_find(&f->k, "NET_SET_BACKEND", 1, 1)->value, TAP_FD);
}

static void test_pairs(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;
	unsigned attached = 0;

	r->cfg.pairs = 2;
	nrig_create(r);
	assert_int_equal(f->k.nr_nodes, 2);
	nrig_start(r, CTRL | F(N_MQ), 2);
	for (unsigned i = 0; i < f->k.nr_log; i++)
		if (!strcmp(f->k.log[i].request, "NET_SET_BACKEND"))
			assert_int_equal(f->k.log[i].node, 0);
	f->k.nr_log = 0;
	assert_int_equal(nrig_ctrl(r, 4, 0, "\2\0", 2), 0);
	for (unsigned i = 0; i < f->k.nr_log; i++) {
		assert_string_equal(f->k.log[i].request, "NET_SET_BACKEND");
		assert_int_equal(f->k.log[i].node, 1);
		assert_int_equal(f->k.log[i].value, TAP_FD);
		attached++;
	}
	assert_int_equal(attached, 2);
	f->k.nr_log = 0;
	assert_int_equal(nrig_ctrl(r, 4, 0, "\1\0", 2), 0);
	assert_int_equal(f->k.nr_log, 2);
	assert_int_equal(f->k.log[0].value, -1);
	assert_int_equal(f->k.log[0].node, 1);
}

/* What the kernel cannot do, or does not, we do. */
static void test_falls_back(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;
	static const char *const requests[] = { "SET_FEATURES",   "SET_MEM_TABLE",
						"SET_VRING_NUM",  "SET_VRING_BASE",
						"SET_VRING_ADDR", "SET_VRING_KICK",
						"SET_VRING_CALL", "NET_SET_BACKEND" };
	unsigned sent = 0;

	nrig_create(r);
	nrig_start(r, CTRL | VIRTIO_F_RING_PACKED, 1);
	assert_false(virtio_net_uses_vhost(r->dev));
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, ++sent);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		f->k.nr_log = 0;
		f->k.failing = requests[i];
		nrig_start(r, CTRL, 1);
		assert_false(virtio_net_uses_vhost(r->dev));
		nrig_tx(r, NULL, 60);
		assert_int_equal(r->net.nr_sent, ++sent);
	}
	f->k.failing = NULL;
	f->k.nr_log = 0;
	nrig_start(r, CTRL, 1);
	assert_true(virtio_net_uses_vhost(r->dev));
	nrig_destroy(r);

	/* An old kernel; an old driver; no module; no tap. */
	f->k.nr_log = f->k.nr_nodes = 0;
	f->k.features = F(32);
	nrig_create(r);
	nrig_start(r, CTRL, 1);
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, ++sent);
	nrig_destroy(r);
	f->k.nr_log = f->k.nr_nodes = 0;
	f->k.features = ~0ull;
	r->cfg.at.mode = VIRTIO_PCI_TRANSITIONAL;
	nrig_create(r);
	nrig_start_legacy(r, 0);
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, ++sent);
	nrig_destroy(r);
	r->cfg.at.mode = VIRTIO_PCI_MODERN;
	f->k.open_result = -ENOENT;
	nrig_create(r);
	assert_false(virtio_net_uses_vhost(r->dev));
	nrig_start(r, CTRL, 1);
	nrig_tx(r, NULL, 60);
	assert_int_equal(r->net.nr_sent, ++sent);
	nrig_destroy(r);
	f->k.open_result = 0;
	f->k.nr_log = f->k.nr_nodes = 0;
	r->net.vhost_fd = -1;
	nrig_create(r);
	assert_false(virtio_net_uses_vhost(r->dev));
}

static void check_refused(struct fixture *f, int ret, const char *word)
{
	struct nrig *r = f->r;
	struct err err = { "" };
	struct device *dev;

	assert_int_equal(virtio_net_create(&r->cfg, &dev, &err), ret);
	assert_non_null(strstr(err.text, word));
}

/* Who wants it hears what is missing. */
static void test_on(void **state)
{
	struct fixture *f = *state;
	struct nrig *r = f->r;

	nrig_create(r);
	r->cfg.vhost = VIRTIO_NET_VHOST_ON;
	r->cfg.at.devfn = -1;
	f->k.open_result = -ENOENT;
	check_refused(f, -ENOENT, "/dev/vhost-net: No such file");
	f->k.open_result = 0;
	f->k.failing = "SET_OWNER";
	check_refused(f, -EINVAL, "/dev/vhost-net");
	f->k.failing = NULL;
	r->net.vhost_fd = -1;
	check_refused(f, -EOPNOTSUPP, "tap");
	r->net.vhost_fd = TAP_FD;
	nrig_destroy(r);
	r->cfg.at.devfn = 0x10;
	f->k.nr_log = 0;
	nrig_create(r);
	/* Packed rings are not even offered. */
	assert_false(vdrv_features(&r->d) & VIRTIO_F_RING_PACKED);
	nrig_start(r, CTRL, 1);
	assert_true(virtio_net_uses_vhost(r->dev));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_falls_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_on, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
