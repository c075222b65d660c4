/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/lookahead.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/lookahead/exec.h"
#include "cpu/lookahead/port.h"
#include "cpu/lookahead/space.h"

/* Instructions of a run, and those from one access to the next. */
#define MAX_INSNS 4096
#define MAX_GAP 256

/* What a judgement is made of, and for how many exits it holds at first and at most. */
#define JUDGED_RUNS 256
#define OFF_FIRST (4 * KIB)
#define OFF_MAX (4 * MIB)

struct lookahead *lookahead_create(const struct lookahead_config *cfg)
{
	struct lookahead *la = calloc(1, sizeof(*la));

	if (!la)
		return NULL;
	la->cfg = *cfg;
	la->cpu.mem = cfg->mem;
	la->off_next = OFF_FIRST;
	return la;
}

void lookahead_destroy(struct lookahead *la)
{
	free(la);
}

/* --- whether ------------------------------------------------------------------- */

/* A run costs ticks and saves what its accesses would have taken to come here and go back. */
static void judge(struct lookahead *la)
{
	bool pays = la->judged_avoided * la->predictor.trip > la->judged_ticks;

	la->judged_runs = la->judged_avoided = la->judged_ticks = 0;
	if (pays) {
		la->off_next = OFF_FIRST;
		return;
	}
	counter_add(&la->off, la->off_next);
	la->off_next = min_u64(la->off_next * 2, OFF_MAX);
	la->predictor.last = NULL;
	counter_add(&la->offs, 1);
}

bool lookahead_exit(struct lookahead *la, uint64_t rip, struct ahead_port port, uint64_t ticks)
{
	struct ahead_site *last = la->predictor.last, *site;

	if (!lookahead_is_on(la)) {
		counter_add(&la->off, ~0ull);
		return false;
	}
	site = ahead_site(&la->predictor, rip, port);
	ahead_learn_exit(&la->predictor, last, site, ticks);
	return site && ahead_expects_more(site);
}

/* --- instructions -------------------------------------------------------------- */

/* The bytes at RIP, of two pages where the first ends; how many: 0 where none may be fetched. */
static unsigned fetch(struct ahead_cpu *cpu, uint8_t *buf, unsigned want)
{
	unsigned len = want, more;
	const void *p = ahead_code(cpu, cpu->rip, &len);

	if (!p)
		return 0;
	memcpy(buf, p, len);
	more = want - len;
	if (more) {
		p = ahead_code(cpu, ahead_wrap(cpu, cpu->rip + len), &more);
		if (p) {
			memcpy(buf + len, p, more);
			len += more;
		}
	}
	return len;
}

/* Whether memory still has these bytes at RIP. */
static bool same_code(struct ahead_cpu *cpu, const struct ahead_decoded *d)
{
	unsigned len = d->insn.len;
	const void *p = ahead_code(cpu, cpu->rip, &len);
	uint8_t buf[AHEAD_INSN_MAX];

	if (p && len == d->insn.len)
		return !memcmp(p, d->bytes, len);
	return fetch(cpu, buf, d->insn.len) == d->insn.len && !memcmp(buf, d->bytes, d->insn.len);
}

/* The instruction at RIP; NULL where it is none of ours. */
static const struct ahead_insn *decode(struct lookahead *la, enum ahead_end *end)
{
	struct ahead_cpu *cpu = &la->cpu;
	unsigned i = (unsigned)((cpu->rip * 0x9e3779b97f4a7c15ull) >> 40) % AHEAD_DECODED;
	struct ahead_decoded *d = &la->decoded[i];
	unsigned len;

	if (d->insn.len && d->rip == cpu->rip && d->wide == cpu->wide && same_code(cpu, d))
		return &d->insn;
	*end = AHEAD_END_REFUSED;
	len = fetch(cpu, d->bytes, AHEAD_INSN_MAX);
	d->rip = cpu->rip;
	d->wide = cpu->wide;
	d->insn.len = 0;
	if (!len || !ahead_decode(cpu->wide, d->bytes, len, &d->insn))
		return NULL;
	if (d->insn.op != AHEAD_UNKNOWN)
		return &d->insn;
	d->insn.len = 0;
	*end = AHEAD_END_UNKNOWN;
	return NULL;
}

/* --- the run ------------------------------------------------------------------- */

