# SPDX-License-Identifier: GPL-2.0-or-later
# keelson: one non-recursive Makefile. A room (folder) adds what is special to it in its own rules.mk.
#
#   make            build everything into build/
#   make up/down    start or stop a one-node cluster on this machine (root)
#   make test       every test; SANITIZE=1 under ASan and UBSan
#   make bench      the benchmark tables of docs/benchmarks.md
#   make lint       dependency directions, banned functions, formatting facts
#   make install    PREFIX=/usr/local

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

SANITIZE ?= 0
ifeq ($(SANITIZE),1)
B := build/sanitize
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT := -O1
else
B := build
SAN_FLAGS :=
OPT := -O2
endif

CC := gcc
CLANG := clang
BPFTOOL := $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
VERSION := 0.1.0
PREFIX ?= /usr/local
STATE ?= /var/lib/keelson

CFLAGS ?= $(OPT) -g
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror \
	-fno-strict-aliasing -fvisibility=hidden -ffunction-sections -fdata-sections -fstack-protector-strong -fPIE \
	$(SAN_FLAGS) $(CFLAGS) -I. -Ilib -I$(B)/gen -DKEELSON_VERSION='"$(VERSION)"' -MMD -MP
ALL_LDFLAGS = -pie -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro,-z,now -Wl,-z,pack-relative-relocs $(SAN_FLAGS) $(LDFLAGS)

# Packages, until the first `make deps` the dev files may be missing: say so once.
PKGS_base :=
PKGS_io := libuv openssl libnghttp2 libcurl libnl-route-3.0 libnl-3.0
PKGS_kube := jansson yaml-0.1
PKGS_all := $(PKGS_io) $(PKGS_kube) libnl-genl-3.0 libmnl libnftnl libprotobuf-c libbpf
LIBS_io := -luv -lssl -lcrypto -lnghttp2 -lcurl -lnl-route-3 -lnl-3
LIBS_kube := -ljansson -lyaml

INCLUDES := $(shell pkg-config --cflags-only-I $(PKGS_all) 2>/dev/null)

# Rooms. R_dir lists the folder's own sources; main.c is the program, the rest is an archive that tests link too.
LIB_ROOMS := base io kube
PROGRAMS := keelson-apiserver keelson-scheduler keelson-controllers keelson-agent keelson-proxy keelson-cni keelson
ROOM_keelson-apiserver := apiserver
ROOM_keelson-scheduler := scheduler
ROOM_keelson-controllers := controllers
ROOM_keelson-agent := agent
ROOM_keelson-proxy := proxy
ROOM_keelson-cni := cni
ROOM_keelson := cli
ROOMS := $(foreach p,$(PROGRAMS),$(ROOM_$(p)))

find_c = $(filter-out %_test.c %_fuzz.c,$(shell find $(1) -name '*.c' 2>/dev/null | sort))
find_tests = $(shell find $(1) -name '*_test.c' 2>/dev/null | sort)

LIB_AR := $(foreach r,kube io base,$(B)/lib/lib$(r).a)
LIB_LDLIBS := $(LIBS_kube) $(LIBS_io)

