/* SPDX-License-Identifier: MIT */
/* A report out of JSON, which may be anybody's: every value is checked before it is used. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "vmm/report/fields.h"
#include "vmm/report/views.h"

/* What a file may hold at most of each. */
enum {
	MAX_REASONS = 256,
	MAX_SITES = 65536, /* of a CPU, and of the total; ports and memory each */
	MAX_COUNTERS = 4096,
	MAX_STAGES = 4096,
	MAX_HOT = 1 << 20,
	MAX_AHEAD_SITES = 1 << 20,
};

/* Where reading failed and what would have been right; empty while it has not. */
struct reader {
	char path[160]; /* "cpus[3].ports[17].width"; grows at its front on the way out */
	char wanted[96];
	bool no_memory;
};

static void prepend(struct reader *rd, const char *what)
{
	char inner[sizeof(rd->path)];
	bool member = rd->path[0] && rd->path[0] != '[';

	memcpy(inner, rd->path, sizeof(inner));
	snprintf(rd->path, sizeof(rd->path), "%.60s%s%.90s", what, member ? "." : "", inner);
}

/* The value of name is not what it must be: false. */
static bool refuse(struct reader *rd, const char *name, const char *wanted)
{
	char plain[64];

	snprintf(rd->path, sizeof(rd->path), "%s", report_plain(name, plain, sizeof(plain)));
	snprintf(rd->wanted, sizeof(rd->wanted), "%s", wanted);
	return false;
}

static bool refuse_memory(struct reader *rd)
{
	rd->no_memory = true;
	return false;
}

/* Passes ok on; where it is false, what failed was in name. */
static bool within(struct reader *rd, const char *name, bool ok)
{
	char plain[64];

	if (!ok)
		prepend(rd, report_plain(name, plain, sizeof(plain)));
	return ok;
}

static bool within_element(struct reader *rd, size_t index, bool ok)
{
	char text[32];

	snprintf(text, sizeof(text), "[%zu]", index);
	return within(rd, text, ok);
}

/* The member name of obj where right says that it is of the right type; NULL with the path set. */
static const cJSON *get(struct reader *rd, const cJSON *obj, const char *name,
			cJSON_bool (*right)(const cJSON *), const char *wanted)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, name);

	if (item && right(item))
		return item;
	refuse(rd, name, item ? wanted : "missing");
	return NULL;
}

static const cJSON *get_object(struct reader *rd, const cJSON *obj, const char *name)
{
	return get(rd, obj, name, cJSON_IsObject, "must be an object");
}

/* An array of at most max objects, and room for them; *list is never NULL on success. */
static const cJSON *get_list(struct reader *rd, const cJSON *obj, const char *name, size_t max,
			     size_t *nr)
{
	const cJSON *array = get(rd, obj, name, cJSON_IsArray, "must be an array"), *item;
	char wanted[80];
	size_t n = 0;

	if (!array)
		return NULL;
	cJSON_ArrayForEach(item, array)
	{
		if (!cJSON_IsObject(item)) {
			refuse(rd, "", "must be an object");
			within(rd, name, within_element(rd, n, false));
			return NULL;
		}
		n++;
	}
	*nr = n;
	if (n <= max)
		return array;
	snprintf(wanted, sizeof(wanted), "must have at most %zu elements, not %zu", max, n);
	refuse(rd, name, wanted);
	return NULL;
}

/* Raw text is what report_to_json() makes of large numbers; a parser never does. */
static bool parse_number(const cJSON *item, uint64_t *out)
{
	double d = item->valuedouble;

	if (cJSON_IsRaw(item))
		return !util_parse_uint(item->valuestring, 0, REPORT_NUMBER_MAX, out);
	if (!cJSON_IsNumber(item) || !(d >= 0 && d <= (double)REPORT_NUMBER_MAX))
		return false;
	*out = (uint64_t)d;
	return (double)*out == d;
}

