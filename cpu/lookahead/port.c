/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/port.h"

#include <string.h>

#include "cpu/lookahead/exec.h"
#include "cpu/lookahead/space.h"

static bool claimed(struct bus *bus, const struct ahead_access *a)
{
	const char *dev, *reg;

	for (unsigned i = 0; i < a->width; i++)
		if (a->port + i > 0xffff ||
		    !bus_name(bus, BUS_PIO, a->port + i, a->write, &dev, &reg))
			return false;
	return true;
}

static uint64_t port_of(const struct ahead_cpu *cpu, const struct ahead_insn *insn,
			const struct ahead_operand *o)
{
	return o->kind == AHEAD_IMM ? insn->imm & 0xff : cpu->gpr[REG_DX] & 0xffff;
}

static bool do_in(struct ahead_cpu *cpu, const struct ahead_insn *insn, struct bus *bus,
		  struct ahead_access *a)
{
	uint64_t v = 0;

	*a = (struct ahead_access){ port_of(cpu, insn, &insn->src), insn->dst.width, 1, false };
	if (!claimed(bus, a))
		return false;
	(void)bus_read(bus, BUS_PIO, a->port, &v, a->width);
	ahead_reg_set(cpu, &insn->dst, v);
	cpu->rip = ahead_next(cpu, insn);
	return true;
}

static bool do_out(struct ahead_cpu *cpu, const struct ahead_insn *insn, struct bus *bus,
		   struct ahead_access *a)
{
	uint64_t v = ahead_reg_get(cpu, &insn->src);

	*a = (struct ahead_access){ port_of(cpu, insn, &insn->dst), insn->src.width, 1, true };
	if (!claimed(bus, a))
		return false;
	(void)bus_write(bus, BUS_PIO, a->port, &v, a->width);
	cpu->rip = ahead_next(cpu, insn);
	return true;
}

/* A register of a string instruction moves by as many bytes as the address is wide. */
static void advance(struct ahead_cpu *cpu, const struct ahead_insn *insn, unsigned reg, uint64_t n)
{
	const struct ahead_operand o = { AHEAD_REG, insn->mem.width, (uint8_t)reg, 0 };

	ahead_reg_set(cpu, &o, ahead_reg_get(cpu, &o) + n);
}

static bool do_string(struct ahead_cpu *cpu, const struct ahead_insn *insn, struct bus *bus,
		      struct ahead_access *a)
{
	bool out = insn->op == AHEAD_OUTS;
	unsigned reg = out ? REG_SI : REG_DI, width = insn->dst.width, len;
	uint64_t mask = width_mask(insn->mem.width);
	uint64_t left = insn->rep ? cpu->gpr[REG_CX] & mask : 1;
	uint8_t buf[PAGE_SIZE_4K];
	void *p;

	*a = (struct ahead_access){ cpu->gpr[REG_DX] & 0xffff, width, 0, out };
	if (!left || cpu->rflags & FLAG_DF || !claimed(bus, a))
		return false;
	len = (unsigned)min_u64(left, sizeof(buf) / width) * width;
	p = ahead_bytes(cpu, out ? insn->mem.seg : SEG_ES, cpu->gpr[reg] & mask, !out, &len);
	a->count = p ? len / width : 0;
	if (!a->count)
		return false;
	len = a->count * width;
	if (out) {
		memcpy(buf, p, len);
		(void)bus_write_rep(bus, BUS_PIO, a->port, buf, width, a->count);
	} else {
		(void)bus_read_rep(bus, BUS_PIO, a->port, buf, width, a->count);
		memcpy(p, buf, len);
		mem_mark(cpu->mem, p, len);
	}
	advance(cpu, insn, reg, len);
	if (insn->rep)
		advance(cpu, insn, REG_CX, 0 - (uint64_t)a->count);
	if (a->count == left)
		cpu->rip = ahead_next(cpu, insn);
	return true;
}

bool ahead_do_port(struct ahead_cpu *cpu, const struct ahead_insn *insn, struct bus *bus,
		   struct ahead_access *a)
{
	if (!ahead_target_ok(cpu, ahead_next(cpu, insn)))
		return false;
	switch (insn->op) {
	case AHEAD_IN:
		return do_in(cpu, insn, bus, a);
	case AHEAD_OUT:
		return do_out(cpu, insn, bus, a);
	default:
		return do_string(cpu, insn, bus, a);
	}
}
