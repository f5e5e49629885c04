/* SPDX-License-Identifier: GPL-2.0 */
/* How full a hash map is: Linux keeps no count that a daemon could read. */
#ifndef KEELSON_BPF_LIB_ELEMENTS_H
#define KEELSON_BPF_LIB_ELEMENTS_H

#include "bpf/lib/stale.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key, *value;
};
#pragma clang attribute pop

static __always_inline int map_count(struct bpf_iter__bpf_map_elem *ctx)
{
	if (ctx->key) /* its last call has none */
		return 0;
	__u64 n = ctx->meta->seq_num;
	bpf_seq_write(ctx->meta->seq, &n, sizeof(n));
	return 0;
}

#endif
