/* SPDX-License-Identifier: MIT */
#include "devices/pit/pit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/platform.h"
#include "base/state.h"
#include "devices/pit/counter.h"
#include "devices/pit/ticks.h"

#define NR_COUNTERS 3
#define PORT_CONTROL 3
#define PORT_SPEAKER 4 /* where the handler sees port 0x61 */

/* Control Word Format, and Read-Back Command Format. */
#define CONTROL_SELECT_SHIFT 6
#define CONTROL_SELECT_READ_BACK 3
#define CONTROL_RW 0x30 /* 0: Counter Latch Command */
#define READ_BACK_NO_COUNT 0x20
#define READ_BACK_NO_STATUS 0x10
#define READ_BACK_COUNTER(i) (0x02 << (i))

/* Port 0x61, NMI status and control of the PIIX (Intel 290550, 2.5.7). */
#define SPEAKER_GATE2 0x01
#define SPEAKER_KEPT 0x03 /* GATE 2, speaker data */
#define SPEAKER_REFRESH 0x10 /* changes with each refresh cycle */
#define SPEAKER_OUT2 0x20
#define REFRESH_PULSES 18 /* what every BIOS gives counter 1: 15 us */

struct pit_state {
	uint64_t now; /* pulses since power-on, when this was true */
	struct counter_state counters[NR_COUNTERS];
	struct ticks_state ticks;
	uint8_t speaker; /* SPEAKER_KEPT */
};

struct pit {
	struct device dev;
	struct pit_state s;
	struct pit_config cfg;
	struct ticks ticks;
	struct timer timer;
	uint64_t power_on; /* when that was, in pulses on the clock */
	/*
	 * Counter 0's own time, which time=dilate slows down and lost-ticks=delay holds up: it was
	 * base0 at base, and goes on by mul for each div pulses.
	 */
	uint64_t base, base0;
	uint64_t mul, div;
};

static struct pit *to_pit(struct device *dev)
{
	return container_of(dev, struct pit, dev);
}

/* --- time ------------------------------------------------------------------------- */

static uint64_t clock_pulses(const struct pit *p)
{
	return mul_div(clock_now(p->cfg.clock), PIT_HZ, NSEC_PER_SEC);
}

/* When that many pulses have been, on the clock: rounded up. */
static uint64_t pulses_to_ns(const struct pit *p, uint64_t pulses)
{
	return mul_div(p->power_on + pulses, NSEC_PER_SEC, PIT_HZ) + 1;
}

static uint64_t time0(const struct pit *p)
{
	return p->base0 + mul_div(p->s.now - p->base, p->mul, p->div);
}

/* When counter 0's time will be at. */
static uint64_t time0_to_now(const struct pit *p, uint64_t at)
{
	return p->base + mul_div(at - p->base0, p->div, p->mul) + (p->mul != p->div);
}

/* Counter 0's time goes on from where it is at the pace that policy and rate ask for. */
static void tune(struct pit *p)
{
	const struct pit_policy *policy = &p->cfg.policy;
	uint32_t period = counter_period(&p->s.counters[0]);
	bool slow = policy->time == PIT_TIME_DILATE && policy->max_hz && period &&
		    (uint64_t)period * policy->max_hz < PIT_HZ;

	p->base = p->s.now;
	p->base0 = p->s.counters[0].at;
	p->mul = slow ? (uint64_t)period * policy->max_hz : 1;
	p->div = slow ? PIT_HZ : 1;
	ticks_tune(&p->ticks, policy, slow ? PIT_HZ / policy->max_hz : period);
}

/* OUT 0 has risen. */
static void add_ticks(struct pit *p, uint64_t n)
{
	struct counter_state *c = &p->s.counters[0];
	uint64_t over = n ? ticks_add(&p->ticks, n) : 0;

	/* As if it had stood still since the rise that the guest does get. */
	if (over && p->cfg.policy.lost == PIT_LOST_DELAY && c->n)
		c->start = c->at;
}

