/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/fdt.h"

#define FDT_BEGIN_NODE 1
#define FDT_END_NODE 2
#define FDT_PROP 3
#define FDT_NOP 4
#define FDT_END 9

const struct fdt_header *fdt_find(void)
{
	const struct fdt_header *fdt = (const void *)(uintptr_t)entry_state.edx;
	uint32_t size;

	if (!fdt || entry_state.edx & 7 || fdt_be32(&fdt->magic) != FDT_MAGIC)
		return NULL;
	size = fdt_be32(&fdt->totalsize);
	if (fdt_be32(&fdt->version) < 17 || fdt_be32(&fdt->off_struct) >= size ||
	    fdt_be32(&fdt->size_struct) > size - fdt_be32(&fdt->off_struct) ||
	    fdt_be32(&fdt->off_strings) >= size)
		return NULL;
	return fdt;
}

static const uint32_t *fdt_start(const struct fdt_header *fdt)
{
	return (const void *)((const char *)fdt + fdt_be32(&fdt->off_struct));
}

static const uint32_t *fdt_end(const struct fdt_header *fdt)
{
	return fdt_start(fdt) + fdt_be32(&fdt->size_struct) / 4;
}

static const uint32_t *skip_prop(const uint32_t *p)
{
	return p + 3 + (fdt_be32(p + 1) + 3) / 4;
}

bool fdt_next(const struct fdt_header *fdt, struct fdt_node *node, bool *broken)
{
	const uint32_t *p = node->name ? node->props : fdt_start(fdt), *end = fdt_end(fdt);
	unsigned depth = node->name ? node->depth + 1 : 0;

	*broken = false;
	while (p < end) {
		switch (fdt_be32(p)) {
		case FDT_BEGIN_NODE:
			node->name = (const char *)(p + 1);
			node->props = p + 1 + strlen(node->name) / 4 + 1;
			node->depth = depth;
			return true;
		case FDT_PROP:
			p = skip_prop(p);
			break;
		case FDT_NOP:
			p++;
			break;
		case FDT_END_NODE:
			if (!depth) {
				*broken = true;
				return false;
			}
			depth--;
			p++;
			break;
		case FDT_END:
			*broken = depth != 0;
			return false;
		default:
			*broken = true;
			return false;
		}
	}
	*broken = true;
	return false;
}

const void *fdt_prop(const struct fdt_header *fdt, const struct fdt_node *node, const char *name,
		     uint32_t *len)
{
	const char *strings = (const char *)fdt + fdt_be32(&fdt->off_strings);
	const uint32_t *p = node->props;

	for (; p < fdt_end(fdt); p = fdt_be32(p) == FDT_PROP ? skip_prop(p) : p + 1) {
		if (fdt_be32(p) == FDT_PROP && !strcmp(strings + fdt_be32(p + 2), name)) {
			*len = fdt_be32(p + 1);
			return p + 3;
		}
		if (fdt_be32(p) != FDT_PROP && fdt_be32(p) != FDT_NOP)
			break;
	}
	*len = 0;
	return NULL;
}

bool fdt_compatible(const struct fdt_header *fdt, struct fdt_node *node, const char *compatible)
{
	bool broken;

	while (fdt_next(fdt, node, &broken)) {
		uint32_t len, n;
		const char *s = fdt_prop(fdt, node, "compatible", &len);

		for (; s && len; len -= n, s += n) {
			if (!strcmp(s, compatible))
				return true;
			n = (uint32_t)strlen(s) + 1;
			if (n > len)
				break;
		}
	}
	return false;
}
