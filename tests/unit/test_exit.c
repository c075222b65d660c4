/* SPDX-License-Identifier: MIT */
/* The exit table, on a run page made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "cpu/coalesced_io.h"
#include "cpu/exit.h"
#include "cpu/vcpu.h"
#include "guests/include/bantam/coalesced_io.h"

#define DATA_OFFSET 4096

/* Remembers the last access; reads give the offset. */
struct probe {
	struct device dev;
	uint64_t offset, value;
	unsigned width, reads, writes, rep_count;
};

static uint64_t probe_read(struct device *dev, uint64_t offset, unsigned width)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->offset = offset;
	p->width = width;
	p->reads++;
	return 0xa0 + offset;
}

static void probe_write(struct device *dev, uint64_t offset, unsigned width, uint64_t value)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->offset = offset;
	p->width = width;
	p->value = value;
	p->writes++;
}

static void probe_write_rep(struct device *dev, uint64_t offset, unsigned width, const void *buf,
			    unsigned count)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->offset = offset;
	p->rep_count += count;
	p->value = load_le((const char *)buf + (size_t)(count - 1) * width, width);
}

static const struct bus_ops probe_ops = {
	.max_width = 8,
	.read = probe_read,
	.write = probe_write,
	.write_rep = probe_write_rep,
};

struct fixture {
	struct bus bus;
	struct probe probe;
	struct vcpu vcpu;
	unsigned row;
};

static int setup(void **state)
{
	static const struct device_ops ops = { .type = "probe" };
	struct fixture *f = calloc(1, sizeof(*f));

	bus_init(&f->bus);
	device_init(&f->probe.dev, &ops, "probe");
	assert_int_equal(bus_add(&f->bus, BUS_PIO, 0x100, 16, &f->probe.dev, &probe_ops), 0);
	assert_int_equal(bus_add(&f->bus, BUS_MMIO, 0xd0000000, 4096, &f->probe.dev, &probe_ops),
			 0);
	f->vcpu.bus = &f->bus;
	f->vcpu.fd = -1;
	f->vcpu.run = calloc(1, 2 * DATA_OFFSET);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(&f->bus);
	free(f->vcpu.run);
	free(f);
	return 0;
}

static enum exit_action handle(struct fixture *f, uint32_t reason)
{
	f->vcpu.run->exit_reason = reason;
	f->row = ~0u;
	return exit_handle(&f->vcpu, &f->row);
}

static uint8_t *set_io(struct fixture *f, bool out, uint16_t port, uint8_t width, uint32_t count)
{
	struct kvm_run *run = f->vcpu.run;

	run->io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	run->io.port = port;
	run->io.size = width;
	run->io.count = count;
	run->io.data_offset = DATA_OFFSET;
	return (uint8_t *)run + DATA_OFFSET;
}

static void test_io(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = set_io(f, true, 0x104, 2, 1);

	store_le(data, 2, 0x1234);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->row, ACCT_IO_OUT);
	assert_int_equal(f->probe.offset, 4);
	assert_int_equal(f->probe.width, 2);
	assert_int_equal(f->probe.value, 0x1234);

	data = set_io(f, false, 0x108, 4, 1);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->row, ACCT_IO_IN);
	assert_int_equal(load_le(data, 4), 0xa8);
}

static void test_string_io(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = set_io(f, true, 0x100, 2, 300);

	for (unsigned i = 0; i < 300; i++)
		store_le(data + (size_t)i * 2, 2, i);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->probe.rep_count, 300); /* one call, not 300 */
	assert_int_equal(f->probe.value, 299);
	assert_int_equal(f->probe.writes, 0);

	/* No read_rep: the bus makes single reads of it, each into its own place. */
	data = set_io(f, false, 0x102, 1, 3);
	memset(data, 0, 4);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->probe.reads, 3);
	assert_int_equal(load_le(data, 4), 0xa2a2a2);
}

