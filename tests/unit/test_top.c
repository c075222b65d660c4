/* SPDX-License-Identifier: MIT */
/* bantam top: what it shows of a report in any room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/top_rig.h"
#include "vmm/top_view.h"

static const struct top_view plain = { .sort = TOP_BY_TIME, .interval_ms = 1000 };

static void render(const struct top_view *v, const struct report *r, unsigned rows, unsigned cols,
		   struct top_page *p)
{
	assert_int_equal(top_view_render(v, r, r, rows, cols, p), 0);
}

static void check_page(const struct top_page *p, unsigned rows, unsigned cols)
{
	if (rows)
		assert_true(p->nr <= rows);
	for (size_t i = 0; i < p->nr; i++) {
		const char *text = p->lines[i].text;

		assert_true(strlen(text) <= cols);
		for (; *text; text++)
			assert_true(*text >= ' ' && *text <= '~');
	}
}

/* The line that begins with text; fails where there is none. */
static size_t find_line(const struct top_page *p, const char *text)
{
	for (size_t i = 0; i < p->nr; i++)
		if (!strncmp(p->lines[i].text, text, strlen(text)))
			return i;
	print_error("no line begins with \"%s\"\n", text);
	for (size_t i = 0; i < p->nr; i++)
		print_error("%s\n", p->lines[i].text);
	fail();
	return 0;
}

static void expect_page(const struct top_page *p, const char *const *want, size_t nr)
{
	for (size_t i = 0; i < p->nr && i < nr; i++)
		assert_string_equal(p->lines[i].text, want[i]);
	assert_int_equal(p->nr, nr);
}

static void test_screen(void **state)
{
	static const char *const want[] = {
		"vm  up 0:00:02  2 CPUs  by time  every 1s",
		"1205 exits/s  bantam 0.30%  guest and KVM 99.7%  mean 4.99us",
		"bantam      cpu0 0.60%  cpu1 0.60%",
		"KVM alone   ports 50.0/s  memory 0.0/s  doorbells 45.0/s  halts 12.0/s",
		"            interrupts 300/s  all exits 25000/s",
		"reason                      exits/s % time      mean       p50       p99",
		"mmio-write                      200  0.20%   20.00us     900ns   12.00us",
		"io-out                         1000  0.10%    2.00us     900ns   12.00us",
		"io-in                           5.0  0.00%    3.00us     900ns   12.00us",
		"register                         access      exits/s % time      mean accesses/s",
		"virtio-blk0.notify               write 32        200  0.20%   20.00us        400",
		"uart0.thr                        out 8          1000  0.10%    2.00us       1999",
		"uart0.lsr                        in 8            5.0  0.00%    3.00us       10.0",
		"port 0x80                        out 8           0.5  0.00%    1.00us        1.0",
		"other addresses                  read            1.5  0.00%      10ns        3.0",
		"function <- caller                                      exits/s % time      mean",
		"vp_notify [virtio_pci] <- virtqueue_notify?                 200  0.20%   20.00us",
		"io_serial_out <- serial8250_console_putchar                1000  0.10%    2.00us",
		"0xffffffff81000020 <- -                                     0.5  0.00%    1.00us",
		"evil?[2J??name <- 0xffffffff81234567                        0.5  0.00%     999ns",
		"",
		"",
		"",
		"q quit  s sort  r reverse  p profile  c counts  h help",
	};
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	top_rig_report(&r, 2);
	render(&plain, &r, 24, 80, &p);
	expect_page(&p, want, ARRAY_SIZE(want));
	top_page_free(&p);
	report_free(&r);
}

/* The tables share what there is; what does not fit is cut, and says so. */
static void test_small_screen(void **state)
{
	static const char *const want[] = {
		"vm  up 0:00:02  4 CPUs  by time  every 1",
		"1205 exits/s  bantam 0.15%  guest and KV",
		"bantam      cpu0 0.60%  cpu1 0.60%  ...",
		"KVM alone   ports 50.0/s  ...",
		"reason                    exits/s % time",
		"mmio-write                    200  0.10%",
		"io-out                       1000  0.05%",
		"register             access      exits/s",
		"virtio-blk0.notify   write 32        200",
		"q quit  s sort  r reverse  p profile  c",
	};
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	top_rig_report(&r, 4);
	render(&plain, &r, 10, 40, &p);
	expect_page(&p, want, ARRAY_SIZE(want));
	render(&plain, &r, 14, 40, &p);
	find_line(&p, "vp_notify [virtio_pci~        200  0.10%");
	render(&plain, &r, 9, 40, &p);
	assert_int_equal(find_line(&p, "needs 40x10"), 0);
	render(&plain, &r, 10, 39, &p);
	assert_int_equal(find_line(&p, "needs 40x10"), 0);
	top_page_free(&p);
	report_free(&r);
}

