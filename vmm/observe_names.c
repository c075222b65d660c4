/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "cpu/vcpu.h"
#include "vmm/observe_parts.h"

/* A search through all of guest memory may take this share of the time. */
#define SEARCH_SHARE 20

/* The address spaces in which the guest's kernel was seen: nr of them, at most one a vCPU. */
static unsigned kernel_spaces(const struct observe *o, struct gva_space *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->nr_vcpus && n < max; i++)
		if (o->vcpus[i].profile && profile_space(o->vcpus[i].profile, &out[n]))
			n++;
	return n;
}

bool observe_name(const struct observe *o, uint64_t addr, struct symbol *sym)
{
	return (o->file && symbols_lookup(o->file, addr, sym)) ||
	       (o->guest && symbols_lookup(o->guest, addr, sym));
}

/* Tells a profile what functions start where; returns how many of its addresses have no name. */
static size_t name_profile(const struct observe *o, struct profile *p)
{
	struct symbol sym;
	size_t unnamed = 0;

	for (unsigned i = 0; i < PROFILE_INSNS; i++) {
		uint64_t rip = atomic_load_explicit(&p->insns[i].rip, memory_order_acquire);

		if (!rip || counter_get(&p->insns[i].function))
			continue;
		if (observe_name(o, rip, &sym))
			profile_function(&p->insns[i], sym.start);
		else
			unnamed++;
	}
	for (unsigned i = 0; i < PROFILE_ENTRIES; i++) {
		const struct profile_entry *e = &p->entries[i];

		if (atomic_load_explicit(&e->rip, memory_order_acquire) && e->caller)
			unnamed += !observe_name(o, e->caller - 1, &sym);
	}
	return unnamed;
}

static size_t name_profiles(struct observe *o)
{
	size_t unnamed = 0;

	for (unsigned i = 0; i < o->nr_vcpus; i++)
		if (o->vcpus[i].profile)
			unnamed += name_profile(o, o->vcpus[i].profile);
	return unnamed;
}

static void search_guest(struct observe *o)
{
	uint64_t begun = observe_now().ns;
	struct gva_space spaces[4];
	unsigned n = kernel_spaces(o, spaces, ARRAY_SIZE(spaces));
	struct symbols *found;

	if (o->file && !o->slide_found)
		o->slide_found = !symbols_find_slide(o->file, o->mem, spaces, n);
	if (!symbols_from_guest(o->mem, spaces, n, &found)) {
		symbols_free(o->guest);
		o->guest = found;
	}
	o->next_search = observe_now().ns + (observe_now().ns - begun) * SEARCH_SHARE;
}

void observe_find_names(struct observe *o, bool at_once)
{
	size_t unnamed = name_profiles(o);

	if (unnamed <= o->unnamed && (!o->file || o->slide_found))
		return;
	if (!at_once && observe_now().ns < o->next_search)
		return;
	search_guest(o);
	o->unnamed = name_profiles(o);
}