static void test_mmio(void **state)
{
	struct fixture *f = *state;
	struct kvm_run *run = f->vcpu.run;

	run->mmio.phys_addr = 0xd0000010;
	run->mmio.len = 8;
	run->mmio.is_write = 1;
	store_le(run->mmio.data, 8, 0x1122334455667788);
	assert_int_equal(handle(f, KVM_EXIT_MMIO), EXIT_CONTINUE);
	assert_int_equal(f->row, ACCT_MMIO_WRITE);
	assert_int_equal(f->probe.value, 0x1122334455667788);

	run->mmio.is_write = 0;
	run->mmio.len = 1;
	assert_int_equal(handle(f, KVM_EXIT_MMIO), EXIT_CONTINUE);
	assert_int_equal(f->row, ACCT_MMIO_READ);
	assert_int_equal(run->mmio.data[0], 0xb0);

	/* Nobody there: ones. */
	run->mmio.phys_addr = 0xe0000000;
	run->mmio.len = 4;
	assert_int_equal(handle(f, KVM_EXIT_MMIO), EXIT_CONTINUE);
	assert_int_equal(load_le(run->mmio.data, 4), 0xffffffff);
}

static void test_fatal(void **state)
{
	static const uint32_t reasons[] = { KVM_EXIT_SHUTDOWN, KVM_EXIT_FAIL_ENTRY,
					    KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_UNKNOWN,
					    KVM_EXIT_EXCEPTION };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		f->vcpu.crash = NULL;
		assert_int_equal(handle(f, reasons[i]), EXIT_ERROR);
		assert_int_equal(f->row, reasons[i]);
		assert_non_null(f->vcpu.crash);
	}
}

static void fill_list(struct mem *mem, uint64_t gpa)
{
	struct coalesced_io_page *page = mem_at(mem, gpa, sizeof(*page));

	assert_non_null(page);
	page->count = 3;
	for (unsigned i = 0; i < 3; i++)
		coalesced_io_out(&page->entry[i], 2, 0x102, 0x1000 + i);
	page->result = ~0u;
}

static uint32_t list_result(const struct mem *mem, uint64_t gpa)
{
	const struct coalesced_io_page *page = mem_at_const(mem, gpa, sizeof(*page));

	return page->result;
}

/* One exit, three accesses; only a whole bell rings, and only where there is one. */
static void test_doorbell(void **state)
{
	struct fixture *f = *state;
	struct mem mem;
	uint8_t *data;

	assert_int_equal(mem_init(&mem, 4 * MIB), 0);
	f->vcpu.mem = &mem;
	f->vcpu.doorbell = PLATFORM_PORT_COALESCED_IO;
	fill_list(&mem, 0x30000);
	data = set_io(f, true, PLATFORM_PORT_COALESCED_IO, 4, 1);
	store_le(data, 4, 0x30);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->row, ACCT_IO_OUT);
	assert_int_equal(f->vcpu.accesses, 3);
	assert_int_equal(f->probe.writes, 3);
	assert_int_equal(f->probe.value, 0x1002);
	assert_int_equal(list_result(&mem, 0x30000), COALESCED_IO_OK);

	store_le(data, 4, 0xffffffff); /* no such page */
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->vcpu.accesses, 0);
	store_le(data, 4, 0x30);
	set_io(f, true, PLATFORM_PORT_COALESCED_IO, 2, 1);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	set_io(f, true, PLATFORM_PORT_COALESCED_IO, 4, 2);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->vcpu.accesses, 2);
	set_io(f, false, PLATFORM_PORT_COALESCED_IO, 4, 1);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(load_le(data, 4), 0xffffffff);
	f->vcpu.doorbell = 0;
	store_le(data, 4, 0x30);
	set_io(f, true, PLATFORM_PORT_COALESCED_IO, 4, 1);
	assert_int_equal(handle(f, KVM_EXIT_IO), EXIT_CONTINUE);
	assert_int_equal(f->probe.writes, 3);
	mem_destroy(&mem);
}

