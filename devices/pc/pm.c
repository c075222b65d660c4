/* SPDX-License-Identifier: MIT */
#include "devices/pc/pm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/platform.h"
#include "base/state.h"

#define PM1_TMR 0x0001 /* the timer's bit 23 changed */
#define PM1_GBL 0x0020
#define PM1_PWRBTN 0x0100
#define PM1_SLPBTN 0x0200
#define PM1_RTC 0x0400
#define PM1_WAK 0x8000
#define PM1_STS_MASK (PM1_TMR | PM1_PWRBTN | PM1_WAK) /* what ever happens here */
#define PM1_EN_MASK (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)

#define PM1_SCI_EN 0x0001
#define PM1_BM_RLD 0x0002
#define PM1_SLP_TYP_SHIFT 10
#define PM1_SLP_TYP 0x1c00
#define PM1_SLP_EN 0x2000
#define PM1_CNT_KEPT (PM1_BM_RLD | PM1_SLP_TYP)

#define TIMER_BITS 24
#define TIMER_MASK ((1u << TIMER_BITS) - 1)
#define GPE_OFFSET 0x20 /* where the handler sees the GPE block */

struct pm_state {
	uint16_t pm1_sts;
	uint16_t pm1_en;
	uint16_t pm1_cnt; /* PM1_CNT_KEPT */
	uint16_t gpe_sts;
	uint16_t gpe_en;
	uint64_t timer_half; /* ticks >> 23 when the timer was last looked at */
};

struct pm {
	struct device dev;
	struct pm_state s;
	struct pm_config cfg;
	struct timer timer;
	bool sci_level;
};

static struct pm *to_pm(struct device *dev)
{
	return container_of(dev, struct pm, dev);
}

static uint64_t ticks_now(const struct pm *p)
{
	return mul_div(clock_now(p->cfg.clock), PLATFORM_PM_TIMER_HZ, NSEC_PER_SEC);
}

static bool sci_wanted(const struct pm_state *s)
{
	return (s->pm1_sts & s->pm1_en) || (s->gpe_sts & s->gpe_en);
}

/* Notes what the timer did meanwhile. */
static void pm_sync(struct pm *p)
{
	uint64_t half = ticks_now(p) >> (TIMER_BITS - 1);

	if (half != p->s.timer_half) {
		p->s.timer_half = half;
		p->s.pm1_sts |= PM1_TMR;
	}
}

/* Brings the SCI and the host's timer in step with the state. */
static void pm_update(struct pm *p)
{
	bool level = sci_wanted(&p->s);
	uint64_t at = TIMER_OFF;

	if (level != p->sci_level) {
		p->sci_level = level;
		irq_set(&p->cfg.sci, level);
	}
	if ((p->s.pm1_en & PM1_TMR) && !(p->s.pm1_sts & PM1_TMR)) {
		uint64_t change = (p->s.timer_half + 1) << (TIMER_BITS - 1);

		/* Rounded up: at that instant the tick has happened. */
		at = mul_div(change, NSEC_PER_SEC, PLATFORM_PM_TIMER_HZ) + 1;
	}
	timer_want(&p->timer, at);
}

static void pm_timer(void *opaque)
{
	struct pm *p = opaque;

	device_lock(&p->dev);
	timer_came(&p->timer);
	pm_sync(p);
	pm_update(p);
	device_unlock(&p->dev);
}

static uint32_t sts_read(struct pm *p)
{
	return p->s.pm1_sts;
}

static void sts_write(struct pm *p, uint32_t v, uint32_t mask)
{
	p->s.pm1_sts &= (uint16_t) ~(v & mask);
}

static uint32_t en_read(struct pm *p)
{
	return p->s.pm1_en;
}

static void en_write(struct pm *p, uint32_t v, uint32_t mask)
{
	p->s.pm1_en = ((p->s.pm1_en & ~mask) | (v & mask)) & PM1_EN_MASK;
}

static uint32_t cnt_read(struct pm *p)
{
	return p->s.pm1_cnt | PM1_SCI_EN;
}

