/* SPDX-License-Identifier: MIT */
/*
 * PVH: an ELF with the note XEN_ELFNOTE_PHYS32_ENTRY, entered in flat 32-bit protected
 * mode with %ebx at a struct hvm_start_info (Xen's docs/misc/pvh.pandoc). Every number
 * of the file is checked once, after it was copied; segments go to their p_paddr.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/platform.h"
#include "firmware/e820.h"
#include "firmware/loader.h"

#define NOTE_PHYS32_ENTRY 18
#define NOTES_MAX (1 * MIB) /* of one PT_NOTE; Linux has half a KiB */
#define PHDRS_MAX 128

#define START_MAGIC 0x336ec578
#define START_VERSION 1

/* xen/include/public/arch-x86/hvm/start_info.h */
struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct start_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct start_memmap {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* What lies at PLATFORM_PVH_START_INFO. */
struct start_page {
	struct start_info info;
	struct start_module initrd;
	struct start_memmap map[E820_MAX_ENTRIES];
};

_Static_assert(sizeof(struct start_info) == 56, "start_info.h");
_Static_assert(sizeof(struct start_page) <= PAGE_SIZE_4K, "one page");

struct pvh {
	uint64_t phoff;
	unsigned phnum;
	bool elf64;
	bool have_entry;
	uint64_t entry;
};

static int bad(struct loader *l, const char *why)
{
	return err_set(l->err, -ENOEXEC, "--kernel %s: %s", l->cfg->kernel.path, why);
}

static int read_ehdr(struct loader *l, struct pvh *p)
{
	const struct firmware_file *f = &l->cfg->kernel;
	unsigned machine, phentsize, want;
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} h;
	int ret;

	if (f->size < sizeof(h.e32))
		return bad(l, "an ELF cut off in its header");
	memset(&h, 0, sizeof(h));
	ret = loader_read(l, "--kernel", f, &h, min_u64(f->size, sizeof(h)), 0);
	if (ret)
		return ret;
	if (h.ident[EI_DATA] != ELFDATA2LSB || h.ident[EI_VERSION] != EV_CURRENT)
		return bad(l, "an ELF that is not little-endian of version 1");
	switch (h.ident[EI_CLASS]) {
	case ELFCLASS64:
		if (f->size < sizeof(h.e64))
			return bad(l, "an ELF cut off in its header");
		p->elf64 = true;
		machine = h.e64.e_machine;
		p->phoff = h.e64.e_phoff;
		p->phnum = h.e64.e_phnum;
		phentsize = h.e64.e_phentsize;
		want = sizeof(Elf64_Phdr);
		break;
	case ELFCLASS32:
		machine = h.e32.e_machine;
		p->phoff = h.e32.e_phoff;
		p->phnum = h.e32.e_phnum;
		phentsize = h.e32.e_phentsize;
		want = sizeof(Elf32_Phdr);
		break;
	default:
		return bad(l, "an ELF of neither 32 nor 64 bits");
	}
	if (machine != EM_X86_64 && machine != EM_386)
		return bad(l, "an ELF for another processor than x86");
	if (!p->phnum)
		return bad(l, "an ELF without program headers: an object file, not a kernel");
	if (p->phnum > PHDRS_MAX || phentsize != want)
		return bad(l, "an ELF with program headers of a wrong size or number");
	if (p->phoff > f->size || (uint64_t)p->phnum * want > f->size - p->phoff)
		return bad(l, "an ELF cut off in its program headers");
	return 0;
}

/* One program header in the 64-bit form; 32-bit numbers only grow. */
static int read_phdr(struct loader *l, const struct pvh *p, unsigned i, Elf64_Phdr *ph)
{
	const struct firmware_file *f = &l->cfg->kernel;
	Elf32_Phdr p32;
	int ret;

	if (p->elf64)
		return loader_read(l, "--kernel", f, ph, sizeof(*ph), p->phoff + i * sizeof(*ph));
	ret = loader_read(l, "--kernel", f, &p32, sizeof(p32), p->phoff + i * sizeof(p32));
	if (ret)
		return ret;
	*ph = (Elf64_Phdr){
		.p_type = p32.p_type,
		.p_offset = p32.p_offset,
		.p_paddr = p32.p_paddr,
		.p_filesz = p32.p_filesz,
		.p_memsz = p32.p_memsz,
		.p_align = p32.p_align,
	};
	return 0;
}

static int load_segment(struct loader *l, const Elf64_Phdr *ph)
{
	const struct firmware_file *f = &l->cfg->kernel;
	char *bss;
	int ret;

	if (!ph->p_memsz && !ph->p_filesz)
		return 0;
	if (ph->p_filesz > ph->p_memsz)
		return bad(l, "an ELF segment with more bytes in the file than in memory");
	if (ph->p_offset > f->size || ph->p_filesz > f->size - ph->p_offset)
		return bad(l, "an ELF cut off in a segment");
	if (ph->p_paddr < PLATFORM_BIOS_AREA_END)
		return bad(l, "an ELF segment below 1 MiB, where the boot tables are");
	ret = loader_claim(l, "an ELF segment", ph->p_paddr, ph->p_memsz);
	if (!ret && ph->p_filesz)
		ret = loader_read_to(l, "--kernel", f, ph->p_paddr, ph->p_filesz, ph->p_offset);
	if (ret || ph->p_memsz == ph->p_filesz)
		return ret;
	bss = mem_at(l->mem, ph->p_paddr + ph->p_filesz, ph->p_memsz - ph->p_filesz);
	if (!bss)
		return bad(l, "an ELF segment that is not RAM");
	memset(bss, 0, ph->p_memsz - ph->p_filesz);
	return 0;
}

