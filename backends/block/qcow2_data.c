/* SPDX-License-Identifier: MIT */
/* The guest's data, on the writer's thread: whatever the I/O threads cannot do by themselves. */
#include <errno.h>
#include <string.h>

#include "backends/block/qcow2_impl.h"

#define MAX_VEC 64

static uint64_t cluster_of(const struct qcow2 *q, uint64_t off)
{
	return off >> q->h.cluster_bits;
}

/* Up to the end of off's cluster. */
static uint64_t within_cluster(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	return min_u64(len, qcow2_cluster_size(q) - qcow2_in_cluster(q, off));
}

static int read_mapped(struct qcow2 *q, const struct qcow2_mapping *m, uint64_t guest_off,
		       void *buf, uint64_t len)
{
	const uint8_t *whole;
	int ret;

	switch (m->kind) {
	case QCOW2_KIND_NONE:
		if (q->backing)
			return qcow2_backing_read(q->backing, guest_off, buf, len);
		memset(buf, 0, len);
		return 0;
	case QCOW2_KIND_ZERO:
		memset(buf, 0, len);
		return 0;
	case QCOW2_KIND_DATA:
		return qcow2_pread(q, buf, len, m->host + qcow2_in_cluster(q, guest_off));
	case QCOW2_KIND_DEFLATED:
		ret = qcow2_inflate(q, m, &whole);
		if (!ret)
			memcpy(buf, whole + qcow2_in_cluster(q, guest_off), len);
		return ret;
	default:
		return -EIO;
	}
}

int qcow2_read(struct qcow2 *q, uint64_t guest_off, void *buf, uint64_t len)
{
	uint64_t have = guest_off < q->h.size ? min_u64(len, q->h.size - guest_off) : 0;
	char *p = buf;

	memset(p + have, 0, len - have);
	while (have) {
		uint64_t n = within_cluster(q, guest_off, have);
		struct qcow2_mapping m;
		int ret = qcow2_map(q, cluster_of(q, guest_off), &m)
				  ?: read_mapped(q, &m, guest_off, p, n);

		if (ret)
			return ret;
		p += n;
		guest_off += n;
		have -= n;
	}
	return 0;
}

/* What is still to be written of a request. */
struct source {
	const struct iovec *iov;
	unsigned nr;
	size_t skip; /* of the first one */
};

static void source_skip(struct source *s, size_t n)
{
	s->skip += n;
	while (s->nr && s->skip >= s->iov->iov_len) {
		s->skip -= s->iov->iov_len;
		s->iov++;
		s->nr--;
	}
}

/* Takes len bytes from s to off. 0 or -errno. */
static int write_source(struct qcow2 *q, struct source *s, uint64_t len, uint64_t off)
{
	while (len) {
		struct iovec vec[MAX_VEC];
		uint64_t sum = 0;
		unsigned n = 0;
		int ret;

		for (unsigned i = 0; i < s->nr && n < MAX_VEC && sum < len; i++) {
			size_t skip = i ? 0 : s->skip;

			if (!s->iov[i].iov_len)
				continue;
			vec[n].iov_base = (char *)s->iov[i].iov_base + skip;
			vec[n].iov_len = min_u64(s->iov[i].iov_len - skip, len - sum);
			sum += vec[n++].iov_len;
		}
		ret = qcow2_pwritev(q, vec, n, sum, off);
		if (ret)
			return ret;
		source_skip(s, sum);
		off += sum;
		len -= sum;
	}
	return 0;
}

/* Clusters to write to: where, and what a part that is not written has to be filled with. */
struct target {
	uint64_t host;
	bool blank; /* what is there reads as zeroes already */
};

