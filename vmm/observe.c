/* SPDX-License-Identifier: MIT */
#include "vmm/observe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/exit.h"
#include "cpu/kvmstats.h"
#include "cpu/vcpu.h"
#include "devices/virtio/virtio.h"

/* A search through all of guest memory may take this share of the time. */
#define SEARCH_SHARE 20

static uint64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static struct trace_point now(void)
{
	return (struct trace_point){ .ticks = ticks_now(), .ns = monotonic() };
}

int observe_init(struct observe *o, const char *symbols_path, uint64_t trace_events,
		 struct err *err)
{
	memset(o, 0, sizeof(*o));
	pthread_mutex_init(&o->lock, NULL);
	o->tracing = trace_events != 0;
	trace_init(&o->trace, trace_events);
	o->started = now();
	o->symbols_path = symbols_path;
	return symbols_path ? symbols_load(symbols_path, &o->file, err) : 0;
}

void observe_destroy(struct observe *o)
{
	symbols_free(o->file);
	symbols_free(o->guest);
	trace_destroy(&o->trace);
	for (unsigned i = 0; i < o->nr_disks; i++)
		free(o->disks[i]);
	pthread_mutex_destroy(&o->lock);
}

int observe_ring(struct observe *o, const char *thread, struct trace_ring **ring)
{
	*ring = NULL;
	if (!o->tracing)
		return 0;
	*ring = trace_add_ring(&o->trace, thread);
	return *ring ? 0 : -ENOMEM;
}

struct block_stages *observe_disk(struct observe *o, const char *name)
{
	struct block_stages *s = malloc(sizeof(*s));
	struct trace_ring *ring;

	if (!s || observe_ring(o, name, &ring)) {
		free(s);
		return NULL;
	}
	block_stages_init(s, name, ring);
	o->disks[o->nr_disks++] = s;
	return s;
}

void observe_doorbells(struct observe *o, const struct virtio_dev *vdev)
{
	o->doorbells[o->nr_doorbells++] = vdev;
}

void observe_start(struct observe *o)
{
	o->started = now();
}

/* --- names ------------------------------------------------------------------------ */

/* The address spaces in which the guest's kernel was seen: nr of them, at most one a vCPU. */
static unsigned kernel_spaces(const struct observe *o, struct gva_space *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < o->nr_vcpus && n < max; i++)
		if (o->vcpus[i].profile && profile_space(o->vcpus[i].profile, &out[n]))
			n++;
	return n;
}

static bool name_address(const struct observe *o, uint64_t addr, struct symbol *sym)
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
		if (name_address(o, rip, &sym))
			profile_function(&p->insns[i], sym.start);
		else
			unnamed++;
	}
	for (unsigned i = 0; i < PROFILE_ENTRIES; i++) {
		const struct profile_entry *e = &p->entries[i];

		if (atomic_load_explicit(&e->rip, memory_order_acquire) && e->caller)
			unnamed += !name_address(o, e->caller - 1, &sym);
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
	uint64_t begun = monotonic();
	struct gva_space spaces[4];
	unsigned n = kernel_spaces(o, spaces, ARRAY_SIZE(spaces));
	struct symbols *found;

	if (o->file && !o->slide_found)
		o->slide_found = !symbols_find_slide(o->file, o->mem, spaces, n);
	if (!symbols_from_guest(o->mem, spaces, n, &found)) {
		symbols_free(o->guest);
		o->guest = found;
	}
	o->next_search = monotonic() + (monotonic() - begun) * SEARCH_SHARE;
}

/* Names as much as can be; new code without a name (a module) is reason to look again. */
static void find_names(struct observe *o, bool at_once)
{
	size_t unnamed = name_profiles(o);

	if (unnamed <= o->unnamed && (!o->file || o->slide_found))
		return;
	if (!at_once && monotonic() < o->next_search)
		return;
	search_guest(o);
	o->unnamed = name_profiles(o);
}

/* On the clock's thread. */
static void tick(void *opaque)
{
	struct observe *o = opaque;
	bool again;

	pthread_mutex_lock(&o->lock);
	again = o->profiling;
	if (again)
		find_names(o, false);
	pthread_mutex_unlock(&o->lock);
	if (again)
		timer_arm(&o->tick, clock_now(o->tick.clock) + NSEC_PER_SEC);
}

void observe_set_clock(struct observe *o, struct clock *clock)
{
	timer_init(&o->tick, clock, tick, o);
}

/* --- the profile ------------------------------------------------------------------ */

