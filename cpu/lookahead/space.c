/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/space.h"

#include "base/platform.h"

#define CR0_PG (1ull << 31)
#define CR4_PSE (1ull << 4)
#define CR4_LA57 (1ull << 12)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_PKE (1ull << 22)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define PTE_PRESENT 0x1ull
#define PTE_WRITE 0x2ull
#define PTE_USER 0x4ull
#define PTE_ACCESSED 0x20ull
#define PTE_DIRTY 0x40ull
#define PTE_LARGE 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
#define PTE_LARGE_PAT 0x1000ull
#define PDE_LARGE_RESERVED 0x200000ull

#define SEG_TYPE_CODE 8
#define SEG_TYPE_DOWN 4 /* of data */
#define SEG_TYPE_RW 2 /* data may be written, code be read */

enum access { READ, WRITE, FETCH };

/* --- physical ------------------------------------------------------------------ */

/* With firmware, what is in the BIOS area changes by the host bridge: KVM knows, mem does not. */
static bool is_shadow(uint64_t gpa, uint64_t len)
{
	return ranges_overlap(gpa, len, PLATFORM_SHADOW_BASE,
			      PLATFORM_SHADOW_END - PLATFORM_SHADOW_BASE);
}

static void *ram(struct ahead_cpu *cpu, uint64_t gpa, uint64_t len, enum access access)
{
	if (is_shadow(gpa, len))
		return NULL;
	if (access == WRITE)
		return mem_at(cpu->mem, gpa, len);
	return (void *)(uintptr_t)mem_at_const(cpu->mem, gpa, len);
}

/* One load, once: the guest may write the entry at any moment. */
static bool load_entry(struct ahead_cpu *cpu, uint64_t gpa, unsigned width, uint64_t *e)
{
	const void *p = ram(cpu, gpa, width, READ);

	if (!p)
		return false;
	if (width == 8)
		*e = __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
	else
		*e = __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	return (*e & (PTE_PRESENT | PTE_ACCESSED)) == (PTE_PRESENT | PTE_ACCESSED);
}

/* --- the walk ------------------------------------------------------------------ */

/* What all levels together allow. */
struct walk {
	uint64_t gpa;
	bool write, user, exec;
};

static void walk_level(struct walk *w, uint64_t e)
{
	w->write &= (e & PTE_WRITE) != 0;
	w->user &= (e & PTE_USER) != 0;
	w->exec &= !(e & PTE_NX);
}

static void walk_end(struct walk *w, uint64_t e, uint64_t page, uint64_t size, uint64_t gva)
{
	w->write &= (e & PTE_DIRTY) != 0;
	w->gpa = page | (gva & (size - 1) & ~(PAGE_SIZE_4K - 1));
}

static bool walk_wide(struct ahead_cpu *cpu, uint64_t gva, struct walk *w)
{
	uint64_t table = cpu->cr3 & PTE_ADDR, e;
	unsigned shift = cpu->cr4 & CR4_LA57 ? 48 : 39;
	int64_t sign = (int64_t)gva >> (shift + 8);

	if (sign != 0 && sign != -1)
		return false;
	for (;; shift -= 9) {
		uint64_t size = 1ull << shift;

		if (!load_entry(cpu, table + (gva >> shift & 511) * 8, 8, &e))
			return false;
		if (e & PTE_NX && !(cpu->efer & EFER_NXE))
			return false;
		walk_level(w, e);
		table = e & PTE_ADDR;
		if (shift == 12)
			break;
		if (!(e & PTE_LARGE))
			continue;
		table &= ~PTE_LARGE_PAT;
		if (shift > 30 || table & (size - 1))
			return false;
		break;
	}
	walk_end(w, e, table, 1ull << shift, gva);
	return true;
}

/* Two levels of entries of 4 bytes. */
static bool walk_narrow(struct ahead_cpu *cpu, uint64_t gva, struct walk *w)
{
	uint64_t e;

	if (!load_entry(cpu, (cpu->cr3 & 0xfffff000) + (gva >> 22) * 4, 4, &e))
		return false;
	walk_level(w, e);
	if (e & PTE_LARGE && cpu->cr4 & CR4_PSE) {
		if (e & PDE_LARGE_RESERVED)
			return false;
		/* PSE-36: bits 39:32 of the address stand in 20:13 */
		walk_end(w, e, (e >> 13 & 0xff) << 32 | (e & 0xffc00000), 4 * MIB, gva);
		return true;
	}
	if (!load_entry(cpu, (e & 0xfffff000) + (gva >> 12 & 1023) * 4, 4, &e))
		return false;
	walk_level(w, e);
	walk_end(w, e, e & 0xfffff000, PAGE_SIZE_4K, gva);
	return true;
}

