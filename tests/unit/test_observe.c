/* SPDX-License-Identifier: MIT */
/* A report of vCPUs whose accounts are made by hand: sums, names, percentiles, the profile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "cpu/exit.h"
#include "cpu/vcpu.h"
#include "vmm/observe.h"

#define NR_VCPUS 2

struct fixture {
	struct observe o;
	struct vcpu vcpus[NR_VCPUS];
	struct bus bus;
	struct mem mem;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = { "" };

	bus_init(&f->bus);
	assert_int_equal(mem_init(&f->mem, 2 * MIB), 0);
	assert_int_equal(observe_init(&f->o, NULL, 0, &err), 0);
	f->o.name = "test";
	f->o.mem = &f->mem;
	f->o.bus = &f->bus;
	f->o.vcpus = f->vcpus;
	f->o.nr_vcpus = NR_VCPUS;
	f->o.vm_fd = -1;
	for (unsigned i = 0; i < NR_VCPUS; i++)
		f->vcpus[i].fd = f->vcpus[i].stats_fd = -1;
	observe_start(&f->o);
	usleep(2000); /* some time must pass for ticks to be worth something */
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < NR_VCPUS; i++)
		profile_destroy(f->vcpus[i].profile);
	observe_destroy(&f->o);
	mem_destroy(&f->mem);
	bus_destroy(&f->bus);
	free(f);
	return 0;
}

static void access_port(struct fixture *f, unsigned cpu, uint16_t port, unsigned times)
{
	struct acct *a = &f->vcpus[cpu].acct;

	for (unsigned i = 0; i < times; i++) {
		acct_exit(a, ACCT_IO_OUT, 1000);
		acct_access(acct_site(a, &f->bus, acct_key(BUS_PIO, true, 1, port)), 1, 1000);
	}
}

static void test_sums(void **state)
{
	struct fixture *f = *state;
	struct report r;

	access_port(f, 0, 0x80, 3);
	access_port(f, 0, 0x3f8, 2);
	access_port(f, 1, 0x80, 5);
	acct_exit(&f->vcpus[1].acct, KVM_EXIT_HLT, 500);
	acct_exit(&f->vcpus[1].acct, ACCT_IO_OUT, 900000);
	counter_add(&f->vcpus[1].acct.run_ticks, 7000);
	assert_int_equal(observe_report(&f->o, true, &r), 0);
	assert_string_equal(r.name, "test");
	assert_true(r.running);
	assert_int_equal(r.nr_cpus, NR_VCPUS);
	assert_int_equal(report_exits(&r.total), 12);
	assert_int_equal(report_exits(&r.cpus[0]), 5);
	assert_int_equal(report_reason(&r.total, "io-out")->time.count, 11);
	assert_int_equal(report_reason(&r.cpus[1], "hlt")->time.count, 1);
	assert_null(report_reason(&r.cpus[0], "hlt"));
	assert_int_equal(r.cpus[0].run_ns, 0);
	assert_true(r.cpus[1].run_ns > 0);
	assert_int_equal(r.total.run_ns, r.cpus[1].run_ns);
	assert_false(r.has_kvm);
	assert_false(r.profile.present);

	/* Of both CPUs one row an access, by address. */
	assert_int_equal(r.total.nr_sites, 2);
	assert_int_equal(r.total.sites[0].addr, 0x80);
	assert_int_equal(r.total.sites[0].count, 8);
	assert_int_equal(r.total.sites[1].addr, 0x3f8);
	assert_int_equal(r.total.sites[1].count, 2);
	assert_int_equal(r.cpus[1].nr_sites, 1);

	/* Ticks became nanoseconds at one rate: ten of a thousand, and one long one. */
	const struct report_time *t = &report_reason(&r.total, "io-out")->time;
	assert_true(t->max_ns > 100 * t->p50_ns);
	assert_true(t->p99_ns == t->max_ns);
	assert_true(t->total_ns > t->max_ns);
	report_free(&r);
}

static void test_lost_sites(void **state)
{
	struct fixture *f = *state;
	struct report r;
	uint64_t n = 0, lost = 0;

	for (unsigned port = 0; port < 3000; port++) {
		access_port(f, 0, (uint16_t)port, 1);
		access_port(f, 1, (uint16_t)port, 1);
	}
	assert_int_equal(observe_report(&f->o, true, &r), 0);
	for (size_t i = 0; i < r.total.nr_sites; i++) {
		n += r.total.sites[i].count;
		lost += r.total.sites[i].width ? 0 : r.total.sites[i].count;
	}
	assert_int_equal(n, 6000);
	assert_true(lost > 3000);
	report_free(&r);
}

static void test_stages(void **state)
{
	struct fixture *f = *state;
	struct block_stages *s = observe_disk(&f->o, "disk0");
	struct report r;

	assert_non_null(s);
	hist_add(&s->stage[0], 1000);
	hist_add(&s->stage[0], 3000);
	assert_int_equal(observe_report(&f->o, false, &r), 0);
	assert_false(r.running);
	assert_int_equal(r.nr_stages, 1);
	assert_string_equal(r.stages[0].disk, "disk0");
	assert_string_equal(r.stages[0].name, block_stage_name(0));
	assert_int_equal(r.stages[0].time.count, 2);
	report_free(&r);
}

/* The same instruction of two CPUs is one row; without symbols it has an address. */
static void test_profile(void **state)
{
	struct fixture *f = *state;
	struct kvm_sync_regs regs;
	struct report r;

	memset(&regs, 0, sizeof(regs));
	regs.sregs.cs.db = 1;
	f->o.profiled = f->o.profiling = true;
	for (unsigned cpu = 0; cpu < NR_VCPUS; cpu++) {
		f->vcpus[cpu].profile = profile_create(&f->mem);
		access_port(f, cpu, 0x80, 1);
		for (unsigned i = 0; i <= cpu; i++) {
			regs.regs.rip = 0x1000;
			profile_exit(f->vcpus[cpu].profile, &regs, ACCT_IO_OUT,
				     acct_key(BUS_PIO, true, 1, 0x80), 10);
			regs.regs.rip = 0x2000;
			profile_exit(f->vcpus[cpu].profile, &regs, KVM_EXIT_HLT, 0, 10);
		}
	}
	assert_int_equal(observe_report(&f->o, true, &r), 0);
	assert_true(r.profile.present);
	assert_true(r.profile.on);
	assert_string_equal(r.profile.symbols, "");
	assert_int_equal(r.profile.nr_hot, 2);
	assert_int_equal(r.profile.hot[0].rip, 0x1000);
	assert_int_equal(r.profile.hot[0].count, 3);
	assert_int_equal(r.profile.hot[0].addr, 0x80);
	assert_string_equal(r.profile.hot[0].reason, "io-out");
	assert_string_equal(r.profile.hot[0].function, "");
	assert_int_equal(r.profile.hot[0].caller_kind, REPORT_CALLER_NONE);
	assert_string_equal(r.profile.hot[1].reason, "hlt");
	report_free(&r);
}

struct starter {
	struct observe *o;
	atomic_bool stop;
};

static void *start_often(void *opaque)
{
	struct starter *s = opaque;

	while (!s->stop)
		observe_start(s->o);
	return NULL;
}

/* Whoever asks for exits before the guest first runs may do so at that very moment. */
static void test_started_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct starter s = { .o = &f->o };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, start_often, &s), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct report r;

		assert_int_equal(observe_report(&f->o, true, &r), 0);
		assert_true(r.wall_ns < 60 * NSEC_PER_SEC); /* not less than none */
		report_free(&r);
	}
	s.stop = true;
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_sites, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_profile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_started_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
