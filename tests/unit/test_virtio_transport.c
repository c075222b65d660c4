/* SPDX-License-Identifier: MIT */
/*
 * One virtio disk on every transport and with both kinds of rings: what a driver finds is
 * the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/state.h"
#include "tests/unit/virtio_rig.h"

static int setup(void **state)
{
	struct vrig *m;

	vrig_setup_image_none(state);
	m = *state;
	m->no_msi = true;
	return 0;
}

static void for_each(struct vrig *m, void (*fn)(struct vrig *m))
{
	for (unsigned i = 0; i < VRIG_NR_VARIANTS; i++) {
		print_message("%s\n", vrig_variants[i].name);
		vrig_create_as(m, &vrig_variants[i]);
		fn(m);
		vrig_destroy(m);
	}
}

/* The ring goes round many times, one by one and filled; both interrupts, and their end. */
static void check_requests(struct vrig *m)
{
	const unsigned full = VRIG_QSIZE / 3;

	assert_int_equal(vdrv_device_in(&m->d, 0, 4), VRIG_SECTORS);
	vrig_start(m, m->v->features);
	assert_false(vrig_line(m));
	for (unsigned i = 0; i < 3 * VRIG_QSIZE; i++)
		vrig_read(m->q, i % VRIG_SECTORS);
	for (unsigned round = 0; round < VRIG_QSIZE; round++) {
		for (unsigned i = 0; i < full; i++)
			vrig_add_read(m->q, i, (round + i) % VRIG_SECTORS);
		vdrv_kick(m->q);
		for (unsigned i = 0; i < full; i++)
			vrig_finish_read(m->q, i, (round + i) % VRIG_SECTORS);
	}
	vrig_settle(m);
	(void)vdrv_isr(&m->d);
	assert_false(vrig_line(m));
	vdrv_set_event(m->q, m->q->event_idx ? VIRTQ_EVENT_DESC : VIRTQ_EVENT_ENABLE,
		       m->q->last_used);
	vrig_read(m->q, 1);
	vrig_wait_line(m, true);
	assert_int_equal(vdrv_isr(&m->d), 1);
	assert_false(vrig_line(m));
	device_lock(m->dev);
	virtio_config_changed(m->vdev);
	device_unlock(m->dev);
	assert_true(vrig_line(m));
	assert_int_equal(vdrv_isr(&m->d), 2);
	assert_false(vrig_line(m));
	/* A reset ends all of it. */
	device_lock(m->dev);
	virtio_config_changed(m->vdev);
	device_unlock(m->dev);
	vdrv_set_status(&m->d, 0);
	assert_false(vrig_line(m));
	assert_int_equal(vdrv_status(&m->d), 0);
	device_lock(m->dev);
	virtio_config_changed(m->vdev); /* nobody is there */
	device_unlock(m->dev);
	assert_false(vrig_line(m));
}

static void test_requests(void **state)
{
	for_each(*state, check_requests);
}

static uint64_t kicks(struct vrig *m)
{
	return virtio_kicks(m->vdev);
}

/*
 * Doorbells by value and by place, each queue's its own. That a queue has not been rung does not
 * show in its ring: its thread looks there whenever it is awake.
 */
static void check_doorbells(struct vrig *m)
{
	enum bus_space space = m->v->kind == VDRV_MMIO ? BUS_MMIO : BUS_PIO;
	struct virtio_queue *other = &m->vdev->queues[1];
	struct vdrv_queue *first = &m->q[0], *second = &m->q[1];
	uint64_t own;

	vrig_start_queues(m, m->v->features | VRIG_F_MQ, 2);
	vrig_settle(m);
	assert_int_equal(m->bus.tables[space].nr_eventfds, m->v->no_ioeventfd ? 0 : 2);
	own = atomic_load(&other->own);
	vdrv_kick(first);
	vrig_settle(m);
	assert_int_equal(atomic_load(&other->own), own);
	assert_int_equal(kicks(m), m->v->no_ioeventfd ? 0 : 1);
	assert_int_equal(other->kicks, 0);
	vrig_add_read(second, 0, 3);
	vdrv_kick(second);
	vrig_finish_read(second, 0, 3);
	assert_int_equal(kicks(m), m->v->no_ioeventfd ? 0 : 2);
	/* A queue that there is not. */
	second->index = 2;
	if (m->v->kind != VDRV_MODERN)
		vdrv_kick(second);
	vrig_settle(m);
	assert_int_equal(kicks(m), m->v->no_ioeventfd ? 0 : 2);
}

static void test_doorbells(void **state)
{
	for_each(*state, check_doorbells);
}

