/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the qcow2 format share. The specification is QEMU's docs/interop/qcow2.txt;
 * its sections are named as "Cluster mapping".
 *
 * Threads: one thread at a time is the image's writer: whoever holds qcow2.writer, as a rule the
 * image's worker. Only the writer changes mapping, refcounts and header, and it does so with
 * qcow2.lock held, briefly; it reads them without. The I/O threads look at them with that lock,
 * in the hope that a request needs nothing but data clusters that are there already.
 *
 * A crash at any moment leaves a valid image, and loses clusters at worst, because of four rules
 * that qcow2_commit() keeps:
 *  - data and refcounts are on the medium before an L2 entry that points to them is written;
 *  - so is an L2 table before its L1 entry, a refcount block before its refcount table entry;
 *  - a refcount goes down only when what pointed there is gone from the medium;
 *  - a cluster is used again only when, besides, no request is on its way to it.
 * Changed tables wait in memory until a flush, or until their cache is full.
 *
 * The image is hostile: offsets and sizes are checked where they are read (qcow2_header.c,
 * qcow2_map.c); whatever is wrong is -EIO, and where writing on would do damage the image is
 * marked corrupt and not written any more.
 *
 * Offsets are bytes of the file unless a name says guest; clusters are counted from 0.
 */
#ifndef BACKENDS_BLOCK_QCOW2_IMPL_H
#define BACKENDS_BLOCK_QCOW2_IMPL_H

#include <endian.h>
#include <pthread.h>

#include "backends/block/image.h"

#define QCOW2_MAX_L1_BYTES (32 * MIB)
#define QCOW2_MAX_REFTABLE_BYTES (8 * MIB)
#define QCOW2_MAX_OFFSET (1ull << 56) /* "Cluster mapping" */
#define QCOW2_ENTRY 8 /* bytes, of any table but a refcount block */

/* "Header", incompatible_features */
#define QCOW2_INCOMPAT_DIRTY (1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT (1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE (1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ull << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (1ull << 4)

/* "Cluster mapping" */
#define QCOW2_COPIED (1ull << 63)
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO (1ull << 0)
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull

struct qcow2;
struct qcow2_backing;
struct qcow2_inflate;

/* The header's fields in the host's byte order, version 2 filled up to 3's; checked. */
struct qcow2_header {
	uint32_t version;
	uint32_t cluster_bits;
	uint64_t size; /* of the guest's disk */
	uint32_t l1_size; /* entries */
	uint64_t l1_offset;
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint32_t nr_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible;
	uint64_t autoclear;
	uint32_t refcount_order;
	bool zstd; /* how compressed clusters are */
	char backing_name[1024]; /* "": none */
	char backing_format[16]; /* "": not said */
};

/* Reads and checks it; fills in q->h. 0 or -errno with a line. */
int qcow2_header_read(struct qcow2 *q, struct err *err) __must_check;
/* Each is one write within a sector, so that it happens or does not. 0 or -errno. */
int qcow2_header_write_features(struct qcow2 *q) __must_check;
int qcow2_header_write_l1(struct qcow2 *q) __must_check; /* the disk's size as well */
int qcow2_header_write_reftable(struct qcow2 *q) __must_check;

/* --- tables in memory (qcow2_cache.c) ------------------------------------------ */

struct qcow2_table {
	uint64_t offset; /* 0: holds nothing */
	uint8_t *data; /* a cluster, as in the file */
	uint32_t dirty_from, dirty_to; /* bytes that differ from the file's; equal: none */
	bool fresh; /* nothing in the file points to it yet */
	bool used; /* since the clock's hand last came by */
	struct qcow2_table *next; /* of the same bucket */
};

/* A bounded cache of L2 tables, or of refcount blocks. */
struct qcow2_cache {
	struct qcow2 *q;
	/* Cleans its tables when there is none that could give way. 0 or -errno. */
	int (*make_room)(struct qcow2 *q);
	struct qcow2_table *tables;
	struct qcow2_table **buckets;
	uint32_t nr; /* of both; a power of 2 */
	uint32_t hand;
};

int qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *q,
		     int (*make_room)(struct qcow2 *q)) __must_check;
void qcow2_cache_destroy(struct qcow2_cache *c);
/* NULL: not in memory. With the lock held, or by the writer. */
struct qcow2_table *qcow2_cache_find(struct qcow2_cache *c, uint64_t offset);
/*
 * The rest is the writer's. A table stays where it is until the next load or create. 0 or
 * -errno: -EUCLEAN for a table that is not within the file.
 */
int qcow2_cache_load(struct qcow2_cache *c, uint64_t offset, struct qcow2_table **out) __must_check;
/* A fresh table of zeroes, all of it dirty. */
int qcow2_cache_create(struct qcow2_cache *c, uint64_t offset,
		       struct qcow2_table **out) __must_check;
/* A clean table becomes a fresh one elsewhere: a copy on write, of which the copy is left. */
void qcow2_cache_move(struct qcow2_cache *c, struct qcow2_table *t, uint64_t offset);
void qcow2_cache_drop(struct qcow2_cache *c, uint64_t offset);
void qcow2_table_dirty(struct qcow2_table *t, uint32_t from, uint32_t len);
/* Writes what is dirty, with fresh_only just of fresh ones. 0 or -errno. */
int qcow2_cache_write(struct qcow2_cache *c, bool fresh_only) __must_check;
void qcow2_cache_link(struct qcow2_cache *c); /* nothing is fresh any more */

/* --- the clusters that hold metadata (qcow2_guard.c) ---------------------------- */

/* A set of clusters that data must never be written to. */
struct qcow2_guard {
	uint64_t *slots; /* cluster + 1, 0: free */
	uint64_t nr; /* slots, a power of 2 */
	uint64_t used;
};

/* All tables of an image that is to be written; overlaps are refused. 0 or -errno, a line. */
int qcow2_guard_init(struct qcow2 *q, struct err *err) __must_check;
/* -EEXIST: is there already. -ENOMEM. */
int qcow2_guard_add(struct qcow2 *q, uint64_t cluster, uint64_t n) __must_check;
void qcow2_guard_remove(struct qcow2 *q, uint64_t cluster);
bool qcow2_guard_has(const struct qcow2_guard *g, uint64_t cluster);

/* --- refcounts and allocation (qcow2_refcount.c, qcow2_alloc.c) ------------------ */

struct qcow2_extent {
	uint64_t cluster;
	uint64_t n;
};

/* Clusters that lose a reference. */
struct qcow2_frees {
	struct qcow2_extent *list;
	size_t nr, room;
	uint64_t clusters; /* in all of them */
};

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out) __must_check;
/* There is a block for it already. */
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value) __must_check;
/* Sees to it that the cluster has a refcount block. May take clusters itself. */
int qcow2_refcount_cover(struct qcow2 *q, uint64_t cluster) __must_check;
/* Whether so many in a row can be found in what one refcount block covers. */
bool qcow2_refcount_fits(const struct qcow2 *q, uint64_t n);
/* More in a row than that: with blocks of their own, behind all others. Counted as 1 already. */
int qcow2_refcount_region(struct qcow2 *q, uint64_t n, uint64_t *first) __must_check;

/*
 * Allocates up to *n clusters in a row, at least one, or with all just as many. Their refcount
 * is 1, in memory. 0 or -errno, with *out the first one's offset and *n how many.
 */
int qcow2_alloc(struct qcow2 *q, uint64_t *n, bool all, uint64_t *out) __must_check;
/* Takes back what nothing was ever made to point to. */
void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset, uint64_t n);
/* To be called when nothing points to the bytes any more; takes effect after a commit. */
void qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* So much is freed that it is time for a commit, though nobody asks for one. */
bool qcow2_free_many(const struct qcow2 *q);
/* Lowers the refcounts of what is on nobody's way any more. 0 or -errno. */
int qcow2_free_settle(struct qcow2 *q);

/* --- mapping (qcow2_map.c) ------------------------------------------------------ */

