# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3: the store's engine. sodium: the secretbox provider. protobuf-c: etcd's messages, store/etcd.proto. zlib: gzip of large answers.
LDLIBS_apiserver := -lsqlite3 -lprotobuf-c -lsodium -lz

# The bootstrap roles as a string literal, a line each.
GEN_apiserver += $(B)/gen/apiserver/rbac_bootstrap.h
$(B)/gen/apiserver/rbac_bootstrap.h: apiserver/auth/rbac_bootstrap.txt
	@mkdir -p $(@D)
	@sed -e '/^#/d' -e 's/[\\"]/\\&/g' -e 's/.*/"&\\n"/' $< >$@

GEN_apiserver += $(B)/gen/apiserver/etcd.pb-c.h
GENSRC_apiserver := $(B)/gen/apiserver/etcd.pb-c.c
$(B)/gen/apiserver/etcd.pb-c.c: apiserver/store/etcd.proto
	@mkdir -p $(@D)
	@echo "  GEN  $@"
	@protoc-c --proto_path=apiserver/store --c_out=$(@D) $<
$(B)/gen/apiserver/etcd.pb-c.h: $(B)/gen/apiserver/etcd.pb-c.c ;
$(B)/gen/apiserver/etcd.pb-c.o: GENCFLAGS := -std=c11

TEST_SCRIPTS += apiserver/store/etcd_test.py apiserver/store/etcd_loss_test.py apiserver/crypt/encryption_test.py
TEST_SCRIPTS += apiserver/http/proxy_test.py apiserver/registry/podsecurity_test.py apiserver/metrics/metrics_test.py
TEST_SCRIPTS += apiserver/http/hostile_test.py apiserver/http/drain_test.py apiserver/registry/list_test.py
TEST_SCRIPTS += apiserver/watch/watch_test.py apiserver/http/formats_test.py
