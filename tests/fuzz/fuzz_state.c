/* SPDX-License-Identifier: MIT */
/*
 * State streams against a device with every kind of field, and against the PC's own
 * devices. What loads must save as what it said; what does not must leave no trace. The
 * first byte chooses the device, the second whether the length and the CRC are put right,
 * so that the fuzzer gets past them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/bus.h"
#include "base/clock.h"
#include "base/state.h"
#include "devices/pc/i8042.h"
#include "devices/pc/misc_ports.h"
#include "devices/pc/pm.h"
#include "devices/pc/rtc.h"
#include "devices/pc/uart.h"

struct toy_state {
	uint8_t flag;
	uint16_t word;
	uint32_t level;
	uint64_t when;
	uint16_t ring[5];
	uint8_t blob[9];
	uint32_t newer;
};

struct toy {
	struct device dev;
	struct toy_state s;
};

static int toy_post_load(struct device *dev)
{
	return container_of(dev, struct toy, dev)->s.word == 0x1234 ? -ERANGE : 0;
}

static void toy_destroy(struct device *dev)
{
	free(dev);
}

static const struct state_field toy_fields[] = {
	STATE_U_MAX(struct toy_state, flag, 1),
	STATE_U(struct toy_state, word),
	STATE_U_MAX(struct toy_state, level, 1000),
	STATE_U(struct toy_state, when),
	STATE_ARRAY_MAX(struct toy_state, ring, 255),
	STATE_BYTES(struct toy_state, blob),
	{ .name = "newer",
	  .offset = offsetof(struct toy_state, newer),
	  .size = 4,
	  .count = 1,
	  .since = 2 },
};
static const struct state_desc toy_desc = { 2, toy_fields, ARRAY_SIZE(toy_fields) };
static const struct device_ops toy_ops = {
	.type = "toy",
	.destroy = toy_destroy,
	.state = &toy_desc,
	.state_offset = offsetof(struct toy, s),
	.post_load = toy_post_load,
};

static uint64_t now(struct clock *clock)
{
	(void)clock;
	return 1767323045ull * NSEC_PER_SEC;
}

static void arm(struct clock *clock, struct timer *t, uint64_t deadline)
{
	(void)clock;
	t->deadline = deadline;
}

static struct device *make(unsigned kind, struct bus *bus, struct clock *clock)
{
	struct misc_port_config misc = { .name = "dev", .bus = bus, .clock = clock };
	struct device *dev = NULL;
	struct toy *toy;
	int ret = 0;

	switch (kind) {
	case 1:
		ret = uart_create(
			&(struct uart_config){
				.name = "dev", .bus = bus, .port = 0x3f8, .clock = clock },
			&dev);
		break;
	case 2:
		ret = rtc_create(&(struct rtc_config){ .name = "dev",
						       .bus = bus,
						       .clock = clock,
						       .low_ram = GIB,
						       .cpus = 1 },
				 &dev);
		break;
	case 3:
		ret = i8042_create(&(struct i8042_config){ .name = "dev", .bus = bus }, &dev);
		break;
	case 4:
		ret = pm_create(&(struct pm_config){ .name = "dev", .bus = bus, .clock = clock },
				&dev);
		break;
	case 5:
		ret = sysctl_a_create(&misc, &dev);
		break;
	default:
		toy = calloc(1, sizeof(*toy));
		if (!toy)
			abort();
		device_init(&toy->dev, &toy_ops, "dev");
		dev = &toy->dev;
		break;
	}
	if (ret)
		abort();
	return dev;
}

static void put_right(uint8_t *s, size_t len)
{
	if (len < 16)
		return;
	memcpy(s, "BSTA", 4);
	store_le(s + 4, 4, len - 8);
	store_le(s + len - 4, 4, util_crc32(0, s, len - 4));
}

/* A guest that goes on after it: every port, twice. */
static void poke(struct bus *bus)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned port = 0; port < 0x700; port++) {
			uint8_t v = (uint8_t)(port * 7 + round);

			bus_read(bus, BUS_PIO, port, &v, 1);
			bus_write(bus, BUS_PIO, port, &v, 1);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct clock_ops clock_ops = { now, now, arm };
	struct clock clock = { &clock_ops };
	struct state_buf before = { 0 }, after = { 0 };
	struct device *dev;
	struct bus bus;
	size_t len = size - 2;
	uint8_t *s;
	ssize_t ret;

	if (size < 2 || size > 4096)
		return -1;
	bus_init(&bus);
	dev = make(data[0] % 6, &bus, &clock);
	if (state_save(dev, &before))
		abort();
	if (data[1] & 2) {
		/* The device's own stream, changed: closer to home than any guess. */
		s = malloc(before.len);
		if (!s)
			abort();
		memcpy(s, before.data, before.len);
		for (size_t i = 0; i + 3 <= len; i += 3)
			s[load_le(data + 2 + i, 2) % before.len] ^= data[2 + i + 2];
		len = before.len;
	} else {
		s = malloc(len ?: 1);
		if (!s)
			abort();
		memcpy(s, data + 2, len);
	}
	if (data[1] & 1)
		put_right(s, len);

	ret = state_load(dev, s, len);
	if (ret > (ssize_t)len || ret == 0)
		abort();
	if (state_save(dev, &after))
		abort();
	if (ret < 0 && (before.len != after.len || memcmp(before.data, after.data, after.len)))
		abort();
	/* What was saved loads again. */
	if (state_load(dev, after.data, after.len) != (ssize_t)after.len)
		abort();
	poke(&bus);
	device_destroy(dev);
	bus_destroy(&bus);
	state_buf_free(&before);
	state_buf_free(&after);
	free(s);
	return 0;
}