/* The old contents of a guest's range go to where its cluster is written now. */
static int fill(struct qcow2 *q, const struct target *t, uint64_t guest_off, uint64_t len,
		uint64_t host_off)
{
	struct qcow2_mapping m;
	int ret;

	if (!len)
		return 0;
	ret = qcow2_map(q, cluster_of(q, guest_off), &m);
	if (ret)
		return ret;
	if (t->blank && (m.kind == QCOW2_KIND_ZERO || (m.kind == QCOW2_KIND_NONE && !q->backing)))
		return 0;
	ret = qcow2_read(q, guest_off, q->scratch, len);
	return ret ?: qcow2_pwrite(q, q->scratch, len, host_off);
}

/* Whole clusters at t: old contents around len bytes of s. */
static int write_clusters(struct qcow2 *q, const struct target *t, uint64_t guest_off,
			  struct source *s, uint64_t len)
{
	uint64_t head = qcow2_in_cluster(q, guest_off), end = guest_off + len;
	uint64_t tail =
		within_cluster(q, end, -qcow2_in_cluster(q, end) & (qcow2_cluster_size(q) - 1));

	return fill(q, t, guest_off - head, head, t->host) ?:
	       write_source(q, s, len, t->host + head) ?:
	       fill(q, t, end, tail, t->host + head + len);
}

/* A cluster that is ours, as the image says: for what it is to be believed it is looked at. */
static int check_ours(struct qcow2 *q, uint64_t host)
{
	uint64_t count = 1;
	int ret = 0;

	if (q->corrupt)
		return -EIO;
	if (host >= q->file_end)
		ret = qcow2_refcount_get(q, cluster_of(q, host), &count);
	if (!ret && (count != 1 || qcow2_guard_has(&q->guard, cluster_of(q, host))))
		ret = qcow2_mark_corrupt(q, "data where none can be", host);
	return ret;
}

static int write_in_place(struct qcow2 *q, const struct qcow2_mapping *m, uint64_t guest_off,
			  struct source *s, uint64_t len)
{
	struct target t = { .host = m->host };
	int ret = check_ours(q, m->host);

	if (ret)
		return ret;
	if (m->kind == QCOW2_KIND_DATA)
		return write_source(q, s, len, m->host + qcow2_in_cluster(q, guest_off));
	return write_clusters(q, &t, guest_off, s, len)
		       ?: qcow2_map_set(q, cluster_of(q, guest_off), 1, m->host, 0, false);
}

static bool is_ours(const struct qcow2_mapping *m)
{
	return m->copied && (m->kind == QCOW2_KIND_DATA || m->kind == QCOW2_KIND_ZERO);
}

/* How many clusters from guest on, of one L2 table, have to be allocated; max at most. */
static int count_new(struct qcow2 *q, uint64_t guest, uint64_t max, uint64_t *out)
{
	uint64_t left = qcow2_table_entries(q) - guest % qcow2_table_entries(q);

	for (*out = 0; *out < min_u64(max, left); ++*out) {
		struct qcow2_mapping m;
		int ret = qcow2_map(q, guest + *out, &m);

		if (ret)
			return ret;
		if (m.kind == QCOW2_KIND_BAD)
			return qcow2_mark_corrupt(q, "an impossible L2 entry", m.host);
		if (is_ours(&m))
			break;
	}
	return 0;
}

/* Writes to new clusters, as many as there are in a row; *len becomes how much that was. */
static int write_new(struct qcow2 *q, uint64_t guest_off, struct source *s, uint64_t *len)
{
	uint64_t in = qcow2_in_cluster(q, guest_off), guest = cluster_of(q, guest_off), n;
	struct target t;
	int ret = count_new(q, guest, qcow2_clusters(q, in + *len), &n)
			  ?: qcow2_alloc(q, &n, false, &t.host);

	if (ret)
		return ret;
	/* Nobody has ever written beyond the file's end. */
	t.blank = !q->img.device && t.host >= q->file_end;
	*len = min_u64(*len, (n << q->h.cluster_bits) - in);
	ret = write_clusters(q, &t, guest_off, s, *len)
		      ?: qcow2_map_set(q, guest, n, t.host, 0, false);
	if (ret)
		qcow2_alloc_undo(q, t.host, n);
	return ret;
}

