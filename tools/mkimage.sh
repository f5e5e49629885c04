#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mkimage.sh ROOTFS_DIR REFERENCE OUT.tar CONFIG_JSON
# An OCI image archive with one layer from a directory; the same input gives the same bytes.
set -eu
root=$1 reference=$2 out=$3 config=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/blobs/sha256
mkdir -p "$blobs"

# Moves a file into the blob store; sets digest and size.
store() {
	digest=$(sha256sum "$1" | cut -d' ' -f1)
	size=$(wc -c <"$1")
	mv "$1" "$blobs/$digest"
}

tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$work/layer" .
store "$work/layer"
layer=$digest layer_size=$size

printf '{"created":"1970-01-01T00:00:00Z","architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"${KEELSON_GOARCH:-amd64}" "$config" "$layer" >"$work/config"
store "$work/config"
config_digest=$digest config_size=$size

printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
	"$config_digest" "$config_size" "$layer" "$layer_size" >"$work/manifest"
store "$work/manifest"

printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
	"$digest" "$size" "$reference" "${reference##*:}" >"$work/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci-layout"
tar -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$out" blobs index.json oci-layout
