/* SPDX-License-Identifier: MIT */
/*
 * The two address spaces in which devices are found: ports and memory-mapped I/O.
 *
 * A guest's access of any width and alignment is normalised here, so a handler
 * only ever sees an offset inside its range and a width of 1, 2, 4 or 8 that is
 * naturally aligned to the offset and no wider than it declared. Bytes that
 * nobody claims read as ones; writes to them vanish.
 *
 * Threads: any vCPU may access while another moves a range (a PCI BAR). The lock
 * guards the tables; it is not held while a handler runs, but the device's own
 * lock is. A handler may therefore add and remove ranges.
 *
 * Posted writes: where a device says that a write has no effect until a later access, the
 * host's kernel may keep it back and let the guest run on. Whatever could tell the difference
 * comes through here first: every access lets what was kept back take effect before it, in
 * order, and bus_sync() does it for those who look at a device by another way.
 */
#ifndef BASE_BUS_H
#define BASE_BUS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/device.h"
#include "base/util.h"

enum bus_space { BUS_PIO, BUS_MMIO, BUS_NR_SPACES };

#define BUS_MAX_RANGES 128
#define BUS_MAX_EVENTFDS 256

struct bus_ops {
	/* Widest access the handlers take: 1, 2, 4 or 8. Wider ones come in pieces. */
	unsigned max_width;

	uint64_t (*read)(struct device *dev, uint64_t offset, unsigned width);
	void (*write)(struct device *dev, uint64_t offset, unsigned width, uint64_t value);

	/*
	 * Optional: string I/O (rep ins, rep outs) on one address as one call, count
	 * elements of width bytes in buf. Without them it becomes count single calls.
	 */
	void (*read_rep)(struct device *dev, uint64_t offset, unsigned width, void *buf,
			 unsigned count);
	void (*write_rep)(struct device *dev, uint64_t offset, unsigned width, const void *buf,
			  unsigned count);

	/*
	 * Optional: what a read (a write) accesses there, for reports: a constant string in
	 * lower case, with hyphens, NULL if it has no name. Reports ask once and keep the
	 * answer, without the device's lock: it must not depend on state.
	 */
	const char *(*reg_name)(const struct device *dev, uint64_t offset, bool write);

	/*
	 * Optional: a write there may be posted, as it shows in nothing but later accesses: in
	 * no interrupt, no memory, no other device. Ports only; asked once, when the range is
	 * added, without the device's lock. A device whose state also changes by itself, on a
	 * thread that is no vCPU's, calls bus_sync() before that.
	 */
	bool (*posted)(const struct device *dev, uint64_t offset);
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	struct device *dev;
	const struct bus_ops *ops;
	uint64_t offset; /* what the handler sees at base: several ranges, one handler */
};

/*
 * A write that only has to wake a thread: when it matches, fd is signalled and no
 * handler runs. Under KVM the host's kernel does this without an exit to us
 * (ioeventfd); the bus does it itself for accesses that reach user space all the
 * same, and in tests.
 */
struct bus_eventfd {
	uint64_t addr;
	unsigned width; /* 0: any */
	bool match; /* only when the value written is datamatch */
	uint64_t datamatch;
	int fd;
};

/* What the host's kernel does of all this; cpu/ provides it, tests need none. */
struct bus_accel {
	int (*eventfd)(void *ctx, enum bus_space space, const struct bus_eventfd *e, bool add);
	/*
	 * Both or, where no writes are posted, neither: len ports from port on may be (no longer);
	 * what was kept back is done now, by bus_write_posted().
	 */
	void (*post)(void *ctx, uint64_t port, uint64_t len, bool add);
	void (*sync)(void *ctx);
	void *ctx;
};

struct bus_table {
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted by base, disjoint */
	unsigned nr_ranges;
	struct bus_eventfd eventfds[BUS_MAX_EVENTFDS];
	unsigned nr_eventfds;
};

struct bus {
	pthread_rwlock_t lock; /* guards tables and accel */
	struct bus_table tables[BUS_NR_SPACES];
	struct bus_accel accel;
	/*
	 * Doorbells that came to us and that the bus, not the host's kernel, has passed on:
	 * a report takes them from what the eventfds have counted in all.
	 */
	_Atomic uint64_t eventfds_fired;
	_Atomic uint64_t posted; /* writes that came by bus_write_posted() */
};

void bus_init(struct bus *bus);
void bus_destroy(struct bus *bus);

/*
 * Hands the eventfds and the ports of posted writes, those already there too, to the host's
 * kernel. Before the first vCPU runs. 0 or -errno.
 */
int bus_set_accel(struct bus *bus, const struct bus_accel *accel) __must_check;

/*
 * Claims [base, base + len). Returns 0, -EEXIST where it overlaps another range,
 * -EINVAL for an empty or wrapping one (or ports past 64 Ki), -ENOSPC when full.
 */
int bus_add(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len, struct device *dev,
	    const struct bus_ops *ops) __must_check;
/* The same, with the handler's offsets starting at offset instead of 0. */
int bus_add_at(struct bus *bus, enum bus_space space, uint64_t base, uint64_t len,
	       struct device *dev, const struct bus_ops *ops, uint64_t offset) __must_check;

/* Releases the range that starts at base. Returns 0 or -ENOENT. */
int bus_remove(struct bus *bus, enum bus_space space, uint64_t base);

/* Adds or removes an eventfd; 0 or -errno (-EEXIST, -ENOENT, -ENOSPC, KVM's own). */
int bus_eventfd_add(struct bus *bus, enum bus_space space,
		    const struct bus_eventfd *e) __must_check;
int bus_eventfd_remove(struct bus *bus, enum bus_space space, const struct bus_eventfd *e);

/*
 * A guest's access, width 1 to 8 bytes at any alignment; data is width bytes
 * little-endian. Returns true where a device claimed all of it (reports only:
 * the access is complete either way).
 */
bool bus_read(struct bus *bus, enum bus_space space, uint64_t addr, void *data, unsigned width);
bool bus_write(struct bus *bus, enum bus_space space, uint64_t addr, const void *data,
	       unsigned width);

/* String I/O: count elements of width (1, 2 or 4) at one address. */
bool bus_read_rep(struct bus *bus, enum bus_space space, uint64_t addr, void *buf, unsigned width,
		  unsigned count);
bool bus_write_rep(struct bus *bus, enum bus_space space, uint64_t addr, const void *buf,
		   unsigned width, unsigned count);

/* Is there a device at each of len addresses from addr on? What was so may change. */
bool bus_claimed(struct bus *bus, enum bus_space space, uint64_t addr, unsigned len);

/*
 * Lets posted writes take effect: all that the guest has made before the call. Any thread,
 * without the lock of a device.
 */
void bus_sync(struct bus *bus);
/* One of them; for accel's sync() alone. */
void bus_write_posted(struct bus *bus, uint64_t port, const void *data, unsigned width);

/*
 * Who answers a read (a write) at addr: false if nobody, else the device's name and,
 * where it has one, the register's (NULL if not). The strings live as long as the device.
 */
bool bus_name(struct bus *bus, enum bus_space space, uint64_t addr, bool write, const char **dev,
	      const char **reg);

#endif
