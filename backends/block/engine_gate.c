/* SPDX-License-Identifier: MIT */
#include "backends/block/engine_gate.h"

#include "backends/block/engine.h"

void engine_gate_init(struct engine_gate *gate)
{
	pthread_mutex_init(&gate->lock, NULL);
	gate->waiting_end = &gate->waiting;
}

void engine_gate_destroy(struct engine_gate *gate)
{
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

bool engine_gate_enter(struct engine_gate *gate, struct engine_req *er)
{
	bool ok;

	pthread_mutex_lock(&gate->lock);
	ok = !gate->waiting && has_room(gate, er);
	if (ok) {
		let_in(gate, er);
	} else {
		er->next = NULL;
		*gate->waiting_end = er;
		gate->waiting_end = &er->next;
	}
	pthread_mutex_unlock(&gate->lock);
	return ok;
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
		engine_queue_admit(first);
	}
	pthread_mutex_unlock(&gate->lock);
}
