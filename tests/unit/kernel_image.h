/* SPDX-License-Identifier: MIT */
/*
 * Small kernels that the loaders accept, for tests to spoil, and the files they come in.
 */
#ifndef TESTS_UNIT_KERNEL_IMAGE_H
#define TESTS_UNIT_KERNEL_IMAGE_H

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "firmware/firmware.h"

#define IMAGE_FACTS                                                                              \
	(FIRMWARE_COM1 | FIRMWARE_COM2 | FIRMWARE_RTC | FIRMWARE_PVPANIC | FIRMWARE_DEBUG_EXIT | \
	 FIRMWARE_PM_TIMER | FIRMWARE_GPE | FIRMWARE_PCI)

#define BZ_SETUP_SIZE 1024
#define BZ_CODE_SIZE 0x2000
#define BZ_SIZE (BZ_SETUP_SIZE + BZ_CODE_SIZE)
#define BZ_PREF (16 * MIB)
#define BZ_INIT_SIZE (2 * MIB)
#define BZ_CMDLINE_SIZE 2047

/* A bzImage of protocol 2.15 whose code is the bytes 0, 1, 2 ... 250, 0, 1 ... */
static inline void bz_image(uint8_t image[BZ_SIZE])
{
	memset(image, 0, BZ_SETUP_SIZE);
	image[0x1f1] = BZ_SETUP_SIZE / 512 - 1; /* setup_sects */
	store_le(image + 0x1f4, 4, BZ_CODE_SIZE / 16); /* syssize */
	store_le(image + 0x1fe, 2, 0xaa55); /* boot_flag */
	store_le(image + 0x200, 2, 0x6aeb); /* jump: the header ends at 0x26c */
	memcpy(image + 0x202, "HdrS", 4);
	store_le(image + 0x206, 2, 0x20f); /* version */
	image[0x211] = 1; /* loadflags: LOADED_HIGH */
	store_le(image + 0x214, 4, 0x100000); /* code32_start */
	store_le(image + 0x22c, 4, 0x7fffffff); /* initrd_addr_max */
	store_le(image + 0x230, 4, 0x200000); /* kernel_alignment */
	image[0x234] = 1; /* relocatable_kernel */
	store_le(image + 0x236, 2, 0x7f); /* xloadflags */
	store_le(image + 0x238, 4, BZ_CMDLINE_SIZE);
	store_le(image + 0x248, 4, 0x100); /* payload_offset */
	store_le(image + 0x24c, 4, 0x1000); /* payload_length */
	store_le(image + 0x258, 8, BZ_PREF); /* pref_address */
	store_le(image + 0x260, 4, BZ_INIT_SIZE); /* init_size */
	for (unsigned i = 0; i < BZ_CODE_SIZE; i++)
		image[BZ_SETUP_SIZE + i] = (uint8_t)(i % 251);
}

#define ELF_LOAD_A 0x200000ull /* p_paddr of the two segments */
#define ELF_LOAD_B 0x210000ull
#define ELF_FILESZ 0x800
#define ELF_MEMSZ_B 0x3000 /* the rest is .bss */
#define ELF_OFF_A 0x200
#define ELF_OFF_B (ELF_OFF_A + ELF_FILESZ)
#define ELF_OFF_NOTES (ELF_OFF_B + ELF_FILESZ)
#define ELF_NOTES_SIZE 44
#define ELF_SIZE (ELF_OFF_NOTES + ELF_NOTES_SIZE)
#define ELF_ENTRY (ELF_LOAD_A + 0x40)

/* "GNU" and some other note, then the Xen one. Its descriptor is at note + 40. */
static inline void elf_notes(uint8_t *note)
{
	const uint32_t words[] = { 4, 4, 1, 0, 0x12345678, 4, 8, 18, 0, (uint32_t)ELF_ENTRY, 0 };

	memcpy(note, words, sizeof(words));
	memcpy(note + 12, "GNU", 4);
	memcpy(note + 32, "Xen", 4);
}

/* An ELF64 of two segments, the second with .bss, and a PT_NOTE. */
static inline void elf64_image(uint8_t image[ELF_SIZE])
{
	const Elf64_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	const Elf64_Phdr ph[3] = {
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_OFF_A,
		  .p_paddr = ELF_LOAD_A,
		  .p_filesz = ELF_FILESZ,
		  .p_memsz = ELF_FILESZ },
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_OFF_B,
		  .p_paddr = ELF_LOAD_B,
		  .p_filesz = ELF_FILESZ,
		  .p_memsz = ELF_MEMSZ_B },
		{ .p_type = PT_NOTE,
		  .p_offset = ELF_OFF_NOTES,
		  .p_filesz = ELF_NOTES_SIZE,
		  .p_memsz = ELF_NOTES_SIZE,
		  .p_align = 4 },
	};

	memset(image, 0, ELF_SIZE);
	memcpy(image, &eh, sizeof(eh));
	memcpy(image + sizeof(eh), ph, sizeof(ph));
	memset(image + ELF_OFF_A, 0xaa, ELF_FILESZ);
	memset(image + ELF_OFF_B, 0xbb, ELF_FILESZ);
	elf_notes(image + ELF_OFF_NOTES);
}

/* The same as an ELF32. */
static inline void elf32_image(uint8_t image[ELF_SIZE])
{
	const Elf32_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 3,
	};
	const Elf32_Phdr ph[3] = {
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_OFF_A,
		  .p_paddr = ELF_LOAD_A,
		  .p_filesz = ELF_FILESZ,
		  .p_memsz = ELF_FILESZ },
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_OFF_B,
		  .p_paddr = ELF_LOAD_B,
		  .p_filesz = ELF_FILESZ,
		  .p_memsz = ELF_MEMSZ_B },
		{ .p_type = PT_NOTE,
		  .p_offset = ELF_OFF_NOTES,
		  .p_filesz = ELF_NOTES_SIZE,
		  .p_memsz = ELF_NOTES_SIZE,
		  .p_align = 4 },
	};

	memset(image, 0, ELF_SIZE);
	memcpy(image, &eh, sizeof(eh));
	memcpy(image + sizeof(eh), ph, sizeof(ph));
	memset(image + ELF_OFF_A, 0xaa, ELF_FILESZ);
	memset(image + ELF_OFF_B, 0xbb, ELF_FILESZ);
	elf_notes(image + ELF_OFF_NOTES);
}

/* A file of these bytes; fd -1 where the host refuses. Closed by the caller. */
static inline struct firmware_file image_file(const char *path, const void *bytes, size_t size)
{
	struct firmware_file file = { .fd = memfd_create(path, MFD_CLOEXEC), .path = path };

	file.size = size;
	if (file.fd >= 0 && size && util_pwrite_all(file.fd, bytes, size, 0)) {
		close(file.fd);
		file.fd = -1;
	}
	return file;
}

/* A file of size bytes without a byte on disk. */
static inline struct firmware_file sparse_file(const char *path, uint64_t size)
{
	struct firmware_file file = image_file(path, NULL, 0);

	file.size = size;
	if (file.fd >= 0 && ftruncate(file.fd, (off_t)size)) {
		close(file.fd);
		file.fd = -1;
	}
	return file;
}

#endif
