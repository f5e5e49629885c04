# SPDX-License-Identifier: GPL-2.0-or-later
# The service proxy needs libbpf, generic netlink and the skeletons of the kernel programs.
LDLIBS_proxy := -lbpf -lnl-genl-3 -lmnl
GEN_proxy = $(B)/gen/bpf/proxy.skel.h
$(B)/obj/proxy/engine/ebpf/carry_test.o: | $(B)/gen/bpf/maps_v1.skel.h
TEST_SCRIPTS += proxy/upgrade.sh proxy/trace/test.sh
# The same proxy as the next ABI version with another layout would be: what proxy/upgrade.sh changes over to and back.
NEXT_ABI := -DABI_VERSION=$(shell expr 1 + $$(sed -n 's/^\#define ABI_VERSION //p' bpf/shared/abi.h)) -DABI_TEST_LAYOUT
NEXT_OBJ := $(patsubst %.c,$(B)/next/%.o,$(call find_c,proxy))
$(B)/next/gen/bpf/proxy.bpf.o: bpf/proxy.bpf.c
	@mkdir -p $(@D)
	@echo "  BPF  $< (next ABI)"
	@$(CLANG) $(BPF_CFLAGS) $(NEXT_ABI) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
$(B)/next/gen/bpf/proxy.skel.h: $(B)/next/gen/bpf/proxy.bpf.o
	@$(BPFTOOL) gen skeleton $< name proxy_bpf >$@.tmp && mv $@.tmp $@
$(B)/next/proxy/%.o: proxy/%.c $(B)/next/gen/bpf/proxy.skel.h
	@mkdir -p $(@D)
	@$(CC) -I$(B)/next/gen $(ALL_CFLAGS) $(INCLUDES) $(NEXT_ABI) -c $< -o $@
$(B)/next/keelson-proxy: $(NEXT_OBJ) $(LIB_AR)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS_proxy) $(LIB_LDLIBS) -lpthread -lm
# The client and server of the packet tests and benchmarks.
EXTRA_TARGETS += $(B)/bench/nettool
$(B)/bench/nettool: $(B)/obj/tests/bench/nettool.o $(B)/lib/libbase.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^
TEST_SCRIPTS += proxy/test.sh proxy/follow_test.sh proxy/podnet/test.sh
