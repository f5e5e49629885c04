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

/* Of the walk that last met an element: at its end the number of the last one does not tell one from none. */
static volatile __u64 elements_session;

static __always_inline int map_count(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 session = ctx->meta->session_id, n = ctx->meta->seq_num;
	if (ctx->key) {
		if (n == 0)
			elements_session = session;
		return 0;
	}
	/* The last call, which has no key. */
	n = session == elements_session ? n + 1 : 0;
	bpf_seq_write(ctx->meta->seq, &n, sizeof(n));
	return 0;
}

#endif
