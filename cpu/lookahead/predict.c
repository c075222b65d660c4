/* SPDX-License-Identifier: MIT */
#include "cpu/lookahead/predict.h"

#define MAX_SITES (AHEAD_SITES * 3 / 4)
#define SCORE_MAX 15
#define SCORE_SURE 2
#define VAIN_MAX 12
/* Soon: within so many times what the quickest exit and return have taken. */
#define SOON 8
#define TRIP_WEIGHT 16 /* of the average, to 1 for what is new */

static bool same_port(struct ahead_port a, struct ahead_port b)
{
	return a.port == b.port && a.write == b.write;
}

static unsigned hash(uint64_t rip, struct ahead_port port, struct ahead_port before)
{
	uint64_t v = rip ^ (uint64_t)port.port << 32 ^ (uint64_t)before.port << 44;

	v ^= (uint64_t)port.write << 62 ^ (uint64_t)before.write << 63;
	return (unsigned)((v * 0x9e3779b97f4a7c15ull) >> 40) % AHEAD_SITES;
}

static struct ahead_site *find(struct ahead_predictor *p, uint64_t rip, struct ahead_port port)
{
	for (unsigned i = hash(rip, port, p->last_port);; i = (i + 1) % AHEAD_SITES) {
		struct ahead_site *site = &p->sites[i];
		uint64_t found = counter_get(&site->rip);

		if (found == rip && same_port(site->port, port) &&
		    same_port(site->before, p->last_port))
			return site;
		if (found)
			continue;
		if (p->nr_sites == MAX_SITES)
			return NULL;
		p->nr_sites++;
		site->port = port;
		site->before = p->last_port;
		atomic_store_explicit(&site->rip, rip, memory_order_release);
		return site;
	}
}

struct ahead_site *ahead_site(struct ahead_predictor *p, uint64_t rip, struct ahead_port port)
{
	p->last = rip ? find(p, rip, port) : NULL;
	p->last_port = port;
	return p->last;
}

static void more_sure(struct ahead_site *site)
{
	site->score = (uint8_t)(site->score + (site->score < SCORE_MAX));
}

static void less_sure(struct ahead_site *site)
{
	site->score = (uint8_t)(site->score - (site->score > 0));
}

void ahead_learn_exit(struct ahead_predictor *p, struct ahead_site *last, struct ahead_site *site,
		      uint64_t ticks)
{
	if (!p->least || ticks < p->least)
		p->least = ticks;
	if (last && ticks / SOON < p->least) {
		p->trip = p->trip ? p->trip - p->trip / TRIP_WEIGHT + ticks / TRIP_WEIGHT : ticks;
		more_sure(last);
	} else if (last) {
		less_sure(last);
	}
	if (site)
		counter_add(&site->exits, 1);
}

void ahead_learn_run(struct ahead_site *site, bool followed)
{
	if (followed) {
		more_sure(site);
		site->vain /= 2;
		return;
	}
	less_sure(site);
	site->vain = (uint8_t)(site->vain + (site->vain < VAIN_MAX));
	site->wait = (uint16_t)(1u << site->vain);
}

bool ahead_expects_more(struct ahead_site *site)
{
	if (site->score < SCORE_SURE)
		return false;
	if (!site->wait)
		return true;
	site->wait--;
	return false;
}
