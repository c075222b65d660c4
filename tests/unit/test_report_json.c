/* SPDX-License-Identifier: MIT */
/* Reports as JSON, and what a file may hold instead. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/unit/report_sample.h"

/* --- a report is what it was ---------------------------------------------------------- */

#define SAME(member) assert_memory_equal(&a->member, &b->member, sizeof(a->member))

static void same_time(const struct report_time *a, const struct report_time *b)
{
	SAME(count);
	SAME(total_ns);
	SAME(p50_ns);
	SAME(p99_ns);
	SAME(max_ns);
}

static void same_site(const struct report_site *a, const struct report_site *b)
{
	SAME(mmio);
	SAME(write);
	SAME(addr);
	SAME(width);
	assert_string_equal(a->device, b->device);
	assert_string_equal(a->reg, b->reg);
	SAME(count);
	SAME(accesses);
	SAME(total_ns);
	SAME(max_ns);
}

static void same_cpu(const struct report_cpu *a, const struct report_cpu *b)
{
	SAME(nr_reasons);
	for (size_t i = 0; i < a->nr_reasons; i++) {
		assert_string_equal(a->reasons[i].name, b->reasons[i].name);
		same_time(&a->reasons[i].time, &b->reasons[i].time);
	}
	SAME(nr_sites);
	for (size_t i = 0; i < a->nr_sites; i++)
		same_site(&a->sites[i], &b->sites[i]);
	SAME(run_ns);
}

static void same_counters(const struct report_counters *a, const struct report_counters *b)
{
	SAME(nr);
	for (size_t i = 0; i < a->nr; i++) {
		assert_string_equal(a->list[i].name, b->list[i].name);
		SAME(list[i].value);
	}
}

static void same_hot(const struct report_hot *a, const struct report_hot *b)
{
	SAME(rip);
	assert_string_equal(a->function, b->function);
	assert_string_equal(a->module, b->module);
	SAME(offset);
	SAME(caller_rip);
	assert_string_equal(a->caller, b->caller);
	SAME(caller_kind);
	assert_string_equal(a->reason, b->reason);
	assert_string_equal(a->device, b->device);
	assert_string_equal(a->reg, b->reg);
	SAME(addr);
	SAME(count);
	SAME(total_ns);
}

static void same_profile(const struct report_profile *a, const struct report_profile *b)
{
	SAME(present);
	SAME(on);
	assert_string_equal(a->symbols, b->symbols);
	SAME(lost);
	SAME(lost_ns);
	SAME(nr_hot);
	for (size_t i = 0; i < a->nr_hot; i++)
		same_hot(&a->hot[i], &b->hot[i]);
}

static void same_ahead(const struct report_ahead *a, const struct report_ahead *b)
{
	SAME(present);
	SAME(on);
	SAME(runs);
	SAME(avoided);
	SAME(insns);
	SAME(total_ns);
	SAME(turned_off);
	SAME(end_expected);
	SAME(end_unknown);
	SAME(end_refused);
	SAME(end_interrupt);
	SAME(end_bound);
	SAME(nr_sites);
	for (size_t i = 0; i < a->nr_sites; i++) {
		SAME(sites[i].rip);
		SAME(sites[i].write);
		SAME(sites[i].addr);
		assert_string_equal(a->sites[i].device, b->sites[i].device);
		assert_string_equal(a->sites[i].reg, b->sites[i].reg);
		assert_string_equal(a->sites[i].function, b->sites[i].function);
		assert_string_equal(a->sites[i].module, b->sites[i].module);
		SAME(sites[i].offset);
		SAME(sites[i].exits);
		SAME(sites[i].runs);
		SAME(sites[i].avoided);
	}
}

