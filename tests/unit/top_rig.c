/* SPDX-License-Identifier: MIT */
#include "tests/unit/top_rig.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/report_sample.h"

#define RIP 0xffffffff81000000
#define CALLER 0xffffffff81234567

void top_rig_report(struct report *r, unsigned cpus)
{
	*r = (struct report){
		.name = "vm",
		.running = true,
		.wall_ns = 2000000000,
		.has_kvm = true,
		.kernel_io = 100,
		.doorbells = 90,
		.total.run_ns = 1900000000ull * cpus,
		.nr_cpus = cpus,
		.cpus = calloc(cpus, sizeof(*r->cpus)),
		.profile = { .present = true, .on = true },
	};
	assert_non_null(r->cpus);
	SAMPLE_LIST(r->total.reasons, r->total.nr_reasons,
		    { "io-in", { 10, 30000, 900, 12000, 1000000 } },
		    { "io-out", { 2000, 4000000, 900, 12000, 1000000 } },
		    { "mmio-write", { 400, 8000000, 900, 12000, 1000000 } }, );
	for (unsigned i = 0; i < cpus; i++) {
		struct report_cpu *cpu = &r->cpus[i];

		cpu->run_ns = 1900000000;
		cpu->nr_reasons = r->total.nr_reasons;
		cpu->reasons =
			sample_list(r->total.reasons, cpu->nr_reasons * sizeof(*cpu->reasons));
	}
	SAMPLE_LIST(r->total.sites, r->total.nr_sites,
		    { false, true, 0x3f8, 1, "uart0", "thr", 1999, 3998, 3999000, 0 },
		    { false, true, 0x80, 1, "", "", 1, 2, 1000, 0 },
		    { false, false, 0x3fd, 1, "uart0", "lsr", 10, 20, 30000, 0 },
		    { true, true, 0xfe000000, 4, "virtio-blk0", "notify", 400, 800, 8000000, 0 },
		    { true, false, 0, 0, "", "", 3, 6, 30, 0 }, );
	SAMPLE_LIST(r->kvm_vcpu.list, r->kvm_vcpu.nr, { "exits", 50000 }, { "halt_exits", 24 },
		    { "irq_injections", 600 }, );
	SAMPLE_LIST(r->profile.hot, r->profile.nr_hot,
		    { RIP, "io_serial_out", "", 0, CALLER, "serial8250_console_putchar",
		      REPORT_CALLER_EXACT, "io-out", "uart0", "thr", 0x3f8, 1999, 3999000 },
		    { RIP + 16, "vp_notify", "virtio_pci", 0, CALLER, "virtqueue_notify",
		      REPORT_CALLER_GUESS, "io-out", "uart0", "thr", 0x3f8, 400, 8000000 },
		    { RIP + 32, "", "", 0, 0, "", REPORT_CALLER_NONE, "io-out", "uart0", "thr",
		      0x3f8, 1, 1000 },
		    { RIP + 48, "evil\033[2J\x9b\nname", "", 0, CALLER, "", REPORT_CALLER_EXACT,
		      "io-out", "uart0", "thr", 0x3f8, 1, 999 }, );
}

static int verb_exits(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct top_rig *m = ctx;
	struct report r;
	uint64_t n = ++m->reports;

	(void)args;
	(void)err;
	for (unsigned i = 0; m->deaf && i < 1000; i++)
		poll(NULL, 0, 10);
	top_rig_report(&r, 2);
	r.wall_ns *= n;
	r.profile.on = m->profiling;
	for (size_t i = 0; i < r.total.nr_reasons; i++) {
		r.total.reasons[i].time.count *= n;
		r.total.reasons[i].time.total_ns *= n;
	}
	*result = m->broken ? cJSON_CreateTrue() : report_to_json(&r);
	report_free(&r);
	return *result ? 0 : -ENOMEM;
}

static int verb_profile(void *ctx, const cJSON *args, cJSON **result, struct err *err)
{
	struct top_rig *m = ctx;

	(void)result;
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(args, "off")))
		return err_set(err, -EINVAL, "no");
	m->profiling = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(args, "on"));
	m->profiles++;
	return 0;
}

static const struct control_verb verbs[] = { { "exits", verb_exits }, { "profile", verb_profile } };

void top_rig_end(struct top_rig *m)
{
	iothread_stop(&m->io);
	control_destroy(m->control);
	m->control = NULL;
}

int top_rig_setup(void **state)
{
	struct top_rig *m = calloc(1, sizeof(*m));
	struct err err = { "" };

	strcpy(m->run, "/tmp/test_top.XXXXXX");
	assert_non_null(mkdtemp(m->run));
	setenv("XDG_RUNTIME_DIR", m->run, 1);
	setenv("TERM", "xterm", 1);
	assert_int_equal(iothread_start(&m->io, "control"), 0);
	assert_int_equal(
		control_serve(&m->io.loop, "vm", verbs, ARRAY_SIZE(verbs), m, &m->control, &err),
		0);
	*state = m;
	return 0;
}

int top_rig_teardown(void **state)
{
	struct top_rig *m = *state;
	char command[128];

	m->deaf = false;
	top_rig_end(m);
	snprintf(command, sizeof(command), "rm -rf '%s'", m->run);
	assert_int_equal(system(command), 0);
	free(m);
	return 0;
}
