# SPDX-License-Identifier: GPL-2.0-or-later
TEST_SCRIPTS += tests/e2e/kubectl.sh tests/e2e/python.sh tests/e2e/clientgo.sh tests/e2e/network.sh tests/e2e/two.sh tests/e2e/crash.sh tests/e2e/down.sh
TEST_SCRIPTS += tests/e2e/backup.sh
TEST_SCRIPTS += tests/e2e/join.sh tests/e2e/multi.sh tests/e2e/services.sh tests/e2e/etcd.sh
# Both ends of the traffic in services.sh: a command, and the image keelson.local/peer:1 that no other test loads.
$(B)/tests/e2e/root/peer: tests/e2e/peer.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@musl-gcc -std=gnu17 -O2 -Wall -Wextra -Werror -static -s -o $@ $<
$(B)/tests/e2e/peer.tar: $(B)/tests/e2e/root/peer tools/mkimage.sh
	@echo "  IMG  $@"
	@tools/mkimage.sh $(<D) keelson.local/peer:1 $@ '{"Entrypoint":["/peer"]}'
EXTRA_TARGETS += $(B)/tests/e2e/peer.tar
TEST_SCRIPTS += tests/check/check.sh tests/check/full_disk.py
include tests/bench/rules.mk
include tests/lab/rules.mk
include tests/bpf/rules.mk