int observe_set_profile(struct observe *o, bool on)
{
	int ret = 0;

	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->nr_vcpus && !ret; i++)
		ret = vcpu_set_profiling(&o->vcpus[i], o->mem, on);
	if (!ret) {
		o->profiling = on;
		o->profiled |= on;
	}
	pthread_mutex_unlock(&o->lock);
	if (!ret && on)
		timer_arm(&o->tick, clock_now(o->tick.clock) + NSEC_PER_SEC);
	return ret;
}

bool observe_profiling(struct observe *o)
{
	bool on;

	pthread_mutex_lock(&o->lock);
	on = o->profiling;
	pthread_mutex_unlock(&o->lock);
	return on;
}

void observe_clear_profile(struct observe *o)
{
	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->nr_vcpus; i++)
		if (o->vcpus[i].profile)
			profile_clear(o->vcpus[i].profile);
	pthread_mutex_unlock(&o->lock);
}

int observe_write_trace(struct observe *o, int fd)
{
	const struct trace_clock clock = { .start = o->started, .end = now() };

	return trace_write_json(&o->trace, &clock, fd);
}

/* --- reports ---------------------------------------------------------------------- */

/* Ticks to nanoseconds: both clocks were read when the guest first ran, and are again. */
struct scale {
	uint64_t ns;
	uint64_t ticks; /* not 0 */
};

static uint64_t to_ns(const struct scale *s, uint64_t ticks)
{
	return mul_div(ticks, s->ns, s->ticks);
}

static void take_time(struct report_time *out, const struct hist_sum *sum, const struct scale *s)
{
	*out = (struct report_time){
		.count = sum->count,
		.total_ns = to_ns(s, sum->total),
		.p50_ns = to_ns(s, hist_percentile(sum, 50)),
		.p99_ns = to_ns(s, hist_percentile(sum, 99)),
		.max_ns = to_ns(s, sum->max),
	};
}

static void copy(char *dst, size_t size, const char *src)
{
	snprintf(dst, size, "%s", src ? src : "");
}

/* The rows of vCPUs first to first + nr, summed. */
static int take_reasons(struct report_cpu *out, const struct vcpu *vcpus, unsigned nr,
			const struct scale *s)
{
	out->reasons = calloc(ACCT_NR_ROWS, sizeof(*out->reasons));
	if (!out->reasons)
		return -ENOMEM;
	for (unsigned row = 0; row < ACCT_NR_ROWS; row++) {
		struct report_reason *r = &out->reasons[out->nr_reasons];
		struct hist_sum sum = { 0 };

		for (unsigned i = 0; i < nr; i++)
			hist_collect(&sum, &vcpus[i].acct.rows[row]);
		if (!sum.count)
			continue;
		copy(r->name, sizeof(r->name), exit_row_name(row));
		take_time(&r->time, &sum, s);
		out->nr_reasons++;
	}
	return 0;
}

static int compare_sites(const void *a, const void *b)
{
	const struct report_site *x = a, *y = b;

	if (x->mmio != y->mmio)
		return x->mmio - y->mmio;
	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->write != y->write)
		return x->write - y->write;
	return (int)x->width - (int)y->width;
}

/* The vCPUs' rows of the same access become one. */
static void merge_sites(struct report_cpu *cpu)
{
	size_t n = 0;

	if (!cpu->nr_sites)
		return;
	qsort(cpu->sites, cpu->nr_sites, sizeof(*cpu->sites), compare_sites);
	for (size_t i = 1; i < cpu->nr_sites; i++) {
		struct report_site *to = &cpu->sites[n], *from = &cpu->sites[i];

		if (compare_sites(to, from)) {
			cpu->sites[++n] = *from;
			continue;
		}
		to->count += from->count;
		to->accesses += from->accesses;
		to->total_ns += from->total_ns;
		to->max_ns = max_u64(to->max_ns, from->max_ns);
	}
	cpu->nr_sites = n + 1;
}

static void take_site(struct report_site *out, const struct acct_site *site, const struct scale *s)
{
	out->count = counter_get(&site->count);
	out->accesses = counter_get(&site->accesses);
	out->total_ns = to_ns(s, counter_get(&site->ticks));
	out->max_ns = to_ns(s, counter_get(&site->max));
	copy(out->device, sizeof(out->device), site->device);
	copy(out->reg, sizeof(out->reg), site->reg);
}

