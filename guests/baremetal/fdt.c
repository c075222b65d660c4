/* SPDX-License-Identifier: MIT */
/*
 * The flattened device tree at entry: well-formed, true, and the same bytes that --dump-dtb
 * writes (the host compares the checksum).
 */
#include "guests/baremetal/lib/fdt.h"

/* The CRC that gzip(1) writes behind its data: polynomial 0x04c11db7, bits reversed. */
static uint32_t crc32(const uint8_t *p, uint32_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static bool has(const struct fdt_header *fdt, const char *compatible)
{
	struct fdt_node node = { 0 };

	return fdt_compatible(fdt, &node, compatible);
}

static unsigned count_cpus(const struct fdt_header *fdt)
{
	struct fdt_node node = { 0 };
	unsigned n = 0;
	bool broken;

	while (fdt_next(fdt, &node, &broken)) {
		uint32_t len;
		const char *type = fdt_prop(fdt, &node, "device_type", &len);

		n += type && !strcmp(type, "cpu");
	}
	return n;
}

int main(void)
{
	const struct fdt_header *fdt = fdt_find();
	struct fdt_node node = { 0 };
	unsigned nodes = 0;
	const char *args;
	bool broken;
	uint32_t len;

	if (!tap(fdt != NULL, "a device tree is at edx"))
		tap_done();
	while (fdt_next(fdt, &node, &broken))
		nodes++;
	tap(!broken && nodes > 3, "its structure block is well-formed, %u nodes", nodes);

	node = (struct fdt_node){ 0 };
	tap(fdt_next(fdt, &node, &broken) && !*node.name && !node.depth, "the root comes first");
	tap_is(count_cpus(fdt), cmdline_number("cpus=", 1), "it has a node for each CPU");
	tap(has(fdt, "ns16550a") || has(fdt, "ns16550"), "it names a UART");

	node = (struct fdt_node){ 0 };
	args = NULL;
	while (fdt_next(fdt, &node, &broken))
		if (node.depth == 1 && !strcmp(node.name, "chosen"))
			args = fdt_prop(fdt, &node, "bootargs", &len);
	tap(args && !strcmp(args, (const char *)(uintptr_t)start_info()->cmdline),
	    "/chosen/bootargs is the command line");
	len = fdt_be32(&fdt->totalsize);
	print("# crc %08x %08x\n", crc32((const void *)fdt, len), len);
	return 0;
}
