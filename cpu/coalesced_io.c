/* SPDX-License-Identifier: MIT */
#include "cpu/coalesced_io.h"

#include <string.h>

#include "base/platform.h"
#include "guests/include/bantam/coalesced_io.h"

_Static_assert(sizeof(struct coalesced_io_entry) == 32, "the guests' ABI");
_Static_assert(sizeof(struct coalesced_io_page) == COALESCED_IO_PAGE_SIZE, "the guests' ABI");

/* What of a string is on its way at a time: a device must not look at bytes that may change. */
#define CHUNK 4096u

/* The fields of an entry that its op uses; the others are 0. */
static const struct op {
	bool access; /* width, port */
	bool count;
	bool value;
	bool mask;
	bool addr;
} ops[] = {
	[COALESCED_IO_OUT] = { .access = true, .value = true },
	[COALESCED_IO_IN] = { .access = true },
	[COALESCED_IO_OUT_STRING] = { .access = true, .count = true, .addr = true },
	[COALESCED_IO_IN_STRING] = { .access = true, .count = true, .addr = true },
	[COALESCED_IO_POLL] = { .access = true, .count = true, .value = true, .mask = true },
	[COALESCED_IO_BARRIER] = { .access = false },
};

struct list {
	struct bus *bus;
	struct mem *mem;
	struct coalesced_io_page *page; /* the guest's, only written to */
	struct coalesced_io_entry entry[COALESCED_IO_MAX_ENTRIES]; /* our copy */
	uint32_t nr;
	uint32_t told; /* entries whose outcome is in the page */
};

/* --- what is wrong with it -------------------------------------------------------------- */

static bool unused_fields_are_0(const struct coalesced_io_entry *e, const struct op *op)
{
	return (op->access || !(e->width | e->port)) && (op->count || !e->count) &&
	       (op->value || !e->value) && (op->mask || !e->mask) && (op->addr || !e->addr);
}

static bool string_in_ram(const struct list *l, const struct coalesced_io_entry *e)
{
	uint64_t len = (uint64_t)e->count * e->width;

	if (e->op == COALESCED_IO_IN_STRING)
		return mem_at(l->mem, e->addr, len);
	return mem_at_const(l->mem, e->addr, len);
}

/* room: accesses that the list may still make. */
static uint32_t check_entry(const struct list *l, const struct coalesced_io_entry *e,
			    uint32_t *room)
{
	const struct op *op = &ops[e->op < ARRAY_SIZE(ops) ? e->op : 0];
	uint32_t n = op->count ? e->count : 1;

	if (!op->access && e->op != COALESCED_IO_BARRIER)
		return COALESCED_IO_E_OP;
	if (!unused_fields_are_0(e, op))
		return COALESCED_IO_E_RESERVED;
	if (!op->access)
		return COALESCED_IO_OK;
	if (e->width != 1 && e->width != 2 && e->width != 4)
		return COALESCED_IO_E_WIDTH;
	if (e->port + e->width > 0x10000 ||
	    ranges_overlap(e->port, e->width, PLATFORM_PORT_COALESCED_IO,
			   COALESCED_IO_DOORBELL_LEN))
		return COALESCED_IO_E_RANGE;
	if (!n || n > *room)
		return COALESCED_IO_E_LIMIT;
	*room -= n;
	return op->addr && !string_in_ram(l, e) ? COALESCED_IO_E_ADDR : COALESCED_IO_OK;
}

static uint32_t check(const struct list *l, uint32_t *failed)
{
	uint32_t room = COALESCED_IO_MAX_ACCESSES, result = COALESCED_IO_OK;

	for (*failed = 0; *failed < l->nr; ++*failed) {
		result = check_entry(l, &l->entry[*failed], &room);
		if (result)
			break;
	}
	return result;
}

/* --- doing it --------------------------------------------------------------------------- */

