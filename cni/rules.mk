# SPDX-License-Identifier: GPL-2.0-or-later
# A runtime starts the plugin for every pod: it links little (the linker's --as-needed drops what it does not use).
LDLIBS_cni := -ljansson -lmnl
TEST_SCRIPTS += cni/test.sh
