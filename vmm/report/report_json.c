/* SPDX-License-Identifier: MIT */
#include <cjson/cJSON.h>
#include <inttypes.h>

#include "vmm/report/fields.h"
#include "vmm/report/views.h"

#define FIELD(type, member, kind, name)                                         \
	{                                                                       \
		name, kind, offsetof(type, member), sizeof(((type *)0)->member) \
	}

#define FIELDS(l)                \
	{                        \
		l, ARRAY_SIZE(l) \
	}

static const struct field report_list[] = {
	FIELD(struct report, name, FIELD_STRING, "name"),
	FIELD(struct report, running, FIELD_BOOL, "running"),
	FIELD(struct report, wall_ns, FIELD_NUMBER, "wall_ns"),
	FIELD(struct report, doorbells, FIELD_NUMBER, "doorbells"),
	FIELD(struct report, posted, FIELD_NUMBER_OR_NONE, "posted"),
};

static const struct field reason_list[] = {
	FIELD(struct report_time, count, FIELD_NUMBER, "count"),
	FIELD(struct report_time, total_ns, FIELD_NUMBER, "user_ns"),
	FIELD(struct report_time, p50_ns, FIELD_NUMBER, "p50_ns"),
	FIELD(struct report_time, p99_ns, FIELD_NUMBER, "p99_ns"),
	FIELD(struct report_time, max_ns, FIELD_NUMBER, "max_ns"),
};

static const struct field site_list[] = {
	FIELD(struct report_site, addr, FIELD_ADDRESS, "address"),
	FIELD(struct report_site, width, FIELD_WIDTH, "width"),
	FIELD(struct report_site, device, FIELD_STRING, "device"),
	FIELD(struct report_site, reg, FIELD_STRING, "register"),
	FIELD(struct report_site, count, FIELD_NUMBER, "count"),
	FIELD(struct report_site, accesses, FIELD_NUMBER, "accesses"),
	FIELD(struct report_site, total_ns, FIELD_NUMBER, "user_ns"),
	FIELD(struct report_site, max_ns, FIELD_NUMBER, "max_ns"),
};

static const struct field cpu_list[] = {
	FIELD(struct report_cpu, run_ns, FIELD_NUMBER, "run_ns"),
};

static const struct field kvm_list[] = {
	FIELD(struct report, kernel_io, FIELD_NUMBER, "io_by_kernel"),
	FIELD(struct report, kernel_mmio, FIELD_NUMBER, "mmio_by_kernel"),
};

static const struct field stage_list[] = {
	FIELD(struct report_stage, disk, FIELD_STRING, "disk"),
	FIELD(struct report_stage, name, FIELD_STRING, "stage"),
	FIELD(struct report_stage, time.count, FIELD_NUMBER, "count"),
	FIELD(struct report_stage, time.total_ns, FIELD_NUMBER, "total_ns"),
	FIELD(struct report_stage, time.p50_ns, FIELD_NUMBER, "p50_ns"),
	FIELD(struct report_stage, time.p99_ns, FIELD_NUMBER, "p99_ns"),
	FIELD(struct report_stage, time.max_ns, FIELD_NUMBER, "max_ns"),
};

static const struct field profile_list[] = {
	FIELD(struct report_profile, on, FIELD_BOOL, "on"),
	FIELD(struct report_profile, symbols, FIELD_STRING, "symbols"),
	FIELD(struct report_profile, lost, FIELD_NUMBER, "lost"),
	FIELD(struct report_profile, lost_ns, FIELD_NUMBER, "lost_ns"),
};

static const struct field hot_list[] = {
	FIELD(struct report_hot, rip, FIELD_ADDRESS, "rip"),
	FIELD(struct report_hot, function, FIELD_STRING, "function"),
	FIELD(struct report_hot, module, FIELD_STRING, "module"),
	FIELD(struct report_hot, offset, FIELD_ADDRESS, "offset"),
	FIELD(struct report_hot, caller_rip, FIELD_ADDRESS, "caller_rip"),
	FIELD(struct report_hot, caller, FIELD_STRING, "caller"),
	FIELD(struct report_hot, caller_kind, FIELD_CALLER, "caller_kind"),
	FIELD(struct report_hot, reason, FIELD_STRING, "reason"),
	FIELD(struct report_hot, device, FIELD_STRING, "device"),
	FIELD(struct report_hot, reg, FIELD_STRING, "register"),
	FIELD(struct report_hot, addr, FIELD_ADDRESS, "address"),
	FIELD(struct report_hot, count, FIELD_NUMBER, "count"),
	FIELD(struct report_hot, total_ns, FIELD_NUMBER, "user_ns"),
};

