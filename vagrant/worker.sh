#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# worker.sh IP[,IP] FILE: joins the cluster by the command in FILE, which `keelson token create` printed on the server. Again:
# nothing changes.
#   PREFIX (/usr/local), KEELSON_OPTIONS: further options of keelson join
set -eu
ip=$1 file=$2
prefix=${PREFIX:-/usr/local}

set --
for image in "$prefix"/share/keelson/images/*.tar; do
	set -- "$@" --image "$image"
done
# The line is "keelson join URL --token T --ca-hash H"; each word becomes an argument and nothing more.
read -r program verb rest <"$file"
if [ "$program $verb" != "keelson join" ]; then
	echo "worker.sh: there is no join command in $file; bring the server up first" >&2
	exit 1
fi
set -f
# shellcheck disable=SC2086
"$prefix/bin/keelson" join $rest --node-ip "$ip" "$@" ${KEELSON_OPTIONS:-}
# The token is in it.
rm -f "$file"
