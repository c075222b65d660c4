/* SPDX-License-Identifier: MIT */
#include "backends/block/engine_gate.h"

#include "backends/block/engine.h"

void engine_gate_init(struct engine_gate *gate)
{
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->admitted, NULL);
	gate->waiting_end = &gate->waiting;
}

void engine_gate_destroy(struct engine_gate *gate)
{
	pthread_cond_destroy(&gate->admitted);
	pthread_mutex_destroy(&gate->lock);
}

static bool has_room(const struct engine_gate *gate, const struct engine_req *er)
{
	return er->alone ? !gate->inside : !gate->alone;
}

static void let_in(struct engine_gate *gate, const struct engine_req *er)
{
	gate->inside++;
	gate->alone = er->alone;
}

/* False: it has got in line. */
static bool enter(struct engine_gate *gate, struct engine_req *er)
{
	if (!gate->waiting && has_room(gate, er)) {
		let_in(gate, er);
		return true;
	}
	er->next = NULL;
	*gate->waiting_end = er;
	gate->waiting_end = &er->next;
	return false;
}

bool engine_gate_enter(struct engine_gate *gate, struct engine_req *er)
{
	bool ok;

	pthread_mutex_lock(&gate->lock);
	ok = enter(gate, er);
	pthread_mutex_unlock(&gate->lock);
	return ok;
}

void engine_gate_wait(struct engine_gate *gate, struct engine_req *er)
{
	pthread_mutex_lock(&gate->lock);
	er->waits = !enter(gate, er);
	while (er->waits)
		pthread_cond_wait(&gate->admitted, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static void admit(struct engine_gate *gate, struct engine_req *er)
{
	if (er->waits) {
		er->waits = false;
		pthread_cond_broadcast(&gate->admitted);
	} else {
		engine_queue_admit(er);
	}
}

void engine_gate_leave(struct engine_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->inside--;
	gate->alone = false;
	while (gate->waiting && has_room(gate, gate->waiting)) {
		struct engine_req *first = gate->waiting;

		gate->waiting = first->next;
		if (!gate->waiting)
			gate->waiting_end = &gate->waiting;
		let_in(gate, first);
		admit(gate, first);
	}
	pthread_mutex_unlock(&gate->lock);
}
