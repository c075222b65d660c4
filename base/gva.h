/* SPDX-License-Identifier: MIT */
/*
 * A guest's own page tables, read from outside: guest-virtual to guest-physical,
 * without paging, in 32-bit, PAE, 4-level and 5-level paging with large pages
 * (Intel SDM vol. 3A, chapter 4). Read only: no accessed bits are set, permissions
 * are not looked at. The guest may change everything meanwhile: each entry is
 * copied once, and every walk ends. Any thread.
 */
#ifndef BASE_GVA_H
#define BASE_GVA_H

#include "base/mem.h"

/* The registers that say how addresses translate, as a vCPU had them at some moment. */
struct gva_space {
	uint64_t cr0;
	uint64_t cr3;
	uint64_t cr4;
	uint64_t efer;
};

/* 0, or -EFAULT where nothing is mapped at gva (or a table lies outside RAM). */
int gva_translate(const struct mem *mem, const struct gva_space *space, uint64_t gva,
		  uint64_t *gpa) __must_check;

/* Copies len bytes, page by page. 0, or -EFAULT with buf undefined. */
int gva_read(const struct mem *mem, const struct gva_space *space, uint64_t gva, void *buf,
	     size_t len) __must_check;

#endif
