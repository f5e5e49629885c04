#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# kubectl.sh SUITE DIR: unpacks the kubectl of a Debian suite into DIR; prints its path.
set -eu
# Newer suites have kubectl in a package of its own.
"$(dirname "$0")/unpack.sh" "$1" "$2" kubectl kubernetes-client
echo "$2/usr/bin/kubectl"
