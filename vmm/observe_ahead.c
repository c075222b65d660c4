/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "base/bus.h"
#include "cpu/vcpu.h"
#include "vmm/observe_parts.h"

static void take_ahead_site(const struct observe *o, struct report_ahead_site *out,
			    const struct ahead_site *site)
{
	const char *dev = NULL, *reg = NULL;
	struct symbol sym;

	out->rip = counter_get(&site->rip);
	out->addr = site->port.port;
	out->write = site->port.write;
	(void)bus_name(o->bus, BUS_PIO, out->addr, out->write, &dev, &reg);
	observe_copy(out->device, sizeof(out->device), dev);
	observe_copy(out->reg, sizeof(out->reg), reg);
	out->exits = counter_get(&site->exits);
	out->runs = counter_get(&site->runs);
	out->avoided = counter_get(&site->avoided);
	if (!observe_name(o, out->rip, &sym))
		return;
	observe_copy(out->function, sizeof(out->function), sym.name);
	observe_copy(out->module, sizeof(out->module), sym.module);
	out->offset = sym.offset;
}

static int compare_ahead(const void *a, const void *b)
{
	const struct report_ahead_site *x = a, *y = b;

	if (x->rip != y->rip)
		return x->rip < y->rip ? -1 : 1;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->write - y->write;
}

/* Rows of the same access, by several vCPUs or behind different ones, become one. */
static void merge_ahead(struct report_ahead *a)
{
	size_t n = 0;

	if (!a->nr_sites)
		return;
	qsort(a->sites, a->nr_sites, sizeof(*a->sites), compare_ahead);
	for (size_t i = 1; i < a->nr_sites; i++) {
		struct report_ahead_site *to = &a->sites[n], *from = &a->sites[i];

		if (compare_ahead(to, from)) {
			a->sites[++n] = *from;
			continue;
		}
		to->exits += from->exits;
		to->runs += from->runs;
		to->avoided += from->avoided;
	}
	a->nr_sites = n + 1;
}

/* Sums; ticks become nanoseconds at the end. */
static void add_ahead(struct report_ahead *a, const struct lookahead *la)
{
	a->present = true;
	a->on |= lookahead_is_on(la);
	a->runs += counter_get(&la->runs);
	a->avoided += counter_get(&la->avoided);
	a->insns += counter_get(&la->insns);
	a->total_ns += counter_get(&la->ticks);
	a->turned_off += counter_get(&la->offs);
	a->end_expected += counter_get(&la->ends[AHEAD_END_EXPECTED]);
	a->end_unknown += counter_get(&la->ends[AHEAD_END_UNKNOWN]);
	a->end_refused += counter_get(&la->ends[AHEAD_END_REFUSED]);
	a->end_interrupt += counter_get(&la->ends[AHEAD_END_INTERRUPT]);
	a->end_bound += counter_get(&la->ends[AHEAD_END_BOUND]);
}

int observe_ahead(const struct observe *o, struct report *r, const struct observe_scale *s)
{
	struct report_ahead *a = &r->ahead;

	if (!o->vcpus[0].ahead)
		return 0;
	a->sites = calloc((size_t)o->nr_vcpus * AHEAD_SITES, sizeof(*a->sites));
	if (!a->sites)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_vcpus; i++) {
		const struct lookahead *la = o->vcpus[i].ahead;

		add_ahead(a, la);
		for (unsigned k = 0; k < AHEAD_SITES; k++) {
			const struct ahead_site *site = &la->predictor.sites[k];

			if (atomic_load_explicit(&site->rip, memory_order_acquire))
				take_ahead_site(o, &a->sites[a->nr_sites++], site);
		}
	}
	a->total_ns = observe_ns(s, a->total_ns);
	merge_ahead(a);
	return 0;
}
