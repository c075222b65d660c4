/* SPDX-License-Identifier: MIT */
/* An engine of one request that its submitter waits for: no queue, no loop. */
#include <errno.h>
#include <stdlib.h>

#include "backends/block/engine.h"

struct image_io {
	struct engine_queue eq; /* of which the steps want the image */
	struct engine_req er;
};

int image_io_create(struct image *img, struct image_io **out)
{
	struct image_io *io = calloc(1, sizeof(*io));

	if (!io)
		return -ENOMEM;
	io->eq.img = img;
	io->er.eq = &io->eq;
	if (img->io_align > 1) {
		io->er.bounce = aligned_alloc(PAGE_SIZE_4K, ENGINE_BOUNCE);
		if (!io->er.bounce) {
			free(io);
			return -ENOMEM;
		}
	}
	*out = io;
	return 0;
}

void image_io_destroy(struct image_io *io)
{
	if (!io)
		return;
	free(io->er.bounce);
	free(io);
}

static int transfer(struct image_io *io, struct block_req *req)
{
	struct image *img = io->eq.img;
	struct engine_req *er = &io->er;

	er->req = req;
	if (!engine_first_transfer(er))
		return er->result;
	engine_choose_gate(er);
	if (er->gated)
		engine_gate_wait(&img->gate, er);
	while (engine_step(er, engine_call(img, &er->call)))
		;
	if (er->gated)
		engine_gate_leave(&img->gate);
	return er->result;
}

int image_io_read(struct image_io *io, void *buf, uint64_t len, uint64_t off)
{
	const struct iovec iov = { buf, len };
	struct block_req req = {
		.op = BLOCK_READ, .offset = off, .len = len, .iov = &iov, .nr_iov = 1
	};

	return transfer(io, &req);
}

int image_io_write(struct image_io *io, const struct iovec *iov, unsigned nr_iov, uint64_t len,
		   uint64_t off)
{
	struct block_req req = {
		.op = BLOCK_WRITE, .offset = off, .len = len, .iov = iov, .nr_iov = nr_iov
	};

	return transfer(io, &req);
}
