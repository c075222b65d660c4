/* SPDX-License-Identifier: MIT */
#include "tests/unit/coalesced_side.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "base/state.h"
#include "cpu/coalesced_io.h"
#include "devices/pc/rtc.h"

static void side_post(void *ctx, uint64_t port, uint64_t len, bool add)
{
	struct side *s = ctx;

	for (unsigned i = 0; !add && i < s->nr_zones; i++)
		if (s->zones[i].port == port && s->zones[i].len == len)
			s->zones[i] = s->zones[--s->nr_zones];
	if (!add)
		return;
	assert_true(s->nr_zones < ARRAY_SIZE(s->zones));
	s->zones[s->nr_zones].port = port;
	s->zones[s->nr_zones++].len = len;
}

static void side_sync(void *ctx)
{
	struct side *s = ctx;

	coalesced_pio_sync(&s->posted);
}

static int no_eventfd(void *ctx, enum bus_space space, const struct bus_eventfd *e, bool add)
{
	(void)ctx;
	(void)space;
	(void)e;
	(void)add;
	return 0;
}

void side_init(struct side *s, bool posts)
{
	static const int64_t places[4] = { 4096, IDE_NONE, 2048, 2048 };
	const struct bus_accel accel = { no_eventfd, side_post, side_sync, s };
	struct rtc_config rtc = {
		.name = "rtc",
		.bus = &s->w.bus,
		.irq = fake_irq(&s->rtc_irq),
		.clock = &s->clock.clock,
		.low_ram = IDE_RAM,
		.cpus = 1,
	};

	memset(s, 0, sizeof(*s));
	ide_world_init(&s->w, places, true);
	fake_clock_init(&s->clock);
	assert_int_equal(rtc_create(&rtc, &s->rtc), 0);
	pthread_mutex_init(&s->ring_lock, NULL);
	pthread_mutex_init(&s->posted.lock, NULL);
	s->posted.vm_fd = -1;
	s->posted.bus = &s->w.bus;
	s->ring = calloc(1, 4096);
	assert_non_null(s->ring);
	s->posted.ring = s->ring;
	s->posted.size = RING_SIZE;
	if (posts)
		assert_int_equal(bus_set_accel(&s->w.bus, &accel), 0);
	for (unsigned i = 0; i < 4; i++)
		if (places[i])
			ide_disk_fill(&s->w.disks[i], 0, 64, i);
	ide_pattern(ide_ram(&s->w, STRINGS), STRINGS_LEN, 9);
}

void side_destroy(struct side *s)
{
	device_destroy(s->rtc);
	ide_world_destroy(&s->w);
	pthread_mutex_destroy(&s->ring_lock);
	coalesced_pio_destroy(&s->posted);
	free(s->ring);
}

bool in_zone(const struct side *s, uint64_t port, unsigned width)
{
	for (unsigned i = 0; i < s->nr_zones; i++)
		if (port >= s->zones[i].port && port + width <= s->zones[i].port + s->zones[i].len)
			return true;
	return false;
}

bool keep_back(struct side *s, uint64_t port, const void *data, unsigned width)
{
	struct kvm_coalesced_mmio_ring *ring = s->ring;
	uint32_t last;
	bool room;

	if (!in_zone(s, port, width))
		return false;
	pthread_mutex_lock(&s->ring_lock);
	last = ring->last;
	room = (__atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) + RING_SIZE - last - 1) % RING_SIZE;
	if (room) {
		ring->coalesced_mmio[last] =
			(struct kvm_coalesced_mmio){ .phys_addr = port, .len = width };
		memcpy(ring->coalesced_mmio[last].data, data, width);
		__atomic_store_n(&ring->last, (last + 1) % RING_SIZE, __ATOMIC_RELEASE);
		s->kept++;
	}
	pthread_mutex_unlock(&s->ring_lock);
	return room;
}

void guest_out(struct side *s, uint64_t port, unsigned width, uint32_t value)
{
	if (!keep_back(s, port, &value, width))
		bus_write(&s->w.bus, BUS_PIO, port, &value, width);
}

struct coalesced_io_page *page_of(struct side *s)
{
	return ide_ram(&s->w, PAGE);
}

unsigned ring_bell(struct side *s)
{
	unsigned accesses;
	bool found;

	accesses = coalesced_io_run(&s->w.bus, &s->w.mem, PAGE, &found);
	assert_true(found);
	return accesses;
}

static void same_device(struct device *a, struct device *b)
{
	struct state_buf x = { 0 }, y = { 0 };

	assert_int_equal(state_save(a, &x), 0);
	assert_int_equal(state_save(b, &y), 0);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	state_buf_free(&x);
	state_buf_free(&y);
}

void same(struct side *a, struct side *b)
{
	bus_sync(&a->w.bus);
	bus_sync(&b->w.bus);
	for (unsigned i = 0; i < IDE_NR_CHANNELS; i++) {
		same_device(a->w.ch[i], b->w.ch[i]);
		assert_int_equal(a->w.irq[i].raised, b->w.irq[i].raised);
		assert_int_equal(a->w.irq[i].level, b->w.irq[i].level);
	}
	same_device(a->rtc, b->rtc);
	assert_int_equal(a->rtc_irq.raised, b->rtc_irq.raised);
	assert_memory_equal(ide_ram(&a->w, STRINGS), ide_ram(&b->w, STRINGS), STRINGS_LEN);
	assert_memory_equal(ide_ram(&a->w, IDE_DATA), ide_ram(&b->w, IDE_DATA), 0x10000);
}
