/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of deciders share: objects from YAML, and plans written as text to compare with. */
#ifndef KEELSON_CONTROLLERS_DECIDERS_TEST_H
#define KEELSON_CONTROLLERS_DECIDERS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "controllers/workload.h"
#include "kube/object.h"

static inline json_t *from_yaml(const char *text)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *v = yaml_parse(text, strlen(text), &err);

	if (!v)
		fail_msg("%s in:\n%s", err_msg(&err), text);
	return v;
}

/* printf into a value. */
static inline _printf_(1, 2) json_t *from_yamlf(const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	return from_yaml(text.data);
}

static inline size_t plan_count_of(const struct plan *p, const char *method, const char *part_of_path)
{
	size_t n = 0;

	for (size_t i = 0; i < p->count; i++)
		n += strcmp(p->items[i]->method, method) == 0 && strstr(p->items[i]->path, part_of_path);
	return n;
}

/* The nth write with this method and a path that contains the part; NULL when there is none. */
static inline struct write *plan_find(const struct plan *p, const char *method, const char *part_of_path, size_t nth)
{
	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->items[i]->method, method) == 0 && strstr(p->items[i]->path, part_of_path) && !nth--)
			return p->items[i];
	}
	return NULL;
}

static inline void list_free(struct object_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		json_decref(l->items[i]);
	object_list_done(l);
}

#endif