/* Lets happen what has happened since the last call. */
static void pit_sync(struct pit *p)
{
	p->s.now = clock_pulses(p) - p->power_on;
	add_ticks(p, counter_advance(&p->s.counters[0], time0(p)));
	for (unsigned i = 1; i < NR_COUNTERS; i++)
		(void)counter_advance(&p->s.counters[i], p->s.now);
}

/* Sends ticks and arms the timer for the next one. */
static void pit_update(struct pit *p)
{
	uint64_t at = ticks_send(&p->ticks, p->s.now);
	uint64_t rise;

	if (at == TICKS_NEVER) {
		rise = counter_next_rise(&p->s.counters[0]);
		if (rise != COUNTER_NEVER)
			at = max_u64(time0_to_now(p, rise), ticks_burst_at(&p->ticks));
	}
	at = at == TICKS_NEVER ? TIMER_OFF : pulses_to_ns(p, at);
	timer_want(&p->timer, at);
}

static void pit_timer(void *opaque)
{
	struct pit *p = opaque;

	device_lock(&p->dev);
	timer_came(&p->timer);
	pit_sync(p);
	pit_update(p);
	device_unlock(&p->dev);
}

void pit_acked(struct device *dev)
{
	struct pit *p = to_pit(dev);

	device_lock(dev);
	pit_sync(p);
	pit_update(p);
	device_unlock(dev);
}

/* --- registers --------------------------------------------------------------------- */

static void control_write(struct pit *p, uint8_t v)
{
	unsigned select = v >> CONTROL_SELECT_SHIFT;
	struct counter_state *c = &p->s.counters[select % NR_COUNTERS];

	if (select == CONTROL_SELECT_READ_BACK) {
		for (unsigned i = 0; i < NR_COUNTERS; i++) {
			if (!(v & READ_BACK_COUNTER(i)))
				continue;
			if (!(v & READ_BACK_NO_COUNT))
				counter_latch_count(&p->s.counters[i]);
			if (!(v & READ_BACK_NO_STATUS))
				counter_latch_status(&p->s.counters[i]);
		}
	} else if (!(v & CONTROL_RW)) {
		counter_latch_count(c);
	} else {
		bool out = counter_out(c);

		counter_control(c, v);
		if (select)
			return;
		ticks_forget(&p->ticks);
		tune(p);
		add_ticks(p, !out && counter_out(c));
	}
}

static uint8_t speaker_read(const struct pit *p)
{
	bool refresh = p->s.now / REFRESH_PULSES & 1;

	return p->s.speaker | (refresh ? SPEAKER_REFRESH : 0) |
	       (counter_out(&p->s.counters[2]) ? SPEAKER_OUT2 : 0);
}

static void speaker_write(struct pit *p, uint8_t v)
{
	p->s.speaker = v & SPEAKER_KEPT;
	counter_set_gate(&p->s.counters[2], v & SPEAKER_GATE2);
}

static uint64_t pit_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct pit *p = to_pit(dev);
	uint8_t v;

	(void)width;
	pit_sync(p);
	if (offset == PORT_SPEAKER)
		v = speaker_read(p);
	else if (offset == PORT_CONTROL)
		v = 0xff; /* Read Operations: no operation, the bus floats */
	else
		v = counter_read(&p->s.counters[offset % NR_COUNTERS]);
	pit_update(p);
	return v;
}

static void pit_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct pit *p = to_pit(dev);
	uint8_t v = (uint8_t)value;

	(void)width;
	pit_sync(p);
	if (offset == PORT_SPEAKER) {
		speaker_write(p, v);
	} else if (offset == PORT_CONTROL) {
		control_write(p, v);
	} else {
		counter_write(&p->s.counters[offset % NR_COUNTERS], v);
		if (!offset)
			tune(p);
	}
	pit_update(p);
}

