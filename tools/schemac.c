/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * schemac: turns lib/kube/schema.txt (its grammar stands at its head) into the constant C tables behind
 * lib/kube/schema.h. Runs at build time. Whatever the text gets wrong ends the build with file and line; the tables it
 * writes are complete and consistent, so that the lookups need no checks.
 *
 *   schemac schema.txt > schema_tables.c
 */
#include <errno.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { WORDS_MAX = 16, TEXT_MAX = 65535 };

struct package {
	const char *alias, *name;
	bool common;
};
struct field {
	const char *name, *type_text, *merge_key, *map_keys, *go, *default_json, *enums, *doc;
	struct message *message;
	const char *type, *shape, *list_type;
	struct strlist flags;
	unsigned proto;
	bool inlined;
	int line;
};
struct message {
	const struct package *package;
	char *name; /* full */
	const char *short_name, *doc, *form;
	bool atomic, type_meta;
	struct field *fields;
	size_t count, cap, index, first_field;
	int line;
};
struct kind {
	char *group;
	const char *version, *kind;
	struct message *message;
};
struct sub {
	const char *name, *verbs, *gv, *kind;
};
struct resource {
	const char *gv, *plural, *kind, *verbs, *short_names, *categories, *storage;
	bool namespaced;
	struct sub subs[16];
	size_t sub_count, index;
};

static struct {
	struct arena *arena;
	const char *path;
	int line;
	struct package packages[64];
	size_t package_count;
	struct message **messages;
	size_t message_count, message_cap;
	struct map *by_alias_name; /* "core.v1.Pod" -> struct message */
	struct kind *kinds;
	size_t kind_count, kind_cap;
	struct kind everywhere[4]; /* kinds of every group and version */
	size_t everywhere_count;
	struct resource *resources;
	size_t resource_count, resource_cap;
	struct strbuf text; /* the string blob, NUL separated; offset 0 is "no text" */
	struct map *text_at;
} g;

static _noreturn_ _printf_(1, 2) void fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", g.path, g.line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* Splits a line into words; a word in double quotes may hold blanks, \" and \\ and loses its quotes, a leading '"'
 * stays as the mark of a quoted word. */
static size_t split(char *line, char *words[WORDS_MAX])
{
	size_t n = 0;
	char *p = line;

	for (;;) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (!*p || *p == '\n')
			return n;
		if (n == WORDS_MAX)
			fail("too many words");
		words[n++] = p;
		if (*p != '"') {
			p += strcspn(p, " \t\n");
		} else {
			char *to = ++p;

			while (*p && *p != '"') {
				if (*p == '\\')
					p++;
				*to++ = *p++;
			}
			if (!*p)
				fail("unterminated quotes");
			p++;
			*to = 0;
			continue;
		}
		if (*p)
			*p++ = 0;
	}
}

static const char *keep(const char *s)
{
	return arena_strdup(g.arena, s);
}

static void read_package(char **w, size_t n)
{
	struct package *p = &g.packages[g.package_count];

	if (n < 3 || g.package_count == ARRAY_SIZE(g.packages))
		fail("package ALIAS NAME [common]");
	p->alias = keep(w[1]);
	p->name = keep(w[2]);
	p->common = n > 3 && str_eq(w[3], "common");
	g.package_count++;
}

static const struct package *package_of(const char *alias_name, const char **ret_short)
{
	const char *dot = strrchr(alias_name, '.');

	for (size_t i = 0; dot && i < g.package_count; i++)
		if (strlen(g.packages[i].alias) == (size_t)(dot - alias_name) &&
		    strncmp(g.packages[i].alias, alias_name, dot - alias_name) == 0) {
			*ret_short = dot + 1;
			return &g.packages[i];
		}
	fail("no package for %s", alias_name);
}

static struct message *read_message(char **w, size_t n)
{
	struct message *m = arena_alloc(g.arena, sizeof(*m));
	const char *short_name;