/* With a request waiting and the ring in its second round, into a fresh device. */
static void check_state(struct vrig *m)
{
	struct vrig to;

	vrig_start(m, m->v->features);
	for (unsigned i = 0; i < VRIG_QSIZE + 3; i++)
		vrig_read(m->q, i);
	vrig_settle(m);
	(void)vdrv_isr(&m->d);
	vrig_create_twin(&to, m);
	virtio_pause(m->dev);
	virtio_pause(to.dev);
	device_lock(m->dev);
	virtio_config_changed(m->vdev);
	device_unlock(m->dev);
	vrig_add_read(m->q, 0, 33);
	vdrv_kick(m->q);
	check_state_round_trip(m->dev, to.dev);
	check_state_round_trip(&m->host->dev, &to.host->dev);
	assert_true(vrig_line(&to));
	assert_int_equal(vdrv_isr(&to.d), 2);
	assert_false(vrig_line(&to));
	vrig_move_to_twin(&to, m);
	vrig_check_none_used(to.q, 10);
	virtio_resume(to.dev);
	vrig_finish_read(to.q, 0, 33);
	for (unsigned i = 0; i < 3 * VRIG_QSIZE; i++)
		vrig_read(to.q, i);
	vrig_destroy(&to);
}

static void test_state(void **state)
{
	for_each(*state, check_state);
}

/* What a guest does wrong in its ring breaks the device until a reset, and no longer. */
static void check_broken(struct vrig *m)
{
	const struct vdrv_seg wrong[][3] = {
		{ { VRIG_HEADER(0), 16, false },
		  { VRIG_DATA(0), 512, true },
		  { VRIG_RAM, 1, true } },
		{ { VRIG_HEADER(0), 16, false },
		  { VRIG_DATA(0), 512, false },
		  { VRIG_STATUS(0), 0, true } },
		{ { VRIG_STATUS(0), 1, true },
		  { VRIG_HEADER(0), 16, false },
		  { VRIG_DATA(0), 512, true } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		vrig_start(m, m->v->features);
		vrig_read(m->q, 7);
		(void)vdrv_isr(&m->d);
		vdrv_add(m->q, wrong[i], 3, 0);
		vdrv_kick(m->q);
		vrig_wait_needs_reset(m);
		vrig_wait_line(m, true);
		assert_true(vdrv_isr(&m->d) & 2);
	}
	vrig_start(m, m->v->features);
	vrig_read(m->q, 8);
}

static void test_broken(void **state)
{
	for_each(*state, check_broken);
}

/* The registers of a device after a reset are those of a new one. */
static void check_reset(struct vrig *m)
{
	struct state_buf fresh = { 0 }, used = { 0 };

	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &fresh), 0);
	assert_int_equal(pci_assign(m->host), 0);
	vrig_start(m, m->v->features);
	vrig_read(m->q, 9);
	device_reset(m->dev);
	assert_int_equal(state_save(m->dev, &used), 0);
	assert_int_equal(used.len, fresh.len);
	assert_memory_equal(used.data, fresh.data, used.len);
	state_buf_free(&used);
	state_buf_free(&fresh);
	for (unsigned i = 0; i < BUS_NR_SPACES; i++)
		assert_int_equal(m->bus.tables[i].nr_eventfds, 0);
}

static void test_reset(void **state)
{
	for_each(*state, check_reset);
}

/* One queue alone is reset, and set up anew elsewhere (2.6.1). */
static void check_queue_reset(struct vrig *m)
{
	if (m->v->kind == VDRV_LEGACY)
		return;
	vrig_start(m, m->v->features | VIRTIO_F_RING_RESET);
	for (unsigned i = 0; i < 5; i++)
		vrig_read(m->q, i);
	vrig_settle(m);
	if (m->v->kind == VDRV_MMIO) {
		vdrv_reg_out(&m->d, 0xc0, 4, 1);
		assert_int_equal(vdrv_reg_in(&m->d, 0xc0, 4), 0);
		assert_int_equal(vdrv_reg_in(&m->d, 0x44, 4), 0);
	} else {
		vdrv_common_out(&m->d, 0x3a, 2, 1);
		assert_int_equal(vdrv_common_in(&m->d, 0x3a, 2), 0);
		assert_int_equal(vdrv_common_in(&m->d, 0x1c, 2), 0);
		assert_int_equal(vdrv_common_in(&m->d, 0x20, 4), 0);
	}
	assert_int_equal(vdrv_status(&m->d), 0x0f);
	vrig_add_read(m->q, 0, 1);
	vdrv_kick(m->q);
	vrig_check_none_used(m->q, 10);
	vdrv_queue_setup(&m->d, m->q, 0, VRIG_QSIZE / 2, VRIG_RING(2),
			 m->v->features & VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 2 * VRIG_QSIZE; i++)
		vrig_read(m->q, i);
}

