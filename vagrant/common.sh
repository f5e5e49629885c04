#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# common.sh SOURCE: on every machine: packages, build, install. Again: only what has changed.
#   PREFIX (/usr/local), MAKE_OPTIONS
set -eu
source=$1
prefix=${PREFIX:-/usr/local}

cd "$source"
tools/deps.sh
# shellcheck disable=SC2086
make -s -j"$(nproc)" ${MAKE_OPTIONS:-} all images
# shellcheck disable=SC2086
make -s ${MAKE_OPTIONS:-} PREFIX="$prefix" install
"$prefix/bin/keelson" version
