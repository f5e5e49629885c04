#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same histories against two API servers on one etcd, which dies, too. KEELSON_CHECK_SEED, KEELSON_CHECK_HISTORIES as for check.sh.
KEELSON_CHECK_STORE=etcd KEELSON_CHECK_HISTORIES=${KEELSON_CHECK_HISTORIES:-6} exec "$(dirname "$0")/check.sh" "$@"