	if (n < 2)
		fail("message NAME");
	m->package = package_of(w[1], &short_name);
	m->short_name = keep(short_name);
	m->name = arena_printf(g.arena, "%s.%s", m->package->name, short_name);
	m->line = g.line;
	for (size_t i = 2; i < n; i++) {
		const char *v;

		if (str_eq(w[i], "atomic"))
			m->atomic = true;
		else if (str_eq(w[i], "typemeta"))
			m->type_meta = true;
		else if ((v = str_after(w[i], "json=")))
			m->form = keep(v);
		else if (w[i][0] == '"')
			m->doc = keep(w[i] + 1);
		else
			fail("unknown word %s", w[i]);
	}
	if (map_has(g.by_alias_name, w[1]))
		fail("%s twice", w[1]);
	map_set(g.by_alias_name, w[1], m);
	MEM_GROW(g.messages, g.message_cap, g.message_count + 1);
	g.messages[g.message_count++] = m;
	return m;
}

static const char *ident(const char *prefix, const char *s)
{
	char *r = arena_printf(g.arena, "%s%s", prefix, s);

	for (char *p = r; *p; p++)
		*p = *p >= 'a' && *p <= 'z' ? *p - 32 : *p;
	return r;
}

static bool field_attribute(struct field *f, const char *w)
{
	const char *v;

	if (str_eq(w, "inline")) {
		strlist_add(&f->flags, "SCHEMA_INLINE");
		f->inlined = true;
	} else if (str_eq(w, "atomic") || str_eq(w, "set")) {
		f->list_type = ident("SCHEMA_LIST_", w);
	} else if ((v = str_after(w, "map="))) {
		f->list_type = "SCHEMA_LIST_MAP";
		f->map_keys = keep(v);
	} else if (str_eq(w, "merge") || str_starts(w, "merge=")) {
		strlist_add(&f->flags, "SCHEMA_PATCH_MERGE");
		f->merge_key = w[5] ? keep(w + 6) : NULL;
	} else if (str_eq(w, "replace")) {
		strlist_add(&f->flags, "SCHEMA_PATCH_REPLACE");
	} else if (str_eq(w, "retainKeys")) {
		strlist_add(&f->flags, "SCHEMA_RETAIN_KEYS");
	} else if (str_eq(w, "mapatomic")) {
		strlist_add(&f->flags, "SCHEMA_MAP_ATOMIC");
	} else if (str_eq(w, "mapgranular")) {
		/* The default of server-side apply: nothing to note. */
	} else if ((v = str_after(w, "default="))) {
		f->default_json = keep(v);
	} else if ((v = str_after(w, "enum="))) {
		f->enums = keep(v);
	} else if ((v = str_after(w, "go="))) {
		f->go = keep(v);
	} else if (w[0] == '"') {
		f->doc = keep(w + 1);
	} else {
		return false;
	}
	return true;
}

static void read_field(struct message *m, char **w, size_t n)
{
	struct field *f;
	uint64_t number;
	size_t len;

	if (!m || n < 3 || str_to_u64(w[0], 65535, &number) < 0)
		fail("NUMBER NAME TYPE below a message");
	MEM_GROW(m->fields, m->cap, m->count + 1);
	f = &m->fields[m->count++];
	memset(f, 0, sizeof(*f));
	f->line = g.line;
	f->proto = number;
	f->list_type = "SCHEMA_LIST_NONE";
	for (len = strlen(w[1]); len && strchr("!?*", w[1][len - 1]); len--)
		strlist_add(&f->flags, w[1][len - 1] == '!'   ? "SCHEMA_REQUIRED"
				       : w[1][len - 1] == '?' ? "SCHEMA_POINTER"
							      : "SCHEMA_ALWAYS");
	w[1][len] = 0;
	f->name = keep(w[1]);
	f->type_text = keep(w[2]);
	for (size_t i = 3; i < n; i++)
		if (!field_attribute(f, w[i]))
			fail("unknown word %s", w[i]);
	if (m->count > 1 && f->proto && f[-1].proto >= f->proto)
		fail("fields must stand in order of their numbers");
	if (m->count > 255)
		fail("too many fields");
}

