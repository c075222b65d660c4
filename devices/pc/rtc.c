/* SPDX-License-Identifier: MIT */
#include "devices/pc/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "base/state.h"

enum rtc_reg {
	RTC_SECONDS,
	RTC_SECONDS_ALARM,
	RTC_MINUTES,
	RTC_MINUTES_ALARM,
	RTC_HOURS,
	RTC_HOURS_ALARM,
	RTC_WDAY,
	RTC_MDAY,
	RTC_MONTH,
	RTC_YEAR,
	RTC_A,
	RTC_B,
	RTC_C,
	RTC_D,
	RTC_CENTURY = 0x32,
	RTC_SIZE = 0x80,
};

#define A_UIP 0x80
#define A_DV_RESET 0x60 /* both bits: the divider is held */
#define A_RATE 0x0f
#define A_POWER_ON 0x26 /* 32.768 kHz, 1024 Hz, as a BIOS leaves it */

#define B_SET 0x80 /* the registers stand still to be set */
#define B_UIE 0x10
#define B_INTERRUPTS 0x70 /* PIE, AIE, UIE: at the places of the flags in register C */
#define B_BINARY 0x04
#define B_24H 0x02
#define B_POWER_ON B_24H

#define C_IRQF 0x80
#define C_PF 0x40
#define C_AF 0x20
#define C_UF 0x10

#define D_VALID 0x80

#define HOUR_PM 0x80
#define ALARM_ANY 0xc0
#define INDEX_NMI_OFF 0x80

#define CRYSTAL_HZ 32768
#define UIP_NS (8 * NSEC_PER_SEC / CRYSTAL_HZ) /* 244 us before an update */
#define DAY_SECONDS 86400

/* No host and no guest gets further than the year 9999 or before the year 0. */
#define OFFSET_LIMIT (1ll << 40)

struct rtc_state {
	uint8_t index;
	uint8_t nmi_off; /* flag: port 0x70 bit 7; nothing here raises an NMI */
	uint8_t reg_a; /* without UIP */
	uint8_t reg_b;
	uint8_t flags; /* PF, AF, UF of register C */
	uint8_t wday_offset; /* days the guest's weekday is ahead of the calendar's */
	uint8_t ram[RTC_SIZE]; /* time registers: 0 but while the clock stands still */
	uint64_t offset_seconds; /* the guest's clock less phase time; two's complement */
	uint32_t phase_ns; /* added to the wall clock: where its seconds begin */
	uint64_t seen; /* phase time at which the flags were last brought up to date */
};

struct rtc {
	struct device dev;
	struct rtc_state s;
	struct rtc_config cfg;
	struct timer timer;
	bool irq_level;
};

static struct rtc *to_rtc(struct device *dev)
{
	return container_of(dev, struct rtc, dev);
}

/* Wall time shifted to the divider's phase, ns: whole seconds are where updates happen. */
static uint64_t phase_time(const struct rtc *r)
{
	return clock_wall(r->cfg.clock) + r->s.phase_ns;
}

static bool divider_runs(const struct rtc_state *s)
{
	return (s->reg_a & A_DV_RESET) != A_DV_RESET;
}

static bool clock_runs(const struct rtc_state *s)
{
	return divider_runs(s) && !(s->reg_b & B_SET);
}

static uint8_t encode(const struct rtc_state *s, unsigned v)
{
	return (uint8_t)(s->reg_b & B_BINARY ? v : (v / 10) << 4 | v % 10);
}