# A room's rules.mk may set LDLIBS_<room> (extra libraries), GEN_<room> (generated files needed before compiling), and
# add EXTRA_TARGETS, TEST_SCRIPTS and prerequisites of its own.
EXTRA_TARGETS :=
TEST_SCRIPTS :=
-include $(sort $(wildcard lib/*/rules.mk bpf/rules.mk proxy/rules.mk cni/rules.mk agent/rules.mk apiserver/rules.mk \
	scheduler/rules.mk controllers/rules.mk cli/rules.mk tests/rules.mk docs/rules.mk))

define lib_room
SRC_lib_$(1) := $$(call find_c,lib/$(1))
GENSRC_lib_$(1) ?=
OBJ_lib_$(1) := $$(SRC_lib_$(1):%.c=$(B)/obj/%.o) $$(GENSRC_lib_$(1):%.c=%.o)
$(B)/lib/lib$(1).a: $$(OBJ_lib_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
$$(OBJ_lib_$(1)): | $$(GEN_$(1))
endef
$(foreach r,$(LIB_ROOMS),$(eval $(call lib_room,$(r))))

define program
SRC_$(ROOM_$(1)) := $$(filter-out $(ROOM_$(1))/main.c,$$(call find_c,$(ROOM_$(1))))
GENSRC_$(ROOM_$(1)) ?=
OBJ_$(ROOM_$(1)) := $$(SRC_$(ROOM_$(1)):%.c=$(B)/obj/%.o) $$(GENSRC_$(ROOM_$(1)):%.c=%.o)
$(B)/lib/$(ROOM_$(1)).a: $$(OBJ_$(ROOM_$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
$$(OBJ_$(ROOM_$(1))) $(B)/obj/$(ROOM_$(1))/main.o: | $$(GEN_$(ROOM_$(1)))
$(B)/bin/$(1): $(B)/obj/$(ROOM_$(1))/main.o $(B)/lib/$(ROOM_$(1)).a $$(LIB_AR)
	@mkdir -p $$(@D)
	@echo "  LINK $$@"
	@$(CC) $$(ALL_LDFLAGS) -o $$@ $(B)/obj/$(ROOM_$(1))/main.o $(B)/lib/$(ROOM_$(1)).a $$(LIB_AR) $$(LDLIBS_$(ROOM_$(1))) $$(LIB_LDLIBS) -lpthread -lm
endef
# A program whose main.c is not there yet is not built.
BUILT := $(foreach p,$(PROGRAMS),$(if $(wildcard $(ROOM_$(p))/main.c),$(p)))
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(ALL_CFLAGS) $(INCLUDES) $(CFLAGS_$(firstword $(subst /, ,$<))) -c $< -o $@
# Generated sources live under $(B)/gen.
$(B)/gen/%.o: $(B)/gen/%.c
	@echo "  CC   $<"
	@$(CC) $(ALL_CFLAGS) $(INCLUDES) $(GENCFLAGS) -c $< -o $@

# Images of the demo, made locally: no registry is needed. Static with musl, so an image is its one program.
IMAGES := pause hello busybox
IMAGE_TARS := $(IMAGES:%=$(B)/images/%.tar)
$(B)/images/root/pause/pause: examples/images/pause.c
$(B)/images/root/hello/hello: examples/hello/hello.c
$(B)/images/root/pause/pause $(B)/images/root/hello/hello:
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@musl-gcc -std=gnu17 -O2 -Wall -Wextra -Werror -static -s -o $@ $<
$(B)/images/root/busybox/bin/busybox: /bin/busybox
	@mkdir -p $(@D) $(B)/images/root/busybox/tmp
	@cp $< $@
	@for a in $$($< --list); do [ $$a = busybox ] || ln -sf busybox $(@D)/$$a; done
CONFIG_pause := {"Entrypoint":["/pause"]}
CONFIG_hello := {"Entrypoint":["/hello"],"ExposedPorts":{"8080/tcp":{}}}
CONFIG_busybox := {"Cmd":["sh"],"Env":["PATH=/bin"]}
$(B)/images/pause.tar: $(B)/images/root/pause/pause
$(B)/images/hello.tar: $(B)/images/root/hello/hello
$(B)/images/busybox.tar: $(B)/images/root/busybox/bin/busybox
$(IMAGE_TARS): $(B)/images/%.tar: tools/mkimage.sh
	@echo "  IMG  $@"
	@tools/mkimage.sh $(B)/images/root/$* keelson.local/$*:1 $@ '$(CONFIG_$*)'

all: $(BUILT:%=$(B)/bin/%) $(EXTRA_TARGETS)
images: $(IMAGE_TARS)

# The packages come first, and only then is make asked again: pkg-config's answers are read at its start.
up:
	@tools/deps.sh
	@$(MAKE) --no-print-directory -j$$(nproc) all images
	@tools/up.sh $(abspath $(B)/bin) $(abspath $(B)/images) $(STATE)
down:
	@$(B)/bin/keelson down --state $(STATE) --purge

# Unit tests: x_test.c beside x.c, cmocka, linked with its room's archive and the libraries.
UNIT_SRC := $(call find_tests,lib $(ROOMS) bpf)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/test/%)
room_of = $(filter $(ROOMS),$(firstword $(subst /, ,$(1))))
define unit_test
$(B)/test/$(1:%.c=%): $(B)/obj/$(1:%.c=%.o) $(if $(call room_of,$(1)),$(B)/lib/$(call room_of,$(1)).a) $$(LIB_AR)
	@mkdir -p $$(@D)
	@echo "  LINK $$@"
	@$(CC) $$(ALL_LDFLAGS) -o $$@ $(B)/obj/$(1:%.c=%.o) $(if $(call room_of,$(1)),$(B)/lib/$(call room_of,$(1)).a) $$(LIB_AR) \
		$$(LDLIBS_$(or $(call room_of,$(1)),$(firstword $(subst /, ,$(1))))) $$(LIB_LDLIBS) -lcmocka -lpthread -lm
endef
$(foreach t,$(UNIT_SRC),$(eval $(call unit_test,$(t))))
$(foreach t,$(UNIT_SRC),$(eval $(B)/obj/$(t:%.c=%.o): | $(GEN_$(or $(call room_of,$(t)),$(word 2,$(subst /, ,$(t)))))))
unit-build: $(UNIT_BIN)
# `make unit T=lib/kube/codec` builds and runs one; `make unit` all.
unit: $(if $(T),$(B)/test/$(T)_test,$(UNIT_BIN))
	@set -e; for t in $^; do echo "  RUN  $$t"; $$t; done

# Fuzz targets: tests/fuzz/x_fuzz.c, libFuzzer, everything under it instrumented. The comment `fuzz: links a b c` in its
# first lines names the rooms it needs, in link order.
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
FUZZ_CFLAGS = -std=gnu17 -D_GNU_SOURCE -O1 -g -w -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -I. -Ilib -I$(B)/gen -DKEELSON_VERSION='"$(VERSION)"' -MMD -MP
$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(CLANG) $(FUZZ_CFLAGS) $(INCLUDES) -c $< -o $@
$(B)/fuzz/obj/gen/%.o: $(B)/gen/%.c
	@mkdir -p $(@D)
	@$(CLANG) $(FUZZ_CFLAGS) $(INCLUDES) $(GENCFLAGS) -c $< -o $@
define fuzz_room
$(B)/fuzz/lib/$(1).a: $$(patsubst %.c,$(B)/fuzz/obj/%.o,$$(SRC_$(2))) $$(patsubst $(B)/gen/%.c,$(B)/fuzz/obj/gen/%.o,$$(GENSRC_$(2)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
$$(patsubst %.c,$(B)/fuzz/obj/%.o,$$(SRC_$(2))): | $$(GEN_$(1))
endef
$(foreach r,$(LIB_ROOMS),$(eval $(call fuzz_room,$(r),lib_$(r))))
$(foreach r,$(ROOMS),$(eval $(call fuzz_room,$(r),$(r))))
fuzz_links = $(shell sed -n 's,.*fuzz: links \([a-z ]*\).*,\1,p' $(1) | head -n 1)
define fuzz_target
$(B)/fuzz/$(1:tests/fuzz/%.c=%): $(B)/fuzz/obj/$(1:%.c=%.o) $(patsubst %,$(B)/fuzz/lib/%.a,$(call fuzz_links,$(1)))
	@echo "  FUZZ $$@"
	@$(CLANG) -fsanitize=fuzzer,address,undefined -o $$@ $$^ $(foreach r,$(call fuzz_links,$(1)),$$(LDLIBS_$(r))) $$(LIB_LDLIBS) -lpthread -lm
$(B)/fuzz/obj/$(1:%.c=%.o): | $(foreach r,$(call fuzz_links,$(1)),$$(GEN_$(r)))
endef
$(foreach t,$(FUZZ_SRC),$(eval $(call fuzz_target,$(t))))
fuzz: $(FUZZ_BIN)

# Everything: unit tests and fuzz targets two at a time, then the scripts, which use the whole machine.
# FUZZ_SECONDS, SEED, T (a word that names must contain) come from the environment.
test:
	@tools/deps.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) all images unit-build $(if $(filter 1,$(SANITIZE)),,fuzz)
	@$(MAKE) --no-print-directory test-run
test-run:
	@B=$(B) SANITIZE=$(SANITIZE) tests/run.sh $(UNIT_BIN) $(if $(filter 1,$(SANITIZE)),,$(FUZZ_BIN)) -- $(TEST_SCRIPTS)

bench:
	@tools/deps.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) all images
	@B=$(B) tests/bench/run.sh

MANPAGES := $(sort $(wildcard docs/man/*.8))
install: all images
	install -d $(DESTDIR)$(PREFIX)/lib/keelson $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/keelson/images \
		$(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(BUILT:%=$(B)/bin/%) $(DESTDIR)$(PREFIX)/lib/keelson
	ln -sf ../lib/keelson/keelson $(DESTDIR)$(PREFIX)/bin/keelson
	install -m 644 $(IMAGE_TARS) $(DESTDIR)$(PREFIX)/share/keelson/images
	$(if $(MANPAGES),install -m 644 $(MANPAGES) $(DESTDIR)$(PREFIX)/share/man/man8)

clean:
	rm -rf build

lint:
	@tools/lint.sh

deps:
	@tools/deps.sh

.PHONY: all images fuzz up down test test-run bench install clean lint deps unit unit-build
.SECONDARY:
-include $(shell find $(B) -type f -name '*.d' -not -path '*/tools/*' 2>/dev/null)
