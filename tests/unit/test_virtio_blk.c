/* SPDX-License-Identifier: MIT */
/* A virtio disk's plain requests, those that fail, and those that break its queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/virtio_rig.h"

static void test_read_write(void **state)
{
	struct vrig *m = *state;
	const uint64_t features[] = { VRIG_F_FLUSH,
				      VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX };

	for (unsigned round = 0; round < 2; round++) {
		uint8_t disk[1024];
		uint32_t len;
		int fd;

		(void)vrig_take(m, 1);
		vrig_start(m, features[round]);
		assert_int_equal(vrig_request(m->q, VRIG_IN, 3, 1536, &len), VRIG_OK);
		assert_int_equal(len, 1537);
		vrig_check_data(m->q, VRIG_DATA(0), 3 * 512, 1536);
		assert_int_equal(vrig_take_soon(m, 1), 1);

		memset(vrig_at(m, VRIG_DATA(0)), 0x5a + (int)round, 1024);
		vrig_add(m->q, 0, VRIG_OUT, 10, 1024);
		vdrv_kick(m->q);
		assert_int_equal(vrig_finish(m->q, 0, &len), VRIG_OK);
		assert_int_equal(len, 1);
		assert_int_equal(vrig_request(m->q, VRIG_FLUSH, 0, 0, &len), VRIG_OK);
		assert_int_equal(len, 1);
		fd = open(m->path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, disk, 1024, 5120), 1024);
		close(fd);
		assert_memory_equal(disk, vrig_at(m, VRIG_DATA(0)), 1024);

		memset(vrig_at(m, VRIG_DATA(0)), 0xff, 32);
		assert_int_equal(vrig_request(m->q, VRIG_GET_ID, 0, 20, &len), VRIG_OK);
		assert_int_equal(len, 21);
		assert_memory_equal(vrig_at(m, VRIG_DATA(0)),
				    "SERIAL-1\0\0\0\0\0\0\0\0\0\0\0\0\xff", 21);
		assert_int_equal(vrig_request(m->q, VRIG_GET_ID, 0, 4, &len), VRIG_OK);
		assert_int_equal(len, 5);
		assert_memory_equal(vrig_at(m, VRIG_DATA(0)), "SERI", 4);
		assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 0, NULL), VRIG_OK);
	}
}

/* Many in one batch: each is right, and with EVENT_IDX one interrupt tells of all. */
static void test_batch(void **state)
{
	struct vrig *m = *state;
	uint32_t id, len;

	vrig_start(m, VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	for (unsigned round = 0; round < 100; round++) {
		bool seen[VRIG_QSIZE] = { false };

		/* The driver asks to be told at the last. */
		*(uint16_t *)vrig_at(m, m->q->avail + 4 + 2 * VRIG_QSIZE) =
			(uint16_t)(m->q->last_used + VRIG_QSIZE - 1);
		for (unsigned i = 0; i < VRIG_QSIZE; i++)
			vrig_add(m->q, i, VRIG_IN, (i + round) % 64, 512);
		vdrv_kick(m->q);
		for (unsigned i = 0; i < VRIG_QSIZE; i++) {
			assert_true(vdrv_used(m->q, &id, &len, VRIG_WAIT));
			assert_true(id < VRIG_QSIZE && !seen[id]);
			seen[id] = true;
		}
		for (unsigned i = 0; i < VRIG_QSIZE; i++) {
			assert_int_equal(*(uint8_t *)vrig_at(m, VRIG_STATUS(i)), VRIG_OK);
			vrig_check_data(m->q, VRIG_DATA(i), (i + round) % 64 * 512, 512);
		}
		/* The first round after a start tells of its first batch, too. */
		assert_in_range(vrig_take_soon(m, 1), 1, round ? 1 : 2);
		assert_int_equal(vrig_take(m, 1), 0);
	}
}

/* The specification leaves the layout of a message to the driver (2.7.4). */
static void test_framing(void **state)
{
	struct vrig *m = *state;
	struct vdrv_seg segs[VRIG_QSIZE];
	uint8_t *status = vrig_at(m, VRIG_DATA(0) + 0x400 + 512);

	vrig_start(m, VRIG_F_FLUSH | VIRTIO_F_INDIRECT_DESC);
	/* A header in pieces, data and status in one descriptor. */
	vrig_put_header(m->q, 0, VRIG_IN, 5);
	segs[0] = (struct vdrv_seg){ VRIG_HEADER(0), 1, false };
	segs[1] = (struct vdrv_seg){ VRIG_HEADER(0) + 1, 7, false };
	segs[2] = (struct vdrv_seg){ VRIG_HEADER(0) + 8, 8, false };
	segs[3] = (struct vdrv_seg){ VRIG_DATA(0) + 0x400, 513, true };
	*status = 0xee;
	vdrv_add(m->q, segs, 4, 0);
	vdrv_kick(m->q);
	assert_int_equal(vrig_used(m->q), 513);
	assert_int_equal(*status, VRIG_OK);
	vrig_check_data(m->q, VRIG_DATA(0) + 0x400, 5 * 512, 512);

	/* Header and data in one, the data ending in a crumb. */
	memcpy(vrig_at(m, VRIG_DATA(0)), vrig_at(m, VRIG_HEADER(0)), 16);
	store_le(vrig_at(m, VRIG_DATA(0)), 4, VRIG_OUT);
	memset(vrig_at(m, VRIG_DATA(0) + 16), 0xa7, 512);
	segs[0] = (struct vdrv_seg){ VRIG_DATA(0), 16 + 511, false };
	segs[1] = (struct vdrv_seg){ VRIG_DATA(0) + 16 + 511, 1, false };
	segs[2] = (struct vdrv_seg){ VRIG_STATUS(0), 1, true };
	*(uint8_t *)vrig_at(m, VRIG_STATUS(0)) = 0xee;
	vdrv_add(m->q, segs, 3, VRIG_TABLE(0));
	vdrv_kick(m->q);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_OK);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 5, 512, NULL), VRIG_OK);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(((uint8_t *)vrig_at(m, VRIG_DATA(0)))[i], 0xa7);

	/* As many descriptors as the queue has. */
	vrig_put_header(m->q, 0, VRIG_IN, 1);
	for (unsigned i = 0; i < VRIG_QSIZE; i++)
		segs[i] = (struct vdrv_seg){ VRIG_DATA(0) + i * 40, 40, true };
	segs[0] = (struct vdrv_seg){ VRIG_HEADER(0), 16, false };
	segs[VRIG_QSIZE - 1].len = 512 - (VRIG_QSIZE - 2) * 40 % 512 + 1;
	vdrv_add(m->q, segs, VRIG_QSIZE, 0);
	vdrv_kick(m->q);
	assert_int_equal(vrig_used(m->q) % 512, 1);
	vrig_check_data(m->q, VRIG_DATA(0) + 40, 512, 40 * (VRIG_QSIZE - 2));
}