static void cnt_write(struct pm *p, uint32_t v, uint32_t mask)
{
	p->s.pm1_cnt = ((p->s.pm1_cnt & ~mask) | (v & mask)) & PM1_CNT_KEPT;
	if (!(v & mask & PM1_SLP_EN))
		return;
	if ((p->s.pm1_cnt & PM1_SLP_TYP) >> PM1_SLP_TYP_SHIFT == PLATFORM_SLP_TYP_S5)
		power_request(&p->cfg.power, POWER_OFF, 0);
	else
		p->s.pm1_sts |= PM1_WAK;
}

static uint32_t tmr_read(struct pm *p)
{
	return ticks_now(p) & TIMER_MASK;
}

static uint32_t gpe_sts_read(struct pm *p)
{
	return p->s.gpe_sts;
}

static void gpe_sts_write(struct pm *p, uint32_t v, uint32_t mask)
{
	p->s.gpe_sts &= (uint16_t) ~(v & mask);
}

static uint32_t gpe_en_read(struct pm *p)
{
	return p->s.gpe_en;
}

static void gpe_en_write(struct pm *p, uint32_t v, uint32_t mask)
{
	p->s.gpe_en = (uint16_t)((p->s.gpe_en & ~mask) | (v & mask));
}

/* Every register may be accessed in bytes or together with its neighbour (4.8.1). */
struct pm_reg {
	uint8_t offset;
	uint8_t width;
	const char *name;
	uint32_t (*read)(struct pm *p);
	void (*write)(struct pm *p, uint32_t v, uint32_t mask); /* NULL: read-only */
};

static const struct pm_reg pm_regs[] = {
	{ 0x00, 2, "pm1-status", sts_read, sts_write }, /* 4.8.3.1.1 */
	{ 0x02, 2, "pm1-enable", en_read, en_write }, /* 4.8.3.1.2 */
	{ 0x04, 2, "pm1-control", cnt_read, cnt_write }, /* 4.8.3.2.1 */
	{ 0x08, 4, "timer", tmr_read, NULL }, /* 4.8.3.3 */
	{ GPE_OFFSET, 2, "gpe0-status", gpe_sts_read, gpe_sts_write }, /* 4.8.4.1.1.1 */
	{ GPE_OFFSET + 2, 2, "gpe0-enable", gpe_en_read, gpe_en_write }, /* 4.8.4.1.1.2 */
};

static uint64_t pm_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct pm *p = to_pm(dev);
	uint64_t v = 0;

	pm_sync(p);
	for (size_t i = 0; i < ARRAY_SIZE(pm_regs); i++) {
		const struct pm_reg *r = &pm_regs[i];

		if (!ranges_overlap(offset, width, r->offset, r->width))
			continue;
		if (r->offset >= offset)
			v |= (uint64_t)r->read(p) << (r->offset - offset) * 8;
		else
			v |= r->read(p) >> (offset - r->offset) * 8;
	}
	pm_update(p);
	return v & width_mask(width);
}

static void pm_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct pm *p = to_pm(dev);
	uint64_t mask = width_mask(width);

	pm_sync(p);
	for (size_t i = 0; i < ARRAY_SIZE(pm_regs); i++) {
		const struct pm_reg *r = &pm_regs[i];
		uint64_t in_reg = width_mask(r->width);

		if (!r->write || !ranges_overlap(offset, width, r->offset, r->width))
			continue;
		if (r->offset >= offset) {
			unsigned shift = (unsigned)(r->offset - offset) * 8;

			r->write(p, (uint32_t)(value >> shift & in_reg),
				 (uint32_t)(mask >> shift & in_reg));
		} else {
			unsigned shift = (unsigned)(offset - r->offset) * 8;

			r->write(p, (uint32_t)(value << shift & in_reg),
				 (uint32_t)(mask << shift & in_reg));
		}
	}
	pm_update(p);
}

