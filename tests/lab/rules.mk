# SPDX-License-Identifier: GPL-2.0-or-later
# The light lab as a library, and the programs that use it. They print "ok - text" and "not ok - text".
LAB_OBJ := $(B)/obj/tests/lab/lab.o $(B)/obj/tests/lab/talk.o
$(B)/tests/%: $(B)/obj/tests/%.o $(LAB_OBJ) $(LIB_AR)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LDLIBS) -lbpf -lpthread -lm
EXTRA_TARGETS += $(B)/tests/lab/labtool
EXTRA_TARGETS += $(B)/tests/lab/offload
TEST_SCRIPTS += tests/lab/test.sh tests/lab/dsr.sh tests/lab/path.sh tests/lab/fast.sh
$(B)/tests/lab/history: $(B)/obj/tests/lab/reference.o $(B)/obj/tests/lab/objects.o $(B)/obj/tests/bpf/programs.o $(B)/obj/tests/bpf/packet.o
EXTRA_TARGETS += $(B)/tests/lab/history
TEST_SCRIPTS += tests/lab/history.sh
$(B)/tests/lab/services: $(B)/obj/tests/lab/reference.o $(B)/obj/tests/lab/objects.o $(B)/obj/tests/bpf/programs.o $(B)/obj/tests/bpf/packet.o
EXTRA_TARGETS += $(B)/tests/lab/services
TEST_SCRIPTS += tests/lab/services.sh
