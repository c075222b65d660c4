/* SPDX-License-Identifier: MIT */
/* "Header", "Header extensions", "Feature name table". */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

#define MAGIC 0x514649fbu /* "QFI\xfb" */
#define V2_LENGTH 72
#define V3_LENGTH 104
#define COMPRESSION_ZSTD 1
#define MAX_SNAPSHOTS 65536u

enum {
	AT_VERSION = 4,
	AT_BACKING_OFFSET = 8,
	AT_BACKING_SIZE = 16,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_CRYPT = 32,
	AT_L1_SIZE = 36,
	AT_L1_OFFSET = 40,
	AT_REFTABLE_OFFSET = 48,
	AT_REFTABLE_CLUSTERS = 56,
	AT_NR_SNAPSHOTS = 60,
	AT_SNAPSHOTS_OFFSET = 64,
	AT_INCOMPATIBLE = 72,
	AT_COMPATIBLE = 80,
	AT_AUTOCLEAR = 88,
	AT_REFCOUNT_ORDER = 96,
	AT_HEADER_LENGTH = 100,
	AT_COMPRESSION = 104,
};

enum { EXT_END = 0, EXT_BACKING_FORMAT = 0xe2792aca, EXT_FEATURE_NAMES = 0x6803f857 };

#define FEATURE_ENTRY 48 /* type, bit, name */
#define FEATURE_NAME 46

static uint32_t be32(const uint8_t *p)
{
	return be32toh((uint32_t)load_le(p, 4));
}

static uint64_t be64(const uint8_t *p)
{
	return be64toh(load_le(p, 8));
}

/* The first cluster, of len bytes, and where in it the extensions start. */
struct first {
	const uint8_t *p;
	uint64_t len;
	uint64_t extensions;
	char feature[FEATURE_NAME + 1]; /* an incompatible one that we do not know */
};

static int parse_fields(struct qcow2 *q, struct first *f, struct err *err)
{
	struct qcow2_header *h = &q->h;
	const char *path = q->img.path;
	uint32_t length = V2_LENGTH;

	h->size = be64(f->p + AT_SIZE);
	h->l1_size = be32(f->p + AT_L1_SIZE);
	h->l1_offset = be64(f->p + AT_L1_OFFSET);
	h->reftable_offset = be64(f->p + AT_REFTABLE_OFFSET);
	h->reftable_clusters = be32(f->p + AT_REFTABLE_CLUSTERS);
	h->nr_snapshots = be32(f->p + AT_NR_SNAPSHOTS);
	h->snapshots_offset = be64(f->p + AT_SNAPSHOTS_OFFSET);
	h->refcount_order = 4;
	if (be32(f->p + AT_CRYPT))
		return err_set(err, -ENOTSUP, "%s: is encrypted, which bantam cannot read", path);
	if (h->version > 2) {
		h->incompatible = be64(f->p + AT_INCOMPATIBLE);
		h->autoclear = be64(f->p + AT_AUTOCLEAR);
		h->refcount_order = be32(f->p + AT_REFCOUNT_ORDER);
		length = be32(f->p + AT_HEADER_LENGTH);
		if (length < V3_LENGTH || length % 8 || length > f->len)
			return err_set(err, -EINVAL,
				       "%s: its qcow2 header cannot be %" PRIu32 " bytes long",
				       path, length);
	}
	if (h->incompatible & QCOW2_INCOMPAT_COMPRESSION) {
		uint8_t type = length > AT_COMPRESSION ? f->p[AT_COMPRESSION] : 0;

		if (type != COMPRESSION_ZSTD)
			return err_set(err, -ENOTSUP, "%s: its compression type %u is not known",
				       path, type);
		h->zstd = true;
	}
	f->extensions = length;
	return 0;
}

static void take_feature_names(const struct qcow2_header *h, struct first *f, const uint8_t *p,
			       uint64_t len)
{
	for (; len >= FEATURE_ENTRY; p += FEATURE_ENTRY, len -= FEATURE_ENTRY) {
		uint64_t known = QCOW2_INCOMPAT_EXTENDED_L2 * 2 - 1;

		if (p[0] == 0 && p[1] < 64 && (h->incompatible & ~known & (1ull << p[1])))
			memcpy(f->feature, p + 2, FEATURE_NAME);
	}
}

