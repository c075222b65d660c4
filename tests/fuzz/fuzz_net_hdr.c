/* SPDX-License-Identifier: MIT */
/*
 * The header of a frame from outside: what net_hdr_valid() lets through asks for no more than was
 * agreed on, and for nothing outside of the frame.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "backends/net/net.h"

/* Which offload it takes to have a frame with that kind of segments; 0: there is no such kind. */
static unsigned needed(uint8_t gso)
{
	static const struct {
		uint8_t gso;
		unsigned offload;
	} kinds[] = {
		{ 1, NET_OFFLOAD_TSO4 },
		{ 3, NET_OFFLOAD_UFO },
		{ 4, NET_OFFLOAD_TSO6 },
		{ 5, NET_OFFLOAD_USO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].gso == gso)
			return kinds[i].offload;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr_v1 hdr;
	size_t len, sum_at;
	unsigned offloads;

	if (size < sizeof(hdr) + 5)
		return 0;
	memcpy(&hdr, data, sizeof(hdr));
	len = load_le(data + sizeof(hdr), 4) % (NET_MAX_FRAME + 1);
	offloads = data[sizeof(hdr) + 4];
	if (!net_hdr_valid(&hdr, len, offloads))
		return 0;
	if (hdr.flags & 1) {
		sum_at = (size_t)le16toh(hdr.csum_start) + le16toh(hdr.csum_offset);
		if (!(offloads & NET_OFFLOAD_CSUM) || sum_at + 2 > len)
			abort();
	}
	if (!hdr.gso_type)
		return 0;
	if (!(hdr.flags & 1) || !hdr.gso_size || !(needed(hdr.gso_type & 0x7f) & offloads))
		abort();
	if (hdr.gso_type & 0x80 && !(offloads & NET_OFFLOAD_ECN))
		abort();
	return 0;
}