/* The note at off, whose descriptor is at desc_off, if it is the entry. */
static int read_note(struct loader *l, struct pvh *p, const Elf64_Nhdr *nh, uint64_t off,
		     uint64_t desc_off)
{
	const struct firmware_file *f = &l->cfg->kernel;
	uint8_t value[8] = { 0 };
	char name[4];
	int ret;

	if (nh->n_type != NOTE_PHYS32_ENTRY || nh->n_namesz != sizeof(name))
		return 0;
	ret = loader_read(l, "--kernel", f, name, sizeof(name), off + sizeof(*nh));
	if (ret || memcmp(name, "Xen", sizeof(name)))
		return ret;
	if (nh->n_descsz != 4 && nh->n_descsz != 8)
		return bad(l, "a PVH note that is not an address");
	ret = loader_read(l, "--kernel", f, value, nh->n_descsz, off + desc_off);
	p->entry = load_le(value, 8);
	p->have_entry = !ret;
	return ret;
}

/* Looks for the entry among the notes of one PT_NOTE: System V gABI, "Note Section". */
static int scan_notes(struct loader *l, struct pvh *p, const Elf64_Phdr *ph)
{
	const struct firmware_file *f = &l->cfg->kernel;
	uint64_t align = ph->p_align == 8 ? 8 : 4;
	uint64_t off = ph->p_offset, left = ph->p_filesz;

	if (off > f->size || left > f->size - off || left > NOTES_MAX)
		return bad(l, "an ELF with notes that lie about their size");
	while (left >= sizeof(Elf64_Nhdr) && !p->have_entry) {
		uint64_t desc_off, end;
		Elf64_Nhdr nh;
		int ret = loader_read(l, "--kernel", f, &nh, sizeof(nh), off);

		if (ret)
			return ret;
		/* 32-bit sizes: no sum of them wraps around in 64 bits */
		desc_off = align_up(sizeof(nh) + (uint64_t)nh.n_namesz, align);
		end = desc_off + nh.n_descsz;
		if (end > left)
			return bad(l, "an ELF with a note that lies about its size");
		ret = read_note(l, p, &nh, off, desc_off);
		if (ret)
			return ret;
		end = min_u64(align_up(end, align), left);
		off += end;
		left -= end;
	}
	return 0;
}

static bool entry_is_loaded(const struct loader *l, uint64_t entry)
{
	for (unsigned i = 0; i < l->nr_used; i++) {
		if (entry >= l->used[i].gpa && entry - l->used[i].gpa < l->used[i].len)
			return true;
	}
	return false;
}

static int place_start_info(struct loader *l)
{
	uint64_t base = PLATFORM_PVH_START_INFO;
	struct e820_entry map[E820_MAX_ENTRIES];
	unsigned n = e820_build(l->mem, map);
	struct start_page page = {
		.info = {
			.magic = START_MAGIC,
			.version = START_VERSION,
			.cmdline_paddr = PLATFORM_CMDLINE_BASE,
			.rsdp_paddr = l->rsdp_gpa,
			.memmap_paddr = base + offsetof(struct start_page, map),
			.memmap_entries = n,
		},
	};

	if (l->initrd_gpa) {
		page.info.nr_modules = 1;
		page.info.modlist_paddr = base + offsetof(struct start_page, initrd);
		page.initrd.paddr = l->initrd_gpa;
		page.initrd.size = l->cfg->initrd.size;
	}
	for (unsigned i = 0; i < n; i++) {
		page.map[i] = (struct start_memmap){
			.addr = map[i].addr,
			.size = map[i].size,
			.type = map[i].type,
		};
	}
	if (mem_write(l->mem, base, &page, sizeof(page)))
		return err_set(l->err, -E2BIG, "--memory: too small for the start info");
	return 0;
}

int pvh_load(struct loader *l, struct boot_entry *entry)
{
	struct pvh p = { 0 };
	Elf64_Phdr ph;
	int ret = read_ehdr(l, &p);

	/* The notes first: a file that is no kernel is refused before any of it is loaded. */
	for (unsigned i = 0; !ret && i < p.phnum; i++) {
		ret = read_phdr(l, &p, i, &ph);
		if (!ret && ph.p_type == PT_NOTE && !p.have_entry)
			ret = scan_notes(l, &p, &ph);
	}
	if (ret)
		return ret;
	if (!p.have_entry)
		return bad(l, "an ELF without the Xen PVH note (type 18); Linux needs CONFIG_PVH");
	for (unsigned i = 0; !ret && i < p.phnum; i++) {
		ret = read_phdr(l, &p, i, &ph);
		if (!ret && ph.p_type == PT_LOAD)
			ret = load_segment(l, &ph);
	}
	if (ret)
		return ret;
	if (p.entry > UINT32_MAX || !entry_is_loaded(l, p.entry))
		return bad(l, "a PVH entry outside of its segments");
	ret = loader_finish(l, BOOT_PROT32, FIRMWARE_CMDLINE_MAX, PLATFORM_LOW_RAM_END);
	if (!ret)
		ret = place_start_info(l);
	if (ret)
		return ret;
	loader_entry_init(entry, BOOT_PROT32, p.entry);
	entry->rbx = PLATFORM_PVH_START_INFO;
	entry->rdx = l->fdt_gpa;
	return 0;
}