static const char *pm_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	(void)write;
	for (size_t i = 0; i < ARRAY_SIZE(pm_regs); i++)
		if (offset - pm_regs[i].offset < pm_regs[i].width)
			return pm_regs[i].name;
	return NULL;
}

static const struct bus_ops pm_bus_ops = {
	.max_width = 4,
	.read = pm_read,
	.write = pm_write,
	.reg_name = pm_reg_name,
};

void pm_press_power_button(struct device *dev)
{
	struct pm *p = to_pm(dev);

	device_lock(dev);
	pm_sync(p);
	p->s.pm1_sts |= PM1_PWRBTN;
	pm_update(p);
	device_unlock(dev);
}

void pm_raise_gpe(struct device *dev, unsigned gpe)
{
	struct pm *p = to_pm(dev);

	assert(gpe < PM_NR_GPE);
	device_lock(dev);
	pm_sync(p);
	p->s.gpe_sts |= (uint16_t)(1u << gpe);
	pm_update(p);
	device_unlock(dev);
}

static void pm_reset(struct device *dev)
{
	struct pm *p = to_pm(dev);

	p->s = (struct pm_state){ .timer_half = ticks_now(p) >> (TIMER_BITS - 1) };
	pm_update(p);
}

static int pm_post_load(struct device *dev)
{
	struct pm *p = to_pm(dev);

	if ((p->s.pm1_sts & ~PM1_STS_MASK) || (p->s.pm1_en & ~PM1_EN_MASK) ||
	    (p->s.pm1_cnt & ~PM1_CNT_KEPT))
		return -EBADMSG;
	/* The line may have been left at any level: set it, whatever we believe. */
	p->sci_level = sci_wanted(&p->s);
	irq_set(&p->cfg.sci, p->sci_level);
	pm_update(p);
	return 0;
}

static void pm_destroy(struct device *dev)
{
	struct pm *p = to_pm(dev);

	timer_arm(&p->timer, TIMER_OFF);
	bus_remove(p->cfg.bus, BUS_PIO, PLATFORM_PORT_PM_BASE);
	bus_remove(p->cfg.bus, BUS_PIO, PLATFORM_PORT_GPE_BASE);
	free(p);
}

static const struct state_field pm_fields[] = {
	STATE_U(struct pm_state, pm1_sts),
	STATE_U(struct pm_state, pm1_en),
	STATE_U(struct pm_state, pm1_cnt),
	STATE_U(struct pm_state, gpe_sts),
	STATE_U(struct pm_state, gpe_en),
	STATE_U_MAX(struct pm_state, timer_half, UINT64_MAX >> TIMER_BITS),
};

static const struct state_desc pm_state_desc = {
	.version = 1,
	.fields = pm_fields,
	.nr_fields = ARRAY_SIZE(pm_fields),
};

static const struct device_ops pm_ops = {
	.type = "pm",
	.reset = pm_reset,
	.destroy = pm_destroy,
	.state = &pm_state_desc,
	.state_offset = offsetof(struct pm, s),
	.post_load = pm_post_load,
};

int pm_create(const struct pm_config *cfg, struct device **out)
{
	struct pm *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	device_init(&p->dev, &pm_ops, cfg->name);
	p->cfg = *cfg;
	timer_init(&p->timer, cfg->clock, pm_timer, p);
	device_reset(&p->dev);
	ret = bus_add(cfg->bus, BUS_PIO, PLATFORM_PORT_PM_BASE, PLATFORM_PORT_PM_LEN, &p->dev,
		      &pm_bus_ops);
	if (ret)
		goto fail;
	ret = bus_add_at(cfg->bus, BUS_PIO, PLATFORM_PORT_GPE_BASE, PLATFORM_PORT_GPE_LEN, &p->dev,
			 &pm_bus_ops, GPE_OFFSET);
	if (ret) {
		bus_remove(cfg->bus, BUS_PIO, PLATFORM_PORT_PM_BASE);
		goto fail;
	}
	*out = &p->dev;
	return 0;
fail:
	pthread_mutex_destroy(&p->dev.lock);
	free(p);
	return ret;
}