static bool parse_address(const cJSON *item, uint64_t *out)
{
	const char *s = cJSON_GetStringValue(item);
	size_t digits;

	if (!s || s[0] != '0' || s[1] != 'x')
		return false;
	digits = strspn(s + 2, "0123456789abcdefABCDEF");
	if (!digits || digits > 16 || s[2 + digits])
		return false;
	*out = strtoull(s + 2, NULL, 16);
	return true;
}

static bool parse_width(const cJSON *item, unsigned *out)
{
	uint64_t width;

	if (!parse_number(item, &width) || width > 8)
		return false;
	*out = (unsigned)width;
	return !width || is_pow2(width);
}

static bool parse_caller(const cJSON *item, enum report_caller *out)
{
	const char *s = cJSON_GetStringValue(item);

	for (unsigned i = 0; s && i < ARRAY_SIZE(report_caller_kinds); i++) {
		if (strcmp(s, report_caller_kinds[i]))
			continue;
		*out = (enum report_caller)i;
		return true;
	}
	return false;
}

/* A name of fewer than size bytes, without anything that a terminal could take as a command. */
static bool take_name(struct reader *rd, const char *field, const char *name, char *out,
		      size_t size)
{
	char wanted[64];

	if (name && strlen(name) < size) {
		report_plain(name, out, size);
		return true;
	}
	snprintf(wanted, sizeof(wanted), "must be a string of at most %zu bytes", size - 1);
	return refuse(rd, field, wanted);
}

static bool take_number(struct reader *rd, const char *name, const cJSON *item, uint64_t *out)
{
	return parse_number(item, out) ||
	       refuse(rd, name, "must be a whole number from 0 to 2^64 - 2048");
}

static bool take_field(struct reader *rd, const cJSON *obj, const struct field *f, void *to)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, f->name);
	void *p = (char *)to + f->offset;

	if (!item)
		return f->kind == FIELD_NUMBER_OR_NONE || refuse(rd, f->name, "missing");
	switch (f->kind) {
	case FIELD_NUMBER:
	case FIELD_NUMBER_OR_NONE:
		return take_number(rd, f->name, item, p);
	case FIELD_WIDTH:
		return parse_width(item, p) ||
		       refuse(rd, f->name, "must be 1, 2, 4 or 8, or 0 for the rest together");
	case FIELD_ADDRESS:
		return parse_address(item, p) ||
		       refuse(rd, f->name,
			      "must be a string such as \"0xcf8\", of 64 bits at most");
	case FIELD_BOOL:
		*(bool *)p = cJSON_IsTrue(item);
		return cJSON_IsBool(item) || refuse(rd, f->name, "must be true or false");
	case FIELD_STRING:
		return take_name(rd, f->name, cJSON_GetStringValue(item), p, f->size);
	case FIELD_CALLER:
		return parse_caller(item, p) ||
		       refuse(rd, f->name, "must be \"none\", \"guess\" or \"exact\"");
	}
	return false;
}

static bool take_fields(struct reader *rd, const cJSON *obj, const struct fields *f, void *to)
{
	for (size_t i = 0; i < f->nr; i++)
		if (!take_field(rd, obj, &f->list[i], to))
			return false;
	return true;
}

static bool take_direction(struct reader *rd, const cJSON *obj, struct report_site *site)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, "direction"));

	site->write = s && !strcmp(s, report_direction(site->mmio, true));
	if (site->write || (s && !strcmp(s, report_direction(site->mmio, false))))
		return true;
	return refuse(rd, "direction",
		      site->mmio ? "must be \"read\" or \"write\"" : "must be \"in\" or \"out\"");
}

static bool take_sites(struct reader *rd, const cJSON *array, bool mmio, struct report_cpu *cpu)
{
	const cJSON *item;
	size_t n = 0;

	cJSON_ArrayForEach(item, array)
	{
		struct report_site *site = &cpu->sites[cpu->nr_sites++];

		site->mmio = mmio;
		if (!within_element(rd, n++,
				    take_direction(rd, item, site) &&
					    take_fields(rd, item, &site_fields, site)))
			return false;
	}
	return true;
}