static void same_report(const struct report *a, const struct report *b)
{
	assert_string_equal(a->name, b->name);
	SAME(running);
	SAME(wall_ns);
	SAME(nr_cpus);
	for (unsigned i = 0; i < a->nr_cpus; i++)
		same_cpu(&a->cpus[i], &b->cpus[i]);
	same_cpu(&a->total, &b->total);
	SAME(has_kvm);
	same_counters(&a->kvm_vm, &b->kvm_vm);
	same_counters(&a->kvm_vcpu, &b->kvm_vcpu);
	SAME(kernel_io);
	SAME(kernel_mmio);
	SAME(doorbells);
	SAME(posted);
	SAME(nr_stages);
	for (size_t i = 0; i < a->nr_stages; i++) {
		assert_string_equal(a->stages[i].disk, b->stages[i].disk);
		assert_string_equal(a->stages[i].name, b->stages[i].name);
		same_time(&a->stages[i].time, &b->stages[i].time);
	}
	same_profile(&a->profile, &b->profile);
	same_ahead(&a->ahead, &b->ahead);
}

/* Through a file, and text. */
static void through_file(const struct report *r, struct report *out)
{
	char path[] = "/tmp/test_report.XXXXXX";
	struct err err = { "" };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(report_write_json(r, fd), 0);
	close(fd);
	if (report_load(path, out, &err))
		fail_msg("%s", err.text);
	unlink(path);
}

static void test_round_trip(void **state)
{
	struct report r, copy;

	(void)state;
	report_sample(&r);
	through_file(&r, &copy);
	same_report(&r, &copy);
	report_free(&r);
	report_free(&copy);
}

static void test_round_trip_of_little(void **state)
{
	struct report r = { .wall_ns = 7 }, copy;

	(void)state;
	through_file(&r, &copy);
	same_report(&r, &copy);
	assert_false(copy.has_kvm);
	assert_false(copy.profile.present);
	report_free(&copy);
	/* Present and empty is not the same as absent. */
	r.has_kvm = true;
	r.profile.present = true;
	through_file(&r, &copy);
	same_report(&r, &copy);
	report_free(&copy);
}

/* Reports of the same version, but from before it was counted, have no "posted". */
static void test_older(void **state)
{
	struct report r, copy;
	struct err err;
	cJSON *json;

	(void)state;
	report_sample(&r);
	json = report_to_json(&r);
	assert_non_null(json);
	cJSON_DeleteItemFromObjectCaseSensitive(json, "posted");
	assert_int_equal(report_from_json(json, "x", &copy, &err), 0);
	r.posted = 0;
	same_report(&r, &copy);
	cJSON_Delete(json);
	report_free(&r);
	report_free(&copy);
}

static void test_round_trip_without_text(void **state)
{
	struct report r, copy;
	struct err err;
	cJSON *json;

	(void)state;
	report_sample(&r);
	r.wall_ns = 1234567890123456789;
	json = report_to_json(&r);
	assert_non_null(json);
	assert_int_equal(report_from_json(json, "x", &copy, &err), 0);
	same_report(&r, &copy);
	cJSON_Delete(json);
	report_free(&r);
	report_free(&copy);
}

static void test_large_numbers(void **state)
{
	static const struct {
		uint64_t in, out;
	} numbers[] = {
		{ 999999999999999, 999999999999999 }, { 1000000000000001, 1000000000000001 },
		{ 1ull << 53, 1ull << 53 },           { (1ull << 53) - 1, (1ull << 53) - 1 },
		{ (1ull << 62) + 1, 1ull << 62 },     { UINT64_MAX, 18446744073709549568ull },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct report r, copy;

		report_sample(&r);
		r.wall_ns = numbers[i].in;
		r.total.sites[0].addr = UINT64_MAX - i;
		through_file(&r, &copy);
		assert_int_equal(copy.wall_ns, numbers[i].out);
		assert_int_equal(copy.total.sites[0].addr, UINT64_MAX - i);
		report_free(&r);
		report_free(&copy);
	}
}

static void test_names_become_plain(void **state)
{
	struct report r, copy;

	(void)state;
	report_sample(&r);
	strcpy(r.profile.hot[0].function, "a\x1b[2J\xff\"\\b");
	strcpy(r.total.sites[0].device, "\n\t~ ");
	through_file(&r, &copy);
	assert_string_equal(copy.profile.hot[0].function, "a?[2J?\"\\b");
	assert_string_equal(copy.total.sites[0].device, "??~ ");
	report_free(&r);
	report_free(&copy);
}

