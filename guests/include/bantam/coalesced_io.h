/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Many port accesses, one VM exit: what a guest asks of bantam, as docs/coalesced-io.md
 * says in full. For Linux drivers, bare metal and bantam itself.
 *
 * The guest writes a list of accesses into a page of its RAM, and rings: it writes the
 * page's number to the doorbell port, or makes a hypercall. The list is done, in order, as
 * the same accesses one by one would have been, when that instruction ends.
 *
 *	struct coalesced_io_page *p = ...;	(4 KiB aligned)
 *
 *	p->count = 2;
 *	p->flags = 0;
 *	coalesced_io_out(&p->entry[0], 1, 0x1f6, 0xe0);
 *	coalesced_io_in(&p->entry[1], 1, 0x1f7);
 *	outl(physical address of p >> COALESCED_IO_PAGE_SHIFT, doorbell port);
 *	if (p->result == COALESCED_IO_OK)
 *		status = p->entry[1].read;
 *
 * The host writes result, failed, and each entry's read and done, and nothing else: a page
 * that was prepared once may be rung again and again.
 */
#ifndef BANTAM_COALESCED_IO_H
#define BANTAM_COALESCED_IO_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

/*
 * Discovery. CPUID leaf BASE: EBX, ECX, EDX hold the signature (EAX: the last leaf of the range)
 * if there is coalesced I/O; anything else means that there is none. Leaf INFO: EAX the version,
 * EBX the features, ECX the doorbell's port, EDX the most entries of a list.
 * In the device tree: a node compatible with COMPATIBLE, with the doorbell's port in reg. Whether
 * there is the hypercall too, CPUID says.
 */
#define COALESCED_IO_CPUID_BASE 0x40000100u
#define COALESCED_IO_CPUID_INFO 0x40000101u
#define COALESCED_IO_SIGNATURE_EBX 0x746e6142u /* "Bant" */
#define COALESCED_IO_SIGNATURE_ECX 0x6f436d61u /* "amCo" */
#define COALESCED_IO_SIGNATURE_EDX 0x4f497365u /* "esIO" */
#define COALESCED_IO_VERSION 1u
#define COALESCED_IO_COMPATIBLE "bantam,coalesced-io"

/* Features: how to ring, bit 0 is always set. */
#define COALESCED_IO_F_DOORBELL (1u << 0)
#define COALESCED_IO_F_HYPERCALL (1u << 1)

/*
 * The doorbell is written in 32 bits, with the page's number: its address >> PAGE_SHIFT.
 *
 * The hypercall is KVM's own (KVM_HC_MAP_GPA_RANGE, the one that a VMM can see), by vmcall on
 * Intel's processors and vmmcall on AMD's (KVM takes either on both): RAX = NR, RBX = the page's
 * address, RCX = 1, RDX = MAGIC, from 64-bit mode at CPL 0. RAX is 0 after it, or negative, and
 * then the page was not looked at.
 */
#define COALESCED_IO_PAGE_SHIFT 12
#define COALESCED_IO_PAGE_SIZE (1u << COALESCED_IO_PAGE_SHIFT)
#define COALESCED_IO_HYPERCALL_NR 12
#define COALESCED_IO_HYPERCALL_MAGIC 0x4f49436d00000000ull

/* What an entry does. The fields that it does not name are 0, but for read and done. */
enum coalesced_io_op {
	COALESCED_IO_OUT = 1, /* value is written to port */
	COALESCED_IO_IN = 2, /* port's value goes into read */
	COALESCED_IO_OUT_STRING = 3, /* count elements at addr are written to port */
	COALESCED_IO_IN_STRING = 4, /* count elements from port are put at addr */
	/*
	 * port is read into read, at most count times, until (read & mask) == value. If that
	 * never was so, the list ends here with COALESCED_IO_E_POLL. With count 1: an if.
	 */
	COALESCED_IO_POLL = 5,
	/*
	 * What the entries before it have to say (read, done, strings) is in memory, for every
	 * vCPU to see, before the next one begins. Otherwise it is there at the end.
	 */
	COALESCED_IO_BARRIER = 6,
};

