/* SPDX-License-Identifier: MIT */
#include "backends/block/nbd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/nbd_int.h"

#define MAX_DATA (32 * MIB) /* of a command, where the server names no less */

struct nbd_handle *nbd_new_handle(const struct nbd_lib *lib)
{
	struct nbd_handle *h = lib->create();

	if (h && (lib->set_pread_initialize(h, false) ||
		  lib->set_uri_allow_transports(h, LIBNBD_ALLOW_TRANSPORT_TCP |
							   LIBNBD_ALLOW_TRANSPORT_UNIX) ||
		  lib->set_uri_allow_local_file(h, true))) {
		lib->close(h);
		return NULL;
	}
	return h;
}

void nbd_hang_up(const struct nbd_lib *lib, struct nbd_handle *h)
{
	if (h)
		(void)lib->aio_disconnect(h, 0); /* politely, if that can be now */
	lib->close(h);
}

static void nbd_destroy(struct block *b)
{
	struct nbd_disk *d = container_of(b, struct nbd_disk, b);

	if (d->first)
		nbd_hang_up(&d->lib, d->first);
	free(d->uri);
	free(d);
}

static const struct block_ops nbd_ops = {
	.open_queue = nbd_queue_open,
	.destroy = nbd_destroy,
};

/* libnbd's line without the name of the function, which the user has not called. */
static const char *reason(const struct nbd_lib *lib)
{
	const char *text = lib->get_error(), *colon;

	if (!text)
		return "out of memory";
	colon = strncmp(text, "nbd_", 4) ? NULL : strstr(text, ": ");
	return colon ? colon + 2 : text;
}

/* What a server says of its blocks; 0 where it says nothing. */
static uint64_t block_size(struct nbd_disk *d, int which)
{
	int64_t size = d->lib.get_block_size(d->first, which);

	return size > 0 ? (uint64_t)size : 0;
}

static int take_export(struct nbd_disk *d, const struct block_config *cfg, struct err *err)
{
	struct nbd_handle *h = d->first;
	int64_t size = d->lib.get_size(h);
	uint64_t max = block_size(d, LIBNBD_SIZE_MAXIMUM);
	uint64_t preferred = block_size(d, LIBNBD_SIZE_PREFERRED);

	if (size < 0)
		return err_set(err, -EIO, "%s: cannot tell its size: %s", cfg->path,
			       reason(&d->lib));
	d->min_block = max_u64(block_size(d, LIBNBD_SIZE_MINIMUM), BLOCK_SECTOR);
	d->max_data = min_u64(max ? max : MAX_DATA, MAX_DATA);
	if (!is_pow2(d->min_block) || d->min_block > NBD_MAX_BLOCK || d->max_data < d->min_block)
		return err_set(err, -EPROTO, "%s: the server asks for blocks of %" PRIu64 " bytes",
			       cfg->path, d->min_block);
	if (!size)
		return err_set(err, -EINVAL, "%s: is empty", cfg->path);
	if ((uint64_t)size % d->min_block)
		return err_set(err, -EINVAL,
			       "%s: its length, %" PRId64 " bytes, is not a multiple of %" PRIu64,
			       cfg->path, size, d->min_block);
	if (!cfg->readonly && d->lib.is_read_only(h))
		return err_set(err, -EROFS,
			       "%s: may not be written; with readonly=on it can be used",
			       cfg->path);
	d->flushes = d->lib.can_flush(h) > 0;
	d->fua = d->lib.can_fua(h) > 0;
	d->zeroes = d->lib.can_zero(h) > 0;
	d->b.size = (uint64_t)size;
	d->b.limits.discard_align = d->lib.can_trim(h) > 0 ? (uint32_t)d->min_block : 0;
	if (!is_pow2(preferred) || preferred > NBD_MAX_BLOCK)
		preferred = 0;
	d->b.limits.physical_block = (uint32_t)max_u64(d->min_block, preferred);
	if (d->lib.can_multi_conn(h) <= 0 || d->min_block > BLOCK_SECTOR)
		d->b.limits.max_queues = 1;
	return 0;
}

static int connect_first(struct nbd_disk *d, const struct block_config *cfg, struct err *err)
{
	struct err why = { "" };
	int ret = nbd_lib_load(&d->lib, &why);

	if (ret)
		return err_set(err, ret, "%s: %.400s", cfg->path, why.text);
	d->first = nbd_new_handle(&d->lib);
	if (!d->first || d->lib.connect_uri(d->first, d->uri))
		return err_set(err, -EIO, "%s: %s", cfg->path, reason(&d->lib));
	return take_export(d, cfg, err);
}

bool nbd_disk_is_path(const char *path)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(path, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

int nbd_disk_open(const struct block_config *cfg, struct block **out, struct err *err)
{
	struct nbd_disk *d;
	int ret;

	if (cfg->format != BLOCK_RAW)
		return err_set(err, -EINVAL,
			       "%s: format=raw is what a server gives; it knows the format",
			       cfg->path);
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(err, -ENOMEM, "%s: out of memory", cfg->path);
	d->b.ops = &nbd_ops;
	d->b.readonly = cfg->readonly;
	d->cache = cfg->cache;
	d->uri = strdup(cfg->path);
	ret = d->uri ? connect_first(d, cfg, err)
		     : err_set(err, -ENOMEM, "%s: out of memory", cfg->path);
	if (ret) {
		nbd_destroy(&d->b);
		return ret;
	}
	*out = &d->b;
	return 0;
}
