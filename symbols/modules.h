/* SPDX-License-Identifier: MIT */
/*
 * The symbols of the modules that a guest's 64-bit Linux has loaded, from its list of them
 * (Linux: include/linux/module.h, kernel/module/kallsyms.c).
 *
 * Of struct module only the start is the same everywhere: an enum, the list, the name. Where
 * the pointer to its struct mod_kallsyms lies depends on the kernel's configuration; it is
 * known by what it leads to.
 */
#ifndef SYMBOLS_MODULES_H
#define SYMBOLS_MODULES_H

#include "symbols/table.h"

/*
 * Adds to s what the list at head (the kernel's "modules") leads to in space, as far as it can be
 * read: the guest may be changing it, and what looks wrong is left out. 0 or -ENOMEM.
 */
int modules_add(const struct mem *mem, const struct gva_space *space, uint64_t head,
		struct symbols *s) __must_check;

#endif
