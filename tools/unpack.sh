#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# unpack.sh SUITE DIR PACKAGE [ALTERNATIVE]: unpacks a package of a Debian suite (bookworm, trixie, sid) into DIR without
# installing it, so that nothing on the machine changes and no service starts. ALTERNATIVE is taken where the suite has no
# PACKAGE. The package source is the machine's own with only the suite changed. Done once a directory.
# unpack.sh --with-dependencies PREFIX SUITE DIR PACKAGE...: the packages, and those they depend on whose names begin with PREFIX.
set -eu
prefix=
if [ "$1" = --with-dependencies ]; then
	prefix=$2
	shift 2
fi
suite=$1 dir=$2
shift 2
done=$dir/.unpacked-$1
[ -e "$done" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$dir"
# Only the main archive's stanza or lines: security and update suites have other names.
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
	list=$work/debian.sources
	awk -v suite="$suite" 'BEGIN { RS = ""; ORS = "\n\n" } !/-security/ { gsub(/Suites:[^\n]*/, "Suites: " suite); print }' \
		/etc/apt/sources.list.d/debian.sources >"$list"
else
	list=$work/sources.list
	sed -n "s/^\(deb .*\) bookworm \(.*\)/\1 $suite \2/p" /etc/apt/sources.list >"$list"
fi
chmod 755 "$work"
: >"$work/status" # what is installed here must not be taken for what the suite has
apt() {
	program=$1
	shift
	"$program" -qq -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists" \
		-o Dir::Cache::archives="$work/archives" -o Acquire::Languages=none -o APT::Sandbox::User=root \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::State::status="$work/status" "$@"
}
apt apt-get update >&2
if [ -n "$prefix" ]; then
	apt apt-get -y --no-install-recommends --download-only install "$@" >&2
	for package in "$work/archives/$prefix"*.deb; do dpkg-deb -x "$package" "$dir"; done
else
	found=$1
	[ $# -lt 2 ] || apt apt-cache show "$1" >/dev/null 2>&1 || found=$2
	(cd "$work" && apt apt-get download "$found" >&2)
	dpkg-deb -x "$work/${found}"_*.deb "$dir"
fi
touch "$done"
