# SPDX-License-Identifier: GPL-2.0
# Kernel programs: bpf/x.bpf.c becomes $(B)/gen/bpf/x.bpf.o and the skeleton $(B)/gen/bpf/x.skel.h.
BPF_ENTRIES := $(wildcard bpf/*.bpf.c)
BPF_SKELETONS := $(BPF_ENTRIES:bpf/%.bpf.c=$(B)/gen/bpf/%.skel.h)
# The UAPI's asm/ headers stand in the multiarch directory, which -target bpf does not search.
BPF_MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -fno-strict-aliasing -I. \
	$(if $(BPF_MULTIARCH),-idirafter /usr/include/$(BPF_MULTIARCH))

$(B)/gen/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	@echo "  BPF  $<"
	@$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
$(B)/gen/bpf/%.skel.h: $(B)/gen/bpf/%.bpf.o
	@$(BPFTOOL) gen skeleton $< name $*_bpf >$@.tmp && mv $@.tmp $@
