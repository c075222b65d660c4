/* SPDX-License-Identifier: MIT */
#include "cpu/acct.h"

/* Full enough: a search stays short. */
#define MAX_SITES (ACCT_SITES * 3 / 4)

void acct_name(struct acct *a, uint64_t key, const char *device, const char *reg)
{
	struct acct_site *site = &a->sites[acct_hash(key)];

	site->device = device;
	site->reg = reg;
	a->nr_sites++;
	atomic_store_explicit(&site->key, key, memory_order_release);
}

struct acct_site *acct_site_new(struct acct *a, struct bus *bus, uint64_t key)
{
	unsigned i = acct_hash(key);
	struct acct_site *site;

	for (;; i = (i + 1) % ACCT_SITES) {
		uint64_t k = counter_get(&a->sites[i].key);

		if (k == key)
			return &a->sites[i];
		if (!k)
			break;
	}
	if (a->nr_sites == MAX_SITES)
		return &a->lost[acct_key_space(key)][acct_key_write(key)];
	site = &a->sites[i];
	if (!bus_name(bus, acct_key_space(key), acct_key_addr(key), acct_key_write(key),
		      &site->device, &site->reg))
		site->device = site->reg = NULL;
	a->nr_sites++;
	atomic_store_explicit(&site->key, key, memory_order_release);
	return site;
}