/*
 * In result. All but the last two are found before anything is done, and nothing is. PORT and
 * POLL end the list where it is: the entries before have been done, those behind have not.
 */
enum coalesced_io_result {
	COALESCED_IO_OK = 0,
	COALESCED_IO_E_COUNT = 1, /* no entries, or more than MAX_ENTRIES; failed is 0 */
	COALESCED_IO_E_RESERVED = 2, /* a field that its op does not use, or flags, is not 0 */
	COALESCED_IO_E_OP = 3, /* no such op */
	COALESCED_IO_E_WIDTH = 4, /* none of 1, 2, 4 */
	COALESCED_IO_E_ADDR = 5, /* the string is not in RAM from end to end */
	COALESCED_IO_E_LIMIT = 6, /* a count of 0, or more than MAX_ACCESSES in all */
	COALESCED_IO_E_RANGE = 7, /* port + width is past ffff, or touches the doorbell itself */
	COALESCED_IO_E_PORT = 8, /* no device of the host's is at all of these ports */
	COALESCED_IO_E_POLL = 9, /* what POLL waited for did not come */
};

struct coalesced_io_entry {
	uint8_t op; /* enum coalesced_io_op */
	uint8_t width; /* bytes of an access */
	uint16_t port;
	uint32_t count; /* POLL: reads at most; strings: elements; 0 otherwise */
	uint32_t value; /* OUT, POLL; 0 otherwise */
	uint32_t mask; /* POLL; 0 otherwise */
	uint64_t addr; /* strings: guest-physical; 0 otherwise */
	uint32_t read; /* written by the host: IN's value, POLL's last */
	uint32_t done; /* written by the host: accesses that were made, strings' elements too */
};

#define COALESCED_IO_MAX_ENTRIES 127
#define COALESCED_IO_MAX_ACCESSES 32768 /* of a list: 1 each, but count of POLL and strings */

struct coalesced_io_page {
	uint32_t count; /* entries */
	uint32_t flags; /* 0 */
	uint32_t result; /* written by the host, last of all: enum coalesced_io_result */
	uint32_t failed; /* written by the host: the entry that failed; count if none did */
	uint32_t reserved[4]; /* not looked at */
	struct coalesced_io_entry entry[COALESCED_IO_MAX_ENTRIES];
};

/* --- filling in entries; each sets all that the host reads ------------------------- */

static inline void coalesced_io_entry_set(struct coalesced_io_entry *e, unsigned int op,
					  unsigned int width, unsigned int port)
{
	e->op = (uint8_t)op;
	e->width = (uint8_t)width;
	e->port = (uint16_t)port;
	e->count = 0;
	e->value = 0;
	e->mask = 0;
	e->addr = 0;
}

static inline void coalesced_io_out(struct coalesced_io_entry *e, unsigned int width,
				    unsigned int port, uint32_t value)
{
	coalesced_io_entry_set(e, COALESCED_IO_OUT, width, port);
	e->value = value;
}

static inline void coalesced_io_in(struct coalesced_io_entry *e, unsigned int width,
				   unsigned int port)
{
	coalesced_io_entry_set(e, COALESCED_IO_IN, width, port);
}

/* op: COALESCED_IO_OUT_STRING or COALESCED_IO_IN_STRING */
static inline void coalesced_io_string(struct coalesced_io_entry *e, unsigned int op,
				       unsigned int width, unsigned int port, uint64_t addr,
				       uint32_t count)
{
	coalesced_io_entry_set(e, op, width, port);
	e->addr = addr;
	e->count = count;
}

static inline void coalesced_io_poll(struct coalesced_io_entry *e, unsigned int width,
				     unsigned int port, uint32_t mask, uint32_t value,
				     uint32_t count)
{
	coalesced_io_entry_set(e, COALESCED_IO_POLL, width, port);
	e->mask = mask;
	e->value = value;
	e->count = count;
}

static inline void coalesced_io_barrier(struct coalesced_io_entry *e)
{
	coalesced_io_entry_set(e, COALESCED_IO_BARRIER, 0, 0);
}

#endif
