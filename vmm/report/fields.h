/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of a report, version 2 (docs/exits.md, docs/exits.schema.json): what is the
 * same in writing (report_json.c) and in reading (report_read.c).
 *
 * Numbers are written with all their digits, but who reads them often has doubles (cJSON has):
 * counts and times are exact up to 2^53 and rounded to 53 bits above. Addresses need all
 * their bits and are strings.
 */
#ifndef VMM_REPORT_FIELDS_H
#define VMM_REPORT_FIELDS_H

#include "vmm/report/report.h"

#define REPORT_VERSION 2

/* The largest number of 64 bits that is a double as well; written for all above. */
#define REPORT_NUMBER_MAX 18446744073709549568ull

enum field_kind {
	FIELD_NUMBER, /* uint64_t */
	FIELD_NUMBER_OR_NONE, /* the same; 0 where it is absent, as in older reports */
	FIELD_WIDTH, /* unsigned: 0, 1, 2, 4 or 8 */
	FIELD_ADDRESS, /* uint64_t, as a hexadecimal string */
	FIELD_BOOL,
	FIELD_STRING, /* char[] */
	FIELD_CALLER, /* enum report_caller, as a word */
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
	size_t size;
};

struct fields {
	const struct field *list;
	size_t nr;
};

/* Of the struct that the name says; a reason's are those of its struct report_time. */
extern const struct fields report_fields;
extern const struct fields reason_fields;
extern const struct fields site_fields;
extern const struct fields cpu_fields;
extern const struct fields kvm_fields;
extern const struct fields stage_fields;
extern const struct fields profile_fields;
extern const struct fields hot_fields;
extern const struct fields ahead_fields;
extern const struct fields ahead_site_fields;

/* The words for enum report_caller. */
extern const char *const report_caller_kinds[REPORT_CALLER_EXACT + 1];

#endif
