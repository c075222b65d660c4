/* SPDX-License-Identifier: MIT */
/*
 * The interval timer of a PC: an 8254 (Intel data sheet, order number 231164) at ports 0x40 to
 * 0x43, counter 0 on IRQ 0, counter 1 for the refresh of memory, counter 2 between the bits of port
 * 0x61: GATE from bit 0, OUT at bit 5, the refresh toggle at bit 4.
 *
 * Nothing runs periodically: all is a function of the clock, and one timer is armed for the next
 * tick that the guest is to get. How many ticks that are, and when, is the policy's (see below).
 *
 * When a tick is late, or one follows another sooner than the guest can take them, an edge would be
 * lost: raised while the one before still waits, it becomes the same interrupt. So the device wants
 * to know when the guest has acknowledged a tick. The line that the board gives it (struct
 * pit_line) can tell, if it is KVM's: whoever registers an irqfd with a resample eventfd on a GSI
 * is told of every EOI of its pins, of edges too, although KVM's own documentation has levels in
 * mind; that is what KVM's own PIT uses inside the kernel. It costs nothing while
 * no tick is owed: the eventfd is read when the next tick is due, and waited for only when one is
 * owed. A line that cannot tell gets owed ticks at four times the guest's rate instead.
 */
#ifndef DEVICES_PIT_PIT_H
#define DEVICES_PIT_PIT_H

#include "base/bus.h"
#include "base/clock.h"

#define PIT_HZ 1193182
#define PIT_MAX_HZ 20000 /* no guest is ticked faster than that, whatever it asks for */
#define PIT_CATCHUP_SECONDS 10 /* a guest is owed at most what it has missed in that time */

/* What a guest makes of ticks that max_hz takes from it. */
enum pit_time {
	/* It gets them all, up to max_hz times a second as many as are due at once. */
	PIT_TIME_KEEP,
	/* Counter 0 counts more slowly: less ticks, and its jiffies take longer. */
	PIT_TIME_DILATE,
};

/* What becomes of ticks for which the host, or the guest, was late. */
enum pit_lost {
	PIT_LOST_CATCHUP, /* they follow as fast as they are acknowledged, PIT_CATCHUP_SECONDS' worth */
	PIT_LOST_DELAY, /* one follows, the next a full period after it: counter 0 stood still */
	PIT_LOST_DISCARD, /* one follows, the next when it would have come anyway */
};

/* What a user calls these, in the same order, NULL behind the last. */
extern const char *const pit_time_words[];
extern const char *const pit_lost_words[];

struct pit_policy {
	unsigned max_hz; /* ticks, or bursts of them, a second; 0: PIT_MAX_HZ. At most that */
	unsigned time; /* enum pit_time; matters where max_hz is less than the guest asks for */
	unsigned lost; /* enum pit_lost */
};

/* Where ticks go. Called with the device's lock held, which is fine with any of the irqs' own. */
struct pit_line {
	/*
	 * One edge. Positive: a controller has taken it. 0: it is the same interrupt as the one
	 * before, or nobody knows. Negative: masked everywhere, it is lost or waits there.
	 */
	int (*pulse)(void *ctx);
	/* How many the guest has acknowledged since this was last asked. NULL: nobody knows. */
	uint64_t (*acked)(void *ctx);
	/* Whether to call pit_acked() when it does. Any number of calls may come too many. */
	void (*watch)(void *ctx, bool on);
	void *ctx;
};

struct pit_config {
	const char *name;
	struct bus *bus;
	struct clock *clock;
	struct pit_line line;
	struct pit_policy policy;
};

/* Claims ports 0x40 to 0x43 and 0x61. 0 or -errno: -EINVAL for a policy that cannot be. */
int pit_create(const struct pit_config *cfg, struct device **out) __must_check;

/* The guest has acknowledged a tick. Any thread, no lock held. */
void pit_acked(struct device *dev);

struct pit_info {
	struct pit_policy policy;
	unsigned
		asked_mhz; /* thousandths of a tick a second that the guest has asked for; 0: no rate */
	uint64_t raised; /* edges sent since power-on */
	uint64_t dropped; /* ticks that the guest has been denied since then: see enum pit_lost */
	unsigned owed;
};

/* Any thread, while the guest runs. 0, or -EINVAL for a policy that cannot be. */
int pit_set_policy(struct device *dev, const struct pit_policy *policy) __must_check;
void pit_get_info(struct device *dev, struct pit_info *info);

#endif