static void test_queue_reset(void **state)
{
	for_each(*state, check_queue_reset);
}

/* A driver that has not taken the feature cannot do it. */
static void test_queue_reset_not_negotiated(void **state)
{
	struct vrig *m = *state;

	vrig_create_as(m, &vrig_variants[VRIG_MODERN]);
	vrig_start(m, m->v->features);
	vdrv_common_out(&m->d, 0x3a, 2, 1);
	assert_int_equal(vdrv_common_in(&m->d, 0x1c, 2), 1);
	vrig_read(m->q, 5);
}

static void test_offers(void **state)
{
	struct vrig *m = *state;
	struct virtio_blk_config cfg = { .name = "virtio-blk0",
					 .at.base = VRIG_MMIO_BASE,
					 .at.mem = &m->mem,
					 .block = m->image };
	struct device *dev;
	struct bus bus;

	bus_init(&bus);
	cfg.at.bus = &bus;
	for (unsigned i = 0; i < 4; i++) {
		cfg.at.packed = i & 1;
		cfg.at.no_event_idx = i & 2;
		assert_int_equal(virtio_blk_create(&cfg, &dev), 0);
		assert_int_equal(!!(virtio_of(dev)->features & VIRTIO_F_RING_PACKED), i & 1);
		assert_int_equal(!(virtio_of(dev)->features & VIRTIO_F_EVENT_IDX), i >> 1);
		device_destroy(dev);
	}
	bus_destroy(&bus);
}

/* A packed ring may have any size, a split one a power of 2; and streams that lie of it. */
static void test_sizes_and_hostile_state(void **state)
{
	struct vrig *m = *state;
	struct virtio_state good, *s;

	vrig_create_as(m, &vrig_variants[VRIG_MODERN_PACKED]);
	s = m->vdev->s;
	assert_true(vdrv_start(&m->d, m->v->features));
	vdrv_queue_setup(&m->d, m->q, 0, 7, VRIG_RING(0), false);
	assert_int_equal(vdrv_common_in(&m->d, 0x18, 2), 7);
	vdrv_driver_ok(&m->d);
	for (unsigned i = 0; i < 30; i++)
		vrig_read(m->q, i);
	virtio_pause(m->dev);
	good = *s;
	for (unsigned i = 0; i < 6; i++) {
		struct state_buf buf = { 0 };

		switch (i) {
		case 0:
			s->next_avail[0] ^= VIRTQ_WRAP;
			break;
		case 1:
			s->next_avail[0] = s->next_used[0] = 7;
			break;
		case 2:
			s->driver_features &= ~VIRTIO_F_RING_PACKED; /* a split ring of 7 */
			break;
		case 3:
			s->legacy = 1;
			break;
		case 4:
			s->legacy = 1;
			s->status = 7;
			break;
		default:
			s->avail[0] |= 2;
			break;
		}
		assert_int_equal(state_save(m->dev, &buf), 0);
		*s = good;
		assert_int_equal(state_load(m->dev, buf.data, buf.len), -EBADMSG);
		state_buf_free(&buf);
	}
	virtio_resume(m->dev);
	vrig_read(m->q, 1);
}

/* A stream whose driver came by an interface that the device does not have. */
static void test_state_of_another_interface(void **state)
{
	static const enum vrig_way ways[] = { VRIG_MODERN, VRIG_LEGACY, VRIG_MMIO };

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct state_buf buf = { 0 };
		struct virtio_state *s, good;
		struct vrig *m = *state;

		vrig_create_as(m, &vrig_variants[ways[i]]);
		s = m->vdev->s;
		good = *s;
		if (ways[i] == VRIG_LEGACY) {
			s->driver_features = VRIG_MODERN_FEATURES;
			s->status = 0x0b;
		} else {
			s->legacy = 1;
			s->status = 0x03;
		}
		assert_int_equal(state_save(m->dev, &buf), 0);
		*s = good;
		assert_int_equal(state_load(m->dev, buf.data, buf.len), -EBADMSG);
		state_buf_free(&buf);
		vrig_destroy(m);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_requests),
		T(test_doorbells),
		T(test_state),
		T(test_broken),
		T(test_reset),
		T(test_queue_reset),
		T(test_queue_reset_not_negotiated),
		T(test_offers),
		T(test_sizes_and_hostile_state),
		T(test_state_of_another_interface),
	};

	return cmocka_run_group_tests_name("virtio_transport", tests, NULL, NULL);
}