static bool take_reasons(struct reader *rd, const cJSON *obj, struct report_cpu *cpu)
{
	const cJSON *reasons = get_object(rd, obj, "reasons"), *item;
	size_t nr = (size_t)cJSON_GetArraySize(reasons);

	if (!reasons)
		return false;
	if (nr > MAX_REASONS)
		return refuse(rd, "reasons", "has more members than there are reasons");
	cpu->reasons = calloc(nr + 1, sizeof(*cpu->reasons));
	if (!cpu->reasons)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, reasons)
	{
		struct report_reason *r = &cpu->reasons[cpu->nr_reasons++];
		bool ok = take_name(rd, "", item->string, r->name, sizeof(r->name)) &&
			  (cJSON_IsObject(item) || refuse(rd, "", "must be an object")) &&
			  take_fields(rd, item, &reason_fields, &r->time);

		if (!within(rd, "reasons", within(rd, item->string, ok)))
			return false;
	}
	return true;
}

static bool take_cpu(struct reader *rd, const cJSON *obj, struct report_cpu *cpu)
{
	size_t nr_ports = 0, nr_mmio = 0;
	const cJSON *ports = get_list(rd, obj, "ports", MAX_SITES, &nr_ports);
	const cJSON *mmio = ports ? get_list(rd, obj, "mmio", MAX_SITES, &nr_mmio) : NULL;

	if (!mmio)
		return false;
	cpu->sites = calloc(nr_ports + nr_mmio + 1, sizeof(*cpu->sites));
	if (!cpu->sites)
		return refuse_memory(rd);
	return take_fields(rd, obj, &cpu_fields, cpu) && take_reasons(rd, obj, cpu) &&
	       within(rd, "ports", take_sites(rd, ports, false, cpu)) &&
	       within(rd, "mmio", take_sites(rd, mmio, true, cpu));
}

static bool take_cpus(struct reader *rd, const cJSON *root, struct report *r)
{
	size_t nr = 0;
	const cJSON *total = get_object(rd, root, "total"), *item;
	const cJSON *cpus = total ? get_list(rd, root, "cpus", PLATFORM_MAX_CPUS, &nr) : NULL;

	if (!cpus || !within(rd, "total", take_cpu(rd, total, &r->total)))
		return false;
	r->cpus = calloc(nr + 1, sizeof(*r->cpus));
	if (!r->cpus)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, cpus)
	{
		unsigned i = r->nr_cpus++;

		if (!within(rd, "cpus", within_element(rd, i, take_cpu(rd, item, &r->cpus[i]))))
			return false;
	}
	return true;
}

static bool take_counters(struct reader *rd, const cJSON *kvm, const char *name,
			  struct report_counters *out)
{
	const cJSON *counters = get_object(rd, kvm, name), *item;
	size_t nr = (size_t)cJSON_GetArraySize(counters);

	if (!counters)
		return false;
	if (nr > MAX_COUNTERS)
		return refuse(rd, name, "has too many members");
	out->list = calloc(nr + 1, sizeof(*out->list));
	if (!out->list)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, counters)
	{
		struct report_counter *c = &out->list[out->nr++];

		if (!within(rd, name,
			    take_name(rd, item->string, item->string, c->name, sizeof(c->name)) &&
				    take_number(rd, item->string, item, &c->value)))
			return false;
	}
	return true;
}

static bool take_kvm(struct reader *rd, const cJSON *root, struct report *r)
{
	const cJSON *kvm = cJSON_GetObjectItemCaseSensitive(root, "kvm");

	if (!kvm)
		return true;
	r->has_kvm = true;
	if (!cJSON_IsObject(kvm))
		return refuse(rd, "kvm", "must be an object");
	return within(rd, "kvm",
		      take_fields(rd, kvm, &kvm_fields, r) &&
			      take_counters(rd, kvm, "vm", &r->kvm_vm) &&
			      take_counters(rd, kvm, "vcpu", &r->kvm_vcpu));
}

static bool take_stages(struct reader *rd, const cJSON *root, struct report *r)
{
	size_t nr;
	const cJSON *stages = get_list(rd, root, "stages", MAX_STAGES, &nr), *item;

	if (!stages)
		return false;
	r->stages = calloc(nr + 1, sizeof(*r->stages));
	if (!r->stages)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, stages)
	{
		size_t i = r->nr_stages++;
		bool ok = take_fields(rd, item, &stage_fields, &r->stages[i]);

		if (!within(rd, "stages", within_element(rd, i, ok)))
			return false;
	}
	return true;
}

