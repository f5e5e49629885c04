/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON values (jansson, behind this one header), paths into them, YAML in both directions. Values are json_t with
 * jansson's reference counts; "own" means json_decref() by the holder.
 */
#ifndef KEELSON_KUBE_JSON_H
#define KEELSON_KUBE_JSON_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

#define _cleanup_json_ _cleanup_(json_decrefp)

/* Parses one JSON value (any type at the top), depth <= 512 (jansson's limit is 2048), numbers kept as integers where
 * they are. Duplicate keys: the last wins; when dup_paths is given, where each stands is added there once
 * ("spec.containers[0].name"), the first JSON_MAX_DUPLICATES of them. Own, or NULL with err ("invalid character 'x' ...,
 * line 3, column 7"). */
enum { JSON_MAX_DUPLICATES = 100 };
json_t *json_parse(const char *s, size_t len, struct strlist *dup_paths, struct err *err);
/* The same for one object that a peer sent: a value in memory is up to a hundred times its text ("{},"), so more than
 * JSON_PEER_VALUES of them are refused. */
enum { JSON_PEER_VALUES = 300000 };
json_t *json_parse_peer(const char *s, size_t len, struct strlist *dup_paths, struct err *err);
/* The first document as sigs.k8s.io/yaml reads it (YAML 1.1: yes, no, on, off are booleans, 017 is octal; timestamps are
 * strings; << merges); an empty stream is null. Anchors expand with a total limit of 1,000,000 nodes, depth <= 512. */
json_t *yaml_parse(const char *s, size_t len, struct err *err);
json_t *yaml_parse_peer(const char *s, size_t len, struct err *err); /* at most JSON_PEER_VALUES nodes */
/* Of keys that a mapping sets again (the last wins), the first JSON_MAX_DUPLICATES are added: `line 3: key "name" already set in map`. */
json_t *yaml_parse_peer_strict(const char *s, size_t len, struct strlist *dup_lines, struct err *err);
/* All documents of a stream, in order, empty ones skipped: a JSON array. */
json_t *yaml_parse_all(const char *s, size_t len, struct err *err);
/* JSON text when it starts with '{' or '[' (dup_paths is for it), else YAML; at most JSON_PEER_VALUES. */
json_t *json_or_yaml_parse(const char *s, size_t len, struct strlist *dup_paths, struct err *err);
void json_write(struct strbuf *out, const json_t *v);        /* compact, keys in stored order */
void json_write_pretty(struct strbuf *out, const json_t *v); /* indent 2, as kubectl -o json */
void yaml_write(struct strbuf *out, const json_t *v);        /* block style, keys sorted, as sigs.k8s.io/yaml */

/* Path access: dots separate; "[n]" indexes. A missing step or a wrong type yields NULL / the fallback. Borrow.
 * Example: json_str(pod, "spec.containers[0].image"). Keys with dots: use json_object_get. */
json_t *json_at(const json_t *v, const char *path);
const char *json_str(const json_t *v, const char *path);           /* NULL when absent or not a string */
const char *json_str_or(const json_t *v, const char *path, const char *fallback);
int64_t json_int(const json_t *v, const char *path, int64_t fallback); /* accepts integral reals */
bool json_bool(const json_t *v, const char *path, bool fallback);
/* Sets value (moved; reference stolen even on failure) at a path of plain keys, making objects on the way.
 * -EINVAL when a step is not an object. */
int json_set(json_t *v, const char *path, json_t *value);
int json_set_str(json_t *v, const char *path, const char *s); /* NULL deletes */
void json_unset(json_t *v, const char *path);
/* A deep copy. Own; NULL of NULL. */
json_t *json_clone(const json_t *v);
/* Deep equality with 1 == 1.0 and without order of object keys. */
bool json_same(const json_t *a, const json_t *b);

#endif
