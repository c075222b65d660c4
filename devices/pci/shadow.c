/* SPDX-License-Identifier: MIT */
#include "devices/pci/shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/platform.h"
#include "devices/pci/pam.h"

struct shadow {
	struct device dev;
	struct shadow_config cfg;
	struct {
		bool read, write; /* these accesses go to RAM */
	} segments[PAM_NR_SEGMENTS];
	bool complained;
};

static struct shadow *to_shadow(struct device *dev)
{
	return container_of(dev, struct shadow, dev);
}

/* What reads of a segment find, NULL: nobody answers. */
static const void *segment_bytes(const struct shadow *s, unsigned i)
{
	uint64_t gpa = pam_base(i);

	if (!s->segments[i].read && gpa < PLATFORM_ROM_LOW_BASE)
		return NULL;
	if (!s->segments[i].read)
		gpa += PLATFORM_ROM_END - PLATFORM_SHADOW_END;
	return mem_at_const(s->cfg.mem, gpa, pam_size(i));
}

static int segment_show(struct shadow *s, unsigned i)
{
	const struct shadow_slots *slots = &s->cfg.slots;
	bool ram = s->segments[i].read && s->segments[i].write;

	return slots->set(slots->ctx, pam_base(i), pam_size(i), segment_bytes(s, i), !ram);
}

void shadow_set(void *dev, unsigned segment, bool read, bool write)
{
	struct shadow *s = to_shadow(dev);
	int ret;

	device_lock(&s->dev);
	s->segments[segment].read = read;
	s->segments[segment].write = write;
	ret = segment_show(s, segment);
	if (ret && !s->complained) {
		/* Once: a guest can bring it about at will. */
		s->complained = true;
		log_warn("shadow RAM at 0x%llx cannot be changed: %s",
			 (unsigned long long)pam_base(segment), strerror(-ret));
	}
	device_unlock(&s->dev);
}

static uint64_t shadow_read(struct device *dev, uint64_t offset, unsigned width)
{
	uint64_t gpa = PLATFORM_SHADOW_BASE + offset;
	unsigned i = pam_segment(gpa);
	const uint8_t *bytes = segment_bytes(to_shadow(dev), i);

	return bytes ? load_le(bytes + (gpa - pam_base(i)), width) : ~0ull;
}

static void shadow_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct shadow *s = to_shadow(dev);
	uint64_t gpa = PLATFORM_SHADOW_BASE + offset;
	void *ram = s->segments[pam_segment(gpa)].write ? mem_at(s->cfg.mem, gpa, width) : NULL;

	if (ram)
		store_le(ram, width, value);
}

static const char *shadow_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	static const char *const names[PAM_NR_SEGMENTS] = {
		"c0000", "c4000", "c8000", "cc000", "d0000", "d4000", "d8000",
		"dc000", "e0000", "e4000", "e8000", "ec000", "f0000",
	};

	(void)dev;
	(void)write;
	return names[pam_segment(PLATFORM_SHADOW_BASE + offset)];
}

static const struct bus_ops shadow_bus_ops = {
	.max_width = 8,
	.read = shadow_read,
	.write = shadow_write,
	.reg_name = shadow_reg_name,
};

static void shadow_destroy(struct device *dev)
{
	struct shadow *s = to_shadow(dev);

	(void)bus_remove(s->cfg.bus, BUS_MMIO, PLATFORM_SHADOW_BASE);
	free(s);
}

static const struct device_ops shadow_ops = {
	.type = "shadow",
	.destroy = shadow_destroy,
};

int shadow_create(const struct shadow_config *cfg, struct device **out)
{
	struct shadow *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	device_init(&s->dev, &shadow_ops, cfg->name);
	s->cfg = *cfg;
	ret = bus_add(cfg->bus, BUS_MMIO, PLATFORM_SHADOW_BASE,
		      PLATFORM_SHADOW_END - PLATFORM_SHADOW_BASE, &s->dev, &shadow_bus_ops);
	if (ret) {
		free(s);
		return ret;
	}
	for (unsigned i = 0; i < PAM_NR_SEGMENTS && !ret; i++)
		ret = segment_show(s, i);
	if (ret) {
		shadow_destroy(&s->dev);
		return ret;
	}
	*out = &s->dev;
	return 0;
}
