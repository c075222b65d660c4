/* SPDX-License-Identifier: MIT */
/*
 * What bantam top looks at: a report with a row of every kind, and a machine that is nothing but a
 * control socket, in a runtime folder of its own, and answers with that report. What cannot be made
 * fails the test.
 */
#ifndef TESTS_UNIT_TOP_RIG_H
#define TESTS_UNIT_TOP_RIG_H

#include "vmm/control.h"
#include "vmm/report/report.h"

/* Two seconds of a machine of cpus vCPUs. report_free() afterwards. */
void top_rig_report(struct report *r, unsigned cpus);

struct top_rig {
	char run[64]; /* $XDG_RUNTIME_DIR */
	struct iothread io;
	struct control *control;
	_Atomic uint64_t reports; /* asked for: the nth tells of n times as much */
	_Atomic uint64_t profiles; /* switched on or off */
	_Atomic bool profiling;
	_Atomic bool deaf; /* it stands still */
	_Atomic bool broken; /* it answers nonsense */
};

/* Of a test: a machine named vm with 2 CPUs, and a terminal that has a screen in $TERM. */
int top_rig_setup(void **state);
int top_rig_teardown(void **state);

/* The machine ends: its socket is gone. From any thread. */
void top_rig_end(struct top_rig *m);

#endif