static void test_hypercall(void **state)
{
	struct fixture *f = *state;
	struct kvm_run *run = f->vcpu.run;
	struct mem mem;

	assert_int_equal(mem_init(&mem, 4 * MIB), 0);
	f->vcpu.mem = &mem;
	f->vcpu.doorbell = PLATFORM_PORT_COALESCED_IO;
	fill_list(&mem, 0x30000);
	run->hypercall.nr = COALESCED_IO_HYPERCALL_NR;
	run->hypercall.args[0] = 0x30000;
	run->hypercall.args[1] = 1;
	run->hypercall.args[2] = COALESCED_IO_HYPERCALL_MAGIC;
	assert_int_equal(handle(f, KVM_EXIT_HYPERCALL), EXIT_ERROR); /* not asked for */
	assert_non_null(f->vcpu.crash);
	f->vcpu.hypercall = true;
	assert_int_equal(handle(f, KVM_EXIT_HYPERCALL), EXIT_CONTINUE);
	assert_int_equal(f->row, KVM_EXIT_HYPERCALL);
	assert_int_equal(run->hypercall.ret, 0);
	assert_int_equal(f->vcpu.accesses, 3);
	assert_int_equal(list_result(&mem, 0x30000), COALESCED_IO_OK);

	run->hypercall.args[0] = 1ull << 45;
	assert_int_equal(handle(f, KVM_EXIT_HYPERCALL), EXIT_CONTINUE);
	assert_int_equal((int64_t)run->hypercall.ret, -14); /* KVM_EFAULT */
	run->hypercall.args[0] = 0x30000;
	run->hypercall.args[2] = 0x10; /* what an encrypted guest means by it */
	assert_int_equal(handle(f, KVM_EXIT_HYPERCALL), EXIT_CONTINUE);
	assert_int_equal((int64_t)run->hypercall.ret, -1000); /* KVM_ENOSYS */
	assert_int_equal(f->vcpu.accesses, 0);
	run->hypercall.args[2] = COALESCED_IO_HYPERCALL_MAGIC;
	run->hypercall.args[1] = 2;
	assert_int_equal(handle(f, KVM_EXIT_HYPERCALL), EXIT_CONTINUE);
	assert_int_equal((int64_t)run->hypercall.ret, -1000);
	assert_int_equal(f->probe.writes, 3);
	mem_destroy(&mem);
}

/* Reasons of a newer KVM, and of other processors, are an error and share a row. */
static void test_unknown_reasons(void **state)
{
	static const uint32_t reasons[] = { KVM_EXIT_S390_SIEIC, 38,   ACCT_OTHER, ACCT_IO_OUT,
					    ACCT_NR_ROWS,        1000, UINT32_MAX };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		f->vcpu.crash = NULL;
		assert_int_equal(handle(f, reasons[i]), EXIT_ERROR);
		assert_int_equal(f->row, ACCT_OTHER);
		assert_non_null(f->vcpu.crash);
	}
}

static void test_row_names(void **state)
{
	(void)state;
	assert_string_equal(exit_row_name(ACCT_IO_IN), "io-in");
	assert_string_equal(exit_row_name(ACCT_IO_OUT), "io-out");
	assert_string_equal(exit_row_name(ACCT_MMIO_READ), "mmio-read");
	assert_string_equal(exit_row_name(ACCT_MMIO_WRITE), "mmio-write");
	assert_string_equal(exit_row_name(ACCT_SIGNAL), "signal");
	assert_string_equal(exit_row_name(KVM_EXIT_HLT), "hlt");
	assert_string_equal(exit_row_name(ACCT_NR_ROWS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_io, setup, teardown),
		cmocka_unit_test_setup_teardown(test_string_io, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mmio, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fatal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doorbell, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hypercall, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_reasons, setup, teardown),
		cmocka_unit_test(test_row_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
