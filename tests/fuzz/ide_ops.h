/* SPDX-License-Identifier: MIT */
/*
 * The input of fuzz_ide: operations of eight bytes. The unit tests of the IDE devices write
 * what they do in this form as well, which is where the fuzzer starts from (see ide_driver.h).
 */
#ifndef TESTS_FUZZ_IDE_OPS_H
#define TESTS_FUZZ_IDE_OPS_H

#define IDE_FUZZ_OP_SIZE 8
#define IDE_FUZZ_TABLE 0x10000ull /* where the table of the bus master is, */
#define IDE_FUZZ_DATA 0x20000ull /* and its regions */

/* The first byte, modulo their number. Widths are powers of two, a value is [4] to [7]. */
enum ide_fuzz_op {
	IDE_FUZZ_OUT, /* [1] register, [2] width */
	IDE_FUZZ_POKE, /* [1], [2] which dword of the table */
	IDE_FUZZ_COMMAND, /* [1] drive, [2] address, [3] count, [4] opcode, [5] features */
	IDE_FUZZ_DMA, /* [1] drive, [2] address, [3] count, [4] opcode, [5] table, [6] status */
	IDE_FUZZ_REGIONS, /* [1] how many, [2], [3] length, [4] at, [5] with an end, ... */
	IDE_FUZZ_DATA_PORT, /* [1] in, [2] width, [3] elements less one, [4] what is written */
	IDE_FUZZ_PACKET, /* [1] opcode, [2] to [6] of its fields, [7] limit, DMA */
	IDE_FUZZ_CONTROL, /* [1] value */
	IDE_FUZZ_BM_OUT, /* [1] register, [2] width */
	IDE_FUZZ_IN, /* [1] register, [2] width and the bus master's */
	IDE_FUZZ_CHANNEL, /* [1] which one from now on */
	IDE_FUZZ_HOLD, /* [1] 0: disk [2] is slow from now on, 1: all let go */
	IDE_FUZZ_CONFIG, /* [1] register, [2] width */
	IDE_FUZZ_MACHINE, /* [1] 0: reset, 1: save and load, else: what firmware does */
	IDE_FUZZ_NR_OPS
};

#endif
