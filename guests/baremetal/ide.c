/* SPDX-License-Identifier: MIT */
/*
 * The disks of the IDE controller: what they say they are, PIO of every kind, every way to
 * say where, every command, and what is refused.
 *
 * On the command line: diskP=N is a disk of N sectors at place P (0 and 1: first channel,
 * 2 and 3: second; missing: none there), readonly=P, serial=STR of the one at 0. Sector n of
 * disk P holds 100000 * P + n (lib/sector.h). The guest writes to sectors 8 to 15, 100, and
 * 1000 to 1063, and trims some if it can, which a line "# trimmed P FIRST COUNT" tells; the host
 * looks at the images afterwards. big: disk 0 is empty, and longer than 28 bits can say; its
 * sectors in big_sectors[] hold their number in the end.
 */
#include "guests/baremetal/lib/ide.h"
#include "guests/baremetal/lib/sector.h"

#define MAX_SECTORS 256 /* in one request */
#define MULTIPLE 16
#define TRIM_FIRST 1504
#define TRIM_COUNT 64
#define LBA28_SECTORS 0x10000000u

struct disk {
	struct ide ide;
	unsigned place, sectors, base;
	bool readonly;
	uint16_t id[256];
};

static uint8_t buf[MAX_SECTORS * SECTOR_SIZE] __attribute__((aligned(4096)));

static bool is(const struct disk *k, uint64_t got, uint64_t want, const char *what)
{
	if (got != want)
		print("# 0x%llx, expected 0x%llx\n", (unsigned long long)got,
		      (unsigned long long)want);
	return tap(got == want, "disk %u: %s", k->place, what);
}

static bool good(const struct disk *k, int status, const char *what)
{
	if (!ide_ok(status))
		print("# status 0x%x, error 0x%x\n", (unsigned)status,
		      ide_read(&k->ide, IDE_ERROR));
	return tap(ide_ok(status), "disk %u: %s", k->place, what);
}

/* The error register shows one of these bits. */
static bool refused(const struct disk *k, int status, uint8_t bits, const char *what)
{
	uint8_t error = ide_read(&k->ide, IDE_ERROR);
	bool ok = status >= 0 && (status & (IDE_ERR | IDE_DRQ)) == IDE_ERR && error & bits;

	if (!ok)
		print("# status 0x%x, error 0x%x\n", (unsigned)status, error);
	return tap(ok, "disk %u: %s", k->place, what);
}

static int read_pio(const struct disk *k, uint8_t command, uint64_t lba, unsigned count,
		    unsigned width)
{
	bool multiple = command == IDE_CMD_READ_MULTIPLE || command == IDE_CMD_READ_MULTIPLE_EXT;
	struct ide_regs r = { .command = command, .lba = lba, .count = count };

	memset(buf, 0, count * SECTOR_SIZE);
	return ide_pio_in(&k->ide, &r, buf, count * SECTOR_SIZE,
			  (multiple ? MULTIPLE : 1) * SECTOR_SIZE, width);
}

static int write_pio(const struct disk *k, uint8_t command, uint64_t lba, unsigned count,
		     unsigned width)
{
	bool multiple = command == IDE_CMD_WRITE_MULTIPLE || command == IDE_CMD_WRITE_MULTIPLE_EXT;
	struct ide_regs r = { .command = command, .lba = lba, .count = count };

	sectors_fill(buf, k->base + (unsigned)lba, count);
	return ide_pio_out(&k->ide, &r, buf, count * SECTOR_SIZE,
			   (multiple ? MULTIPLE : 1) * SECTOR_SIZE, width);
}

static int plain(const struct disk *k, uint8_t command, uint8_t features, unsigned count,
		 uint64_t lba)
{
	struct ide_regs r = {
		.command = command, .features = features, .count = count, .lba = lba
	};

	return ide_command(&k->ide, &r);
}

static void identify(struct disk *k)
{
	struct ide_regs r = { .command = IDE_CMD_IDENTIFY };

	memset(k->id, 0, sizeof(k->id));
	good(k, ide_pio_in(&k->ide, &r, k->id, 512, 512, 2), "IDENTIFY DEVICE");
}

/* --- the function and its drives ------------------------------------------------------ */