static int take_sites(struct report_cpu *out, const struct acct *a, const struct scale *s)
{
	out->sites = calloc(ACCT_SITES + BUS_NR_SPACES * 2, sizeof(*out->sites));
	if (!out->sites)
		return -ENOMEM;
	for (unsigned i = 0; i < ACCT_SITES; i++) {
		uint64_t key = atomic_load_explicit(&a->sites[i].key, memory_order_acquire);
		struct report_site *site = &out->sites[out->nr_sites];

		if (!key || !counter_get(&a->sites[i].accesses))
			continue;
		site->mmio = acct_key_space(key) == BUS_MMIO;
		site->write = acct_key_write(key);
		site->addr = acct_key_addr(key);
		site->width = acct_key_width(key);
		take_site(site, &a->sites[i], s);
		out->nr_sites++;
	}
	for (unsigned i = 0; i < BUS_NR_SPACES * 2; i++) {
		const struct acct_site *lost = &a->lost[i / 2][i % 2];
		struct report_site *site = &out->sites[out->nr_sites];

		if (!counter_get(&lost->accesses))
			continue;
		site->mmio = i / 2 == BUS_MMIO;
		site->write = i % 2;
		take_site(site, lost, s);
		out->nr_sites++;
	}
	return 0;
}

static int take_cpus(struct observe *o, struct report *r, const struct scale *s)
{
	size_t sites = 0;
	int ret;

	r->cpus = calloc(o->nr_vcpus, sizeof(*r->cpus));
	if (!r->cpus)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_vcpus; i++) {
		const struct acct *a = &o->vcpus[i].acct;
		struct report_cpu *cpu = &r->cpus[r->nr_cpus++];

		cpu->run_ns = to_ns(s, counter_get(&a->run_ticks));
		ret = take_reasons(cpu, &o->vcpus[i], 1, s);
		if (!ret)
			ret = take_sites(cpu, a, s);
		if (ret)
			return ret;
		sites += cpu->nr_sites;
	}
	ret = take_reasons(&r->total, o->vcpus, o->nr_vcpus, s);
	r->total.sites = calloc(sites + 1, sizeof(*r->total.sites));
	if (!r->total.sites)
		return -ENOMEM;
	for (unsigned i = 0; i < r->nr_cpus; i++) {
		const struct report_cpu *cpu = &r->cpus[i];

		r->total.run_ns += cpu->run_ns;
		memcpy(&r->total.sites[r->total.nr_sites], cpu->sites,
		       cpu->nr_sites * sizeof(*cpu->sites));
		r->total.nr_sites += cpu->nr_sites;
	}
	merge_sites(&r->total);
	return ret;
}

static int copy_counters(struct report_counters *out, const struct kvmstats *s)
{
	out->list = calloc(s->nr + 1, sizeof(*out->list));
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; i < s->nr; i++) {
		copy(out->list[i].name, sizeof(out->list[i].name), s->stats[i].name);
		out->list[i].value = s->stats[i].value;
	}
	out->nr = s->nr;
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t count_of(const struct report *r, const char *a, const char *b)
{
	const struct report_reason *x = report_reason(&r->total, a);
	const struct report_reason *y = report_reason(&r->total, b);

	return (x ? x->time.count : 0) + (y ? y->time.count : 0);
}

/* KVM older than 5.14 has no statistics: the report then has ours alone. */
static int take_kvm(struct observe *o, struct report *r)
{
	int fd = kvmstats_open(o->vm_fd), ret;
	struct kvmstats vm, vcpu;

	if (fd < 0)
		return 0;
	ret = kvmstats_read(fd, &vm);
	close(fd);
	if (ret)
		return 0;
	if (kvmstats_read(o->vcpus[0].stats_fd, &vcpu)) {
		kvmstats_free(&vm);
		return 0;
	}
	for (unsigned i = 1; i < o->nr_vcpus; i++) {
		struct kvmstats more;

		if (kvmstats_read(o->vcpus[i].stats_fd, &more))
			continue;
		kvmstats_add(&vcpu, &more);
		kvmstats_free(&more);
	}
	r->has_kvm = true;
	ret = copy_counters(&r->kvm_vm, &vm);
	if (!ret)
		ret = copy_counters(&r->kvm_vcpu, &vcpu);
	kvmstats_free(&vm);
	kvmstats_free(&vcpu);
	r->kernel_io =
		less(report_counter(&r->kvm_vcpu, "io_exits"), count_of(r, "io-in", "io-out"));
	r->kernel_mmio = less(report_counter(&r->kvm_vcpu, "mmio_exits"),
			      count_of(r, "mmio-read", "mmio-write"));
	return ret;
}

