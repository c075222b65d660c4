/* SPDX-License-Identifier: MIT */
/* qcow2 images, version 2 and 3. block_open() calls it for format=qcow2. */
#ifndef BACKENDS_BLOCK_QCOW2_H
#define BACKENDS_BLOCK_QCOW2_H

#include "backends/block/block.h"

int qcow2_open(const struct block_config *cfg, struct block **out, struct err *err) __must_check;

#endif
