/* SPDX-License-Identifier: MIT */
#include "devices/pc/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/platform.h"
#include "base/state.h"

#define STS_OBF 0x01 /* a byte waits at port 0x60 */
#define STS_SYS 0x04 /* as in the command byte */
#define STS_CMD 0x08 /* the last write was to port 0x64 */
#define STS_UNLOCKED 0x10
#define STS_AUX_OBF 0x20 /* the byte is the mouse's */
#define STS_TIMEOUT 0x40

#define CCB_KBD_INT 0x01
#define CCB_AUX_INT 0x02
#define CCB_SYS 0x04
#define CCB_KBD_OFF 0x10
#define CCB_AUX_OFF 0x20

#define OUT_RESET 0x01 /* active low */
#define OUT_A20 0x02
#define OUT_AUX_OBF 0x20
#define OUT_KBD_OBF 0x10
#define OUT_FIXED 0xcc

#define INPUT_UNLOCKED 0x80
#define SELF_TEST_PASSED 0x55
#define INTERFACE_OK 0x00
#define DEVICE_RESEND 0xfe /* what comes in place of an answer that timed out */

enum i8042_cmd {
	CMD_READ_CCB = 0x20,
	CMD_WRITE_CCB = 0x60,
	CMD_AUX_DISABLE = 0xa7,
	CMD_AUX_ENABLE = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KBD_TEST = 0xab,
	CMD_KBD_DISABLE = 0xad,
	CMD_KBD_ENABLE = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_WRITE_KBD_BUF = 0xd2,
	CMD_WRITE_AUX_BUF = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_PULSE = 0xf0, /* to 0xff: lines whose bit is 0 go low for 6 us */
};

struct i8042_state {
	uint8_t ccb; /* the controller command byte */
	uint8_t status; /* STS_OBF, STS_CMD, STS_AUX_OBF, STS_TIMEOUT */
	uint8_t obuf;
	uint8_t out_port; /* OUT_A20 */
	uint8_t command; /* which waits for its data byte at port 0x60; 0: none */
};

struct i8042 {
	struct device dev;
	struct i8042_state s;
	struct i8042_config cfg;
	bool kbd_level;
	bool aux_level;
};

static struct i8042 *to_i8042(struct device *dev)
{
	return container_of(dev, struct i8042, dev);
}

static void set_line(const struct irq *irq, bool *was, bool level)
{
	if (*was != level) {
		*was = level;
		irq_set(irq, level);
	}
}

static bool kbd_line(const struct i8042_state *s)
{
	return (s->status & STS_OBF) && !(s->status & STS_AUX_OBF) && (s->ccb & CCB_KBD_INT);
}

static bool aux_line(const struct i8042_state *s)
{
	return (s->status & STS_OBF) && (s->status & STS_AUX_OBF) && (s->ccb & CCB_AUX_INT);
}

static void i8042_update(struct i8042 *k)
{
	set_line(&k->cfg.kbd_irq, &k->kbd_level, kbd_line(&k->s));
	set_line(&k->cfg.aux_irq, &k->aux_level, aux_line(&k->s));
}

/* Puts a byte into the output buffer; bits: STS_AUX_OBF, STS_TIMEOUT. */
static void reply(struct i8042 *k, uint8_t byte, uint8_t bits)
{
	/* What was not read is lost, and its line falls: the new byte is a new edge. */
	k->s.status &= STS_CMD;
	i8042_update(k);
	k->s.obuf = byte;
	k->s.status |= STS_OBF | bits;
}

static void request_reset(struct i8042 *k)
{
	power_request(&k->cfg.power, POWER_RESET, 0);
}

static uint8_t output_port(const struct i8042_state *s)
{
	uint8_t v = OUT_FIXED | OUT_RESET | s->out_port;

	if (s->status & STS_OBF)
		v |= s->status & STS_AUX_OBF ? OUT_AUX_OBF : OUT_KBD_OBF;
	return v;
}

static void command(struct i8042 *k, uint8_t v)
{
	struct i8042_state *s = &k->s;

	s->status |= STS_CMD;
	s->command = 0;
	switch (v) {
	case CMD_READ_CCB:
		reply(k, s->ccb, 0);
		break;
	case CMD_AUX_DISABLE:
		s->ccb |= CCB_AUX_OFF;
		break;
	case CMD_AUX_ENABLE:
		s->ccb &= (uint8_t)~CCB_AUX_OFF;
		break;
	case CMD_SELF_TEST:
		s->ccb |= CCB_SYS;
		reply(k, SELF_TEST_PASSED, 0);
		break;
	case CMD_AUX_TEST:
	case CMD_KBD_TEST:
		reply(k, INTERFACE_OK, 0);
		break;
	case CMD_KBD_DISABLE:
		s->ccb |= CCB_KBD_OFF;
		break;
	case CMD_KBD_ENABLE:
		s->ccb &= (uint8_t)~CCB_KBD_OFF;
		break;
	case CMD_READ_INPUT:
		reply(k, INPUT_UNLOCKED, 0);
		break;
	case CMD_READ_OUTPUT:
		reply(k, output_port(s), 0);
		break;
	case CMD_WRITE_CCB:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD_BUF:
	case CMD_WRITE_AUX_BUF:
	case CMD_WRITE_AUX:
		s->command = v;
		break;
	case CMD_A20_OFF:
		s->out_port &= (uint8_t)~OUT_A20;
		break;
	case CMD_A20_ON:
		s->out_port |= OUT_A20;
		break;
	default:
		if (v >= CMD_PULSE && !(v & OUT_RESET))
			request_reset(k);
		break;
	}
}

