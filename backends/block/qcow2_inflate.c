/* SPDX-License-Identifier: MIT */
/* "Compressed Clusters Descriptor": one cluster, decompressed, is kept for those who read on. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "backends/block/qcow2_impl.h"

#define WINDOW_BITS (-15) /* raw deflate; any window */

struct qcow2_inflate {
	uint64_t host; /* what out is of; 0: of nothing */
	uint8_t *in; /* two clusters: the descriptor counts no further */
	uint8_t *out;
	z_stream zlib;
	ZSTD_DCtx *zstd; /* NULL: the image is zlib's */
};

static int init(struct qcow2 *q)
{
	struct qcow2_inflate *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	q->inflate = f;
	f->in = malloc(2 * qcow2_cluster_size(q));
	f->out = malloc(qcow2_cluster_size(q));
	if (q->h.zstd)
		f->zstd = ZSTD_createDCtx();
	if (f->in && f->out &&
	    (q->h.zstd ? !!f->zstd : inflateInit2(&f->zlib, WINDOW_BITS) == Z_OK))
		return 0;
	qcow2_inflate_destroy(q);
	return -ENOMEM;
}

void qcow2_inflate_destroy(struct qcow2 *q)
{
	struct qcow2_inflate *f = q->inflate;

	if (!f)
		return;
	ZSTD_freeDCtx(f->zstd);
	(void)inflateEnd(&f->zlib);
	free(f->in);
	free(f->out);
	free(f);
	q->inflate = NULL;
}

void qcow2_inflate_forget(struct qcow2 *q)
{
	if (q->inflate)
		q->inflate->host = 0;
}

static int inflate_zlib(struct qcow2_inflate *f, uint32_t in_len, uint64_t out_len)
{
	z_stream *z = &f->zlib;

	(void)inflateReset(z);
	z->next_in = f->in;
	z->avail_in = in_len;
	z->next_out = f->out;
	z->avail_out = (uInt)out_len;
	(void)inflate(z, Z_FINISH);
	return z->avail_out ? -EIO : 0;
}

static int inflate_zstd(struct qcow2_inflate *f, uint32_t in_len, uint64_t out_len)
{
	ZSTD_inBuffer in = { f->in, in_len, 0 };
	ZSTD_outBuffer out = { f->out, out_len, 0 };

	(void)ZSTD_DCtx_reset(f->zstd, ZSTD_reset_session_only);
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos;
		size_t ret = ZSTD_decompressStream(f->zstd, &out, &in);

		if (ZSTD_isError(ret) || in.pos + out.pos == before)
			return -EIO;
	}
	return 0;
}

int qcow2_inflate(struct qcow2 *q, const struct qcow2_mapping *m, const uint8_t **out)
{
	uint64_t size = qcow2_cluster_size(q);
	struct qcow2_inflate *f;
	int ret = q->inflate ? 0 : init(q);

	if (ret)
		return ret;
	f = q->inflate;
	*out = f->out;
	if (f->host == m->host)
		return 0;
	f->host = 0;
	ret = qcow2_pread(q, f->in, m->deflated, m->host);
	if (!ret)
		ret = q->h.zstd ? inflate_zstd(f, m->deflated, size)
				: inflate_zlib(f, m->deflated, size);
	if (!ret)
		f->host = m->host;
	return ret;
}
