/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/exit.h"
#include "cpu/vcpu.h"
#include "vmm/observe_parts.h"

/* Looks only: NULL where the vCPU has no such site. */
static const struct acct_site *site_of(const struct acct *a, uint64_t key)
{
	for (unsigned i = acct_hash(key), n = 0; n < ACCT_SITES; n++, i = (i + 1) % ACCT_SITES) {
		uint64_t k = atomic_load_explicit(&a->sites[i].key, memory_order_acquire);

		if (k == key)
			return &a->sites[i];
		if (!k)
			break;
	}
	return NULL;
}

static void take_hot(const struct observe *o, struct report_hot *h, const struct vcpu *vcpu,
		     const struct profile_entry *e, const struct observe_scale *s)
{
	const struct acct_site *site = e->access ? site_of(&vcpu->acct, e->access) : NULL;
	struct symbol sym;
	bool named;

	h->rip = counter_get(&e->rip);
	h->caller_rip = e->caller;
	h->addr = acct_key_addr(e->access);
	h->count = counter_get(&e->count);
	h->total_ns = observe_ns(s, counter_get(&e->ticks));
	observe_copy(h->reason, sizeof(h->reason), exit_row_name(e->row));
	if (site) {
		observe_copy(h->device, sizeof(h->device), site->device);
		observe_copy(h->reg, sizeof(h->reg), site->reg);
	}
	named = observe_name(o, h->rip, &sym);
	if (named) {
		observe_copy(h->function, sizeof(h->function), sym.name);
		observe_copy(h->module, sizeof(h->module), sym.module);
		h->offset = sym.offset;
	}
	if (!e->caller)
		return;
	h->caller_kind =
		named && e->target == sym.start ? REPORT_CALLER_EXACT : REPORT_CALLER_GUESS;
	/* Of a call that never returns, what follows is the next function. */
	if (observe_name(o, e->caller - 1, &sym))
		observe_copy(h->caller, sizeof(h->caller), sym.name);
}

static int compare_hot(const void *a, const void *b)
{
	const struct report_hot *x = a, *y = b;
	int by_reason = strcmp(x->reason, y->reason);

	if (x->rip != y->rip)
		return x->rip < y->rip ? -1 : 1;
	if (x->caller_rip != y->caller_rip)
		return x->caller_rip < y->caller_rip ? -1 : 1;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return by_reason ? by_reason : strcmp(x->reg, y->reg);
}

/* The vCPUs' rows of the same exits become one. */
static void merge_hot(struct report_profile *p)
{
	size_t n = 0;

	if (!p->nr_hot)
		return;
	qsort(p->hot, p->nr_hot, sizeof(*p->hot), compare_hot);
	for (size_t i = 1; i < p->nr_hot; i++) {
		if (compare_hot(&p->hot[n], &p->hot[i])) {
			p->hot[++n] = p->hot[i];
			continue;
		}
		p->hot[n].count += p->hot[i].count;
		p->hot[n].total_ns += p->hot[i].total_ns;
	}
	p->nr_hot = n + 1;
}

static void describe_symbols(const struct observe *o, char *buf, size_t size)
{
	int64_t slide;

	buf[0] = '\0';
	if (o->file) {
		slide = symbols_slide(o->file);
		snprintf(buf, size, "%.80s%s", o->symbols_path,
			 !o->slide_found ? " (unverified)"
			 : slide         ? ", moved by KASLR"
					 : "");
	} else if (o->guest) {
		size_t modules, all = symbols_count(o->guest, &modules);

		snprintf(buf, size,
			 "the guest's own kallsyms: %zu functions, %zu of them in modules", all,
			 modules);
	}
}

int observe_profile(struct observe *o, struct report *r, const struct observe_scale *s)
{
	struct report_profile *p = &r->profile;
	size_t n = 0;

	p->present = o->profiled;
	p->on = o->profiling;
	if (!o->profiled)
		return 0;
	observe_find_names(o, !r->running);
	p->hot = calloc((size_t)o->nr_vcpus * PROFILE_ENTRIES, sizeof(*p->hot));
	if (!p->hot)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_vcpus; i++) {
		const struct profile *from = o->vcpus[i].profile;

		for (unsigned k = 0; from && k < PROFILE_ENTRIES; k++) {
			const struct profile_entry *e = &from->entries[k];

			if (atomic_load_explicit(&e->rip, memory_order_acquire) &&
			    counter_get(&e->count))
				take_hot(o, &p->hot[n++], &o->vcpus[i], e, s);
		}
		p->lost += from ? counter_get(&from->lost) : 0;
		p->lost_ns += from ? observe_ns(s, counter_get(&from->lost_ticks)) : 0;
	}
	p->nr_hot = n;
	merge_hot(p);
	describe_symbols(o, p->symbols, sizeof(p->symbols));
	return 0;
}
