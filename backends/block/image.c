/* SPDX-License-Identifier: MIT */
#include "backends/block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/block/engine.h"
#include "backends/block/image_host.h"

static const char *special_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a folder";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
		return "a character device";
	default:
		return NULL;
	}
}

static int check_kind(const struct block_config *cfg, mode_t mode, struct err *err)
{
	const char *kind = special_kind(mode);

	if (kind)
		return err_set(err, S_ISDIR(mode) ? -EISDIR : -EINVAL,
			       "%s: is %s, not an image file or a block device", cfg->path, kind);
	return 0;
}

static int check_open(const struct block_config *cfg, int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
	return check_kind(cfg, st.st_mode, err);
}

static int cannot_open(const struct image *img, int ret, struct err *err)
{
	bool right = ret == -EACCES || ret == -EROFS || ret == -EPERM;

	/* Linux says EINVAL of an O_DIRECT that the file system has not. */
	if (ret == -EINVAL && img->cache == BLOCK_CACHE_NONE)
		return image_no_direct(img, err);
	if (!img->readonly && right && !access(img->path, R_OK))
		return err_set(err, ret,
			       "%s: may not be written (%s); with readonly=on it can be used",
			       img->path, strerror(-ret));
	return err_set(err, ret, "%s: %s", img->path, strerror(-ret));
}

static int open_file(struct image *img, const struct block_config *cfg, struct err *err)
{
	/* Should it turn into a FIFO between stat and open, we do not hang on it. */
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (cfg->readonly ? O_RDONLY : O_RDWR);
	struct stat st;
	int ret;

	if (cfg->cache == BLOCK_CACHE_NONE)
		flags |= O_DIRECT;
	/* By name first: merely opening a tape or a watchdog does something to it. */
	if (stat(cfg->path, &st))
		return err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
	ret = check_kind(cfg, st.st_mode, err);
	if (ret)
		return ret;
	img->fd = open(cfg->path, flags);
	if (img->fd < 0)
		return cannot_open(img, -errno, err);
	ret = check_open(cfg, img->fd, err);
	if (!ret)
		(void)fcntl(img->fd, F_SETFL, fcntl(img->fd, F_GETFL) & ~O_NONBLOCK);
	return ret;
}

static int read_size(struct image *img, struct err *err)
{
	struct stat st;

	if (fstat(img->fd, &st))
		return err_set(err, -errno, "%s: %s", img->path, strerror(errno));
	img->device = S_ISBLK(st.st_mode);
	img->size = (uint64_t)st.st_size;
	if (img->device && ioctl(img->fd, BLKGETSIZE64, &img->size))
		return err_set(err, -errno, "%s: cannot tell its size: %s", img->path,
			       strerror(errno));
	return 0;
}

static int choose_engine(struct image *img, const struct block_config *cfg, struct err *err)
{
	int ret;

	img->engine = cfg->engine;
	if (cfg->engine == BLOCK_ENGINE_SYNC || cfg->engine == BLOCK_ENGINE_THREADS)
		return 0;
	ret = engine_uring_probe(cfg->sqpoll);
	img->engine = BLOCK_ENGINE_IO_URING;
	img->fall_back = cfg->engine == BLOCK_ENGINE_AUTO;
	if (!ret)
		return 0;
	img->engine = BLOCK_ENGINE_THREADS;
	if (img->fall_back)
		return 0;
	return err_set(err, ret,
		       "%s: engine=io_uring: this host does not let us (%s); engine=threads works",
		       img->path, strerror(-ret));
}

static void close_file(struct image *img)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = -1;
}

int image_open(struct image *img, const struct block_config *cfg, struct err *err)
{
	int ret;

	*img = (struct image){
		.fd = -1,
		.path = cfg->path,
		.readonly = cfg->readonly,
		.cache = cfg->cache,
		.sqpoll = cfg->sqpoll,
		.io_align = 1,
		.mem_align = 1,
	};
	ret = open_file(img, cfg, err) ?: read_size(img, err);
	ret = ret ?: image_lock(img, err);
	if (!ret && cfg->cache == BLOCK_CACHE_NONE)
		ret = image_direct(img, err);
	ret = ret ?: choose_engine(img, cfg, err);
	if (ret) {
		close_file(img);
		return ret;
	}
	image_limits(img);
	engine_gate_init(&img->gate);
	/*
	 * A disk's sectors come whole, and so do clusters. A smaller piece that a format writes about
	 * itself meets nothing in its sector, as only one thread does that.
	 */
	img->gated = img->io_align > BLOCK_SECTOR;
	return 0;
}

void image_close(struct image *img)
{
	if (img->fd < 0)
		return;
	engine_gate_destroy(&img->gate);
	image_let_go(img);
}

int image_resize(struct image *img, uint64_t size, struct err *err)
{
	int ret = 0;

	if (!img->device && ftruncate(img->fd, (off_t)size))
		return err_set(err, -errno, "%s: cannot be made %" PRIu64 " bytes long: %s",
			       img->path, size, strerror(errno));
	ret = read_size(img, err);
	if (!ret && img->size != size)
		ret = err_set(err, -EOPNOTSUPP,
			      "%s: is a device of %" PRIu64 " bytes, not of %" PRIu64, img->path,
			      img->size, size);
	return ret;
}

int image_open_queue(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out)
{
	if (img->engine == BLOCK_ENGINE_SYNC)
		return engine_sync_open(img, block, cfg, out);
	if (img->engine == BLOCK_ENGINE_IO_URING) {
		int ret = engine_uring_open(img, block, cfg, out);

		if (!ret || !img->fall_back)
			return ret;
		img->engine = BLOCK_ENGINE_THREADS;
	}
	return engine_threads_open(img, block, cfg, out);
}