enum qcow2_kind {
	QCOW2_KIND_NONE, /* the backing file's, or zeroes */
	QCOW2_KIND_ZERO, /* zeroes; host 0 or a cluster that is kept */
	QCOW2_KIND_DATA,
	QCOW2_KIND_DEFLATED, /* compressed, one way or the other */
	QCOW2_KIND_BAD, /* an impossible entry */
};

struct qcow2_mapping {
	enum qcow2_kind kind;
	bool copied; /* the host cluster is ours alone: it may be written */
	uint64_t host; /* where the cluster starts; not aligned where it is compressed */
	uint32_t deflated; /* compressed: bytes at most */
};

/* Of the guest's cluster. 0 or -errno. The writer's; of a read-only image, its one reader's. */
int qcow2_map(struct qcow2 *q, uint64_t guest, struct qcow2_mapping *out) __must_check;
/* With the lock held: from memory only; -EAGAIN where the table is not there. */
int qcow2_map_cached(struct qcow2 *q, uint64_t guest, struct qcow2_mapping *out) __must_check;
/*
 * Maps n clusters of one L2 table from guest on to those from host on, ours alone; or for host 0
 * all to flags (0, QCOW2_ZERO). What they were mapped to is freed, unless it is the same. keep:
 * a data cluster that is ours stays where it is, and reads as zeroes.
 */
int qcow2_map_set(struct qcow2 *q, uint64_t guest, uint64_t n, uint64_t host, uint64_t flags,
		  bool keep) __must_check;
/* Checks the L1 table's entries, once. 0 or -errno, a line. */
int qcow2_map_init(struct qcow2 *q, struct err *err) __must_check;

/* --- data (qcow2_data.c, qcow2_inflate.c, qcow2_backing.c) ----------------------- */

/* The guest's bytes, on this thread. Within the disk, or zeroes. The writer's. */
int qcow2_read(struct qcow2 *q, uint64_t guest_off, void *buf, uint64_t len) __must_check;
int qcow2_write(struct qcow2 *q, uint64_t guest_off, const struct iovec *iov, unsigned nr_iov,
		uint64_t len) __must_check;
int qcow2_zero(struct qcow2 *q, uint64_t guest_off, uint64_t len, bool unmap) __must_check;
int qcow2_discard(struct qcow2 *q, uint64_t guest_off, uint64_t len) __must_check;

/* The decompressed cluster, valid until the next call. 0 or -errno. */
int qcow2_inflate(struct qcow2 *q, const struct qcow2_mapping *m, const uint8_t **out) __must_check;
void qcow2_inflate_forget(struct qcow2 *q); /* clusters have been freed */
void qcow2_inflate_destroy(struct qcow2 *q);

/* The images above one: for the end of chains that have none. */
struct qcow2_chain {
	const struct qcow2_chain *above;
	dev_t dev;
	ino_t ino;
	unsigned depth;
};

/* What q->h names. 0 or -errno with a line. */
int qcow2_backing_open(struct qcow2 *q, const struct qcow2_chain *above,
		       struct err *err) __must_check;
/* Zeroes beyond its end. 0 or -errno. */
int qcow2_backing_read(struct qcow2_backing *bk, uint64_t off, void *buf,
		       uint64_t len) __must_check;
uint64_t qcow2_backing_size(const struct qcow2_backing *bk);
void qcow2_backing_close(struct qcow2_backing *bk);

/* --- the image ------------------------------------------------------------------ */

struct qcow2 {
	struct block b;
	struct image img; /* data, through the engine */
	struct image_io *io; /* the writer's: metadata, and data that it moves */

	pthread_mutex_t writer; /* held by the writer */
	pthread_mutex_t lock; /* guards what follows; see above */
	struct qcow2_header h;
	uint64_t *l1; /* big-endian, as in the file */
	struct qcow2_cache l2;
	struct qcow2_guard guard;
	uint64_t file_end; /* where the file ends */
	bool unflushed; /* the mapping in memory is not the medium's */
	bool corrupt; /* no write any more */
	unsigned epoch; /* which of in_flight a request counts in; see qcow2_free_settle() */

	atomic_uint in_flight[2]; /* requests with the engine; raised with the lock held */

