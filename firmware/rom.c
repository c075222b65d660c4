/* SPDX-License-Identifier: MIT */
#include "firmware/rom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"

#define SIZE_MIN (64 * KIB)
#define SIZE_MAX_ROM (256 * KIB) /* below are KVM's own pages (PLATFORM_KVM_TSS) */

int rom_load(struct mem *mem, const struct firmware_file *file, struct err *err)
{
	uint64_t size = file->size;
	void *image;
	int ret;

	if (size < SIZE_MIN || size > SIZE_MAX_ROM || !is_pow2(size))
		return err_set(err, -ENOEXEC,
			       "--firmware %s: %llu bytes; a PC's firmware has 64, 128 or 256 KiB",
			       file->path, (unsigned long long)size);
	image = malloc(size);
	if (!image)
		return err_set(err, -ENOMEM, "--firmware %s: out of memory", file->path);
	ret = util_pread_all(file->fd, image, size, 0);
	if (ret)
		err_set(err, ret, "--firmware %s: cannot read it: %s", file->path,
			ret == -ENODATA ? "it has become shorter" : strerror(-ret));
	if (!ret) {
		ret = mem_add_rom(mem, PLATFORM_ROM_END - size, image, size);
		if (ret)
			err_set(err, ret, "--firmware %s: cannot map it: %s", file->path,
				strerror(-ret));
	}
	free(image);
	return ret;
}

void rom_entry(struct boot_entry *entry)
{
	*entry = (struct boot_entry){ .mode = BOOT_RESET_VECTOR };
}