static int parse_extensions(struct qcow2 *q, struct first *f, struct err *err)
{
	struct qcow2_header *h = &q->h;
	uint64_t at = f->extensions, end = f->len;
	uint64_t name_at = be64(f->p + AT_BACKING_OFFSET);
	uint64_t name_len = be32(f->p + AT_BACKING_SIZE);

	if (name_at) {
		if (name_at < at || name_at > end || name_len > end - name_at || !name_len ||
		    name_len >= sizeof(h->backing_name) || memchr(f->p + name_at, '\0', name_len))
			return err_set(err, -EINVAL, "%s: its backing file's name is damaged",
				       q->img.path);
		memcpy(h->backing_name, f->p + name_at, name_len);
		end = name_at;
	}
	while (end - at >= 8) {
		uint32_t type = be32(f->p + at), len = be32(f->p + at + 4);
		const uint8_t *data = f->p + at + 8;

		if (type == EXT_END)
			break;
		if (len > end - at - 8)
			return err_set(err, -EINVAL, "%s: a qcow2 header extension is too long",
				       q->img.path);
		if (type == EXT_FEATURE_NAMES)
			take_feature_names(h, f, data, len);
		if (type == EXT_BACKING_FORMAT) {
			if (len >= sizeof(h->backing_format))
				return err_set(err, -EINVAL,
					       "%s: its backing file's format is damaged",
					       q->img.path);
			memcpy(h->backing_format, data, len);
		}
		at += min_u64(end - at, 8 + align_up(len, 8));
	}
	return 0;
}

static int check_features(const struct qcow2 *q, const struct first *f, struct err *err)
{
	const char *path = q->img.path;
	uint64_t bits = q->h.incompatible;
	uint64_t known = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_COMPRESSION;
	uint64_t unknown = bits & ~known;

	if (unknown & QCOW2_INCOMPAT_DATA_FILE)
		return err_set(err, -ENOTSUP,
			       "%s: has its data in another file, which bantam cannot read", path);
	if (unknown & QCOW2_INCOMPAT_EXTENDED_L2)
		return err_set(err, -ENOTSUP,
			       "%s: has extended L2 entries, which bantam cannot read", path);
	if (unknown)
		return err_set(err, -ENOTSUP, "%s: has a feature that bantam does not know: %s%s%d",
			       path, f->feature, *f->feature ? ", bit " : "bit ",
			       __builtin_ctzll(unknown));
	if (q->img.readonly)
		return 0;
	if (bits & QCOW2_INCOMPAT_CORRUPT)
		return err_set(err, -EUCLEAN,
			       "%s: is marked corrupt; 'qemu-img check -r all' may repair it, or "
			       "read it with readonly=on",
			       path);
	/*
	 * We never set it: lazy refcounts, which are where it comes from, are a permission that
	 * we do not need, as no barrier is there for refcounts alone.
	 */
	if (bits & QCOW2_INCOMPAT_DIRTY)
		return err_set(err, -EUCLEAN,
			       "%s: was not closed and its refcounts may be wrong; 'qemu-img check "
			       "-r all' repairs it, or read it with readonly=on",
			       path);
	return 0;
}

/* A table that starts at a cluster's border, is not the header, and ends below 2^56. */
static bool good_table(const struct qcow2 *q, uint64_t off, uint64_t bytes, uint64_t max)
{
	return off && !qcow2_in_cluster(q, off) && bytes <= max && off < QCOW2_MAX_OFFSET &&
	       off + bytes <= align_up(q->file_end, qcow2_cluster_size(q));
}

