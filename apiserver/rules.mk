# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3: the store's engine. zlib: gzip of large answers.
LDLIBS_apiserver := -lsqlite3 -lz

# The bootstrap roles as a string literal, a line each.
GEN_apiserver += $(B)/gen/apiserver/rbac_bootstrap.h
$(B)/gen/apiserver/rbac_bootstrap.h: apiserver/auth/rbac_bootstrap.txt
	@mkdir -p $(@D)
	@sed -e '/^#/d' -e 's/[\\"]/\\&/g' -e 's/.*/"&\\n"/' $< >$@
