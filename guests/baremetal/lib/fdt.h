/* SPDX-License-Identifier: MIT */
/*
 * A small reader of the flattened device tree that the machine hands over in %edx at the
 * PVH entry (Devicetree Specification 0.4, chapter 5). Independent of libfdt on purpose:
 * the blob is written by libfdt, so here another reader judges it.
 */
#ifndef GUESTS_FDT_H
#define GUESTS_FDT_H

#include "guests/baremetal/lib/rt.h"

#define FDT_MAGIC 0xd00dfeed

struct fdt_header {
	uint32_t magic, totalsize, off_struct, off_strings, off_rsvmap, version, last_comp_version,
		boot_cpuid, size_strings, size_struct; /* big-endian */
};

struct fdt_node {
	const char *name;
	const uint32_t *props; /* the token behind the name */
	unsigned depth; /* the root is 0 */
};

static inline uint32_t fdt_be32(const void *p)
{
	return __builtin_bswap32(*(const uint32_t *)p);
}

/* The blob, or NULL where the magic or the header is wrong. */
const struct fdt_header *fdt_find(void);

/*
 * Walks the tree: *node starts as NULL name (the root comes first). False at the end, or
 * where the structure block is malformed, which sets *broken.
 */
bool fdt_next(const struct fdt_header *fdt, struct fdt_node *node, bool *broken);

/* A property of a node, and its length in bytes; NULL where there is none. */
const void *fdt_prop(const struct fdt_header *fdt, const struct fdt_node *node, const char *name,
		     uint32_t *len);

/* The next node (from *node on, as above) with this string in its "compatible". */
bool fdt_compatible(const struct fdt_header *fdt, struct fdt_node *node, const char *compatible);

#endif