	/* The writer's alone. */
	bool unsynced; /* it has written since the last qcow2_sync() */
	uint32_t l1_dirty_from, l1_dirty_to; /* entries */
	uint64_t *reftable; /* big-endian, as in the file */
	uint64_t reftable_len; /* entries */
	struct qcow2_cache refblocks;
	uint64_t first_free; /* no cluster below it is free */
	struct qcow2_frees frees; /* since the last commit */
	struct qcow2_frees settling; /* committed; requests may be on their way there */
	uint8_t *scratch; /* a cluster */
	uint8_t *zeroes; /* a cluster; read only */
	struct qcow2_inflate *inflate; /* NULL: none needed so far */
	struct qcow2_backing *backing; /* NULL: none */

	pthread_t thread; /* the worker */
	bool thread_started;
	bool stop;
	pthread_mutex_t jobs_lock; /* guards stop, jobs and jobs_end */
	pthread_cond_t jobs_cond;
	struct qcow2_op *jobs;
	struct qcow2_op **jobs_end;
};

static inline uint64_t qcow2_cluster_size(const struct qcow2 *q)
{
	return 1ull << q->h.cluster_bits;
}

static inline uint64_t qcow2_in_cluster(const struct qcow2 *q, uint64_t off)
{
	return off & (qcow2_cluster_size(q) - 1);
}

static inline uint64_t qcow2_table_entries(const struct qcow2 *q)
{
	return qcow2_cluster_size(q) / QCOW2_ENTRY;
}

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes + qcow2_cluster_size(q) - 1) >> q->h.cluster_bits;
}

/* An image without its worker, which is what a backing file is. cfg's strings outlive it. */
int qcow2_create(const struct block_config *cfg, const struct qcow2_chain *above,
		 struct qcow2 **out, struct err *err) __must_check;
void qcow2_destroy(struct qcow2 *q);

/* --- the file (qcow2_commit.c) --------------------------------------------------- */

/* 0 or -errno; reads as zeroes beyond the file's end. */
int qcow2_pread(struct qcow2 *q, void *buf, uint64_t len, uint64_t off) __must_check;
int qcow2_pwrite(struct qcow2 *q, const void *buf, uint64_t len, uint64_t off) __must_check;
int qcow2_pwritev(struct qcow2 *q, const struct iovec *iov, unsigned nr_iov, uint64_t len,
		  uint64_t off) __must_check;
/* Memory that goes to the file and comes from it without a copy. NULL: out of memory. */
void *qcow2_buffer(const struct qcow2 *q, uint64_t len);
/* A barrier: what was written so far is on the medium. 0 or -errno, then for ever. */
int qcow2_sync(struct qcow2 *q) __must_check;
/* Writes changed tables, in an order that a crash cannot hurt; durable: they are there then. */
int qcow2_commit(struct qcow2 *q, bool durable) __must_check;
/* Returns -EIO, and sees to it that nobody writes to the image until it has been repaired. */
int qcow2_mark_corrupt(struct qcow2 *q, const char *what, uint64_t off);

/* --- requests (qcow2_queue.c, qcow2_worker.c) ------------------------------------ */

/* A request on its way. */
struct qcow2_op {
	struct qcow2_op *next;
	struct qcow2_queue *queue;
	struct block_req *req;
	bool again; /* the worker has got the tables: the engine can do it after all */
	int result; /* the first error */
	unsigned parts; /* still with the engine */
	unsigned epoch;
};

int qcow2_open_queue(struct block *b, const struct block_queue_config *cfg,
		     struct block_queue **out);
void qcow2_queue_complete(struct qcow2_op *op); /* on the worker */
/* With the lock held: whether a read or a write needs nothing but the engine. */
bool qcow2_queue_can_do(struct qcow2 *q, const struct block_req *req);

int qcow2_worker_start(struct qcow2 *q) __must_check;
void qcow2_worker_stop(struct qcow2 *q);
void qcow2_worker_add(struct qcow2 *q, struct qcow2_op *op);

/* It may wait for requests in flight, which are on other threads' loops. */
int qcow2_resize(struct block *b, uint64_t size, struct err *err);

#endif