/* The value at a path of names and indices, with dots: "total.ports.0.width". */
static cJSON *at(cJSON *json, const char *path)
{
	while (*path) {
		char part[64];
		size_t len = strcspn(path, ".");

		assert_true(len < sizeof(part));
		memcpy(part, path, len);
		part[len] = '\0';
		json = cJSON_IsArray(json) ? cJSON_GetArrayItem(json, atoi(part))
					   : cJSON_GetObjectItemCaseSensitive(json, part);
		assert_non_null(json);
		path += len + (path[len] == '.');
	}
	return json;
}

static cJSON *sample_json(void)
{
	struct report r;
	cJSON *json;

	report_sample(&r);
	json = report_to_json(&r);
	assert_non_null(json);
	report_free(&r);
	return json;
}

/* Refuses json, with a line of the source's name and then wanted; deletes it. */
static void refused_json(cJSON *json, const char *wanted)
{
	struct err err = { "" };
	struct report r;
	char line[256];

	snprintf(line, sizeof(line), "A.json: %s", wanted);
	assert_int_equal(report_from_json(json, "A.json", &r, &err), -EINVAL);
	if (strncmp(err.text, line, strlen(line)))
		fail_msg("not '%s': %s", line, err.text);
	assert_null(r.total.reasons);
	cJSON_Delete(json);
}

/* Another program may have written them. */
static void test_names_are_plain_when_read(void **state)
{
	cJSON *json = sample_json();
	struct report r;
	struct err err;

	(void)state;
	cJSON_SetValuestring(at(json, "profile.hot.0.function"), "a\x1b[2J\xff");
	assert_int_equal(report_from_json(json, "x", &r, &err), 0);
	assert_string_equal(r.profile.hot[0].function, "a?[2J?");
	report_free(&r);
	cJSON_Delete(json);
	/* What is refused is named in a line of its own. */
	json = sample_json();
	cJSON_AddNumberToObject(at(json, "kvm.vcpu"), "a\n\x1b\xff", -1);
	refused_json(json, "kvm.vcpu.a???: must be a whole number");
}

/* --- files that are none -------------------------------------------------------------- */

/* path is refused, with one line that starts with it and has wanted in it. */
static void refused(const char *path, const char *wanted)
{
	struct err err = { "" };
	struct report r;

	memset(&r, 0xa5, sizeof(r));
	assert_true(report_load(path, &r, &err) < 0);
	if (strncmp(err.text, path, strlen(path)) || !strstr(err.text, wanted) ||
	    strchr(err.text, '\n'))
		fail_msg("not about '%s': %s", wanted, err.text);
	assert_null(r.cpus);
	assert_null(r.total.sites);
}

static void refused_text(const char *text, const char *wanted)
{
	char path[] = "/tmp/test_report.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(util_write_all(fd, text, strlen(text)), 0);
	close(fd);
	refused(path, wanted);
	unlink(path);
}

static void test_bad_files(void **state)
{
	char path[] = "/tmp/test_report.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	refused("/nonexistent/a.json", "No such file");
	refused("/tmp", "a folder");
	refused_text("", "empty");
	refused_text(" \n\t", "empty");
	refused_text("hello", "not JSON");
	refused_text("{\n\n\"version\": 2,\n x", "line 4: not JSON");
	refused_text("{\"version\": 2} {}", "not JSON");
	refused_text("[]", "no exit report");
	refused_text("3", "no exit report");
	refused_text("{}", "no exit report");
	refused_text("{\"version\": \"2\"}", "no exit report");
	refused_text("{\"version\": 1}", "version 1 of the exit report, from an older bantam");
	refused_text("{\"version\": 3}", "version 3");
	refused_text("{\"version\": 2.5}", "version 2.5");
	refused_text("{\"version\": 2}", "name: missing");
	/* Sparse: one byte more than is read. */
	assert_int_equal(ftruncate(fd, (256 << 20) + 1), 0);
	close(fd);
	refused(path, "too big");
	unlink(path);
}