static bool take_hot(struct reader *rd, const cJSON *profile, struct report_profile *p)
{
	size_t nr;
	const cJSON *hot = get_list(rd, profile, "hot", MAX_HOT, &nr), *item;

	if (!hot)
		return false;
	p->hot = calloc(nr + 1, sizeof(*p->hot));
	if (!p->hot)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, hot)
	{
		size_t i = p->nr_hot++;
		bool ok = take_fields(rd, item, &hot_fields, &p->hot[i]);

		if (!within(rd, "hot", within_element(rd, i, ok)))
			return false;
	}
	return true;
}

static bool take_profile(struct reader *rd, const cJSON *root, struct report_profile *p)
{
	const cJSON *profile = cJSON_GetObjectItemCaseSensitive(root, "profile");

	if (!profile)
		return true;
	p->present = true;
	if (!cJSON_IsObject(profile))
		return refuse(rd, "profile", "must be an object");
	return within(rd, "profile",
		      take_fields(rd, profile, &profile_fields, p) && take_hot(rd, profile, p));
}

static bool take_ahead_sites(struct reader *rd, const cJSON *ahead, struct report_ahead *a)
{
	size_t nr;
	const cJSON *sites = get_list(rd, ahead, "sites", MAX_AHEAD_SITES, &nr), *item;

	if (!sites)
		return false;
	a->sites = calloc(nr + 1, sizeof(*a->sites));
	if (!a->sites)
		return refuse_memory(rd);
	cJSON_ArrayForEach(item, sites)
	{
		size_t i = a->nr_sites++;
		bool ok = take_fields(rd, item, &ahead_site_fields, &a->sites[i]);

		if (!within(rd, "sites", within_element(rd, i, ok)))
			return false;
	}
	return true;
}

static bool take_ahead(struct reader *rd, const cJSON *root, struct report_ahead *a)
{
	const cJSON *ahead = cJSON_GetObjectItemCaseSensitive(root, "lookahead");

	if (!ahead)
		return true;
	a->present = true;
	if (!cJSON_IsObject(ahead))
		return refuse(rd, "lookahead", "must be an object");
	return within(rd, "lookahead",
		      take_fields(rd, ahead, &ahead_fields, a) && take_ahead_sites(rd, ahead, a));
}

static int check_version(const cJSON *json, const char *what, struct err *err)
{
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(json, "version");

	if (!cJSON_IsObject(json) || !cJSON_IsNumber(version))
		return err_set(
			err, -EINVAL,
			"%s: no exit report: wanted what 'bantam run --exits=FILE.json' writes",
			what);
	if (version->valuedouble == 1)
		return err_set(err, -EINVAL,
			       "%s: version 1 of the exit report, from an older bantam; this one "
			       "reads version %d: take it again",
			       what, REPORT_VERSION);
	if (version->valuedouble != REPORT_VERSION)
		return err_set(err, -EINVAL,
			       "%s: version %.15g of the exit report; this bantam reads version %d",
			       what, version->valuedouble, REPORT_VERSION);
	return 0;
}

int report_from_json(const cJSON *json, const char *what, struct report *out, struct err *err)
{
	struct reader rd = { .no_memory = false };
	int ret;

	memset(out, 0, sizeof(*out));
	ret = check_version(json, what, err);
	if (ret)
		return ret;
	if (take_fields(&rd, json, &report_fields, out) && take_cpus(&rd, json, out) &&
	    take_kvm(&rd, json, out) && take_stages(&rd, json, out) &&
	    take_profile(&rd, json, &out->profile) && take_ahead(&rd, json, &out->ahead))
		return 0;
	report_free(out);
	if (rd.no_memory)
		return err_set(err, -ENOMEM, "%s: out of memory", what);
	return err_set(err, -EINVAL, "%s: %s: %s", what, rd.path, rd.wanted);
}