int qcow2_write(struct qcow2 *q, uint64_t guest_off, const struct iovec *iov, unsigned nr_iov,
		uint64_t len)
{
	struct source s = { .iov = iov, .nr = nr_iov };

	if (q->corrupt)
		return -EIO;
	source_skip(&s, 0);
	while (len) {
		uint64_t n = len;
		struct qcow2_mapping m;
		int ret = qcow2_map(q, cluster_of(q, guest_off), &m);

		if (ret)
			return ret;
		if (is_ours(&m)) {
			n = within_cluster(q, guest_off, len);
			ret = write_in_place(q, &m, guest_off, &s, n);
		} else {
			ret = write_new(q, guest_off, &s, &n);
		}
		if (ret)
			return ret;
		guest_off += n;
		len -= n;
	}
	return 0;
}

/* Whether a range of the guest's is a whole cluster, or what the disk has of the last one. */
static bool is_whole(const struct qcow2 *q, uint64_t guest_off, uint64_t len)
{
	return !qcow2_in_cluster(q, guest_off) &&
	       (len == qcow2_cluster_size(q) || guest_off + len >= q->h.size);
}

static bool reads_zeroes(const struct qcow2 *q, const struct qcow2_mapping *m, uint64_t guest_off)
{
	if (m->kind == QCOW2_KIND_ZERO)
		return true;
	return m->kind == QCOW2_KIND_NONE &&
	       (!q->backing || guest_off >= qcow2_backing_size(q->backing));
}

/* Within a cluster. Version 2 can say zeroes only by a cluster that nothing stands behind. */
static int zero_part(struct qcow2 *q, uint64_t guest_off, uint64_t len, bool unmap)
{
	bool v3 = q->h.version > 2, whole = is_whole(q, guest_off, len);
	struct iovec iov = { q->zeroes, len };
	struct qcow2_mapping m;
	int ret = qcow2_map(q, cluster_of(q, guest_off), &m);

	if (ret)
		return ret;
	if (m.kind == QCOW2_KIND_BAD)
		return qcow2_mark_corrupt(q, "an impossible L2 entry", m.host);
	if (reads_zeroes(q, &m, guest_off) && !(whole && unmap && m.host))
		return 0;
	if (!whole || (!v3 && (q->backing || !unmap)))
		return qcow2_write(q, guest_off, &iov, 1, len);
	return qcow2_map_set(q, cluster_of(q, guest_off), 1, 0, v3 ? QCOW2_ZERO : 0, !unmap);
}

int qcow2_zero(struct qcow2 *q, uint64_t guest_off, uint64_t len, bool unmap)
{
	if (q->corrupt)
		return -EIO;
	while (len) {
		uint64_t n = within_cluster(q, guest_off, len);
		int ret = zero_part(q, guest_off, n, unmap);

		if (ret)
			return ret;
		guest_off += n;
		len -= n;
	}
	return 0;
}

int qcow2_discard(struct qcow2 *q, uint64_t guest_off, uint64_t len)
{
	if (q->corrupt)
		return -EIO;
	/* What is behind a cluster must not come up again. */
	if (q->backing && q->h.version < 3)
		return 0;
	while (len) {
		uint64_t n = within_cluster(q, guest_off, len);
		struct qcow2_mapping m = { .kind = QCOW2_KIND_NONE };
		int ret = 0;

		if (is_whole(q, guest_off, n))
			ret = qcow2_map(q, cluster_of(q, guest_off), &m);
		if (!ret && m.host)
			ret = qcow2_map_set(q, cluster_of(q, guest_off), 1, 0,
					    q->backing ? QCOW2_ZERO : 0, false);
		if (ret)
			return ret;
		guest_off += n;
		len -= n;
	}
	return 0;
}
