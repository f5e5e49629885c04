#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# server.sh IP[,IP]: the machine with the control plane, known to the others by this address. Again: nothing changes.
#   PREFIX (/usr/local), KEELSON_OPTIONS: further options of keelson up
set -eu
ip=$1
prefix=${PREFIX:-/usr/local}

set --
for image in "$prefix"/share/keelson/images/*.tar; do
	set -- "$@" --image "$image"
done
# shellcheck disable=SC2086
"$prefix/bin/keelson" up --node-ip "$ip" "$@" ${KEELSON_OPTIONS:-}
