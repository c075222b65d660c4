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
	struct vrig *m = *state;
	struct virtio_pci *vp = container_of(m->vdev, struct virtio_pci, vdev);
	struct virtio_pci_state *s = vp->s, good;

	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	virtio_pause(m->dev);
	good = *s;
	for (unsigned i = 0; i < 16; i++) {
		struct state_buf buf = { 0 };

		switch (i) {
		case 0:
			s->virtio.desc[0] = VRIG_RAM - 16;
			break;
		case 1:
			s->virtio.used[0] |= 1;
			break;
		case 2:
			s->virtio.size[0] = 2 * VRIG_QSIZE;
			break;
		case 3:
			s->virtio.size[0] = 0;
			break;
		case 4:
			s->virtio.next_used[0]++;
			break;
		case 5:
			s->virtio.enabled[1] = 1;
			break;
		case 6:
			s->virtio.size[15] = 4;
			break;
		case 7:
			s->virtio.driver_features |= 1ull << 50;
			break;
		case 8:
			s->virtio.driver_features &= ~VIRTIO_F_VERSION_1;
			break;
		case 9:
			s->virtio.status = VIRTIO_STATUS_DRIVER_OK;
			break;
		case 10:
			s->virtio.status = 0x1f;
			break;
		case 11:
			s->queue_vector[0] = 2;
			break;
		case 12:
			s->queue_vector[1] = 0;
			break;
		case 13:
			s->config_vector = 0xfffe;
			break;
		case 14:
			s->isr = 4;
			break;
		default:
			s->msix.pending = 4;
			break;
		}
		/* pending is fetched on saving: lie in the stream, with a new checksum. */
		assert_int_equal(state_save(m->dev, &buf), 0);
		if (i == 15) {
			const char *name = "any.vp.msix.pending";
			uint8_t *p = memmem(buf.data, buf.len, name, strlen(name));

			p[strlen(name) + 8] = 4;
			store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
		}
		*s = good;
		assert_int_equal(state_load(m->dev, buf.data, buf.len), -EBADMSG);
		assert_memory_equal(s, &good, sizeof(good));
		state_buf_free(&buf);
	}
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