static int take_stages(struct observe *o, struct report *r, const struct scale *s)
{
	r->stages = calloc((size_t)o->nr_disks * BLOCK_NR_STAGES + 1, sizeof(*r->stages));
	if (!r->stages)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_disks; i++) {
		for (unsigned k = 0; k < BLOCK_NR_STAGES; k++) {
			struct report_stage *stage = &r->stages[r->nr_stages];
			struct hist_sum sum = { 0 };

			hist_collect(&sum, &o->disks[i]->stage[k]);
			if (!sum.count)
				continue;
			copy(stage->disk, sizeof(stage->disk), o->disks[i]->name);
			copy(stage->name, sizeof(stage->name), block_stage_name(k));
			take_time(&stage->time, &sum, s);
			r->nr_stages++;
		}
	}
	return 0;
}

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
		     const struct profile_entry *e, const struct scale *s)
{
	const struct acct_site *site = e->access ? site_of(&vcpu->acct, e->access) : NULL;
	struct symbol sym;
	bool named;

	h->rip = counter_get(&e->rip);
	h->caller_rip = e->caller;
	h->addr = acct_key_addr(e->access);
	h->count = counter_get(&e->count);
	h->total_ns = to_ns(s, counter_get(&e->ticks));
	copy(h->reason, sizeof(h->reason), exit_row_name(e->row));
	if (site) {
		copy(h->device, sizeof(h->device), site->device);
		copy(h->reg, sizeof(h->reg), site->reg);
	}
	named = name_address(o, h->rip, &sym);
	if (named) {
		copy(h->function, sizeof(h->function), sym.name);
		copy(h->module, sizeof(h->module), sym.module);
		h->offset = sym.offset;
	}
	if (!e->caller)
		return;
	h->caller_kind =
		named && e->target == sym.start ? REPORT_CALLER_EXACT : REPORT_CALLER_GUESS;
	/* Of a call that never returns, what follows is the next function. */
	if (name_address(o, e->caller - 1, &sym))
		copy(h->caller, sizeof(h->caller), sym.name);
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

static int take_profile(struct observe *o, struct report *r, const struct scale *s)
{
	struct report_profile *p = &r->profile;
	size_t n = 0;

	p->present = o->profiled;
	p->on = o->profiling;
	if (!o->profiled)
		return 0;
	find_names(o, !r->running);
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
		p->lost_ns += from ? to_ns(s, counter_get(&from->lost_ticks)) : 0;
	}
	p->nr_hot = n;
	merge_hot(p);
	describe_symbols(o, p->symbols, sizeof(p->symbols));
	return 0;
}

static void take_ahead_site(const struct observe *o, struct report_ahead_site *out,
			    const struct ahead_site *site)
{
	struct symbol sym;

	const char *dev = NULL, *reg = NULL;

	out->rip = counter_get(&site->rip);
	out->addr = site->port.port;
	out->write = site->port.write;
	(void)bus_name(o->bus, BUS_PIO, out->addr, out->write, &dev, &reg);
	copy(out->device, sizeof(out->device), dev);
	copy(out->reg, sizeof(out->reg), reg);
	out->exits = counter_get(&site->exits);
	out->runs = counter_get(&site->runs);
	out->avoided = counter_get(&site->avoided);
	if (!name_address(o, out->rip, &sym))
		return;
	copy(out->function, sizeof(out->function), sym.name);
	copy(out->module, sizeof(out->module), sym.module);
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

static int take_ahead(const struct observe *o, struct report *r, const struct scale *s)
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
	a->total_ns = to_ns(s, a->total_ns);
	merge_ahead(a);
	return 0;
}

static uint64_t count_doorbells(const struct observe *o)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < o->nr_doorbells; i++)
		n += virtio_kicks(o->doorbells[i]);
	return less(n, counter_get(&o->bus->eventfds_fired));
}

int observe_report(struct observe *o, bool running, struct report *r)
{
	struct trace_point at;
	struct scale s;
	int ret;

	memset(r, 0, sizeof(*r));
	pthread_mutex_lock(&o->lock);
	at = now();
	s.ns = at.ns - o->started.ns;
	s.ticks = max_u64(at.ticks - o->started.ticks, 1);
	copy(r->name, sizeof(r->name), o->name);
	r->running = running;
	r->wall_ns = s.ns;
	ret = take_cpus(o, r, &s);
	if (!ret)
		ret = take_kvm(o, r);
	r->doorbells = count_doorbells(o);
	if (!ret)
		ret = take_stages(o, r, &s);
	if (!ret)
		ret = take_profile(o, r, &s);
	if (!ret)
		ret = take_ahead(o, r, &s);
	pthread_mutex_unlock(&o->lock);
	if (ret)
		report_free(r);
	return ret;
}