static void test_function(unsigned devfn)
{
	uint32_t ids = pci_read(devfn, 0, 4);

	tap(ids == 0x70108086 || ids == 0x71118086, "a PIIX's IDE function: %08x", ids);
	tap_is(pci_read(devfn, 9, 1), 0x80, "both channels at their legacy places, bus master");
	tap(pci_bar_is_io(devfn, 4), "the bus master's BAR is of ports");
	tap_is(pci_bar_size(devfn, 4), 16, "sixteen of them");
	tap_is(pci_read(devfn, 0x40, 4) & 0x80008000, 0x80008000, "both channels are decoded");
}

static void test_signature(const struct disk *k)
{
	const struct ide *d = &k->ide;

	tap(ide_reset(d), "disk %u: the channel's reset", k->place);
	ide_select(d, 0);
	is(k, ide_read(d, IDE_ERROR), 1, "the diagnostic has passed");
	is(k, ide_read(d, IDE_COUNT) | ide_read(d, IDE_LBA_LOW) << 8, 0x0101, "signature");
	is(k, ide_read(d, IDE_LBA_MID) | ide_read(d, IDE_LBA_HIGH) << 8, 0, "of a disk");
}

static bool serial_is(const uint16_t *words, const char *want)
{
	for (unsigned i = 0; i < 20; i++) {
		char c = (char)(words[i / 2] >> (i & 1 ? 0 : 8));
		bool more = want && *want && *want != ' ';

		if (c != (more ? *want : ' '))
			return false;
		want += more;
	}
	return true;
}

static void test_identify(struct disk *k)
{
	const uint16_t *id = k->id;
	uint64_t sectors28 = k->sectors < LBA28_SECTORS ? k->sectors : LBA28_SECTORS - 1;
	uint8_t sum = 0;

	identify(k);
	is(k, id[0] & 0x8000, 0, "it is an ATA drive");
	is(k, id[60] | (uint32_t)id[61] << 16, sectors28, "sectors, in 28 bits");
	is(k, id[100] | (uint64_t)id[101] << 16 | (uint64_t)id[102] << 32, k->sectors,
	   "in 48 bits");
	is(k, id[47] & 0xff, MULTIPLE, "sectors in a block of READ MULTIPLE");
	is(k, id[49] & 0x300, 0x300, "LBA and DMA");
	is(k, id[53] & 2, 2, "words 64 to 70 are valid");
	is(k, id[63] & 7, 7, "multiword DMA, modes 0 to 2");
	is(k, id[83] & 0xf400, 0x7400, "FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses");
	is(k, id[86] & 0x3400, 0x3400, "and they are enabled");
	tap(id[1] && id[3] && id[3] <= 16 && id[6] && id[6] <= 63 &&
		    (uint64_t)id[1] * id[3] * id[6] <= k->sectors,
	    "disk %u: %u cylinders, %u heads, %u sectors", k->place, id[1], id[3], id[6]);
	if (!k->place && cmdline_value("serial="))
		tap(serial_is(id + 10, cmdline_value("serial=")), "disk 0: its serial number");
	if ((id[255] & 0xff) == 0xa5) {
		for (unsigned i = 0; i < 512; i++)
			sum = (uint8_t)(sum + ((const uint8_t *)id)[i]);
		is(k, sum, 0, "the checksum");
	}
}

/* --- PIO ------------------------------------------------------------------------------ */

static void test_read(const struct disk *k)
{
	static const struct {
		uint8_t command, width;
		unsigned lba, count;
	} reads[] = {
		{ IDE_CMD_READ, 2, 0, 1 },
		{ IDE_CMD_READ, 4, 500, 5 },
		{ IDE_CMD_READ, 2, 17, 256 }, /* a count of 0 */
		{ IDE_CMD_READ_EXT, 4, 3, 1 },
		{ IDE_CMD_READ_EXT, 2, 700, 256 },
		{ IDE_CMD_READ_MULTIPLE, 2, 200, 16 },
		{ IDE_CMD_READ_MULTIPLE, 4, 201, 40 }, /* and half a block */
		{ IDE_CMD_READ_MULTIPLE_EXT, 4, 5, 1 },
		{ IDE_CMD_READ_MULTIPLE_EXT, 2, 800, 256 },
	};

	good(k, plain(k, IDE_CMD_SET_MULTIPLE, 0, MULTIPLE, 0), "SET MULTIPLE MODE");
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		int status =
			read_pio(k, reads[i].command, reads[i].lba, reads[i].count, reads[i].width);

		tap(ide_ok(status) &&
			    !sectors_wrong(buf, k->base + reads[i].lba, reads[i].count, false),
		    "disk %u: command %02x, %u sectors, %u bytes at a time", k->place,
		    reads[i].command, reads[i].count, reads[i].width);
	}
	good(k, read_pio(k, IDE_CMD_READ, k->sectors - 1, 1, 2), "the last sector");
	is(k, sectors_wrong(buf, k->base + k->sectors - 1, 1, false), 0, "it holds its number");
}

