// SPDX-License-Identifier: GPL-2.0-or-later
/* Selectors over entries. */
#include "apiserver/watch/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/validate/validate.h"

static int find_label(const struct schema_resource *storage, const char *path)
{
	const char *const *labels = entry_field_labels(storage);
	for (int i = 0; labels[i]; i++)
		if (str_eq(labels[i], path))
			return i;
	return -1;
}

/* events.k8s.io calls the same fields by other names. */
static const char *stored_label(const struct schema_resource *view, const char *path, char buf[static 128])
{
	const char *rest = str_after(path, "regarding.");
	if (!str_eq(view->group, "events.k8s.io"))
		return path;
	if (rest) {
		snprintf(buf, 128, "involvedObject.%s", rest);
		return buf;
	}
	return str_eq(path, "reportingController") ? "reportingComponent" : path;
}

/* metadata.name=x and metadata.namespace=x narrow the filter itself. */
static bool take_name(struct filter *f, const struct field_requirement *q)
{
	char **slot = str_eq(q->path, "metadata.name") ? &f->name : str_eq(q->path, "metadata.namespace") ? &f->ns : NULL;
	if (!slot || q->negate)
		return false;
	if (*slot && !str_eq(*slot, q->value))
		f->nothing = true;
	if (!*slot)
		*slot = mem_strdup(q->value);
	return true;
}

enum { FIELD_NAME = -1, FIELD_NAMESPACE = -2 };

static int compile_fields(const struct schema_resource *view, const char *text, struct filter *f, struct err *err)
{
	struct field_selector fs = { 0 };
	const struct schema_resource *storage = entry_storage(view);
	int rc = field_selector_parse(text, &fs, err);
	if (rc)
		return rc;
	f->fields = mem_new_n(struct filter_field, fs.count + 1);
	for (size_t i = 0; i < fs.count && !rc; i++) {
		char buf[128];
		const char *path = stored_label(view, fs.items[i].path, buf);
		int field;
		if (take_name(f, &fs.items[i]))
			continue;
		if (str_eq(path, "metadata.name"))
			field = FIELD_NAME;
		else if (str_eq(path, "metadata.namespace"))
			field = FIELD_NAMESPACE;
		else if ((field = find_label(storage, path)) < 0)
			rc = err_set_api(err, 400, "BadRequest", "field label not supported: %s", fs.items[i].path);
		if (!rc)
			f->fields[f->field_count++] = (struct filter_field){ field, mem_strdup(fs.items[i].value),
				fs.items[i].negate };
	}
	field_selector_done(&fs);
	return rc;
}

static void want_labels(const struct selector *labels, struct signature_want *w)
{
	const struct strlist *values;
	const char *key;
	for (size_t it = 0; selector_next_needed(labels, &it, &key, &values);) {
		w->all |= signature_label_key(key);
		if (values && values->count == 1)
			w->all |= signature_label(key, values->items[0]);
		else if (values && values->count <= SIGNATURE_MAX_ANY && !w->any_count) /* the first list of values; what is left is compared */
			for (size_t i = 0; i < values->count; i++)
				w->any[w->any_count++] = signature_label(key, values->items[i]);
	}
}

/* Selectors that say what an object has not cannot be told from a signature. */
static void want(struct filter *f)
{
	if (f->name)
		f->want.all |= signature_name(f->name);
	if (f->labels)
		want_labels(f->labels, &f->want);
	for (size_t i = 0; i < f->field_count; i++)
		if (!f->fields[i].negate && f->fields[i].field >= 0)
			f->want.all |= signature_field(f->fields[i].value);
}

int filter_compile(const struct schema_resource *view, const char *ns, const char *name, const char *label_text,
		   const char *field_text, struct filter *ret, struct err *err)
{
	struct filter f = { .ns = str_empty(ns) ? NULL : mem_strdup(ns), .name = str_empty(name) ? NULL : mem_strdup(name) };
	int rc = 0;
	if (!str_empty(label_text)) {
		f.labels = selector_parse(label_text, err);
		if (!f.labels)
			rc = -EINVAL;
		else if (selector_matches_everything(f.labels))
			f.labels = selector_free(f.labels);
	}
	if (!rc && !str_empty(field_text))
		rc = compile_fields(view, field_text, &f, err);
	if (rc) {
		filter_done(&f);
		return rc;
	}
	want(&f);
	*ret = f;
	return 0;
}

void filter_done(struct filter *f)
{
	free(f->ns);
	free(f->name);
	selector_free(f->labels);
	for (size_t i = 0; i < f->field_count; i++)
		free(f->fields[i].value);
	free(f->fields);
	*f = (struct filter){ 0 };
}

static bool field_matches(const struct filter_field *q, const struct store_object *o)
{
	bool same;
	if (q->field == FIELD_NAME)
		same = str_eq(entry_name(o), q->value);
	else if (q->field == FIELD_NAMESPACE)
		same = strlen(q->value) == entry_namespace_len(o) && strncmp(o->key, q->value, strlen(q->value)) == 0;
	else
		same = str_eq(entry_field(o, (unsigned)q->field), q->value);
	return same != q->negate;
}

bool filter_matches(const struct filter *f, const struct store_object *o)
{
	if (f->nothing)
		return false;
	if (f->ns) {
		size_t len = strlen(f->ns);
		if (strncmp(o->key, f->ns, len) != 0 || o->key[len] != '/')
			return false;
	}
	if (f->name && !str_eq(entry_name(o), f->name))
		return false;
	if (f->labels && !selector_matches(f->labels, o->labels))
		return false;
	for (size_t i = 0; i < f->field_count; i++)
		if (!field_matches(&f->fields[i], o))
			return false;
	return true;
}

struct store_iter filter_iterate(const struct filter *f, const struct store *s, uint16_t resource)
{
	_cleanup_free_ char *prefix = NULL;
	if (f->ns)
		prefix = str_printf("%s/%s", f->ns, f->name ? f->name : "");
	else if (f->name && !schema_resource_at(resource)->namespaced)
		prefix = mem_strdup(f->name);
	return store_iterate(s, resource, prefix);
}

struct store_object *filter_next(const struct filter *f, struct store_iter *it)
{
	struct store_object *o;
	while ((o = store_next_wanted(it, &f->want)) && !filter_matches(f, o))
		;
	return o;
}

bool filter_selects(const struct filter *f)
{
	return f->name || f->labels || f->field_count || f->nothing;
}
