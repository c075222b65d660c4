/* SPDX-License-Identifier: MIT */
/* What the file, its file system or the device can do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends/block/engine.h"
#include "backends/block/image_host.h"

#define MAX_ALIGN (64 * KIB)

static uint32_t pow2_or(uint64_t v, uint32_t otherwise)
{
	return is_pow2(v) && v >= BLOCK_SECTOR && v <= 1u << 30 ? (uint32_t)v : otherwise;
}

/* --- O_DIRECT ---------------------------------------------------------------------------- */

int image_no_direct(const struct image *img, struct err *err)
{
	return err_set(
		err, -EINVAL,
		"%s: its file system has no direct I/O for cache=none; cache=writeback works",
		img->path);
}

/* The least that a read takes, for kernels that do not tell (before 6.1). */
static uint32_t probe_align(const struct image *img)
{
	uint32_t found = 0;
	char *buf =
		mmap(NULL, MAX_ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (buf == MAP_FAILED)
		return 0;
	/* A file too short to ask gets what suits nearly every host. */
	for (uint32_t a = img->size ? BLOCK_SECTOR : 4096; a <= MAX_ALIGN && !found; a *= 2)
		if (pread(img->fd, buf, a, 0) >= 0)
			found = a;
	munmap(buf, MAX_ALIGN);
	return found;
}

int image_direct(struct image *img, struct err *err)
{
	struct statx stx;
	int sector;

	img->io_align = img->mem_align = 0;
	if (!statx(img->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN) {
		img->io_align = stx.stx_dio_offset_align;
		img->mem_align = stx.stx_dio_mem_align;
	} else if (img->device && !ioctl(img->fd, BLKSSZGET, &sector) && sector > 0) {
		img->io_align = img->mem_align = (uint32_t)sector;
	} else {
		img->io_align = img->mem_align = probe_align(img);
	}
	if (!is_pow2(img->io_align) || !is_pow2(img->mem_align) || img->io_align > MAX_ALIGN ||
	    img->mem_align > PAGE_SIZE_4K)
		return image_no_direct(img, err);
	img->io_align = (uint32_t)max_u64(img->io_align, img->mem_align);
	return 0;
}

/* --- discard ----------------------------------------------------------------------------- */

/* A number of /sys/dev/block/M:m/queue, of the whole disk where it is a partition; 0: none. */
static uint64_t queue_number(dev_t dev, const char *name)
{
	static const char *const folders[] = { "queue", "../queue" };
	uint64_t v = 0;
	char path[96];
	FILE *f = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(folders) && !f; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(dev), minor(dev),
			 folders[i], name);
		f = fopen(path, "re");
	}
	if (f && fscanf(f, "%" SCNu64, &v) != 1)
		v = 0;
	if (f)
		fclose(f);
	return v;
}

static void device_limits(struct image *img, dev_t dev)
{
	unsigned physical = 0, opt = 0;
	int sector = BLOCK_SECTOR;

	(void)ioctl(img->fd, BLKSSZGET, &sector);
	(void)ioctl(img->fd, BLKPBSZGET, &physical);
	(void)ioctl(img->fd, BLKIOOPT, &opt);
	img->range_align = pow2_or((uint64_t)sector, BLOCK_SECTOR);
	img->limits.physical_block = pow2_or(physical, img->range_align);
	img->limits.opt_io = opt;
	if (!img->readonly && queue_number(dev, "discard_max_bytes")) {
		uint64_t granularity = queue_number(dev, "discard_granularity");

		img->discard = IMAGE_BLKDISCARD;
		img->limits.discard_align = pow2_or(granularity, img->range_align);
	}
}

/* Behind the end of the file there is nothing to lose. */
static bool can_punch(const struct image *img)
{
	uint64_t end = align_up(img->size, MIB);

	return !fallocate(img->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)end,
			  PAGE_SIZE_4K);
}

static void file_limits(struct image *img, const struct stat *st)
{
	struct statvfs fs;
	uint64_t block = PAGE_SIZE_4K;

	if (!fstatvfs(img->fd, &fs))
		block = fs.f_bsize;
	img->range_align = 1;
	/* A part of a page in the host's cache is read before it is changed. */
	img->limits.physical_block = (uint32_t)max_u64(img->io_align, BLOCK_SECTOR);
	if (img->io_align == 1)
		img->limits.physical_block = PAGE_SIZE_4K;
	if (st->st_blksize > (blksize_t)PAGE_SIZE_4K)
		img->limits.opt_io = pow2_or((uint64_t)st->st_blksize, 0);
	if (!img->readonly && can_punch(img)) {
		img->discard = IMAGE_PUNCH_HOLE;
		img->limits.discard_align = pow2_or(block, PAGE_SIZE_4K);
	}
}

/* tmpfs, for one, cannot. */
static bool has_nowait(const struct image *img)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return preadv2(img->fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP;
}

void image_limits(struct image *img)
{
	struct stat st = { 0 };

	img->nowait = has_nowait(img);
	img->limits.physical_block = BLOCK_SECTOR;
	img->range_align = 1;
	if (fstat(img->fd, &st))
		return;
	if (img->device)
		device_limits(img, st.st_rdev);
	else
		file_limits(img, &st);
}
