# SPDX-License-Identifier: MIT
#
#   make            build $(O)/bantam
#   make demo       boot a stock Debian kernel and show what it cost
#   make shell      the same, and stay at the guest's prompt
#   make check      every test
#   make help       the rest

VERSION := 0.1

O      ?= build
CC     ?= cc
PREFIX ?= /usr/local
DESTDIR ?=

# What a user may change; what the code needs stands below it.
CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
NEED   := -std=gnu11 -D_GNU_SOURCE -pthread -I. -I$(O) -DBANTAM_VERSION='"$(VERSION)"'
LIBS   := -lfdt -lcjson -luring -lz -lzstd -lZydis -lslirp

# SANITIZE=address,undefined builds everything with them.
ifneq ($(SANITIZE),)
NEED   += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

COMPILE = $(CC) $(NEED) $(WARN) $(CPPFLAGS) $(CFLAGS)

FLOORS := base backends/block backends/char backends/net devices/ide devices/pc devices/pci devices/pit devices/virtio symbols cpu \
	  cpu/lookahead firmware \
	  vmm vmm/report
SRCS   := $(wildcard $(addsuffix /*.c,$(FLOORS)))
OBJS   := $(SRCS:%.c=$(O)/%.o)
LIB    := $(O)/libbantam.a

UNIT_SHARED := $(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c))
UNIT_TESTS  := $(patsubst %.c,$(O)/%,$(wildcard tests/unit/test_*.c))
FUZZERS     := $(patsubst %.c,$(O)/%,$(wildcard tests/fuzz/fuzz_*.c))

.DEFAULT_GOAL := all
include firmware/Makefile.inc
-include guests/baremetal/Makefile.inc

# Quiet unless V=1.
ifneq ($(V),1)
SAY = @printf '  %-7s %s\n' $(1) $(2);
endif

.PHONY: all
all: $(O)/bantam

$(O)/bantam: $(O)/vmm/main.o $(LIB)
	$(call SAY,LINK,$@)$(CC) $(NEED) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(LIB): $(filter-out $(O)/vmm/main.o,$(OBJS)) $(FIRMWARE_OBJS)
	$(call SAY,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC,$<)$(COMPILE) -MMD -MP -c -o $@ $<

-include $(OBJS:.o=.d) $(UNIT_SHARED:%.c=$(O)/%.d) $(UNIT_TESTS:=.d)

# --- tests -------------------------------------------------------------------

$(O)/tests/unit/test_%: tests/unit/test_%.c $(UNIT_SHARED:%.c=$(O)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)$(COMPILE) -MMD -MP -MF $@.d -o $@ $(filter %.c %.o %.a,$^) $(LIBS) -lcmocka

# Always clang and the sanitizers, in a build folder of their own: make O=build/fuzz fuzzers
$(O)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(LIB)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)$(COMPILE) -fsanitize=fuzzer -o $@ $(filter %.c %.a,$^) $(LIBS)

.SECONDARY:
.PHONY: unit-tests fuzzers guests
unit-tests: $(UNIT_TESTS)
fuzzers: $(FUZZERS)

.PHONY: check
check:
	tests/deps.sh check
	tests/check.sh

# One group of the tests: make check-unit, check-guest, check-linux, check-cli, check-lint
check-%:
	tests/deps.sh check
	tests/check.sh $*

# --- the demo, the benches ------------------------------------------------------

.PHONY: deps demo shell
deps:
	tests/deps.sh build

demo shell: deps
	$(MAKE) --no-print-directory all
	tests/deps.sh demo
	BANTAM=$(abspath $(O)/bantam) guests/demo/demo.sh $@

.PHONY: bench-boot bench-coalesce bench-disk bench-net bench-pit
bench-boot bench-coalesce bench-disk bench-net bench-pit: deps
	$(MAKE) --no-print-directory all guests
	tests/deps.sh bench
	BANTAM=$(abspath $(O)/bantam) bench/$(@:bench-%=%).sh

$(O)/bench/exitcost: bench/exitcost.c $(LIB)
	@mkdir -p $(@D)
	$(call SAY,LINK,$@)$(COMPILE) -MMD -MP -MF $@.d -o $@ $(filter %.c %.a,$^) $(LIBS)

.PHONY: benches bench-exits
benches: $(O)/bench/exitcost
bench-exits: deps
	$(MAKE) --no-print-directory $(O)/bench/exitcost
	tests/deps.sh bench
	bench/exits.sh $(O)/bench/exitcost

# --- style and installation -----------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null || find $(FLOORS) tests guests -name '*.[ch]')

.PHONY: format format-check
format:
	clang-format -i $(C_FILES)
format-check:
	clang-format --dry-run -Werror $(C_FILES)

.PHONY: install uninstall
install: $(O)/bantam
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(O)/bantam $(DESTDIR)$(PREFIX)/bin/bantam
	install -m 644 docs/bantam.1 $(DESTDIR)$(PREFIX)/share/man/man1/bantam.1

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/bantam $(DESTDIR)$(PREFIX)/share/man/man1/bantam.1

# clean keeps the downloads (build/cache); distclean takes those as well.
.PHONY: clean distclean help
clean:
	find $(O) -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} + 2>/dev/null || true
distclean:
	rm -rf $(O) build

help:
	@printf '%s\n' \
	'make               build $(O)/bantam (CC=, CFLAGS=, O=, SANITIZE=address,undefined, V=1)' \
	'make demo          boot a stock Debian kernel, in the lab where this host cannot' \
	'make shell         the same, and stay at the guest'"'"'s prompt' \
	'make check         every test; check-unit, check-guest, check-linux, check-cli, check-lint for some' \
	'make bench-boot    boot time, exits and memory beside QEMU' \
	'make bench-disk    requests to a disk, IDE and virtio, beside QEMU' \
	'make bench-net     throughput and round trips by a tap, beside QEMU' \
	'make bench-coalesce what each way to spare an IDE driver exits is worth' \
	'make bench-pit     what a timer of 1000 Hz costs, with and without a cap, beside QEMU' \
	'make bench-exits   what an exit costs, and what counting it adds' \
	'make install       to $$DESTDIR$$PREFIX (/usr/local)' \
	'make format        clang-format; format-check only looks' \
	'make clean         remove the build; distclean the downloads as well'
