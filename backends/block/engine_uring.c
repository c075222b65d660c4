/* SPDX-License-Identifier: MIT */
/*
 * The engine of io_uring(7): what was submitted goes to the host's kernel in one call at the
 * kick, which also brings what is done by then; of the rest an eventfd tells the loop, once for as
 * many as are there. Nothing is locked: the ring is the loop's thread's (SINGLE_ISSUER), which
 * enables it at its first kick.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/block/engine.h"

#define SQPOLL_IDLE_MS 50
#define LONE_MAX MIB /* a copy that nothing else waits for */

struct uring_queue {
	struct engine_queue eq;
	struct io_uring ring;
	struct loop_src src; /* its eventfd, never read: each signal is an edge */
	bool ready; /* the ring is enabled */
	bool busy; /* handing out what is done: a kick meanwhile waits for its end */
	unsigned flying; /* entries that are not done yet */
	struct engine_req *lone; /* the first read of the batch, not in the ring yet */
	struct loop_post retry;
	struct block_queue *aside; /* for what no ring does; only with a device */
};

static struct uring_queue *to_uring(struct block_queue *q)
{
	return container_of(q, struct uring_queue, eq.q);
}

/* --- the ring -------------------------------------------------------------------------- */

/*
 * The best that the kernel has: completions wait for us (6.1), or at least do not interrupt the
 * thread (5.19).
 */
static int ring_init(struct io_uring *ring, unsigned depth, bool sqpoll)
{
	static const unsigned modes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED |
			IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		0,
	};
	struct io_uring_params p = { .flags = IORING_SETUP_SQPOLL,
				     .sq_thread_idle = SQPOLL_IDLE_MS };
	int ret = -EINVAL;

	/*
	 * The kernel's thread gives back the entries of a batch when it has been through all of
	 * it, by when some are done and as many new ones want room.
	 */
	if (sqpoll)
		return io_uring_queue_init_params(depth * 2, ring, &p);
	for (unsigned i = 0; i < ARRAY_SIZE(modes) && ret == -EINVAL; i++) {
		p = (struct io_uring_params){ .flags = modes[i] };
		ret = io_uring_queue_init_params(depth, ring, &p);
	}
	return ret;
}