/* --- values that are wrong -------------------------------------------------------------- */

/* The member of that name in the object at path becomes what text says. */
static void refused_value(const char *path, const char *name, const char *text, const char *wanted)
{
	cJSON *json = sample_json(), *value = cJSON_Parse(text);

	assert_non_null(value);
	assert_true(cJSON_ReplaceItemInObjectCaseSensitive(at(json, path), name, value));
	refused_json(json, wanted);
}

static void refused_without(const char *path, const char *name, const char *wanted)
{
	cJSON *json = sample_json();

	cJSON_DeleteItemFromObjectCaseSensitive(at(json, path), name);
	refused_json(json, wanted);
}

static void test_wrong_numbers(void **state)
{
	static const char *const wrong[] = {
		"-1", "0.5", "1e300", "18446744073709551615", "\"7\"", "null", "true", "[]", "{}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		refused_value("", "wall_ns", wrong[i], "wall_ns: must be a whole number");
		refused_value("total.reasons.io-out", "p99_ns", wrong[i],
			      "total.reasons.io-out.p99_ns: must be a whole number");
		refused_value("cpus.1.ports.0", "accesses", wrong[i],
			      "cpus[1].ports[0].accesses: must be a whole number");
		refused_value("kvm.vcpu", "io_exits", wrong[i],
			      "kvm.vcpu.io_exits: must be a whole number");
		refused_value("stages.1", "max_ns", wrong[i],
			      "stages[1].max_ns: must be a whole number");
		refused_value("profile.hot.2", "count", wrong[i],
			      "profile.hot[2].count: must be a whole number");
	}
}

static void test_wrong_addresses(void **state)
{
	static const char *const wrong[] = {
		"12",       "\"\"",     "\"0x\"",   "\"12\"",   "\"0xg\"",
		"\"0x-1\"", "\"0x1 \"", "\" 0x1\"", "\"-0x1\"", "\"0x10000000000000000\"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		refused_value("total.mmio.0", "address", wrong[i],
			      "total.mmio[0].address: must be a string such as \"0xcf8\"");
		refused_value("profile.hot.0", "rip", wrong[i],
			      "profile.hot[0].rip: must be a string");
	}
}

static void test_wrong_words(void **state)
{
	(void)state;
	refused_value("", "running", "1", "running: must be true or false");
	refused_value("profile", "on", "\"yes\"", "profile.on: must be true or false");
	refused_value("total.ports.0", "direction", "\"read\"",
		      "total.ports[0].direction: must be \"in\" or \"out\"");
	refused_value("total.mmio.0", "direction", "\"in\"",
		      "total.mmio[0].direction: must be \"read\" or \"write\"");
	refused_value("total.mmio.0", "direction", "7", "total.mmio[0].direction: must be");
	refused_value("total.ports.0", "width", "3", "total.ports[0].width: must be 1, 2, 4 or 8");
	refused_value("total.ports.0", "width", "16", "total.ports[0].width: must be");
	refused_value("total.ports.0", "width", "4294967297", "total.ports[0].width: must be");
	refused_value("profile.hot.1", "caller_kind", "\"maybe\"",
		      "profile.hot[1].caller_kind: must be \"none\", \"guess\" or \"exact\"");
	refused_value("", "name", "5", "name: must be a string of at most 63 bytes");
}

static void test_long_strings(void **state)
{
	cJSON *json = sample_json(), *reason;
	char text[256];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[0] = '"';
	/* The longest that fits: 31 bytes. */
	strcpy(text + 32, "\"");
	cJSON_ReplaceItemInObjectCaseSensitive(at(json, "total.ports.0"), "device",
					       cJSON_Parse(text));
	{
		struct err err;
		struct report r;

		assert_int_equal(report_from_json(json, "A.json", &r, &err), 0);
		assert_int_equal(strlen(r.total.sites[0].device), 31);
		report_free(&r);
	}
	cJSON_Delete(json);
	text[32] = 'x';
	strcpy(text + 33, "\"");
	refused_value("total.ports.0", "device", text,
		      "total.ports[0].device: must be a string of at most 31 bytes");
	memset(text + 1, 'y', sizeof(text) - 1);
	strcpy(text + 129, "\"");
	refused_value("profile.hot.3", "caller", text,
		      "profile.hot[3].caller: must be a string of at most 127 bytes");
	/* Keys are names, too. */
	json = sample_json();
	text[129] = '\0';
	reason = cJSON_Duplicate(at(json, "total.reasons.io-out"), 1);
	cJSON_AddItemToObject(at(json, "total.reasons"), text + 1, reason);
	refused_json(json, "total.reasons.yyyyyyyy");
}

