/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/alu.h"

#include "cpu/lookahead/state.h"

/*
 * AH has the flags of the low byte, as SAHF and LAHF do, and AL has OF: 7f added to 1 overflows.
 * This costs a fraction of POPF.
 */
#define FLAGS_IN "add $0x7f, %%al\n\tsahf\n\t"
#define FLAGS_OUT "\n\tlahf\n\tseto %%al"

static uint16_t pack(uint64_t rflags)
{
	return (uint16_t)((rflags & 0xff) << 8 | (rflags & FLAG_OF ? 1 : 0));
}

static uint64_t unpack(uint64_t rflags, uint16_t packed)
{
	uint64_t now = (packed >> 8 & 0xff) | (packed & 1 ? FLAG_OF : 0);

	return (rflags & ~FLAGS_ARITH) | (now & FLAGS_ARITH);
}

/* One instruction with its operands, and the flags around it. */
#define DO_BINARY(text) asm(FLAGS_IN text FLAGS_OUT : "+&a"(*f), [d] "+r"(d) : [s] "r"(s) : "cc")
#define DO_SHIFT(text) asm(FLAGS_IN text FLAGS_OUT : "+&a"(*f), [d] "+r"(d) : "c"(s) : "cc")

/* A function for an instruction, by the four widths of its operands. */
#define FORMS(name, DO, b, w, l, q)                                                    \
	static uint64_t do_##name(unsigned width, uint64_t d, uint64_t s, uint16_t *f) \
	{                                                                              \
		switch (width) {                                                       \
		case 1:                                                                \
			DO(b);                                                         \
			break;                                                         \
		case 2:                                                                \
			DO(w);                                                         \
			break;                                                         \
		case 4:                                                                \
			DO(l);                                                         \
			break;                                                         \
		default:                                                               \
			DO(q);                                                         \
			break;                                                         \
		}                                                                      \
		return d;                                                              \
	}

#define BINARY(name)                                                           \
	FORMS(name, DO_BINARY, #name "b %b[s], %b[d]", #name "w %w[s], %w[d]", \
	      #name "l %k[s], %k[d]", #name "q %q[s], %q[d]")
/* Has no form for bytes, which nobody asks for. */
#define WORDS(name)                                                            \
	FORMS(name, DO_BINARY, #name "w %w[s], %w[d]", #name "w %w[s], %w[d]", \
	      #name "l %k[s], %k[d]", #name "q %q[s], %q[d]")
#define SHIFT(name)                                                                                \
	FORMS(name, DO_SHIFT, #name "b %%cl, %b[d]", #name "w %%cl, %w[d]", #name "l %%cl, %k[d]", \
	      #name "q %%cl, %q[d]")
/* s has no part in it, but so all functions look alike. */
#define UNARY(name) \
	FORMS(name, DO_BINARY, #name "b %b[d]", #name "w %w[d]", #name "l %k[d]", #name "q %q[d]")

BINARY(add)
BINARY(or)
BINARY(adc)
BINARY(sbb)
BINARY(and)
BINARY(sub)
BINARY(xor)
WORDS(imul)
WORDS(bt)
WORDS(bts)
WORDS(btr)
WORDS(btc)
WORDS(bsf)
WORDS(bsr)
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)
UNARY(inc)
UNARY(dec)
UNARY(neg)

typedef uint64_t alu_fn(unsigned width, uint64_t d, uint64_t s, uint16_t *f);

static alu_fn *const alu_table[ALU_NR] = {
	[ALU_ADD] = do_add, [ALU_OR] = do_or,   [ALU_ADC] = do_adc, [ALU_SBB] = do_sbb,
	[ALU_AND] = do_and, [ALU_SUB] = do_sub, [ALU_XOR] = do_xor, [ALU_IMUL] = do_imul,
	[ALU_BT] = do_bt,   [ALU_BTS] = do_bts, [ALU_BTR] = do_btr, [ALU_BTC] = do_btc,
	[ALU_BSF] = do_bsf, [ALU_BSR] = do_bsr, [ALU_ROL] = do_rol, [ALU_ROR] = do_ror,
	[ALU_RCL] = do_rcl, [ALU_RCR] = do_rcr, [ALU_SHL] = do_shl, [ALU_SHR] = do_shr,
	[ALU_SAR] = do_sar, [ALU_INC] = do_inc, [ALU_DEC] = do_dec, [ALU_NEG] = do_neg,
};

uint64_t ahead_alu(enum ahead_alu op, unsigned width, uint64_t dst, uint64_t src, uint64_t *rflags)
{
	uint16_t f = pack(*rflags);
	uint64_t result = alu_table[op](width, dst, src, &f);

	*rflags = unpack(*rflags, f);
	return result & width_mask(width);
}

#define DO_MULTIPLY(text)                                                           \
	asm(FLAGS_IN "mov %[low], %%rax\n\t" text "\n\tmov %%rax, %[low]" FLAGS_OUT \
	    : "+&a"(f), [low] "+&r"(*low), "+&d"(*high)                             \
	    : [s] "r"(src)                                                          \
	    : "cc")

#define MULTIPLY(name)                       \
	switch (width) {                     \
	case 1:                              \
		DO_MULTIPLY(name "b %b[s]"); \
		break;                       \
	case 2:                              \
		DO_MULTIPLY(name "w %w[s]"); \
		break;                       \
	case 4:                              \
		DO_MULTIPLY(name "l %k[s]"); \
		break;                       \
	default:                             \
		DO_MULTIPLY(name "q %[s]");  \
		break;                       \
	}

void ahead_multiply(bool is_signed, unsigned width, uint64_t *low, uint64_t *high, uint64_t src,
		    uint64_t *rflags)
{
	uint64_t f = pack(*rflags);

	if (is_signed)
		MULTIPLY("imul")
	else
		MULTIPLY("mul")
	*low &= width_mask(width == 1 ? 2 : width);
	*high &= width_mask(width);
	*rflags = unpack(*rflags, (uint16_t)f);
}

bool ahead_condition(unsigned cond, uint64_t rflags)
{
	bool sf = rflags & FLAG_SF, of = rflags & FLAG_OF, zf = rflags & FLAG_ZF, met;

	switch (cond >> 1) {
	case 0:
		met = of;
		break;
	case 1:
		met = rflags & FLAG_CF;
		break;
	case 2:
		met = zf;
		break;
	case 3:
		met = zf || rflags & FLAG_CF;
		break;
	case 4:
		met = sf;
		break;
	case 5:
		met = rflags & FLAG_PF;
		break;
	case 6:
		met = sf != of;
		break;
	default:
		met = zf || sf != of;
		break;
	}
	return met != (cond & 1);
}