static void test_errors(void **state)
{
	struct vrig *m = *state;
	struct vdrv_seg segs[2];
	uint32_t len;

	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 100, &len),
			 VRIG_IOERR); /* no whole sector */
	assert_int_equal(len, 1);
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 0, 513, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 64, 512, NULL),
			 VRIG_IOERR); /* behind the end */
	assert_int_equal(vrig_request(m->q, VRIG_IN, 63, 1024, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 63, 512, NULL), VRIG_OK);
	/* sector * 512 wraps around to sector 0. */
	assert_int_equal(vrig_request(m->q, VRIG_IN, 1ull << 55, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 1ull << 55, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_IN, UINT64_MAX, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_IN, UINT64_MAX / 512, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, 2, 0, 512, NULL), VRIG_UNSUPP);
	assert_int_equal(vrig_request(m->q, 0xffffffff, 0, 512, NULL), VRIG_UNSUPP);
	assert_int_equal(vrig_request(m->q, VRIG_DISCARD, 0, 512, NULL),
			 VRIG_UNSUPP); /* not offered */
	/* A header that is too short. */
	segs[0] = (struct vdrv_seg){ VRIG_HEADER(0), 15, false };
	segs[1] = (struct vdrv_seg){ VRIG_STATUS(0), 1, true };
	vrig_put_header(m->q, 0, VRIG_FLUSH, 0);
	vdrv_add(m->q, segs, 2, 0);
	vdrv_kick(m->q);
	assert_int_equal(vrig_finish(m->q, 0, NULL), VRIG_IOERR);
	assert_int_equal(vdrv_status(&m->d), 0x0f);
}