/* The page at gva, walked to in this run; NULL where none may be used. */
static const struct ahead_page *find_page(struct ahead_cpu *cpu, uint64_t gva)
{
	struct ahead_page *page = &cpu->tlb[gva / PAGE_SIZE_4K % AHEAD_TLB];
	struct walk w = { .gpa = gva, .write = true, .user = true, .exec = true };

	if (page->run == cpu->run && page->gva == gva)
		return page;
	if (!(cpu->cr0 & CR0_PG))
		w.user = false;
	else if (!(cpu->efer & EFER_LMA ? walk_wide(cpu, gva, &w) : walk_narrow(cpu, gva, &w)))
		return NULL;
	if (w.user) {
		/* SMAP has exceptions and protection keys have more: the CPU knows them. */
		if (cpu->cr4 & (CR4_SMAP | CR4_PKE))
			return NULL;
		w.exec &= !(cpu->cr4 & CR4_SMEP);
	}
	*page = (struct ahead_page){ cpu->run, gva, w.gpa, w.write, w.exec };
	return page;
}

/* --- segments ------------------------------------------------------------------ */

/* The linear address; len bytes lie within the segment, which may be used so. */
static bool linear(const struct ahead_cpu *cpu, unsigned seg, uint64_t offset, unsigned len,
		   enum access access, uint64_t *out)
{
	const struct kvm_segment *s = &cpu->seg[seg];
	bool code = s->type & SEG_TYPE_CODE, rw = s->type & SEG_TYPE_RW;

	if (cpu->wide) {
		*out = offset + (seg == SEG_FS || seg == SEG_GS ? s->base : 0);
		return true;
	}
	if (s->unusable || !s->present || !s->s)
		return false;
	if (access == FETCH ? !code : code ? access == WRITE || !rw : access == WRITE && !rw)
		return false;
	if (!code && s->type & SEG_TYPE_DOWN)
		return false;
	if (offset > s->limit || len - 1 > s->limit - offset)
		return false;
	*out = (uint32_t)(s->base + offset);
	return true;
}

/* At most *len bytes on one page from there on. */
static void *find(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, enum access access,
		  unsigned *len)
{
	const struct ahead_page *page;
	uint64_t gva, in_page;

	if (!linear(cpu, seg, offset, 1, access, &gva))
		return NULL;
	in_page = gva % PAGE_SIZE_4K;
	*len = (unsigned)min_u64(*len, PAGE_SIZE_4K - in_page);
	if (!linear(cpu, seg, offset, *len, access, &gva))
		return NULL;
	page = find_page(cpu, gva - in_page);
	if (!page || (access == WRITE && !page->write) || (access == FETCH && !page->exec))
		return NULL;
	return ram(cpu, page->gpa + in_page, *len, access);
}

void *ahead_bytes(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, bool write, unsigned *len)
{
	return find(cpu, seg, offset, write ? WRITE : READ, len);
}

const void *ahead_code(struct ahead_cpu *cpu, uint64_t offset, unsigned *len)
{
	return find(cpu, SEG_CS, offset, FETCH, len);
}

bool ahead_target_ok(const struct ahead_cpu *cpu, uint64_t rip)
{
	unsigned bits = cpu->cr4 & CR4_LA57 ? 57 : 48;
	int64_t sign = (int64_t)rip >> (bits - 1);

	if (cpu->wide)
		return sign == 0 || sign == -1;
	return rip <= cpu->seg[SEG_CS].limit;
}

/* --- data ---------------------------------------------------------------------- */

/* Of any alignment, and each moved by one instruction of that width: others may look on. */
struct u16 {
	volatile uint16_t v;
} __attribute__((packed, may_alias));
struct u32 {
	volatile uint32_t v;
} __attribute__((packed, may_alias));
struct u64 {
	volatile uint64_t v;
} __attribute__((packed, may_alias));

bool ahead_load(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, unsigned width, uint64_t *out)
{
	unsigned len = width;
	const void *p = find(cpu, seg, offset, READ, &len);

	if (!p || len != width)
		return false;
	switch (width) {
	case 1:
		*out = *(const volatile uint8_t *)p;
		break;
	case 2:
		*out = ((const struct u16 *)p)->v;
		break;
	case 4:
		*out = ((const struct u32 *)p)->v;
		break;
	default:
		*out = ((const struct u64 *)p)->v;
		break;
	}
	return true;
}

bool ahead_store(struct ahead_cpu *cpu, unsigned seg, uint64_t offset, unsigned width, uint64_t v)
{
	unsigned len = width;
	void *p = find(cpu, seg, offset, WRITE, &len);

	if (!p || len != width)
		return false;
	switch (width) {
	case 1:
		*(volatile uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		((struct u16 *)p)->v = (uint16_t)v;
		break;
	case 4:
		((struct u32 *)p)->v = (uint32_t)v;
		break;
	default:
		((struct u64 *)p)->v = v;
		break;
	}
	mem_mark(cpu->mem, p, width);
	return true;
}