static const struct field ahead_list[] = {
	FIELD(struct report_ahead, on, FIELD_BOOL, "on"),
	FIELD(struct report_ahead, runs, FIELD_NUMBER, "runs"),
	FIELD(struct report_ahead, avoided, FIELD_NUMBER, "avoided"),
	FIELD(struct report_ahead, insns, FIELD_NUMBER, "instructions"),
	FIELD(struct report_ahead, total_ns, FIELD_NUMBER, "total_ns"),
	FIELD(struct report_ahead, turned_off, FIELD_NUMBER, "turned_off"),
	FIELD(struct report_ahead, end_expected, FIELD_NUMBER, "ended_expected"),
	FIELD(struct report_ahead, end_unknown, FIELD_NUMBER, "ended_unknown"),
	FIELD(struct report_ahead, end_refused, FIELD_NUMBER, "ended_refused"),
	FIELD(struct report_ahead, end_interrupt, FIELD_NUMBER, "ended_interrupt"),
	FIELD(struct report_ahead, end_bound, FIELD_NUMBER, "ended_bound"),
};

static const struct field ahead_site_list[] = {
	FIELD(struct report_ahead_site, rip, FIELD_ADDRESS, "rip"),
	FIELD(struct report_ahead_site, write, FIELD_BOOL, "write"),
	FIELD(struct report_ahead_site, addr, FIELD_ADDRESS, "address"),
	FIELD(struct report_ahead_site, device, FIELD_STRING, "device"),
	FIELD(struct report_ahead_site, reg, FIELD_STRING, "register"),
	FIELD(struct report_ahead_site, function, FIELD_STRING, "function"),
	FIELD(struct report_ahead_site, module, FIELD_STRING, "module"),
	FIELD(struct report_ahead_site, offset, FIELD_ADDRESS, "offset"),
	FIELD(struct report_ahead_site, exits, FIELD_NUMBER, "exits"),
	FIELD(struct report_ahead_site, runs, FIELD_NUMBER, "runs"),
	FIELD(struct report_ahead_site, avoided, FIELD_NUMBER, "avoided"),
};

const struct fields report_fields = FIELDS(report_list);
const struct fields reason_fields = FIELDS(reason_list);
const struct fields site_fields = FIELDS(site_list);
const struct fields cpu_fields = FIELDS(cpu_list);
const struct fields kvm_fields = FIELDS(kvm_list);
const struct fields stage_fields = FIELDS(stage_list);
const struct fields profile_fields = FIELDS(profile_list);
const struct fields hot_fields = FIELDS(hot_list);
const struct fields ahead_fields = FIELDS(ahead_list);
const struct fields ahead_site_fields = FIELDS(ahead_site_list);

const char *const report_caller_kinds[REPORT_CALLER_EXACT + 1] = {
	[REPORT_CALLER_NONE] = "none",
	[REPORT_CALLER_GUESS] = "guess",
	[REPORT_CALLER_EXACT] = "exact",
};

/* --- writing ----------------------------------------------------------------- */

/* An object or array under construction; failed once memory ran out anywhere. */
struct writer {
	bool failed;
};

/* cJSON prints 15 digits of a number, and text as it is. */
#define EXACT_IN_CJSON 1000000000000000

static void put_number(struct writer *w, cJSON *obj, const char *name, uint64_t v)
{
	char text[24];

	if (v < EXACT_IN_CJSON) {
		w->failed |= !cJSON_AddNumberToObject(obj, name, (double)v);
		return;
	}
	snprintf(text, sizeof(text), "%" PRIu64, min_u64(v, REPORT_NUMBER_MAX));
	w->failed |= !cJSON_AddRawToObject(obj, name, text);
}

static void put_string(struct writer *w, cJSON *obj, const char *name, const char *s)
{
	char plain[256];

	w->failed |= !cJSON_AddStringToObject(obj, name, report_plain(s, plain, sizeof(plain)));
}

static cJSON *put_object(struct writer *w, cJSON *obj, const char *name)
{
	cJSON *item = cJSON_AddObjectToObject(obj, name);

	w->failed |= !item;
	return item;
}

static cJSON *put_array(struct writer *w, cJSON *obj, const char *name)
{
	cJSON *item = cJSON_AddArrayToObject(obj, name);

	w->failed |= !item;
	return item;
}

/* An object, as the last element of array. */
static cJSON *put_element(struct writer *w, cJSON *array)
{
	cJSON *item = cJSON_CreateObject();

	if (item && cJSON_AddItemToArray(array, item))
		return item;
	cJSON_Delete(item);
	w->failed = true;
	return NULL;
}

static void put_field(struct writer *w, cJSON *obj, const struct field *f, const void *from)
{
	const void *p = (const char *)from + f->offset;
	char hex[24];

	switch (f->kind) {
	case FIELD_NUMBER:
	case FIELD_NUMBER_OR_NONE:
		put_number(w, obj, f->name, *(const uint64_t *)p);
		break;
	case FIELD_WIDTH:
		put_number(w, obj, f->name, *(const unsigned *)p);
		break;
	case FIELD_ADDRESS:
		put_string(w, obj, f->name, report_hex(*(const uint64_t *)p, hex, sizeof(hex)));
		break;
	case FIELD_BOOL:
		w->failed |= !cJSON_AddBoolToObject(obj, f->name, *(const bool *)p);
		break;
	case FIELD_STRING:
		put_string(w, obj, f->name, p);
		break;
	case FIELD_CALLER:
		put_string(w, obj, f->name, report_caller_kinds[*(const enum report_caller *)p]);
		break;
	}
}

