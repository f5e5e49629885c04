#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gobuild.sh SUITE DIR SOURCE OUT PACKAGE...: builds the Go program in the folder SOURCE into OUT, with the compiler and the libraries
# (PACKAGE, golang-*-dev) of a Debian suite, unpacked into DIR and not installed. Nothing is fetched but from Debian.
set -eu
suite=$1 dir=$2 source=$(realpath "$3") out=$(realpath -m "$4")
shift 4
"$(dirname "$0")/unpack.sh" --with-dependencies golang "$suite" "$dir" golang-go "$@"
dir=$(realpath "$dir")
go=$(echo "$dir"/usr/lib/go-*/bin/go)
mkdir -p "$dir/path/src" "$(dirname "$out")"
ln -sfn "$source" "$dir/path/src/program"
# Without a module file the packages are found in GOPATH, where Debian's lie.
cd "$dir/path/src/program"
exec env -i PATH=/usr/bin:/bin HOME="$dir" GOROOT="${go%/bin/go}" GOPATH="$dir/path:$dir/usr/share/gocode" GOCACHE="$dir/cache" GO111MODULE=off \
	GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0 "$go" build -trimpath -o "$out" program