/* What the entries up to end have to say is in the guest's memory when it returns. */
static void tell(struct list *l, uint32_t end)
{
	for (; l->told < end; l->told++) {
		const struct coalesced_io_entry *e = &l->entry[l->told];
		struct coalesced_io_entry *to = &l->page->entry[l->told];

		__atomic_store_n(&to->read, e->read, __ATOMIC_RELAXED);
		__atomic_store_n(&to->done, e->done, __ATOMIC_RELAXED);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void read_once(struct list *l, struct coalesced_io_entry *e)
{
	uint32_t v = 0;

	bus_read(l->bus, BUS_PIO, e->port, &v, e->width);
	e->read = v;
	e->done++;
}

static uint32_t do_poll(struct list *l, struct coalesced_io_entry *e)
{
	while (e->done < e->count) {
		read_once(l, e);
		if ((e->read & e->mask) == e->value)
			return COALESCED_IO_OK;
	}
	return COALESCED_IO_E_POLL;
}

static uint32_t do_string(struct list *l, struct coalesced_io_entry *e)
{
	uint8_t chunk[CHUNK];

	while (e->done < e->count) {
		uint32_t n = (uint32_t)min_u64(CHUNK / e->width, e->count - e->done);
		uint64_t gpa = e->addr + (uint64_t)e->done * e->width, len = (uint64_t)n * e->width;
		int ret;

		if (e->op == COALESCED_IO_OUT_STRING) {
			ret = mem_read(l->mem, gpa, chunk, len);
			if (!ret)
				bus_write_rep(l->bus, BUS_PIO, e->port, chunk, e->width, n);
		} else {
			bus_read_rep(l->bus, BUS_PIO, e->port, chunk, e->width, n);
			ret = mem_write(l->mem, gpa, chunk, len);
		}
		if (ret)
			return COALESCED_IO_E_ADDR; /* never: RAM is where it was found */
		e->done += n;
	}
	return COALESCED_IO_OK;
}

static uint32_t do_access(struct list *l, struct coalesced_io_entry *e)
{
	if (!bus_claimed(l->bus, BUS_PIO, e->port, e->width))
		return COALESCED_IO_E_PORT;
	switch (e->op) {
	case COALESCED_IO_OUT:
		bus_write(l->bus, BUS_PIO, e->port, &e->value, e->width);
		e->done = 1;
		return COALESCED_IO_OK;
	case COALESCED_IO_IN:
		read_once(l, e);
		return COALESCED_IO_OK;
	case COALESCED_IO_POLL:
		return do_poll(l, e);
	default:
		return do_string(l, e);
	}
}

static uint32_t do_entry(struct list *l, uint32_t i)
{
	struct coalesced_io_entry *e = &l->entry[i];

	e->read = 0;
	e->done = 0;
	if (e->op != COALESCED_IO_BARRIER)
		return do_access(l, e);
	tell(l, i);
	return COALESCED_IO_OK;
}

/* Returns the accesses made. */
static unsigned do_all(struct list *l, uint32_t *result, uint32_t *failed)
{
	unsigned accesses = 0;

	for (*failed = 0; *failed < l->nr; ++*failed) {
		*result = do_entry(l, *failed);
		accesses += l->entry[*failed].done;
		if (*result)
			break;
	}
	tell(l, (uint32_t)min_u64(*failed + 1ull, l->nr));
	return accesses;
}

unsigned coalesced_io_run(struct bus *bus, struct mem *mem, uint64_t gpa, bool *found)
{
	struct list l = { .bus = bus, .mem = mem };
	uint32_t result, failed = 0;
	unsigned accesses = 0;
	uint32_t head[2];

	l.page = mem_at(mem, gpa, COALESCED_IO_PAGE_SIZE);
	*found = l.page;
	if (!l.page)
		return 0;
	memcpy(head, l.page, sizeof(head));
	if (!head[0] || head[0] > COALESCED_IO_MAX_ENTRIES) {
		result = COALESCED_IO_E_COUNT;
	} else if (head[1]) {
		result = COALESCED_IO_E_RESERVED;
	} else {
		l.nr = head[0];
		memcpy(l.entry, l.page->entry, l.nr * sizeof(l.entry[0]));
		result = check(&l, &failed);
		if (!result)
			accesses = do_all(&l, &result, &failed);
	}
	__atomic_store_n(&l.page->failed, failed, __ATOMIC_RELAXED);
	__atomic_store_n(&l.page->result, result, __ATOMIC_RELEASE);
	mem_mark(mem, l.page, COALESCED_IO_PAGE_SIZE);
	return accesses;
}
