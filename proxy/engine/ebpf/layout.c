/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Types are flattened to the fields they consist of; padding is nobody's field and stays zero. */
#include "proxy/engine/ebpf/layout.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

enum { DEPTH_MAX = 8, FIELDS_MAX = 256 };

struct field {
	char *name; /* own; with those of the structs around it */
	uint32_t at, bytes;
	bool array;
};
struct fields {
	struct field *v;
	size_t count, cap;
};

static void fields_done(struct fields *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->v[i].name);
	free(f->v);
}

static int flatten(const struct btf *btf, uint32_t id, const char *name, uint32_t at, unsigned depth, struct fields *out)
{
	int real = btf__resolve_type(btf, id); /* without typedefs and qualifiers */
	const struct btf_type *t = real < 0 ? NULL : btf__type_by_id(btf, (uint32_t)real);
	if (!t || depth > DEPTH_MAX || out->count >= FIELDS_MAX)
		return -EINVAL;
	if (btf_is_struct(t)) {
		const struct btf_member *m = btf_members(t);
		for (uint16_t i = 0; i < btf_vlen(t); i++) {
			_cleanup_free_ char *path = str_printf("%s.%s", name, btf__name_by_offset(btf, m[i].name_off));
			uint32_t bit = btf_member_bit_offset(t, i);
			if (btf_member_bitfield_size(t, i) || bit % 8)
				return -EINVAL;
			int r = flatten(btf, m[i].type, path, at + bit / 8, depth + 1, out);
			if (r < 0)
				return r;
		}
		return 0;
	}
	int64_t bytes = btf__resolve_size(btf, (uint32_t)real);
	if (bytes < 0)
		return (int)bytes;
	MEM_GROW(out->v, out->cap, out->count + 1);
	out->v[out->count++] = (struct field){ mem_strdup(name), at, (uint32_t)bytes, btf_is_array(t) };
	return 0;
}

static bool is_padding(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && str_starts(dot, ".pad");
}

static const struct field *field_find(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (str_eq(f->v[i].name, name))
			return &f->v[i];
	return NULL;
}

int layout_init(struct layout *l, const struct btf *from, uint32_t from_id, const struct btf *to, uint32_t to_id)
{
	_cleanup_(fields_done) struct fields a = { 0 }, b = { 0 };
	*l = (struct layout){ 0 };
	int r = flatten(from, from_id, "", 0, 0, &a);
	if (r == 0)
		r = flatten(to, to_id, "", 0, 0, &b);
	if (r < 0)
		return r;
	l->pieces = mem_new_n(struct layout_piece, b.count + 1);
	l->same = a.count == b.count && btf__resolve_size(from, from_id) == btf__resolve_size(to, to_id);
	for (size_t i = 0; i < b.count; i++) {
		const struct field *g = &b.v[i], *f = field_find(&a, g->name);
		l->same = l->same && f && f->at == g->at && f->bytes == g->bytes;
		if (!f || is_padding(g->name) || f->array != g->array || (f->bytes != g->bytes && !g->array))
			continue;
		l->pieces[l->count++] = (struct layout_piece){ f->at, g->at, MIN(f->bytes, g->bytes) };
	}
	if (l->count)
		return 0;
	layout_done(l);
	return -EINVAL;
}

void layout_done(struct layout *l)
{
	free(l->pieces);
	*l = (struct layout){ 0 };
}

void layout_convert(const struct layout *l, const void *in, void *out, size_t to_bytes)
{
	memset(out, 0, to_bytes);
	for (size_t i = 0; i < l->count; i++)
		memcpy((char *)out + l->pieces[i].to, (const char *)in + l->pieces[i].from, l->pieces[i].bytes);
}
