/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "cpu/cpuid.h"
#include "guests/include/bantam/coalesced_io.h"

static struct kvm_cpuid_entry2 one(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx,
				   uint32_t ecx, uint32_t edx)
{
	return (struct kvm_cpuid_entry2){
		.function = function,
		.index = index,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
	};
}

static void test_features(void **state)
{
	struct kvm_cpuid_entry2 e = one(1, 0, 0x800f12, 0xff10ffcc, 1u << 5 | 1u << 27, 1u << 28);

	(void)state;
	cpuid_filter(&e, 1, 3, 4, true);
	assert_int_equal(e.eax, 0x800f12); /* the model is the host's */
	assert_int_equal(e.ebx >> 24, 3); /* the APIC id */
	assert_int_equal(e.ebx >> 16 & 0xff, 4); /* ids in the package */
	assert_int_equal(e.ebx & 0xffff, 0xffcc);
	assert_false(e.ecx & 1u << 5); /* no VMX */
	assert_false(e.ecx & 1u << 27); /* OSXSAVE is the guest's own CR4 bit */
	assert_true(e.ecx & 1u << 21); /* x2APIC */
	assert_true(e.ecx & 1u << 24); /* TSC deadline */
	assert_true(e.ecx & 1u << 31); /* a hypervisor */
	assert_true(e.edx & 1u << 28); /* HTT */

	e = one(1, 0, 0, 0, 0, 1u << 28);
	cpuid_filter(&e, 1, 0, 1, false);
	assert_int_equal(e.ebx >> 16 & 0xff, 1);
	assert_false(e.edx & 1u << 28);
	assert_false(e.ecx & 1u << 24);
}

static void test_topology(void **state)
{
	(void)state;
	for (uint32_t leaf = 0xb; leaf <= 0x1f; leaf += 0x14) {
		struct kvm_cpuid_entry2 e[3] = {
			one(leaf, 0, 9, 9, 9, 9),
			one(leaf, 1, 9, 9, 9, 9),
			one(leaf, 2, 9, 9, 9, 9),
		};

		cpuid_filter(e, 3, 5, 6, true);
		assert_int_equal(e[0].eax, 0); /* a core has one thread: no bits */
		assert_int_equal(e[0].ebx, 1);
		assert_int_equal(e[0].ecx, 0x100);
		assert_int_equal(e[1].eax, 3); /* 6 cores take three bits */
		assert_int_equal(e[1].ebx, 6);
		assert_int_equal(e[1].ecx, 0x201);
		assert_int_equal(e[2].ebx, 0);
		assert_int_equal(e[2].ecx, 2); /* type 0: the end */
		for (int i = 0; i < 3; i++)
			assert_int_equal(e[i].edx, 5); /* the x2APIC id in each */
	}
}

static void test_caches(void **state)
{
	struct kvm_cpuid_entry2 e[3] = {
		one(4, 0, 0x1c004121, 0, 0, 0), /* level 1 data */
		one(4, 3, 0x1c1fc163, 0, 0, 0), /* level 3 */
		one(4, 4, 0, 0, 0, 0), /* the end */
	};

	(void)state;
	cpuid_filter(e, 3, 0, 4, true);
	assert_int_equal(e[0].eax >> 14 & 0xfff, 0); /* one core's own */
	assert_int_equal(e[1].eax >> 14 & 0xfff, 3); /* shared by four */
	assert_int_equal(e[0].eax >> 26, 3); /* four core ids */
	assert_int_equal(e[0].eax & 0x3fff, 0x121);
	assert_int_equal(e[2].eax, 0);
}

static void test_amd(void **state)
{
	struct kvm_cpuid_entry2 e[4] = {
		one(0x80000001, 0, 0, 0, 1u << 2, 0),
		one(0x80000008, 0, 0x3030, 0, 0x7fff, 0),
		one(0x8000000a, 0, 1, 8, 0, 0xff),
		one(0x8000001e, 0, 77, 0x101, 0x300, 0),
	};

	(void)state;
	cpuid_filter(e, 4, 2, 3, true);
	assert_int_equal(e[0].ecx, 1u << 1); /* no SVM; CmpLegacy as there are several cores */
	assert_int_equal(e[1].eax, 0x3030);
	assert_int_equal(e[1].ecx & 0xff, 2); /* NC: cores less one */
	assert_int_equal(e[1].ecx >> 12 & 0xf, 2); /* ApicIdSize */
	assert_int_equal(e[2].edx, 0);
	assert_int_equal(e[3].eax, 2);
	assert_int_equal(e[3].ebx, 2);
	assert_int_equal(e[3].ecx, 0);
}

static void test_others_untouched(void **state)
{
	struct kvm_cpuid_entry2 e = one(0x40000001, 0, 0x01007efb, 0, 0, 0), before = e;

	(void)state;
	cpuid_filter(&e, 1, 2, 3, true);
	assert_memory_equal(&e, &before, sizeof(e));
}

static void test_coalesced_io(void **state)
{
	struct kvm_cpuid_entry2 e[CPUID_COALESCED_IO];
	char signature[13] = "";

	(void)state;
	cpuid_coalesced_io(e, COALESCED_IO_F_DOORBELL | COALESCED_IO_F_HYPERCALL);
	assert_int_equal(e[0].function, 0x40000100);
	assert_int_equal(e[0].eax, 0x40000101);
	memcpy(signature, &e[0].ebx, 4);
	memcpy(signature + 4, &e[0].ecx, 4);
	memcpy(signature + 8, &e[0].edx, 4);
	assert_string_equal(signature, "BantamCoesIO");
	assert_int_equal(e[1].function, 0x40000101);
	assert_int_equal(e[1].eax, 1);
	assert_int_equal(e[1].ebx, 3);
	assert_int_equal(e[1].ecx, PLATFORM_PORT_COALESCED_IO);
	assert_int_equal(e[1].edx, 127);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),         cmocka_unit_test(test_topology),
		cmocka_unit_test(test_caches),           cmocka_unit_test(test_amd),
		cmocka_unit_test(test_others_untouched), cmocka_unit_test(test_coalesced_io),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