static const char *pit_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	static const char *const names[] = { "counter0", "counter1", "counter2", "control",
					     "speaker" };

	(void)dev;
	(void)write;
	return offset < ARRAY_SIZE(names) ? names[offset] : NULL;
}

static const struct bus_ops pit_bus_ops = {
	.max_width = 1,
	.read = pit_read,
	.write = pit_write,
	.reg_name = pit_reg_name,
};

/* --- policy -------------------------------------------------------------------------- */

const char *const pit_time_words[] = {
	[PIT_TIME_KEEP] = "keep", [PIT_TIME_DILATE] = "dilate", NULL
};
const char *const pit_lost_words[] = { [PIT_LOST_CATCHUP] = "catchup",
				       [PIT_LOST_DELAY] = "delay",
				       [PIT_LOST_DISCARD] = "discard",
				       NULL };

static bool policy_ok(const struct pit_policy *policy)
{
	return policy->max_hz <= PIT_MAX_HZ && policy->time <= PIT_TIME_DILATE &&
	       policy->lost <= PIT_LOST_DISCARD;
}

int pit_set_policy(struct device *dev, const struct pit_policy *policy)
{
	struct pit *p = to_pit(dev);

	if (!policy_ok(policy))
		return -EINVAL;
	device_lock(dev);
	pit_sync(p);
	p->cfg.policy = *policy;
	/* The last burst may have been one of a policy that knew far longer intervals. */
	p->s.ticks.burst_at = p->s.now;
	tune(p);
	pit_update(p);
	device_unlock(dev);
	return 0;
}

void pit_get_info(struct device *dev, struct pit_info *info)
{
	struct pit *p = to_pit(dev);
	uint32_t period;

	device_lock(dev);
	pit_sync(p);
	pit_update(p);
	period = counter_period(&p->s.counters[0]);
	*info = (struct pit_info){
		.policy = p->cfg.policy,
		.asked_mhz = period ? (unsigned)(1000ull * PIT_HZ / period) : 0,
		.raised = p->s.ticks.raised,
		.dropped = p->s.ticks.dropped,
		.owed = p->s.ticks.owed,
	};
	device_unlock(dev);
}

/* --- a device's life ------------------------------------------------------------------ */

static void pit_reset(struct device *dev)
{
	struct pit *p = to_pit(dev);

	p->power_on = clock_pulses(p);
	p->s.now = 0;
	p->s.speaker = 0;
	for (unsigned i = 0; i < NR_COUNTERS; i++)
		counter_reset(&p->s.counters[i], 0, i != 2);
	ticks_reset(&p->ticks, 0);
	tune(p);
	pit_update(p);
}

/* Counter 0's time is its own: what it has in front of a whole pulse is not kept. */
static void pit_pre_save(struct device *dev)
{
	struct pit *p = to_pit(dev);

	pit_sync(p);
	pit_update(p);
}

static bool state_ok(const struct pit_state *s)
{
	bool ok = s->now < COUNTER_MAX_SPAN && s->counters[1].at == s->now &&
		  s->counters[2].at == s->now && s->counters[0].gate && s->counters[1].gate &&
		  s->counters[2].gate == (s->speaker & SPEAKER_GATE2);

	for (unsigned i = 0; i < NR_COUNTERS; i++)
		ok = ok && counter_valid(&s->counters[i]);
	return ok && ticks_valid(&s->ticks, s->now);
}

/* The guest's time stood still: the pulses go on from where they were, on whatever clock. */
static int pit_post_load(struct device *dev)
{
	struct pit *p = to_pit(dev);

	if (!state_ok(&p->s))
		return -EBADMSG;
	if (!p->cfg.line.acked)
		p->s.ticks.unacked = TICK_DONE; /* as far as this host can tell */
	p->power_on = clock_pulses(p) - p->s.now;
	tune(p);
	pit_update(p);
	return 0;
}

