# SPDX-License-Identifier: GPL-2.0-or-later
# The API's client of the benchmarks.
EXTRA_TARGETS += $(B)/bench/apitool
$(B)/bench/apitool: $(B)/obj/tests/bench/apitool.o $(LIB_AR)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LDLIBS) -lpthread -lm
# Load for an HTTPS server.
EXTRA_TARGETS += $(B)/bench/apiload
$(B)/bench/apiload: $(B)/obj/tests/bench/apiload.o $(LIB_AR)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LDLIBS) -lpthread -lm
# Nanoseconds a packet of each program.
$(B)/tests/bench/programs: $(B)/obj/tests/lab/objects.o $(B)/obj/tests/bpf/programs.o $(B)/obj/tests/bpf/packet.o
EXTRA_TARGETS += $(B)/tests/bench/programs
# Durable writes a second through the API server's store.
EXTRA_TARGETS += $(B)/bench/store_commits
$(B)/bench/store_commits: $(B)/obj/tests/bench/store_commits.o $(B)/lib/apiserver.a $(LIB_AR)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS_apiserver) $(LIB_LDLIBS) -lpthread -lm
