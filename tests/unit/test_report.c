/* SPDX-License-Identifier: MIT */
/* Reports: sums, names, what happened between two of them, and what a person sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/report_sample.h"

/* --- sums and names --------------------------------------------------------------------- */

static void test_sums(void **state)
{
	struct report r;

	(void)state;
	report_sample(&r);
	assert_int_equal(report_exits(&r.total), 1702);
	assert_int_equal(report_user_ns(&r.total), 7600000);
	assert_int_equal(report_exits(&r.cpus[1]), 302);
	assert_int_equal(report_reason(&r.total, "io-out")->time.count, 900);
	assert_null(report_reason(&r.total, "io"));
	assert_int_equal(report_counter(&r.kvm_vcpu, "halt_exits"), 3100);
	assert_int_equal(report_counter(&r.kvm_vcpu, "pages_4k"), 0);
	/* More than fits is as much as fits. */
	r.total.reasons[0].time.count = UINT64_MAX - 1;
	assert_true(report_exits(&r.total) == UINT64_MAX);
	report_free(&r);
	assert_null(r.total.reasons);
	report_free(&r);
}

static void test_site_names(void **state)
{
	static const struct {
		struct report_site site;
		const char *name;
	} names[] = {
		{ { .addr = 0x3f8, .width = 1, .device = "uart0", .reg = "thr" }, "uart0.thr" },
		{ { .addr = 0x3f8, .width = 1, .device = "uart0" }, "uart0" },
		{ { .addr = 0x1230, .width = 1 }, "port 0x1230" },
		{ { .mmio = true, .addr = 0xfee00000, .width = 4 }, "0xfee00000" },
		{ { .width = 0 }, "other ports" },
		{ { .mmio = true }, "other addresses" },
		{ { .width = 1, .device = "a\x1b", .reg = "\xc3\xa9" }, "a?.??" },
	};
	char buf[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_string_equal(report_site_name(&names[i].site, buf, sizeof(buf)),
				    names[i].name);
	assert_string_equal(report_site_name(&names[0].site, buf, 6), "uart0");
}

/* --- between two reports ------------------------------------------------------------------ */

static const struct report_site *site_at(const struct report_cpu *cpu, uint64_t addr)
{
	for (size_t i = 0; i < cpu->nr_sites; i++)
		if (cpu->sites[i].addr == addr)
			return &cpu->sites[i];
	return NULL;
}

static void test_delta_of_none(void **state)
{
	struct report r, d;

	(void)state;
	report_sample(&r);
	assert_int_equal(report_delta(&r, &r, &d), 0);
	assert_int_equal(d.wall_ns, 0);
	assert_int_equal(d.nr_cpus, 2);
	assert_int_equal(d.total.nr_reasons, 0);
	assert_int_equal(d.total.nr_sites, 0);
	assert_int_equal(d.cpus[0].run_ns, 0);
	assert_int_equal(d.nr_stages, 0);
	assert_int_equal(d.profile.nr_hot, 0);
	assert_int_equal(d.profile.lost, 0);
	assert_int_equal(d.doorbells, 0);
	assert_int_equal(d.ahead.avoided, 0);
	assert_int_equal(d.ahead.nr_sites, 0);
	assert_true(d.ahead.present && d.ahead.on);
	/* What is so now stays: levels, states and names. */
	assert_int_equal(report_counter(&d.kvm_vcpu, "exits"), 0);
	assert_int_equal(report_counter(&d.kvm_vm, "pages_4k"), 4096);
	assert_true(d.profile.present && d.profile.on && d.has_kvm && d.running);
	assert_string_equal(d.name, "sample");
	assert_string_equal(d.profile.symbols, r.profile.symbols);
	report_free(&d);
	report_free(&r);
}

static void test_delta(void **state)
{
	struct report a, b, d;
	const struct report_site *site;
	struct report_site first;

	(void)state;
	report_sample(&a);
	report_sample(&b);
	/* Rows have no order. */
	first = a.total.sites[0];
	a.total.sites[0] = a.total.sites[2];
	a.total.sites[2] = first;
	b.wall_ns += 250;
	b.total.run_ns += 100;
	b.cpus[1].run_ns += 30;
	b.total.reasons[1].time.count += 7;
	b.total.reasons[1].time.total_ns += 70;
	b.total.reasons[1].time.p99_ns = 12345;
	b.total.sites[2].count += 5;
	b.total.sites[2].accesses += 6;
	b.total.sites[2].total_ns += 50;
	b.kvm_vcpu.list[1].value += 9;
	b.kernel_io += 2;
	b.posted += 3;
	b.stages[1].time.count += 3;
	b.profile.lost += 4;
	b.profile.hot[1].count += 5;
	b.profile.hot[1].total_ns += 55;
	b.ahead.avoided += 11;
	b.ahead.end_bound += 2;
	b.ahead.sites[1].avoided += 11;
	assert_int_equal(report_delta(&a, &b, &d), 0);
	assert_int_equal(d.wall_ns, 250);
	assert_int_equal(d.total.run_ns, 100);
	assert_int_equal(d.cpus[1].run_ns, 30);
	assert_int_equal(d.total.nr_reasons, 1);
	assert_string_equal(d.total.reasons[0].name, "io-out");
	assert_int_equal(d.total.reasons[0].time.count, 7);
	assert_int_equal(d.total.reasons[0].time.total_ns, 70);
	assert_int_equal(d.total.reasons[0].time.p99_ns, 12345);
	assert_int_equal(d.total.nr_sites, 1);
	site = site_at(&d.total, 0x3f8);
	assert_non_null(site);
	assert_int_equal(site->count, 5);
	assert_int_equal(site->accesses, 6);
	assert_int_equal(site->total_ns, 50);
	assert_string_equal(site->reg, "thr");
	assert_int_equal(report_counter(&d.kvm_vcpu, "io_exits"), 9);
	assert_int_equal(d.kernel_io, 2);
	assert_int_equal(d.posted, 3);
	assert_int_equal(d.nr_stages, 1);
	assert_int_equal(d.stages[0].time.count, 3);
	assert_int_equal(d.profile.lost, 4);
	assert_int_equal(d.profile.nr_hot, 1);
	assert_int_equal(d.profile.hot[0].count, 5);
	assert_int_equal(d.profile.hot[0].total_ns, 55);
	assert_int_equal(d.ahead.avoided, 11);
	assert_int_equal(d.ahead.end_bound, 2);
	assert_int_equal(d.ahead.nr_sites, 1);
	assert_int_equal(d.ahead.sites[0].avoided, 11);
	assert_int_equal(d.ahead.sites[0].exits, 0);
	report_free(&a);
	report_free(&b);
	report_free(&d);
}

/* One address, but another direction, width or space: another site. New ones count in full. */
static void test_delta_tells_sites_apart(void **state)
{
	struct report a, b, d;

	(void)state;
	report_sample(&a);
	report_sample(&b);
	a.total.sites[0].write = false;
	a.total.sites[1].width = 4;
	a.total.sites[2].mmio = true;
	a.profile.hot[0].caller_rip++;
	assert_int_equal(report_delta(&a, &b, &d), 0);
	assert_int_equal(d.total.nr_sites, 3);
	assert_int_equal(site_at(&d.total, 0x80)->count, 100);
	assert_int_equal(site_at(&d.total, 0x1f0)->count, 300);
	assert_int_equal(site_at(&d.total, 0x3f8)->count, 800);
	assert_int_equal(d.profile.nr_hot, 1);
	assert_int_equal(d.profile.hot[0].count, 480);
	report_free(&d);
	/* From nothing at all. */
	report_free(&a);
	assert_int_equal(report_delta(&a, &b, &d), 0);
	assert_int_equal(report_exits(&d.total), 1702);
	assert_int_equal(report_exits(&d.cpus[1]), 302);
	assert_int_equal(d.profile.nr_hot, b.profile.nr_hot);
	report_free(&d);
	/* Counters that went back are no negative numbers. */
	assert_int_equal(report_delta(&b, &a, &d), 0);
	assert_int_equal(d.wall_ns, 0);
	report_free(&d);
	report_free(&b);
}

/* --- tables --------------------------------------------------------------------------------- */

/* The first line of text with words that begin like those of line, in that order; NULL: none. */
static const char *line_with(const char *text, const char *line)
{
	for (; *text; text += strcspn(text, "\n") + 1) {
		const char *at = text, *end = text + strcspn(text, "\n"), *word = line;

		while (*word) {
			size_t len = strcspn(word, " ");

			while (at + len <= end &&
			       (strncmp(at, word, len) || (at > text && at[-1] != ' ')))
				at++;
			if (at + len > end)
				break;
			at += len;
			word += len + strspn(word + len, " ");
		}
		if (!*word)
			return text;
		if (!*end)
			break;
	}
	return NULL;
}

static void has_line(const char *text, const char *line)
{
	if (!line_with(text, line))
		fail_msg("no line of '%s' in:\n%s", line, text);
}

static void in_order(const char *text, const char *first, const char *second)
{
	has_line(text, first);
	has_line(text, second);
	assert_true(line_with(text, first) < line_with(text, second));
}

static void fits_100_columns(const char *text)
{
	for (; *text; text += strcspn(text, "\n") + 1)
		if (strcspn(text, "\n") > 100)
			fail_msg("too long: %.*s", (int)strcspn(text, "\n"), text);
}

static void test_table(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	text = report_text(report_print, &r);
	has_line(text,
		 "4500.000 ms in the guest and KVM, 7.600 ms in bantam, 4.47 us an exit, 340 a");
	has_line(text, "sample 1702 exits to user space in 5.000 s on 2 CPUs");
	in_order(text, "io-out 900 4.500 5.00 4.00 9.00 60.0 59.2%", "mmio-write 500 1.500 3.00");
	in_order(text, "uart0.thr out 8 0x3f8 800 4.000 5.00 52.6%",
		 "ide0 in 16 0x1f0 300 76800 0.900");
	has_line(text, "port 0x80 out 8 0x80 100");
	has_line(text, "ports: 1200 exits by register = 1200 by reason; KVM saw 1260, of which it "
		       "served 60 alone");
	has_line(text, "memory: 500 exits by register = 500 by reason; KVM saw 503, of which it "
		       "served 3 alone");
	has_line(text, "doorbells: 55");
	has_line(text, "posted: 5 port writes were kept back");
	has_line(text, "1 302 1.600 1500.000");
	has_line(text, "exits 25000 io_exits 1260 mmio_exits 503");
	has_line(text, "lookahead: 4200 exits avoided in 700 runs, 60.0 instructions and 3.00 us");
	has_line(text, "ended: 600 as expected, 50 unknown code, 30 left to the CPU, 15 "
		       "interrupts, 5 bounds");
	has_line(text, "it did not pay and was turned off 1 times, and is now on");
	in_order(text, "ide0.sector-count out 800 650 4000 83.3% ata_sff_tf_load+0x42",
		 "port 0x80 in 100 50 200 66.7% 0xffffffff81000010");
	has_line(text, "virtio-blk0 total 1000 95.00 91.00 180.00 990.0");
	has_line(text,
		 "750 3.75 56.5 59.0 serial8250_console_putchar out uart0.thr uart_console_write?");
	has_line(text, "480 1.44 vp_notify [virtio_pci] write virtio-blk0.notify virtqueue_notify");
	has_line(text, "a guess");
	assert_null(strstr(text, "virtqueue_notify?"));
	fits_100_columns(text);
	free(text);
	report_free(&r);
}

static void test_table_says_when_sums_differ(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	r.total.sites[3].count--;
	r.has_kvm = false;
	text = report_text(report_print, &r);
	has_line(text, "memory: 499 exits by register != 500 by reason");
	assert_null(strstr(text, "KVM saw"));
	assert_null(strstr(text, "KVM's own"));
	free(text);
	report_free(&r);
}

static void test_table_of_nothing(void **state)
{
	struct report r = { .nr_cpus = 0 };
	char *text = report_text(report_print, &r);

	(void)state;
	has_line(text, "0 exits to user space");
	assert_null(strstr(text, "nan"));
	assert_null(strstr(text, "inf"));
	free(text);
}

static void test_table_of_many_sites(void **state)
{
	struct report r = { .nr_cpus = 1 };
	struct report_site *sites = calloc(45, sizeof(*sites));
	char *text;

	(void)state;
	assert_non_null(sites);
	for (unsigned i = 0; i < 45; i++)
		sites[i] = (struct report_site){ .addr = 0x1000 + i,
						 .width = 1,
						 .count = i + 1,
						 .accesses = i + 1,
						 .total_ns = 1000 + i };
	r.total.sites = sites;
	r.total.nr_sites = 45;
	text = report_text(report_print, &r);
	in_order(text, "port 0x102c", "port 0x1005");
	assert_null(strstr(text, "0x1004"));
	has_line(text, "5 more: 15 exits, 0.005 ms");
	free(text);
	free(sites);
}

static void hot_of_two(const struct report *r, FILE *out)
{
	report_print_hot(r, out, 2);
}

static void test_hot(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	text = report_text(hot_of_two, &r);
	in_order(text, "serial8250_console_putchar", "vp_notify");
	has_line(text, "2 more");
	has_line(text, "lost: 5 exits");
	has_line(text, "names from the guest's own kallsyms");
	free(text);
	/* Without a guess there is nothing to explain. */
	for (size_t i = 0; i < r.profile.nr_hot; i++)
		r.profile.hot[i].caller_kind = REPORT_CALLER_EXACT;
	text = report_text(hot_of_two, &r);
	assert_null(strstr(text, "guess"));
	free(text);
	r.profile.nr_hot = 0;
	text = report_text(hot_of_two, &r);
	has_line(text, "an empty profile");
	free(text);
	r.profile.present = false;
	text = report_text(hot_of_two, &r);
	has_line(text, "no profile");
	free(text);
	report_free(&r);
}

/* --- two runs ------------------------------------------------------------------------------- */

static void diff(const struct report *r, FILE *out)
{
	struct report b;

	report_sample(&b);
	b.wall_ns *= 2;
	b.total.reasons[1].time.count = 90;
	b.total.reasons[1].time.total_ns = 450000;
	strcpy(b.total.reasons[3].name, "hlt");
	/* The same register in another slot of the bus. */
	b.total.sites[3].addr = 0xc0005000;
	b.total.sites[3].count = 1000;
	strcpy(b.stages[0].disk, "ide0");
	strcpy(b.stages[1].disk, "ide0");
	b.stages[1].time.total_ns = 47500000;
	b.profile.hot[0].count = 48;
	report_print_diff(r, "a.json", &b, "b\n.json", out);
	report_free(&b);
}

static void test_diff(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	text = report_text(diff, &r);
	has_line(text, "A: a.json (sample, 5.000 s on 2 CPUs)");
	has_line(text, "B: b?.json (sample, 10.000 s");
	has_line(text, "exits to user space 1702 892 0.52");
	has_line(text, "exits per second 340 89 0.26");
	in_order(text, "io-out 900 90 0.10 4.500 0.450 0.10", "io-in 300 300 1.00");
	has_line(text, "signal 2 gone 0.700 gone");
	has_line(text, "hlt 2 new 0.700 new");
	has_line(text, "io-out 4.00 4.00 1.00 9.00 9.00 1.00");
	has_line(text, "virtio-blk0.notify write 16 500 1000 2.00");
	has_line(text, "halt_exits 3100 3100 1.00");
	/* One disk each: it does not matter what it is called. */
	has_line(text, "total 95.00 47.50 0.50 180.00");
	has_line(text, "vp_notify [virtio_pci] 480 48 0.10");
	fits_100_columns(text);
	free(text);
	r.profile.present = false;
	text = report_text(diff, &r);
	assert_null(strstr(text, "hot function"));
	free(text);
	report_free(&r);
}

/* --- flame graphs ---------------------------------------------------------------------------- */

static void folded_by_count(const struct report *r, FILE *out)
{
	assert_int_equal(report_print_folded(r, REPORT_BY_COUNT, out), 0);
}

static void folded_by_time(const struct report *r, FILE *out)
{
	assert_int_equal(report_print_folded(r, REPORT_BY_TIME, out), 0);
}

static void svg_by_time(const struct report *r, FILE *out)
{
	assert_int_equal(report_print_svg(r, REPORT_BY_TIME, out), 0);
}

static void test_folded(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	text = report_text(folded_by_count, &r);
	assert_string_equal(
		text,
		"(lost) 5\n"
		"(nobody);port 0x80;(unknown 0xffffffff81000010);(unknown 0xffffffff81000999)? 90\n"
		"signal;(unknown 0x7ffe12345678) 2\n"
		"uart0;thr;serial8250_console_putchar;uart_console_write? 750\n"
		"virtio-blk0;notify;vp_notify;virtqueue_notify 480\n");
	free(text);
	/* What took no time has no width; a name cannot look like two. */
	r.profile.lost_ns = 0;
	strcpy(r.profile.hot[0].function, "a;b c\n\xff");
	r.profile.hot[0].reg[0] = '\0';
	text = report_text(folded_by_time, &r);
	assert_null(strstr(text, "(lost)"));
	assert_non_null(
		strstr(text, "\nvirtio-blk0;(no register);a_b_c??;virtqueue_notify 1440000\n"));
	free(text);
	report_free(&r);
}

static void test_folded_without_profile(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	r.profile.nr_hot = 0;
	text = report_text(folded_by_count, &r);
	assert_string_equal(text, "(nobody);port 0x80 100\n"
				  "ide0;(no register) 300\n"
				  "signal 2\n"
				  "uart0;thr 800\n"
				  "virtio-blk0;notify 500\n");
	free(text);
	report_free(&r);
}

/*
 * Well-formed, as far as this output goes: every tag closed in its place, no bare '&' or '<', the
 * script in a CDATA section.
 */
static void well_formed(const char *text)
{
	char open[16][16];
	unsigned depth = 0;

	for (const char *p = strstr(text, "<svg"); *p; p++) {
		const char *end;
		size_t len;

		if (!strncmp(p, "<![CDATA[", 9))
			p = strstr(p, "]]>") + 3;
		if (*p == '&' && strncmp(p, "&amp;", 5) && strncmp(p, "&lt;", 4) &&
		    strncmp(p, "&gt;", 4))
			fail_msg("a bare &: %.40s", p);
		if (*p != '<')
			continue;
		end = strchr(p, '>');
		assert_non_null(end);
		if (p[1] == '/') {
			len = strcspn(p + 2, " >");
			assert_true(depth-- > 0);
			assert_true(strlen(open[depth]) == len &&
				    !strncmp(p + 2, open[depth], len));
			continue;
		}
		len = strcspn(p + 1, " />");
		assert_true(len > 0 && len < sizeof(open[0]) && depth < ARRAY_SIZE(open));
		if (end[-1] == '/')
			continue;
		memcpy(open[depth], p + 1, len);
		open[depth++][len] = '\0';
	}
	assert_int_equal(depth, 0);
}

static void test_svg(void **state)
{
	struct report r;
	char *text;

	(void)state;
	report_sample(&r);
	text = report_text(svg_by_time, &r);
	well_formed(text);
	has_line(text, "class=\"f\"><title>serial8250_console_putchar");
	has_line(text, "750 exits (56.5%)");
	has_line(text, "3.750 ms (59.0%)</title> x=\"227.");
	free(text);
	/* Names come from the guest. */
	strcpy(r.profile.hot[0].function, "</title><script>&\"'\x01\xff]]>");
	strcpy(r.profile.hot[1].device, "<!--");
	strcpy(r.name, "]]><&");
	text = report_text(svg_by_time, &r);
	well_formed(text);
	has_line(text, "class=\"f\"><title>&lt;/title&gt;&lt;script&gt;&amp;\"'??]]&gt;");
	free(text);
	report_free(&r);
}

/* A thousand functions that cannot be seen are not in the file. */
static void test_svg_leaves_out_what_is_too_narrow(void **state)
{
	struct report r;
	struct report_hot *hot = calloc(1001, sizeof(*hot));
	char *text;

	(void)state;
	assert_non_null(hot);
	report_sample(&r);
	free(r.profile.hot);
	r.profile.hot = hot;
	r.profile.nr_hot = 1001;
	for (unsigned i = 0; i < 1001; i++) {
		hot[i] = (struct report_hot){ .rip = i, .count = 1, .total_ns = 1 };
		snprintf(hot[i].function, sizeof(hot[i].function), "narrow%u", i);
		strcpy(hot[i].reason, "hlt");
	}
	hot[1000].total_ns = 1000000000;
	text = report_text(svg_by_time, &r);
	well_formed(text);
	assert_null(strstr(text, "narrow999"));
	assert_non_null(strstr(text, "narrow1000"));
	free(text);
	report_free(&r);
}

/* Nothing at all, and exits that took no time. */
static void test_svg_of_nothing(void **state)
{
	struct report_reason idle = { .name = "hlt", .time.count = 3 };
	struct report r = { .total = { .reasons = &idle } };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		char *text;

		r.total.nr_reasons = i;
		text = report_text(svg_by_time, &r);
		well_formed(text);
		has_line(text, "class=\"f\"><title>all");
		assert_null(strstr(text, "nan"));
		assert_null(strstr(text, "inf\""));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_site_names),
		cmocka_unit_test(test_delta_of_none),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_delta_tells_sites_apart),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_says_when_sums_differ),
		cmocka_unit_test(test_table_of_nothing),
		cmocka_unit_test(test_table_of_many_sites),
		cmocka_unit_test(test_hot),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_folded),
		cmocka_unit_test(test_folded_without_profile),
		cmocka_unit_test(test_svg),
		cmocka_unit_test(test_svg_leaves_out_what_is_too_narrow),
		cmocka_unit_test(test_svg_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
