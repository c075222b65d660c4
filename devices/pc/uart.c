/* SPDX-License-Identifier: MIT */
#include "devices/pc/uart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"

#define UART_NR_PORTS 8
#define UART_FIFO_SIZE 16
#define UART_BASE_BAUD 115200 /* with a divisor of 1: 1.8432 MHz / 16 */

#define IER_ERBFI 0x01 /* received data */
#define IER_ETBEI 0x02 /* transmitter empty */
#define IER_ELSI 0x04 /* line status */
#define IER_EDSSI 0x08 /* modem status */
#define IER_MASK 0x0f

/* Interrupt identification, table 4 of the data sheet, highest priority first. */
#define IIR_LINE_STATUS 0x06
#define IIR_RX_DATA 0x04
#define IIR_RX_TIMEOUT 0x0c
#define IIR_THR_EMPTY 0x02
#define IIR_MODEM_STATUS 0x00
#define IIR_NONE 0x01
#define IIR_FIFO_ENABLED 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_TRIGGER_SHIFT 6
#define FCR_KEPT 0xc1

#define LCR_WLS 0x03 /* data bits less 5 */
#define LCR_STB 0x04 /* a second stop bit */
#define LCR_PEN 0x08 /* a parity bit */
#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_PE 0x04
#define LSR_FE 0x08
#define LSR_BI 0x10
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define LSR_FIFO_ERROR 0x80
#define LSR_CHAR_ERRORS (LSR_PE | LSR_FE | LSR_BI)
#define LSR_ERRORS (LSR_OE | LSR_CHAR_ERRORS)

#define MSR_DCTS 0x01
#define MSR_DDSR 0x02
#define MSR_TERI 0x04
#define MSR_DDCD 0x08
#define MSR_DELTAS 0x0f
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_CONNECTED (MSR_CTS | MSR_DSR | MSR_DCD)

struct uart_state {
	uint8_t ier;
	uint8_t fcr; /* FCR_KEPT */
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr;
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	uint8_t lsr_errors; /* of the character on top, until the register is read */
	uint8_t thre_pending; /* flag: the interrupt, not the status bit */
	uint8_t rx_count;
	uint8_t rx[UART_FIFO_SIZE]; /* oldest first */
	uint8_t rx_errors[UART_FIFO_SIZE]; /* LSR_CHAR_ERRORS of each */
	uint8_t tx_count; /* bytes the chardev has not taken yet */
	uint8_t tx[UART_FIFO_SIZE];
	uint64_t timeout_at; /* on the clock; means something while rx_count is not 0 */
};

struct uart {
	struct device dev;
	struct uart_state s;
	struct uart_config cfg;
	struct timer timer;
	bool irq_level; /* what the line was last set to */
	bool stalled; /* the chardev was told that nothing fits */
};

static struct uart *to_uart(struct device *dev)
{
	return container_of(dev, struct uart, dev);
}

static bool fifo_enabled(const struct uart *u)
{
	return u->s.fcr & FCR_ENABLE;
}

