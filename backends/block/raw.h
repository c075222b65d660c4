/* SPDX-License-Identifier: MIT */
/* Raw images: the disk's bytes are the file's. block_open() calls it for format=raw. */
#ifndef BACKENDS_BLOCK_RAW_H
#define BACKENDS_BLOCK_RAW_H

#include "backends/block/block.h"

int raw_open(const struct block_config *cfg, struct block **out, struct err *err) __must_check;

#endif