static int check_tables(const struct qcow2 *q, struct err *err)
{
	const struct qcow2_header *h = &q->h;
	uint64_t per_table = qcow2_table_entries(q) << h->cluster_bits;
	uint64_t reftable = (uint64_t)h->reftable_clusters << h->cluster_bits;
	const char *what = NULL;

	if (!h->size || h->size % BLOCK_SECTOR)
		return err_set(err, -EINVAL,
			       "%s: its disk's size, %" PRIu64 " bytes, is no multiple of %u",
			       q->img.path, h->size, BLOCK_SECTOR);
	if (h->size > INT64_MAX || (h->size - 1) / per_table >= h->l1_size ||
	    !good_table(q, h->l1_offset, (uint64_t)h->l1_size * QCOW2_ENTRY, QCOW2_MAX_L1_BYTES))
		what = "L1 table";
	else if (!reftable ||
		 !good_table(q, h->reftable_offset, reftable, QCOW2_MAX_REFTABLE_BYTES))
		what = "refcount table";
	else if (h->refcount_order > 6)
		what = "refcounts' width";
	else if (h->nr_snapshots > MAX_SNAPSHOTS ||
		 (h->nr_snapshots && !good_table(q, h->snapshots_offset, 0, 0)))
		what = "snapshot table";
	return what ? err_set(err, -EINVAL, "%s: is damaged: its %s cannot be as the header says",
			      q->img.path, what)
		    : 0;
}

int qcow2_header_read(struct qcow2 *q, struct err *err)
{
	const char *path = q->img.path;
	uint8_t fixed[V2_LENGTH];
	struct first f = { .p = fixed };
	uint8_t *buf;
	int ret = qcow2_pread(q, fixed, sizeof(fixed), 0);

	if (ret)
		return err_set(err, ret, "%s: %s", path, strerror(-ret));
	if (q->file_end < sizeof(fixed) || be32(fixed) != MAGIC)
		return err_set(err, -EINVAL, "%s: is no qcow2 image", path);
	memset(&q->h, 0, sizeof(q->h));
	q->h.version = be32(fixed + AT_VERSION);
	if (q->h.version < 2 || q->h.version > 3)
		return err_set(err, -ENOTSUP, "%s: is qcow2 version %" PRIu32 ", not 2 or 3", path,
			       q->h.version);
	q->h.cluster_bits = be32(fixed + AT_CLUSTER_BITS);
	if (q->h.cluster_bits < 9 || q->h.cluster_bits > 21)
		return err_set(err, -EINVAL, "%s: its clusters cannot be of 2^%" PRIu32 " bytes",
			       path, q->h.cluster_bits);
	f.len = qcow2_cluster_size(q);
	buf = malloc(f.len);
	if (!buf)
		return err_set(err, -ENOMEM, "%s: out of memory", path);
	f.p = buf;
	ret = qcow2_pread(q, buf, f.len, 0);
	if (ret)
		ret = err_set(err, ret, "%s: %s", path, strerror(-ret));
	else
		ret = parse_fields(q, &f, err) ?: parse_extensions(q, &f, err) ?:
						  check_features(q, &f, err) ?:
						  check_tables(q, err);
	free(buf);
	return ret;
}

int qcow2_header_write_features(struct qcow2 *q)
{
	uint64_t bits[3] = { htobe64(q->h.incompatible), 0, htobe64(q->h.autoclear) };

	if (q->h.version < 3)
		return 0;
	return qcow2_pread(q, &bits[1], 8, AT_COMPATIBLE)
		       ?: qcow2_pwrite(q, bits, sizeof(bits), AT_INCOMPATIBLE);
}

int qcow2_header_write_l1(struct qcow2 *q)
{
	uint8_t buf[AT_REFTABLE_OFFSET - AT_SIZE] = { 0 }; /* crypt_method lies between, 0 */

	store_le(buf, 8, htobe64(q->h.size));
	store_le(&buf[AT_L1_SIZE - AT_SIZE], 4, htobe32(q->h.l1_size));
	store_le(&buf[AT_L1_OFFSET - AT_SIZE], 8, htobe64(q->h.l1_offset));
	return qcow2_pwrite(q, buf, sizeof(buf), AT_SIZE);
}

int qcow2_header_write_reftable(struct qcow2 *q)
{
	uint8_t buf[AT_NR_SNAPSHOTS - AT_REFTABLE_OFFSET];

	store_le(buf, 8, htobe64(q->h.reftable_offset));
	store_le(&buf[AT_REFTABLE_CLUSTERS - AT_REFTABLE_OFFSET], 4,
		 htobe32(q->h.reftable_clusters));
	return qcow2_pwrite(q, buf, sizeof(buf), AT_REFTABLE_OFFSET);
}