/* A queue that breaks asks for a reset, tells of it, and works after one. */
static void test_broken_queue(void **state)
{
	struct vrig *m = *state;
	struct vdrv_seg seg = { VRIG_HEADER(0), 16, false };

	for (unsigned round = 0; round < 2; round++) {
		vrig_start(m, VRIG_F_FLUSH);
		assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
		if (round)
			vdrv_offer(m->q, VRIG_QSIZE + 7); /* no such descriptor */
		else
			vdrv_add(m->q, &seg, 1, 0); /* no room for a status */
		vdrv_kick(m->q);
		vrig_wait_needs_reset(m);
		assert_int_equal(vdrv_status(&m->d), 0x4f);
		assert_int_equal(vrig_take_soon(m, 0), 1);
		assert_int_equal(vdrv_isr(&m->d), 2);
		assert_int_equal(vdrv_isr(&m->d), 0);
		if (!round)
			(void)vrig_used(m->q);
		/* Nothing is served any more. */
		vrig_add(m->q, 0, VRIG_IN, 0, 512);
		vdrv_kick(m->q);
		vrig_check_none_used(m->q, 20);
	}
	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
}

static void test_readonly(void **state)
{
	struct vrig *m = *state;

	vrig_open_image(m, true);
	vrig_create(m);
	assert_true(vdrv_features(&m->d) & VRIG_F_RO);
	vrig_start(m, VRIG_F_FLUSH | VRIG_F_RO);
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 0, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	vrig_check_data(m->q, VRIG_DATA(0), 0, 512);
	assert_int_equal(vrig_request(m->q, VRIG_FLUSH, 0, 0, NULL), VRIG_OK);
}

/* Where a driver cannot flush, a write is on the disk when it completes (5.2.6.2). */
static void test_writethrough(void **state)
{
	struct vrig *m = *state;

	vrig_start(m, 0);
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 0, 512, NULL), VRIG_OK);
	assert_int_equal(vrig_request(m->q, VRIG_IN, 0, 512, NULL), VRIG_OK);
	assert_int_equal(m->disk.nr_log, 2);
	assert_int_equal(m->disk.log[0].op, BLOCK_WRITE);
	assert_true(m->disk.log[0].durable);
	assert_int_equal(m->disk.log[1].op, BLOCK_READ);
	assert_false(m->disk.log[1].durable);
	vrig_start(m, VRIG_F_FLUSH);
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 0, 512, NULL), VRIG_OK);
	assert_int_equal(m->disk.nr_log, 3);
	assert_false(m->disk.log[2].durable);
	/* Errors of the host reach the guest. */
	m->disk.result = -EIO;
	assert_int_equal(vrig_request(m->q, VRIG_OUT, 0, 512, NULL), VRIG_IOERR);
	assert_int_equal(vrig_request(m->q, VRIG_FLUSH, 0, 0, NULL), VRIG_IOERR);
}

static void test_two_queues(void **state)
{
	struct vrig *m = *state;
	struct vdrv_queue *first = &m->q[0], *second = &m->q[1];

	m->cfg.queues = 2;
	vrig_create(m);
	assert_int_equal(vdrv_common_in(&m->d, 0x12, 2), 2);
	assert_true(vdrv_features(&m->d) & VRIG_F_MQ);
	assert_int_equal(vdrv_device_in(&m->d, 34, 2), 2);
	assert_true(vdrv_start(&m->d, VIRTIO_F_VERSION_1 | VRIG_F_FLUSH | VRIG_F_MQ));
	vdrv_msix_enable(&m->d, true);
	for (unsigned i = 0; i < 3; i++)
		vdrv_msix_entry(&m->d, i, 0xfee00000, 0x30 + i);
	vdrv_queue_setup(&m->d, first, 0, VRIG_QSIZE, VRIG_RING(0), false);
	vdrv_queue_setup(&m->d, second, 1, VRIG_QSIZE / 2, VRIG_RING(1), false);
	assert_int_not_equal(first->doorbell, second->doorbell);
	vdrv_driver_ok(&m->d);
	assert_int_equal(vrig_request(second, VRIG_IN, 7, 512, NULL), VRIG_OK);
	vrig_check_data(second, VRIG_DATA(0), 7 * 512, 512);
	assert_int_equal(vrig_take_soon(m, 2), 1);
	assert_int_equal(vrig_take(m, 1), 0);
	assert_int_equal(vrig_request(first, VRIG_IN, 8, 512, NULL), VRIG_OK);
	assert_int_equal(vrig_take_soon(m, 1), 1);
}

#define T(fn, s) cmocka_unit_test_setup_teardown(fn, s, vrig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read_write, vrig_setup_image),   T(test_batch, vrig_setup_image),
		T(test_framing, vrig_setup_image),      T(test_errors, vrig_setup_image),
		T(test_broken_queue, vrig_setup_image), T(test_readonly, vrig_setup_none),
		T(test_writethrough, vrig_setup),       T(test_two_queues, vrig_setup_image_none),
	};

	return cmocka_run_group_tests_name("virtio_blk", tests, NULL, NULL);
}