static void pit_destroy(struct device *dev)
{
	struct pit *p = to_pit(dev);

	timer_arm(&p->timer, TIMER_OFF);
	bus_remove(p->cfg.bus, BUS_PIO, PLATFORM_PORT_PIT);
	bus_remove(p->cfg.bus, BUS_PIO, PLATFORM_PORT_SPEAKER);
	free(p);
}

#define PIT_FIELD(field, top) STATE_U_MAX(struct pit_state, field, top)
/* clang-format off */
#define PIT_COUNTER_FIELDS(i)                           \
	PIT_FIELD(counters[i].at, 0),                   \
	PIT_FIELD(counters[i].start, 0),                \
	PIT_FIELD(counters[i].load_at, 0),              \
	PIT_FIELD(counters[i].held, 0),                 \
	PIT_FIELD(counters[i].n, 0x10000),              \
	PIT_FIELD(counters[i].cr, 0),                   \
	PIT_FIELD(counters[i].latch, 0),                \
	PIT_FIELD(counters[i].control, COUNTER_CONTROL),\
	PIT_FIELD(counters[i].written, 1),              \
	PIT_FIELD(counters[i].null, 1),                 \
	PIT_FIELD(counters[i].stopped, 1),              \
	PIT_FIELD(counters[i].gate, 1),                 \
	PIT_FIELD(counters[i].write_msb, 1),            \
	PIT_FIELD(counters[i].read_msb, 1),             \
	PIT_FIELD(counters[i].lsb, 0),                  \
	PIT_FIELD(counters[i].latched, 3),              \
	PIT_FIELD(counters[i].status, 0),               \
	PIT_FIELD(counters[i].status_latched, 1)

static const struct state_field pit_fields[] = {
	PIT_FIELD(now, 0),
	PIT_COUNTER_FIELDS(0),
	PIT_COUNTER_FIELDS(1),
	PIT_COUNTER_FIELDS(2),
	PIT_FIELD(ticks.burst_at, 0),
	PIT_FIELD(ticks.sent_at, 0),
	PIT_FIELD(ticks.raised, 0),
	PIT_FIELD(ticks.dropped, 0),
	PIT_FIELD(ticks.owed, 0),
	PIT_FIELD(ticks.in_burst, 1),
	PIT_FIELD(ticks.unacked, TICK_MASKED),
	PIT_FIELD(ticks.listens, 1),
	PIT_FIELD(speaker, SPEAKER_KEPT),
};
/* clang-format on */

static const struct state_desc pit_state_desc = {
	.version = 1,
	.fields = pit_fields,
	.nr_fields = ARRAY_SIZE(pit_fields),
};

static const struct device_ops pit_ops = {
	.type = "pit",
	.reset = pit_reset,
	.destroy = pit_destroy,
	.state = &pit_state_desc,
	.state_offset = offsetof(struct pit, s),
	.pre_save = pit_pre_save,
	.post_load = pit_post_load,
};

int pit_create(const struct pit_config *cfg, struct device **out)
{
	struct pit *p;
	int ret;

	if (!policy_ok(&cfg->policy))
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	device_init(&p->dev, &pit_ops, cfg->name);
	p->cfg = *cfg;
	p->ticks = (struct ticks){ .s = &p->s.ticks, .line = &p->cfg.line };
	timer_init(&p->timer, cfg->clock, pit_timer, p);
	device_reset(&p->dev);
	ret = bus_add(cfg->bus, BUS_PIO, PLATFORM_PORT_PIT, PORT_CONTROL + 1, &p->dev,
		      &pit_bus_ops);
	if (ret)
		goto fail;
	ret = bus_add_at(cfg->bus, BUS_PIO, PLATFORM_PORT_SPEAKER, 1, &p->dev, &pit_bus_ops,
			 PORT_SPEAKER);
	if (ret) {
		bus_remove(cfg->bus, BUS_PIO, PLATFORM_PORT_PIT);
		goto fail;
	}
	*out = &p->dev;
	return 0;
fail:
	pthread_mutex_destroy(&p->dev.lock);
	free(p);
	return ret;
}
