/* SPDX-License-Identifier: MIT */
/*
 * The hypercall of coalesced I/O: does what a page of the guest's asks for, many port accesses
 * in one exit. What the page looks like is guests/include/bantam/coalesced_io.h's to say, what
 * it means docs/coalesced-io.md's.
 *
 * It stands above the bus, where a vCPU's single accesses do: each entry goes to the handler
 * that it would have gone to by itself, and nothing that a device does leads back to here.
 * The doorbell's port is no device's, so that a list cannot ring.
 *
 * Invariants: every entry is copied once, before it is looked at; all of them are checked
 * before any is done; no list makes more than COALESCED_IO_MAX_ACCESSES accesses; the guest's
 * memory is touched through base/mem.h alone.
 */
#ifndef CPU_COALESCED_IO_H
#define CPU_COALESCED_IO_H

#include "base/bus.h"
#include "base/mem.h"

#define COALESCED_IO_DOORBELL_LEN 4

/*
 * Does the list in the page at gpa, on the vCPU's thread. Returns how many accesses that were;
 * *found: false where there is no such page in RAM, and so nobody who could be told.
 */
unsigned coalesced_io_run(struct bus *bus, struct mem *mem, uint64_t gpa, bool *found);

#endif
