/* SPDX-License-Identifier: MIT */
/*
 * What is on the disks of the tests: a sector holds a number in decimal, zeros in front, and
 * a newline, 512 bytes; with a W in front it was written by a guest. The host makes and judges
 * the images by the same rule (make_disk in tests/guest/run.sh).
 */
#ifndef GUESTS_SECTOR_H
#define GUESTS_SECTOR_H

#include "guests/baremetal/lib/rt.h"

#define SECTOR_SIZE 512

void sector_fill(void *out, unsigned n, bool written);
bool sector_holds(const void *p, unsigned n, bool written);

/* Many in a row: fills them; counts those that hold something else. */
void sectors_fill(void *out, unsigned first, unsigned count);
unsigned sectors_wrong(const void *p, unsigned first, unsigned count, bool written);

/* Are all bytes the same, this one? len: at least 1. */
bool bytes_are(const void *p, size_t len, uint8_t byte);

#endif
