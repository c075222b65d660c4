/* SPDX-License-Identifier: MIT */
/*
 * The cylinders, heads and sectors of a disk: one answer for the drive that reports them, the
 * firmware that translates them and the guest that finds them in a partition table.
 */
#ifndef BASE_IDE_GEOMETRY_H
#define BASE_IDE_GEOMETRY_H

#include "base/util.h"

#define IDE_MAX_CYLINDERS 16383 /* what IDENTIFY DEVICE may report (ATA-6, 6.2.1) */
#define IDE_MAX_HEADS 16
#define IDE_MAX_SECTORS 63

/* None of them 0; their product is at most the disk's size. Sectors count from 1. */
struct ide_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
};

/* The default geometry of a drive; sectors: its size in 512-byte sectors, not 0. */
static inline struct ide_geometry ide_geometry(uint64_t sectors)
{
	struct ide_geometry g;

	g.sectors = (uint8_t)min_u64(sectors, IDE_MAX_SECTORS);
	g.heads = (uint8_t)min_u64(sectors / g.sectors, IDE_MAX_HEADS);
	g.cylinders = (uint16_t)min_u64(sectors / g.sectors / g.heads, IDE_MAX_CYLINDERS);
	return g;
}

#endif