static void make_huge(struct report *r)
{
	top_rig_report(r, 2);
	memset(r->name, 0xff, sizeof(r->name) - 1);
	r->wall_ns = r->kernel_io = r->kernel_mmio = r->doorbells = UINT64_MAX;
	for (size_t i = 0; i < r->total.nr_reasons; i++) {
		struct report_reason *reason = &r->total.reasons[i];

		memset(reason->name, '\t', sizeof(reason->name) - 1);
		memset(&reason->time, 0xff, sizeof(reason->time));
	}
	for (size_t i = 0; i < r->total.nr_sites; i++) {
		struct report_site *site = &r->total.sites[i];

		memset(site->device, 0x1b, sizeof(site->device) - 1);
		memset(site->reg, 0x9b, sizeof(site->reg) - 1);
		site->addr = site->count = site->accesses = site->total_ns = UINT64_MAX;
	}
	for (size_t i = 0; i < r->profile.nr_hot; i++) {
		struct report_hot *hot = &r->profile.hot[i];

		memset(hot->function, 'f', sizeof(hot->function) - 1);
		memset(hot->module, 0x7f, sizeof(hot->module) - 1);
		memset(hot->caller, '%', sizeof(hot->caller) - 1);
		hot->count = hot->total_ns = UINT64_MAX;
	}
}

/* No room, no choice and no number makes a line too wide, a page too long, or a byte that is no text. */
static void test_any_room(void **state)
{
	struct top_page p = { 0 };
	struct report r[4];

	(void)state;
	top_rig_report(&r[0], 3);
	make_huge(&r[1]);
	make_huge(&r[2]);
	r[2].wall_ns = 1;
	memset(&r[3], 0, sizeof(r[3]));
	for (unsigned rows = 0; rows < 70; rows += 1 + rows / 30) {
		for (unsigned cols = 1; cols < 420; cols += 1 + cols / 50) {
			for (unsigned i = 0; i < 8 * ARRAY_SIZE(r); i++) {
				const struct top_view v = {
					.sort = i % TOP_NR_SORTS,
					.reverse = i & 1,
					.cumulative = i & 2,
					.help = (i & 6) == 6,
					.paused = i & 4,
					.interval_ms = 3600000,
					.note = i & 1 ? "a note\033[2J\n that is rather long"
						      : NULL,
				};

				render(&v, &r[i / 8], rows, cols, &p);
				check_page(&p, rows, cols);
				if (rows >= TOP_MIN_ROWS && cols >= TOP_MIN_COLS)
					assert_int_equal(p.nr, rows);
			}
		}
	}
	top_page_free(&p);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		report_free(&r[i]);
}

/* A number ends where its title does. */
static void check_column(const struct top_page *p, const char *title)
{
	size_t end = 0, rows = 0;

	for (size_t i = 0; i < p->nr; i++) {
		const char *text = p->lines[i].text;

		if (p->lines[i].style == TOP_HEADING) {
			assert_non_null(strstr(text, title));
			end = (size_t)(strstr(text, title) - text) + strlen(title);
		} else if (end && text[0] && p->lines[i].style == TOP_PLAIN) {
			assert_true(strlen(text) >= end);
			assert_true(text[end - 1] != ' ');
			assert_true(!text[end] || text[end] == ' ');
			rows++;
		}
	}
	assert_int_equal(rows, 3 + 5 + 3);
}

/* Columns stand under their titles, whatever is in them. */
static void test_columns(void **state)
{
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	make_huge(&r);
	for (unsigned i = 0; i < 4; i++) {
		const struct top_view v = { .cumulative = i & 1, .interval_ms = 100 };

		r.wall_ns = i & 2 ? UINT64_MAX : 1;
		render(&v, &r, 40, 130, &p);
		check_column(&p, i & 1 ? " exits" : " exits/s");
		check_column(&p, "% time");
		check_column(&p, "mean");
	}
	top_page_free(&p);
	report_free(&r);
}

struct order {
	enum top_sort sort;
	bool reverse;
	const char *want[3]; /* reasons, from the top */
};

static void expect_order(const struct report *r, const struct order *o)
{
	const struct top_view v = { .sort = o->sort, .reverse = o->reverse };
	struct top_page p = { 0 };
	size_t title;

	render(&v, r, 40, 100, &p);
	title = find_line(&p, "reason");
	for (size_t i = 0; i < 3; i++) {
		const char *want = o->want[i];

		assert_int_equal(strncmp(p.lines[title + 1 + i].text, want, strlen(want)), 0);
	}
	top_page_free(&p);
}

static void test_sorting(void **state)
{
	static const struct order orders[] = {
		{ TOP_BY_TIME, false, { "mmio-write ", "io-out ", "io-in " } },
		{ TOP_BY_TIME, true, { "io-in ", "io-out ", "mmio-write " } },
		{ TOP_BY_COUNT, false, { "io-out ", "mmio-write ", "io-in " } },
		{ TOP_BY_COUNT, true, { "io-in ", "mmio-write ", "io-out " } },
		{ TOP_BY_NAME, false, { "io-in ", "io-out ", "mmio-write " } },
		{ TOP_BY_NAME, true, { "mmio-write ", "io-out ", "io-in " } },
	};
	static const struct order equals = {
		.sort = TOP_BY_TIME,
		.want = { "io-in ", "io-out ", "mmio-write " },
	};
	struct report r;

	(void)state;
	top_rig_report(&r, 1);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		expect_order(&r, &orders[i]);
	/* Of equals the name decides. */
	for (size_t i = 0; i < r.total.nr_reasons; i++)
		r.total.reasons[i].time = (struct report_time){ .count = 1, .total_ns = 1 };
	expect_order(&r, &equals);
	report_free(&r);
}