static unsigned decode(const struct rtc_state *s, uint8_t v)
{
	return s->reg_b & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct rtc_state *s, unsigned hour)
{
	if (s->reg_b & B_24H)
		return encode(s, hour);
	return encode(s, hour % 12 ?: 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc_state *s, uint8_t v)
{
	if (s->reg_b & B_24H)
		return decode(s, v);
	return decode(s, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Days of the (proleptic Gregorian) years before year y, counted from 0000-01-01. */
static int64_t days_before_year(int64_t y)
{
	int64_t n = y - 1; /* the last full year; year 0 is a leap year */

	return y <= 0 ? 0 : y * 365 + n / 4 - n / 100 + n / 400 + 1;
}

static bool is_leap(int64_t y)
{
	return !(y % 4) && (y % 100 || !(y % 400));
}

static unsigned month_days(int64_t year, unsigned month)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

#define CYCLE_YEARS 10000 /* what four digits can tell */

/* Fills the time registers with second t since 1970, wrapping at the year 10000. */
static void encode_time(struct rtc_state *s, int64_t t)
{
	int64_t cycle = days_before_year(CYCLE_YEARS);
	int64_t day = t / DAY_SECONDS - (t % DAY_SECONDS < 0);
	unsigned second = (unsigned)(t - day * DAY_SECONDS);
	unsigned wday = (unsigned)(((day + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
	int64_t year, mday;
	unsigned month = 1;

	day = (day + days_before_year(1970)) % cycle;
	if (day < 0)
		day += cycle;
	year = day / 366;
	while (days_before_year(year + 1) <= day)
		year++;
	mday = day - days_before_year(year);
	while (mday >= month_days(year, month))
		mday -= month_days(year, month++);
	s->ram[RTC_SECONDS] = encode(s, second % 60);
	s->ram[RTC_MINUTES] = encode(s, second / 60 % 60);
	s->ram[RTC_HOURS] = encode_hour(s, second / 3600);
	s->ram[RTC_WDAY] = encode(s, (wday + s->wday_offset) % 7 + 1);
	s->ram[RTC_MDAY] = encode(s, (unsigned)mday + 1);
	s->ram[RTC_MONTH] = encode(s, month);
	s->ram[RTC_YEAR] = encode(s, (unsigned)(year % 100));
	s->ram[RTC_CENTURY] = encode(s, (unsigned)(year / 100));
}

/* The second since 1970 in the time registers, whatever nonsense the guest put there. */
static int64_t decode_time(struct rtc_state *s)
{
	int64_t year = (int64_t)min_u64(decode(s, s->ram[RTC_CENTURY]), 99) * 100 +
		       (int64_t)min_u64(decode(s, s->ram[RTC_YEAR]), 99);
	unsigned month = (unsigned)min_u64(max_u64(decode(s, s->ram[RTC_MONTH]), 1), 12);
	unsigned mday =
		(unsigned)min_u64(max_u64(decode(s, s->ram[RTC_MDAY]), 1), month_days(year, month));
	int64_t day = days_before_year(year) - days_before_year(1970) + mday - 1;
	unsigned wday = (decode(s, s->ram[RTC_WDAY]) + 6) % 7;

	for (unsigned m = 1; m < month; m++)
		day += month_days(year, m);
	s->wday_offset = (uint8_t)((wday + 7 - ((day + 4) % 7 + 7) % 7) % 7);
	return day * DAY_SECONDS + (int64_t)min_u64(decode_hour(s, s->ram[RTC_HOURS]), 23) * 3600 +
	       (int64_t)min_u64(decode(s, s->ram[RTC_MINUTES]), 59) * 60 +
	       (int64_t)min_u64(decode(s, s->ram[RTC_SECONDS]), 59);
}

static int64_t guest_second(const struct rtc_state *s, uint64_t at)
{
	return (int64_t)(at / NSEC_PER_SEC) + (int64_t)s->offset_seconds;
}

static bool is_time_reg(unsigned reg)
{
	return reg == RTC_SECONDS || reg == RTC_MINUTES || reg == RTC_HOURS ||
	       (reg >= RTC_WDAY && reg <= RTC_YEAR) || reg == RTC_CENTURY;
}

/* The registers stop at the present time. */
static void clock_hold(struct rtc *r)
{
	encode_time(&r->s, guest_second(&r->s, phase_time(r)));
}

/* The clock goes on from the registers, its seconds where the divider has them. */
static void clock_release(struct rtc *r)
{
	uint64_t at = phase_time(r);

	r->s.offset_seconds = (uint64_t)(decode_time(&r->s) - (int64_t)(at / NSEC_PER_SEC));
	r->s.seen = at;
	for (unsigned reg = 0; reg < RTC_SIZE; reg++)
		if (is_time_reg(reg))
			r->s.ram[reg] = 0;
}

static bool alarm_matches(uint8_t alarm, uint8_t value)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

/* Seconds from guest second t to the next one, later than t, with an alarm; 0: never. */
static unsigned next_alarm(const struct rtc_state *s, int64_t t)
{
	unsigned start = (unsigned)((t % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS);
	unsigned at = start + 1;

	while (at <= start + DAY_SECONDS) {
		unsigned tod = at % DAY_SECONDS;

		if (!alarm_matches(s->ram[RTC_HOURS_ALARM], encode_hour(s, tod / 3600)))
			at += 3600 - tod % 3600;
		else if (!alarm_matches(s->ram[RTC_MINUTES_ALARM], encode(s, tod / 60 % 60)))
			at += 60 - tod % 60;
		else if (!alarm_matches(s->ram[RTC_SECONDS_ALARM], encode(s, tod % 60)))
			at++;
		else
			return at - start;
	}
	return 0;
}

/* Crystal periods between periodic interrupts, a power of two; 0: none (table 5). */
static unsigned periodic_ticks(const struct rtc_state *s)
{
	unsigned rate = s->reg_a & A_RATE;

	if (!rate)
		return 0;
	return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t crystal_ticks(uint64_t at)
{
	return mul_div(at, CRYSTAL_HZ, NSEC_PER_SEC);
}

/* Sets the flags of everything that happened since they were last looked at. */
static void rtc_sync(struct rtc *r)
{
	struct rtc_state *s = &r->s;
	uint64_t at = phase_time(r);
	int64_t was = guest_second(s, s->seen), is = guest_second(s, at);
	unsigned period = periodic_ticks(s);

	if (divider_runs(s) && period &&
	    crystal_ticks(at) / period != crystal_ticks(s->seen) / period)
		s->flags |= C_PF;
	if (clock_runs(s) && is != was) {
		/* A wall clock set back: only this very second counts. */
		int64_t from = is < was ? is - 1 : was;
		unsigned alarm = next_alarm(s, from);

		s->flags |= C_UF;
		if (alarm && alarm <= is - from)
			s->flags |= C_AF;
	}
	s->seen = at;
}

static bool irq_wanted(const struct rtc_state *s)
{
	return s->flags & s->reg_b & B_INTERRUPTS;
}

/* The clock_now() of the next event whose interrupt is enabled. Flags are up to date. */
static uint64_t next_event(const struct rtc *r)
{
	const struct rtc_state *s = &r->s;
	uint64_t next = UINT64_MAX;
	unsigned period = periodic_ticks(s);

	if ((s->reg_b & C_PF) && divider_runs(s) && period) {
		uint64_t tick = (crystal_ticks(s->seen) / period + 1) * period;

		next = mul_div(tick, NSEC_PER_SEC, CRYSTAL_HZ) + 1;
	}
	if ((s->reg_b & (C_UF | C_AF)) && clock_runs(s)) {
		uint64_t second = s->seen / NSEC_PER_SEC;
		unsigned wait = 1;

		if (!(s->reg_b & C_UF))
			wait = next_alarm(s, guest_second(s, s->seen));
		if (wait)
			next = min_u64(next, (second + wait) * NSEC_PER_SEC);
	}
	if (next == UINT64_MAX)
		return TIMER_OFF;
	return clock_now(r->cfg.clock) + (next - s->seen);
}

/* Brings the line and the timer in step with the state. */
static void rtc_update(struct rtc *r)
{
	bool level = irq_wanted(&r->s);
	/* A line that is up stays up until register C is read: nothing to wait for. */
	uint64_t at = level ? TIMER_OFF : next_event(r);

	if (level != r->irq_level) {
		r->irq_level = level;
		irq_set(&r->cfg.irq, level);
	}
	timer_want(&r->timer, at);
}

static void rtc_timer(void *opaque)
{
	struct rtc *r = opaque;

	device_lock(&r->dev);
	timer_came(&r->timer);
	rtc_sync(r);
	rtc_update(r);
	device_unlock(&r->dev);
}

static uint8_t read_c(struct rtc *r)
{
	uint8_t v = r->s.flags | (irq_wanted(&r->s) ? C_IRQF : 0);

	r->s.flags = 0;
	return v;
}

static uint8_t read_a(const struct rtc *r)
{
	bool uip = clock_runs(&r->s) && r->s.seen % NSEC_PER_SEC >= NSEC_PER_SEC - UIP_NS;

	return r->s.reg_a | (uip ? A_UIP : 0);
}

static uint8_t running_reg(const struct rtc *r, unsigned reg)
{
	struct rtc_state now = r->s;

	encode_time(&now, guest_second(&now, now.seen));
	return now.ram[reg];
}

static uint8_t read_reg(struct rtc *r, unsigned reg)
{
	switch (reg) {
	case RTC_A:
		return read_a(r);
	case RTC_B:
		return r->s.reg_b;
	case RTC_C:
		return read_c(r);
	case RTC_D:
		return D_VALID;
	default:
		return is_time_reg(reg) && clock_runs(&r->s) ? running_reg(r, reg) : r->s.ram[reg];
	}
}

static void write_a(struct rtc *r, uint8_t v)
{
	struct rtc_state *s = &r->s;
	bool ran = divider_runs(s);

	if (clock_runs(s))
		clock_hold(r);
	s->reg_a = v & (uint8_t)~A_UIP;
	if (!ran && divider_runs(s)) {
		/* The first update comes half a second after the divider is let go. */
		uint64_t sub = clock_wall(r->cfg.clock) % NSEC_PER_SEC;

		s->phase_ns = (uint32_t)((NSEC_PER_SEC * 3 / 2 - sub) % NSEC_PER_SEC);
		s->seen = phase_time(r);
	}
	if (clock_runs(s))
		clock_release(r);
}

static void write_b(struct rtc *r, uint8_t v)
{
	struct rtc_state *s = &r->s;
	bool ran = clock_runs(s);

	if (v & B_SET)
		v &= (uint8_t)~B_UIE;
	if (ran && (v & B_SET))
		clock_hold(r);
	s->reg_b = v;
	if (!ran && clock_runs(s))
		clock_release(r);
}

static void write_reg(struct rtc *r, unsigned reg, uint8_t v)
{
	switch (reg) {
	case RTC_A:
		write_a(r, v);
		break;
	case RTC_B:
		write_b(r, v);
		break;
	case RTC_C:
	case RTC_D:
		break;
	default:
		if (is_time_reg(reg) && clock_runs(&r->s)) {
			clock_hold(r);
			r->s.ram[reg] = v;
			clock_release(r);
		} else {
			r->s.ram[reg] = v;
		}
		break;
	}
}

static uint64_t rtc_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct rtc *r = to_rtc(dev);
	uint8_t v;

	(void)width;
	if (!offset)
		return 0xff; /* the index is write-only */
	rtc_sync(r);
	v = read_reg(r, r->s.index);
	rtc_update(r);
	return v;
}

static void rtc_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct rtc *r = to_rtc(dev);

	(void)width;
	if (!offset) {
		r->s.index = value & (RTC_SIZE - 1);
		r->s.nmi_off = !!(value & INDEX_NMI_OFF);
		return;
	}
	rtc_sync(r);
	write_reg(r, r->s.index, (uint8_t)value);
	rtc_update(r);
}

static const char *rtc_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	return offset ? "data" : "index";
}

/* The index: it only says what the data port will be. */
static bool rtc_posted(const struct device *dev, uint64_t offset)
{
	(void)dev;
	return !offset;
}

static const struct bus_ops rtc_bus_ops = {
	.max_width = 1,
	.read = rtc_read,
	.write = rtc_write,
	.reg_name = rtc_reg_name,
	.posted = rtc_posted,
};

static void put16(uint8_t *ram, uint64_t v)
{
	store_le(ram, 2, min_u64(v, 0xffff));
}

/* What a BIOS or a kernel asks CMOS about the machine. */
static void describe_machine(struct rtc *r)
{
	const struct rtc_config *cfg = &r->cfg;
	uint8_t *ram = r->s.ram;
	uint64_t above_1m = cfg->low_ram > MIB ? cfg->low_ram - MIB : 0;
	uint64_t above_16m = cfg->low_ram > 16 * MIB ? cfg->low_ram - 16 * MIB : 0;
	uint16_t sum = 0;

	ram[0x0f] = 0; /* shutdown status: a plain reset */
	ram[0x10] = 0; /* no floppy drives */
	ram[0x12] = 0; /* no drives that want a geometry from here */
	ram[0x14] = 0x02; /* equipment: an FPU */
	put16(&ram[0x15], 640);
	put16(&ram[0x17], above_1m / KIB);
	put16(&ram[0x30], above_1m / KIB);
	put16(&ram[0x34], above_16m / (64 * KIB));
	store_le(&ram[0x5b], 3, min_u64(cfg->high_ram / (64 * KIB), 0xffffff));
	ram[0x38] = 0x00;
	ram[0x39] = 0x55; /* four IDE disks, whose CHS is translated as LBA is */
	ram[0x3d] = 0x02; /* boot from the first disk */
	ram[0x5f] = (uint8_t)(cfg->cpus - 1);
	for (unsigned i = 0x10; i < 0x2e; i++)
		sum += ram[i];
	ram[0x2e] = (uint8_t)(sum >> 8);
	ram[0x2f] = (uint8_t)sum;
}

static void rtc_reset(struct device *dev)
{
	struct rtc *r = to_rtc(dev);
	struct rtc_state *s = &r->s;

	write_a(r, A_POWER_ON);
	write_b(r, B_POWER_ON);
	s->index = 0;
	s->nmi_off = 0;
	s->flags = 0;
	s->seen = phase_time(r);
	describe_machine(r);
	rtc_update(r);
}

static int rtc_post_load(struct device *dev)
{
	struct rtc *r = to_rtc(dev);
	struct rtc_state *s = &r->s;
	int64_t offset = (int64_t)s->offset_seconds;

	if ((s->flags & ~(C_PF | C_AF | C_UF)) || offset > OFFSET_LIMIT || offset < -OFFSET_LIMIT)
		return -EBADMSG;
	/* The line may have been left at any level: set it, whatever we believe. */
	r->irq_level = irq_wanted(s);
	irq_set(&r->cfg.irq, r->irq_level);
	rtc_sync(r);
	rtc_update(r);
	return 0;
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *r = to_rtc(dev);

	timer_arm(&r->timer, TIMER_OFF);
	bus_remove(r->cfg.bus, BUS_PIO, PLATFORM_PORT_RTC_INDEX);
	free(r);
}

static const struct state_field rtc_fields[] = {
	STATE_U_MAX(struct rtc_state, index, RTC_SIZE - 1),
	STATE_U_MAX(struct rtc_state, nmi_off, 1),
	STATE_U_MAX(struct rtc_state, reg_a, 0x7f),
	STATE_U(struct rtc_state, reg_b),
	STATE_U(struct rtc_state, flags),
	STATE_U_MAX(struct rtc_state, wday_offset, 6),
	STATE_BYTES(struct rtc_state, ram),
	STATE_U(struct rtc_state, offset_seconds),
	STATE_U_MAX(struct rtc_state, phase_ns, NSEC_PER_SEC - 1),
	STATE_U_MAX(struct rtc_state, seen, INT64_MAX),
};

static const struct state_desc rtc_state_desc = {
	.version = 1,
	.fields = rtc_fields,
	.nr_fields = ARRAY_SIZE(rtc_fields),
};

static const struct device_ops rtc_ops = {
	.type = "rtc",
	.reset = rtc_reset,
	.destroy = rtc_destroy,
	.state = &rtc_state_desc,
	.state_offset = offsetof(struct rtc, s),
	.post_load = rtc_post_load,
};

int rtc_create(const struct rtc_config *cfg, struct device **out)
{
	struct rtc *r;
	int ret;

	if (cfg->cpus < 1 || cfg->cpus > 256)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	device_init(&r->dev, &rtc_ops, cfg->name);
	r->cfg = *cfg;
	timer_init(&r->timer, cfg->clock, rtc_timer, r);
	r->s.reg_a = A_POWER_ON;
	r->s.reg_b = B_POWER_ON;
	r->s.seen = phase_time(r);
	device_reset(&r->dev);
	ret = bus_add(cfg->bus, BUS_PIO, PLATFORM_PORT_RTC_INDEX, 2, &r->dev, &rtc_bus_ops);
	if (ret) {
		pthread_mutex_destroy(&r->dev.lock);
		free(r);
		return ret;
	}
	*out = &r->dev;
	return 0;
}
