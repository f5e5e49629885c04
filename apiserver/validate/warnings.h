/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of warnings share. Texts are appended to a list, of which the first hundred are kept. */
#ifndef KEELSON_APISERVER_WARNINGS_H
#define KEELSON_APISERVER_WARNINGS_H

#include "apiserver/validate/validate_internal.h"

/* "PATH: TEXT" */
void warn(struct strlist *out, const struct fpath *p, const char *fmt, ...) _printf_(3, 4);
/* "PATH: BEFORE"VALUE"BEHIND", the value as Go quotes it. */
void warn_quoted(struct strlist *out, const struct fpath *p, const char *before, const char *value, const char *behind);

const char *deprecated_node_label(const char *key); /* what to say about it, or NULL */
void warn_node_term(struct strlist *out, const struct fpath *p, const json_t *term, bool check_values);
/* Bytes that are no whole number: list[name]. */
void warn_fraction(struct strlist *out, const struct fpath *p, const json_t *list, const char *name);
void warn_pvc_spec(struct strlist *out, const struct fpath *p, const json_t *spec);
/* A pod (p NULL) or a template at p. */
void warn_pod(struct strlist *out, const struct fpath *p, const json_t *pod);

#endif
