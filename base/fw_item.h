/* SPDX-License-Identifier: MIT */
/*
 * A thing that the guest's firmware asks the machine about: firmware/ writes them,
 * devices/pc/fw_cfg.h hands them out.
 */
#ifndef BASE_FW_ITEM_H
#define BASE_FW_ITEM_H

#include "base/util.h"

#define FW_ITEM_NAME_MAX 55

struct fw_item {
	const char *name; /* a file, at most FW_ITEM_NAME_MAX characters; NULL: it has a key */
	uint16_t key; /* where it has no name */
	const void *data;
	size_t len; /* bytes, below 4 GiB */
};

#endif
