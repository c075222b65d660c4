/* SPDX-License-Identifier: MIT */
#include "guests/baremetal/lib/sector.h"

void sector_fill(void *out, unsigned n, bool written)
{
	char *p = out;

	memset(p, '0', SECTOR_SIZE - 1);
	p[SECTOR_SIZE - 1] = '\n';
	for (unsigned i = SECTOR_SIZE - 2; n; i--, n /= 10)
		p[i] = (char)('0' + n % 10);
	if (written)
		p[0] = 'W';
}

bool sector_holds(const void *p, unsigned n, bool written)
{
	char want[SECTOR_SIZE];

	sector_fill(want, n, written);
	return !memcmp(p, want, SECTOR_SIZE);
}

void sectors_fill(void *out, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		sector_fill((char *)out + SECTOR_SIZE * i, first + i, true);
}

unsigned sectors_wrong(const void *p, unsigned first, unsigned count, bool written)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < count; i++)
		bad += !sector_holds((const char *)p + SECTOR_SIZE * i, first + i, written);
	return bad;
}

bool bytes_are(const void *p, size_t len, uint8_t byte)
{
	const uint8_t *b = p;

	return *b == byte && !memcmp(b, b + 1, len - 1);
}