struct run {
	struct lookahead *la;
	struct ahead_site *site; /* of the access before: what follows it is learned */
	uint64_t began;
	uint64_t interrupts;
	uint64_t device_ticks;
	unsigned gap, insns, avoided;
};

static bool is_disturbed(const struct run *r)
{
	const struct lookahead_config *cfg = &r->la->cfg;

	if (__atomic_load_n(cfg->pause, __ATOMIC_ACQUIRE))
		return true;
	return r->la->cpu.rflags & FLAG_IF &&
	       atomic_load_explicit(cfg->interrupts, memory_order_relaxed) != r->interrupts;
}

static void count_access(const struct lookahead_config *cfg, const struct ahead_access *a)
{
	uint64_t key = acct_key(BUS_PIO, a->write, a->width, a->port);

	if (cfg->acct)
		counter_add(&acct_site(cfg->acct, cfg->bus, key)->accesses, a->count);
}

/* A port instruction; true: go on behind it. */
static bool access_port(struct run *r, const struct ahead_insn *insn, enum ahead_end *end)
{
	struct lookahead *la = r->la;
	uint64_t rip = la->cpu.rip, start = ticks_now(), now;
	struct ahead_site *site;
	struct ahead_access a;

	*end = AHEAD_END_REFUSED;
	if (!ahead_do_port(&la->cpu, insn, la->cfg.bus, &a))
		return false;
	now = ticks_now();
	r->device_ticks += now - start;
	r->insns++;
	r->avoided++;
	r->gap = 0;
	count_access(&la->cfg, &a);
	if (r->site)
		ahead_learn_run(r->site, true);
	r->site = NULL;
	site = ahead_site(&la->predictor, rip, (struct ahead_port){ (uint16_t)a.port, a.write });
	if (site)
		counter_add(&site->avoided, 1);
	*end = AHEAD_END_BOUND;
	if (now - r->began > la->cfg.max_ticks)
		return false;
	*end = AHEAD_END_EXPECTED;
	if (!site || !ahead_expects_more(site))
		return false;
	r->site = site;
	return true;
}

static enum ahead_end run(struct run *r)
{
	struct lookahead *la = r->la;
	enum ahead_end end;

	for (;;) {
		const struct ahead_insn *insn;

		if (is_disturbed(r))
			return AHEAD_END_INTERRUPT;
		if (r->gap == MAX_GAP || r->insns == MAX_INSNS)
			return AHEAD_END_BOUND;
		insn = decode(la, &end);
		if (!insn)
			return end;
		if (ahead_is_port(insn)) {
			if (!access_port(r, insn, &end))
				return end;
			continue;
		}
		if (!ahead_exec(&la->cpu, insn))
			return AHEAD_END_REFUSED;
		r->gap++;
		r->insns++;
	}
}

static void finish(const struct run *r, enum ahead_end end)
{
	struct lookahead *la = r->la;
	uint64_t ticks = ticks_now() - r->began - r->device_ticks;

	if (r->site && end != AHEAD_END_INTERRUPT)
		ahead_learn_run(r->site, false);
	counter_add(&la->runs, 1);
	counter_add(&la->avoided, r->avoided);
	counter_add(&la->insns, r->insns);
	counter_add(&la->ticks, ticks);
	counter_add(&la->ends[end], 1);
	if (la->cfg.always)
		return;
	la->judged_avoided += r->avoided;
	/* What takes longer than a run may is the host, which did something else meanwhile. */
	la->judged_ticks += min_u64(ticks, la->cfg.max_ticks);
	if (++la->judged_runs == JUDGED_RUNS)
		judge(la);
}

bool lookahead_run(struct lookahead *la, struct kvm_regs *regs, const struct kvm_sregs *sregs,
		   uint64_t interrupts, uint64_t began)
{
	struct run r = {
		.la = la,
		.site = la->predictor.last,
		.began = began,
		.interrupts = interrupts,
	};
	enum ahead_end end = AHEAD_END_REFUSED;

	if (r.site)
		counter_add(&r.site->runs, 1);
	if (ahead_cpu_load(&la->cpu, regs, sregs)) {
		end = run(&r);
		ahead_cpu_store(&la->cpu, regs);
	}
	finish(&r, end);
	return r.insns != 0;
}

void lookahead_give_up(struct lookahead *la, uint64_t began)
{
	const struct run r = { .la = la, .site = la->predictor.last, .began = began };

	finish(&r, AHEAD_END_REFUSED);
}
