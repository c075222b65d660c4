/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/state.h"

static void fake_irq_set(void *ctx, unsigned line, bool level)
{
	struct fake_irq *f = ctx;

	(void)line;
	if (level && !f->level)
		f->raised++;
	f->level = level;
}

struct irq fake_irq(struct fake_irq *f)
{
	return (struct irq){ .set = fake_irq_set, .ctx = f };
}

static struct fake_clock *to_fake(struct clock *clock)
{
	return container_of(clock, struct fake_clock, clock);
}

static uint64_t fake_now(struct clock *clock)
{
	return to_fake(clock)->now;
}

static uint64_t fake_wall(struct clock *clock)
{
	return to_fake(clock)->wall_at_0 + to_fake(clock)->now;
}

static void fake_arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	struct fake_clock *fc = to_fake(clock);
	struct timer **p = &fc->armed;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->deadline = deadline;
	if (deadline == TIMER_OFF)
		return;
	for (p = &fc->armed; *p && (*p)->deadline <= deadline;)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void fake_clock_init(struct fake_clock *fc)
{
	static const struct clock_ops ops = { fake_now, fake_wall, fake_arm };

	*fc = (struct fake_clock){ .clock.ops = &ops, .wall_at_0 = 1767323045ull * NSEC_PER_SEC };
}

void fake_clock_advance(struct fake_clock *fc, uint64_t ns)
{
	uint64_t end = fc->now + ns;

	while (fc->armed && fc->armed->deadline <= end) {
		struct timer *t = fc->armed;

		fc->armed = t->next;
		if (t->deadline > fc->now)
			fc->now = t->deadline;
		t->deadline = TIMER_OFF;
		t->fn(t->opaque);
	}
	fc->now = end;
}

static int fake_msi_alloc(struct msi_ctl *ctl, int *fd)
{
	struct fake_msi *fm = container_of(ctl, struct fake_msi, ctl);

	for (int i = 0; i < FAKE_MSI_VECTORS; i++) {
		if (fm->vec[i].used)
			continue;
		fm->vec[i].used = true;
		fm->vec[i].masked = true;
		fm->vec[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		*fd = fm->vec[i].fd;
		return i;
	}
	return -1;
}

static void fake_msi_free(struct msi_ctl *ctl, int id)
{
	struct fake_msi *fm = container_of(ctl, struct fake_msi, ctl);

	assert_true(fm->vec[id].used);
	close(fm->vec[id].fd);
	fm->vec[id].used = false;
}

static int fake_msi_set(struct msi_ctl *ctl, int id, uint64_t addr, uint32_t data, bool masked)
{
	struct fake_msi *fm = container_of(ctl, struct fake_msi, ctl);

	assert_true(fm->vec[id].used);
	fm->vec[id].addr = addr;
	fm->vec[id].data = data;
	fm->vec[id].masked = masked;
	return 0;
}

void fake_msi_init(struct fake_msi *fm)
{
	static const struct msi_ctl_ops ops = { fake_msi_alloc, fake_msi_free, fake_msi_set };

	memset(fm, 0, sizeof(*fm));
	fm->ctl.ops = &ops;
}

unsigned fake_msi_take(struct fake_msi *fm, int id)
{
	eventfd_t n;

	assert_true(fm->vec[id].used);
	if (fm->vec[id].masked || eventfd_read(fm->vec[id].fd, &n))
		return 0;
	return (unsigned)n;
}

static void fake_power_request(void *ctx, enum power_event event, uint32_t detail)
{
	struct fake_power *f = ctx;

	f->requests++;
	f->last = event;
	f->detail = detail;
}

struct power fake_power(struct fake_power *f)
{
	return (struct power){ .request = fake_power_request, .ctx = f };
}

uint64_t bus_in(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width)
{
	uint64_t v = 0;

	bus_read(bus, space, addr, &v, width);
	return v;
}

void bus_out(struct bus *bus, enum bus_space space, uint64_t addr, unsigned width, uint64_t v)
{
	bus_write(bus, space, addr, &v, width);
}

void check_state_round_trip(struct device *from, struct device *to)
{
	struct state_buf a = { 0 }, b = { 0 };

	assert_int_equal(state_save(from, &a), 0);
	assert_int_equal(state_load(to, a.data, a.len), a.len);
	assert_int_equal(state_save(to, &b), 0);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	for (size_t i = 0; i < a.len * 8; i++) {
		struct state_buf c = { 0 };

		a.data[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_true(state_load(to, a.data, a.len) < 0);
		a.data[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(state_save(to, &c), 0);
		assert_int_equal(c.len, b.len);
		assert_memory_equal(c.data, b.data, b.len);
		state_buf_free(&c);
		if (i > 4096)
			i += 61; /* large sections: a sample is as good */
	}
	state_buf_free(&a);
	state_buf_free(&b);
}

/* In a stream a field's name has its length before it, its width and its number behind it. */
#define BEHIND_NAME 8

void check_state_refused(struct device *dev, const struct state_damage *cases, size_t nr)
{
	struct state_buf buf = { 0 }, good = { 0 };

	assert_int_equal(state_save(dev, &buf), 0);
	assert_int_equal(state_save(dev, &good), 0);
	for (size_t i = 0; i < nr; i++) {
		struct state_buf after = { 0 };
		char key[64];
		uint8_t *at, was[8];
		int n = snprintf(key, sizeof(key), "%c%s", (char)strlen(cases[i].field),
				 cases[i].field);

		at = memmem(buf.data, buf.len, key, (size_t)n);
		assert_non_null(at);
		at += n + BEHIND_NAME;
		memcpy(was, at, cases[i].width);
		store_le(at, cases[i].width, cases[i].value);
		store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
		if (state_load(dev, buf.data, buf.len) != -EBADMSG)
			fail_msg("%s = 0x%llx is taken", cases[i].field,
				 (unsigned long long)cases[i].value);
		memcpy(at, was, cases[i].width);
		assert_int_equal(state_save(dev, &after), 0);
		assert_int_equal(after.len, good.len);
		assert_memory_equal(after.data, good.data, good.len);
		state_buf_free(&after);
	}
	store_le(buf.data + buf.len - 4, 4, util_crc32(0, buf.data, buf.len - 4));
	assert_int_equal(state_load(dev, buf.data, buf.len), buf.len);
	state_buf_free(&good);
	state_buf_free(&buf);
}