static void test_wrong_shapes(void **state)
{
	static const char *const objects[] = { "total", "kvm", "profile" };
	static const char *const arrays[] = { "cpus", "stages" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		refused_value("", objects[i], "[]", objects[i]);
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		refused_value("", arrays[i], "{}", arrays[i]);
	refused_value("", "cpus", "[[]]", "cpus[0]: must be an object");
	refused_value("", "cpus", "[{}]", "cpus[0].ports: missing");
	refused_value("cpus.1", "mmio", "7", "cpus[1].mmio: must be an array");
	refused_value("total", "ports", "[{}, 7]", "total.ports[1]: must be an object");
	refused_value("total", "reasons", "{\"io-in\": 7}",
		      "total.reasons.io-in: must be an object");
	refused_value("kvm", "vm", "3", "kvm.vm: must be an object");
	refused_value("profile", "hot", "{}", "profile.hot: must be an array");
	refused_without("", "total", "total: missing");
	refused_without("", "stages", "stages: missing");
	refused_without("total", "reasons", "total.reasons: missing");
	refused_without("cpus.0.ports.1", "direction", "cpus[0].ports[1].direction: must be");
	refused_without("profile.hot.4", "offset", "profile.hot[4].offset: missing");
}

/* The array at path grows to n elements. */
static void refused_many(const char *path, size_t n, const char *wanted)
{
	cJSON *json = sample_json(), *array = at(json, path);
	cJSON *element = cJSON_GetArrayItem(array, 0);

	for (size_t i = (size_t)cJSON_GetArraySize(array); i < n; i++)
		cJSON_AddItemToArray(array, cJSON_Duplicate(element, 0));
	refused_json(json, wanted);
}

static void test_too_many(void **state)
{
	cJSON *json = sample_json();

	(void)state;
	refused_many("cpus", 256, "cpus: must have at most 255 elements, not 256");
	refused_many("cpus.1.ports", 65537, "cpus[1].ports: must have at most 65536 elements");
	refused_many("stages", 4097, "stages: must have at most 4096 elements");
	refused_many("profile.hot", (1 << 20) + 1,
		     "profile.hot: must have at most 1048576 elements");
	for (unsigned i = 0; i < 257; i++) {
		char name[16];

		snprintf(name, sizeof(name), "r%u", i);
		cJSON_AddItemToObject(at(json, "total.reasons"), name, cJSON_CreateObject());
	}
	refused_json(json, "total.reasons: has more members than there are reasons");
}

static void test_unknown_members_are_left_alone(void **state)
{
	cJSON *json = sample_json();
	struct report r, want;
	struct err err;

	(void)state;
	cJSON_AddStringToObject(json, "comment", "before the patch");
	cJSON_AddNumberToObject(at(json, "total.ports.0"), "colour", 3);
	report_sample(&want);
	assert_int_equal(report_from_json(json, "A.json", &r, &err), 0);
	same_report(&want, &r);
	report_free(&r);
	report_free(&want);
	cJSON_Delete(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_round_trip_of_little),
		cmocka_unit_test(test_round_trip_without_text),
		cmocka_unit_test(test_large_numbers),
		cmocka_unit_test(test_names_become_plain),
		cmocka_unit_test(test_names_are_plain_when_read),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_wrong_numbers),
		cmocka_unit_test(test_wrong_addresses),
		cmocka_unit_test(test_wrong_words),
		cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_wrong_shapes),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_unknown_members_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
