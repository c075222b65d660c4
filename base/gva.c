/* SPDX-License-Identifier: MIT */
#include "base/gva.h"

#include <errno.h>
#include <string.h>

#define CR0_PG (1ull << 31)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define EFER_LMA (1ull << 10)

#define ENTRY_PRESENT 0x1ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_ADDR 0x000ffffffffff000ull
#define CR3_PAE_ADDR 0xffffffe0ull /* its table of four entries needs no page of its own */

/* Where an address leads, and how far on the same page that holds. */
struct place {
	uint64_t gpa;
	uint64_t left;
};

/* One load: the guest may write the entry at any moment. */
static bool load_entry(const struct mem *mem, uint64_t gpa, unsigned width, uint64_t *out)
{
	const void *p = mem_at_const(mem, gpa, width);

	if (!p)
		return false;
	if (width == 8)
		*out = __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
	else
		*out = __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	return true;
}

static int found(struct place *out, uint64_t page, uint64_t size, uint64_t gva)
{
	uint64_t offset = gva & (size - 1);

	out->gpa = page + offset;
	out->left = size - offset;
	return 0;
}

/* 4.4 to 4.5: entries of 8 bytes; shift is that of the top table, largest that of the largest page. */
static int walk_wide(const struct mem *mem, uint64_t table, uint64_t gva, unsigned shift,
		     unsigned largest, struct place *out)
{
	for (;; shift -= 9) {
		uint64_t e;

		if (!load_entry(mem, table + (gva >> shift & 511) * 8, 8, &e) ||
		    !(e & ENTRY_PRESENT))
			return -EFAULT;
		if (shift == 12 || (e & ENTRY_LARGE)) {
			uint64_t size = 1ull << shift;

			if (shift > largest)
				return -EFAULT;
			return found(out, align_down(e & ENTRY_ADDR, size), size, gva);
		}
		table = e & ENTRY_ADDR;
	}
}

/* 4.3: two levels of entries of 4 bytes. */
static int walk_narrow(const struct mem *mem, const struct gva_space *space, uint64_t gva,
		       struct place *out)
{
	uint64_t e;

	if (!load_entry(mem, (space->cr3 & 0xfffff000) + (gva >> 22) * 4, 4, &e) ||
	    !(e & ENTRY_PRESENT))
		return -EFAULT;
	if ((e & ENTRY_LARGE) && (space->cr4 & CR4_PSE)) {
		/* PSE-36: bits 39:32 of the address stand in 20:13 */
		uint64_t high = (e >> 13 & 0xff) << 32;

		return found(out, high | (e & 0xffc00000), 4 * MIB, gva);
	}
	if (!load_entry(mem, (e & 0xfffff000) + (gva >> 12 & 1023) * 4, 4, &e) ||
	    !(e & ENTRY_PRESENT))
		return -EFAULT;
	return found(out, e & 0xfffff000, PAGE_SIZE_4K, gva);
}

static bool canonical(uint64_t gva, unsigned bits)
{
	int64_t high = (int64_t)gva >> (bits - 1);

	return high == 0 || high == -1;
}

static int walk(const struct mem *mem, const struct gva_space *space, uint64_t gva,
		struct place *out)
{
	if ((space->cr0 & CR0_PG) && (space->efer & EFER_LMA)) {
		unsigned bits = space->cr4 & CR4_LA57 ? 57 : 48;

		if (!canonical(gva, bits))
			return -EFAULT;
		return walk_wide(mem, space->cr3 & ENTRY_ADDR, gva, bits - 9, 30, out);
	}
	if (gva > UINT32_MAX)
		return -EFAULT;
	if (!(space->cr0 & CR0_PG))
		return found(out, align_down(gva, PAGE_SIZE_4K), PAGE_SIZE_4K, gva);
	if (space->cr4 & CR4_PAE)
		return walk_wide(mem, space->cr3 & CR3_PAE_ADDR, gva, 30, 21, out);
	return walk_narrow(mem, space, gva, out);
}

int gva_translate(const struct mem *mem, const struct gva_space *space, uint64_t gva, uint64_t *gpa)
{
	struct place at;
	int ret = walk(mem, space, gva, &at);

	if (!ret)
		*gpa = at.gpa;
	return ret;
}

int gva_read(const struct mem *mem, const struct gva_space *space, uint64_t gva, void *buf,
	     size_t len)
{
	char *p = buf;

	while (len) {
		struct place at;
		size_t n;

		if (walk(mem, space, gva, &at))
			return -EFAULT;
		n = min_u64(len, at.left);
		if (mem_read(mem, at.gpa, p, n))
			return -EFAULT;
		p += n;
		gva += n;
		len -= n;
	}
	return 0;
}
