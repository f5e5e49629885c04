#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages that building, running and testing keelson need; does nothing when all are there.
#   deps.sh          to build and run
#   deps.sh test     also what the tests and benchmarks use
set -eu

build="gcc libc6-dev make pkg-config clang llvm bpftool libbpf-dev libuv1-dev libssl-dev libnghttp2-dev
libcurl4-openssl-dev libjansson-dev libyaml-dev libsqlite3-dev libnl-3-dev libnl-genl-3-dev libnl-route-3-dev libmnl-dev
libnftnl-dev libprotobuf-c-dev protobuf-c-compiler zlib1g-dev libsodium-dev musl-tools"
run="containerd runc iproute2 mount tzdata busybox-static curl"
test="nghttp2-client libcmocka-dev libclang-rt-dev nftables iptables containernetworking-plugins
jq python3 python3-kubernetes openssl procps util-linux faketime etcd-server etcd-client vagrant vagrant-libvirt"

wanted="$build $run"
[ "${1:-}" = test ] && wanted="$wanted $test"

missing=
for package in $wanted; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
# kubectl is Debian's kubernetes-client, unless a kubectl from elsewhere stands in its place.
command -v kubectl >/dev/null 2>&1 || missing="$missing kubernetes-client"
[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ]; then
	echo "keelson: as root, install:$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
