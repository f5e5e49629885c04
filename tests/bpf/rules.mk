# SPDX-License-Identifier: GPL-2.0-or-later
# The packet-flow tables against the programs. Linked by the rule of tests/lab.
$(B)/tests/bpf/tables: $(B)/obj/tests/bpf/packet.o $(B)/obj/tests/bpf/programs.o $(B)/obj/tests/lab/objects.o
EXTRA_TARGETS += $(B)/tests/bpf/tables
TEST_SCRIPTS += tests/bpf/tables.sh