/* Without string instructions, the widths mixed. */
static void test_single_words(const struct disk *k)
{
	struct ide_regs r = { .command = IDE_CMD_READ, .lba = 42, .count = 1 };
	int status = ide_command(&k->ide, &r);

	is(k, (unsigned)status & (IDE_DRQ | IDE_ERR), IDE_DRQ, "a sector is there");
	memset(buf, 0, SECTOR_SIZE);
	for (unsigned i = 0; i < SECTOR_SIZE / 2; i++) {
		if (i % 8 == 2) {
			uint32_t two = inl(k->ide.port);

			memcpy(buf + 2 * i++, &two, 4);
		} else {
			uint16_t one = inw(k->ide.port);

			memcpy(buf + 2 * i, &one, 2);
		}
	}
	good(k, ide_wait(&k->ide), "read by words and double words");
	is(k, sectors_wrong(buf, k->base + 42, 1, false), 0, "it holds its number");
	(void)inw(k->ide.port);
	good(k, ide_wait(&k->ide), "the data port without data hurts nobody");
}

static void test_write(const struct disk *k)
{
	static const struct {
		uint8_t command, width;
		unsigned lba, count;
	} writes[] = {
		{ IDE_CMD_WRITE, 2, 8, 1 },
		{ IDE_CMD_WRITE_EXT, 4, 9, 1 },
		{ IDE_CMD_WRITE_MULTIPLE, 4, 10, 4 },
		{ IDE_CMD_WRITE_MULTIPLE_EXT, 2, 14, 2 },
		{ IDE_CMD_WRITE, 2, 1000, 3 },
		{ IDE_CMD_WRITE_EXT, 4, 1003, 13 },
		{ IDE_CMD_WRITE_MULTIPLE, 2, 1016, 17 }, /* a block and one */
		{ IDE_CMD_WRITE_MULTIPLE_EXT, 4, 1033, 31 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		int status = write_pio(k, writes[i].command, writes[i].lba, writes[i].count,
				       writes[i].width);

		tap(ide_ok(status), "disk %u: command %02x, %u sectors, %u bytes at a time",
		    k->place, writes[i].command, writes[i].count, writes[i].width);
	}
	good(k, plain(k, IDE_CMD_FLUSH, 0, 0, 0), "FLUSH CACHE");
	good(k, read_pio(k, IDE_CMD_READ, 1000, 64, 2), "read again");
	is(k, sectors_wrong(buf, k->base + 1000, 64, true), 0, "as it was written");
	good(k, read_pio(k, IDE_CMD_READ_EXT, 8, 8, 2), "and the others");
	is(k, sectors_wrong(buf, k->base + 8, 8, true), 0, "as they were written");
}

static void test_readonly(const struct disk *k)
{
	static const uint8_t commands[] = { IDE_CMD_WRITE, IDE_CMD_WRITE_EXT,
					    IDE_CMD_WRITE_MULTIPLE, IDE_CMD_WRITE_MULTIPLE_EXT };
	struct ide_regs r = { .command = IDE_CMD_WRITE_DMA, .lba = 8, .count = 8 };

	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		refused(k, write_pio(k, commands[i], 8, 4, 2), 0xff, "a write is refused");
	refused(k, ide_dma(&k->ide, &r, buf, 8 * SECTOR_SIZE, false), 0xff, "and one by DMA");
	good(k, plain(k, IDE_CMD_FLUSH, 0, 0, 0), "FLUSH CACHE is not");
}

/* --- where ---------------------------------------------------------------------------- */

static int read_chs(const struct disk *k, unsigned c, unsigned h, unsigned s, unsigned count)
{
	struct ide_regs r = {
		.command = IDE_CMD_READ, .chs = true, .lba = ide_chs(c, h, s), .count = count
	};

	memset(buf, 0, count * SECTOR_SIZE);
	return ide_pio_in(&k->ide, &r, buf, count * SECTOR_SIZE, SECTOR_SIZE, 2);
}

static void geometry(const struct disk *k, unsigned heads, unsigned sectors)
{
	static const unsigned lbas[] = { 0, 1, 62, 63, 64, 1007, 1008, 1009, 2000 };
	struct ide_regs r = { .command = IDE_CMD_INIT_PARAMETERS,
			      .chs = true,
			      .lba = ide_chs(0, heads - 1, 0),
			      .count = sectors };
	unsigned bad = 0, per = heads * sectors;

	good(k, ide_command(&k->ide, &r), "INITIALIZE DEVICE PARAMETERS");
	for (unsigned i = 0; i < ARRAY_SIZE(lbas); i++) {
		unsigned lba = lbas[i], in = lba % per;

		bad += !ide_ok(read_chs(k, lba / per, in / sectors, in % sectors + 1, 3)) ||
		       sectors_wrong(buf, k->base + lba, 3, false);
	}
	tap(!bad, "disk %u: by cylinder, head of %u and sector of %u", k->place, heads, sectors);
	refused(k, read_chs(k, 0, 0, 0, 1), IDE_IDNF | IDE_ABRT, "there is no sector 0");
	refused(k, read_chs(k, 0, 0, sectors + 1, 1), IDE_IDNF | IDE_ABRT, "none after the last");
	if (heads < 16)
		refused(k, read_chs(k, 0, heads, 1, 1), IDE_IDNF | IDE_ABRT, "no other head");
	refused(k, read_chs(k, 0xffff, 0, 1, 1), IDE_IDNF | IDE_ABRT, "nor cylinder 65535");
}

static void test_chs(struct disk *k)
{
	struct ide_regs r = { .command = IDE_CMD_WRITE, .chs = true, .count = 1 };
	unsigned heads = k->id[3], sectors = k->id[6];

	geometry(k, 7, 10);
	identify(k);
	tap(k->id[55] == 7 && k->id[56] == 10, "disk %u: IDENTIFY DEVICE shows it", k->place);
	geometry(k, heads, sectors);
	if (k->readonly)
		return;
	r.lba = ide_chs(100 / (heads * sectors), 100 / sectors % heads, 100 % sectors + 1);
	sector_fill(buf, k->base + 100, true);
	good(k, ide_pio_out(&k->ide, &r, buf, SECTOR_SIZE, SECTOR_SIZE, 2), "a sector written so");
	good(k, read_pio(k, IDE_CMD_READ, 99, 3, 2), "read by its number");
	is(k,
	   sectors_wrong(buf, k->base + 99, 1, false) +
		   sectors_wrong(buf + SECTOR_SIZE, k->base + 100, 1, true) +
		   sectors_wrong(buf + 2 * SECTOR_SIZE, k->base + 101, 1, false),
	   0, "it and its neighbours");
}

/* The registers are two deep, and read back. */
static void test_registers(const struct disk *k)
{
	const struct ide *d = &k->ide;

	ide_select(d, IDE_LBA);
	for (unsigned reg = IDE_LBA_LOW; reg <= IDE_LBA_HIGH; reg++) {
		ide_write(d, reg, (uint8_t)(0x11 * reg));
		ide_write(d, reg, (uint8_t)(0x10 * reg + 7));
	}
	is(k, ide_address(d), 0x554433574737, "what was written last, and before");
}

static void test_past_the_end(const struct disk *k)
{
	static const uint8_t reads[] = { IDE_CMD_READ, IDE_CMD_READ_EXT, IDE_CMD_READ_MULTIPLE,
					 IDE_CMD_READ_MULTIPLE_EXT };
	const uint8_t bits = IDE_IDNF | IDE_ABRT;
	struct ide_regs r = { .command = IDE_CMD_READ_DMA, .lba = k->sectors, .count = 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		print("# command %02x\n", reads[i]);
		refused(k, read_pio(k, reads[i], k->sectors, 1, 2), bits, "past the end");
		refused(k, read_pio(k, reads[i], k->sectors - 1, 4, 2), bits, "over the end");
		refused(k, read_pio(k, reads[i], 0x0fffffff, 256, 2), bits, "far past the end");
	}
	refused(k, read_pio(k, IDE_CMD_READ_EXT, 0xffffffffffff, 1, 2), bits, "2^48 - 1");
	refused(k, write_pio(k, IDE_CMD_WRITE, k->sectors, 1, 2), 0xff, "a write past the end");
	refused(k, write_pio(k, IDE_CMD_WRITE_EXT, 0xffffffffff00, 256, 2), 0xff, "and one far");
	refused(k, plain(k, IDE_CMD_VERIFY, 0, 2, k->sectors - 1), bits, "VERIFY");
	refused(k, plain(k, IDE_CMD_VERIFY_EXT, 0, 0, 0), bits, "VERIFY EXT of 65536 sectors");
	refused(k, plain(k, IDE_CMD_SEEK, 0, 0, k->sectors), bits, "SEEK");
	refused(k, ide_dma(&k->ide, &r, buf, SECTOR_SIZE, true), bits, "READ DMA");
	r.command = IDE_CMD_WRITE_DMA_EXT;
	refused(k, ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false), 0xff, "WRITE DMA EXT");
	good(k, read_pio(k, IDE_CMD_READ, 77, 1, 2), "the disk works all the same");
	is(k, sectors_wrong(buf, k->base + 77, 1, false), 0, "it holds its number");
}