int engine_uring_probe(bool sqpoll)
{
	static const uint8_t needed[] = { IORING_OP_READ,   IORING_OP_WRITE, IORING_OP_READV,
					  IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_probe *probe;
	struct io_uring ring;
	int ret = ring_init(&ring, 1, sqpoll);

	if (ret)
		return ret;
	probe = io_uring_get_probe_ring(&ring);
	for (unsigned i = 0; i < ARRAY_SIZE(needed) && !ret; i++)
		if (!probe || !io_uring_opcode_supported(probe, needed[i]))
			ret = -EOPNOTSUPP;
	io_uring_free_probe(probe);
	io_uring_queue_exit(&ring);
	return ret;
}

static void prepare(struct io_uring_sqe *sqe, const struct engine_call *call)
{
	const struct iovec *iov = call->iov;
	bool one = call->nr_iov == 1;
	unsigned len =
		one ? (unsigned)min_u64(iov->iov_len, GIB) : 0; /* 32 bits; then it goes on */

	switch (call->kind) {
	case ENGINE_READ:
		if (one)
			io_uring_prep_read(sqe, 0, iov->iov_base, len, call->offset);
		else
			io_uring_prep_readv(sqe, 0, iov, call->nr_iov, call->offset);
		break;
	case ENGINE_WRITE:
		if (one)
			io_uring_prep_write(sqe, 0, iov->iov_base, len, call->offset);
		else
			io_uring_prep_writev(sqe, 0, iov, call->nr_iov, call->offset);
		sqe->rw_flags = call->flags;
		break;
	case ENGINE_SYNC:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	default:
		io_uring_prep_fallocate(sqe, 0, call->flags, (off_t)call->offset, (off_t)call->len);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static bool is_big_copy(const struct engine_req *er)
{
	return er->call.kind == ENGINE_READ && er->eq->img->io_align == 1 &&
	       er->left > ENGINE_SMALL;
}

/* There is room: the ring has an entry for each request that can be in flight. */
static void add_entry(struct engine_req *er)
{
	struct uring_queue *u = container_of(er->eq, struct uring_queue, eq);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	prepare(sqe, &er->call);
	io_uring_sqe_set_data(sqe, er);
	/* Left alone the kernel has one thread make all the copies, and be it this one. */
	if (u->flying++ && is_big_copy(er))
		sqe->flags |= IOSQE_ASYNC;
}

/*
 * Reads that the page cache may have are tried by the ring, many in one call; but one that stays
 * alone until the kick has no use for a ring (start_lone()).
 */
static void uring_start(struct engine_req *er)
{
	struct uring_queue *u = container_of(er->eq, struct uring_queue, eq);

	if (engine_now(er, false, ENGINE_SMALL))
		engine_end(er);
	else if (er->call.kind == ENGINE_READ && !u->lone && !(u->ring.flags & IORING_SETUP_SQPOLL))
		u->lone = er;
	else
		add_entry(er);
}

/* Hands out what is done, done() of which may submit; true if there was any. */
static bool reap(struct uring_queue *u)
{
	struct io_uring_cqe *cqe;
	bool any = false;

	/* It enters the kernel only where a flag in shared memory says that this will help. */
	while (io_uring_peek_batch_cqe(&u->ring, &cqe, 1)) {
		struct engine_req *er = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		u->flying--;
		any = true;
		if (engine_step(er, result))
			add_entry(er);
		else
			engine_end(er);
	}
	return any;
}

/* io_uring_enable_rings(), which liburing 2.3 declares and does not export. */
static int ring_enable(const struct io_uring *ring)
{
	int ret = (int)syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS,
			       NULL, 0);

	return ret < 0 ? -errno : 0;
}

static int enter(struct uring_queue *u)
{
	if (!u->ready && u->ring.flags & IORING_SETUP_R_DISABLED) {
		/* Now that we are on the thread that it is for. */
		int ret = ring_enable(&u->ring);

		if (ret)
			return ret;
	}
	u->ready = true;
	if (u->ring.flags & IORING_SETUP_SQPOLL)
		return io_uring_submit(&u->ring);
	return io_uring_submit_and_get_events(&u->ring);
}

/* Tells the kernel whether to signal; a signal that it has just kept back is seen by reap(). */
static void set_signal(struct uring_queue *u, bool on)
{
	(void)io_uring_cq_eventfd_toggle(&u->ring, on);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Entries that the kernel has not been shown, or has not taken. */
static bool has_entries(const struct uring_queue *u)
{
	if (u->ring.flags & IORING_SETUP_SQPOLL)
		return u->ring.sq.sqe_tail != u->ring.sq.sqe_head;
	return io_uring_sq_ready(&u->ring);
}

static void start_lone(struct uring_queue *u)
{
	struct engine_req *er = u->lone;

	u->lone = NULL;
	if (er && !has_entries(u) && engine_now(er, true, u->flying ? ENGINE_SMALL : LONE_MAX))
		engine_end(er);
	else if (er)
		add_entry(er);
}

/* Until nothing is left to submit, and nothing is done that we would not hear of. */
static void submit_all(struct uring_queue *u)
{
	int ret = 0;

	if (u->busy)
		return;
	u->busy = true;
	while ((u->lone || has_entries(u)) && (ret >= 0 || ret == -EINTR)) {
		start_lone(u);
		if (!has_entries(u))
			continue;
		set_signal(u, false);
		ret = enter(u);
		set_signal(u, true);
		reap(u);
	}
	/* The kernel is short of memory: others first. */
	if (ret < 0 && ret != -EINTR)
		loop_post(u->eq.cfg.loop, &u->retry);
	u->busy = false;
}

static void uring_kick(struct block_queue *q)
{
	struct uring_queue *u = to_uring(q);

	submit_all(u);
	if (u->aside)
		block_kick(u->aside);
}

static bool take(struct uring_queue *u)
{
	bool any;

	if (u->busy)
		return false;
	u->busy = true;
	any = reap(u);
	u->busy = false;
	if (!any)
		return false;
	submit_all(u);
	engine_queue_batch_end(&u->eq);
	return true;
}

static void uring_event(void *opaque, uint32_t events)
{
	(void)events;
	take(opaque);
}

static void uring_retry(void *opaque)
{
	struct uring_queue *u = opaque;

	submit_all(u);
	engine_queue_batch_end(&u->eq);
}

static bool uring_poll(struct block_queue *q)
{
	struct uring_queue *u = to_uring(q);
	bool any = take(u);

	return (u->aside && block_poll(u->aside)) || any;
}

static void uring_submit(struct block_queue *q, struct block_req *req)
{
	struct uring_queue *u = to_uring(q);

	if (u->aside && req->op == BLOCK_DISCARD)
		u->aside->ops->submit(u->aside, req);
	else
		engine_submit(q, req);
}

static void uring_close(struct block_queue *q)
{
	struct uring_queue *u = to_uring(q);

	block_close_queue(u->aside);
	loop_del(u->eq.cfg.loop, &u->src);
	loop_sync(u->eq.cfg.loop);
	io_uring_queue_exit(&u->ring);
	if (u->src.fd >= 0)
		close(u->src.fd);
	engine_queue_fini(&u->eq);
	free(u);
}

static const struct block_queue_ops uring_ops = {
	.submit = uring_submit,
	.kick = uring_kick,
	.poll = uring_poll,
	.close = uring_close,
};

/* What the ring works on, and how it calls. */
static int connect_ring(struct uring_queue *u)
{
	const struct image *img = u->eq.img;
	int ret = io_uring_register_files(&u->ring, &img->fd, 1);

	u->src = (struct loop_src){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), uring_event, u };
	if (!ret)
		ret = u->src.fd < 0 ? -errno : io_uring_register_eventfd(&u->ring, u->src.fd);
	return ret ? ret : loop_add(u->eq.cfg.loop, &u->src, EPOLLIN | EPOLLET);
}

int engine_uring_open(struct image *img, struct block *block, const struct block_queue_config *cfg,
		      struct block_queue **out)
{
	const struct engine_config ec = { img, block, cfg, &uring_ops, uring_start };
	struct uring_queue *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	u->retry = (struct loop_post){ .fn = uring_retry, .opaque = u };
	ret = engine_queue_init(&u->eq, &ec);
	if (ret) {
		free(u);
		return ret;
	}
	ret = ring_init(&u->ring, cfg->depth, img->sqpoll);
	if (ret) {
		engine_queue_fini(&u->eq);
		free(u);
		return ret;
	}
	ret = connect_ring(u);
	if (!ret && img->discard == IMAGE_BLKDISCARD)
		ret = engine_threads_open(img, block, cfg, &u->aside);
	if (ret) {
		uring_close(&u->eq.q);
		return ret;
	}
	*out = &u->eq.q;
	return 0;
}