static unsigned rx_capacity(const struct uart *u)
{
	return fifo_enabled(u) ? UART_FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct uart *u)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };

	return fifo_enabled(u) ? levels[u->s.fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* Four characters' time, in which nothing came and nothing was read. */
static uint64_t timeout_ns(const struct uart *u)
{
	unsigned bits =
		1 + 5 + (u->s.lcr & LCR_WLS) + !!(u->s.lcr & LCR_PEN) + 1 + !!(u->s.lcr & LCR_STB);
	unsigned divisor = u->s.dll | u->s.dlm << 8;

	return 4 * mul_div((uint64_t)bits * (divisor ?: 1), NSEC_PER_SEC, UART_BASE_BAUD);
}

static bool timeout_pending(const struct uart *u)
{
	return fifo_enabled(u) && u->s.rx_count && clock_now(u->cfg.clock) >= u->s.timeout_at;
}

static uint8_t iir_source(const struct uart *u)
{
	const struct uart_state *s = &u->s;

	if ((s->ier & IER_ELSI) && s->lsr_errors)
		return IIR_LINE_STATUS;
	if ((s->ier & IER_ERBFI) && s->rx_count >= rx_trigger(u))
		return IIR_RX_DATA;
	if ((s->ier & IER_ERBFI) && timeout_pending(u))
		return IIR_RX_TIMEOUT;
	if ((s->ier & IER_ETBEI) && s->thre_pending)
		return IIR_THR_EMPTY;
	if ((s->ier & IER_EDSSI) && (s->msr & MSR_DELTAS))
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

/* Brings the line and the timer in step with the state. */
static void uart_update(struct uart *u)
{
	const struct uart_state *s = &u->s;
	bool level = iir_source(u) != IIR_NONE;
	uint64_t at = TIMER_OFF;

	if (level != u->irq_level) {
		u->irq_level = level;
		irq_set(&u->cfg.irq, level);
	}
	if ((s->ier & IER_ERBFI) && s->rx_count && s->rx_count < rx_trigger(u) &&
	    !timeout_pending(u))
		at = s->timeout_at;
	timer_want(&u->timer, at);
}

static void uart_timer(void *opaque)
{
	struct uart *u = opaque;

	device_lock(&u->dev);
	timer_came(&u->timer);
	uart_update(u);
	device_unlock(&u->dev);
}

/* Asks for input again once half of the FIFO is free: a wake a byte would be dear. */
static void rx_accept(struct uart *u)
{
	if (!u->stalled || (u->s.mcr & MCR_LOOP) || u->s.rx_count > rx_capacity(u) / 2)
		return;
	u->stalled = false;
	chardev_accept_input(u->cfg.chardev);
}

/* A character's errors show in LSR when it is the next to be read. */
static void rx_reveal(struct uart *u)
{
	u->s.lsr_errors |= u->s.rx_errors[0];
	u->s.rx_errors[0] = 0;
}

static void rx_push(struct uart *u, uint8_t v, uint8_t errors)
{
	struct uart_state *s = &u->s;

	if (s->rx_count == rx_capacity(u)) {
		/* The FIFO keeps what it has; a lone holding register is overwritten. */
		s->lsr_errors |= LSR_OE;
		if (fifo_enabled(u))
			return;
		s->rx_count = 0;
	}
	if (!timeout_pending(u))
		s->timeout_at = clock_now(u->cfg.clock) + timeout_ns(u);
	s->rx[s->rx_count] = v;
	s->rx_errors[s->rx_count] = errors;
	if (!s->rx_count++)
		rx_reveal(u);
}

static void rx_clear(struct uart *u)
{
	u->s.rx_count = 0;
	memset(u->s.rx, 0, sizeof(u->s.rx));
	memset(u->s.rx_errors, 0, sizeof(u->s.rx_errors));
}

static void tx_flush(struct uart *u)
{
	struct uart_state *s = &u->s;
	size_t n = s->tx_count;

	if (!n)
		return;
	if (u->cfg.chardev)
		n = chardev_write(u->cfg.chardev, s->tx, n);
	s->tx_count -= (uint8_t)n;
	memmove(s->tx, s->tx + n, s->tx_count);
	if (!s->tx_count)
		s->thre_pending = 1;
}

static uint8_t rbr_read(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t v = s->rx[0];

	if (!s->rx_count)
		return 0;
	s->rx_count--;
	memmove(s->rx, s->rx + 1, s->rx_count);
	memmove(s->rx_errors, s->rx_errors + 1, s->rx_count);
	s->rx_errors[s->rx_count] = 0;
	if (s->rx_count)
		rx_reveal(u);
	s->timeout_at = clock_now(u->cfg.clock) + timeout_ns(u);
	rx_accept(u);
	return v;
}

static void thr_write(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->s;

	/* The line falls before it may rise again: an edge is what the guest waits for. */
	s->thre_pending = 0;
	uart_update(u);
	if (s->mcr & MCR_LOOP) {
		rx_push(u, v, 0);
		s->thre_pending = !s->tx_count;
		return;
	}
	/* A guest that does not wait for THRE overruns the FIFO, or the holding register. */
	if (s->tx_count < (fifo_enabled(u) ? UART_FIFO_SIZE : 1))
		s->tx_count++;
	s->tx[s->tx_count - 1] = v;
	tx_flush(u);
}

static uint8_t ier_read(struct uart *u)
{
	return u->s.ier;
}

static void ier_write(struct uart *u, uint8_t v)
{
	if ((v & ~u->s.ier & IER_ETBEI) && !u->s.tx_count)
		u->s.thre_pending = 1;
	u->s.ier = v & IER_MASK;
}

static uint8_t iir_read(struct uart *u)
{
	uint8_t v = iir_source(u);

	if (v == IIR_THR_EMPTY)
		u->s.thre_pending = 0;
	return v | (fifo_enabled(u) ? IIR_FIFO_ENABLED : 0);
}

/*
 * Bit 2, clear the transmit FIFO, finds it empty: what still waits for the host would
 * have left a real line long before, so it counts as sent.
 */
static void fcr_write(struct uart *u, uint8_t v)
{
	bool toggled = (u->s.fcr ^ v) & FCR_ENABLE;

	/* Without bit 0 the others are not programmed (section 8.5). */
	u->s.fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	if (toggled || (v & FCR_ENABLE && v & FCR_CLEAR_RX)) {
		rx_clear(u);
		rx_accept(u);
	}
}

static uint8_t lcr_read(struct uart *u)
{
	return u->s.lcr;
}

static void lcr_write(struct uart *u, uint8_t v)
{
	u->s.lcr = v;
}

/* The modem's side of the four lines: connected for good, or our own when looped back. */
static uint8_t modem_lines(const struct uart *u)
{
	uint8_t mcr = u->s.mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CONNECTED;
	return (mcr & MCR_DTR ? MSR_DSR : 0) | (mcr & MCR_RTS ? MSR_CTS : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint8_t mcr_read(struct uart *u)
{
	return u->s.mcr;
}

static void mcr_write(struct uart *u, uint8_t v)
{
	struct uart_state *s = &u->s;
	uint8_t before = s->msr, lines, changed;

	s->mcr = v & MCR_MASK;
	lines = modem_lines(u);
	changed = before ^ lines;
	s->msr = lines | (before & MSR_DELTAS);
	if (changed & MSR_CTS)
		s->msr |= MSR_DCTS;
	if (changed & MSR_DSR)
		s->msr |= MSR_DDSR;
	if (changed & before & MSR_RI)
		s->msr |= MSR_TERI;
	if (changed & MSR_DCD)
		s->msr |= MSR_DDCD;
	rx_accept(u);
}

static uint8_t lsr_read(struct uart *u)
{
	struct uart_state *s = &u->s;
	uint8_t v = s->lsr_errors, waiting = s->lsr_errors & LSR_CHAR_ERRORS;

	if (s->rx_count)
		v |= LSR_DR;
	if (!s->tx_count)
		v |= LSR_THRE | LSR_TEMT;
	for (unsigned i = 0; i < s->rx_count; i++)
		waiting |= s->rx_errors[i];
	if (fifo_enabled(u) && waiting)
		v |= LSR_FIFO_ERROR;
	s->lsr_errors = 0;
	return v;
}

static uint8_t msr_read(struct uart *u)
{
	uint8_t v = u->s.msr;

	u->s.msr &= (uint8_t)~MSR_DELTAS;
	return v;
}

static uint8_t scr_read(struct uart *u)
{
	return u->s.scr;
}

static void scr_write(struct uart *u, uint8_t v)
{
	u->s.scr = v;
}

static uint8_t dll_read(struct uart *u)
{
	return u->s.dll;
}

static void dll_write(struct uart *u, uint8_t v)
{
	u->s.dll = v;
}

static uint8_t dlm_read(struct uart *u)
{
	return u->s.dlm;
}

static void dlm_write(struct uart *u, uint8_t v)
{
	u->s.dlm = v;
}

/* LSR and MSR are for reading; writing them is for factory tests (sections 8.4, 8.8). */
static void read_only(struct uart *u, uint8_t v)
{
	(void)u;
	(void)v;
}

struct uart_reg {
	uint8_t (*read)(struct uart *u);
	void (*write)(struct uart *u, uint8_t v);
};

/* Table 2 of the data sheet: by DLAB, then by port. Each is one byte wide. */
static const struct uart_reg uart_regs[2][UART_NR_PORTS] = {
	{
		{ rbr_read, thr_write },
		{ ier_read, ier_write },
		{ iir_read, fcr_write },
		{ lcr_read, lcr_write },
		{ mcr_read, mcr_write },
		{ lsr_read, read_only },
		{ msr_read, read_only },
		{ scr_read, scr_write },
	},
	{
		{ dll_read, dll_write },
		{ dlm_read, dlm_write },
		{ iir_read, fcr_write },
		{ lcr_read, lcr_write },
		{ mcr_read, mcr_write },
		{ lsr_read, read_only },
		{ msr_read, read_only },
		{ scr_read, scr_write },
	},
};

static const struct uart_reg *find_reg(const struct uart *u, uint64_t offset)
{
	return &uart_regs[u->s.lcr & LCR_DLAB ? 1 : 0][offset % UART_NR_PORTS];
}

static uint64_t uart_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct uart *u = to_uart(dev);
	uint8_t v = find_reg(u, offset)->read(u);

	(void)width;
	uart_update(u);
	return v;
}

static void uart_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct uart *u = to_uart(dev);

	(void)width;
	find_reg(u, offset)->write(u, (uint8_t)value);
	uart_update(u);
}

/* By port, for a read and a write. DLAB is state: the divisor goes by its ports' usual names. */
static const char *uart_reg_name(const struct device *dev, uint64_t offset, bool write)
{
	static const char *const names[UART_NR_PORTS][2] = {
		{ "rbr", "thr" }, { "ier", "ier" }, { "iir", "fcr" }, { "lcr", "lcr" },
		{ "mcr", "mcr" }, { "lsr", "lsr" }, { "msr", "msr" }, { "scr", "scr" },
	};

	(void)dev;
	return names[offset % UART_NR_PORTS][write];
}

static const struct bus_ops uart_bus_ops = {
	.max_width = 1,
	.read = uart_read,
	.write = uart_write,
	.reg_name = uart_reg_name,
};

static size_t uart_can_receive(void *opaque)
{
	struct uart *u = opaque;
	size_t room = 0;

	device_lock(&u->dev);
	/* Looped back the input is disconnected: it waits outside. */
	if (!(u->s.mcr & MCR_LOOP))
		room = rx_capacity(u) - u->s.rx_count;
	u->stalled = !room;
	device_unlock(&u->dev);
	return room;
}

static void uart_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct uart *u = opaque;

	device_lock(&u->dev);
	for (size_t i = 0; i < len; i++)
		rx_push(u, buf[i], 0);
	uart_update(u);
	device_unlock(&u->dev);
}

static void uart_receive_break(void *opaque)
{
	struct uart *u = opaque;

	device_lock(&u->dev);
	if (!(u->s.mcr & MCR_LOOP))
		rx_push(u, 0, LSR_BI);
	uart_update(u);
	device_unlock(&u->dev);
}

static void uart_tx_ready(void *opaque)
{
	struct uart *u = opaque;

	device_lock(&u->dev);
	tx_flush(u);
	uart_update(u);
	device_unlock(&u->dev);
}

static void uart_reset(struct device *dev)
{
	struct uart *u = to_uart(dev);

	/* As much as the host takes of what the guest believes sent. */
	tx_flush(u);
	u->s = (struct uart_state){
		.msr = MSR_CONNECTED,
		.dll = 12, /* 9600 baud, as a BIOS leaves it */
		.thre_pending = 1,
	};
	rx_accept(u);
	uart_update(u);
}

static int uart_post_load(struct device *dev)
{
	struct uart *u = to_uart(dev);
	struct uart_state *s = &u->s;

	if (s->rx_count > rx_capacity(u) || (s->fcr && !fifo_enabled(u)) ||
	    (s->msr & ~MSR_DELTAS) != modem_lines(u))
		return -EBADMSG;
	/* The line may have been left at any level: set it, whatever we believe. */
	u->irq_level = iir_source(u) != IIR_NONE;
	irq_set(&u->cfg.irq, u->irq_level);
	tx_flush(u);
	rx_accept(u);
	uart_update(u);
	return 0;
}

static void uart_destroy(struct device *dev)
{
	struct uart *u = to_uart(dev);

	timer_arm(&u->timer, TIMER_OFF);
	bus_remove(u->cfg.bus, BUS_PIO, u->cfg.port);
	tx_flush(u);
	free(u);
}

static const struct state_field uart_fields[] = {
	STATE_U_MAX(struct uart_state, ier, IER_MASK),
	STATE_U_MAX(struct uart_state, fcr, FCR_KEPT),
	STATE_U(struct uart_state, lcr),
	STATE_U_MAX(struct uart_state, mcr, MCR_MASK),
	STATE_U(struct uart_state, msr),
	STATE_U(struct uart_state, scr),
	STATE_U(struct uart_state, dll),
	STATE_U(struct uart_state, dlm),
	STATE_U_MAX(struct uart_state, lsr_errors, LSR_ERRORS),
	STATE_U_MAX(struct uart_state, thre_pending, 1),
	STATE_U_MAX(struct uart_state, rx_count, UART_FIFO_SIZE),
	STATE_ARRAY(struct uart_state, rx),
	STATE_ARRAY_MAX(struct uart_state, rx_errors, LSR_CHAR_ERRORS),
	STATE_U_MAX(struct uart_state, tx_count, UART_FIFO_SIZE),
	STATE_ARRAY(struct uart_state, tx),
	STATE_U(struct uart_state, timeout_at),
};

static const struct state_desc uart_state_desc = {
	.version = 1,
	.fields = uart_fields,
	.nr_fields = ARRAY_SIZE(uart_fields),
};

static const struct device_ops uart_ops = {
	.type = "uart",
	.reset = uart_reset,
	.destroy = uart_destroy,
	.state = &uart_state_desc,
	.state_offset = offsetof(struct uart, s),
	.post_load = uart_post_load,
};

int uart_create(const struct uart_config *cfg, struct device **out)
{
	struct uart *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	device_init(&u->dev, &uart_ops, cfg->name);
	u->cfg = *cfg;
	timer_init(&u->timer, cfg->clock, uart_timer, u);
	device_reset(&u->dev);
	ret = bus_add(cfg->bus, BUS_PIO, cfg->port, UART_NR_PORTS, &u->dev, &uart_bus_ops);
	if (ret) {
		pthread_mutex_destroy(&u->dev.lock);
		free(u);
		return ret;
	}
	if (cfg->chardev)
		chardev_connect(cfg->chardev, &(struct chardev_handlers){
						      .can_receive = uart_can_receive,
						      .receive = uart_receive,
						      .tx_ready = uart_tx_ready,
						      .receive_break = uart_receive_break,
						      .opaque = u,
					      });
	*out = &u->dev;
	return 0;
}
