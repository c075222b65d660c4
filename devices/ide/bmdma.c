/* SPDX-License-Identifier: MIT */
#include "devices/ide/bmdma.h"

#include "backends/block/block.h"

/* A physical region descriptor: address, byte count (0: 64 KiB), end of table in bit 31. */
#define PRD_SIZE 8
#define PRD_ADDR_MASK 0xfffffffeu
#define PRD_COUNT_MASK 0xfffeu
#define PRD_END 0x80000000u
#define PRD_TABLE_BORDER 0x10000u

/* As many pieces as finish a sector, should each have two bytes. */
#define SECTOR_PIECES (BLOCK_SECTOR / 2)

uint8_t bmdma_read(const struct bmdma_state *s, unsigned offset)
{
	switch (offset) {
	case BM_COMMAND:
		return s->command;
	case BM_STATUS:
		return s->status;
	default:
		return offset < BM_TABLE ? 0 : (uint8_t)(s->table >> (offset - BM_TABLE) * 8);
	}
}

static bool command_write(struct bmdma_state *s, uint8_t v)
{
	bool started = v & ~s->command & BM_COMMAND_START;

	s->command = v & BM_COMMAND_MASK;
	if (!started)
		return false;
	s->status |= BM_STATUS_ACTIVE;
	s->next = s->table;
	s->seg_left = 0;
	s->seg_last = 0;
	return true;
}

bool bmdma_write(struct bmdma_state *s, unsigned offset, uint8_t v)
{
	unsigned shift = (offset - BM_TABLE) * 8;

	switch (offset) {
	case BM_COMMAND:
		return command_write(s, v);
	case BM_STATUS:
		s->status &= (uint8_t) ~(v & (BM_STATUS_ERROR | BM_STATUS_INTERRUPT));
		s->status &= (uint8_t)~BM_STATUS_DRIVES_DMA;
		s->status |= v & BM_STATUS_DRIVES_DMA;
		return false;
	default:
		if (offset < BM_TABLE)
			return false;
		s->table = (s->table & ~(0xffu << shift)) | (uint32_t)v << shift;
		s->table &= ~3u;
		return false;
	}
}

bool bmdma_ready(const struct bmdma_state *s, bool to_memory)
{
	return (s->command & BM_COMMAND_START) && (s->status & BM_STATUS_ACTIVE) &&
	       !(s->command & BM_COMMAND_TO_MEMORY) == !to_memory;
}

static enum bmdma_end fetch(struct bmdma_state *s, const struct mem *mem)
{
	uint8_t prd[PRD_SIZE];
	uint32_t flags;

	if (s->seg_last)
		return BMDMA_TABLE_END;
	if ((s->next ^ s->table) / PRD_TABLE_BORDER || mem_read(mem, s->next, prd, sizeof(prd)))
		return BMDMA_FAULT;
	s->next += PRD_SIZE;
	s->seg_addr = (uint32_t)load_le(prd, 4) & PRD_ADDR_MASK;
	flags = (uint32_t)load_le(prd + 4, 4);
	s->seg_left = flags & PRD_COUNT_MASK ? flags & PRD_COUNT_MASK : BMDMA_SEG_MAX;
	s->seg_last = !!(flags & PRD_END);
	return BMDMA_MORE;
}

enum bmdma_end bmdma_map(struct bmdma_state *s, struct mem *mem, bool to_memory, uint64_t want,
			 struct bmdma_vec *v)
{
	v->nr = 0;
	v->len = 0;
	while (v->len < want) {
		uint64_t n = want - v->len, sector = BLOCK_SECTOR - v->len % BLOCK_SECTOR;
		bool scarce = BMDMA_MAX_IOV - v->nr <= SECTOR_PIECES;
		enum bmdma_end end = s->seg_left ? BMDMA_MORE : fetch(s, mem);
		void *p;

		if (end != BMDMA_MORE)
			return end;
		n = min_u64(n, s->seg_left);
		if (scarce)
			n = min_u64(n, sector);
		/* What is only read may lie in ROM too; the back-end writes to no such iovec. */
		p = to_memory ? mem_at(mem, s->seg_addr, n)
			      : (void *)(uintptr_t)mem_at_const(mem, s->seg_addr, n);
		if (!p)
			return BMDMA_FAULT;
		v->iov[v->nr++] = (struct iovec){ p, n };
		v->len += n;
		s->seg_addr += (uint32_t)n;
		s->seg_left -= (uint32_t)n;
		if (scarce && v->len % BLOCK_SECTOR == 0)
			break;
	}
	return BMDMA_MORE;
}

void bmdma_vec_trim(struct bmdma_vec *v, uint64_t len)
{
	v->len -= len;
	while (len) {
		struct iovec *last = &v->iov[v->nr - 1];
		uint64_t n = min_u64(len, last->iov_len);

		last->iov_len -= n;
		len -= n;
		if (!last->iov_len)
			v->nr--;
	}
}

struct bmdma_place bmdma_tell(const struct bmdma_state *s)
{
	return (struct bmdma_place){ s->seg_last, s->next, s->seg_addr, s->seg_left };
}

void bmdma_seek(struct bmdma_state *s, const struct bmdma_place *place)
{
	s->seg_last = place->seg_last;
	s->next = place->next;
	s->seg_addr = place->seg_addr;
	s->seg_left = place->seg_left;
}

void bmdma_stopped(struct bmdma_state *s, enum bmdma_end end)
{
	if (end != BMDMA_MORE || !(s->command & BM_COMMAND_START))
		s->status &= (uint8_t)~BM_STATUS_ACTIVE;
	if (end == BMDMA_FAULT)
		s->status |= BM_STATUS_ERROR;
}

void bmdma_drive_done(struct bmdma_state *s)
{
	if ((s->seg_last && !s->seg_left) || !(s->command & BM_COMMAND_START))
		s->status &= (uint8_t)~BM_STATUS_ACTIVE;
}

bool bmdma_state_valid(const struct bmdma_state *s)
{
	return !(s->command & ~BM_COMMAND_MASK) && !(s->status & ~BM_STATUS_MASK) &&
	       !(s->table & 3) && !(s->next & 3) && s->seg_left <= BMDMA_SEG_MAX &&
	       (s->command & BM_COMMAND_START || !(s->status & BM_STATUS_ACTIVE));
}