static void data(struct i8042 *k, uint8_t v)
{
	struct i8042_state *s = &k->s;
	uint8_t cmd = s->command;

	s->status &= (uint8_t)~STS_CMD;
	s->command = 0;
	switch (cmd) {
	case CMD_WRITE_CCB:
		s->ccb = v;
		break;
	case CMD_WRITE_OUTPUT:
		s->out_port = v & OUT_A20;
		if (!(v & OUT_RESET))
			request_reset(k);
		break;
	case CMD_WRITE_KBD_BUF:
		reply(k, v, 0);
		break;
	case CMD_WRITE_AUX_BUF:
		reply(k, v, STS_AUX_OBF);
		break;
	case CMD_WRITE_AUX:
		reply(k, DEVICE_RESEND, STS_AUX_OBF | STS_TIMEOUT);
		break;
	default: /* for the keyboard, whose port this opens */
		s->ccb &= (uint8_t)~CCB_KBD_OFF;
		reply(k, DEVICE_RESEND, STS_TIMEOUT);
		break;
	}
}

static uint64_t i8042_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct i8042 *k = to_i8042(dev);
	struct i8042_state *s = &k->s;

	(void)width;
	if (offset == PLATFORM_PORT_I8042_CMD)
		return s->status | STS_UNLOCKED | (s->ccb & CCB_SYS ? STS_SYS : 0);
	s->status &= STS_CMD;
	i8042_update(k);
	return s->obuf;
}

static void i8042_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct i8042 *k = to_i8042(dev);

	(void)width;
	if (offset == PLATFORM_PORT_I8042_CMD)
		command(k, (uint8_t)value);
	else
		data(k, (uint8_t)value);
	i8042_update(k);
}

static const char *i8042_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	(void)dev;
	if (offset != PLATFORM_PORT_I8042_CMD)
		return "data";
	return write ? "command" : "status";
}

static const struct bus_ops i8042_bus_ops = {
	.max_width = 1,
	.read = i8042_read,
	.write = i8042_write,
	.reg_name = i8042_reg_name,
};

static void i8042_reset(struct device *dev)
{
	struct i8042 *k = to_i8042(dev);

	k->s = (struct i8042_state){
		.ccb = CCB_KBD_INT | CCB_AUX_INT,
		.status = STS_CMD,
		.out_port = OUT_A20,
	};
	i8042_update(k);
}

static int i8042_post_load(struct device *dev)
{
	struct i8042 *k = to_i8042(dev);
	struct i8042_state *s = &k->s;

	if (s->status & ~(STS_OBF | STS_CMD | STS_AUX_OBF | STS_TIMEOUT) ||
	    (s->out_port & ~OUT_A20))
		return -EBADMSG;
	k->kbd_level = kbd_line(s);
	irq_set(&k->cfg.kbd_irq, k->kbd_level);
	k->aux_level = aux_line(s);
	irq_set(&k->cfg.aux_irq, k->aux_level);
	return 0;
}

static void i8042_destroy(struct device *dev)
{
	struct i8042 *k = to_i8042(dev);

	bus_remove(k->cfg.bus, BUS_PIO, PLATFORM_PORT_I8042_DATA);
	bus_remove(k->cfg.bus, BUS_PIO, PLATFORM_PORT_I8042_CMD);
	free(k);
}

static const struct state_field i8042_fields[] = {
	STATE_U(struct i8042_state, ccb),     STATE_U(struct i8042_state, status),
	STATE_U(struct i8042_state, obuf),    STATE_U(struct i8042_state, out_port),
	STATE_U(struct i8042_state, command),
};

static const struct state_desc i8042_state_desc = {
	.version = 1,
	.fields = i8042_fields,
	.nr_fields = ARRAY_SIZE(i8042_fields),
};

static const struct device_ops i8042_ops = {
	.type = "i8042",
	.reset = i8042_reset,
	.destroy = i8042_destroy,
	.state = &i8042_state_desc,
	.state_offset = offsetof(struct i8042, s),
	.post_load = i8042_post_load,
};

int i8042_create(const struct i8042_config *cfg, struct device **out)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	device_init(&k->dev, &i8042_ops, cfg->name);
	k->cfg = *cfg;
	device_reset(&k->dev);
	ret = bus_add_at(cfg->bus, BUS_PIO, PLATFORM_PORT_I8042_DATA, 1, &k->dev, &i8042_bus_ops,
			 PLATFORM_PORT_I8042_DATA);
	if (ret)
		goto fail;
	ret = bus_add_at(cfg->bus, BUS_PIO, PLATFORM_PORT_I8042_CMD, 1, &k->dev, &i8042_bus_ops,
			 PLATFORM_PORT_I8042_CMD);
	if (ret) {
		bus_remove(cfg->bus, BUS_PIO, PLATFORM_PORT_I8042_DATA);
		goto fail;
	}
	*out = &k->dev;
	return 0;
fail:
	pthread_mutex_destroy(&k->dev.lock);
	free(k);
	return ret;
}
