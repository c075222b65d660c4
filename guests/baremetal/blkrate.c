/* SPDX-License-Identifier: MIT */
/*
 * How many requests a virtio disk serves (bench/disk.sh). The driver is as Linux's is: MSI-X, event
 * indices, indirect descriptors, sleep while there is nothing to do; and what has completed is asked
 * for anew by one kick.
 *
 * depth=N requests in flight, bytes=N of each, write to write, seq for one place after the other
 * (random ones else), count=N in all. With poll it does not sleep, and does its part in ring 3.
 * "begin" is printed before the first and "end" behind the last, with nothing in between: for
 * the host to look at its clocks.
 */
#include "guests/baremetal/lib/irq.h"
#include "guests/baremetal/lib/vblk.h"

#define MAX_DEPTH VBLK_QUEUE
#define MAX_BYTES 65536
#define VECTOR 0x40

struct slot {
	struct vdesc table[3];
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} head;
	volatile uint8_t status;
} __attribute__((aligned(16)));

static struct slot slots[MAX_DEPTH];
static uint8_t data[MAX_DEPTH][MAX_BYTES] __attribute__((aligned(4096)));

struct rate {
	struct vblk b;
	unsigned depth, bytes, count;
	bool write, seq, poll;
	uint64_t blocks, place;
	uint16_t kicked; /* the available index as of the last look whether to kick */
	unsigned submitted, done, failed, kicks, irqs;
};

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static uint64_t next_place(struct rate *r)
{
	if (r->seq)
		return r->place++ % r->blocks;
	r->place ^= r->place << 13;
	r->place ^= r->place >> 7;
	r->place ^= r->place << 17;
	return r->place % r->blocks;
}

/* The table never changes: only the place does. */
static void prepare(struct rate *r, unsigned i)
{
	struct slot *s = &slots[i];

	s->head.type = r->write ? VBLK_OUT : VBLK_IN;
	s->table[0] = (struct vdesc){ (uintptr_t)&s->head, sizeof(s->head), VDESC_NEXT, 1 };
	s->table[1] = (struct vdesc){ (uintptr_t)data[i], r->bytes,
				      (uint16_t)(VDESC_NEXT | (r->write ? 0 : VDESC_WRITE)), 2 };
	s->table[2] = (struct vdesc){ (uintptr_t)&s->status, 1, VDESC_WRITE, 0 };
	r->b.rings->desc[i] =
		(struct vdesc){ (uintptr_t)s->table, sizeof(s->table), VDESC_INDIRECT, 0 };
}

static void submit(struct rate *r, unsigned i)
{
	struct vblk_rings *rings = r->b.rings;

	slots[i].head.sector = next_place(r) * (r->bytes / 512);
	slots[i].status = 0xee;
	rings->avail.ring[rings->avail.idx % VBLK_QUEUE] = (uint16_t)i;
	__atomic_store_n(&rings->avail.idx, (uint16_t)(rings->avail.idx + 1), __ATOMIC_RELEASE);
	r->submitted++;
}

/* Whether the disk wants to be told of what it was asked for since the last look. */
static bool wants_kick(struct rate *r)
{
	struct vblk_rings *rings = r->b.rings;
	uint16_t event, idx = rings->avail.idx, old = r->kicked;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&rings->used.avail_event, __ATOMIC_RELAXED);
	r->kicked = idx;
	return (uint16_t)(idx - event - 1) < (uint16_t)(idx - old);
}

static void kick(struct rate *r)
{
	vblk_kick(&r->b);
	r->kicks++;
}

/* Takes what is done, asks for as much again, and to be told of the next. */
static void complete(struct rate *r)
{
	struct vblk_rings *rings = r->b.rings;

	do {
		while (__atomic_load_n(&rings->used.idx, __ATOMIC_ACQUIRE) != r->b.seen) {
			unsigned i = rings->used.ring[r->b.seen++ % VBLK_QUEUE].id;

			r->failed += slots[i].status != VBLK_OK;
			r->done++;
			if (r->submitted < r->count)
				submit(r, i);
		}
		__atomic_store_n(&rings->avail.used_event, (uint16_t)(r->b.seen - r->poll),
				 __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&rings->used.idx, __ATOMIC_RELAXED) != r->b.seen);
}

/* In ring 3, which some hosts run at full speed where they interpret ring 0. */
static void poll_main(void *opaque)
{
	struct rate *r = opaque;

	do
		complete(r);
	while (r->done < r->count && !wants_kick(r));
}

static uint64_t run(struct rate *r)
{
	unsigned irqs = irq_seen.count[VECTOR];
	uint64_t start;

	print("begin\n");
	start = ticks();
	for (unsigned i = 0; i < r->depth && i < r->count; i++)
		submit(r, i);
	kick(r);
	while (r->poll && r->done < r->count) {
		user_call(poll_main, r);
		kick(r);
	}
	while (r->done < r->count) {
		unsigned seen = irq_seen.count[VECTOR];

		complete(r);
		if (wants_kick(r))
			kick(r);
		__asm__ volatile("cli");
		if (r->done < r->count && irq_seen.count[VECTOR] == seen)
			__asm__ volatile("sti; hlt" ::: "memory");
		else
			__asm__ volatile("sti" ::: "memory");
	}
	start = ticks() - start;
	__asm__ volatile("cli");
	r->irqs = irq_seen.count[VECTOR] - irqs;
	return start;
}

int main(void)
{
	struct rate r = {
		.depth = cmdline_number("depth=", 1),
		.bytes = cmdline_number("bytes=", 4096),
		.count = cmdline_number("count=", 10000),
		.write = cmdline_has("write"),
		.seq = cmdline_has("seq"),
		.poll = cmdline_has("poll"),
		.place = 88172645463325252ull,
	};
	uint64_t spent, hz;
	uint32_t timer;

	if (!r.depth || r.depth > MAX_DEPTH || !r.bytes || r.bytes % 512 || r.bytes > MAX_BYTES ||
	    !tap(vblk_find(&r.b), "there is a disk"))
		return 1;
	lapic_enable(false);
	pci_msix_control(r.b.devfn, true, false);
	pci_msix_set(r.b.devfn, 0, VECTOR, false);
	r.b.wanted = VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
	if (!tap(vblk_start(&r.b, 0), "it starts"))
		return 1;
	r.blocks = r.b.capacity / (r.bytes / 512);
	for (unsigned i = 0; i < r.depth; i++)
		prepare(&r, i);
	timer = pm_timer();
	spent = ticks();
	delay_us(100000);
	hz = (ticks() - spent) * PLATFORM_PM_TIMER_HZ / ((pm_timer() - timer) & 0xffffff);
	spent = run(&r);
	print("end\n");
	delay_us(200000);
	tap_is(r.failed, 0, "all have succeeded");
	print("rate depth=%u bytes=%u count=%u us=%u kicks=%u irqs=%u\n", r.depth, r.bytes, r.count,
	      (unsigned)(spent / (hz / 1000000)), r.kicks, r.irqs);
	return 0;
}
