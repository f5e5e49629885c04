/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where Services, EndpointSlices and Nodes come from: an API server, or files in a directory. Both say what changed and,
 * once, that everything which is there at the start has been said.
 */
#ifndef KEELSON_PROXY_SOURCE_SOURCE_H
#define KEELSON_PROXY_SOURCE_SOURCE_H

#include <uv.h>

#include "base/err.h"
#include "kube/json.h"

enum source_kind { SOURCE_SERVICE, SOURCE_SLICE, SOURCE_NODE, SOURCE_KIND_MAX };
struct source_sink {
	void (*set)(enum source_kind kind, const json_t *object, void *user);
	/* ns is "" for a Node. */
	void (*del)(enum source_kind kind, const char *ns, const char *name, void *user);
	void (*synced)(void *user);
	/* Something was wrong that a person should know (a bad file). The source goes on with what it had. */
	void (*complain)(const char *what, void *user);
	void *user;
};

struct source_kube;
struct source_kube *source_kube_new(uv_loop_t *loop, const char *kubeconfig, const struct source_sink *sink, struct err *err);
void source_kube_free(struct source_kube *s);

/* Files *.yaml, *.yml and *.json directly in dir; lists and several documents a file are fine; other kinds are passed over.
 * Of two objects with one name the file that sorts first has it, within a file the last one. A file that does not parse
 * keeps its last good state, one that somebody is writing is read when it is closed (or has been left alone for 2 s), and
 * while the directory itself is away everything stays as it was. */
struct source_files;
struct source_files *source_files_new(uv_loop_t *loop, const char *dir, const struct source_sink *sink, struct err *err);
void source_files_free(struct source_files *s);

#endif
