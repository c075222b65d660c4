/* SPDX-License-Identifier: MIT */
#include "devices/pc/misc_ports.h"

#include <errno.h>
#include <stdlib.h>

#include "base/platform.h"
#include "base/state.h"

#define SYSCTL_A_FAST_RESET 0x01
#define SYSCTL_A_A20 0x02

#define SPEAKER_KEPT 0x03 /* counter 2's gate, speaker data */
#define SPEAKER_REFRESH 0x10
#define SPEAKER_OUT2 0x20
#define SPEAKER_REFRESH_NS 15085 /* counter 1 of a PC's PIT: 18 ticks of 1.193182 MHz */

#define PVPANIC_PANICKED 0x01
#define PVPANIC_CRASH_LOADED 0x02

#define DEBUG_LOG_THERE 0xe9

struct misc_port_state {
	uint8_t value;
};

struct misc_port {
	struct device dev;
	struct misc_port_state s;
	struct misc_port_config cfg;
	uint16_t port;
	const char *reg; /* what the one register is called */
};

static struct misc_port *to_port(struct device *dev)
{
	return container_of(dev, struct misc_port, dev);
}

static void port_reset(struct device *dev)
{
	to_port(dev)->s.value = 0;
}

static void port_destroy(struct device *dev)
{
	struct misc_port *p = to_port(dev);

	bus_remove(p->cfg.bus, BUS_PIO, p->port);
	free(p);
}

static uint64_t value_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)offset;
	(void)width;
	return to_port(dev)->s.value;
}

static const char *port_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)offset;
	(void)write;
	return container_of(dev, const struct misc_port, dev)->reg;
}

static const struct state_field byte_fields[] = { STATE_U(struct misc_port_state, value) };
static const struct state_desc byte_desc = { 1, byte_fields, ARRAY_SIZE(byte_fields) };

static const struct state_field two_bit_fields[] = { STATE_U_MAX(struct misc_port_state, value,
								 3) };
static const struct state_desc two_bit_desc = { 1, two_bit_fields, ARRAY_SIZE(two_bit_fields) };

static int port_create(const struct misc_port_config *cfg, const struct device_ops *ops,
		       const struct bus_ops *bus_ops, uint16_t port, uint16_t len, const char *reg,
		       struct device **out)
{
	struct misc_port *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	device_init(&p->dev, ops, cfg->name);
	p->cfg = *cfg;
	p->port = port;
	p->reg = reg;
	device_reset(&p->dev);
	ret = bus_add(cfg->bus, BUS_PIO, port, len, &p->dev, bus_ops);
	if (ret) {
		pthread_mutex_destroy(&p->dev.lock);
		free(p);
		return ret;
	}
	*out = &p->dev;
	return 0;
}

static void post_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)offset;
	(void)width;
	to_port(dev)->s.value = (uint8_t)value;
}

int post_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 1,
		.read = value_read,
		.write = post_write,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = {
		.type = "post",
		.reset = port_reset,
		.destroy = port_destroy,
		.state = &byte_desc,
		.state_offset = offsetof(struct misc_port, s),
	};

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_POST, 1, "code", out);
}

uint8_t post_code(struct device *dev)
{
	uint8_t v;

	device_lock(dev);
	v = to_port(dev)->s.value;
	device_unlock(dev);
	return v;
}

static void sysctl_a_reset(struct device *dev)
{
	to_port(dev)->s.value = SYSCTL_A_A20;
}

static void sysctl_a_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct misc_port *p = to_port(dev);
	bool reset = value & ~(uint64_t)p->s.value & SYSCTL_A_FAST_RESET;

	(void)offset;
	(void)width;
	p->s.value = value & (SYSCTL_A_FAST_RESET | SYSCTL_A_A20);
	if (reset)
		power_request(&p->cfg.power, POWER_RESET, 0);
}

int sysctl_a_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 1,
		.read = value_read,
		.write = sysctl_a_write,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = {
		.type = "sysctl-a",
		.reset = sysctl_a_reset,
		.destroy = port_destroy,
		.state = &two_bit_desc,
		.state_offset = offsetof(struct misc_port, s),
	};

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_SYSCTL_A, 1, "control", out);
}

static uint64_t speaker_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct misc_port *p = to_port(dev);
	bool refresh = clock_now(p->cfg.clock) / SPEAKER_REFRESH_NS & 1;

	(void)offset;
	(void)width;
	return p->s.value | (refresh ? SPEAKER_REFRESH : 0) | SPEAKER_OUT2;
}

static void speaker_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)offset;
	(void)width;
	to_port(dev)->s.value = value & SPEAKER_KEPT;
}

int speaker_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 1,
		.read = speaker_read,
		.write = speaker_write,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = {
		.type = "speaker",
		.reset = port_reset,
		.destroy = port_destroy,
		.state = &two_bit_desc,
		.state_offset = offsetof(struct misc_port, s),
	};

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_SPEAKER, 1, "control", out);
}

static uint64_t pvpanic_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	(void)width;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)offset;
	(void)width;
	/* A guest with a crash kernel loaded boots that next: it is not over yet. */
	if (value & PVPANIC_PANICKED)
		power_request(&to_port(dev)->cfg.power, POWER_CRASHED, (uint32_t)value);
}

int pvpanic_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 1,
		.read = pvpanic_read,
		.write = pvpanic_write,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = { .type = "pvpanic", .destroy = port_destroy };

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_PVPANIC, 1, "event", out);
}

static void debug_exit_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	(void)width;
	if (!offset)
		power_request(&to_port(dev)->cfg.power, value ? POWER_CRASHED : POWER_OFF,
			      (uint32_t)value);
}

int debug_exit_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 4,
		.read = value_read,
		.write = debug_exit_write,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = { .type = "debug-exit", .destroy = port_destroy };

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_DEBUG_EXIT, 4, "code", out);
}

static uint64_t debug_log_read(struct device *dev, uint64_t offset, unsigned width)
{
	(void)dev;
	(void)offset;
	(void)width;
	return DEBUG_LOG_THERE;
}

static void debug_log_write_rep(struct device *dev, uint64_t offset, unsigned width,
				const void *buf, unsigned count)
{
	(void)offset;
	(void)width;
	(void)chardev_write(to_port(dev)->cfg.chardev, buf, count);
}

static void debug_log_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	uint8_t byte = (uint8_t)value;

	debug_log_write_rep(dev, offset, width, &byte, 1);
}

int debug_log_create(const struct misc_port_config *cfg, struct device **out)
{
	static const struct bus_ops bus_ops = {
		.max_width = 1,
		.read = debug_log_read,
		.write = debug_log_write,
		.write_rep = debug_log_write_rep,
		.reg_name = port_reg_name,
	};
	static const struct device_ops ops = { .type = "debug-log", .destroy = port_destroy };

	return port_create(cfg, &ops, &bus_ops, PLATFORM_PORT_DEBUG_LOG, 1, "data", out);
}
