# SPDX-License-Identifier: GPL-2.0-or-later
# The service proxy needs libbpf and the skeletons of the kernel programs.
LDLIBS_proxy := -lbpf -lmnl
GEN_proxy = $(B)/gen/bpf/proxy.skel.h
$(B)/obj/proxy/engine/ebpf/carry_test.o: | $(B)/gen/bpf/maps_v1.skel.h
# The client and server of the packet tests and benchmarks.
EXTRA_TARGETS += $(B)/bench/nettool
$(B)/bench/nettool: $(B)/obj/tests/bench/nettool.o $(B)/lib/libbase.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^
TEST_SCRIPTS += proxy/test.sh proxy/follow_test.sh proxy/podnet/test.sh
