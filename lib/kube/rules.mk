# SPDX-License-Identifier: GPL-2.0-or-later
# The schema tables are generated from the text form by a program of this tree.
GENSRC_lib_kube := $(B)/gen/kube/schema_tables.c

$(B)/tools/schemac: tools/schemac.c $(B)/lib/libbase.a
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(ALL_CFLAGS) -MF $@.d -MT $@ $< $(ALL_LDFLAGS) -o $@ $(B)/lib/libbase.a

$(B)/gen/kube/schema_tables.c: lib/kube/schema.txt $(B)/tools/schemac
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	@$(B)/tools/schemac $< > $@