/* --- the other commands --------------------------------------------------------------- */

static void test_commands(const struct disk *k)
{
	static const struct {
		uint8_t command, features, count, lba;
		bool refused;
		const char *name;
	} commands[] = {
		{ IDE_CMD_RECALIBRATE, 0, 0, 0, false, "RECALIBRATE" },
		{ IDE_CMD_SEEK, 0, 0, 100, false, "SEEK" },
		{ IDE_CMD_VERIFY, 0, 0, 100, false, "READ VERIFY, 256 sectors" },
		{ IDE_CMD_VERIFY_EXT, 0, 8, 100, false, "READ VERIFY EXT" },
		{ IDE_CMD_FLUSH, 0, 0, 0, false, "FLUSH CACHE" },
		{ IDE_CMD_FLUSH_EXT, 0, 0, 0, false, "FLUSH CACHE EXT" },
		{ IDE_CMD_IDLE, 0, 0, 0, false, "IDLE" },
		{ IDE_CMD_SET_FEATURES, 0x03, 0x00, 0, false, "PIO without a mode" },
		{ IDE_CMD_SET_FEATURES, 0x03, 0x0c, 0, false, "PIO mode 4" },
		{ IDE_CMD_SET_FEATURES, 0x03, 0x0f, 0, true, "PIO mode 7" },
		{ IDE_CMD_SET_FEATURES, 0x03, 0x47, 0, true, "Ultra DMA mode 7" },
		{ IDE_CMD_SET_FEATURES, 0x55, 0, 0, false, "no look-ahead" },
		{ IDE_CMD_SET_FEATURES, 0xaa, 0, 0, false, "look-ahead" },
		{ IDE_CMD_SET_FEATURES, 0xee, 0, 0, true, "a feature that is none" },
		{ IDE_CMD_SET_MULTIPLE, 0, 3, 0, true, "SET MULTIPLE MODE of 3" },
		{ IDE_CMD_SET_MULTIPLE, 0, 128, 0, true, "SET MULTIPLE MODE of 128" },
		{ IDE_CMD_NOP, 0, 0, 0, true, "NOP" },
		{ IDE_CMD_SMART, 0xd0, 0, 0, true, "SMART" },
		{ IDE_CMD_DEVICE_RESET, 0, 0, 0, true, "DEVICE RESET" },
		{ IDE_CMD_PACKET, 0, 0, 0, true, "PACKET" },
		{ IDE_CMD_IDENTIFY_PACKET, 0, 0, 0, true, "IDENTIFY PACKET DEVICE" },
		{ 0xff, 0, 0, 0, true, "a command that is none" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		int status = plain(k, commands[i].command, commands[i].features, commands[i].count,
				   commands[i].lba);

		if (commands[i].refused)
			refused(k, status, IDE_ABRT, commands[i].name);
		else
			good(k, status, commands[i].name);
	}
	good(k, plain(k, IDE_CMD_SET_MULTIPLE, 0, 0, 0), "SET MULTIPLE MODE of 0");
	refused(k, read_pio(k, IDE_CMD_READ_MULTIPLE, 0, 1, 2), IDE_ABRT, "then no READ MULTIPLE");
	good(k, plain(k, IDE_CMD_SET_MULTIPLE, 0, MULTIPLE, 0), "SET MULTIPLE MODE");
}

static unsigned power(const struct disk *k)
{
	if (!ide_ok(plain(k, IDE_CMD_CHECK_POWER, 0, 0, 0)))
		return ~0u;
	return ide_read(&k->ide, IDE_COUNT);
}

static void test_power(const struct disk *k)
{
	good(k, read_pio(k, IDE_CMD_READ, 0, 1, 2), "a read");
	is(k, power(k), 0xff, "active");
	good(k, plain(k, IDE_CMD_STANDBY_IMMEDIATE, 0, 0, 0), "STANDBY IMMEDIATE");
	is(k, power(k), 0x00, "standby");
	good(k, plain(k, IDE_CMD_IDLE_IMMEDIATE, 0, 0, 0), "IDLE IMMEDIATE");
	is(k, power(k), 0x80, "idle");
	good(k, plain(k, IDE_CMD_STANDBY, 0, 0, 0), "STANDBY");
	good(k, read_pio(k, IDE_CMD_READ, 0, 1, 2), "a read wakes it");
	is(k, power(k), 0xff, "active again");
	good(k, plain(k, IDE_CMD_SLEEP, 0, 0, 0), "SLEEP");
	tap(ide_reset(&k->ide), "disk %u: only a reset ends it", k->place);
	good(k, plain(k, IDE_CMD_SET_MULTIPLE, 0, MULTIPLE, 0), "SET MULTIPLE MODE");
	good(k, read_pio(k, IDE_CMD_READ, 0, 1, 2), "a read");
}

static void test_features(struct disk *k)
{
	good(k, plain(k, IDE_CMD_SET_FEATURES, 0x82, 0, 0), "no write cache");
	identify(k);
	is(k, k->id[85] & 0x20, 0, "IDENTIFY DEVICE shows it");
	good(k, plain(k, IDE_CMD_SET_FEATURES, 0x02, 0, 0), "the write cache");
	identify(k);
	is(k, k->id[85] & 0x20, 0x20, "IDENTIFY DEVICE shows it");
	is(k, k->id[59] & 0x1ff, 0x100 | MULTIPLE, "and READ MULTIPLE's block");
	good(k, plain(k, IDE_CMD_SET_FEATURES, 0x03, 0x21, 0), "multiword DMA mode 1");
	identify(k);
	is(k, k->id[63] >> 8 & 7, 2, "IDENTIFY DEVICE shows it");
	if (!(k->id[88] & 7)) {
		refused(k, plain(k, IDE_CMD_SET_FEATURES, 0x03, 0x42, 0), IDE_ABRT, "no Ultra DMA");
		return;
	}
	good(k, plain(k, IDE_CMD_SET_FEATURES, 0x03, 0x42, 0), "Ultra DMA mode 2");
	identify(k);
	is(k, k->id[88] >> 8 & 0x7f, 4, "IDENTIFY DEVICE shows it");
	is(k, k->id[63] >> 8 & 7, 0, "in place of the other");
}

static void test_trim(const struct disk *k)
{
	struct ide_regs r = { .command = IDE_CMD_DATA_SET_MANAGEMENT, .features = 1, .count = 1 };
	uint64_t range = TRIM_FIRST | (uint64_t)TRIM_COUNT << 48;

	memset(buf, 0, SECTOR_SIZE);
	if (!(k->id[169] & 1)) {
		refused(k, ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false), IDE_ABRT, "no TRIM");
		return;
	}
	memcpy(buf, &range, sizeof(range));
	good(k, ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false), "DATA SET MANAGEMENT, TRIM");
	print("# trimmed %u %u %u\n", k->place, TRIM_FIRST, TRIM_COUNT);
	good(k, read_pio(k, IDE_CMD_READ, TRIM_FIRST - 1, TRIM_COUNT + 2, 2), "what was trimmed");
	tap(bytes_are(buf + SECTOR_SIZE, TRIM_COUNT * SECTOR_SIZE, 0), "disk %u: is zeros",
	    k->place);
	is(k,
	   sectors_wrong(buf, k->base + TRIM_FIRST - 1, 1, false) +
		   sectors_wrong(buf + (TRIM_COUNT + 1) * SECTOR_SIZE,
				 k->base + TRIM_FIRST + TRIM_COUNT, 1, false),
	   0, "and its neighbours are untouched");
	range = (k->sectors - 1) | 2ull << 48;
	memset(buf, 0, SECTOR_SIZE);
	memcpy(buf, &range, sizeof(range));
	refused(k, ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false), IDE_ABRT | IDE_IDNF,
		"over the end");
	good(k, read_pio(k, IDE_CMD_READ, k->sectors - 1, 1, 2), "the last sector");
	is(k, sectors_wrong(buf, k->base + k->sectors - 1, 1, false), 0, "is untouched");
}

