# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3: the store's engine. zlib: gzip of large answers.
LDLIBS_apiserver := -lsqlite3 -lz
