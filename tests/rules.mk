# SPDX-License-Identifier: GPL-2.0-or-later
TEST_SCRIPTS += tests/e2e/kubectl.sh tests/e2e/python.sh tests/e2e/network.sh tests/e2e/two.sh tests/e2e/crash.sh tests/e2e/down.sh
TEST_SCRIPTS += tests/e2e/join.sh tests/e2e/multi.sh
TEST_SCRIPTS += tests/check/check.sh
include tests/bench/rules.mk
include tests/lab/rules.mk
include tests/bpf/rules.mk
