# SPDX-License-Identifier: GPL-2.0-or-later
# The agent speaks CRI by protobuf-c, from the messages in cri/cri.proto.
LDLIBS_agent := -lprotobuf-c
GEN_agent := $(B)/gen/agent/cri.pb-c.h
GENSRC_agent := $(B)/gen/agent/cri.pb-c.c

$(B)/gen/agent/cri.pb-c.c: agent/cri/cri.proto
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	@protoc-c --proto_path=agent/cri --c_out=$(@D) $<
$(B)/gen/agent/cri.pb-c.h: $(B)/gen/agent/cri.pb-c.c ;
$(B)/gen/agent/cri.pb-c.o: GENCFLAGS := -std=c11

TEST_SCRIPTS += agent/test.sh
