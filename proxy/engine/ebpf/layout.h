/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maps of another layout read as ours. A map carries the description of its key and value (BTF) into the kernel, so no
 * version's structs need be known: fields go over by name, wherever they stand. A field that the other side lacks is
 * zero; one of another size is not taken (of an array, as much as both have).
 */
#ifndef KEELSON_PROXY_ENGINE_EBPF_LAYOUT_H
#define KEELSON_PROXY_ENGINE_EBPF_LAYOUT_H

#include <bpf/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout_piece {
	uint32_t from, to, bytes;
};
struct layout {
	struct layout_piece *pieces; /* own */
	size_t count;
	bool same; /* both are the same to the last byte */
};
/* How type `from_id` of one BTF becomes `to_id` of another. -EINVAL when they are not both structs or both no structs, or
 * have nothing in common. */
int layout_init(struct layout *l, const struct btf *from, uint32_t from_id, const struct btf *to, uint32_t to_id);
void layout_done(struct layout *l);
/* out, of to_bytes, is written whole. */
void layout_convert(const struct layout *l, const void *in, void *out, size_t to_bytes);

#endif
