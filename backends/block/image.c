/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/block/image.h"
#include "base/log.h"

/* The synchronous engine: on the thread that submits. */
struct sync_queue {
	struct block_queue q;
	struct image *img;
};

static ssize_t rw_vec(int fd, bool write, const struct iovec *iov, unsigned n, uint64_t off)
{
	int cnt = (int)min_u64(n, IOV_MAX);

	return write ? pwritev(fd, iov, cnt, (off_t)off) : preadv(fd, iov, cnt, (off_t)off);
}

static int rw_buf(int fd, bool write, char *buf, size_t len, uint64_t off)
{
	return write ? util_pwrite_all(fd, buf, len, off) : util_pread_all(fd, buf, len, off);
}

/* Everything, in one call unless the host gives or takes less. 0 or -errno. */
static int rw_all(int fd, bool write, const struct iovec *iov, unsigned n, uint64_t off)
{
	while (n) {
		ssize_t done = rw_vec(fd, write, iov, n, off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0 && iov->iov_len)
			return -ENODATA; /* truncated under us */
		off += (uint64_t)done;
		while (n && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		/* The iovec is the submitter's: the rest of a split buffer goes by itself. */
		if (n && done) {
			size_t rest = iov->iov_len - (size_t)done;
			int ret = rw_buf(fd, write, (char *)iov->iov_base + done, rest, off);

			if (ret)
				return ret;
			off += rest;
			iov++;
			n--;
		}
	}
	return 0;
}

static int image_flush(struct image *img)
{
	int ret;

	if (img->readonly)
		return 0;
	if (!img->flush_failed) {
		do
			ret = fdatasync(img->fd);
		while (ret && errno == EINTR);
		img->flush_failed = ret;
	}
	return img->flush_failed ? -EIO : 0;
}

static void sync_submit(struct block_queue *q, struct block_req *req)
{
	struct image *img = container_of(q, struct sync_queue, q)->img;
	int ret;

	if (req->op == BLOCK_FLUSH)
		ret = image_flush(img);
	else
		ret = rw_all(img->fd, req->op == BLOCK_WRITE, req->iov, req->nr_iov, req->offset);
	req->done(req, ret ? -EIO : 0);
}

static void sync_close(struct block_queue *q)
{
	free(container_of(q, struct sync_queue, q));
}

static const struct block_queue_ops sync_ops = { .submit = sync_submit, .close = sync_close };

int image_open_queue(struct image *img, struct block *block, const struct block_queue_config *cfg,
		     struct block_queue **out)
{
	struct sync_queue *s = calloc(1, sizeof(*s));

	(void)cfg;
	if (!s)
		return -ENOMEM;
	*s = (struct sync_queue){ { &sync_ops, block }, img };
	*out = &s->q;
	return 0;
}

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

static int open_image(const struct block_config *cfg, struct err *err)
{
	/* Should it turn into a FIFO between stat and open, we do not hang on it. */
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (cfg->readonly ? O_RDONLY : O_RDWR);
	struct stat st;
	int fd, ret;

	/* By name first: merely opening a tape or a watchdog does something to it. */
	if (stat(cfg->path, &st))
		return err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
	ret = check_kind(cfg, st.st_mode, err);
	if (ret)
		return ret;
	fd = open(cfg->path, flags);
	if (fd < 0) {
		ret = -errno;
		if (!cfg->readonly && (ret == -EACCES || ret == -EROFS || ret == -EPERM) &&
		    !access(cfg->path, R_OK))
			return err_set(
				err, ret,
				"%s: may not be written (%s); with readonly=on it can be used",
				cfg->path, strerror(-ret));
		return err_set(err, ret, "%s: %s", cfg->path, strerror(-ret));
	}
	if (fstat(fd, &st)) {
		ret = err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
	} else {
		ret = check_kind(cfg, st.st_mode, err);
	}
	if (ret) {
		close(fd);
		return ret;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

static int image_size(const struct block_config *cfg, int fd, uint64_t *out, struct err *err)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(fd, &st))
		return err_set(err, -errno, "%s: %s", cfg->path, strerror(errno));
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &bytes))
		return err_set(err, -errno, "%s: cannot tell its size: %s", cfg->path,
			       strerror(errno));
	*out = bytes;
	return 0;
}

/*
 * The lock belongs to the open file, so it goes with the last descriptor, however we
 * end. It covers the whole file, which also meets the byte ranges of other VMMs.
 */
static int lock_image(const struct block_config *cfg, int fd, struct err *err)
{
	struct flock fl = { .l_type = cfg->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	struct flock holder = fl;
	char who[48] = "another process";

	if (!fcntl(fd, F_OFD_SETLK, &fl))
		return 0;
	if (errno != EAGAIN && errno != EACCES) {
		log_warn("--disk %s: cannot be locked (%s); do not use it twice", cfg->path,
			 strerror(errno));
		return 0;
	}
	if (!fcntl(fd, F_OFD_GETLK, &holder) && holder.l_type != F_UNLCK && holder.l_pid > 0)
		snprintf(who, sizeof(who), "process %ld", (long)holder.l_pid);
	return err_set(err, -EBUSY, "%s: is in use by %s%s", cfg->path, who,
		       cfg->readonly ? ", which writes to it" : "");
}

int image_open(struct image *img, const struct block_config *cfg, struct err *err)
{
	int ret;

	*img = (struct image){
		.fd = open_image(cfg, err),
		.path = cfg->path,
		.readonly = cfg->readonly,
		.cache = cfg->cache,
		.engine = BLOCK_ENGINE_SYNC,
		.limits.physical_block = BLOCK_SECTOR,
	};
	if (img->fd < 0)
		return img->fd;
	ret = image_size(cfg, img->fd, &img->size, err) ?: lock_image(cfg, img->fd, err);
	if (ret)
		image_close(img);
	return ret;
}

void image_close(struct image *img)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = -1;
}