static struct message *resolve(const struct message *m, const char *name)
{
	struct message *found = NULL;

	if (strchr(name, '.'))
		return map_get(g.by_alias_name, name);
	found = map_get(g.by_alias_name, arena_printf(g.arena, "%s.%s", m->package->alias, name));
	for (size_t i = 0; !found && i < g.package_count; i++)
		if (g.packages[i].common)
			found = map_get(g.by_alias_name, arena_printf(g.arena, "%s.%s", g.packages[i].alias, name));
	return found;
}

static const char *form_type(const struct message *m)
{
	return !m->form				? "SCHEMA_MESSAGE"
	       : str_eq(m->form, "microtime")	? "SCHEMA_MICRO_TIME"
	       : str_eq(m->form, "intorstring") ? "SCHEMA_INT_OR_STRING"
	       : str_eq(m->form, "fieldsv1")	? "SCHEMA_FIELDS_V1"
						: ident("SCHEMA_", m->form);
}

/* The type column: shape, element type, message. */
static void resolve_type(const struct message *m, struct field *f)
{
	static const struct {
		const char *name, *type;
	} scalars[] = {
		{ "string", "SCHEMA_STRING" }, { "bool", "SCHEMA_BOOL" },     { "int32", "SCHEMA_INT32" },
		{ "int64", "SCHEMA_INT64" },   { "double", "SCHEMA_DOUBLE" }, { "bytes", "SCHEMA_BYTES" },
	};
	const char *t = f->type_text, *wrapped = strchr(t, '@'), *v;

	g.line = f->line;
	f->shape = "SCHEMA_SINGLE";
	if ((v = str_after(t, "map[string][]"))) {
		f->shape = "SCHEMA_MAP_OF_LISTS";
		t = v;
	} else if ((v = str_after(t, "map[string]"))) {
		f->shape = "SCHEMA_MAP";
		t = v;
	} else if ((v = str_after(t, "[]"))) {
		f->shape = "SCHEMA_LIST";
		t = v;
	}
	if (wrapped) {
		f->message = resolve(m, wrapped + 1);
		if (!f->message)
			fail("no message %s", wrapped + 1);
		t = arena_strndup(g.arena, t, wrapped - t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++)
		if (str_eq(t, scalars[i].name)) {
			f->type = scalars[i].type;
			return;
		}
	f->message = resolve(m, t);
	if (!f->message || wrapped)
		fail("no message %s", t);
	f->type = form_type(f->message);
}

/* "apps/v1" -> group, version; "v1" has the group "". */
static void split_gv(const char *gv, char **ret_group, const char **ret_version)
{
	const char *slash = strchr(gv, '/');

	*ret_group = slash ? arena_strndup(g.arena, gv, slash - gv) : arena_strdup(g.arena, "");
	*ret_version = slash ? slash + 1 : gv;
}

static void add_kind(const char *gv, const char *kind, struct message *m)
{
	struct kind *k;

	MEM_GROW(g.kinds, g.kind_cap, g.kind_count + 1);
	k = &g.kinds[g.kind_count++];
	split_gv(gv, &k->group, &k->version);
	k->kind = kind;
	k->message = m;
}

static void read_kind(char **w, size_t n)
{
	struct message *m = n == 4 ? map_get(g.by_alias_name, w[3]) : NULL;

	if (!m)
		fail("kind GROUPVERSION KIND MESSAGE, with a message that is known");
	if (!str_eq(w[1], "*")) {
		add_kind(keep(w[1]), keep(w[2]), m);
		return;
	}
	if (g.everywhere_count == ARRAY_SIZE(g.everywhere))
		fail("too many kinds of every group");
	g.everywhere[g.everywhere_count].kind = keep(w[2]);
	g.everywhere[g.everywhere_count++].message = m;
}

static struct resource *read_resource(char **w, size_t n)
{
	struct resource *r;
	bool new_gv = true;

	if (n < 6)
		fail("resource GROUPVERSION PLURAL KIND SCOPE verbs=LIST");
	for (size_t i = 0; i < g.resource_count; i++)
		new_gv &= !str_eq(g.resources[i].gv, w[1]);
	MEM_GROW(g.resources, g.resource_cap, g.resource_count + 1);
	r = &g.resources[g.resource_count];
	memset(r, 0, sizeof(*r));
	r->index = g.resource_count++;
	r->gv = keep(w[1]);
	r->plural = keep(w[2]);
	r->kind = keep(w[3]);
	r->namespaced = str_eq(w[4], "namespaced");
	if (!r->namespaced && !str_eq(w[4], "cluster"))
		fail("namespaced or cluster, not %s", w[4]);
	for (size_t i = 5; i < n; i++) {
		const char *v;

		if ((v = str_after(w[i], "verbs=")))
			r->verbs = keep(v);
		else if ((v = str_after(w[i], "short=")))
			r->short_names = keep(v);
		else if ((v = str_after(w[i], "categories=")))
			r->categories = keep(v);
		else if ((v = str_after(w[i], "storage=")))
			r->storage = keep(v);
		else
			fail("unknown word %s", w[i]);
	}
	for (size_t i = 0; new_gv && i < g.everywhere_count; i++)
		add_kind(r->gv, g.everywhere[i].kind, g.everywhere[i].message);
	return r;
}

static void read_sub(struct resource *r, char **w, size_t n)
{
	struct sub *s;

	if (!r || (n != 3 && n != 5) || !str_starts(w[2], "verbs=") || r->sub_count == ARRAY_SIZE(r->subs))
		fail("sub NAME verbs=LIST [GROUPVERSION KIND] below a resource");
	s = &r->subs[r->sub_count++];
	s->name = keep(w[1]);
	s->verbs = keep(w[2] + 6);
	s->gv = n == 5 ? keep(w[3]) : r->gv;
	s->kind = n == 5 ? keep(w[4]) : r->kind;
}

static void read_all(FILE *in)
{
	char line[8192], *w[WORDS_MAX];
	struct message *m = NULL;
	struct resource *r = NULL;

	while (fgets(line, sizeof(line), in)) {
		bool below = line[0] == '\t' || line[0] == ' ';
		size_t n;

		g.line++;
		if (line[0] == '#')
			continue;
		n = split(line, w);
		if (n == 0)
			continue;
		if (below) {
			if (str_eq(w[0], "sub"))
				read_sub(r, w, n);
			else
				read_field(m, w, n);
			continue;
		}
		m = NULL;
		r = NULL;
		if (str_eq(w[0], "package"))
			read_package(w, n);
		else if (str_eq(w[0], "message"))
			m = read_message(w, n);
		else if (str_eq(w[0], "kind"))
			read_kind(w, n);
		else if (str_eq(w[0], "resource"))
			r = read_resource(w, n);
		else
			fail("unknown line %s", w[0]);
	}
}

static int by_message_name(const void *a, const void *b)
{
	return strcmp((*(struct message *const *)a)->name, (*(struct message *const *)b)->name);
}

static int by_kind(const void *pa, const void *pb)
{
	const struct kind *a = pa, *b = pb;
	int c = strcmp(a->kind, b->kind);

	c = c ? c : strcmp(a->group, b->group);
	return c ? c : strcmp(a->version, b->version);
}

static int by_field_name(const void *pa, const void *pb)
{
	return strcmp((*(struct field *const *)pa)->name, (*(struct field *const *)pb)->name);
}

static int by_plural(const void *pa, const void *pb)
{
	const struct resource *a = *(struct resource *const *)pa, *b = *(struct resource *const *)pb;
	char *ga, *gb;
	const char *va, *vb;
	int c = strcmp(a->plural, b->plural);

	split_gv(a->gv, &ga, &va);
	split_gv(b->gv, &gb, &vb);
	c = c ? c : strcmp(ga, gb);
	return c ? c : strcmp(va, vb);
}

static const char *quoted(const char *s)
{
	struct strbuf b = { 0 };
	char *r;

	if (!s)
		return "NULL";
	strbuf_add_json(&b, s, strlen(s));
	r = arena_strdup(g.arena, b.data);
	strbuf_done(&b);
	return r;
}

/* The offset of a text in the blob; equal texts share one. */
static unsigned text_offset(const char *s)
{
	uintptr_t at;

	if (!s)
		return 0;
	at = (uintptr_t)map_get(g.text_at, s);
	if (!at) {
		at = g.text.len;
		strbuf_add(&g.text, s, strlen(s) + 1);
		if (g.text.len > TEXT_MAX)
			fail("the texts are longer than %d bytes: 16-bit offsets do not do any more", TEXT_MAX);
		map_set(g.text_at, s, (void *)at);
	}
	return at;
}

static void write_string_list(const char *prefix, size_t index, const char *comma_list)
{
	struct strlist l = { 0 };

	if (!comma_list)
		return;
	strlist_split(&l, comma_list, ',');
	printf("static const char *const %s_%zu[] = { ", prefix, index);
	for (size_t i = 0; i < l.count; i++)
		printf("%s, ", quoted(l.items[i]));
	printf("NULL };\n");
	strlist_done(&l);
}

static void write_field(const struct field *f, size_t index)
{
	printf("\t{ %s, ", quoted(f->name));
	if (f->message)
		printf("&schema_messages[%zu], ", f->message->index);
	else
		printf("NULL, ");
	printf("%s, ", quoted(f->merge_key));
	if (f->map_keys)
		printf("keys_%zu, ", index);
	else
		printf("NULL, ");
	printf("%u, %s, %s, %s, ", f->proto, f->type, f->shape, f->list_type);
	for (size_t i = 0; i < f->flags.count; i++)
		printf("%s%s", i ? " | " : "", f->flags.items[i]);
	printf("%s },\n", f->flags.count ? "" : "0");
}

static bool is_list(const struct message *m)
{
	return m->type_meta && m->count == 2 && str_eq(m->fields[0].name, "metadata") && m->fields[0].message &&
	       str_eq(m->fields[0].message->short_name, "ListMeta") && str_eq(m->fields[1].name, "items");
}

static void write_fields(void)
{
	size_t index = 0;

	for (size_t i = 0; i < g.message_count; i++)
		for (size_t j = 0; j < g.messages[i]->count; j++, index++)
			write_string_list("keys", index, g.messages[i]->fields[j].map_keys);
	printf("const struct schema_field schema_fields[] = {\n");
	index = 0;
	for (size_t i = 0; i < g.message_count; i++)
		for (size_t j = 0; j < g.messages[i]->count; j++)
			write_field(&g.messages[i]->fields[j], index++);
	printf("};\nconst size_t schema_field_total = %zu;\n", index);
	printf("const struct schema_texts schema_field_texts[] = {\n");
	for (size_t i = 0; i < g.message_count; i++)
		for (size_t j = 0; j < g.messages[i]->count; j++) {
			const struct field *f = &g.messages[i]->fields[j];

			g.line = f->line;
			printf("\t{ %u, %u, %u, %u },\n", text_offset(f->doc), text_offset(f->go),
			       text_offset(f->default_json), text_offset(f->enums));
		}
	printf("};\nconst uint8_t schema_field_order[] = {\n");
	for (size_t i = 0; i < g.message_count; i++) {
		struct message *m = g.messages[i];
		struct field *sorted[256];

		for (size_t j = 0; j < m->count; j++)
			sorted[j] = &m->fields[j];
		qsort(sorted, m->count, sizeof(*sorted), by_field_name);
		for (size_t j = 0; j < m->count; j++)
			printf("%zu,", (size_t)(sorted[j] - m->fields));
		printf("\n");
	}
	printf("};\n");
}

static void write_messages(void)
{
	printf("const struct schema_message schema_messages[] = {\n");
	for (size_t i = 0; i < g.message_count; i++) {
		const struct message *m = g.messages[i];
		bool has_inline = false;

		for (size_t j = 0; j < m->count; j++)
			has_inline |= m->fields[j].inlined;
		printf("\t{ %s, &schema_fields[%zu], %zu, %s, 0%s%s%s%s },\n", quoted(m->name), m->first_field,
		       m->count, form_type(m), m->type_meta ? " | SCHEMA_MSG_TYPE_META" : "",
		       m->atomic ? " | SCHEMA_MSG_ATOMIC" : "", is_list(m) ? " | SCHEMA_MSG_LIST" : "",
		       has_inline ? " | SCHEMA_MSG_HAS_INLINE" : "");
	}
	printf("};\nconst size_t schema_message_total = %zu;\n", g.message_count);
	printf("const uint16_t schema_message_docs[] = {\n");
	for (size_t i = 0; i < g.message_count; i++) {
		g.line = g.messages[i]->line;
		printf("%u,\n", text_offset(g.messages[i]->doc));
	}
	printf("};\n");
}

static void write_kinds(void)
{
	qsort(g.kinds, g.kind_count, sizeof(*g.kinds), by_kind);
	printf("const struct schema_kind schema_kinds[] = {\n");
	for (size_t i = 0; i < g.kind_count; i++) {
		const struct kind *k = &g.kinds[i];

		if (i && by_kind(k, k - 1) == 0)
			fail("kind %s of %s/%s twice", k->kind, k->group, k->version);
		printf("\t{ %s, %s, %s, &schema_messages[%zu] },\n", quoted(k->group), quoted(k->version),
		       quoted(k->kind), k->message->index);
	}
	printf("};\nconst size_t schema_kind_total = %zu;\n", g.kind_count);
}

static const struct kind *find_kind(const char *gv, const char *kind)
{
	char *group;
	const char *version;

	split_gv(gv, &group, &version);
	for (size_t i = 0; i < g.kind_count; i++)
		if (str_eq(g.kinds[i].kind, kind) && str_eq(g.kinds[i].group, group) &&
		    str_eq(g.kinds[i].version, version))
			return &g.kinds[i];
	return NULL;
}

/* A verb that is none is no identifier either: the compiler says so. */
static void write_verbs(const char *verbs)
{
	struct strlist l = { 0 };

	strlist_split(&l, verbs, ',');
	for (size_t i = 0; i < l.count; i++)
		printf("%s%s", i ? " | " : "", str_eq(l.items[i], "all") ? "VERB_ALL8" : ident("VERB_", l.items[i]));
	strlist_done(&l);
}

static void write_subresources(const struct resource *r)
{
	if (r->sub_count == 0)
		return;
	printf("static const struct schema_subresource subs_%zu[] = {\n", r->index);
	for (size_t j = 0; j < r->sub_count; j++) {
		const struct sub *s = &r->subs[j];
		char *group;
		const char *version;

		if (!find_kind(s->gv, s->kind))
			fail("no kind %s in %s", s->kind, s->gv);
		split_gv(s->gv, &group, &version);
		printf("\t{ %s, %s, %s, %s, ", quoted(s->name), quoted(group), quoted(version), quoted(s->kind));
		write_verbs(s->verbs);
		printf(" },\n");
	}
	printf("};\n");
}

static size_t storage_of(const struct resource *r)
{
	if (!r->storage)
		return r->index;
	for (size_t i = 0; i < g.resource_count; i++)
		if (str_eq(arena_printf(g.arena, "%s/%s", g.resources[i].gv, g.resources[i].plural), r->storage))
			return i;
	fail("no resource %s", r->storage);
}

static const char *lower(const char *s)
{
	char *r = arena_strdup(g.arena, s);

	for (char *p = r; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? *p + 32 : *p;
	return r;
}

static void write_resource(const struct resource *r)
{
	const struct kind *k = find_kind(r->gv, r->kind);
	const struct kind *list = find_kind(r->gv, arena_printf(g.arena, "%sList", r->kind));
	char *group;
	const char *version;

	if (!k)
		fail("resource %s: no kind %s in %s", r->plural, r->kind, r->gv);
	split_gv(r->gv, &group, &version);
	printf("\t{ %s, %s, %s, %s, %s, &schema_messages[%zu], ", quoted(group), quoted(version), quoted(r->plural),
	       quoted(lower(r->kind)), quoted(r->kind), k->message->index);
	if (list)
		printf("&schema_messages[%zu], ", list->message->index);
	else
		printf("NULL, ");
	if (r->short_names)
		printf("short_%zu, ", r->index);
	else
		printf("none, ");
	if (r->categories)
		printf("categories_%zu, ", r->index);
	else
		printf("none, ");
	if (r->sub_count)
		printf("subs_%zu, %zu, ", r->index, r->sub_count);
	else
		printf("NULL, 0, ");
	write_verbs(r->verbs);
	printf(", %s, %zu, %zu },\n", r->namespaced ? "true" : "false", r->index, storage_of(r));
}

static void write_resources(void)
{
	struct resource *sorted[256];

	if (g.resource_count > ARRAY_SIZE(sorted))
		fail("too many resources: 8-bit indexes do not do any more");
	printf("static const char *const none[] = { NULL };\n");
	for (size_t i = 0; i < g.resource_count; i++) {
		write_string_list("short", i, g.resources[i].short_names);
		write_string_list("categories", i, g.resources[i].categories);
		write_subresources(&g.resources[i]);
	}
	printf("const struct schema_resource schema_resources[] = {\n");
	for (size_t i = 0; i < g.resource_count; i++) {
		write_resource(&g.resources[i]);
		sorted[i] = &g.resources[i];
	}
	printf("};\nconst size_t schema_resource_total = %zu;\n", g.resource_count);
	qsort(sorted, g.resource_count, sizeof(*sorted), by_plural);
	printf("const uint8_t schema_resource_order[] = { ");
	for (size_t i = 0; i < g.resource_count; i++)
		printf("%zu, ", sorted[i]->index);
	printf("};\n");
}

/* The blob in pieces: a string literal a text. */
static void write_text(void)
{
	printf("const char schema_text[] =\n\t\"\\0\"\n");
	for (size_t at = 1; at < g.text.len; at += strlen(g.text.data + at) + 1) {
		const char *q = quoted(g.text.data + at);

		printf("\t%.*s\\0\"\n", (int)strlen(q) - 1, q);
	}
	printf("\t;\n");
}

int main(int argc, char **argv)
{
	size_t first = 0;
	FILE *in;

	if (argc != 2 || !(in = fopen(argv[1], "r"))) {
		fprintf(stderr, "usage: schemac schema.txt > schema_tables.c\n");
		return 2;
	}
	g.path = argv[1];
	g.arena = arena_new();
	g.by_alias_name = map_new(NULL);
	g.text_at = map_new(NULL);
	strbuf_addc(&g.text, 0);
	read_all(in);
	fclose(in);
	qsort(g.messages, g.message_count, sizeof(struct message *), by_message_name);
	for (size_t i = 0; i < g.message_count; i++) {
		g.messages[i]->index = i;
		g.messages[i]->first_field = first;
		first += g.messages[i]->count;
	}
	for (size_t i = 0; i < g.message_count; i++)
		for (size_t j = 0; j < g.messages[i]->count; j++)
			resolve_type(g.messages[i], &g.messages[i]->fields[j]);
	printf("/* Made by tools/schemac from lib/kube/schema.txt. */\n#include \"kube/schema_tables.h\"\n");
	write_fields();
	write_messages();
	write_kinds();
	write_resources();
	write_text();
	for (size_t i = 0; i < g.message_count; i++) {
		for (size_t j = 0; j < g.messages[i]->count; j++)
			strlist_done(&g.messages[i]->fields[j].flags);
		free(g.messages[i]->fields);
	}
	free(g.messages);
	free(g.kinds);
	free(g.resources);
	strbuf_done(&g.text);
	map_free(g.by_alias_name);
	map_free(g.text_at);
	arena_free(g.arena);
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