static void put_fields(struct writer *w, cJSON *obj, const struct fields *f, const void *from)
{
	for (size_t i = 0; i < f->nr; i++)
		put_field(w, obj, &f->list[i], from);
}

/* For whoever reads the file: it follows from the rest. */
static void put_mean(struct writer *w, cJSON *obj, const struct report_time *t)
{
	put_number(w, obj, "mean_ns", t->count ? t->total_ns / t->count : 0);
}

static void put_sites(struct writer *w, cJSON *obj, const char *name, const struct report_cpu *cpu,
		      bool mmio)
{
	cJSON *array = put_array(w, obj, name);

	for (size_t i = 0; i < cpu->nr_sites; i++) {
		const struct report_site *s = &cpu->sites[i];
		cJSON *site;

		if (s->mmio != mmio)
			continue;
		site = put_element(w, array);
		put_string(w, site, "direction", report_direction(mmio, s->write));
		put_fields(w, site, &site_fields, s);
	}
}

static void put_cpu(struct writer *w, cJSON *obj, const struct report_cpu *cpu)
{
	cJSON *reasons;

	put_number(w, obj, "exits", report_exits(cpu));
	put_number(w, obj, "user_ns", report_user_ns(cpu));
	put_fields(w, obj, &cpu_fields, cpu);
	reasons = put_object(w, obj, "reasons");
	for (size_t i = 0; i < cpu->nr_reasons; i++) {
		char plain[sizeof(cpu->reasons[i].name)];
		cJSON *reason;

		report_plain(cpu->reasons[i].name, plain, sizeof(plain));
		reason = put_object(w, reasons, plain);
		put_fields(w, reason, &reason_fields, &cpu->reasons[i].time);
		put_mean(w, reason, &cpu->reasons[i].time);
	}
	put_sites(w, obj, "ports", cpu, false);
	put_sites(w, obj, "mmio", cpu, true);
}

static void put_counters(struct writer *w, cJSON *obj, const char *name,
			 const struct report_counters *c)
{
	cJSON *counters = put_object(w, obj, name);

	for (size_t i = 0; i < c->nr; i++) {
		char plain[sizeof(c->list[i].name)];

		put_number(w, counters, report_plain(c->list[i].name, plain, sizeof(plain)),
			   c->list[i].value);
	}
}

static void put_kvm(struct writer *w, cJSON *root, const struct report *r)
{
	cJSON *kvm = put_object(w, root, "kvm");

	put_fields(w, kvm, &kvm_fields, r);
	put_counters(w, kvm, "vm", &r->kvm_vm);
	put_counters(w, kvm, "vcpu", &r->kvm_vcpu);
}

static void put_stages(struct writer *w, cJSON *root, const struct report *r)
{
	cJSON *array = put_array(w, root, "stages");

	for (size_t i = 0; i < r->nr_stages; i++) {
		cJSON *stage = put_element(w, array);

		put_fields(w, stage, &stage_fields, &r->stages[i]);
		put_mean(w, stage, &r->stages[i].time);
	}
}

static void put_profile(struct writer *w, cJSON *root, const struct report_profile *p)
{
	cJSON *profile = put_object(w, root, "profile"), *array;

	put_fields(w, profile, &profile_fields, p);
	array = put_array(w, profile, "hot");
	for (size_t i = 0; i < p->nr_hot; i++)
		put_fields(w, put_element(w, array), &hot_fields, &p->hot[i]);
}

static void put_ahead(struct writer *w, cJSON *root, const struct report_ahead *a)
{
	cJSON *ahead = put_object(w, root, "lookahead"), *array;

	put_fields(w, ahead, &ahead_fields, a);
	array = put_array(w, ahead, "sites");
	for (size_t i = 0; i < a->nr_sites; i++)
		put_fields(w, put_element(w, array), &ahead_site_fields, &a->sites[i]);
}

cJSON *report_to_json(const struct report *r)
{
	cJSON *root = cJSON_CreateObject(), *cpus;
	struct writer w = { .failed = !root };

	put_number(&w, root, "version", REPORT_VERSION);
	put_fields(&w, root, &report_fields, r);
	put_cpu(&w, put_object(&w, root, "total"), &r->total);
	cpus = put_array(&w, root, "cpus");
	for (unsigned i = 0; i < r->nr_cpus; i++)
		put_cpu(&w, put_element(&w, cpus), &r->cpus[i]);
	if (r->has_kvm)
		put_kvm(&w, root, r);
	put_stages(&w, root, r);
	if (r->profile.present)
		put_profile(&w, root, &r->profile);
	if (r->ahead.present)
		put_ahead(&w, root, &r->ahead);
	if (!w.failed)
		return root;
	cJSON_Delete(root);
	return NULL;
}
