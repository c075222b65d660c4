/* SPDX-License-Identifier: MIT */
/*
 * Raw images and block devices, served synchronously on the thread that submits.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/block/block.h"
#include "base/log.h"

struct raw {
	struct block b;
	int fd;
	/*
	 * After a failed fdatasync the kernel forgets which pages it could not write, and
	 * the next one succeeds: what was lost stays lost, so this disk never flushes again.
	 */
	bool flush_failed;
};

static struct raw *to_raw(struct block *b)
{
	return container_of(b, struct raw, b);
}

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

static int raw_flush(struct raw *r)
{
	int ret;

	if (r->b.readonly)
		return 0;
	if (!r->flush_failed) {
		do
			ret = fdatasync(r->fd);
		while (ret && errno == EINTR);
		r->flush_failed = ret;
	}
	return r->flush_failed ? -EIO : 0;
}

static void raw_submit(struct block *b, struct block_req *req)
{
	struct raw *r = to_raw(b);
	int ret;

	if (req->op == BLOCK_FLUSH)
		ret = raw_flush(r);
	else
		ret = rw_all(r->fd, req->op == BLOCK_WRITE, req->iov, req->nr_iov, req->offset);
	req->done(req, ret ? -EIO : 0);
}

static int raw_attach(struct block *b, struct loop *loop)
{
	/* Nothing outlives submit, so it does not matter whose thread that is. */
	(void)b;
	(void)loop;
	return 0;
}

static void raw_destroy(struct block *b)
{
	struct raw *r = to_raw(b);

	close(r->fd);
	free(r);
}

static const struct block_ops raw_ops = {
	.attach = raw_attach,
	.submit = raw_submit,
	.destroy = raw_destroy,
};

/* Says what is wrong with path, for the user, and returns ret. */
static int __printf(5, 6)
	fail(const struct block_config *cfg, char *err, size_t size, int ret, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(err, size, "%s: ", cfg->path);

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < size)
		vsnprintf(err + n, size - (size_t)n, fmt, ap);
	va_end(ap);
	return ret;
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

static int check_kind(const struct block_config *cfg, mode_t mode, char *err, size_t size)
{
	const char *kind = special_kind(mode);

	if (kind)
		return fail(cfg, err, size, S_ISDIR(mode) ? -EISDIR : -EINVAL,
			    "is %s, not an image file or a block device", kind);
	return 0;
}

static int open_image(const struct block_config *cfg, char *err, size_t size)
{
	/* Should it turn into a FIFO between stat and open, we do not hang on it. */
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (cfg->readonly ? O_RDONLY : O_RDWR);
	struct stat st;
	int fd, ret;

	/* By name first: merely opening a tape or a watchdog does something to it. */
	if (stat(cfg->path, &st))
		return fail(cfg, err, size, -errno, "%s", strerror(errno));
	ret = check_kind(cfg, st.st_mode, err, size);
	if (ret)
		return ret;
	fd = open(cfg->path, flags);
	if (fd < 0) {
		ret = -errno;
		if (!cfg->readonly && (ret == -EACCES || ret == -EROFS || ret == -EPERM) &&
		    !access(cfg->path, R_OK))
			return fail(cfg, err, size, ret,
				    "may not be written (%s); with readonly=on it can be used",
				    strerror(-ret));
		return fail(cfg, err, size, ret, "%s", strerror(-ret));
	}
	if (fstat(fd, &st)) {
		ret = fail(cfg, err, size, -errno, "%s", strerror(errno));
	} else {
		ret = check_kind(cfg, st.st_mode, err, size);
	}
	if (ret) {
		close(fd);
		return ret;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

static int image_size(const struct block_config *cfg, int fd, uint64_t *out, char *err, size_t size)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(fd, &st))
		return fail(cfg, err, size, -errno, "%s", strerror(errno));
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &bytes))
		return fail(cfg, err, size, -errno, "cannot tell its size: %s", strerror(errno));
	if (!bytes)
		return fail(cfg, err, size, -EINVAL, "is empty");
	if (bytes % BLOCK_SECTOR)
		return fail(cfg, err, size, -EINVAL,
			    "its length, %" PRIu64 " bytes, is not a multiple of %u", bytes,
			    BLOCK_SECTOR);
	*out = bytes;
	return 0;
}

/*
 * The lock belongs to the open file, so it goes with the last descriptor, however we
 * end. It covers the whole file, which also meets the byte ranges of other VMMs.
 */
static int lock_image(const struct block_config *cfg, int fd, char *err, size_t size)
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
	return fail(cfg, err, size, -EBUSY, "is in use by %s%s", who,
		    cfg->readonly ? ", which writes to it" : "");
}

int block_raw_open(const struct block_config *cfg, struct block **out, char *err, size_t size)
{
	struct raw *r;
	int fd, ret;

	if (cfg->serial && strlen(cfg->serial) > BLOCK_SERIAL_LEN)
		return fail(cfg, err, size, -EINVAL, "its serial number is longer than %d bytes",
			    BLOCK_SERIAL_LEN);
	fd = open_image(cfg, err, size);
	if (fd < 0)
		return fd;
	r = calloc(1, sizeof(*r));
	if (!r) {
		close(fd);
		return fail(cfg, err, size, -ENOMEM, "%s", strerror(ENOMEM));
	}
	r->b.ops = &raw_ops;
	r->b.readonly = cfg->readonly;
	r->fd = fd;
	if (cfg->serial)
		snprintf(r->b.serial, sizeof(r->b.serial), "%s", cfg->serial);
	ret = image_size(cfg, fd, &r->b.size, err, size) ?: lock_image(cfg, fd, err, size);
	if (ret) {
		raw_destroy(&r->b);
		return ret;
	}
	*out = &r->b;
	return 0;
}
