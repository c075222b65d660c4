/* SPDX-License-Identifier: MIT */
#include "base/bus.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

void bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	pthread_rwlock_init(&bus->lock, NULL);
}

void bus_destroy(struct bus *bus)
{
	pthread_rwlock_destroy(&bus->lock);
}

/* Tells the host's kernel of the runs of ports in a range where writes may be posted. */
static void post_range(const struct bus *bus, const struct bus_range *r, bool add)
{
	uint64_t run = 0;

	if (!bus->accel.post || !r->ops->posted)
		return;
	for (uint64_t i = 0; i <= r->len; i++) {
		if (i < r->len && r->ops->posted(r->dev, r->offset + i)) {
			run++;
			continue;
		}
		if (run)
			bus->accel.post(bus->accel.ctx, r->base + i - run, run, add);
		run = 0;
	}
}

int bus_set_accel(struct bus *bus, const struct bus_accel *accel)
{
	const struct bus_table *pio = &bus->tables[BUS_PIO];
	int ret = 0;

	pthread_rwlock_wrlock(&bus->lock);
	bus->accel = *accel;
	for (unsigned i = 0; i < pio->nr_ranges; i++)
		post_range(bus, &pio->ranges[i], true);
	for (unsigned s = 0; s < BUS_NR_SPACES && !ret; s++)
		for (unsigned i = 0; i < bus->tables[s].nr_eventfds && !ret; i++)
			ret = accel->eventfd(accel->ctx, s, &bus->tables[s].eventfds[i], true);
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

/* The index of the first range that ends after addr; nr_ranges if there is none. */
static unsigned range_after(const struct bus_table *t, uint64_t addr)
{
	unsigned lo = 0, hi = t->nr_ranges;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		/* Compared without adding: a range may end at 2^64. */
		if (addr >= t->ranges[mid].base && addr - t->ranges[mid].base >= t->ranges[mid].len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bus_add_at(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len,
	       struct device *dev, const struct bus_ops *ops, uint64_t offset)
{
	struct bus_table *t = &bus->tables[space];
	uint64_t limit = space == BUS_PIO ? 0xffff : UINT64_MAX;
	int ret = 0;

	if (!len || base > limit || len - 1 > limit - base)
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);

	unsigned i = range_after(t, base);

	if (i < t->nr_ranges && (t->ranges[i].base <= base || t->ranges[i].base - base < len)) {
		ret = -EEXIST;
	} else if (t->nr_ranges == BUS_MAX_RANGES) {
		ret = -ENOSPC;
	} else {
		memmove(&t->ranges[i + 1], &t->ranges[i],
			(t->nr_ranges - i) * sizeof(t->ranges[0]));
		t->ranges[i] = (struct bus_range){ base, len, dev, ops, offset };
		t->nr_ranges++;
		if (space == BUS_PIO)
			post_range(bus, &t->ranges[i], true);
	}
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

int bus_add(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len, struct device *dev,
	    const struct bus_ops *ops)
{
	return bus_add_at(bus, space, base, len, dev, ops, 0);
}

int bus_remove(struct bus *bus, enum bus_space space, uint64_t base)
{
	struct bus_table *t = &bus->tables[space];
	int ret = -ENOENT;

	pthread_rwlock_wrlock(&bus->lock);

	unsigned i = range_after(t, base);

	if (i < t->nr_ranges && t->ranges[i].base == base) {
		if (space == BUS_PIO)
			post_range(bus, &t->ranges[i], false);
		t->nr_ranges--;
		memmove(&t->ranges[i], &t->ranges[i + 1],
			(t->nr_ranges - i) * sizeof(t->ranges[0]));
		ret = 0;
	}
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

static bool eventfd_same(const struct bus_eventfd *a, const struct bus_eventfd *b)
{
	return a->addr == b->addr && a->width == b->width && a->match == b->match &&
	       (!a->match || a->datamatch == b->datamatch);
}

static int eventfd_find(const struct bus_table *t, const struct bus_eventfd *e)
{
	for (unsigned i = 0; i < t->nr_eventfds; i++)
		if (eventfd_same(&t->eventfds[i], e))
			return (int)i;
	return -ENOENT;
}

int bus_eventfd_add(struct bus *bus, enum bus_space space, const struct bus_eventfd *e)
{
	struct bus_table *t = &bus->tables[space];
	int ret = 0;

	pthread_rwlock_wrlock(&bus->lock);
	if (eventfd_find(t, e) >= 0)
		ret = -EEXIST;
	else if (t->nr_eventfds == BUS_MAX_EVENTFDS)
		ret = -ENOSPC;
	else if (bus->accel.eventfd)
		ret = bus->accel.eventfd(bus->accel.ctx, space, e, true);
	if (!ret)
		t->eventfds[t->nr_eventfds++] = *e;
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

int bus_eventfd_remove(struct bus *bus, enum bus_space space, const struct bus_eventfd *e)
{
	struct bus_table *t = &bus->tables[space];
	int i, ret = 0;

	pthread_rwlock_wrlock(&bus->lock);
	i = eventfd_find(t, e);
	if (i < 0) {
		ret = i;
	} else {
		if (bus->accel.eventfd)
			ret = bus->accel.eventfd(bus->accel.ctx, space, &t->eventfds[i], false);
		t->eventfds[i] = t->eventfds[--t->nr_eventfds];
	}
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

enum lookup { LOOKUP_NOBODY, LOOKUP_RANGE, LOOKUP_EVENTFD };

/* Signals the eventfd that waits for this write, if any. Called with the lock held. */
static bool eventfd_fire(struct bus *bus, enum bus_space space, const struct bus_eventfd *write)
{
	const struct bus_table *t = &bus->tables[space];

	for (unsigned i = 0; i < t->nr_eventfds; i++) {
		const struct bus_eventfd *e = &t->eventfds[i];

		if (e->addr != write->addr || (e->width && e->width != write->width) ||
		    (e->match && e->datamatch != write->datamatch))
			continue;
		eventfd_write(e->fd, 1);
		atomic_fetch_add_explicit(&bus->eventfds_fired, 1, memory_order_relaxed);
		return true;
	}
	return false;
}

/*
 * Copies what a handler call needs, so that the lock is free while it runs. Where
 * nobody answers, out->len is how far that is so, 0 for all that is left of the space:
 * one lookup, or a range that moves meanwhile would tear the access. write is the
 * whole access where an eventfd may take it, NULL otherwise.
 */
static enum lookup bus_lookup(struct bus *bus, enum bus_space space, uint64_t addr,
			      const struct bus_eventfd *write, struct bus_range *out)
{
	const struct bus_table *t = &bus->tables[space];
	enum lookup found = LOOKUP_NOBODY;

	pthread_rwlock_rdlock(&bus->lock);

	unsigned i = range_after(t, addr);

	if (write && eventfd_fire(bus, space, write)) {
		found = LOOKUP_EVENTFD;
	} else if (i < t->nr_ranges && t->ranges[i].base <= addr) {
		*out = t->ranges[i];
		found = LOOKUP_RANGE;
	} else {
		out->len = i < t->nr_ranges ? t->ranges[i].base - addr : 0 - addr;
	}
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

/* An eventfd wants to see every single write to addr. */
static bool eventfd_at(struct bus *bus, enum bus_space space, uint64_t addr)
{
	const struct bus_table *t = &bus->tables[space];
	bool found = false;

	if (!__atomic_load_n(&t->nr_eventfds, __ATOMIC_RELAXED))
		return false;
	pthread_rwlock_rdlock(&bus->lock);
	for (unsigned i = 0; i < t->nr_eventfds && !found; i++)
		found = t->eventfds[i].addr == addr;
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

/*
 * The widest access that starts at offset, is naturally aligned, and stays within
 * the range, the handler's width and what is left of the guest's access.
 */
static unsigned piece_width(const struct bus_range *r, uint64_t offset, uint64_t room,
			    unsigned left)
{
	unsigned w = r->ops->max_width;

	while (w > left || w > room || (offset & (w - 1)))
		w /= 2;
	return w;
}

static unsigned hole_width(const struct bus_range *hole, unsigned left)
{
	return hole->len && hole->len < left ? (unsigned)hole->len : left;
}

void bus_sync(struct bus *bus)
{
	if (bus->accel.sync)
		bus->accel.sync(bus->accel.ctx);
}

bool bus_read(struct bus *bus, enum bus_space space, uint64_t addr, void *data, unsigned width)
{
	uint8_t *p = data;
	bool claimed = true;

	bus_sync(bus);
	while (width) {
		struct bus_range r;
		unsigned w = 1;

		if (bus_lookup(bus, space, addr, NULL, &r) == LOOKUP_RANGE) {
			uint64_t offset = addr - r.base + r.offset;

			w = piece_width(&r, offset, r.len - (addr - r.base), width);
			device_lock(r.dev);
			store_le(p, w, r.ops->read(r.dev, offset, w));
			device_unlock(r.dev);
		} else {
			w = hole_width(&r, width);
			memset(p, 0xff, w);
			claimed = false;
		}
		addr += w;
		p += w;
		width -= w;
	}
	return claimed;
}

static bool write_now(struct bus *bus, enum bus_space space, uint64_t addr, const void *data,
		      unsigned width)
{
	const struct bus_eventfd whole = {
		.addr = addr,
		.width = width,
		.datamatch = load_le(data, width),
	};
	const struct bus_eventfd *write = &whole;
	const uint8_t *p = data;
	bool claimed = true;

	while (width) {
		struct bus_range r;
		unsigned w;
		enum lookup found = bus_lookup(bus, space, addr, write, &r);

		if (found == LOOKUP_EVENTFD)
			return true;
		write = NULL;
		if (found == LOOKUP_RANGE) {
			uint64_t offset = addr - r.base + r.offset;

			w = piece_width(&r, offset, r.len - (addr - r.base), width);
			device_lock(r.dev);
			r.ops->write(r.dev, offset, w, load_le(p, w));
			device_unlock(r.dev);
		} else {
			w = hole_width(&r, width);
			claimed = false;
		}
		addr += w;
		p += w;
		width -= w;
	}
	return claimed;
}

bool bus_write(struct bus *bus, enum bus_space space, uint64_t addr, const void *data,
	       unsigned width)
{
	bus_sync(bus);
	return write_now(bus, space, addr, data, width);
}

void bus_write_posted(struct bus *bus, uint64_t port, const void *data, unsigned width)
{
	atomic_fetch_add_explicit(&bus->posted, 1, memory_order_relaxed);
	(void)write_now(bus, BUS_PIO, port, data, width);
}

bool bus_read_rep(struct bus *bus, enum bus_space space, uint64_t addr, void *buf, unsigned width,
		  unsigned count)
{
	struct bus_range r;
	bool claimed = true;

	bus_sync(bus);
	if (bus_lookup(bus, space, addr, NULL, &r) == LOOKUP_RANGE && r.ops->read_rep) {
		uint64_t offset = addr - r.base + r.offset;

		if (piece_width(&r, offset, r.len - (addr - r.base), width) == width) {
			device_lock(r.dev);
			r.ops->read_rep(r.dev, offset, width, buf, count);
			device_unlock(r.dev);
			return true;
		}
	}
	for (unsigned i = 0; i < count; i++)
		claimed &= bus_read(bus, space, addr, (char *)buf + (size_t)i * width, width);
	return claimed;
}

bool bus_write_rep(struct bus *bus, enum bus_space space, uint64_t addr, const void *buf,
		   unsigned width, unsigned count)
{
	struct bus_range r;
	bool claimed = true;

	bus_sync(bus);
	if (bus_lookup(bus, space, addr, NULL, &r) == LOOKUP_RANGE && r.ops->write_rep &&
	    !eventfd_at(bus, space, addr)) {
		uint64_t offset = addr - r.base + r.offset;

		if (piece_width(&r, offset, r.len - (addr - r.base), width) == width) {
			device_lock(r.dev);
			r.ops->write_rep(r.dev, offset, width, buf, count);
			device_unlock(r.dev);
			return true;
		}
	}
	for (unsigned i = 0; i < count; i++)
		claimed &=
			bus_write(bus, space, addr, (const char *)buf + (size_t)i * width, width);
	return claimed;
}

bool bus_claimed(struct bus *bus, enum bus_space space, uint64_t addr, unsigned len)
{
	struct bus_range r;

	while (len) {
		uint64_t room;

		if (bus_lookup(bus, space, addr, NULL, &r) != LOOKUP_RANGE)
			return false;
		room = r.len - (addr - r.base);
		if (room >= len)
			return true;
		addr += room;
		len -= (unsigned)room;
	}
	return true;
}

bool bus_name(struct bus *bus, enum bus_space space, uint64_t addr, bool write, const char **dev,
	      const char **reg)
{
	struct bus_range r;

	if (bus_lookup(bus, space, addr, NULL, &r) != LOOKUP_RANGE)
		return false;
	*dev = r.dev->name;
	*reg = r.ops->reg_name ? r.ops->reg_name(r.dev, addr - r.base + r.offset, write) : NULL;
	return true;
}
