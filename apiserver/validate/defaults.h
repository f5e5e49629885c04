/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults as rules of messages: wherever a message occurs in an object, its rules run, parents before children. */
#ifndef KEELSON_APISERVER_DEFAULTS_H
#define KEELSON_APISERVER_DEFAULTS_H

#include "kube/json.h"
#include "kube/schema.h"

enum default_type { DEFAULT_STR, DEFAULT_INT, DEFAULT_BOOL, DEFAULT_OBJECT /* {} */, DEFAULT_FN };
struct default_rule {
	const char *message; /* without "io.k8s.api." */
	const char *field;   /* NULL for DEFAULT_FN */
	enum default_type type;
	const char *s;       /* DEFAULT_STR */
	int64_t i;           /* DEFAULT_INT, DEFAULT_BOOL */
	bool zero_too; /* 0 counts as absent, as in Go's plain integers; strings: "" always does unless keep_empty */
	bool keep_empty;     /* "" is a value: the field is a pointer in Go */
	const char *when_field,
		*when_value; /* only when this member is this string; when_value NULL: only when it is present */
	void (*fn)(json_t *value);
};
struct default_group {
	const struct default_rule *rules;
	size_t count;
};
extern const struct default_group defaults_core, defaults_volumes, defaults_apps, defaults_other;

/* Helpers of rule functions. */
void default_str(json_t *o, const char *key, const char *value); /* absent or "" */
void default_int(json_t *o, const char *key, int64_t value);     /* absent */
json_t *default_object(json_t *o, const char *key);              /* absent: {}; borrow */
void default_image_pull_policy(json_t *o, const char *image, const char *key);
/* Rounds the quantities of a map up to thousandths. */
void default_round_quantities(json_t *o, const char *key);

/* Kind's own rules, which are not a message's. */
void defaults_pod(json_t *pod);

#endif