/* --- more than 28 bits can say -------------------------------------------------------- */

static void big_sector(const struct disk *k, uint64_t lba, bool dma)
{
	struct ide_regs r = { .command = IDE_CMD_WRITE_DMA_EXT, .lba = lba, .count = 1 };
	int status;

	sector_fill(buf, (unsigned)lba, true);
	status = dma ? ide_dma(&k->ide, &r, buf, SECTOR_SIZE, false)
		     : write_pio(k, IDE_CMD_WRITE_EXT, lba, 1, 2);
	tap(ide_ok(status), "sector 0x%llx written", (unsigned long long)lba);
	memset(buf, 0, SECTOR_SIZE);
	r.command = IDE_CMD_READ_DMA_EXT;
	status = dma ? ide_dma(&k->ide, &r, buf, SECTOR_SIZE, true)
		     : read_pio(k, IDE_CMD_READ_EXT, lba, 1, 2);
	tap(ide_ok(status) && sector_holds(buf, (unsigned)lba, true), "and read");
}

static void test_big(const struct disk *k)
{
	struct ide_regs r = { .lba = LBA28_SECTORS - 32, .count = 64 };
	const unsigned big_sectors[] = { 0, LBA28_SECTORS - 1, LBA28_SECTORS, LBA28_SECTORS + 5,
					 k->sectors - 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(big_sectors); i++)
		big_sector(k, big_sectors[i], i % 2);
	good(k, read_pio(k, IDE_CMD_READ, LBA28_SECTORS - 1, 1, 2), "the last one of 28 bits");
	is(k, sectors_wrong(buf, LBA28_SECTORS - 1, 1, true), 0, "it holds its number");
	sectors_fill(buf, LBA28_SECTORS - 32, 64);
	r.command = IDE_CMD_WRITE_DMA_EXT;
	good(k, ide_dma(&k->ide, &r, buf, 64 * SECTOR_SIZE, false), "across 28 bits");
	memset(buf, 0, 64 * SECTOR_SIZE);
	r.command = IDE_CMD_READ_DMA_EXT;
	good(k, ide_dma(&k->ide, &r, buf, 64 * SECTOR_SIZE, true), "read again");
	is(k, sectors_wrong(buf, LBA28_SECTORS - 32, 64, true), 0, "they hold their numbers");
	good(k, plain(k, IDE_CMD_VERIFY_EXT, 0, 0, LBA28_SECTORS), "VERIFY EXT, 65536 sectors");
	refused(k, read_pio(k, IDE_CMD_READ_EXT, k->sectors, 1, 2), IDE_IDNF | IDE_ABRT,
		"past the end");
}

static void test_disk(struct disk *k)
{
	test_signature(k);
	test_identify(k);
	if (cmdline_has("big") && !k->place) {
		test_big(k);
		return;
	}
	test_read(k);
	test_single_words(k);
	test_registers(k);
	test_chs(k);
	if (k->readonly)
		test_readonly(k);
	else
		test_write(k);
	test_commands(k);
	test_power(k);
	test_features(k);
	if (!k->readonly)
		test_trim(k);
	test_past_the_end(k);
}

int main(void)
{
	static const char *const keys[] = { "disk0=", "disk1=", "disk2=", "disk3=" };
	unsigned devfn = ide_find();

	if (!tap(devfn != PCI_NONE, "there is an IDE controller"))
		return 0;
	test_function(devfn);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		static struct disk k;

		k = (struct disk){
			.ide = ide_place(devfn, i),
			.place = i,
			.sectors = cmdline_number(keys[i], 0),
			.base = 100000 * i,
			.readonly = cmdline_number("readonly=", ARRAY_SIZE(keys)) == i,
		};
		if (k.sectors)
			test_disk(&k);
	}
	return 0;
}
