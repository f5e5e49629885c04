#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# kubectl.sh SUITE DIR: unpacks the kubectl of a Debian suite (bookworm, trixie, sid) into DIR, without
# installing it; prints the path of its kubectl. The package source is the machine's own with only the suite changed.
set -eu
suite=$1 dir=$2
kubectl=$dir/usr/bin/kubectl
if [ ! -x "$kubectl" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$dir"
	# Only the main archive's stanza or lines: security and update suites have other names.
	if [ -f /etc/apt/sources.list.d/debian.sources ]; then
		awk -v suite="$suite" 'BEGIN { RS = ""; ORS = "\n\n" } !/-security/ { gsub(/Suites:[^\n]*/, "Suites: " suite); print }' \
			/etc/apt/sources.list.d/debian.sources >"$work/debian.sources"
		list=$work/debian.sources
	else
		sed -n "s/^\(deb .*\) bookworm \(.*\)/\1 $suite \2/p" /etc/apt/sources.list >"$work/sources.list"
		list=$work/sources.list
	fi
	: >"$work/status" # what is installed here must not be taken for what the suite has
	chmod 755 "$work"
	: >"$work/status" # what is installed here must not be taken for what the suite has
	set -- -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists" \
		-o Dir::Cache::archives="$work/archives" -o Acquire::Languages=none -o APT::Sandbox::User=root \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::State::status="$work/status"
	apt-get -qq "$@" update >&2
	# Newer suites have kubectl in a package of its own; kubernetes-client then only depends on it.
	package=kubernetes-client
	apt-cache "$@" show kubectl >/dev/null 2>&1 && package=kubectl
	(cd "$work" && apt-get -qq "$@" download $package >&2)
	dpkg-deb -x "$work"/${package}_*.deb "$dir"
fi
echo "$kubectl"
