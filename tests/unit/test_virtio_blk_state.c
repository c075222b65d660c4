/* SPDX-License-Identifier: MIT */
/* A virtio disk's saved state, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/state.h"
#include "tests/unit/virtio_rig.h"

/* With requests waiting and indices past 0, into a fresh device over the same memory. */
static void test_state_round_trip(void **state)
{
	struct vrig *m = *state, to;

	vrig_create(m);
	vrig_create_twin(&to, m);
	vrig_start(m, VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 21; i++)
		assert_int_equal(vrig_request(m->q, VRIG_IN, i, 512, NULL), VRIG_OK);
	pci_cfg_out(&m->bus, VRIG_DEVFN, PCI_BAR0 + 4, 4, 0xd0000000);
	(void)vrig_take_soon(m, 1);
	bus_out(&m->bus, BUS_MMIO, 0xd0000000 + (m->d.msix_table.addr & 0xfff) + 28, 4, 1);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	virtio_pause(m->dev);
	virtio_pause(to.dev);
	vrig_add(m->q, 0, VRIG_IN, 33, 512);
	vdrv_kick(m->q);
	check_state_round_trip(m->dev, to.dev);
	check_state_round_trip(&m->host->dev, &to.host->dev);

	/* The old one falls silent; the new one has the request, the BAR, the pending bit. */
	vrig_move_to_twin(&to, m);
	vrig_check_none_used(to.q, 20);
	virtio_resume(to.dev);
	assert_int_equal(vrig_finish(to.q, 0, NULL), VRIG_OK);
	vrig_check_data(to.q, VRIG_DATA(0), 33 * 512, 512);
	to.d.common.addr = 0xd0000000;
	assert_int_equal(vdrv_status(&to.d), 0x0f);
	assert_int_equal(bus_in(&to.bus, BUS_MMIO, 0xd0000c00, 4), 2);
	bus_out(&to.bus, BUS_MMIO, 0xd0000000 + 0x800 + 28, 4, 0);
	assert_int_not_equal(vrig_take(&to, 1), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(vrig_request(to.q, VRIG_IN, i, 512, NULL), VRIG_OK);
	vrig_destroy(&to);
}

/* Also without a pause: whoever saves gets the indices. And a reset is as good as new. */
static void test_state_running(void **state)
{
	struct vrig *m = *state;
	struct state_buf fresh = { 0 }, used = { 0 };
	struct virtio_pci *vp = container_of(m->vdev, struct virtio_pci, vdev);

	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &fresh), 0);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_start(m, VRIG_F_FLUSH);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(vrig_request(m->q, VRIG_IN, i, 512, NULL), VRIG_OK);
	assert_int_equal(state_save(m->dev, &used), 0);
	assert_int_equal(vp->s->virtio.next_avail[0], 5);
	state_buf_free(&used);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &used), 0);
	assert_int_equal(used.len, fresh.len);
	assert_memory_equal(used.data, fresh.data, used.len);
	state_buf_free(&used);
	state_buf_free(&fresh);
}

/* Streams that pass the checksum and lie. */
static void test_hostile_state(void **state)
{
	static const struct state_damage begun = { "any.vp.virtio.status", 1,
						   VIRTIO_STATUS_DRIVER_OK };
	struct vrig *m = *state;

	/* Without a queue whose features are not settled, which is refused for itself. */
	check_state_refused(m->dev, &begun, 1);
	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	virtio_pause(m->dev);

	const struct state_damage lies[] = {
		{ "any.vp.virtio.desc", 8, VRIG_RAM - 16 },
		{ "any.vp.virtio.used", 8, m->q->used | 1 },
		{ "any.vp.virtio.size", 2, 2 * VRIG_QSIZE },
		{ "any.vp.virtio.size", 2, 0 },
		{ "any.vp.virtio.next_used", 2, m->q->last_used + 1u },
		{ "any.vp.virtio.enabled", 2, 0x0101 }, /* of a queue that is not there */
		{ "any.vp.virtio.size", 8, VRIG_QSIZE | 4ull << 48 },
		{ "any.vp.virtio.driver_features", 8, m->d.features | 1ull << 50 },
		{ "any.vp.virtio.driver_features", 8, m->d.features & ~VIRTIO_F_VERSION_1 },
		{ "any.vp.virtio.status", 1, VIRTIO_STATUS_DRIVER_OK },
		{ "any.vp.virtio.status", 1, 0x1f },
		{ "any.vp.queue_vector", 2, 2 },
		{ "any.vp.queue_vector", 4, 1 },
		{ "any.vp.config_vector", 2, 0xfffe },
		{ "any.vp.isr", 1, 4 },
		{ "any.vp.msix.pending", 1, 4 },
	};

	check_state_refused(m->dev, lies, ARRAY_SIZE(lies));
	virtio_resume(m->dev);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_state_round_trip, vrig_setup_image_none),
		T(test_state_running, vrig_setup_image),
		T(test_hostile_state, vrig_setup_image),
	};

	return cmocka_run_group_tests_name("virtio_blk_state", tests, NULL, NULL);
}
