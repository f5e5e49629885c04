# SPDX-License-Identifier: GPL-2.0-or-later
# sqlite3: copies of the embedded store.
LDLIBS_cli := -lnftnl -lmnl -lsqlite3
