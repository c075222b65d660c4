/* SPDX-License-Identifier: MIT */
/*
 * What happens when KVM_RUN returns: one table by exit reason.
 */
#ifndef CPU_EXIT_H
#define CPU_EXIT_H

#include "base/util.h"

struct vcpu;

enum exit_action {
	EXIT_CONTINUE, /* back into the guest */
	EXIT_STOP, /* look what the main thread wants */
	EXIT_ERROR, /* this guest cannot go on: vcpu->crash says why */
};

/* Handles the exit in vcpu->run, on the vCPU's thread. *row: where acct counts it. */
enum exit_action exit_handle(struct vcpu *vcpu, unsigned *row);

/* KVM_RUN itself failed with err. */
enum exit_action exit_run_failed(struct vcpu *vcpu, int err);

/* The name of an accounting row: "io-in", "mmio-write", "hlt"; constant. */
const char *exit_row_name(unsigned row);

#endif
