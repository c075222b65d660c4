/* SPDX-License-Identifier: MIT */
#include "firmware/firmware.h"

#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/loader.h"

static int check_config(struct loader *l)
{
	const struct firmware_config *cfg = l->cfg;

	if (cfg->nr_cpus < 1 || cfg->nr_cpus > PLATFORM_MAX_CPUS)
		return err_set(l->err, -EINVAL, "--cpus %u: 1 to %d", cfg->nr_cpus,
			       PLATFORM_MAX_CPUS);
	if (cfg->kernel.fd < 0)
		return err_set(l->err, -EINVAL, "--kernel: no file");
	if (!cfg->kernel.size)
		return err_set(l->err, -ENOEXEC, "--kernel %s: the file is empty",
			       cfg->kernel.path);
	return 0;
}

int firmware_load(struct mem *mem, const struct firmware_config *cfg, struct boot_entry *entry,
		  struct err *err)
{
	struct loader l = { .mem = mem, .cfg = cfg, .err = err };
	const struct firmware_file *kernel = &cfg->kernel;
	uint8_t head[0x206] = { 0 };
	int ret = check_config(&l);

	if (!ret)
		ret = loader_read(&l, "--kernel", kernel, head, min_u64(kernel->size, sizeof(head)),
				  0);
	if (ret)
		return ret;
	if (!memcmp(head, "\177ELF", 4))
		return pvh_load(&l, entry);
	if (!memcmp(head + 0x202, "HdrS", 4))
		return bzimage_load(&l, entry);
	return err_set(l.err, -ENOEXEC,
		       "--kernel %s: neither a bzImage (no HdrS at 0x202) nor an ELF with a Xen "
		       "PVH note",
		       kernel->path);
}