/* Rates are of the last interval, counts of all time, and so are their shares. */
static void test_cumulative(void **state)
{
	struct top_view v = plain;
	struct top_page p = { 0 };
	struct report all, recent;

	(void)state;
	top_rig_report(&all, 1);
	top_rig_report(&recent, 1);
	all.wall_ns = 90061ull * 1000000000;
	all.total.reasons[1].time.count = 123456789;
	all.total.reasons[1].time.total_ns = all.wall_ns / 4;
	assert_int_equal(top_view_render(&v, &all, &recent, 24, 80, &p), 0);
	find_line(&p, "vm  up 1d 01:01  1 CPU  by time  every 1s");
	find_line(&p, "1205 exits/s  bantam 0.60%");
	find_line(&p, "io-out                         1000  0.20%");
	v.cumulative = true;
	v.paused = true;
	assert_int_equal(top_view_render(&v, &all, &recent, 24, 80, &p), 0);
	find_line(&p, "vm  up 1d 01:01  1 CPU  since its start  by time  every 1s  PAUSED");
	find_line(&p, "123457199 exits  bantam 25.0%");
	find_line(&p, "reason                        exits % time");
	find_line(&p, "io-out                    123456789  25.0%");
	top_page_free(&p);
	report_free(&all);
	report_free(&recent);
}

static void test_states(void **state)
{
	struct top_view v = plain;
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	top_rig_report(&r, 1);
	r.profile.nr_hot = 0;
	render(&v, &r, 24, 80, &p);
	find_line(&p, "hot functions: no exits");
	r.profile.on = false;
	render(&v, &r, 24, 80, &p);
	find_line(&p, "hot functions: the profile is off; p switches it on");
	render(&v, &r, 0, 80, &p);
	find_line(&p, "hot functions: the profile is off; bantam profile vm on switches it on");
	r.has_kvm = false;
	v.note = "vm: the machine does not answer";
	render(&v, &r, 24, 80, &p);
	find_line(&p, "KVM alone   this host's KVM has no statistics");
	assert_int_equal(find_line(&p, v.note), 23);
	v.help = true;
	v.note = NULL;
	render(&v, &r, 10, 80, &p);
	find_line(&p, "p      profile");
	assert_int_equal(find_line(&p, "q quit"), 9);
	top_page_free(&p);
	report_free(&r);
}

static void test_endless(void **state)
{
	struct top_page p = { 0 };
	struct report r;

	(void)state;
	top_rig_report(&r, 64);
	render(&plain, &r, 0, 200, &p);
	find_line(&p, "evil?[2J??name <- 0xffffffff81234567               0.5  0.00%     999ns out "
		      "uart0");
	find_line(&p, "            cpu57 0.60%");
	assert_int_equal(p.lines[p.nr - 1].style, TOP_PLAIN);
	top_page_free(&p);
	report_free(&r);
}

static void test_numbers(void **state)
{
	(void)state;
	assert_string_equal(top_number(0, 1).s, "0.0");
	assert_string_equal(top_number(99.94, 1).s, "99.9");
	assert_string_equal(top_number(100, 1).s, "100");
	assert_string_equal(top_number(999999999, 1).s, "999999999");
	assert_string_equal(top_number(1e9, 1).s, "1000.0M");
	assert_string_equal(top_number(1e12, 0).s, "1000.0G");
	assert_string_equal(top_number(1.8e19, 0).s, "18000.0P");
	assert_string_equal(top_number(1e30, 0).s, "999999.0E");
	assert_string_equal(top_time(0).s, "0ns");
	assert_string_equal(top_time(999).s, "999ns");
	assert_string_equal(top_time(1900).s, "1.90us");
	assert_string_equal(top_time(12345678).s, "12.35ms");
	assert_string_equal(top_time(2e9).s, "2.00s");
	assert_string_equal(top_time(1.8e19).s, "99999.99s");
	assert_string_equal(top_mean(100, 0).s, "-");
	assert_string_equal(top_share(1, 0).s, "0.00%");
	assert_string_equal(top_share(-1, 8).s, "0.00%");
	assert_string_equal(top_share(1, 8).s, "12.5%");
	assert_string_equal(top_share(1e19, 1).s, "999.9%");
	assert_string_equal(top_uptime(3723ull * 1000000000).s, "1:02:03");
	assert_string_equal(top_uptime(UINT64_MAX).s, "213503d 23:34");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_screen),   cmocka_unit_test(test_small_screen),
		cmocka_unit_test(test_any_room), cmocka_unit_test(test_columns),
		cmocka_unit_test(test_sorting),  cmocka_unit_test(test_cumulative),
		cmocka_unit_test(test_states),   cmocka_unit_test(test_endless),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
