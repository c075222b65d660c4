/* SPDX-License-Identifier: MIT */
#include "backends/block/block.h"

#include <errno.h>

void block_submit(struct block *b, struct block_req *req)
{
	if (req->op != BLOCK_FLUSH && (req->offset > b->size || req->len > b->size - req->offset))
		req->done(req, -ERANGE);
	else if (req->op == BLOCK_WRITE && b->readonly)
		req->done(req, -EROFS);
	else
		b->ops->submit(b, req);
}
